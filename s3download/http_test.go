package s3download

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/stream"
)

// newServer serves stored as an object to a client of the SDK. spoil, if it is
// not nil, is asked first, and tells whether it has answered.
func newServer(t *testing.T, stored []byte, spoil func(w http.ResponseWriter, r *http.Request, k int) bool) *s3.Client {
	var count atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		k := int(count.Add(1)) - 1
		w.Header().Set("ETag", `"one"`)
		if spoil == nil || !spoil(w, r, k) {
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(stored))
		}
	}))
	t.Cleanup(server.Close)
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return s3.New(s3.Options{
		BaseEndpoint:     &server.URL,
		Region:           "us-east-1",
		UsePathStyle:     true,
		Credentials:      credentials.NewStaticCredentialsProvider("id", "secret", ""),
		HTTPClient:       &http.Client{Transport: transport},
		RetryMaxAttempts: 1,
	})
}

func s3Error(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>%s</Message></Error>", code, code)
}

// limitedWriter lets n bytes of a body through and then cuts the connection.
type limitedWriter struct {
	http.ResponseWriter
	n int
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if len(p) > w.n {
		w.ResponseWriter.Write(p[:w.n])
		w.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	w.n -= len(p)
	return w.ResponseWriter.Write(p)
}

// The SDK's own client, over a network whose every second answer is cut or an
// error of the server.
func TestSDKClient(t *testing.T) {
	const n = 60*S + 1
	plain := plaintext(n)
	stored := encrypt(t, plain, known(n))
	for _, how := range []string{"Read", "ReadAt", "WriteTo", "DownloadTo"} {
		client := newServer(t, stored, func(w http.ResponseWriter, r *http.Request, k int) bool {
			switch k % 4 {
			case 1:
				http.ServeContent(&limitedWriter{w, 2*S + k}, r, "", time.Time{}, bytes.NewReader(stored))
				return true
			case 3:
				s3Error(w, http.StatusServiceUnavailable, "SlowDown")
				return true
			}
			return false
		})
		object, err := Open(t.Context(), client, (&fakeS3{}).input(), key, &Options{WindowSize: 10 * S, Concurrency: 2, Prefetch: Range{50 * S, S}})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := readers[how](t.Context(), object); err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%s: %d bytes, %v", how, len(got), err)
		}
		object.Close()
	}
}

// The SDK's errors are recognised as they come from the wire.
func TestSDKErrors(t *testing.T) {
	stored := encrypt(t, plaintext(60*S), known(60*S))
	for _, c := range []struct {
		status int
		code   string
		check  func(error) bool
	}{
		{http.StatusNotFound, "NoSuchKey", isA[*types.NoSuchKey]},
		{http.StatusNotFound, "NoSuchBucket", hasStatus(http.StatusNotFound)},
		{http.StatusForbidden, "AccessDenied", hasStatus(http.StatusForbidden)},
		{http.StatusForbidden, "InvalidObjectState", isA[*types.InvalidObjectState]},
		{http.StatusPreconditionFailed, "PreconditionFailed", func(err error) bool { return errors.Is(err, ErrChanged) }},
		{http.StatusRequestedRangeNotSatisfiable, "InvalidRange", hasStatus(http.StatusRequestedRangeNotSatisfiable)},
		{http.StatusServiceUnavailable, "SlowDown", hasStatus(http.StatusServiceUnavailable)},
	} {
		client := newServer(t, stored, func(w http.ResponseWriter, _ *http.Request, k int) bool {
			if k == 0 {
				return false
			}
			s3Error(w, c.status, c.code)
			return true
		})
		object, err := Open(t.Context(), client, (&fakeS3{}).input(), key, &Options{Retries: -1})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := object.ReadAt(make([]byte, 1), 50*S); !c.check(err) {
			t.Errorf("%d %s: %v", c.status, c.code, err)
		}
		object.Close()
	}
}

// http.ServeContent sends ranges of the plaintext, few requests each.
func TestServeContent(t *testing.T) {
	const segment = 64 << 10
	const n = 64 * segment
	plain := plaintext(n)
	f := newFake(encrypt(t, plain, stream.EncryptOptions{PlaintextSize: new(int64(n)), SegmentSize: segment}))
	object := openFake(t, f, nil)
	for _, c := range []struct{ first, final, requests int }{
		{0, 99, 0},
		{20 * segment, 24*segment - 1, 1},
		{30*segment + 7, 46*segment + 6, 4},
		{30*segment + 7, 30*segment + 8, 0},
	} {
		before := f.count()
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", c.first, c.final))
		w := httptest.NewRecorder()
		w.Header().Set("Content-Type", "video/mp4")
		http.ServeContent(w, r, "", time.Time{}, object)
		if w.Code != http.StatusPartialContent || !bytes.Equal(w.Body.Bytes(), plain[c.first:c.final+1]) {
			t.Fatalf("bytes %d to %d: status %d, %d bytes", c.first, c.final, w.Code, w.Body.Len())
		}
		if got := f.count() - before; got > c.requests {
			t.Errorf("bytes %d to %d took %d requests, expected at most %d", c.first, c.final, got, c.requests)
		}
	}
}
