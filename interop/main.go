// Command interop is the library's side of the checks in this directory, which
// run and checks.py describe. It encrypts or decrypts standard input to standard
// output:
//
//	interop encrypt|decrypt [-suite aes|chacha] KIND=FILE...
//
// Every key has the name "interop". A file holds, by the kind: aes, the key's 32
// bytes; rsa, PEM; hpke, the id of the KEM in 2 bytes and the private key;
// passphrase, the passphrase.
package main

import (
	"context"
	"crypto/hpke"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

const name = "interop"

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 {
		return errors.New("say encrypt or decrypt")
	}
	flags := flag.NewFlagSet(args[0], flag.ContinueOnError)
	suite := flags.String("suite", "aes", "aes or chacha")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	switch args[0] {
	case "encrypt":
		return encrypt(ctx, *suite, flags.Args())
	case "decrypt":
		return decrypt(ctx, flags.Args())
	}
	return fmt.Errorf("%q is neither encrypt nor decrypt", args[0])
}

func encrypt(ctx context.Context, suite string, keys []string) error {
	var wrappers []keywrap.Wrapper
	for _, k := range keys {
		kind, text, err := read(k)
		if err != nil {
			return err
		}
		w, err := wrapper(kind, text)
		if err != nil {
			return err
		}
		wrappers = append(wrappers, w)
	}
	o := &stream.EncryptOptions{Suite: format.AES256GCM}
	if suite == "chacha" {
		o.Suite = format.ChaCha20Poly1305
	}
	w, err := stream.NewEncryptWriter(ctx, os.Stdout, keywrap.Multi(wrappers...), o)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := io.Copy(w, os.Stdin); err != nil {
		return err
	}
	return w.Close()
}

func decrypt(ctx context.Context, keys []string) error {
	var unwrappers []keywrap.Unwrapper
	for _, k := range keys {
		kind, text, err := read(k)
		if err != nil {
			return err
		}
		u, err := key(kind, text)
		if err != nil {
			return err
		}
		unwrappers = append(unwrappers, u)
	}
	r, err := stream.NewDecryptReader(ctx, os.Stdin, keywrap.AnyOf(unwrappers...), nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(os.Stdout, r)
	return err
}

func read(key string) (kind string, text []byte, err error) {
	kind, file, _ := strings.Cut(key, "=")
	text, err = os.ReadFile(file)
	return kind, text, err
}

// wrapper takes a public RSA key; the other kinds wrap and unwrap.
func wrapper(kind string, text []byte) (keywrap.Wrapper, error) {
	if kind == "rsa" {
		return keywrap.ParseRSAPublicKey(name, text)
	}
	return key(kind, text)
}

func key(kind string, text []byte) (keywrap.Key, error) {
	switch kind {
	case "aes":
		return keywrap.NewAESKey(name, text)
	case "rsa":
		return keywrap.ParseRSAKey(name, text)
	case "hpke":
		kem, err := hpke.NewKEM(binary.BigEndian.Uint16(text))
		if err != nil {
			return nil, err
		}
		private, err := kem.NewPrivateKey(text[2:])
		if err != nil {
			return nil, err
		}
		return keywrap.NewHPKEKey(name, private)
	case "passphrase":
		return keywrap.NewPassphrase(text, &keywrap.PassphraseOptions{Hint: name, Memory: 8 << 10, Passes: 2})
	}
	return nil, fmt.Errorf("%q is no kind of key", kind)
}
