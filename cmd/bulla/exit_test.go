package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

func TestReport(t *testing.T) {
	for _, c := range []struct {
		err  error
		code int
		want string
	}{
		{nil, exitOK, ""},
		{errors.New("oops"), exitFailure, "bulla: oops\n"},
		{usagef("oops"), exitUsage, "bulla: oops; see \"bulla test --help\"\n"},
		{keyError{fs.ErrNotExist}, exitKey, "bulla: file does not exist\n"},
		{&awskms.Error{Operation: "Decrypt", Key: "k", Err: errors.New("oops")}, exitKey, "bulla: awskms: Decrypt with key k: "},
		{&stream.SegmentError{Index: 1, Offset: 2, Err: stream.ErrAuth}, exitUntrusted, "segment 1 "},
		{stream.ErrTruncated, exitUntrusted, "truncated"},
		{stream.ErrSizeMismatch, exitUntrusted, "size mismatch"},
		{&format.Error{Class: format.ErrMalformed, Reason: "oops"}, exitUntrusted, "malformed"},
		{&format.Error{Class: format.ErrUnsupported, Reason: "oops"}, exitFailure, "newer release"},
		{&format.Error{Class: format.ErrNotStream, Reason: "oops"}, exitFailure, "not a Bulla stream"},
		{keywrap.ErrNoMatch, exitKey, "--kms"},
		{errors.Join(keywrap.ErrUnwrap, errors.New("oops")), exitKey, "; oops; "},
		{stream.ErrPolicy, exitFailure, "refused by policy"},
		{stream.ErrContext, exitFailure, "context mismatch"},
		{errors.New("\n\n a\r\n\x1b[31mb\n"), exitFailure, "bulla: a; \uFFFD[31mb\n"},
	} {
		if c.err != nil && c.code != exitUsage && c.code != exitOK {
			c.err = fmt.Errorf("%w", c.err)
		}
		var b bytes.Buffer
		if code := report(t.Context(), &b, "bulla test", c.err); code != c.code || !strings.Contains(b.String(), c.want) {
			t.Errorf("%v: exit code %d, want %d; %q", c.err, code, c.code, &b)
		}
	}
}

func TestReportInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var b bytes.Buffer
	if code := report(ctx, &b, "bulla cp", stream.ErrAuth); code != exitInterrupted || b.String() != "bulla: interrupted\n" {
		t.Errorf("exit code %d, %q", code, &b)
	}
	b.Reset()
	left := &s3upload.UploadError{Bucket: "b", Key: "k", UploadID: "id-17", Err: context.Canceled, AbortErr: errors.New("oops")}
	if code := report(ctx, &b, "bulla cp", left); code != exitInterrupted || !strings.Contains(b.String(), "id-17") {
		t.Errorf("exit code %d, %q: what is left in the store is not told", code, &b)
	}
	if code := report(ctx, &b, "bulla cp", nil); code != exitOK {
		t.Errorf("work that was done has exit code %d", code)
	}
}

func TestNamed(t *testing.T) {
	for _, c := range []struct {
		name string
		err  error
		want string
	}{
		{"a", errors.New("bad"), "a: bad"},
		{"a", &fs.PathError{Op: "read", Path: "a", Err: fs.ErrPermission}, "read a: permission denied"},
		{"a", &fs.PathError{Op: "read", Path: "ab", Err: fs.ErrPermission}, "a: read ab: permission denied"},
		{"s3://a/b", errors.New(`"s3://a/b": bad`), `"s3://a/b": bad`},
	} {
		if got := named(c.name, c.err); got.Error() != c.want || !errors.Is(got, c.err) {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
