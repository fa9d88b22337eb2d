package main

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/spf13/cobra"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

func (a *app) inspectCommand() *cobra.Command {
	var store s3Flags
	var common awsFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect {FILE | s3://BUCKET/KEY | -}",
		Short: "Show what the header of a stream says, without any key",
		Long: `Show what the header of a stream says: whom it is for, how it is encrypted, how
large it is. No key is needed.

Nothing of this is authenticated: whoever can write to the store can have
written it. Decrypting is what proves it.`,
		Example: `  bulla inspect photos.tar.bulla
  bulla inspect s3://bucket/photos.tar
  bulla inspect --json photos.tar.bulla | jq .keys`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			var header []byte
			var size int64
			var err error
			if isS3(name) {
				header, size, err = readObjectHeader(cmd.Context(), name, &store, &common)
			} else {
				header, size, err = a.readHeader(cmd.Context(), name)
			}
			if err != nil {
				return err
			}
			info, err := stream.Inspect(header)
			if err != nil {
				return named(name, err)
			}
			if asJSON {
				return newSummary(&info, size).printJSON(a.stdout)
			}
			return newSummary(&info, size).print(a.stdout)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	store.register(cmd.Flags())
	common.register(cmd.Flags())
	return cmd
}

// readHeader returns the front of a stream, in which the header is, and the
// stream's stored size, or -1.
func (a *app) readHeader(ctx context.Context, name string) ([]byte, int64, error) {
	if name == "-" && isTerminal(a.stdin) {
		return nil, 0, usagef("standard input is a terminal: name a file, or pipe a stream in")
	}
	in, err := a.open(ctx, name)
	if err != nil {
		return nil, 0, err
	}
	defer in.close()
	header, err := io.ReadAll(io.LimitReader(in, format.MaxHeaderSize))
	return header, in.size, err
}

func readObjectHeader(ctx context.Context, name string, store *s3Flags, common *awsFlags) ([]byte, int64, error) {
	at, err := parseS3(name)
	if err != nil {
		return nil, 0, err
	}
	client, err := store.client(ctx, common)
	if err != nil {
		return nil, 0, err
	}
	out, err := client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &at.bucket, Key: &at.key, Range: aws.String(fmt.Sprintf("bytes=0-%d", format.MaxHeaderSize-1)),
	})
	if err != nil {
		return nil, 0, named(name, err)
	}
	defer out.Body.Close()
	header, err := io.ReadAll(io.LimitReader(out.Body, format.MaxHeaderSize))
	if err != nil {
		return nil, 0, named(name, err)
	}
	return header, objectSize(out), nil
}

// objectSize returns the object's size as an answer to a request for a range
// tells it, or -1.
func objectSize(out *s3.GetObjectOutput) int64 {
	total := strconv.FormatInt(aws.ToInt64(out.ContentLength), 10) // of a store that ignores ranges
	if out.ContentRange != nil {
		_, total, _ = strings.Cut(*out.ContentRange, "/")
	}
	size, err := strconv.ParseInt(total, 10, 64)
	if err != nil {
		return -1
	}
	return size
}
