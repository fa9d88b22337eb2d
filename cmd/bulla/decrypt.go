package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bulla-format/bulla/stream"
)

func (a *app) decryptCommand() *cobra.Command {
	var j job
	cmd := &cobra.Command{
		Use:   "decrypt [FILE.bulla]",
		Short: "Decrypt a file or standard input",
		Long: `Decrypt FILE.bulla to FILE, or standard input to standard output.

The file appears only when the whole stream is authenticated. On standard
output every byte is authenticated too, but the bytes may be a prefix unless
the exit code is 0: a consumer that must not act on a prefix needs -o FILE.`,
		Example: `  bulla decrypt --key backup.key photos.tar.bulla
  bulla decrypt --key backup.key photos.tar.bulla -o - | tar x
  bulla decrypt --kms alias/backups --require-context tenant=acme < db.bulla > db.dump`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			j.in = optional(args)
			return a.decrypt(cmd.Context(), &j)
		},
	}
	j.keys.registerRead(cmd.Flags())
	j.registerOutput(cmd)
	j.stream.registerBoth(cmd.Flags())
	j.stream.registerDecrypt(cmd.Flags())
	j.keys.access.register(cmd.Flags())
	return cmd
}

func (a *app) decrypt(ctx context.Context, j *job) error {
	guard := false // standard output is a terminal that was not asked for
	if j.out == "" {
		name, ok := strings.CutSuffix(j.in, suffix)
		switch {
		case j.in == "-":
			j.out, guard = "-", isTerminal(a.stdout)
		case ok && name != "":
			j.out = name
		default:
			return usagef("%s does not end in %s: name the file to write with -o FILE, or -o - for standard output", j.in, suffix)
		}
	}
	if j.in == "-" && isTerminal(a.stdin) {
		return usagef("standard input is a terminal: name a file, or pipe a stream in")
	}
	options, err := j.stream.decryptOptions()
	if err != nil {
		return err
	}
	keys, err := a.unwrapper(ctx, &j.keys)
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
	if guard {
		out.Writer = textWriter{out.Writer}
	}
	progress := a.meter(in.name, in.size)
	defer progress.stop()
	r, err := stream.NewDecryptReader(ctx, progress.reader(in), keys, options)
	if err != nil {
		return named(in.name, err)
	}
	if _, err := r.WriteTo(out); err != nil {
		return named(in.name, err)
	}
	return out.commit()
}
