package stream_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"testing/iotest"
	"weak"

	"go.uber.org/goleak"

	"github.com/bulla-format/bulla/stream"
)

// TestWorkers runs the sweeps again with workers, whose batches are so small
// that all but the shortest streams have several.
func TestWorkers(t *testing.T) {
	defer stream.SetBatchSize(segmentSize)()
	defer func() { workers = 0 }()
	workers = 3
	for name, sweep := range map[string]func(*testing.T){
		"WriterRoundTrip":              TestWriterRoundTrip,
		"ReaderFromRoundTrip":          TestReaderFromRoundTrip,
		"MixedWriteAndReadFrom":        TestMixedWriteAndReadFrom,
		"Iotest":                       TestIotest,
		"ReadAtEveryEdge":              TestReadAtEveryEdge,
		"ReadAtConcurrently":           TestReadAtConcurrently,
		"DetachedHeader":               TestDetachedHeader,
		"EncryptWriterDestination":     TestEncryptWriterDestinationFaults,
		"EncryptSource":                TestEncryptSourceFaults,
		"DecryptReaderSource":          TestDecryptReaderSourceFaults,
		"DecryptReaderDestination":     TestDecryptReaderDestinationFaults,
		"DecryptReaderAtSource":        TestDecryptReaderAtSourceFaults,
		"ReaderAtSourceShrinks":        TestReaderAtSourceShrinks,
		"ReaderAtToleratesEOF":         TestReaderAtToleratesEOF,
		"CloseAndAbort":                TestCloseAndAbort,
		"DeclaredSize":                 TestDeclaredSize,
		"EncryptReaderClose":           TestEncryptReaderClose,
		"DecryptClose":                 TestDecryptClose,
		"TamperSegments":               TestTamperSegments,
		"EveryCut":                     TestEveryCut,
		"SegmentErrorTellsWhere":       TestSegmentErrorTellsWhere,
		"RejectedPlaintextIsNotLeft":   TestRejectedPlaintextIsNotLeft,
		"VerifyHonoursContext":         TestVerifyHonoursContext,
		"Vectors":                      TestVectors,
		"SourcesInMemory":              TestSourcesInMemory,
		"BufferedSourceFails":          TestBufferedSourceFails,
		"Destinations":                 TestDestinations,
		"EncryptReaderDestination":     TestEncryptReaderDestinationFaults,
		"ReencryptingStopsAtDamage":    TestReencryptingStopsAtDamage,
		"ReaderAtLeavesItsSourceAlone": TestReaderAtLeavesItsSourceAlone,
	} {
		t.Run(name, sweep)
	}
}

// outcome is what a reader released and how it ended.
func outcome(released []byte, err error) string {
	return fmt.Sprintf("%d bytes, %x, %v", len(released), sha256.Sum256(released), err)
}

// TestWorkersChangeNothing lets streams of many batches fail at every segment,
// in the ways that a stream and a source can fail, and compares with the same
// without workers: what is released and the error.
func TestWorkersChangeNothing(t *testing.T) {
	defer stream.SetBatchSize(2 * segmentSize)()
	plaintext := content(21*segmentSize + 100)
	stored := encrypt(t, plaintext, small())
	start := headerSize(t, stored)
	const size = segmentSize + 28

	cases := map[string]func() io.Reader{"whole": func() io.Reader { return bytes.NewReader(stored) }}
	for i := range 22 {
		at := start + i*size
		tampered := bytes.Clone(stored)
		tampered[at+20] ^= 1
		tampered[min(at+5*size+20, len(stored)-1)] ^= 1 // which must not come first
		cases[fmt.Sprintf("segment %d changed", i)] = func() io.Reader { return bytes.NewReader(tampered) }
		cases[fmt.Sprintf("cut before segment %d", i)] = func() io.Reader { return bytes.NewReader(stored[:at]) }
		cases[fmt.Sprintf("cut in segment %d", i)] = func() io.Reader { return bytes.NewReader(stored[:at+50]) }
		cases[fmt.Sprintf("the source fails in segment %d", i)] = func() io.Reader {
			return io.MultiReader(bytes.NewReader(stored[:at+50]), iotest.ErrReader(errInjected))
		}
		cases[fmt.Sprintf("segment %d changed, then the source fails", i)] = func() io.Reader {
			return io.MultiReader(bytes.NewReader(tampered[:min(at+3*size, len(stored))]), iotest.ErrReader(errInjected))
		}
	}
	for name, source := range cases {
		for how, read := range map[string]func(*stream.DecryptReader) string{
			"WriteTo": func(r *stream.DecryptReader) string {
				var b bytes.Buffer
				_, err := r.WriteTo(&b)
				return outcome(b.Bytes(), err)
			},
			"Read": func(r *stream.DecryptReader) string { return outcome(io.ReadAll(r)) },
			"Read of much": func(r *stream.DecryptReader) string {
				b := make([]byte, len(plaintext)+1)
				n, err := io.ReadFull(r, b)
				return outcome(b[:n], err)
			},
		} {
			var want string
			for _, workers := range []int{0, 2, 3, 7} {
				r, err := stream.NewDecryptReader(t.Context(), source(), testKey, &stream.DecryptOptions{Workers: workers})
				if err != nil {
					t.Fatal(err)
				}
				got := read(r)
				if workers == 0 {
					want = got
				}
				if got != want {
					t.Errorf("%s, %s, %d workers: %s; without: %s", name, how, workers, got, want)
				}
				if how != "WriteTo" {
					continue
				}
				if _, err := r.Read(make([]byte, 1)); err == nil {
					t.Errorf("%s, %d workers: the end does not last", name, workers)
				}
			}
		}
	}
}

// TestWorkersFirstErrorByReadAt changes two segments: the first of them decides,
// whichever worker is first.
func TestWorkersFirstErrorByReadAt(t *testing.T) {
	defer stream.SetBatchSize(2 * segmentSize)()
	plaintext := content(64 * segmentSize)
	stored := encrypt(t, plaintext, small())
	start := headerSize(t, stored)
	for first := range 63 {
		for _, second := range []int{first + 1, min(63, first+2), 63} {
			tampered := bytes.Clone(stored)
			tampered[start+first*(segmentSize+28)+20] ^= 1
			tampered[start+second*(segmentSize+28)+21] ^= 1
			open := func() *stream.DecryptReaderAt {
				r, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(tampered), int64(len(tampered)), testKey, &stream.DecryptOptions{Workers: 4})
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			r := open()
			p := make([]byte, len(plaintext)-10)
			n, err := r.ReadAt(p, 10)
			var e *stream.SegmentError
			if !errors.As(err, &e) || e.Index != int64(first) || n != max(0, first*segmentSize-10) || !bytes.Equal(p[:n], plaintext[10:10+n]) {
				t.Fatalf("segments %d and %d changed: %d bytes, %v", first, second, n, err)
			}
			if _, again := r.ReadAt(p, 0); again != err {
				t.Fatalf("a later call: %v", again)
			}
			if err := open().Verify(t.Context()); !errors.As(err, &e) || e.Index != int64(first) {
				t.Fatalf("segments %d and %d changed: Verify: %v", first, second, err)
			}
		}
	}
}

// TestWorkersStopAtAnError lets every read of the source fail: no worker asks it
// twice.
func TestWorkersStopAtAnError(t *testing.T) {
	defer stream.SetBatchSize(segmentSize)()
	stored := encrypt(t, content(64*segmentSize), small())
	src := &shrinking{data: stored}
	r, err := stream.NewDecryptReaderAt(t.Context(), src, int64(len(stored)), testKey, &stream.DecryptOptions{Workers: 4})
	if err != nil {
		t.Fatal(err)
	}
	src.data, src.reads = nil, 0
	if _, err := r.ReadAt(make([]byte, r.Size()), 0); !errors.Is(err, stream.ErrTruncated) || src.reads > 4 {
		t.Errorf("%v after %d reads", err, src.reads)
	}
}

// A leaky source keeps the slices that it was given for bytes that it then
// took back.
type leaky struct {
	io.Reader
	k     int
	given []byte
}

func (l *leaky) Read(p []byte) (int, error) {
	if l.k--; l.k > 0 {
		return l.Reader.Read(p)
	}
	l.given = p[:copy(p, "a secret of some length")]
	return len(l.given), errInjected
}

// TestFailedSourceLeavesNothing looks for plaintext where a source that failed
// has put it.
func TestFailedSourceLeavesNothing(t *testing.T) {
	defer stream.SetBatchSize(segmentSize)()
	for _, workers := range []int{0, 3} {
		for k := 1; k < 12; k++ {
			src := &leaky{Reader: bytes.NewReader(content(100 * segmentSize)), k: k}
			o := small()
			o.Workers = workers
			r, err := stream.NewEncryptReader(t.Context(), src, testKey, o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, r); !errors.Is(err, errInjected) {
				t.Fatal(err)
			}
			if !bytes.Equal(src.given, make([]byte, len(src.given))) {
				t.Errorf("%d workers, read %d: plaintext is left", workers, k)
			}
		}
	}
}

// A meter counts what passes, and keeps the largest distance between what was
// read from a source and what came out.
type meter struct {
	in, out, ahead int
}

func (m *meter) Read(p []byte) (int, error) {
	m.in += len(p)
	m.ahead = max(m.ahead, m.in-m.out)
	return len(p), nil
}

func (m *meter) Write(p []byte) (int, error) {
	m.out += len(p)
	return len(p), nil
}

// TestWorkersReadAheadIsBounded passes an endless source through readers and
// the writer.
func TestWorkersReadAheadIsBounded(t *testing.T) {
	const batch, number, total = 4 * segmentSize, 3, 200 * segmentSize
	defer stream.SetBatchSize(batch)()
	const bound = 2*number*(batch+4*28) + 4096
	o := small()
	o.Workers = number
	within := func(what string, ahead int) {
		t.Helper()
		if ahead > bound {
			t.Errorf("%s: %d bytes ahead, the bound is %d", what, ahead, bound)
		}
		if ahead < batch {
			t.Errorf("%s: only %d bytes ahead: that is no batch", what, ahead)
		}
	}
	for _, step := range []int{100, segmentSize, 10 * batch} {
		var m meter
		r, err := stream.NewEncryptReader(t.Context(), &m, testKey, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyBuffer(&m, struct{ io.Reader }{io.LimitReader(r, total)}, make([]byte, step)); err != nil {
			t.Fatal(err)
		}
		within(fmt.Sprintf("EncryptReader by %d", step), m.ahead)
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, step := range []int{100, segmentSize, 10 * batch} {
		var m meter
		w, err := stream.NewEncryptWriter(t.Context(), &m, testKey, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyBuffer(struct{ io.Writer }{w}, io.LimitReader(&m, total), make([]byte, step)); err != nil {
			t.Fatal(err)
		}
		w.Abort()
		if step < batch { // what is written is the caller's memory, not ahead
			within(fmt.Sprintf("EncryptWriter by %d", step), m.ahead)
		}
	}
	stored := encrypt(t, make([]byte, total), o)
	m := meter{out: len(stored) - total} // which never comes out
	r, err := stream.NewDecryptReader(t.Context(), io.TeeReader(bytes.NewReader(stored), writerFunc(func(p []byte) (int, error) { return m.Read(p) })), testKey, &stream.DecryptOptions{Workers: number})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.WriteTo(&m); err != nil {
		t.Fatal(err)
	}
	within("DecryptReader", m.ahead)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// TestWorkersDoNotRetain changes what was written as soon as Write returns.
func TestWorkersDoNotRetain(t *testing.T) {
	defer stream.SetBatchSize(2 * segmentSize)()
	for _, step := range []int{100, segmentSize, 2 * segmentSize, 7*segmentSize + 3, 40 * segmentSize} {
		plaintext := content(90*segmentSize + 1)
		var stored bytes.Buffer
		o := small()
		o.Workers = 3
		w, err := stream.NewEncryptWriter(t.Context(), &stored, testKey, o)
		if err != nil {
			t.Fatal(err)
		}
		for rest := bytes.Clone(plaintext); len(rest) > 0; {
			p := rest[:min(step, len(rest))]
			if _, err := w.Write(p); err != nil {
				t.Fatal(err)
			}
			clear(p)
			rest = rest[len(p):]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := decrypt(t, stored.Bytes(), nil)
		check(t, fmt.Sprintf("by %d", step), got, err, plaintext)
	}
}

// TestWorkersForget looks whether a writer keeps a slice from being collected.
func TestWorkersForget(t *testing.T) {
	defer stream.SetBatchSize(segmentSize)()
	o := small()
	o.Workers = 3
	w, err := stream.NewEncryptWriter(t.Context(), io.Discard, testKey, o)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	p := make([]byte, 50*segmentSize)
	kept := weak.Make(&p[0])
	if _, err := w.Write(p); err != nil {
		t.Fatal(err)
	}
	runtime.KeepAlive(p)
	p = nil
	runtime.GC()
	if kept.Value() != nil {
		t.Error("the writer keeps what was written")
	}
}

// TestWorkersLeaveNothingBehind gives readers and writers up at different places,
// closed and not.
func TestWorkersLeaveNothingBehind(t *testing.T) {
	defer stream.SetBatchSize(segmentSize)()
	plaintext := content(100 * segmentSize)
	stored := encrypt(t, plaintext, small())
	o := small()
	o.Workers = 3
	for _, n := range []int64{0, 1, segmentSize, 5 * segmentSize, 50*segmentSize + 1} {
		for _, closed := range []bool{false, true} {
			w, err := stream.NewEncryptWriter(t.Context(), io.Discard, testKey, o)
			if err != nil {
				t.Fatal(err)
			}
			r, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(plaintext), testKey, o)
			if err != nil {
				t.Fatal(err)
			}
			d, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(stored), testKey, &stream.DecryptOptions{Workers: 3})
			if err != nil {
				t.Fatal(err)
			}
			_, writeErr := w.Write(plaintext[:n])
			_, readErr := io.CopyN(io.Discard, r, n)
			_, decryptErr := io.CopyN(io.Discard, d, n)
			if err := errors.Join(writeErr, readErr, decryptErr); err != nil {
				t.Fatal(err)
			}
			if closed {
				w.Abort()
				if err := errors.Join(r.Close(), d.Close()); err != nil {
					t.Error(err)
				}
			}
		}
	}
	goleak.VerifyNone(t) // waits a while for those that are about to end
}

// TestWorkersAtFullSize uses batches as they are, and sources and destinations
// of every kind.
func TestWorkersAtFullSize(t *testing.T) {
	plaintext := content(5<<20 + 12345)
	for _, size := range []int{1 << 12, 1 << 16, 1 << 20, 1 << 22} {
		for _, suite := range suites() {
			name := fmt.Sprintf("segments of %d bytes, %v", size, suite)
			o := &stream.EncryptOptions{Suite: suite, SegmentSize: size, Workers: 2}
			var stored bytes.Buffer
			w, err := stream.NewEncryptWriter(t.Context(), &stored, testKey, o)
			if err != nil {
				t.Fatal(err)
			}
			_, writeErr := w.Write(plaintext[:3<<20])
			_, readErr := w.ReadFrom(struct{ io.Reader }{bytes.NewReader(plaintext[3<<20:])})
			if err := errors.Join(writeErr, readErr, w.Close()); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			with := &stream.DecryptOptions{Workers: 2}
			for kind, src := range map[string]io.Reader{
				"memory": bytes.NewReader(stored.Bytes()),
				"plain":  iotest.HalfReader(bytes.NewReader(stored.Bytes())),
				"bufio":  bufio.NewReaderSize(bytes.NewReader(stored.Bytes()), 4<<20),
			} {
				r, err := stream.NewDecryptReader(t.Context(), src, testKey, with)
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(r)
				check(t, name+", "+kind, got, err, plaintext)
			}
			at, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(stored.Bytes()), int64(stored.Len()), testKey, with)
			if err != nil {
				t.Fatal(err)
			}
			for _, from := range []int{0, 1, 1 << 20, 3<<20 + 77} {
				got := make([]byte, len(plaintext)-from)
				_, err := at.ReadAt(got, int64(from))
				check(t, fmt.Sprintf("%s, ReadAt from %d", name, from), got, err, plaintext[from:])
			}
			if err := at.Verify(t.Context()); err != nil {
				t.Errorf("%s: Verify: %v", name, err)
			}
		}
	}
}
