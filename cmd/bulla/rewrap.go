package main

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// A rewrapJob is what rewrap was asked to do.
type rewrapJob struct {
	file      string
	old, new  keyFlags
	keep      []string
	keepAll   bool
	stream    streamFlags
	noContext bool
	location  *string // nil: as it is
}

func (a *app) rewrapCommand() *cobra.Command {
	j := rewrapJob{stream: streamFlags{context: pairs{}}}
	var location string
	cmd := &cobra.Command{
		Use:   "rewrap FILE",
		Short: "Make an encrypted file one for other keys",
		Long: `Make an encrypted file one for other keys: a new header takes the place of the
old one, the rest stays as it is, byte for byte.

--key, --kms and --passphrase open the file; any one that fits will do. The new
header is for the new keys and for those that --keep names, no others.

The file is replaced in one step, and stays as it was if anything fails. Where
the file system shares blocks between files nothing else is copied.

Re-wrapping revokes nothing from those who had the data key, or have an old copy
of the header and a key that opens it: where that matters, encrypt again.`,
		Example: `  bulla rewrap --key old.key --new-key new.key photos.tar.bulla
  bulla rewrap --key backup.key --keep-all --new-recipient partner.pub photos.tar.bulla
  bulla rewrap --passphrase --new-kms alias/backups --context tenant=acme db.bulla`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			j.file = args[0]
			if cmd.Flags().Changed("location") {
				j.location = &location
			}
			return a.rewrap(cmd.Context(), &j)
		},
	}
	flags := cmd.Flags()
	j.old.registerRead(flags)
	flags.Lookup("key").Usage = "open the file with this secret or private key: `FILE`, NAME=FILE for\none in PEM, or a directory; repeatable"
	flags.Lookup("kms").Usage = "open it with this AWS KMS key: `ID`, ARN or alias/NAME; repeatable"
	j.new.registerNew(flags, j.old.access)
	flags.StringArrayVar(&j.keep, "keep", nil, "keep the wrapped keys of this `NAME`; repeatable")
	flags.BoolVar(&j.keepAll, "keep-all", false, "keep all wrapped keys")
	flags.Var(j.stream.context, "context", "replace the context by this pair; repeatable")
	flags.BoolVar(&j.noContext, "no-context", false, "remove the context")
	flags.StringVar(&location, "location", "", "bind the stream to another `LOCATION`, such as s3://BUCKET/KEY;\nempty: to none")
	j.stream.registerAssociatedData(flags)
	j.old.access.register(flags)
	return cmd
}

func (a *app) rewrap(ctx context.Context, j *rewrapJob) error {
	if err := j.check(); err != nil {
		return err
	}
	_, associatedData, err := j.stream.both()
	if err != nil {
		return err
	}
	header, _, err := a.readHeader(ctx, j.file)
	if err != nil {
		return err
	}
	before, err := stream.Inspect(header)
	if err != nil {
		return named(j.file, err)
	}
	if err := j.checkKept(before.Keys); err != nil {
		return err
	}
	old, err := a.unwrapper(ctx, &j.old)
	if err != nil {
		return err
	}
	var wrapper keywrap.Wrapper
	if j.new.given() {
		var names []string
		if wrapper, names, err = a.wrapper(ctx, &j.new); err != nil {
			return err
		}
		if at := slices.IndexFunc(before.Keys, func(k format.WrappedKey) bool { return j.keeps(k) && slices.Contains(names, k.Name) }); at >= 0 {
			return usagef("the stream is for a key %.128q already: give the new one another name, or do not keep the old one", before.Keys[at].Name)
		}
	}
	after, err := stream.RewrapFile(ctx, j.file, old, wrapper, &stream.RewrapOptions{
		Keep: j.keeps, AssociatedData: associatedData, Context: j.context(), Location: j.location, ClassicalKeys: j.new.classical,
	})
	if err != nil {
		return encryptError(j.file, err)
	}
	a.note("%s: generation %d, was %d", oneLine(j.file), after.Generation, before.Generation)
	a.note("  for:     %s", keyList(after.Keys))
	a.note("  was for: %s", keyList(before.Keys))
	a.note("Re-wrapping revokes nothing from those who had the data key, or keep the old header and a key that opens it.")
	return nil
}

func (j *rewrapJob) check() error {
	switch {
	case j.file == "-" || isS3(j.file):
		return usagef("rewrap takes a file")
	case !j.new.given() && len(j.keep) == 0 && !j.keepAll:
		return usagef("nobody could read the stream: give --new-key, --new-recipient, --new-kms or --new-passphrase, or keep keys with --keep")
	case !j.new.given() && j.new.active != "":
		return usagef("--new-active chooses among the keys of --new-key, and there is none")
	case j.keepAll && len(j.keep) > 0:
		return usagef("--keep-all and --keep: give one of them")
	case j.noContext && len(j.stream.context) > 0:
		return usagef("--no-context and --context: give one of them")
	}
	return nil
}

// checkKept refuses to keep what is not there: a typing error would take a key
// away.
func (j *rewrapJob) checkKept(keys []format.WrappedKey) error {
	for _, name := range j.keep {
		if !slices.ContainsFunc(keys, func(k format.WrappedKey) bool { return k.Name == name }) {
			return usagef("--keep %.128q: the stream is for %s", name, keyList(keys))
		}
	}
	return nil
}

func (j *rewrapJob) keeps(k format.WrappedKey) bool {
	return j.keepAll || slices.Contains(j.keep, k.Name)
}

// context returns the new context: nil if it stays, empty if it goes.
func (j *rewrapJob) context() keywrap.Context {
	if len(j.stream.context) == 0 && !j.noContext {
		return nil
	}
	return keywrap.Context(j.stream.context)
}

func keyList(keys []format.WrappedKey) string {
	var names []string
	for _, k := range keys {
		names = append(names, newSummaryKey(k).String())
	}
	return strings.Join(names, "; ")
}
