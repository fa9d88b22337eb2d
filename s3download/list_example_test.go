package s3download_test

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/s3download"
)

// The headers say which objects a key still opens, and so whether it may be
// destroyed. Who wants to be sure re-wraps them with s3upload.Rewrap, which
// authenticates what List only reads.
func ExampleList() {
	namesOf := func(ctx context.Context, client *s3.Client, bucket, prefix string) (map[string]int, error) {
		names := map[string]int{}
		for e, err := range s3download.List(ctx, client, &s3.ListObjectsV2Input{
			Bucket: aws.String(bucket),
			Prefix: aws.String(prefix),
		}, &s3download.ListOptions{Headers: true}) {
			switch {
			case err != nil:
				return nil, err // the list is not complete
			case errors.Is(e.Err, format.ErrNotStream), e.Object == nil:
				continue // not encrypted, or a header without its object
			case e.Err != nil:
				return nil, e.Err
			}
			for _, k := range e.Info.Keys {
				names[k.Name]++
			}
		}
		return names, nil
	}
	_ = namesOf
}
