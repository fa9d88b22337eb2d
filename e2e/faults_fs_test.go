package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3fs"
)

// A filing is the deed of using objects as files.
type filing struct {
	name  string
	use   func(ctx context.Context, fsys *s3fs.FS) error
	kinds map[string]int
}

func fileDeeds(t *testing.T) (deeds []*deed) {
	bucket := readBucket(t)
	const (
		start = string(faultproxy.GetObject) + " from the start"
		get   = string(faultproxy.GetObject)
		list  = string(faultproxy.ListObjectsV2)
	)
	for _, f := range []*filing{
		{name: "read a file", use: readFile, kinds: map[string]int{start: 1}},
		{name: "read a directory", use: readDir, kinds: map[string]int{list: 1, start: 1}},
		{name: "read over HTTP", use: serveFile, kinds: map[string]int{start: 1, get: 4}},
	} {
		deeds = append(deeds, &deed{name: f.name, verb: reads, kinds: f.kinds, bucket: func(*testing.T) string { return bucket }, do: f.do, check: f.check})
	}
	return deeds
}

func (f *filing) do(ctx context.Context, s *stage) error {
	return f.use(ctx, s3fs.New(ctx, s.client, s.bucket, "", s.keys, &s3fs.Options{Download: &s3download.Options{
		WindowSize: readWindow, Concurrency: 2, Retries: 2, StallTimeout: s.stall,
	}}))
}

// readFile opens a file and reads it to its end.
func readFile(_ context.Context, fsys *s3fs.FS) error {
	file, err := fsys.Open(inObject)
	if err != nil {
		return err
	}
	defer file.Close()
	return allOf(func(w io.Writer) error { _, err := io.Copy(w, struct{ io.Reader }{file}); return err })
}

// errListing is the error of a listing that is not right.
var errListing = errors.New("another directory was listed")

// readDir reads the directory of all files, and what is known of one.
func readDir(_ context.Context, fsys *s3fs.FS) error {
	entries, err := fsys.ReadDir(".")
	if err != nil {
		return err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{inObject, inPair, noSize, inMetadata}; !slices.Equal(names, want) {
		return &fs.PathError{Op: "readdir", Path: ".", Err: fmt.Errorf("%w: %q, not %q", errListing, names, want)}
	}
	info, err := entries[0].Info()
	if err != nil {
		return err
	}
	if info.Size() != readSize {
		return fmt.Errorf("a file of %d bytes, not %d", info.Size(), readSize)
	}
	return nil
}

// serveFile asks the handler for a file. The error is what the handler reports, if the answer is as that has to be.
func serveFile(ctx context.Context, fsys *s3fs.FS) (failed error) {
	handler := s3fs.NewHandler(fsys, &s3fs.HandlerOptions{OnError: func(_ *http.Request, err error) { failed = err }})
	answer := httptest.NewRecorder()
	aborted := false
	func() {
		defer func() {
			if p := recover(); p == http.ErrAbortHandler {
				aborted = true
			} else if p != nil {
				panic(p)
			}
		}()
		handler.ServeHTTP(answer, httptest.NewRequestWithContext(ctx, http.MethodGet, "/"+inObject, nil))
	}()
	want := http.StatusBadGateway
	switch {
	case aborted || answer.Code == http.StatusOK:
		check := text(readSize).CheckFrom(0)
		if _, err := check.Write(answer.Body.Bytes()); err != nil {
			return err
		}
		if whole := check.Offset() == readSize; whole == aborted || whole != (failed == nil) {
			return fmt.Errorf("%d of %d bytes were served, aborted %v, with the error %v", check.Offset(), readSize, aborted, failed)
		}
		return failed
	case failed == nil:
		want = http.StatusNotFound // which is not reported
		failed = &fs.PathError{Op: "get", Path: inObject, Err: errors.Join(fs.ErrNotExist, &smithy.GenericAPIError{Code: "NoSuchKey"})}
	case errors.Is(failed, fs.ErrPermission):
		want = http.StatusForbidden
	}
	if answer.Code != want || answer.Body.String() != http.StatusText(want)+"\n" {
		return fmt.Errorf("status %d and %d bytes for the error %v", answer.Code, answer.Body.Len(), failed)
	}
	return failed
}

func (f *filing) check(t *testing.T, s *stage, c *trial, err error) string {
	noWrongBytes(t, err)
	of, ok := errors.AsType[*fs.PathError](err)
	if err != nil && !ok {
		t.Errorf("not a PathError: %v", err)
	}
	if missing := code(err) == "NoSuchKey"; missing != errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the store has no such object: %v; fs.ErrNotExist: %v: %v", missing, !missing, err)
	}
	if denied := code(err) == "ExpiredToken" || code(err) == "RequestTimeTooSkewed"; denied != errors.Is(err, fs.ErrPermission) {
		t.Errorf("the store denies access: %v; fs.ErrPermission: %v: %v", denied, !denied, err)
	}
	if ok {
		err = of.Err // a PathError has a method Timeout of its own, which looks no further
	}
	outcome := outcomeOf(err)
	if errors.Is(err, errListing) && c.kind == string(faultproxy.ListObjectsV2) && c.fault.name == "answer changed" {
		outcome = "a wrong listing" // which is not authenticated
	}
	if outcome == "" {
		t.Errorf("not a typed error: %v", err)
	}
	if c != nil {
		switch want := f.want(c); {
		case want == succeeds && err != nil:
			t.Errorf("the fault passes, and is an error: %v", err)
		case want == fails && err == nil:
			t.Error("the fault was not noticed")
		case want == fails && !c.fault.typed(c, err):
			t.Errorf("the error does not tell what failed: %v", err)
		}
	}
	s.proxy.Reset()
	if again := f.do(t.Context(), s); again != nil {
		t.Errorf("without faults: %v", again)
	}
	return outcome
}

// want is what has to become of the use of files.
func (f *filing) want(c *trial) expectation {
	lists := c.kind == string(faultproxy.ListObjectsV2)
	switch {
	case c.fault.name == "stale ETag" && (lists || c.deed.name == "read a directory"):
		return succeeds // nothing else is asked for
	case c.fault.name == "answer slow":
		return succeeds
	case lists && c.fault.inAnswer:
		return either // a listing is not authenticated, and need not be asked for again
	}
	return c.fault.want(c)
}
