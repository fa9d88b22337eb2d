package s3download

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/stream"
)

func TestConcurrentReadAt(t *testing.T) {
	const n = 60*S + 3
	plain := plaintext(n)
	f := newFake(encrypt(t, plain, known(n)))
	object := openFake(t, f, &Options{CacheSize: 10 * S})
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, 0))
			for range 100 {
				off := r.IntN(n)
				p := make([]byte, r.IntN(min(8*S, n-off)+1))
				if got, err := object.ReadAt(p, int64(off)); err != nil || !bytes.Equal(p[:got], plain[off:off+len(p)]) {
					t.Errorf("%d bytes at %d: %d, %v", len(p), off, got, err)
					return
				}
			}
		})
	}
	for how := range map[string]bool{"Read": true, "DownloadTo": true} {
		wg.Go(func() {
			if got, err := readers[how](t.Context(), object); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("%s: %d bytes, %v", how, len(got), err)
			}
		})
	}
	wg.Wait()
}

// Many reads of one segment at the same time are one request, and share its
// failure.
func TestSharedFetch(t *testing.T) {
	for _, fails := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			const n = 60 * S
			plain := plaintext(n)
			f := newFake(encrypt(t, plain, known(n)))
			object, err := Open(t.Context(), f, f.input(), key, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer closeFake(t, f, object)
			f.fault = func(int, *s3.GetObjectInput) fault {
				if fails {
					return fault{err: statusError(http.StatusForbidden, "AccessDenied")}
				}
				return cut(100, errHang) // the first one: it stalls while the others come
			}
			before := f.count()
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() {
					p := make([]byte, 2*S)
					_, err := object.ReadAt(p, 40*S)
					if fails != hasStatus(http.StatusForbidden)(err) || !fails && !bytes.Equal(p, plain[40*S:][:2*S]) {
						t.Errorf("fails %t: %v", fails, err)
					}
				})
			}
			synctest.Wait()
			f.mu.Lock()
			f.fault = nil
			f.mu.Unlock()
			wg.Wait()
			if got := f.count() - before; !fails && got != 2 {
				t.Errorf("%d requests, expected the stalled one and its repetition", got)
			}
		})
	}
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 60 * S
		for how := range readers {
			f := newFake(encrypt(t, plaintext(n), known(n)))
			object, err := Open(t.Context(), f, f.input(), key, &small)
			if err != nil {
				t.Fatal(err)
			}
			f.fault = func(int, *s3.GetObjectInput) fault { return cut(S/2, errHang) }
			result := make(chan error, 1)
			go func() {
				_, err := readers[how](t.Context(), object)
				result <- err
			}()
			synctest.Wait()
			closeFake(t, f, object)
			if err := <-result; !errors.Is(err, stream.ErrClosed) {
				t.Errorf("%s was under way: %v", how, err)
			}
			requests := f.count()
			checkClosed(t, object)
			if f.count() != requests {
				t.Error("a closed object made a request")
			}
			if err := object.Close(); err != nil {
				t.Errorf("closing again: %v", err)
			}
		}
	})
}

func checkClosed(t *testing.T, object *Object) {
	t.Helper()
	p := make([]byte, 1)
	for how, call := range map[string]func() error{
		"ReadAt":     func() error { _, err := object.ReadAt(p, 0); return err },
		"Read":       func() error { _, err := object.Read(p); return err },
		"Seek":       func() error { _, err := object.Seek(0, io.SeekStart); return err },
		"WriteTo":    func() error { _, err := object.WriteTo(io.Discard); return err },
		"DownloadTo": func() error { return object.DownloadTo(t.Context(), newBuffer(1)) },
	} {
		if err := call(); !errors.Is(err, stream.ErrClosed) {
			t.Errorf("%s after Close: %v", how, err)
		}
	}
}

func TestCloseClearsCache(t *testing.T) {
	f := newFake(encrypt(t, plaintext(5*S), known(5*S)))
	object := openFake(t, f, nil)
	var kept [][]byte
	for _, e := range object.cache.entries {
		kept = append(kept, e.Value.(*entry).data)
	}
	if len(kept) != 6 {
		t.Fatalf("%d segments in the cache, expected all 6", len(kept))
	}
	object.Close()
	for _, plain := range kept {
		if !bytes.Equal(plain, make([]byte, len(plain))) {
			t.Error("plaintext outlived Close")
		}
	}
}

// The end of Open's context ends Open, and nothing after it.
func TestContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain := plaintext(60 * S)
		f := newFake(encrypt(t, plain, known(len(plain))))
		ctx, cancel := context.WithCancel(t.Context())
		object, err := Open(ctx, f, f.input(), key, &small)
		if err != nil {
			t.Fatal(err)
		}
		defer closeFake(t, f, object)
		cancel()
		if _, err := object.ReadAt(make([]byte, S), 30*S); err != nil {
			t.Errorf("after the end of Open's context: %v", err)
		}
		if _, err := Open(ctx, f, f.input(), key, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("opening under a cancelled context: %v", err)
		}
		if err := object.DownloadTo(ctx, newBuffer(len(plain))); !errors.Is(err, context.Canceled) {
			t.Errorf("downloading under a cancelled context: %v", err)
		}
		f.fault = func(int, *s3.GetObjectInput) fault { return fault{hang: true} }
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := Open(short, f, f.input(), key, nil); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("opening what does not answer: %v", err)
		}
		if err := object.DownloadTo(short, newBuffer(len(plain))); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("downloading what does not answer: %v", err)
		}
	})
}

// An error of the destination ends the download, and is the caller's own.
func TestDestinationErrors(t *testing.T) {
	const n = 60 * S
	plain := plaintext(n)
	f := newFake(encrypt(t, plain, known(n)))
	object := openFake(t, f, &small)
	broken := errors.New("disk full")
	for k := range 30 {
		object.Seek(0, io.SeekStart)
		w := &failingWriter{left: k, err: broken}
		if total, err := object.WriteTo(w); !errors.Is(err, broken) || total != w.count || total != int64(k*S) {
			t.Fatalf("write %d fails: %d, %v", k, total, err)
		}
		if off, _ := object.Seek(0, io.SeekCurrent); off != int64(k*S) {
			t.Fatalf("the offset is %d after %d segments", off, k)
		}
		if rest, err := io.ReadAll(onlyReader{object}); err != nil || !bytes.Equal(rest, plain[k*S:]) {
			t.Fatalf("reading on: %d bytes, %v", len(rest), err)
		}
		if err := object.DownloadTo(t.Context(), &failingWriter{left: k, err: broken}); !errors.Is(err, broken) {
			t.Fatalf("write %d fails: %v", k, err)
		}
	}
	object.Seek(0, io.SeekStart)
	if _, err := object.WriteTo(&failingWriter{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a short write: %v", err)
	}
	if err := object.DownloadTo(t.Context(), &failingWriter{}); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("a short WriteAt: %v", err)
	}
}

// A failingWriter takes some writes; then it fails or, without an error, takes
// nothing.
type failingWriter struct {
	mu    sync.Mutex
	left  int
	count int64
	err   error
}

func (w *failingWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.left == 0 {
		return 0, w.err
	}
	w.left--
	w.count += int64(len(p))
	return len(p), nil
}

func (w *failingWriter) WriteAt(p []byte, _ int64) (int, error) { return w.Write(p) }

func TestInfo(t *testing.T) {
	eo := known(S)
	eo.Context = map[string]string{"project": "bulla"}
	eo.Metadata = map[string]string{"name": "a file"}
	info := openFake(t, newFake(encrypt(t, plaintext(S), eo)), nil).Info()
	if info.PlaintextSize != S || info.SegmentSize != S || info.Context["project"] != "bulla" || info.Metadata["name"] != "a file" {
		t.Errorf("%+v", info)
	}
}
