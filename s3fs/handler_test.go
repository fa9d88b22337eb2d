package s3fs

import (
	"bytes"
	"context"
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
	"sync"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/stream"
)

// A site is a handler behind a real server, and the errors that it reported.
type site struct {
	t      *testing.T
	url    string
	client *http.Client

	mu     sync.Mutex
	errors []error
}

func newSite(t *testing.T, fsys *FS, o HandlerOptions) *site {
	s := &site{t: t}
	o.OnError = func(r *http.Request, err error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.errors = append(s.errors, err)
	}
	server := httptest.NewServer(NewHandler(fsys, &o))
	t.Cleanup(server.Close)
	s.url, s.client = server.URL, server.Client()
	return s
}

// do makes a request with the header fields given in pairs.
func (s *site) do(method, path string, fields ...string) (*http.Response, []byte, error) {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		request.Header.Set(fields[i], fields[i+1])
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return response, body, err
}

func (s *site) reported() []error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.errors
}

func TestHandlerServesFiles(t *testing.T) {
	s := newSite(t, newTree(t, "pre/").newFS(t, "pre", nil), HandlerOptions{})
	for name, n := range tree {
		path := "/" + strings.NewReplacer("%", "%25", "?", "%3F", "#", "%23", "\t", "%09", "\x01", "%01", " ", "%20").Replace(name)
		response, body, err := s.do("GET", path)
		if err != nil || response.StatusCode != 200 || !bytes.Equal(body, plaintext(n)) {
			t.Fatalf("%q: %v, %d bytes, %v", name, response, len(body), err)
		}
		head, none, err := s.do("HEAD", path)
		if err != nil || head.StatusCode != 200 || len(none) != 0 || head.ContentLength != int64(n) {
			t.Fatalf("HEAD %q: %v, %v", name, head, err)
		}
		for _, field := range []string{"ETag", "Last-Modified", "Content-Type", "Cache-Control", "X-Content-Type-Options", "Accept-Ranges"} {
			if got := response.Header.Get(field); got == "" || got != head.Header.Get(field) {
				t.Errorf("%q: %s is %q, and %q for HEAD", name, field, got, head.Header.Get(field))
			}
		}
		if got := response.Header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("Cache-Control %q", got)
		}
		if etag := response.Header.Get("ETag"); !strings.HasPrefix(etag, `"`) {
			t.Errorf("ETag %q is not a strong one", etag)
		}
	}
	if errs := s.reported(); errs != nil {
		t.Errorf("reported: %v", errs)
	}
}

func TestHandlerRanges(t *testing.T) {
	const n = 3*S + 7
	plain := plaintext(n)
	f := newTree(t, "")
	s := newSite(t, f.newFS(t, "", nil), HandlerOptions{})
	for _, tc := range []struct {
		field      string
		start, end int // expected; both 0: not satisfiable
	}{
		{"bytes=0-0", 0, 1},
		{"bytes=0-", 0, n},
		{"bytes=5-99", 5, 100},
		{"bytes=65535-65536", S - 1, S + 1},
		{"bytes=196608-", 3 * S, n},
		{"bytes=-1", n - 1, n},
		{"bytes=-99999999", 0, n},
		{"bytes=131072-99999999", 2 * S, n},
		{"bytes=196615-", 0, 0},
	} {
		response, body, err := s.do("GET", "/large", "Range", tc.field)
		switch {
		case err != nil:
			t.Fatal(err)
		case tc.end == 0:
			if response.StatusCode != 416 {
				t.Errorf("%s: status %d", tc.field, response.StatusCode)
			}
		case response.StatusCode != 206 || !bytes.Equal(body, plain[tc.start:tc.end]):
			t.Errorf("%s: status %d, %d bytes", tc.field, response.StatusCode, len(body))
		}
	}
	// What a range needs is asked for at once, and no more than that: the header,
	// and the segments of the range's beginning.
	f.objects["film"] = encrypt(t, plaintext(20*S), known(20*S))
	stored := func(i int) int { return format.DefaultHeaderSize + i*(S+format.SegmentOverhead) }
	for _, tc := range []struct {
		field  string
		status int
		asked  []string
	}{
		{"bytes=0-9", 206, []string{fmt.Sprintf("bytes=0-%d", stored(1)-1)}},
		{fmt.Sprintf("bytes=%d-%d", 8*S, 8*S+1), 206, []string{"bytes=0-4095", fmt.Sprintf("bytes=%d-%d", stored(8)-4096+76, stored(9)-1)}},
		{fmt.Sprintf("bytes=%d-", 16*S), 206, []string{"bytes=0-4095", fmt.Sprintf("bytes=%d-%d", stored(16)-4096+76, stored(20)-1)}},
		{"bytes=-2", 206, []string{"bytes=0-4095", fmt.Sprintf("bytes=%d-%d", stored(19), stored(20)+27)}},
		{"bytes=9223372036854775807-", 416, []string{"bytes=0-4095"}},
		{"bytes=4000000-", 416, nil},
		{"nonsense", 416, []string{"bytes=0-4095"}},
	} {
		f.asked = nil
		response, _, err := s.do("GET", "/film", "Range", tc.field)
		if err != nil || response.StatusCode != tc.status || tc.asked != nil && !sameSet(f.asked, tc.asked) {
			t.Errorf("%s: %v, %v, asked for %q, not %q", tc.field, response, err, f.asked, tc.asked)
		}
	}

	response, body, err := s.do("GET", "/large", "Range", "bytes=0-9,100000-100009,-10")
	if err != nil || response.StatusCode != 206 {
		t.Fatalf("%v, %v", response, err)
	}
	_, params, err := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for _, start := range []int{0, 100000, n - 10} {
		part, err := parts.NextPart()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(part); err != nil || !bytes.Equal(got, plain[start:start+10]) {
			t.Errorf("the part from %d: %d bytes, %v", start, len(got), err)
		}
	}
}

// sameSet compares requests that may have been made at the same time.
func sameSet(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func TestHandlerConditions(t *testing.T) {
	f := newTree(t, "")
	s := newSite(t, f.newFS(t, "", nil), HandlerOptions{CacheControl: "private, max-age=60"})
	response, _, err := s.do("HEAD", "/large")
	if err != nil {
		t.Fatal(err)
	}
	etag, modified := response.Header.Get("ETag"), response.Header.Get("Last-Modified")
	if modified != changed.Format(http.TimeFormat) {
		t.Errorf("Last-Modified %q", modified)
	}
	check := func(when string, status int, fields ...string) {
		t.Helper()
		response, body, err := s.do("GET", "/large", fields...)
		if err != nil || response.StatusCode != status {
			t.Errorf("%s, %q: status %d, expected %d, %v", when, fields, response.StatusCode, status, err)
		}
		if whole := len(body) == 3*S+7; whole != (status == 200) {
			t.Errorf("%s, %q: %d bytes", when, fields, len(body))
		}
		if status != 412 && response.Header.Get("Cache-Control") != "private, max-age=60" {
			t.Errorf("%s, %q: Cache-Control %q", when, fields, response.Header.Get("Cache-Control"))
		}
	}
	check("unchanged", 304, "If-None-Match", etag)
	check("unchanged", 304, "If-Modified-Since", modified)
	check("unchanged", 200, "If-None-Match", `"other"`)
	check("unchanged", 200, "If-Match", etag)
	check("unchanged", 412, "If-Match", `"other"`)
	check("unchanged", 206, "If-Range", etag, "Range", "bytes=0-9")
	check("unchanged", 206, "If-Range", modified, "Range", "bytes=0-9")
	check("unchanged", 200, "If-Range", `"other"`, "Range", "bytes=0-9")

	// Re-wrapped: the content type may be another.
	header, err := stream.Rewrap(t.Context(), f.objects["large"], key, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.objects["large"] = append(header, f.objects["large"][len(header):]...)
	check("re-wrapped", 200, "If-None-Match", etag)

	// The same plaintext, encrypted again: the store's ETag and time stay.
	f.objects["large"] = encrypt(t, plaintext(3*S+7), stream.EncryptOptions{})
	check("changed", 200, "If-None-Match", etag)
	check("changed", 412, "If-Match", etag)
	check("changed", 200, "If-Range", etag, "Range", "bytes=0-9")
}

func TestHandlerContentType(t *testing.T) {
	f := newFake(map[string][]byte{
		"sealed.html": encrypt(t, nil, stream.EncryptOptions{Metadata: map[string]string{"content-type": "text/x-sealed"}}),
		"a.html":      encrypt(t, nil, stream.EncryptOptions{}),
		"a.unheardof": encrypt(t, nil, stream.EncryptOptions{}),
		"none":        encrypt(t, []byte("<html><script>"), stream.EncryptOptions{}),
	})
	for name := range f.objects {
		f.types[name] = "text/x-stored"
	}
	for stored, expected := range map[bool]map[string]string{
		false: {"sealed.html": "text/x-sealed", "a.html": "text/html; charset=utf-8", "a.unheardof": "application/octet-stream", "none": "application/octet-stream"},
		true:  {"sealed.html": "text/x-sealed", "a.html": "text/x-stored", "a.unheardof": "text/x-stored", "none": "text/x-stored"},
	} {
		s := newSite(t, f.newFS(t, "", nil), HandlerOptions{StoredContentType: stored})
		for name, kind := range expected {
			response, _, err := s.do("GET", "/"+name)
			if err != nil || response.Header.Get("Content-Type") != kind {
				t.Errorf("%s: %q, expected %q: %v", name, response.Header.Get("Content-Type"), kind, err)
			}
		}
	}
}

// What goes wrong is a status, and a word about it goes to OnError alone.
func TestHandlerErrors(t *testing.T) {
	f := newTree(t, "")
	f.objects["plain"] = []byte("no stream")
	f.fail = func(_, key string) error {
		switch key {
		case "denied":
			return statusError(403, "AccessDenied")
		case "broken":
			return statusError(500, "InternalError")
		}
		return nil
	}
	s := newSite(t, f.newFS(t, "", &Options{Download: &s3download.Options{Retries: -1}}), HandlerOptions{CacheControl: "public"})
	for _, tc := range []struct {
		method, path string
		status       int
		reported     bool
	}{
		{"GET", "/none", 404, false},
		{"GET", "/", 404, false},
		{"GET", "/dir", 404, false},
		{"GET", "/dir/", 404, false},
		{"GET", "//one", 404, false},
		{"GET", "/dir/../one", 404, false},
		{"GET", "/large.bulla-header", 404, false},
		{"GET", "/denied", 403, true},
		{"GET", "/broken", 502, true},
		{"HEAD", "/broken", 502, true},
		{"GET", "/plain", 502, true},
		{"POST", "/one", 405, false},
		{"PUT", "/new", 405, false},
	} {
		before := len(s.reported())
		response, body, err := s.do(tc.method, tc.path)
		if err != nil || response.StatusCode != tc.status {
			t.Errorf("%s %s: %v, %v", tc.method, tc.path, response, err)
			continue
		}
		if text := http.StatusText(tc.status) + "\n"; tc.method != "HEAD" && string(body) != text {
			t.Errorf("%s %s says %q", tc.method, tc.path, body)
		}
		if got := response.Header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s %s: Cache-Control %q", tc.method, tc.path, got)
		}
		if reported := len(s.reported()) > before; reported != tc.reported {
			t.Errorf("%s %s: reported %t", tc.method, tc.path, reported)
		}
	}
	for _, err := range s.reported() {
		var pathErr *fs.PathError
		if !errors.As(err, &pathErr) {
			t.Errorf("%v is no *fs.PathError", err)
		}
	}
}

// A failure behind the first byte breaks the connection: nobody takes what came
// for the whole, and nothing that came is wrong.
func TestHandlerBreaksOff(t *testing.T) {
	for _, proto := range []string{"HTTP/1.1", "HTTP/2", "HTTP/1.1 without a length"} {
		f := newTree(t, "")
		f.objects["large"][len(f.objects["large"])-S-10] ^= 1
		var reported error
		handler := NewHandler(f.newFS(t, "", nil), &HandlerOptions{OnError: func(_ *http.Request, err error) { reported = err }})
		done := make(chan struct{})
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer close(done)
			if strings.HasSuffix(proto, "length") {
				w = &lengthless{w} // as one that compresses does
			}
			handler.ServeHTTP(w, r)
		}))
		server.EnableHTTP2 = proto == "HTTP/2"
		server.StartTLS()
		response, err := server.Client().Get(server.URL + "/large")
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(response.Body)
		response.Body.Close()
		<-done
		server.Close()
		if err == nil || !bytes.HasPrefix(plaintext(3*S + 7)[:2*S], got) || !strings.HasPrefix(proto, response.Proto[:6]) {
			t.Errorf("%s: %s, %d bytes, %v", proto, response.Proto, len(got), err)
		}
		if !errors.Is(reported, stream.ErrAuth) {
			t.Errorf("%s: reported %v", proto, reported)
		}
	}
}

type lengthless struct{ http.ResponseWriter }

func (w *lengthless) WriteHeader(status int) {
	w.Header().Del("Content-Length")
	w.ResponseWriter.WriteHeader(status)
}

// A client that goes away ends the requests to the store, and is no error.
func TestHandlerClientGone(t *testing.T) {
	f := newTree(t, "")
	reached, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f.body = func(key string, b io.Reader) io.Reader {
		if key != "large" || f.gets < 3 {
			return b
		}
		return readerFunc(func([]byte) (int, error) {
			once.Do(func() { close(reached) })
			<-release
			return 0, context.Canceled
		})
	}
	s := newSite(t, f.newFS(t, "", nil), HandlerOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-reached
		cancel()
		close(release)
	}()
	request, err := http.NewRequestWithContext(ctx, "GET", s.url+"/large", nil)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := s.client.Do(request); err == nil {
		_, err = io.Copy(io.Discard, response.Body)
		response.Body.Close()
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}
	}
	if errs := s.reported(); errs != nil {
		t.Errorf("reported: %v", errs)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
