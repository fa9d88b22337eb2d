package s3upload_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// memory stands in for S3 in the example. A program takes an *s3.Client:
//
//	cfg, err := config.LoadDefaultConfig(ctx)
//	...
//	client := s3.NewFromConfig(cfg)
type memory struct {
	s3upload.Client
	object []byte
}

func (m *memory) PutObject(_ context.Context, in *s3.PutObjectInput, _ ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	var err error
	m.object, err = io.ReadAll(in.Body)
	return &s3.PutObjectOutput{}, err
}

func ExampleUploader_Upload() {
	ctx := context.Background()
	key, err := keywrap.GenerateAESKey("reports-2026")
	if err != nil {
		log.Fatal(err)
	}
	client := &memory{}

	up := s3upload.New(client, key, &s3upload.Options{
		BindLocation: true,
		Encrypt:      &stream.EncryptOptions{Metadata: map[string]string{"name": "q2.csv"}},
	})
	res, err := up.Upload(ctx, &s3.PutObjectInput{
		Bucket:      aws.String("reports"),
		Key:         aws.String("2026/q2"),
		Body:        strings.NewReader("region,total\nnorth,12\n"),
		IfNoneMatch: aws.String("*"),
	})
	if failed, ok := errors.AsType[*s3upload.UploadError](err); ok && failed.AbortErr != nil {
		log.Printf("parts of upload %s are left", failed.UploadID)
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.PlaintextSize, "bytes, stored as", res.StoredSize)

	r, err := stream.NewDecryptReader(ctx, bytes.NewReader(client.object), key,
		&stream.DecryptOptions{Location: "s3://reports/2026/q2"})
	if err != nil {
		log.Fatal(err)
	}
	plaintext, err := io.ReadAll(r)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", plaintext)
	// Output:
	// 22 bytes, stored as 4146
	// region,total
	// north,12
}
