package s3download

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// A tampering is what a hostile store makes of a stream of 9 segments: of the
// object, and of its header where that is apart.
type tampering struct {
	name string
	make func(stored []byte) []byte
	head func(header []byte) []byte // nil: the header stays
}

func tamperings(at place, n int) (all []tampering) {
	start := int64(format.DefaultHeaderSize)
	if at.put != nil {
		start = format.PreludeSize
	}
	layout, err := format.NewLayout(start, format.MinSegmentExp)
	if err != nil {
		panic(err)
	}
	segments := layout.FinalSegment(int64(n)) + 1
	segment := func(stored []byte, i int64) []byte {
		start, end := layout.StoredRange(i, i+1, int64(n))
		return stored[start:end]
	}
	add := func(name string, change func(stored []byte) []byte) {
		all = append(all, tampering{name: name, make: change})
	}
	for off := 0; off < format.DefaultHeaderSize; off++ {
		if off < 200 || off%97 == 0 || off >= format.DefaultHeaderSize-format.MACSize {
			flip := func(b []byte) []byte { b[off] ^= 1; return b }
			if off < int(start) {
				add(fmt.Sprintf("object byte %d", off), flip)
			}
			if at.put != nil {
				all = append(all, tampering{fmt.Sprintf("header byte %d", off), bytes.Clone, flip})
			}
		}
	}
	for i := range segments {
		for where, at := range map[string]func(size int) int{
			"nonce": func(int) int { return 0 },
			"first": func(int) int { return format.NonceSize },
			"tag":   func(size int) int { return size - 1 },
		} {
			add(fmt.Sprintf("segment %d %s", i, where), func(stored []byte) []byte {
				s := segment(stored, i)
				s[at(len(s))] ^= 0x80
				return stored
			})
		}
	}
	for i := range segments - 2 {
		add(fmt.Sprintf("segments %d and %d swapped", i, i+1), func(stored []byte) []byte {
			a, b := segment(stored, i), segment(stored, i+1)
			old := bytes.Clone(a)
			copy(a, b)
			copy(b, old)
			return stored
		})
		add(fmt.Sprintf("segment %d dropped", i), func(stored []byte) []byte {
			start, end := layout.StoredRange(i, i+1, int64(n))
			return append(stored[:start:start], stored[end:]...)
		})
		add(fmt.Sprintf("segment %d doubled", i), func(stored []byte) []byte {
			start, end := layout.StoredRange(i, i+1, int64(n))
			return append(stored[:end:end], stored[start:]...)
		})
		for _, d := range []int64{-1, 0, 1, format.SegmentOverhead, S / 2} {
			_, end := layout.StoredRange(i, i+1, int64(n))
			add(fmt.Sprintf("cut at %d%+d", end, d), func(stored []byte) []byte { return stored[:end+d] })
		}
	}
	add("cut by 1", func(stored []byte) []byte { return stored[:len(stored)-1] })
	add("extended by 1", func(stored []byte) []byte { return append(stored, 0) })
	add("extended by a segment", func(stored []byte) []byte { return append(stored, segment(stored, 0)...) })
	return all
}

// However a stream is changed, whoever reads it to the end gets an error, and
// before that only true plaintext.
func TestTampering(t *testing.T) {
	for _, at := range places[:4] {
		for _, n := range []int{8*S + 17, 8 * S} {
			if testing.Short() && n%S == 0 {
				continue
			}
			for name, eo := range map[string]stream.EncryptOptions{"known": known(n), "unknown": {}} {
				t.Run(fmt.Sprintf("%s/%d/%s", at.name, n, name), func(t *testing.T) { testTampering(t, at, n, eo) })
			}
		}
	}
}

func testTampering(t *testing.T, at place, n int, eo stream.EncryptOptions) {
	plain := plaintext(n)
	stored, header := encryptApart(t, plain, at.encryptOptions(eo))
	for _, tampering := range tamperings(at, n) {
		changed := at.fake(tampering.make(bytes.Clone(stored)), header)
		if tampering.head != nil {
			changed = at.fake(stored, tampering.head(bytes.Clone(header)))
		}
		for how, read := range readers {
			if (how == "ReadAt" || how == "ReadAt10000") && n%S == 0 {
				continue // the empty final segment holds nothing to read
			}
			if at.put != nil && (how == "Read32KiB" || how == "ReadAt10000") {
				continue // no other than Read and ReadAt, once the header is found
			}
			for prefetch, o := range map[string]*Options{"all": nil, "none": {CacheSize: 2 * S, WindowSize: 3 * S, Prefetch: Range{1 << 40, 0}}} {
				f := changed.clone()
				object, err := Open(t.Context(), f, f.input(), key, at.options(o))
				var got []byte
				if err == nil {
					got, err = read(t.Context(), object)
					closeFake(t, f, object)
				}
				where := fmt.Sprintf("%s, prefetch %s, %s", how, prefetch, tampering.name)
				if err == nil {
					t.Errorf("%s: no error", where)
				}
				if !refused(err) {
					t.Errorf("%s: not an error of the stream: %v", where, err)
				}
				if !bytes.HasPrefix(plain, got) {
					t.Errorf("%s: wrong bytes", where)
				}
			}
		}
	}
}

// refused tells whether err says that a stream is not as it was written.
func refused(err error) bool {
	for _, class := range []error{
		format.ErrNotStream, format.ErrUnsupported, format.ErrMalformed,
		stream.ErrAuth, stream.ErrTruncated, stream.ErrSizeMismatch, stream.ErrPolicy,
		keywrap.ErrNoMatch, keywrap.ErrUnwrap, ErrNoHeader,
	} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// One segment that is not authentic does not keep others from being read
// before it is met, and never gives a byte.
func TestTamperedRange(t *testing.T) {
	const n = 20 * S
	plain := plaintext(n)
	stored := encrypt(t, plain, known(n))
	layout, _ := format.NewLayout(format.DefaultHeaderSize, format.MinSegmentExp)
	stored[layout.SegmentOffset(10)+100] ^= 1
	for _, length := range []int{100, 2 * S, 10 * S} {
		object := openFake(t, newFake(stored), &Options{CacheSize: 8 * S, Prefetch: Range{1 << 40, 0}})
		p := make([]byte, length)
		off := 11*S - length + 50
		got, err := object.ReadAt(p, int64(off))
		if bad := (*stream.SegmentError)(nil); !errors.As(err, &bad) || bad.Index != 10 || bad.Offset != 10*S {
			t.Errorf("%d bytes: %v", length, err)
		}
		if expected := max(0, 10*S-off); got != expected || !bytes.Equal(p[:got], plain[off:off+got]) {
			t.Errorf("%d bytes: %d were returned, expected the %d before the segment", length, got, expected)
		}
		if bytes.Contains(p, plain[10*S:10*S+8]) {
			t.Errorf("%d bytes: plaintext that is not authentic is in the caller's slice", length)
		}
		if _, err := object.Read(p); !errors.Is(err, stream.ErrAuth) && err != io.EOF {
			t.Errorf("reading on: %v", err)
		}
	}
}
