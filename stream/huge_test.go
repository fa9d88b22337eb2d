package stream_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/segment"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// largestObject is the size of the largest object that S3 takes: 10,000 parts
// of 5 GiB, 48.8 TiB.
const largestObject = 10_000 * 5 << 30

// A sparse is a stream whose segments are sealed when they are read. Every
// plaintext byte is that of its segment's index.
type sparse struct {
	header []byte
	layout format.Layout
	size   int64 // of the plaintext
	sealer *segment.Sealer
}

func (s *sparse) ReadAt(p []byte, off int64) (int, error) {
	n := 0
	for n < len(p) {
		at := off + int64(n)
		if at < int64(len(s.header)) {
			n += copy(p[n:], s.header[at:])
			continue
		}
		index := (at - s.layout.Start()) / int64(s.layout.StoredSegmentSize())
		if index > s.layout.FinalSegment(s.size) {
			return n, io.EOF
		}
		plaintext := s.plaintext(index)
		final := index == s.layout.FinalSegment(s.size)
		stored := s.sealer.Seal(make([]byte, 0, len(plaintext)+format.SegmentOverhead), plaintext, index, final)
		m := copy(p[n:], stored[at-s.layout.SegmentOffset(index):])
		if n += m; m == 0 {
			return n, io.EOF
		}
	}
	return n, nil
}

func (s *sparse) plaintext(index int64) []byte {
	size := min(int64(s.layout.SegmentSize()), s.size-index*int64(s.layout.SegmentSize()))
	var word [8]byte
	binary.BigEndian.PutUint64(word[:], uint64(index))
	return bytes.Repeat(word[:], int(size+7)/8)[:size]
}

// knownKey wraps and unwraps to one data key that the test knows.
type knownKey struct{ dataKey []byte }

func (k knownKey) WrapKey(context.Context, []byte, keywrap.Context) ([]format.WrappedKey, error) {
	return nil, nil
}

func (k knownKey) GenerateKey(context.Context, keywrap.Context) ([]byte, []format.WrappedKey, error) {
	return bytes.Clone(k.dataKey), []format.WrappedKey{{Type: 99, Data: []byte{1}}}, nil
}

func (k knownKey) UnwrapKey(context.Context, format.WrappedKey, keywrap.Context) ([]byte, error) {
	return bytes.Clone(k.dataKey), nil
}

// newSparse returns a stream of size plaintext bytes that takes no space.
func newSparse(t *testing.T, size int64, o *stream.EncryptOptions) (*sparse, int64, knownKey) {
	t.Helper()
	key := knownKey{bytes.Repeat([]byte{3}, keywrap.DataKeySize)}
	r, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(nil), key, o)
	if err != nil {
		t.Fatal(err)
	}
	h, err := format.ParseHeader(r.Header())
	if err != nil {
		t.Fatal(err)
	}
	keys := new(segment.Keys)
	err = keys.Derive(key.dataKey, &h.Prelude, nil)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := segment.NewSealer(keys)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := h.Layout().StoredSize(size)
	if err != nil {
		t.Fatal(err)
	}
	return &sparse{header: r.Header(), layout: h.Layout(), size: size, sealer: sealer}, stored, key
}

func TestLargestObject(t *testing.T) {
	for _, suite := range suites() {
		for _, exp := range []int{12, 16, 24} {
			for _, declared := range []bool{false, true} {
				name := fmt.Sprintf("%v, k=%d, declared %v", suite, exp, declared)
				const size = largestObject - 1<<38 // so that the stored size fits too
				o := &stream.EncryptOptions{Suite: suite, SegmentSize: 1 << exp}
				if declared {
					o.PlaintextSize = new(int64(size))
				}
				src, stored, key := newSparse(t, size, o)
				r, err := stream.NewDecryptReaderAt(t.Context(), src, stored, key, nil)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if r.Size() != size {
					t.Fatalf("%s: size %d", name, r.Size())
				}
				segmentBytes := int64(1) << exp
				epoch := segmentBytes << segment.EpochShift(uint8(exp))
				for _, edge := range []int64{epoch, 2 * epoch, 1 << 32, 1 << 36, size / 2, size - 100} {
					off := edge - 50
					p := make([]byte, 100)
					n, err := r.ReadAt(p, off)
					if err != nil || n != 100 {
						t.Fatalf("%s: ReadAt at %d: %d bytes, %v", name, off, n, err)
					}
					for i, got := range p {
						at := off + int64(i)
						if want := byte(at / segmentBytes >> (56 - 8*(at%8))); got != want {
							t.Fatalf("%s: byte %d is %d, expected %d", name, at, got, want)
						}
					}
				}
			}
		}
	}
}
