package s3download

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/smithy-go"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// secret stands in the query of every URL, and must not be in any error.
const secret = "X-Amz-Signature=0123456789abcdef"

// urlServer serves stored at the URL it returns, and keeps what it was asked.
// spoil, if not nil, is asked first, and tells whether it has answered.
func urlServer(t *testing.T, stored []byte, spoil func(w http.ResponseWriter, r *http.Request, k int) bool) (client *http.Client, url string, requests func() []http.Header) {
	var mu sync.Mutex
	var seen []http.Header
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		k := len(seen)
		seen = append(seen, r.Header)
		mu.Unlock()
		w.Header().Set("ETag", `"one"`)
		if spoil == nil || !spoil(w, r, k) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(stored))
		}
	}))
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}, server.URL + "/bucket/a%20key?" + secret, func() []http.Header {
		mu.Lock()
		defer mu.Unlock()
		return seen
	}
}

func TestURLReadsLikeAnObject(t *testing.T) {
	for _, n := range []int{0, 1, S, 40*S + 7} {
		plain := plaintext(n)
		for how, read := range readers {
			client, url, requests := urlServer(t, encrypt(t, plain, known(n)), nil)
			object, err := OpenURL(t.Context(), client, url, key, &small)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := read(t.Context(), object); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s: %d of %d bytes, %v", how, len(got), n, err)
			}
			object.Close()
			for i, h := range requests() {
				if h.Get("Range") == "" || (i > 0) != (h.Get("If-Match") == `"one"`) || h.Get("Authorization") != "" {
					t.Errorf("%s: request %d has the header %v", how, i, h)
				}
			}
		}
	}
}

func TestURLOutlivesPassingFaults(t *testing.T) {
	const n = 40*S + 7
	plain := plaintext(n)
	stored := encrypt(t, plain, known(n))
	client, url, requests := urlServer(t, stored, func(w http.ResponseWriter, r *http.Request, k int) bool {
		switch k % 5 {
		case 0:
			panic(http.ErrAbortHandler)
		case 2:
			http.ServeContent(&limitedWriter{w, S}, r, "", time.Time{}, bytes.NewReader(stored))
			return true
		case 3:
			s3Error(w, http.StatusServiceUnavailable, "SlowDown")
			return true
		}
		return false
	})
	object, err := OpenURL(t.Context(), client, url, key, &small)
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	if got, err := io.ReadAll(onlyReader{object}); err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d of %d bytes, %v", len(got), n, err)
	}
	if len(requests()) < 5 {
		t.Errorf("%d requests met no fault", len(requests()))
	}
}

// What fails, at once and later, has the error that says what to do, and says
// nothing of the query.
func TestURLErrors(t *testing.T) {
	const n = 40 * S
	stored := encrypt(t, plaintext(n), known(n))
	answer := func(status int, body string) func(http.ResponseWriter) {
		return func(w http.ResponseWriter) {
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	xml := func(code, message string) string {
		return "<?xml version=\"1.0\"?><Error><Code>" + code + "</Code><Message>" + message + "</Message><SignatureProvided>" + secret + "</SignatureProvided></Error>"
	}
	const presigned = "&X-Amz-Date=20200101T000000Z&X-Amz-Expires=60"
	for _, tc := range []struct {
		name, query string
		answer      func(http.ResponseWriter)
		want        error
		status      int
	}{
		{"expired, says S3", "", answer(403, xml("AccessDenied", "Request has expired")), ErrExpired, 403},
		{"expired credentials", "", answer(400, xml("ExpiredToken", "The provided token has expired.")), ErrExpired, 400},
		{"expired, says the URL", presigned, answer(403, ""), ErrExpired, 403},
		{"expired, says an older URL", "&Expires=1600000000", answer(403, "no XML"), ErrExpired, 403},
		{"denied", "&X-Amz-Date=" + time.Now().UTC().Format("20060102T150405Z") + "&X-Amz-Expires=600", answer(403, xml("AccessDenied", "Access Denied")), nil, 403},
		{"denied without a word", "", answer(403, strings.Repeat("x", 1<<20)), nil, 403},
		{"missing", presigned, answer(404, xml("NoSuchKey", "none")), nil, 404},
		{"replaced", "", answer(412, ""), ErrChanged, 412},
		{"failing", "", answer(503, xml("SlowDown", "slow down")), nil, 503},
		{"no ranges", "", func(w http.ResponseWriter) { w.Write(stored) }, ErrAnswer, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for _, at := range []string{"open", "read"} {
				client, url, _ := urlServer(t, stored, func(w http.ResponseWriter, r *http.Request, k int) bool {
					if at == "open" || k > 0 {
						tc.answer(w)
					}
					return at == "open" || k > 0
				})
				object, err := OpenURL(t.Context(), client, url+tc.query, key, &Options{Retries: -1})
				if at == "open" && tc.want == ErrAnswer {
					if err == nil {
						object.Close() // all of the object from its beginning will do
					}
					continue
				}
				if at == "read" && err == nil {
					_, err = object.ReadAt(make([]byte, 1), 30*S)
					object.Close()
				}
				if err == nil || tc.want != nil && !errors.Is(err, tc.want) || tc.want == nil && errors.Is(err, ErrExpired) || errors.Is(err, stream.ErrAuth) {
					t.Fatalf("%s: %v", at, err)
				}
				if tc.status != 0 && status(err) != tc.status {
					t.Errorf("%s: status %d: %v", at, status(err), err)
				}
				if strings.Contains(err.Error(), "Signature") || !strings.Contains(err.Error(), "/bucket/a%20key\"") || len(err.Error()) > 1000 {
					t.Errorf("%s: %v", at, err)
				}
			}
		})
	}
}

func TestURLThatIsNone(t *testing.T) {
	for _, url := range []string{"", "bucket/key", "ftp://host/key?" + secret, "s3://bucket/key", "http:///key", "http://host/%zz?" + secret, "http://127.0.0.1:0/key?" + secret} {
		_, err := OpenURL(t.Context(), nil, url, key, &Options{Retries: -1})
		if err == nil || strings.Contains(err.Error(), "Signature") {
			t.Errorf("%q: %v", url, err)
		}
	}
}

// A connection that cannot be made says so without the query.
func TestURLWithoutServer(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	url := server.URL + "/key?" + secret
	server.Close()
	client := &http.Client{Transport: &http.Transport{}}
	_, err := OpenURL(t.Context(), client, url, key, &Options{Retries: 1})
	if err == nil || strings.Contains(err.Error(), "Signature") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%v", err)
	}
}

// A stream that is bound to its place is refused unless the caller says where
// the URL leads, or that it does not matter.
func TestURLLocation(t *testing.T) {
	eo := known(S)
	eo.Location = "s3://bucket/a key"
	client, url, _ := urlServer(t, encrypt(t, plaintext(S), eo), nil)
	for _, tc := range []struct {
		decrypt *stream.DecryptOptions
		want    error
	}{
		{nil, stream.ErrPolicy},
		{&stream.DecryptOptions{Location: "s3://bucket/a key"}, nil},
		{&stream.DecryptOptions{Location: "s3://bucket/another"}, stream.ErrPolicy},
		{&stream.DecryptOptions{IgnoreLocation: true}, nil},
	} {
		object, err := OpenURL(t.Context(), client, url, key, &Options{Decrypt: tc.decrypt})
		if err == nil {
			object.Close()
		}
		if !errors.Is(err, tc.want) {
			t.Errorf("%+v: %v", tc.decrypt, err)
		}
	}
}

// The header of a detached stream comes in the metadata or from the caller; one
// beside cannot be asked for, and the error says what to do.
func TestURLDetached(t *testing.T) {
	const n = 5 * S
	plain := plaintext(n)
	r, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(plain), key, &stream.EncryptOptions{Detached: true, SegmentSize: S})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, where := range []string{"metadata", "options", "nowhere"} {
		client, url, _ := urlServer(t, stored, func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			if where == "metadata" {
				w.Header().Set("X-Amz-Meta-Bulla-Header", base64.RawURLEncoding.EncodeToString(r.Header()))
			}
			return false
		})
		o := &Options{Decrypt: &stream.DecryptOptions{}}
		if where == "options" {
			o.Decrypt.DetachedHeader = r.Header()
		}
		object, err := OpenURL(t.Context(), client, url, key, o)
		if where == "nowhere" {
			if err == nil || !strings.Contains(err.Error(), "DetachedHeader") || strings.Contains(err.Error(), "Signature") {
				t.Errorf("%v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(object); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes, %v", where, len(got), err)
		}
		object.Close()
	}
}

// A refusal is what the SDK's errors are, and what is not a stream stays one.
func TestURLErrorTypes(t *testing.T) {
	client, url, _ := urlServer(t, nil, func(w http.ResponseWriter, _ *http.Request, _ int) bool {
		s3Error(w, http.StatusNotFound, "NoSuchKey")
		return true
	})
	_, err := OpenURL(t.Context(), client, url, key, nil)
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "NoSuchKey" || api.ErrorMessage() != "NoSuchKey" {
		t.Errorf("%v", err)
	}
	client, url, _ = urlServer(t, []byte(fmt.Sprintf("%5000d", 0)), nil)
	if _, err := OpenURL(t.Context(), client, url, key, nil); !errors.Is(err, format.ErrNotStream) {
		t.Errorf("%v", err)
	}
}

// Redirects are followed as the caller's client follows them, and tell nobody
// the signature.
func TestURLRedirects(t *testing.T) {
	const n = 5 * S
	plain := plaintext(n)
	client, url, requests := urlServer(t, encrypt(t, plain, known(n)), nil)
	loops := 0
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/loop" {
			loops++
			http.Redirect(w, r, "/loop?"+secret, http.StatusTemporaryRedirect)
			return
		}
		http.Redirect(w, r, url, http.StatusTemporaryRedirect)
	}))
	defer front.Close()
	refused := errors.New("no redirects")
	for _, check := range []func(*http.Request, []*http.Request) error{
		nil,
		func(r *http.Request, _ []*http.Request) error {
			if r.Header.Get("Range") == "" || r.Header.Get("Referer") != "" {
				t.Errorf("the redirected request has the header %v", r.Header)
			}
			return nil
		},
		func(*http.Request, []*http.Request) error { return refused },
	} {
		client.CheckRedirect = check
		object, err := OpenURL(t.Context(), client, front.URL+"/key?X-Amz-Signature=first", key, &Options{Retries: -1})
		if err == nil {
			if got, readErr := io.ReadAll(object); readErr != nil || !bytes.Equal(got, plain) {
				t.Errorf("%d bytes, %v", len(got), readErr)
			}
			object.Close()
		} else if !errors.Is(err, refused) || strings.Contains(err.Error(), "Signature") {
			t.Error(err)
		}
	}
	for i, h := range requests() {
		if h.Get("Referer") != "" {
			t.Errorf("request %d has the Referer %q", i, h.Get("Referer"))
		}
	}
	if len(requests()) < 2 {
		t.Errorf("%d requests were redirected", len(requests()))
	}
	client.CheckRedirect = nil
	if _, err := OpenURL(t.Context(), client, front.URL+"/loop", key, &Options{Retries: -1}); err == nil || loops != 10 || strings.Contains(err.Error(), "Signature") {
		t.Errorf("%v after %d redirects", err, loops)
	}
}
