package main

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/spf13/pflag"
)

// s3Flags say how to reach a store.
type s3Flags struct {
	endpoint  string
	pathStyle bool
}

func (f *s3Flags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.endpoint, "endpoint-url", "", "`URL` of an S3-compatible store")
	flags.BoolVar(&f.pathStyle, "path-style", false, "put the bucket into the URL's path, not into its host")
}

func (f *s3Flags) client(ctx context.Context, common *awsFlags) (*s3.Client, error) {
	cfg, err := common.load(ctx)
	if err != nil {
		return nil, err
	}
	return s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.UsePathStyle = f.pathStyle
		if f.endpoint != "" {
			o.BaseEndpoint = &f.endpoint
		}
	}), nil
}

// A location is a bucket and a key in it.
type location struct{ bucket, key string }

// isS3 reports whether an argument names an object and not a file.
func isS3(arg string) bool { return strings.HasPrefix(arg, "s3://") }

func parseS3(arg string) (location, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(arg, "s3://"), "/")
	if bucket == "" || key == "" || strings.HasSuffix(key, "/") {
		return location{}, usagef("%s does not name an object: expected s3://BUCKET/KEY", arg)
	}
	return location{bucket, key}, nil
}
