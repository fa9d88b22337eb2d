package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulla-format/bulla/keywrap"
)

func (a *app) keygenCommand() *cobra.Command {
	var name, out string
	cmd := &cobra.Command{
		Use:   "keygen [-o FILE]",
		Short: "Make a key file",
		Long: `Make a new AES-256 wrapping key: a text file of one line.

Whoever has the file can read every stream that is written with it, and without
it nobody can: keep a copy in a safe place. Its name stands readable in the
header of those streams, and is how the key is found again.

The file is readable by its owner only. An existing file is never replaced.`,
		Example: `  bulla keygen -o backup.key
  bulla keygen --name backup-2027 -o backup-2027.key
  bulla keygen -o - | secret-store put backup-key`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.keygen(name, out) },
	}
	cmd.Flags().StringVarP(&out, "output", "o", "", "write the key to `FILE`; - is standard output")
	cmd.Flags().StringVar(&name, "name", "", "the key's `NAME` in headers (default: the date and a random number)")
	return cmd
}

func (a *app) keygen(name, out string) error {
	if name == "" {
		var unique [4]byte
		rand.Read(unique[:])
		name = fmt.Sprintf("key-%s-%x", time.Now().UTC().Format(time.DateOnly), unique)
	}
	if out == "" && isTerminal(a.stdout) {
		return usagef("the key is not written to the terminal: use -o FILE, or -o - if you mean it")
	}
	key, err := keywrap.GenerateAESKey(name)
	if err != nil {
		return usageError{err}
	}
	text := append(key.SecretText(), '\n')
	defer clear(text)
	if out == "" || out == "-" {
		_, err := a.stdout.Write(text)
		return err
	}
	if err := writeKey(out, text); err != nil {
		return err
	}
	a.note("key %q is in %s", name, out)
	return nil
}

// writeKey writes a new file that only its owner can read.
func writeKey(name string, text []byte) (err error) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if os.IsExist(err) {
		return fmt.Errorf("%s exists: a key file is never replaced, give another name", name)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			file.Close()
			os.Remove(name)
		}
	}()
	if _, err := file.Write(text); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	syncDir(filepath.Dir(name))
	return nil
}
