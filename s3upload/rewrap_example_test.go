package s3upload_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
)

// Rotation of a bucket's wrapping key: all streams become streams for the new
// key. It can be repeated, after an interruption too.
func ExampleRewrap() {
	rotate := func(ctx context.Context, client *s3.Client, kmsClient *kms.Client, bucket string) error {
		old, err := awskms.New(kmsClient, "alias/backups-2025", nil)
		if err != nil {
			return err
		}
		new, err := awskms.New(kmsClient, "alias/backups-2026", nil)
		if err != nil {
			return err
		}
		for object, err := range s3download.List(ctx, client, &s3.ListObjectsV2Input{Bucket: &bucket}, nil) {
			if err != nil {
				return err
			}
			if object.Object == nil {
				log.Printf("%s has a header and no payload", object.Key)
				continue
			}
			res, err := s3upload.Rewrap(ctx, client, &s3.GetObjectInput{Bucket: &bucket, Key: &object.Key}, old, new, nil)
			switch {
			case errors.Is(err, format.ErrNotStream):
			case errors.Is(err, s3upload.ErrChanged):
				log.Printf("%s was replaced meanwhile: look at it again", object.Key)
			case err != nil:
				return err
			case !res.Unchanged:
				fmt.Println(object.Key, "generation", res.Info.Generation)
			}
		}
		return nil
	}
	_ = rotate
}
