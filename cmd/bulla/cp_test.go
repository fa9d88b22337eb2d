package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bulla-format/bulla/stream"
)

// A fakeStore has what cp needs of S3: single and multipart uploads, ranges,
// If-Match. Signatures and checksums are tested against a real server.
type fakeStore struct {
	mu      sync.Mutex
	objects map[string]fakeObject     // by path
	uploads map[string]map[int][]byte // by id
	before  func(*http.Request)       // called with each request
}

type fakeObject struct {
	body        []byte
	contentType string
}

// newFakeStore starts a store and makes it the environment's.
func newFakeStore(t *testing.T) *fakeStore {
	f := &fakeStore{objects: map[string]fakeObject{}, uploads: map[string]map[int][]byte{}, before: func(*http.Request) {}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "", "AWS_REGION": "us-east-1", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_ENDPOINT_URL_S3": server.URL,
		"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
	} {
		t.Setenv(name, value)
	}
	return f
}

func (f *fakeStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	query := r.URL.Query()
	id := query.Get("uploadId")
	f.before(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r.Method == http.MethodGet:
		object, ok := f.objects[r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, "<Error><Code>NoSuchKey</Code></Error>")
			return
		}
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(object.body)))
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(object.body))
	case r.Method == http.MethodPost && query.Has("uploads"):
		id = strconv.Itoa(len(f.uploads) + 1)
		f.uploads[id] = map[int][]byte{}
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id)
	case r.Method == http.MethodPut && id != "":
		number, _ := strconv.Atoi(query.Get("partNumber"))
		if f.uploads[id] == nil { // aborted meanwhile
			w.WriteHeader(http.StatusNotFound)
			return
		}
		f.uploads[id][number] = body
		w.Header().Set("ETag", strconv.Quote(strconv.Itoa(number)))
	case r.Method == http.MethodPost && id != "":
		var whole []byte
		for number := range len(f.uploads[id]) {
			whole = append(whole, f.uploads[id][number+1]...)
		}
		f.objects[r.URL.Path] = fakeObject{whole, ""}
		delete(f.uploads, id)
		fmt.Fprint(w, `<CompleteMultipartUploadResult><ETag>"done"</ETag></CompleteMultipartUploadResult>`)
	case r.Method == http.MethodDelete && id != "":
		delete(f.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		f.objects[r.URL.Path] = fakeObject{body, r.Header.Get("Content-Type")}
		w.Header().Set("ETag", `"done"`)
	default:
		w.WriteHeader(http.StatusNotImplemented)
	}
}

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
			if declared := name == "file" && n > 0; declared != (info.PlaintextSize == int64(n)) {
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
