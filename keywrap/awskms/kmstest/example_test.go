package kmstest_test

import (
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
)

func Example() {
	server := kmstest.New(nil)
	defer server.Close()
	server.CreateKey("alias/backups")

	client := kms.NewFromConfig(server.Config())
	out, err := client.GenerateDataKey(context.Background(), &kms.GenerateDataKeyInput{
		KeyId:   new("alias/backups"),
		KeySpec: types.DataKeySpecAes256,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(out.Plaintext), "bytes")
	fmt.Println(server.Calls()[0].Operation)
	// Output:
	// 32 bytes
	// GenerateDataKey
}
