package bulla_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
)

// Back up a file to S3 under a KMS key, then read a range of it.
func Example() {
	backup := func(ctx context.Context, file *os.File) error {
		cfg, err := config.LoadDefaultConfig(ctx)
		if err != nil {
			return err
		}
		client := s3.NewFromConfig(cfg)
		keys, err := awskms.New(kms.NewFromConfig(cfg), "alias/backups", nil)
		if err != nil {
			return err
		}
		_, err = s3upload.New(client, keys, nil).Upload(ctx, &s3.PutObjectInput{
			Bucket: aws.String("bucket"), Key: aws.String("dump.sql"), Body: file,
		})
		if err != nil {
			return err
		}
		object, err := s3download.Open(ctx, client, &s3.GetObjectInput{
			Bucket: aws.String("bucket"), Key: aws.String("dump.sql"),
		}, keys, nil)
		if err != nil {
			return err
		}
		defer object.Close()
		p := make([]byte, 100)
		n, err := object.ReadAt(p, 1<<30)
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		fmt.Printf("%d of %d bytes: %q\n", n, object.Size(), p[:n])
		return nil
	}

	file, err := os.Open("dump.sql")
	if err != nil {
		log.Fatal(err)
	}
	if err := backup(context.Background(), file); err != nil {
		log.Fatal(err)
	}
}
