package main

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/bulla-format/bulla/keywrap"
)

// A keygenJob is what keygen was asked to do.
type keygenJob struct {
	kind   string
	name   string
	out    string
	public string
}

func (a *app) keygenCommand() *cobra.Command {
	var j keygenJob
	cmd := &cobra.Command{
		Use:   "keygen [--type TYPE] [-o FILE]",
		Short: "Make a key file",
		Long: `Make a new wrapping key: a text file of one line.

An AES-256 key (the default) writes and reads. An HPKE key is a pair: the
private key in FILE reads, and the public line, printed to standard output, only
writes. "hpke" is mlkem768-x25519; like the other mlkem types it withstands
quantum computers, x25519 and p256 do not.

Whoever has the file can read every stream that is written for it, and without
it nobody can: keep a copy in a safe place. Its name stands readable in the
header of those streams, and is how the key is found again.

The file is readable by its owner only. An existing file is never replaced.`,
		Example: `  bulla keygen -o backup.key
  bulla keygen --type hpke --name backup-2027 -o backup-2027.key --public backup-2027.pub
  bulla keygen -o - | secret-store put backup-key`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return a.keygen(&j) },
	}
	flags := cmd.Flags()
	flags.StringVarP(&j.out, "output", "o", "", "write the key to `FILE`; - is standard output")
	flags.StringVar(&j.kind, "type", "aes", "`TYPE` of the key: aes, hpke, mlkem768-x25519, mlkem1024-p384,\nmlkem768-p256, x25519 or p256")
	flags.StringVar(&j.name, "name", "", "the key's `NAME` in headers (default: the date and a random number)")
	flags.StringVar(&j.public, "public", "", "write the public line to `FILE`, not to standard output")
	return cmd
}

func (a *app) keygen(j *keygenJob) error {
	if j.out == "" && isTerminal(a.stdout) {
		return usagef("the key is not written to the terminal: use -o FILE, or -o - if you mean it")
	}
	name := j.name
	if name == "" {
		var unique [4]byte
		rand.Read(unique[:])
		name = fmt.Sprintf("key-%s-%x", time.Now().UTC().Format(time.DateOnly), unique)
	}
	secret, public, err := generateKey(j.kind, name)
	if err != nil {
		return usageError{err}
	}
	defer clear(secret)
	if public == nil && j.public != "" {
		return usagef("--public: an AES key has no public part; --type hpke makes a pair")
	}
	out := cmp.Or(j.out, "-")
	if err := a.writeText(out, secret, 0o600); err != nil {
		return err
	}
	if j.public == "" && out != "-" {
		j.public = "-"
	}
	if public != nil && j.public != "" {
		if err := a.writeText(j.public, public, 0o666); err != nil {
			if out != "-" {
				os.Remove(out) // nothing was written for it yet
			}
			return err
		}
	}
	if out != "-" {
		a.note("key %q is in %s", name, out)
	}
	return nil
}

// generateKey returns the line of a new key, and that of its public part if it
// has one.
func generateKey(kind, name string) (secret, public []byte, err error) {
	if kind == "aes" {
		key, err := keywrap.GenerateAESKey(name)
		if err != nil {
			return nil, nil, err
		}
		return key.SecretText(), nil, nil
	}
	var kem keywrap.KEM // its default is what "hpke" means
	if kind != "hpke" {
		if kem, err = keywrap.ParseKEM(kind); err != nil {
			return nil, nil, fmt.Errorf("--type: %w, aes or hpke", err)
		}
	}
	key, err := keywrap.GenerateHPKEKey(name, kem)
	if err != nil {
		return nil, nil, err
	}
	if public, err = key.PublicKey().MarshalText(); err != nil {
		return nil, nil, err
	}
	secret, err = key.SecretText()
	return secret, public, err
}

func (a *app) pubkeyCommand() *cobra.Command {
	var insecure bool
	cmd := &cobra.Command{
		Use:   "pubkey FILE",
		Short: "Print the public line of an HPKE key file",
		Long: `Print the public line of each private HPKE key in FILE, for --recipient.

It is not secret; but whoever can exchange it for another reads what is written
for it.`,
		Example: "  bulla pubkey backup.key > backup.pub",
		Args:    cobra.ExactArgs(1),
		RunE:    func(_ *cobra.Command, args []string) error { return a.pubkey(args[0], insecure) },
	}
	cmd.Flags().BoolVar(&insecure, "insecure-key-file", false, "accept secret files that other users can read")
	return cmd
}

func (a *app) pubkey(file string, insecure bool) error {
	keys, err := readKeys(file, insecure)
	if err != nil {
		return keyError{err}
	}
	var lines []byte
	for _, key := range keys {
		private, ok := key.(*keywrap.HPKEKey)
		if _, rsa := key.(*keywrap.RSAKey); rsa {
			return keyError{fmt.Errorf("%s is an RSA key; its public one is printed by: openssl pkey -in FILE -pubout", file)}
		}
		if !ok {
			return keyError{fmt.Errorf("%s: AES key %.128q has no public part", file, key.KeyName())}
		}
		line, err := private.PublicKey().MarshalText()
		if err != nil {
			return err
		}
		lines = append(append(lines, line...), '\n')
	}
	_, err = a.stdout.Write(lines)
	return err
}

// writeText writes a line to standard output, for -, or to a new file of the
// given mode.
func (a *app) writeText(name string, line []byte, mode fs.FileMode) (err error) {
	text := append(append(make([]byte, 0, len(line)+1), line...), '\n')
	defer clear(text)
	if name == "-" {
		_, err := a.stdout.Write(text)
		return err
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if os.IsExist(err) {
		return fmt.Errorf("%s exists: a key file is never replaced, give another name", name)
	}
	if err != nil {
		return err
	}
	if _, err = file.Write(text); err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		os.Remove(name)
		return err
	}
	syncDir(filepath.Dir(name))
	return nil
}
