package stream_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"go.uber.org/goleak"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/segment"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// segmentSize is the smallest, so that few bytes make many segments.
const segmentSize = 1 << format.MinSegmentExp

// workers is the option of that name for all that small, reading and the helpers
// make: TestWorkers runs the sweeps again with another number.
var workers int

// small are options with segments of segmentSize and, so that sweeps over a
// stream's bytes are short, a compact header.
func small() *stream.EncryptOptions {
	return &stream.EncryptOptions{SegmentSize: segmentSize, CompactHeader: true, Workers: workers}
}

// reading are the default options, but for the number of workers.
func reading() *stream.DecryptOptions { return &stream.DecryptOptions{Workers: workers} }

func withWorkers(o *stream.DecryptOptions) *stream.DecryptOptions {
	if o == nil {
		return reading()
	}
	with := *o
	with.Workers = workers
	return &with
}

// edgeSizes are the plaintext sizes around the edges of segments.
var edgeSizes = []int{0, 1, segmentSize - 1, segmentSize, segmentSize + 1, 2*segmentSize - 1, 2 * segmentSize, 2*segmentSize + 1, 5*segmentSize + 7}

var testKey = func() *keywrap.AESKey {
	k, err := keywrap.NewAESKey("test", bytes.Repeat([]byte{9}, keywrap.AESKeySize))
	if err != nil {
		panic(err)
	}
	return k
}()

// content returns n bytes that differ from segment to segment.
func content(n int) []byte {
	b := make([]byte, n)
	rng := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func encrypt(t testing.TB, plaintext []byte, o *stream.EncryptOptions) []byte {
	t.Helper()
	var stored bytes.Buffer
	w, err := stream.NewEncryptWriter(t.Context(), &stored, testKey, o)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	if _, err := w.Write(plaintext); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return stored.Bytes()
}

// decrypt reads a stream from front to back and returns what was released.
func decrypt(t testing.TB, stored []byte, o *stream.DecryptOptions) ([]byte, error) {
	t.Helper()
	r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(stored), testKey, withWorkers(o))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// decryptAt reads a stream through a DecryptReaderAt, from memory that it knows
// and from a source that it does not.
func decryptAt(t testing.TB, stored []byte, o *stream.DecryptOptions) ([]byte, error) {
	t.Helper()
	plaintext, err := readAll(t, bytes.NewReader(stored), len(stored), o)
	again, againErr := readAll(t, struct{ io.ReaderAt }{bytes.NewReader(stored)}, len(stored), o)
	if !bytes.Equal(plaintext, again) || fmt.Sprint(err) != fmt.Sprint(againErr) {
		t.Fatalf("from memory %d bytes, %v; from another source %d bytes, %v", len(plaintext), err, len(again), againErr)
	}
	return plaintext, err
}

func readAll(t testing.TB, src io.ReaderAt, size int, o *stream.DecryptOptions) ([]byte, error) {
	t.Helper()
	r, err := stream.NewDecryptReaderAt(t.Context(), src, int64(size), testKey, withWorkers(o))
	if err != nil {
		return nil, err
	}
	plaintext := make([]byte, r.Size())
	n, err := r.ReadAt(plaintext, 0)
	if err == io.EOF && r.Size() == 0 {
		err = nil
	}
	return plaintext[:n], err
}

func check(t *testing.T, what string, got []byte, err error, want []byte) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: %d bytes that differ from the %d of the plaintext", what, len(got), len(want))
	}
}

var errInjected = errors.New("injected")

// headerSize returns the size of the header that stored begins with.
func headerSize(t testing.TB, stored []byte) int {
	t.Helper()
	size, err := format.HeaderSize(stored)
	if err != nil {
		t.Fatal(err)
	}
	return size
}

// seal encodes a header under a data key that the test knows.
func seal(t testing.TB, h *format.Header, dataKey []byte) []byte {
	t.Helper()
	k := new(segment.Keys)
	err := k.Derive(dataKey, &h.Prelude, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := h.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	mac := k.HeaderMAC(b)
	copy(b[len(b)-format.MACSize:], mac[:])
	return b
}
