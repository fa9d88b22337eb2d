// Command pipe encrypts text that it makes, to standard output if that is a pipe and to nowhere otherwise, or decrypts
// standard input and compares it with that text. It is a process of its own, so that the peak memory that it writes to
// standard error, in bytes, is that of one stream and nothing else.
//
//	pipe -size 1073741824 encrypt | pipe -size 1073741824 decrypt
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/bulla-format/bulla/e2e/measure"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

func main() {
	size := flag.Int64("size", 1<<30, "plaintext size in bytes")
	flag.Parse()
	peak, err := run(flag.Arg(0), measure.Text{Size: *size, Seed: 1})
	if err != nil {
		fmt.Fprintln(os.Stderr, "pipe:", err)
		os.Exit(1)
	}
	fmt.Fprintln(os.Stderr, peak)
}

func run(op string, text measure.Text) (peak int64, err error) {
	key, err := keywrap.NewAESKey("pipe", make([]byte, keywrap.AESKeySize))
	if err != nil {
		return 0, err
	}
	switch op {
	case "encrypt":
		err = encrypt(key, text)
	case "decrypt":
		err = decrypt(key, text)
	default:
		err = errors.New("encrypt or decrypt?")
	}
	if err != nil {
		return 0, err
	}
	return measure.PeakRSS()
}

func encrypt(key *keywrap.AESKey, text measure.Text) error {
	dst := io.Discard
	if info, err := os.Stdout.Stat(); err == nil && info.Mode()&os.ModeNamedPipe != 0 {
		dst = os.Stdout
	}
	w, err := stream.NewEncryptWriter(context.Background(), dst, key, nil)
	if err != nil {
		return err
	}
	defer w.Abort()
	if _, err := io.Copy(w, text.Reader()); err != nil {
		return err
	}
	return w.Close()
}

func decrypt(key *keywrap.AESKey, text measure.Text) error {
	r, err := stream.NewDecryptReader(context.Background(), os.Stdin, key, nil)
	if err != nil {
		return err
	}
	check := text.CheckFrom(0)
	if _, err := io.Copy(check, r); err != nil {
		return err
	}
	if check.Offset() != text.Size {
		return fmt.Errorf("%d bytes came back, not %d", check.Offset(), text.Size)
	}
	return nil
}
