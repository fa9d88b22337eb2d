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
	args      []string // a file, or objects
	old, new  keyFlags
	keep      []string
	keepAll   bool
	stream    streamFlags
	noContext bool
	location  *string // nil: as it is
	store     s3Flags
	many      manyFlags
	checksum  checksum
}

func (a *app) rewrapCommand() *cobra.Command {
	j := rewrapJob{stream: streamFlags{context: pairs{}}}
	var location string
	cmd := &cobra.Command{
		Use:   "rewrap {FILE | s3://BUCKET/KEY...}",
		Short: "Make an encrypted file, or objects in S3, for other keys",
		Long: `Make an encrypted file, or objects in S3, for other keys: a new header takes the
place of the old one, the rest stays as it is, byte for byte.

--key, --kms and --passphrase open the stream; any one that fits will do. The new
header is for the new keys and for those that --keep names, no others.

The file is replaced in one step, and stays as it was if anything fails. Where
the file system shares blocks between files nothing else is copied.

An object is copied by the store: at most 5 MiB of it come here. It is replaced
in one step too, keeps its metadata and tags, and stays as it was if anything
fails or another writer comes first. What is for the new keys already is left
alone, so repeating is safe; with --recursive, so is what is not encrypted. A
kept key that has the name of a new one gives way to it. One object that fails
does not stop the others.

Re-wrapping revokes nothing from those who had the data key, or have an old copy
of the header and a key that opens it: where that matters, encrypt again.`,
		Example: `  bulla rewrap --key old.key --new-key new.key photos.tar.bulla
  bulla rewrap --key backup.key --keep-all --new-recipient partner.pub photos.tar.bulla
  bulla rewrap --passphrase --new-kms alias/backups --context tenant=acme db.bulla
  bulla rewrap --key old.key --new-key new.key --recursive s3://bucket/2026/`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			j.args = args
			if cmd.Flags().Changed("location") {
				j.location = &location
			}
			if err := j.check(); err != nil {
				return err
			}
			if isS3(args[0]) {
				return a.rewrapObjects(cmd.Context(), &j)
			}
			return a.rewrapFile(cmd.Context(), &j)
		},
	}
	flags := cmd.Flags()
	j.old.registerRead(flags)
	flags.Lookup("key").Usage = "open it with this secret or private key: `FILE`, NAME=FILE for\none in PEM, or a directory; repeatable"
	flags.Lookup("kms").Usage = "open it with this AWS KMS key: `ID`, ARN or alias/NAME; repeatable"
	j.new.registerNew(flags, j.old.access)
	flags.StringArrayVar(&j.keep, "keep", nil, "keep the wrapped keys of this `NAME`; repeatable")
	flags.BoolVar(&j.keepAll, "keep-all", false, "keep all wrapped keys")
	flags.Var(j.stream.context, "context", "replace the context by this pair; repeatable")
	flags.BoolVar(&j.noContext, "no-context", false, "remove the context")
	flags.StringVar(&location, "location", "", "bind the stream to another `LOCATION`, such as s3://BUCKET/KEY;\nempty: to none")
	j.stream.registerAssociatedData(flags)
	j.many.register(flags)
	j.checksum.register(flags)
	j.store.register(flags)
	j.old.access.register(flags)
	return cmd
}

// notRevoked is what who re-wraps has to know.
const notRevoked = "Re-wrapping revokes nothing from those who had the data key, or keep the old header and a key that opens it."

func (a *app) rewrapFile(ctx context.Context, j *rewrapJob) error {
	file := j.args[0]
	_, associatedData, err := j.stream.both()
	if err != nil {
		return err
	}
	header, _, err := a.readHeader(ctx, file)
	if err != nil {
		return err
	}
	before, err := stream.Inspect(header)
	if err != nil {
		return named(file, err)
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
	after, err := stream.RewrapFile(ctx, file, old, wrapper, &stream.RewrapOptions{
		Keep: j.keeps, AssociatedData: associatedData, Context: j.context(), Location: j.location, ClassicalKeys: j.new.classical,
	})
	if err != nil {
		return encryptError(file, err)
	}
	a.note("%s: generation %d, was %d", oneLine(file), after.Generation, before.Generation)
	a.note("  for:     %s", keyList(after.Keys))
	a.note("  was for: %s", keyList(before.Keys))
	a.note(notRevoked)
	return nil
}

func (j *rewrapJob) check() error {
	objects := 0
	for _, arg := range j.args {
		if isS3(arg) {
			objects++
		}
	}
	switch {
	case j.args[0] == "-":
		return usagef("rewrap takes a file, or objects")
	case objects > 0 && objects < len(j.args) || objects == 0 && len(j.args) > 1:
		return usagef("rewrap takes one file, or any number of objects s3://BUCKET/KEY")
	case objects == 0 && j.many.recursive:
		return usagef("--recursive is for s3://BUCKET/PREFIX/")
	case (objects > 1 || j.many.recursive) && j.location != nil && *j.location != "":
		return usagef("--location: several objects cannot be bound to one location")
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
