package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// suffix is what the name of an encrypted file ends in.
const suffix = ".bulla"

// A job is what encrypt and decrypt were asked to do.
type job struct {
	keys   keyFlags
	stream streamFlags
	in     string
	out    string
	force  bool
}

func (j *job) registerOutput(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&j.out, "output", "o", "", "write to `FILE`; - is standard output")
	cmd.Flags().BoolVarP(&j.force, "force", "f", false, "replace an existing file")
}

func (a *app) encryptCommand() *cobra.Command {
	var j job
	cmd := &cobra.Command{
		Use:   "encrypt [FILE]",
		Short: "Encrypt a file or standard input",
		Long: `Encrypt FILE to FILE.bulla, or standard input to standard output.

The stream is for the first --key (or the --active one), the first --kms, every
--recipient and the passphrase: each of them opens it. With nothing but
--recipient, who encrypts cannot decrypt.

The names of the keys, the context pairs and the plaintext's size can be read in
the header by anyone; nothing of it can be changed unnoticed.`,
		Example: `  bulla encrypt --key backup.key photos.tar
  tar c photos | bulla encrypt --key backup.key -o photos.tar.bulla
  bulla encrypt -r backup.pub -r offsite=offsite.pem photos.tar
  bulla encrypt --passphrase photos.tar
  bulla encrypt --kms alias/backups --context tenant=acme db.dump -o - | ssh host 'cat > db.bulla'`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			j.in = optional(args)
			return a.encrypt(cmd.Context(), &j)
		},
	}
	j.keys.registerRead(cmd.Flags())
	j.keys.registerWrite(cmd.Flags())
	j.registerOutput(cmd)
	j.stream.registerBoth(cmd.Flags())
	j.stream.registerEncrypt(cmd.Flags())
	j.keys.access.register(cmd.Flags())
	return cmd
}

func (a *app) encrypt(ctx context.Context, j *job) error {
	switch {
	case j.out == "" && j.in != "-":
		j.out = j.in + suffix
	case j.out == "" && isTerminal(a.stdout):
		return usagef("the ciphertext is not written to the terminal: use -o FILE, or -o - if you mean it")
	case j.out == "":
		j.out = "-"
	}
	options, err := j.stream.encryptOptions()
	if err != nil {
		return err
	}
	keys, _, err := a.wrapper(ctx, &j.keys)
	if err != nil {
		return err
	}
	in, err := a.open(ctx, j.in)
	if err != nil {
		return err
	}
	defer in.close()
	out, err := a.create(j.out, j.force)
	if err != nil {
		return err
	}
	defer out.discard()
	options.ClassicalKeys = j.keys.classical
	if in.size >= 0 {
		options.PlaintextSize = &in.size
	}
	w, err := stream.NewEncryptWriter(ctx, out, keys, options)
	if err != nil {
		return encryptError(in.name, err)
	}
	defer w.Abort()
	progress := a.meter(in.name, in.size)
	defer progress.stop()
	if _, err := io.Copy(w, progress.reader(in)); err != nil {
		return encryptError(in.name, err)
	}
	if err := w.Close(); err != nil {
		return encryptError(in.name, err)
	}
	return out.commit()
}

// encryptError puts in a writer's words what would mean a damaged stream to a
// reader.
func encryptError(name string, err error) error {
	switch {
	case errors.Is(err, stream.ErrSizeMismatch):
		return fmt.Errorf("%s changed while it was read: encrypt it again", name)
	case errors.Is(err, stream.ErrClassical):
		return usagef("%w: that is --classical NAME", err)
	case errors.Is(err, format.ErrMalformed):
		return usagef("the header cannot hold these keys and context pairs: %v", err)
	}
	return named(name, err)
}
