// Command resumable uploads a text to an S3 server with a journal. It is a process of its own, so that a test can kill it.
// Access key, secret key and the wrapping key, in hexadecimal, come from the environment.
package main

import (
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/e2e/measure"
	"github.com/bulla-format/bulla/e2e/s3server"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3upload"
)

func main() {
	url := flag.String("url", "", "of the server")
	bucket := flag.String("bucket", "", "bucket")
	key := flag.String("key", "", "key of the object")
	journal := flag.String("journal", "", "file")
	size := flag.Int64("size", 0, "plaintext bytes")
	part := flag.Int64("part", 0, "bytes of a part")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := run(ctx, *url, *journal, *part, &s3.PutObjectInput{
		Bucket: bucket, Key: key, Body: measure.Text{Size: *size, Seed: 1}.Reader(),
	}); err != nil {
		fmt.Fprintln(os.Stderr, "resumable:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, url, journal string, part int64, in *s3.PutObjectInput) error {
	secret, err := hex.DecodeString(os.Getenv("WRAPPING_KEY"))
	if err != nil {
		return err
	}
	key, err := keywrap.NewAESKey("e2e", secret)
	if err != nil {
		return err
	}
	client := s3.New(s3.Options{
		Region: s3server.Region, BaseEndpoint: &url, UsePathStyle: true,
		Credentials:                credentials.NewStaticCredentialsProvider(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), ""),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
	})
	_, err = s3upload.New(client, key, &s3upload.Options{PartSize: part}).UploadResumable(ctx, in, key, journal)
	return err
}
