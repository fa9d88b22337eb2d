package main

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/s3download"
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
			var info stream.Info
			var size int64
			var err error
			if name := args[0]; isS3(name) {
				info, size, err = inspectObject(cmd.Context(), name, &store, &common)
			} else {
				info, size, err = a.inspectFile(cmd.Context(), name)
			}
			if err != nil {
				return err
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

// inspectFile returns what the header of a stream says, and the stream's stored
// size, or -1.
func (a *app) inspectFile(ctx context.Context, name string) (stream.Info, int64, error) {
	header, size, err := a.readHeader(ctx, name)
	if err != nil {
		return stream.Info{}, 0, err
	}
	info, err := stream.Inspect(header)
	if err != nil {
		return info, 0, named(name, err)
	}
	if info.Detached {
		size = -1 // it is the header's, and says nothing about the payload
	}
	return info, size, nil
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

// inspectObject returns what the header of an object says, and the object's
// stored size.
func inspectObject(ctx context.Context, name string, store *s3Flags, common *awsFlags) (stream.Info, int64, error) {
	at, err := parseS3(name)
	if err != nil {
		return stream.Info{}, 0, err
	}
	client, err := store.client(ctx, common)
	if err != nil {
		return stream.Info{}, 0, err
	}
	return s3download.Inspect(ctx, client, at.get(), &s3download.Options{HeaderSuffix: store.headerSuffix})
}
