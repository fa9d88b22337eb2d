package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// The exit codes, as the help of the root command lists them.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitUntrusted   = 3
	exitKey         = 4
	exitInterrupted = 130
)

// A usageError is a mistake in the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// A keyError is a key that cannot be used.
type keyError struct{ error }

func (e keyError) Unwrap() error { return e.error }

// classes give errors their exit code and tell what to do next, unless their
// own message does. The first that matches counts.
var classes = []struct {
	err  error
	code int
	next string
}{
	{stream.ErrTruncated, exitUntrusted, "fetch it again, or restore a complete copy"},
	{stream.ErrAuth, exitUntrusted, "restore a good copy"},
	{stream.ErrSizeMismatch, exitUntrusted, "restore a good copy"},
	{format.ErrMalformed, exitUntrusted, "restore a good copy"},
	{keywrap.ErrNoMatch, exitKey, "give one of these keys with --key, --kms or --passphrase"},
	{keywrap.ErrUnwrap, exitKey, "check the keys, and the passphrase"},
	{keywrap.ErrKeyCost, exitKey, ""},
	{keywrap.ErrKeyFormat, exitKey, ""},
	{stream.ErrChanged, exitFailure, "run it again"},
	{s3upload.ErrChanged, exitFailure, "run it again"},
	{s3upload.ErrJournal, exitFailure, "name another file with --journal, or remove this one"},
	{s3upload.ErrSourceChanged, exitFailure, `"bulla abort" gives the upload up`},
	{s3upload.ErrUploadGone, exitFailure, ""},
	{s3upload.ErrExists, exitFailure, "delete it first, or choose another place"},
	{s3download.ErrNoHeader, exitFailure, "name its suffix with --header-suffix, or restore it"},
	{format.ErrNotStream, exitFailure, "is it the encrypted file?"},
	{format.ErrUnsupported, exitFailure, "a newer release may read it"},
}

// report prints err as one line and returns its exit code. command is what the
// user called.
func report(ctx context.Context, stderr io.Writer, command string, err error) int {
	if err == nil {
		return exitOK
	}
	code, next := classify(err)
	message := err.Error()
	switch {
	case ctx.Err() != nil:
		code, next, message = exitInterrupted, "", "interrupted"
		if upload, ok := errors.AsType[*s3upload.UploadError](err); ok {
			message += ": " + upload.Error() // tells if anything is left in the store
		}
	case code == exitUsage:
		next = fmt.Sprintf("see %q", command+" --help")
	}
	if next != "" {
		message += "; " + next
	}
	fmt.Fprintln(stderr, "bulla: "+oneLine(message))
	return code
}

func classify(err error) (code int, next string) {
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage, ""
	}
	if b, ok := errors.AsType[*batchError](err); ok {
		return b.code, ""
	}
	for _, c := range classes {
		if errors.Is(err, c.err) {
			return c.code, c.next
		}
	}
	_, key := errors.AsType[keyError](err)
	_, kms := errors.AsType[*awskms.Error](err)
	if key || kms {
		return exitKey, ""
	}
	return exitFailure, ""
}

// named says what err is about, unless it says so itself.
func named(name string, err error) error {
	path, ok := errors.AsType[*fs.PathError](err)
	if ok && path.Path == name || (isS3(name) || isURL(name)) && strings.Contains(err.Error(), name) {
		return err
	}
	return fmt.Errorf("%s: %w", name, err)
}

// oneLine makes a message, which may quote a server or a header, safe to print
// on a terminal.
func oneLine(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.Join(lines, "; "))
}
