package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

// An app is what every command works with.
type app struct {
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	quiet  bool
}

// run executes a command line and returns the exit code. When ctx ends, what
// was begun is undone.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.rootCommand()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	parsed := false // an error before that is one of usage
	root.PersistentPreRun = func(*cobra.Command, []string) { parsed = true }
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !parsed {
		err = usagef("%s", strings.Join(strings.Fields(err.Error()), " ")) // suggestions span lines
	}
	return report(ctx, stderr, cmd.CommandPath(), err)
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "bulla",
		Short: "Encrypt streams before they reach object storage",
		Long: `Bulla encrypts files, pipes and S3 objects of any size in constant memory.

A file that a command writes appears under its name only when it is complete
and every byte of it authenticated. What goes to standard output is authentic
too, but only a prefix if the exit code is not 0: prefer -o FILE where that
matters.

Keys are files made by "bulla keygen" or RSA keys in PEM (--key, and --recipient
for public ones), AWS KMS keys (--kms) or passphrases (--passphrase).

Exit codes:
    0  success
    1  failure
    2  the command line is wrong
    3  the stream is damaged, truncated or was changed: do not trust it
    4  no key opens the stream, the passphrase is wrong, or a key cannot be used
  130  interrupted

Environment:
  BULLA_KEY_FILE  what --key is when no key is given
  AWS_*           as for the AWS CLI: credentials, profile, Region, endpoints`,
		Example: `  bulla keygen -o backup.key
  bulla encrypt --key backup.key photos.tar
  bulla decrypt --key backup.key photos.tar.bulla
  tar c photos | bulla cp --key backup.key - s3://bucket/photos.tar
  bulla cat --key backup.key s3://bucket/photos.tar --range 0-511`,
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().BoolVarP(&a.quiet, "quiet", "q", false, "print nothing but errors")
	root.AddCommand(
		a.keygenCommand(), a.pubkeyCommand(), a.encryptCommand(), a.decryptCommand(),
		a.inspectCommand(), a.rewrapCommand(),
		a.cpCommand(), a.abortCommand(), a.catCommand(), a.lsCommand(), a.mvCommand(), a.rmCommand(),
	)
	for _, cmd := range root.Commands() {
		cmd.Flags().SortFlags = false // as registered: what is used most stands first
	}
	return root
}

// version is the module's version as the Go toolchain recorded it.
func version() string {
	v := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok {
		v = cmp.Or(info.Main.Version, v)
	}
	return fmt.Sprintf("%s (%s %s/%s)", v, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// note prints a line for people on standard error.
func (a *app) note(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.stderr, format+"\n", args...)
	}
}

// optional returns the only argument, or - for none.
func optional(args []string) string {
	if len(args) == 0 {
		return "-"
	}
	return args[0]
}
