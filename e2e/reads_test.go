package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3fs"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// files of the tree that TestFS looks at, with their sizes.
var files = map[string]int64{
	"empty":           0,
	"one":             1,
	"two segments":    2 * segment,
	"dir/a":           10,
	"dir-b":           11,
	"dir/sub/é+%&?#b": 12,
	"dir/sub/c":       3*segment + 7,
}

// The file system over the real server is one that testing/fstest accepts, wherever the headers are.
func TestFS(t *testing.T) {
	for name, o := range map[string]*s3upload.Options{
		"in the object":   {BindLocation: true},
		"in the metadata": {HeaderInMetadata: true},
		"beside":          {HeaderSuffix: s3upload.DefaultHeaderSuffix},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			var names []string
			for name, size := range files {
				p.store(t, "pre/"+name, size, o)
				names = append(names, name)
			}
			for _, o := range []*s3fs.Options{nil, {SkipOthers: true}} {
				if err := fstest.TestFS(s3fs.New(t.Context(), p.direct, p.bucket, "pre", p.keys, o), names...); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A directory of more than one page of a listing.
func TestLargeDirectory(t *testing.T) {
	const n = 1100
	p := newPlace(t)
	for i := range n {
		in := p.put(fmt.Sprintf("many/%04d", i), strings.NewReader("no stream"))
		if _, err := p.direct.PutObject(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := s3fs.New(t.Context(), p.client, p.bucket, "", p.keys, nil).ReadDir("many")
	if err != nil || len(entries) != n || !slices.IsSortedFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) }) {
		t.Errorf("%d entries, %v", len(entries), err)
	}
	if requests := len(p.proxy.Log()); requests != 2 {
		t.Errorf("%d requests for %d keys", requests, n)
	}
}

func TestFSErrors(t *testing.T) {
	p := newPlace(t)
	p.store(t, "dir/key", small, nil)
	fsys := func(client *s3.Client, bucket string) *s3fs.FS {
		return s3fs.New(t.Context(), client, bucket, "dir", p.keys, nil)
	}
	stranger := server.Client(func(o *s3.Options) { o.Credentials = server.Stranger() })
	for name, tc := range map[string]struct {
		fsys *s3fs.FS
		file string
		want error
	}{
		"missing":        {fsys(p.direct, p.bucket), "none", fs.ErrNotExist},
		"missing bucket": {fsys(p.direct, "no-such-bucket"), "key", fs.ErrNotExist},
		"below a file":   {fsys(p.direct, p.bucket), "key/none", fs.ErrNotExist},
		"no permission":  {fsys(stranger, p.bucket), "key", fs.ErrPermission},
		"invalid":        {fsys(p.direct, p.bucket), "/key", fs.ErrInvalid},
	} {
		for how, use := range map[string]func() error{
			"Open":     func() error { _, err := tc.fsys.Open(tc.file); return err },
			"Stat":     func() error { _, err := tc.fsys.Stat(tc.file); return err },
			"ReadDir":  func() error { _, err := tc.fsys.ReadDir(tc.file); return err },
			"ReadFile": func() error { _, err := tc.fsys.ReadFile(tc.file); return err },
		} {
			if err := use(); !errors.Is(err, tc.want) {
				t.Errorf("%s: %s: %v, want %v", name, how, err, tc.want)
			}
		}
	}
}

// The handler gives an ordinary HTTP client what http.ServeContent would from a file.
func TestHandler(t *testing.T) {
	const size = 5*mib + 3
	p := newPlace(t)
	p.store(t, "pre/dir/film.mp4", size, nil)
	var reported []error
	web := httptest.NewServer(http.StripPrefix("/files/", s3fs.NewHandler(
		s3fs.New(t.Context(), p.client, p.bucket, "pre", p.keys, nil),
		&s3fs.HandlerOptions{OnError: func(_ *http.Request, err error) { reported = append(reported, err) }},
	)))
	defer web.Close()
	do := func(method, path string, fields ...string) *http.Response {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, web.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(fields); i += 2 {
			request.Header.Set(fields[i], fields[i+1])
		}
		response, err := web.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		return response
	}
	const path = "/files/dir/film.mp4"
	head := do("HEAD", path)
	etag := head.Header.Get("ETag")
	if head.StatusCode != 200 || head.ContentLength != size || head.Header.Get("Content-Type") != "video/mp4" || etag == "" {
		t.Errorf("HEAD: %v", head)
	}
	for _, tc := range []struct {
		fields     []string
		status     int
		start, end int64
	}{
		{nil, 200, 0, size},
		{[]string{"Range", "bytes=0-"}, 206, 0, size},
		{[]string{"Range", "bytes=65530-70000"}, 206, 65530, 70001},
		{[]string{"Range", "bytes=-5"}, 206, size - 5, size},
		{[]string{"Range", "bytes=4000000-", "If-Range", etag}, 206, 4_000_000, size},
		{[]string{"Range", "bytes=4000000-", "If-Range", `"another"`}, 200, 0, size},
		{[]string{"If-None-Match", etag}, 304, 0, 0},
		{[]string{"If-Match", `"another"`}, 412, 0, 0},
	} {
		response := do("GET", path, tc.fields...)
		check := text(size).CheckFrom(tc.start)
		if _, err := io.Copy(check, response.Body); err != nil || response.StatusCode != tc.status || check.Offset() != tc.end {
			t.Errorf("%q: status %d, bytes %d to %d, %v", tc.fields, response.StatusCode, tc.start, check.Offset(), err)
		}
	}

	response := do("GET", path, "Range", "bytes=0-99,3000000-3000099")
	_, params, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil || response.StatusCode != 206 {
		t.Fatalf("%v, %v", response, err)
	}
	parts := multipart.NewReader(response.Body, params["boundary"])
	for _, start := range []int64{0, 3_000_000} {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		check := text(size).CheckFrom(start)
		if _, err := io.Copy(check, part); err != nil || check.Offset() != start+100 {
			t.Errorf("the part from %d on: %d bytes, %v", start, check.Offset()-start, err)
		}
	}
	if got := do("GET", "/files/dir/none").StatusCode; got != 404 {
		t.Errorf("status %d of no file", got)
	}
	if got := do("GET", "/files/dir").StatusCode; got != 404 {
		t.Errorf("status %d of a directory", got)
	}
	if reported != nil {
		t.Errorf("reported: %v", reported)
	}

	// Another object in its place has another ETag.
	p.store(t, "pre/dir/film.mp4", size, nil)
	if got := do("HEAD", path).Header.Get("ETag"); got == etag {
		t.Error("the ETag is still the same")
	}
	// A store that fails behind the first bytes cannot make a client take them for the whole.
	p.proxy.Add(
		faultproxy.Rule{Op: faultproxy.GetObject, Nth: 1, Fault: faultproxy.Before(func(faultproxy.Request) {})},
		faultproxy.Rule{Op: faultproxy.GetObject, Fault: faultproxy.Error(403, "AccessDenied")},
	)
	response = do("GET", path)
	if n, err := io.Copy(io.Discard, response.Body); err == nil || n >= size {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// presign returns a URL of the object that is of use for the given time.
func (p *place) presign(t *testing.T, client *s3.Client, key string, valid time.Duration) string {
	t.Helper()
	r, err := s3.NewPresignClient(client).PresignGetObject(t.Context(), p.get(key), s3.WithPresignExpires(valid))
	if err != nil {
		t.Fatal(err)
	}
	return r.URL
}

// A presigned URL opens an object, without credentials, like the SDK's client does.
func TestOpenURL(t *testing.T) {
	for name, uo := range map[string]*s3upload.Options{"in the object": parts5, "in the metadata": {PartSize: 5 * mib, HeaderInMetadata: true}} {
		p := newPlace(t)
		p.store(t, "a key/é+&?", large, uo)
		url := p.presign(t, p.direct, "a key/é+&?", time.Minute)
		for how, read := range ways {
			object, err := s3download.OpenURL(t.Context(), server.HTTPClient(), url, p.keys, nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if n, err := read(t.Context(), object); err != nil || n != large {
				t.Errorf("%s: %s: %d bytes, %v", name, how, n, err)
			}
			object.Close()
		}
		object, err := s3download.OpenURL(t.Context(), server.HTTPClient(), url, p.keys, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer object.Close()
		p.store(t, "a key/é+&?", large, uo)
		if _, err := object.ReadAt(make([]byte, 1), large/2); !errors.Is(err, s3download.ErrChanged) {
			t.Errorf("%s: after it was replaced: %v", name, err)
		}
	}
}

func TestOpenURLFails(t *testing.T) {
	p := newPlace(t)
	p.store(t, "key", small, nil)
	stranger := server.Client(func(o *s3.Options) { o.Credentials = server.Stranger() })
	good := p.presign(t, p.direct, "key", time.Minute)
	for name, tc := range map[string]struct {
		url string
		is  func(error) bool
	}{
		"expired":       {p.presign(t, p.direct, "key", time.Second), is(s3download.ErrExpired)},
		"no permission": {p.presign(t, stranger, "key", time.Minute), hasCode("AccessDenied")},
		"missing":       {p.presign(t, p.direct, "none", time.Minute), hasCode("NoSuchKey")},
		"another key":   {strings.Replace(good, "/key?", "/yek?", 1), hasCode("SignatureDoesNotMatch")},
	} {
		open := func() error {
			object, err := s3download.OpenURL(t.Context(), server.HTTPClient(), tc.url, p.keys, nil)
			if err == nil {
				object.Close()
			}
			return err
		}
		err := open()
		for deadline := time.Now().Add(10 * time.Second); name == "expired" && err == nil && time.Now().Before(deadline); {
			err = open()
		}
		if !tc.is(err) || errors.Is(err, stream.ErrAuth) || name != "expired" && errors.Is(err, s3download.ErrExpired) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), "X-Amz-") {
			t.Errorf("%s: the error has the signature: %v", name, err)
		}
	}
}

// A file system's files are read by what reads files.
func TestFSReaderAt(t *testing.T) {
	p := newPlace(t)
	p.store(t, "key", large, parts5)
	f, err := s3fs.New(t.Context(), p.direct, p.bucket, "", p.keys, nil).Open("key")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := make([]byte, 1000)
	if _, err := f.(io.ReaderAt).ReadAt(at, large-1000); err != nil {
		t.Error(err)
	}
	if _, err := f.(io.Seeker).Seek(-1000, io.SeekEnd); err != nil {
		t.Error(err)
	}
	if end, err := io.ReadAll(f); err != nil || !bytes.Equal(end, at) {
		t.Errorf("%d bytes, %v", len(end), err)
	}
}
