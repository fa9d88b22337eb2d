package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/bulla-format/bulla/s3upload"
)

func (a *app) abortCommand() *cobra.Command {
	var store s3Flags
	var access awsFlags
	cmd := &cobra.Command{
		Use:   "abort JOURNAL",
		Short: "Give up an upload that cp --journal has begun",
		Long: `Give up an upload that "bulla cp --journal" has begun: the store deletes the parts
that it has, which are billed no more, and the journal is removed. No key is
needed.`,
		Example: `  bulla abort up.journal`,
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.abort(cmd.Context(), args[0], &store, &access)
		},
	}
	store.registerEndpoint(cmd.Flags())
	access.register(cmd.Flags())
	return cmd
}

func (a *app) abort(ctx context.Context, journal string, store *s3Flags, access *awsFlags) error {
	client, err := store.client(ctx, access)
	if err != nil {
		return err
	}
	return s3upload.New(client, nil, nil).AbortResumable(ctx, journal)
}
