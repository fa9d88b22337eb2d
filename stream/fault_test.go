package stream_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/bulla-format/bulla/stream"
)

// A faultySource fails its k-th Read, from one on, after it has given n bytes
// with it.
type faultySource struct {
	src  io.Reader
	k, n int
	err  error
}

func (f *faultySource) Read(p []byte) (int, error) {
	if f.k--; f.k == 0 {
		n, _ := f.src.Read(p[:min(f.n, len(p))])
		return n, f.err
	}
	return f.src.Read(p)
}

// A faultyDestination fails its k-th Write, from one on, after it has taken n
// bytes of it; with a nil error it is one that writes short.
type faultyDestination struct {
	bytes.Buffer
	k, n int
	err  error
}

func (f *faultyDestination) Write(p []byte) (int, error) {
	if f.k--; f.k == 0 {
		n, _ := f.Buffer.Write(p[:min(f.n, len(p)-1)])
		return n, f.err
	}
	return f.Buffer.Write(p)
}

// mustNotDecrypt fails the test if what was stored before a fault reads as a
// whole stream, or if anything is released that is not a prefix of plaintext.
func mustNotDecrypt(t *testing.T, name string, stored, plaintext []byte) {
	t.Helper()
	got, err := decrypt(t, stored, nil)
	if err == nil {
		t.Fatalf("%s: what was stored decrypts to its end", name)
	}
	if !bytes.HasPrefix(plaintext, got) {
		t.Fatalf("%s: what was stored decrypts to something else", name)
	}
	if _, err := decryptAt(t, stored, nil); err == nil {
		t.Fatalf("%s: what was stored decrypts by ReadAt", name)
	}
}

const faultSize = 40*segmentSize + 5

func TestEncryptWriterDestinationFaults(t *testing.T) {
	plaintext := content(faultSize)
	writes := map[string]func(w *stream.EncryptWriter) error{
		"Write": func(w *stream.EncryptWriter) error { _, err := w.Write(plaintext); return err },
		"ReadFrom": func(w *stream.EncryptWriter) error {
			_, err := w.ReadFrom(struct{ io.Reader }{bytes.NewReader(plaintext)})
			return err
		},
	}
	for how, write := range writes {
		encryptWriterDestinationFaults(t, how, plaintext, write)
	}
}

func encryptWriterDestinationFaults(t *testing.T, how string, plaintext []byte, write func(*stream.EncryptWriter) error) {
	t.Helper()
	for k := 1; ; k++ {
		faulted := false
		for _, n := range []int{0, 1, segmentSize} {
			for _, injected := range []error{errInjected, nil} {
				name := fmt.Sprintf("%s: write %d fails after %d bytes with %v", how, k, n, injected)
				want := injected
				if want == nil {
					want = io.ErrShortWrite
				}
				dst := &faultyDestination{k: k, n: n, err: injected}
				w, err := stream.NewEncryptWriter(t.Context(), dst, testKey, small())
				if err != nil {
					t.Fatal(err)
				}
				err = write(w)
				closeErr := w.Close()
				if dst.k > 0 { // there are fewer writes than k
					if err != nil || closeErr != nil {
						t.Fatalf("%s: no fault, %v, %v", name, err, closeErr)
					}
					continue
				}
				faulted = true
				if !errors.Is(closeErr, want) {
					t.Fatalf("%s: Close returned %v", name, closeErr)
				}
				writesBefore := dst.k
				if _, err := w.Write([]byte("more")); err != closeErr {
					t.Errorf("%s: a later Write returned %v", name, err)
				}
				if _, err := w.ReadFrom(bytes.NewReader(plaintext)); err != closeErr {
					t.Errorf("%s: a later ReadFrom returned %v", name, err)
				}
				w.Abort()
				if err := w.Close(); err != closeErr {
					t.Errorf("%s: a later Close returned %v", name, err)
				}
				if dst.k != writesBefore {
					t.Errorf("%s: the destination was written to after the fault", name)
				}
				mustNotDecrypt(t, name, dst.Bytes(), plaintext)
			}
		}
		if !faulted {
			if k < 3 {
				t.Fatalf("only %d writes: the sweep proves little", k-1)
			}
			return
		}
	}
}

// sourceErrors are how a source can fail; a cut HTTP body fails with
// io.ErrUnexpectedEOF.
var sourceErrors = []error{errInjected, io.ErrUnexpectedEOF, io.ErrClosedPipe}

func TestEncryptSourceFaults(t *testing.T) {
	plaintext := content(5*segmentSize + 5)
	const calls = 7 // that a source of so many segments is asked, its io.EOF included
	for k := 1; k <= calls; k++ {
		for _, n := range []int{0, 1, 100, segmentSize} {
			for _, injected := range sourceErrors {
				name := fmt.Sprintf("read %d fails after %d bytes with %v", k, n, injected)
				source := func() io.Reader {
					return &faultySource{src: bytes.NewReader(plaintext), k: k, n: n, err: injected}
				}
				var dst bytes.Buffer
				w, err := stream.NewEncryptWriter(t.Context(), &dst, testKey, small())
				if err != nil {
					t.Fatal(err)
				}
				_, err = io.Copy(w, source())
				if !errors.Is(err, injected) {
					t.Fatalf("%s: io.Copy returned %v", name, err)
				}
				if err := w.Close(); !errors.Is(err, injected) { // as a deferred Close would
					t.Fatalf("%s: Close after it returned %v", name, err)
				}
				mustNotDecrypt(t, name, dst.Bytes(), plaintext)

				for _, step := range steps {
					r, err := stream.NewEncryptReader(t.Context(), source(), testKey, small())
					if err != nil {
						t.Fatal(err)
					}
					var stored bytes.Buffer
					buf := make([]byte, step)
					var first error
					for first == nil {
						var m int
						m, first = r.Read(buf)
						stored.Write(buf[:m])
						if m == 0 && first == nil {
							t.Fatalf("%s: a Read of nothing", name)
						}
						if first != nil && holdsAny(buf[m:], plaintext) {
							t.Fatalf("%s: the caller's slice holds plaintext", name)
						}
					}
					if !errors.Is(first, injected) {
						t.Fatalf("%s: EncryptReader returned %v", name, first)
					}
					if _, err := r.Read(buf); err != first {
						t.Fatalf("%s: a later Read returned %v", name, err)
					}
					mustNotDecrypt(t, name, stored.Bytes(), plaintext)
				}

				r, err := stream.NewEncryptReader(t.Context(), source(), testKey, small())
				if err != nil {
					t.Fatal(err)
				}
				dst.Reset()
				if _, err = r.WriteTo(&dst); !errors.Is(err, injected) {
					t.Fatalf("%s: EncryptReader.WriteTo returned %v", name, err)
				}
				if _, again := r.WriteTo(&dst); again != err {
					t.Fatalf("%s: a later WriteTo returned %v", name, again)
				}
				mustNotDecrypt(t, name, dst.Bytes(), plaintext)
			}
		}
	}
}

// holdsAny reports whether b holds 16 bytes of a segment's beginning.
func holdsAny(b, plaintext []byte) bool {
	for i := 0; i+16 <= len(plaintext); i += segmentSize {
		if bytes.Contains(b, plaintext[i:i+16]) {
			return true
		}
	}
	return false
}

func TestDecryptReaderSourceFaults(t *testing.T) {
	plaintext := content(5*segmentSize + 5)
	stored := encrypt(t, plaintext, small())
	const calls = 3 + 7 // the header's three pieces, the segments, and io.EOF
	for k := 1; k <= calls; k++ {
		for _, n := range []int{0, 1, segmentSize} {
			for _, injected := range sourceErrors {
				name := fmt.Sprintf("read %d fails after %d bytes with %v", k, n, injected)
				r, err := stream.NewDecryptReader(t.Context(), &faultySource{src: bytes.NewReader(stored), k: k, n: n, err: injected}, testKey, reading())
				if err != nil {
					if !errors.Is(err, injected) || errors.Is(err, stream.ErrAuth) || errors.Is(err, stream.ErrTruncated) {
						t.Fatalf("%s: %v", name, err)
					}
					continue
				}
				got, err := io.ReadAll(r)
				if !errors.Is(err, injected) || errors.Is(err, stream.ErrAuth) || errors.Is(err, stream.ErrTruncated) {
					t.Fatalf("%s: %v", name, err)
				}
				if !bytes.HasPrefix(plaintext, got) {
					t.Fatalf("%s: released something else", name)
				}
				if _, again := r.Read(make([]byte, 10)); again != err {
					t.Fatalf("%s: a later Read returned %v", name, again)
				}
				if _, again := r.WriteTo(io.Discard); again != err {
					t.Fatalf("%s: a later WriteTo returned %v", name, again)
				}
			}
		}
	}
}

func TestDecryptReaderDestinationFaults(t *testing.T) {
	plaintext := content(5*segmentSize + 5)
	stored := encrypt(t, plaintext, small())
	for k := 1; k <= 6; k++ {
		for _, injected := range []error{errInjected, nil} {
			dst := &faultyDestination{k: k, n: 3, err: injected}
			r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(stored), testKey, reading())
			if err != nil {
				t.Fatal(err)
			}
			want := injected
			if want == nil {
				want = io.ErrShortWrite
			}
			n, err := r.WriteTo(dst)
			if !errors.Is(err, want) || n != int64(dst.Len()) || !bytes.HasPrefix(plaintext, dst.Bytes()) {
				t.Errorf("write %d fails with %v: %d bytes counted, %d written, %v", k, injected, n, dst.Len(), err)
			}
			if _, again := r.Read(make([]byte, 10)); again != err {
				t.Errorf("a later Read returned %v", again)
			}
		}
	}
}

// A faultyReaderAt fails its k-th ReadAt, from one on.
type faultyReaderAt struct {
	src  io.ReaderAt
	mu   sync.Mutex
	k, n int
	err  error
}

func (f *faultyReaderAt) ReadAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.k--; f.k == 0 {
		n, _ := f.src.ReadAt(p[:min(f.n, len(p)-1)], off)
		return n, f.err
	}
	return f.src.ReadAt(p, off)
}

func TestDecryptReaderAtSourceFaults(t *testing.T) {
	plaintext := content(100 * segmentSize) // several windows
	stored := encrypt(t, plaintext, small())
	for k := 1; ; k++ {
		faulted := false
		for _, n := range []int{0, 1, segmentSize} {
			for _, injected := range []error{errInjected, io.ErrUnexpectedEOF, nil} {
				name := fmt.Sprintf("ReadAt %d fails after %d bytes with %v", k, n, injected)
				want := injected
				if want == nil {
					want = io.ErrNoProgress
				}
				src := &faultyReaderAt{src: bytes.NewReader(stored), k: k, n: n, err: injected}
				r, err := stream.NewDecryptReaderAt(t.Context(), src, int64(len(stored)), testKey, reading())
				if err != nil {
					// A short read of the header alone is made up for by the next.
					if faulted = true; !errors.Is(err, want) || errors.Is(err, stream.ErrAuth) {
						t.Fatalf("%s: %v", name, err)
					}
					continue
				}
				p := make([]byte, len(plaintext))
				m, err := r.ReadAt(p, 0)
				if src.k > 0 || k == 1 && injected == nil {
					check(t, name+": no fault", p[:m], err, plaintext)
					continue
				}
				faulted = true
				if !errors.Is(err, want) || errors.Is(err, stream.ErrAuth) || errors.Is(err, stream.ErrTruncated) {
					t.Fatalf("%s: %v", name, err)
				}
				if !bytes.Equal(p[:m], plaintext[:m]) {
					t.Fatalf("%s: released something else", name)
				}
				m, err = r.ReadAt(p, 0) // such an error may pass
				check(t, name+": again", p[:m], err, plaintext)
			}
		}
		if !faulted {
			if k < 4 {
				t.Fatalf("only %d reads: the sweep proves little", k-1)
			}
			return
		}
	}
}

// TestReaderAtSourceShrinks ends the source early, between open and read.
func TestReaderAtSourceShrinks(t *testing.T) {
	stored := encrypt(t, content(100*segmentSize), small())
	src := &shrinking{data: stored}
	r, err := stream.NewDecryptReaderAt(t.Context(), src, int64(len(stored)), testKey, reading())
	if err != nil {
		t.Fatal(err)
	}
	src.data = stored[:len(stored)/2]
	if _, err := r.ReadAt(make([]byte, 100*segmentSize), 0); !errors.Is(err, stream.ErrTruncated) {
		t.Errorf("%v", err)
	}
	src.data = stored
	reads := src.reads
	if _, err := r.ReadAt(make([]byte, 10), 0); !errors.Is(err, stream.ErrTruncated) || src.reads != reads {
		t.Errorf("the failure is not final: %v after %d reads", err, src.reads-reads)
	}
}

type shrinking struct {
	data  []byte
	mu    sync.Mutex
	reads int
}

func (s *shrinking) ReadAt(p []byte, off int64) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	return bytes.NewReader(s.data).ReadAt(p, off)
}

// TestReaderAtToleratesEOF uses sources that return io.EOF with the bytes at
// their end, as io.ReaderAt allows.
func TestReaderAtToleratesEOF(t *testing.T) {
	plaintext := content(segmentSize + 1)
	stored := encrypt(t, plaintext, small())
	r, err := stream.NewDecryptReaderAt(t.Context(), eofReaderAt{stored}, int64(len(stored)), testKey, reading())
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, len(plaintext)+1)
	n, err := r.ReadAt(p, 0)
	if n != len(plaintext) || err != io.EOF || !bytes.Equal(p[:n], plaintext) {
		t.Errorf("%d bytes, %v", n, err)
	}
	n, err = r.ReadAt(p[:n], 0)
	if n != len(plaintext) || err != nil {
		t.Errorf("exactly to the end: %d bytes, %v", n, err)
	}
	if _, err := r.ReadAt(p, -1); err == nil || err == io.EOF {
		t.Errorf("negative offset: %v", err)
	}
}

type eofReaderAt struct{ data []byte }

func (e eofReaderAt) ReadAt(p []byte, off int64) (int, error) {
	n := copy(p, e.data[off:])
	if off+int64(n) == int64(len(e.data)) {
		return n, io.EOF
	}
	return n, nil
}

func TestReaderWithoutProgress(t *testing.T) {
	r, err := stream.NewEncryptReader(t.Context(), idle{}, testKey, small())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("%v", err)
	}
	if _, err := stream.NewDecryptReader(t.Context(), idle{}, testKey, reading()); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("%v", err)
	}
	r, err = stream.NewEncryptReader(t.Context(), liar{}, testKey, small())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); err == nil {
		t.Error("an impossible count is accepted")
	}
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

type liar struct{}

func (liar) Read(p []byte) (int, error) { return len(p) + 1, nil }
