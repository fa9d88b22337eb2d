package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/bulla-format/bulla/stream"
)

func TestCp(t *testing.T) {
	store := newFakeStore(t)
	inTempDir(t)
	t.Setenv(keyFileEnv, "key")
	for _, n := range []int{0, 1, 65536, 100_000, 12 << 20} {
		text := plaintextOf(n)
		write(t, "f", text)
		if r := want(t, 0, "cp", "--path-style", "f", "s3://bucket/dir/file"); r.stdout+r.stderr != "" {
			t.Errorf("%d: an upload prints %+v", n, r)
		}
		if r := bullaWith(t.Context(), t, text, "cp", "--path-style", "--part-size=5MiB", "--concurrency=2", "-", "s3://bucket/dir/pipe"); r.code != 0 {
			t.Fatal(r.stderr)
		}
		for _, name := range []string{"file", "pipe"} {
			info, err := stream.Inspect(store.objects["/bucket/dir/"+name].body)
			if err != nil {
				t.Fatal(err)
			}
			if declared := name == "file"; n > 0 && declared != (info.PlaintextSize == int64(n)) {
				t.Errorf("%d: %s has declared size %d", n, name, info.PlaintextSize)
			}
			url := "s3://bucket/dir/" + name
			want(t, 0, "cp", "--path-style", "--force", "--part-size=1MiB", "--concurrency=2", url, "copy")
			if read(t, "copy") != text {
				t.Errorf("%d: the download of %s differs", n, name)
			}
			for _, args := range [][]string{{"cp", url, "-"}, {"cat", url}} {
				if r := want(t, 0, append(args, "--path-style")...); r.stdout != text {
					t.Errorf("%d: %q differs", n, args)
				}
			}
			for _, args := range []string{"0-0", "100-70000", "65536-", "-1", "-70000"} {
				first, _, _ := strings.Cut(args, "-")
				if offset, _ := strconv.Atoi(first); offset >= n {
					continue
				}
				var r byteRange
				if err := r.Set(args); err != nil {
					t.Fatal(err)
				}
				offset, count, err := r.resolve(int64(n))
				if err != nil {
					t.Fatal(err)
				}
				if r := want(t, 0, "cat", "--path-style", url, "--range", args); r.stdout != text[offset:offset+count] {
					t.Errorf("%d: cat --range %s differs", n, args)
				}
			}
			if r := want(t, 0, "inspect", "--path-style", url); !strings.Contains(r.stdout, fmt.Sprintf("plaintext size  %d bytes", n)) {
				t.Errorf("%d: inspect prints %s", n, r.stdout)
			}
		}
	}
	wantFiles(t, "copy", "f", "key")
	if len(store.uploads) != 0 {
		t.Errorf("%d uploads are left", len(store.uploads))
	}
}

func TestCpOptions(t *testing.T) {
	store := newFakeStore(t)
	inTempDir(t)
	t.Setenv(keyFileEnv, "key")
	write(t, "f", "text")
	want(t, 0, "cp", "--path-style", "f", "s3://bucket/bound", "--bind-location", "--content-type=text/x-test", "--context", "a=b")
	bound := store.objects["/bucket/bound"]
	if bound.contentType != "text/x-test" {
		t.Errorf("content type %q", bound.contentType)
	}
	want(t, 0, "cp", "--path-style", "s3://bucket/bound", "-", "--require-context", "a=b")
	want(t, exitFailure, "cp", "--path-style", "s3://bucket/bound", "g", "--require-context", "a=c")

	store.objects["/bucket/moved"] = bound
	for _, command := range []string{"cp g", "cat"} {
		args := append(strings.Fields(command), "s3://bucket/moved", "--path-style")
		if command == "cp g" {
			args = slices.Insert(slices.Delete(args, 1, 2), 2, "g")
		}
		if r := want(t, exitFailure, args...); !strings.Contains(r.stderr, "s3://bucket/bound") {
			t.Errorf("%q: %s", args, r.stderr)
		}
		want(t, 0, append(args, "--ignore-location")...)
	}
	wantFiles(t, "f", "g", "key")
}

func TestCpFailures(t *testing.T) {
	store := newFakeStore(t)
	inTempDir(t)
	t.Setenv(keyFileEnv, "key")
	write(t, "f", plaintextOf(200_000))
	want(t, 0, "cp", "--path-style", "f", "s3://bucket/good")
	good := store.objects["/bucket/good"].body
	bad := bytes.Clone(good)
	bad[150_000] ^= 1
	store.objects["/bucket/bad"] = fakeObject{body: bad}
	store.objects["/bucket/cut"] = fakeObject{body: good[:150_000]}
	store.objects["/bucket/other"] = fakeObject{body: bytes.Repeat([]byte("x"), 10_000)}
	want(t, 0, "keygen", "-q", "-o", "other")
	for _, c := range []struct {
		code int
		args string
	}{
		{exitUntrusted, "s3://bucket/bad g"},
		{exitUntrusted, "s3://bucket/cut g"},
		{exitFailure, "s3://bucket/other g"},
		{exitFailure, "s3://bucket/missing g"},
		{exitKey, "-k other s3://bucket/good g"},
		{exitFailure, "missing s3://bucket/new"},
		{exitFailure, ". s3://bucket/new"},
		{exitFailure, "--endpoint-url=http://127.0.0.1:1 f s3://bucket/new"},
	} {
		t.Setenv("AWS_MAX_ATTEMPTS", "1")
		r := want(t, c.code, append([]string{"cp", "--path-style"}, strings.Fields(c.args)...)...)
		if strings.Count(r.stderr, "s3://bucket/") > 2 {
			t.Errorf("%s: %s", c.args, r.stderr)
		}
		wantFiles(t, "f", "key", "other")
	}
	if _, ok := store.objects["/bucket/new"]; ok {
		t.Error("a failed upload left an object")
	}
}

func TestUploadInterrupted(t *testing.T) {
	store := newFakeStore(t)
	inTempDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	store.before = func(r *http.Request) {
		if r.URL.Query().Has("partNumber") {
			cancel() // Ctrl-C while a part is on its way
		}
	}
	r, w := io.Pipe()
	defer w.Close()
	go io.WriteString(w, plaintextOf(40<<20)) // and the source does not end
	var stdout, stderr bytes.Buffer
	if code := run(ctx, []string{"cp", "--path-style", "-k", "key", "-", "s3://bucket/key"}, r, &stdout, &stderr); code != exitInterrupted {
		t.Errorf("exit code %d, %s", code, &stderr)
	}
	if len(store.objects)+len(store.uploads) != 0 {
		t.Errorf("%d objects and %d uploads are left", len(store.objects), len(store.uploads))
	}
}

// Ctrl-C ends an upload with a journal, the same command goes on with it, and
// abort gives one up.
func TestCpJournal(t *testing.T) {
	store := newFakeStore(t)
	inTempDir(t)
	t.Setenv(keyFileEnv, "key")
	text := plaintextOf(23 << 20)
	write(t, "f", text)
	cp := strings.Fields("cp --path-style --part-size=5MiB --memory=32MiB --concurrency=1 --journal=j f s3://bucket/key")
	interrupt := func() {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		store.before = func(r *http.Request) {
			if r.URL.Query().Get("partNumber") == "3" {
				cancel()
			}
		}
		r := bullaWith(ctx, t, "", cp...)
		if store.before = func(*http.Request) {}; r.code != exitInterrupted || !strings.Contains(r.stderr, `the journal "j"`) {
			t.Fatalf("exit code %d, %s", r.code, r.stderr)
		}
		wantFiles(t, "f", "j", "key")
	}
	parts := func() (n int) {
		for _, line := range store.log {
			if line == "PUT /bucket/key" {
				n++
			}
		}
		return n
	}
	interrupt()
	if want(t, exitFailure, "cp", "--path-style", "--journal=j", "f", "s3://bucket/another").stderr == "" {
		t.Error("the journal of another upload")
	}
	before := parts()
	want(t, 0, cp...)
	if n := parts() - before; n > 3 {
		t.Errorf("%d parts were sent after 2 of 5 were stored", n)
	}
	if r := want(t, 0, "cat", "--path-style", "s3://bucket/key"); r.stdout != text {
		t.Error("the object differs")
	}
	wantFiles(t, "f", "key")

	interrupt()
	changed := []byte(text)
	changed[0] ^= 1
	write(t, "f", string(changed))
	if r := want(t, exitFailure, cp...); !strings.Contains(r.stderr, "bulla abort") {
		t.Error(r.stderr)
	}
	want(t, 0, "abort", "--path-style", "j")
	if len(store.uploads) != 0 {
		t.Errorf("%d uploads are left", len(store.uploads))
	}
	wantFiles(t, "f", "key")
	want(t, exitFailure, "abort", "--path-style", "j")
	want(t, exitFailure, "abort", "--path-style", "f")
	want(t, exitUsage, "cp", "--path-style", "--memory=1MiB", "f", "s3://bucket/key")
	want(t, 0, "keygen", "-q", "--type=hpke", "-o", "private", "--public=public")
	t.Setenv(keyFileEnv, "")
	if r := want(t, exitKey, "cp", "--path-style", "--journal=j", "-r", "public", "f", "s3://bucket/key"); !strings.Contains(r.stderr, "could not be resumed with these keys") {
		t.Error(r.stderr)
	}
}

// The store does not answer the third request, and Ctrl-C ends the wait.
func TestDownloadInterrupted(t *testing.T) {
	store := newFakeStore(t)
	inTempDir(t)
	t.Setenv(keyFileEnv, "key")
	write(t, "f", plaintextOf(12<<20))
	want(t, 0, "cp", "--path-style", "f", "s3://bucket/key")
	for _, args := range []string{"cp s3://bucket/key g", "cp s3://bucket/key -", "cat s3://bucket/key"} {
		ctx, cancel := context.WithCancel(t.Context())
		var requests atomic.Int64
		store.before = func(r *http.Request) {
			if requests.Add(1) == 3 {
				cancel()
				<-r.Context().Done()
			}
		}
		if r := bullaWith(ctx, t, "", append(strings.Fields(args), "--path-style")...); r.code != exitInterrupted {
			t.Errorf("%s: exit code %d, %s", args, r.code, r.stderr)
		}
		wantFiles(t, "f", "key")
	}
}
