package stream_test

import (
	"bytes"
	"crypto/fips140"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// suites are those that the cryptographic module in force allows.
func suites() []format.Suite {
	if fips140.Enforced() {
		return []format.Suite{format.AES256GCM}
	}
	return []format.Suite{format.AES256GCM, format.ChaCha20Poly1305}
}

// steps are by how many bytes a stream is written or read at a time.
var steps = []int{1, 512, segmentSize - 1, segmentSize, segmentSize + 1, segmentSize + 28, 3*segmentSize + 100}

func TestWriterRoundTrip(t *testing.T) {
	for _, suite := range suites() {
		for _, size := range edgeSizes {
			for _, step := range steps {
				for _, declared := range []bool{false, true} {
					name := fmt.Sprintf("%v, %d bytes by %d, declared %v", suite, size, step, declared)
					o := small()
					o.Suite = suite
					plaintext := content(size)
					if declared {
						o.PlaintextSize = new(int64(size))
					}
					var stored bytes.Buffer
					w, err := stream.NewEncryptWriter(t.Context(), &stored, testKey, o)
					if err != nil {
						t.Fatal(err)
					}
					for rest := plaintext; len(rest) > 0; {
						n, err := w.Write(rest[:min(step, len(rest))])
						if err != nil {
							t.Fatalf("%s: %v", name, err)
						}
						rest = rest[n:]
					}
					if err := w.Close(); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
					readEveryWay(t, name, stored.Bytes(), plaintext, step)
				}
			}
		}
	}
}

// readEveryWay reads a stream in all the ways there are and compares.
func readEveryWay(t *testing.T, name string, stored, plaintext []byte, step int) {
	t.Helper()
	r, err := stream.NewDecryptReader(t.Context(), iotest.HalfReader(bytes.NewReader(stored)), testKey, reading())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	var got bytes.Buffer
	buf := make([]byte, step)
	for {
		n, err := r.Read(buf)
		got.Write(buf[:n])
		if err == io.EOF {
			break
		}
		if n == 0 && err == nil {
			t.Fatalf("%s: a Read of nothing", name)
		}
		if err != nil {
			t.Fatalf("%s: reading: %v", name, err)
		}
	}
	check(t, name+", Read", got.Bytes(), nil, plaintext)

	r, err = stream.NewDecryptReader(t.Context(), bytes.NewReader(stored), testKey, reading())
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	got.Reset()
	n, err := r.WriteTo(&got)
	check(t, name+", WriteTo", got.Bytes(), err, plaintext)
	if n != int64(len(plaintext)) {
		t.Errorf("%s: WriteTo counted %d bytes of %d", name, n, len(plaintext))
	}

	at, err := decryptAt(t, stored, nil)
	check(t, name+", ReadAt", at, err, plaintext)
}

func TestStoredSizeIsTheFormula(t *testing.T) {
	for _, size := range edgeSizes {
		stored := encrypt(t, content(size), small())
		info, err := stream.Inspect(stored)
		if err != nil {
			t.Fatal(err)
		}
		want, err := info.Layout.StoredSize(int64(size))
		if err != nil || int64(len(stored)) != want {
			t.Errorf("%d bytes are stored as %d, the formula gives %d, %v", size, len(stored), want, err)
		}
	}
}

func TestReaderFromRoundTrip(t *testing.T) {
	sources := map[string]func(io.Reader) io.Reader{
		"plain":        func(r io.Reader) io.Reader { return struct{ io.Reader }{r} },
		"one byte":     iotest.OneByteReader,
		"half":         iotest.HalfReader,
		"data and EOF": iotest.DataErrReader,
	}
	for _, size := range edgeSizes {
		for kind, source := range sources {
			name := fmt.Sprintf("%d bytes from a %s reader", size, kind)
			plaintext := content(size)

			var stored bytes.Buffer
			w, err := stream.NewEncryptWriter(t.Context(), &stored, testKey, small())
			if err != nil {
				t.Fatal(err)
			}
			n, err := w.ReadFrom(source(bytes.NewReader(plaintext)))
			if err != nil || n != int64(size) {
				t.Fatalf("%s: ReadFrom took %d bytes, %v", name, n, err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			got, err := decrypt(t, stored.Bytes(), nil)
			check(t, name+", ReadFrom", got, err, plaintext)

			for _, step := range steps {
				r, err := stream.NewEncryptReader(t.Context(), source(bytes.NewReader(plaintext)), testKey, small())
				if err != nil {
					t.Fatal(err)
				}
				stored, err := readBy(r, step)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if r.PlaintextCount() != int64(size) {
					t.Errorf("%s: counted %d bytes", name, r.PlaintextCount())
				}
				got, err := decrypt(t, stored, nil)
				check(t, fmt.Sprintf("%s, EncryptReader by %d", name, step), got, err, plaintext)
			}
		}
	}
}

// readBy reads r to its end in pieces of step bytes, as io.ReadFull would for
// a caller with buffers of that size.
func readBy(r io.Reader, step int) ([]byte, error) {
	var all bytes.Buffer
	buf := make([]byte, step)
	for {
		n, err := io.ReadFull(r, buf)
		all.Write(buf[:n])
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return all.Bytes(), nil
		}
		if err != nil {
			return all.Bytes(), err
		}
	}
}

func TestMixedWriteAndReadFrom(t *testing.T) {
	plaintext := content(4*segmentSize + 11)
	var stored bytes.Buffer
	w, err := stream.NewEncryptWriter(t.Context(), &stored, testKey, small())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plaintext[:100]); err != nil {
		t.Fatal(err)
	}
	if _, err := w.ReadFrom(bytes.NewReader(plaintext[100 : segmentSize+200])); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plaintext[segmentSize+200:]); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := decrypt(t, stored.Bytes(), nil)
	check(t, "mixed", got, err, plaintext)
}

func TestIotest(t *testing.T) {
	for _, size := range edgeSizes {
		plaintext := content(size)
		stored := encrypt(t, plaintext, small())
		r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(stored), testKey, reading())
		if err != nil {
			t.Fatal(err)
		}
		if err := iotest.TestReader(r, plaintext); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
		at, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(stored), int64(len(stored)), testKey, reading())
		if err != nil {
			t.Fatal(err)
		}
		// TestReader tests ReadAt and Seek as well.
		if err := iotest.TestReader(io.NewSectionReader(at, 0, at.Size()), plaintext); err != nil {
			t.Errorf("%d bytes, ReadAt: %v", size, err)
		}
	}
}

func TestReadAtEveryEdge(t *testing.T) {
	for _, size := range edgeSizes {
		for _, declared := range []bool{false, true} {
			plaintext := content(size)
			o := small()
			if declared {
				o.PlaintextSize = new(int64(size))
			}
			stored := encrypt(t, plaintext, o)
			r, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(stored), int64(len(stored)), testKey, reading())
			if err != nil {
				t.Fatal(err)
			}
			if r.Size() != int64(size) {
				t.Fatalf("size %d, expected %d", r.Size(), size)
			}
			if err := r.Verify(t.Context()); err != nil {
				t.Error(err)
			}
			var edges []int
			for e := 0; e <= size+segmentSize; e += segmentSize {
				edges = append(edges, e-1, e, e+1)
			}
			for _, off := range edges {
				for _, end := range edges {
					if off < 0 || end < off {
						continue
					}
					p := make([]byte, end-off)
					n, err := r.ReadAt(p, int64(off))
					want := plaintext[min(off, size):min(end, size)]
					if !bytes.Equal(p[:n], want) || (err == io.EOF) != (end > size || off == size) || err != nil && err != io.EOF {
						t.Fatalf("%d bytes: ReadAt %d to %d: %d bytes, %v", size, off, end, n, err)
					}
				}
			}
		}
	}
}

func TestReadAtConcurrently(t *testing.T) {
	plaintext := content(40 * segmentSize)
	stored := encrypt(t, plaintext, small())
	r, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(stored), int64(len(stored)), testKey, reading())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 100 {
				off := (g*7919 + i*104729) % (len(plaintext) - 6000)
				p := make([]byte, 6000)
				if _, err := r.ReadAt(p, int64(off)); err != nil || !bytes.Equal(p, plaintext[off:off+6000]) {
					t.Errorf("offset %d: %v", off, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestOpenSegment reads the bytes of StoredRange as a caller with its own
// storage would.
func TestOpenSegment(t *testing.T) {
	plaintext := content(3*segmentSize + 9)
	stored := encrypt(t, plaintext, small())
	r, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(stored), int64(len(stored)), testKey, reading())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][2]int64{{0, 1}, {0, segmentSize}, {5, segmentSize}, {segmentSize, 1}, {3 * segmentSize, 9}, {0, 1 << 40}, {3*segmentSize + 9, 5}, {1 << 40, 5}, {100, 0}} {
		start, end, err := r.StoredRange(c[0], c[1])
		if err != nil {
			t.Fatal(err)
		}
		layout := r.Info().Layout
		var got []byte
		first := (start - layout.Start()) / int64(layout.StoredSegmentSize())
		for index := first; start < end; index++ {
			n := min(end-start, int64(layout.StoredSegmentSize()))
			if got, err = r.OpenSegment(got, stored[start:start+n], index); err != nil {
				t.Fatal(err)
			}
			start += n
		}
		from, to := min(c[0], r.Size()), min(c[0]+c[1], r.Size())
		if from == to {
			if len(got) != 0 {
				t.Errorf("%v: %d bytes for an empty range", c, len(got))
			}
			continue
		}
		skip := from - first*segmentSize
		check(t, fmt.Sprint(c), got[skip:skip+to-from], nil, plaintext[from:to])
	}
	segment := stored[r.Info().Layout.Start():][:segmentSize+28]
	for what, c := range map[string]struct {
		stored []byte
		index  int64
	}{"too short": {segment[:segmentSize], 0}, "too long": {stored[r.Info().Layout.Start():], 0}, "negative": {segment, -1}, "beyond": {segment, 4}} {
		if _, err := r.OpenSegment(nil, c.stored, c.index); err == nil {
			t.Errorf("%s: opened", what)
		}
	}
	if _, err := r.OpenSegment(nil, segment, 0); err != nil {
		t.Errorf("after calls with wrong sizes: %v", err)
	}
	_, err = r.OpenSegment(nil, segment, 1)
	var e *stream.SegmentError
	if !errors.As(err, &e) || e.Index != 1 {
		t.Errorf("a segment at another index: %v", err)
	}
	if _, again := r.OpenSegment(nil, segment, 0); again != err {
		t.Errorf("the failure is not final: %v", again)
	}
}

func TestInfo(t *testing.T) {
	o := &stream.EncryptOptions{
		Suite:          suites()[len(suites())-1],
		SegmentSize:    1 << 20,
		Context:        keywrap.Context{"tenant": "a", "purpose": "backup"},
		Metadata:       map[string]string{"name": "secret.txt"},
		Location:       "s3://bucket/key",
		AssociatedData: []byte("ad"),
		PlaintextSize:  new(int64(5)),
	}
	stored := encrypt(t, []byte("hello"), o)
	inspected, err := stream.Inspect(stored)
	if err != nil {
		t.Fatal(err)
	}
	if inspected.Metadata != nil {
		t.Error("Inspect returns sealed metadata")
	}
	decryptOptions := &stream.DecryptOptions{Location: o.Location, AssociatedData: o.AssociatedData}
	r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(stored), testKey, decryptOptions)
	if err != nil {
		t.Fatal(err)
	}
	at, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(stored), int64(len(stored)), testKey, decryptOptions)
	if err != nil {
		t.Fatal(err)
	}
	for what, info := range map[string]stream.Info{"Inspect": inspected, "DecryptReader": r.Info(), "DecryptReaderAt": at.Info()} {
		if info.Suite != o.Suite || info.SegmentSize != 1<<20 || info.Detached || !info.AssociatedData || info.HeaderSize != 4096 ||
			info.Generation != 0 || info.PlaintextSize != 5 || !maps.Equal(info.Context, o.Context) || info.Location != o.Location ||
			len(info.Keys) != 1 || info.Keys[0].Name != "test" || len(info.Extensions) != 3 {
			t.Errorf("%s: %+v", what, info)
		}
		if what != "Inspect" && !maps.Equal(info.Metadata, o.Metadata) {
			t.Errorf("%s: metadata %v", what, info.Metadata)
		}
	}
	if bytes.Contains(stored, []byte("secret.txt")) {
		t.Error("sealed metadata stands in the clear")
	}
}

func TestDetachedHeader(t *testing.T) {
	for _, size := range edgeSizes {
		plaintext := content(size)
		o := small()
		o.Detached = true
		var payload bytes.Buffer
		w, err := stream.NewEncryptWriter(t.Context(), &payload, testKey, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(plaintext); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		with := &stream.DecryptOptions{DetachedHeader: w.Header()}
		got, err := decrypt(t, payload.Bytes(), with)
		check(t, "detached", got, err, plaintext)
		got, err = decryptAt(t, payload.Bytes(), with)
		check(t, "detached, ReadAt", got, err, plaintext)

		r, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(plaintext), testKey, o)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err = decrypt(t, stored, &stream.DecryptOptions{DetachedHeader: r.Header()})
		check(t, "detached, EncryptReader", got, err, plaintext)
	}
}

func TestSeveralKeys(t *testing.T) {
	a, err := keywrap.GenerateAESKey("a")
	if err != nil {
		t.Fatal(err)
	}
	b, err := keywrap.GenerateAESKey("b")
	if err != nil {
		t.Fatal(err)
	}
	var stored bytes.Buffer
	w, err := stream.NewEncryptWriter(t.Context(), &stored, keywrap.Multi(a, b), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("for both")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, k := range []*keywrap.AESKey{a, b} {
		r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(stored.Bytes()), k, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		check(t, k.KeyName(), got, err, []byte("for both"))
	}
}

func TestPreferredSuite(t *testing.T) {
	if s := stream.PreferredSuite(); !s.Known() {
		t.Errorf("%v", s)
	}
}
