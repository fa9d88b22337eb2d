package main

import (
	"context"
	"errors"
	"os"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/spf13/cobra"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// An objectJob is what mv, or cp between objects, was asked to do.
type objectJob struct {
	keys        keyFlags
	store       s3Flags
	src, dst    string
	concurrency int
	checksum    checksum

	associatedData []byte
}

// A copyFunc is s3upload.Copy or s3upload.Move.
type copyFunc func(ctx context.Context, client s3upload.RewrapClient, in *s3.GetObjectInput, bucket, key string,
	old keywrap.Unwrapper, new keywrap.Wrapper, o *s3upload.RewrapOptions) (*s3upload.RewrapResult, error)

func (a *app) mvCommand() *cobra.Command {
	var j objectJob
	var data streamFlags
	cmd := &cobra.Command{
		Use:   "mv s3://BUCKET/KEY s3://BUCKET/KEY",
		Short: "Move an object within S3, with the header beside it",
		Long: `Move an encrypted object to where there is none yet, with the header beside it.
The store copies the payload by itself, and then the original is deleted, unless
another has taken its place meanwhile.

No key is needed, unless the stream is bound to its location: then it is bound to
the new one. What fails half-way can be repeated.`,
		Example: `  bulla mv s3://bucket/photos.tar s3://bucket/2026/photos.tar
  bulla mv --key backup.key s3://bucket/bound.tar s3://offsite/bound.tar`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			j.src, j.dst = args[0], args[1]
			if _, j.associatedData, err = data.both(); err != nil {
				return err
			}
			return a.copyObject(cmd.Context(), &j, s3upload.Move)
		},
	}
	flags := cmd.Flags()
	j.keys.registerRead(flags)
	flags.Lookup("key").Usage = "open a bound stream with this secret or private key: `FILE`,\nNAME=FILE for one in PEM, or a directory; repeatable"
	flags.Lookup("kms").Usage = "open it with this AWS KMS key: `ID`, ARN or alias/NAME; repeatable"
	j.store.register(flags)
	flags.IntVar(&j.concurrency, "concurrency", 0, "how many `PARTS` of a large object to copy at a time (default 5)")
	j.checksum.register(flags)
	data.registerAssociatedData(flags)
	j.keys.access.register(flags)
	return cmd
}

// copyObject lets the store copy or move an object.
func (a *app) copyObject(ctx context.Context, j *objectJob, do copyFunc) error {
	if j.concurrency < 0 {
		return usagef("--concurrency is negative")
	}
	src, err := parseS3(j.src)
	if err != nil {
		return err
	}
	dst, err := parseS3(j.dst)
	if err != nil {
		return err
	}
	if src == dst {
		return usagef("%s is both source and destination", j.src)
	}
	var keys keywrap.Unwrapper
	if j.keys.given() || os.Getenv(keyFileEnv) != "" {
		if keys, err = a.unwrapper(ctx, &j.keys); err != nil {
			return err
		}
	}
	client, err := j.store.client(ctx, &j.keys.access.aws)
	if err != nil {
		return err
	}
	var progress *meter
	defer func() { progress.stop() }()
	_, err = do(ctx, client, src.get(), dst.bucket, dst.key, keys, nil, &s3upload.RewrapOptions{
		Stream:       &stream.RewrapOptions{AssociatedData: j.associatedData},
		HeaderSuffix: j.store.headerSuffix,
		Concurrency:  j.concurrency,
		Change:       j.checksum.change,
		Progress: func(p s3upload.Progress) {
			if progress == nil {
				progress = a.meter(src.key, p.Total)
			}
			progress.done(p.Stored)
		},
	})
	if errors.Is(err, s3upload.ErrInput) {
		return usageError{err}
	}
	return err
}
