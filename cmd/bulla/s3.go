package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/spf13/pflag"
)

// s3Flags say how to reach a store, and where headers are in it.
type s3Flags struct {
	endpoint     string
	pathStyle    bool
	headerSuffix string
}

func (f *s3Flags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.headerSuffix, "header-suffix", "", "the header is in an object beside: KEY with this `SUFFIX`\n(.bulla-header is found without being told)")
	f.registerEndpoint(flags)
}

// registerEndpoint adds the flags that say how to reach the store.
func (f *s3Flags) registerEndpoint(flags *pflag.FlagSet) {
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
		o.DisableLogOutputChecksumValidationSkipped = true // ranges have none, and need none
		if f.endpoint != "" {
			o.BaseEndpoint = &f.endpoint
		}
	}), nil
}

// A checksum is a flag of the algorithm of a new object's checksum. It is empty
// by default.
type checksum types.ChecksumAlgorithm

func (c *checksum) Type() string   { return "ALGORITHM" }
func (c *checksum) String() string { return string(*c) }

func (c *checksum) Set(text string) error {
	algorithm := types.ChecksumAlgorithm(strings.ToUpper(text))
	if known := algorithm.Values(); !slices.Contains(known, algorithm) {
		return fmt.Errorf("expected one of %v", known)
	}
	*c = checksum(algorithm)
	return nil
}

func (c *checksum) register(flags *pflag.FlagSet) {
	flags.Var(c, "checksum", "of what is written to S3; CRC64NVME helps with stores that\nfail to compute another for copied parts")
}

// change asks for the checksum when a new object is written.
func (c *checksum) change(in *s3.CreateMultipartUploadInput) {
	if *c != "" {
		in.ChecksumAlgorithm, in.ChecksumType = types.ChecksumAlgorithm(*c), ""
	}
}

// A location is a bucket and a key in it.
type location struct{ bucket, key string }

func (l location) String() string { return "s3://" + l.bucket + "/" + l.key }

// get is a request for the object.
func (l location) get() *s3.GetObjectInput {
	return &s3.GetObjectInput{Bucket: aws.String(l.bucket), Key: aws.String(l.key)}
}

// isS3 reports whether an argument names an object and not a file.
func isS3(arg string) bool { return strings.HasPrefix(arg, "s3://") }

func parseS3(arg string) (location, error) {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(arg, "s3://"), "/")
	if bucket == "" || key == "" || strings.HasSuffix(key, "/") {
		return location{}, usagef("%s does not name an object: expected s3://BUCKET/KEY", arg)
	}
	return location{bucket, key}, nil
}

// parsePrefix parses what stands for all keys that begin alike.
func parsePrefix(arg string) (location, error) {
	bucket, prefix, _ := strings.Cut(strings.TrimPrefix(arg, "s3://"), "/")
	if !isS3(arg) || bucket == "" {
		return location{}, usagef("%s does not name a bucket: expected s3://BUCKET or s3://BUCKET/PREFIX", arg)
	}
	return location{bucket, prefix}, nil
}
