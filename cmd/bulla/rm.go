package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
)

// An rmJob is what rm was asked to do.
type rmJob struct {
	args  []string
	many  manyFlags
	store s3Flags
	aws   awsFlags
}

func (a *app) rmCommand() *cobra.Command {
	var j rmJob
	cmd := &cobra.Command{
		Use:   "rm s3://BUCKET/KEY...",
		Short: "Delete encrypted objects, with the headers beside them",
		Long: `Delete encrypted objects, and then the header beside each, also one whose object
is gone already. What is not encrypted is left alone. No key is needed; what does
not exist is no error.

In a bucket that keeps versions the object and its header stay, behind delete
markers.`,
		Example: `  bulla rm s3://bucket/photos.tar
  bulla rm --recursive s3://bucket/2019/`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			j.args = args
			return a.rm(cmd.Context(), &j)
		},
	}
	flags := cmd.Flags()
	j.many.register(flags)
	j.store.register(flags)
	j.aws.register(flags)
	return cmd
}

func (a *app) rm(ctx context.Context, j *rmJob) error {
	places, err := j.many.places(j.args)
	if err != nil {
		return err
	}
	client, err := j.store.client(ctx, &j.aws)
	if err != nil {
		return err
	}
	if len(places) == 1 && !j.many.recursive {
		return s3upload.Delete(ctx, client, places[0].get(), j.store.headerSuffix)
	}
	b := a.newBatch(j.many.concurrency)
	for o, err := range j.many.objects(ctx, client, places, &s3download.ListOptions{HeaderSuffix: j.store.headerSuffix}) {
		if err != nil {
			b.note(ctx, o.String(), outcome{}, err)
			continue
		}
		b.do(ctx, o.String(), func() (outcome, error) {
			err := s3upload.Delete(ctx, client, o.get(), j.store.headerSuffix)
			if j.many.recursive && errors.Is(err, format.ErrNotStream) {
				return outcome{"left, which are not encrypted", ""}, nil
			}
			return outcome{"deleted", "deleted"}, err
		})
	}
	return b.end(ctx)
}
