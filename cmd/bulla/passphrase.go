package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/term"

	"github.com/bulla-format/bulla/keywrap"
)

// passphraseCost is what guessing shall cost. Tests make it cheap.
var passphraseCost keywrap.PassphraseOptions

// loadPassphrase returns the key of the passphrase that the flags tell, or nil.
// One that is new, for writing, is asked for twice.
func (a *app) loadPassphrase(ctx context.Context, f *keyFlags, isNew bool) (*keywrap.Passphrase, error) {
	var secret []byte
	var err error
	switch {
	case f.passphrase:
		secret, err = a.askPassphrase(ctx, f.prefix, isNew)
	case f.passphraseFile != "":
		secret, err = readPassphraseFile(f.passphraseFile, f.access.insecure)
	default:
		return nil, nil
	}
	defer clear(secret)
	if err != nil {
		return nil, err
	}
	p, err := keywrap.NewPassphrase(secret, &passphraseCost)
	if err != nil {
		return nil, keyError{err}
	}
	return p, nil
}

// readPassphraseFile returns the first line of a file.
func readPassphraseFile(path string, insecure bool) ([]byte, error) {
	text, err := readSecret(path, insecure)
	if err != nil {
		return nil, keyError{err}
	}
	defer clear(text)
	line, _, _ := bytes.Cut(text, []byte("\n"))
	return bytes.Clone(bytes.TrimSuffix(line, []byte("\r"))), nil
}

// askPassphrase asks on the terminal, which may be another than standard input.
func (a *app) askPassphrase(ctx context.Context, prefix string, isNew bool) ([]byte, error) {
	tty, ok := a.stdin.(*os.File)
	if !ok || !isTerminal(tty) {
		var err error
		if tty, err = os.OpenFile(terminalName, os.O_RDWR, 0); err != nil {
			return nil, usagef("--%spassphrase asks on the terminal, and there is none: use --%[1]spassphrase-file", prefix)
		}
		defer tty.Close()
	}
	prompt := io.Writer(tty)
	if isTerminal(a.stderr) {
		prompt = a.stderr
	}
	label := "Passphrase"
	if prefix != "" {
		label = "New passphrase"
	}
	secret, err := readHidden(ctx, tty, prompt, label)
	if err != nil || !isNew {
		return secret, err
	}
	again, err := readHidden(ctx, tty, prompt, label+", once more")
	defer clear(again)
	if err == nil && !bytes.Equal(secret, again) {
		err = keyError{errors.New("the second passphrase is not the first one")}
	}
	if err != nil {
		clear(secret)
		return nil, err
	}
	return secret, nil
}

// readHidden reads a line that is not shown. When ctx ends, the terminal gets
// its echo back; the goroutine ends with the line or the process.
func readHidden(ctx context.Context, tty *os.File, prompt io.Writer, label string) ([]byte, error) {
	fd := int(tty.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("reading the passphrase: %w", err)
	}
	fmt.Fprint(prompt, label+": ")
	defer fmt.Fprintln(prompt)
	type answer struct {
		line []byte
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		done <- answer{line, err}
	}()
	select {
	case got := <-done:
		if got.err != nil {
			return nil, keyError{fmt.Errorf("reading the passphrase: %w", got.err)}
		}
		return got.line, nil
	case <-ctx.Done():
		term.Restore(fd, state)
		return nil, context.Cause(ctx)
	}
}
