package awskms_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
)

func Example() {
	// In a program, cfg comes from the SDK's config.LoadDefaultConfig.
	server := kmstest.New(nil)
	defer server.Close()
	server.CreateKey("alias/backups")
	cfg := server.Config()

	keys, err := awskms.New(kms.NewFromConfig(cfg), "alias/backups", nil)
	if err != nil {
		fmt.Println(err)
		return
	}

	// The stream package makes these calls.
	ctx := context.Background()
	ec := keywrap.Context{"tenant": "example"}
	dataKey, wrapped, err := keys.GenerateKey(ctx, ec)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer clear(dataKey)
	again, err := keys.UnwrapKey(ctx, wrapped[0], ec)
	fmt.Println(bytes.Equal(again, dataKey), err)

	_, err = keys.UnwrapKey(ctx, wrapped[0], keywrap.Context{"tenant": "other"})
	fmt.Println(errors.Is(err, keywrap.ErrUnwrap))
	// Output:
	// true <nil>
	// true
}
