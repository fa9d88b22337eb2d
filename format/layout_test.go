package format_test

import (
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/bulla-format/bulla/format"
)

func layout(t testing.TB, start int64, exp uint8) format.Layout {
	t.Helper()
	l, err := format.NewLayout(start, exp)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// storedSize is SPEC §7.1 in integers without bounds.
func storedSize(start, n int64, exp uint8) *big.Int {
	q, r := big.NewInt(n>>exp), n&(1<<exp-1)
	q.Mul(q, big.NewInt(1<<exp+28))
	return q.Add(q, big.NewInt(start)).Add(q, big.NewInt(r)).Add(q, big.NewInt(28))
}

func TestSizesBothWays(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for exp := uint8(format.MinSegmentExp); exp <= format.MaxSegmentExp; exp++ {
		stored := int64(1)<<exp + 28
		edge := stored + math.MaxInt64%stored // what is left for segments is then a whole number of them
		for _, start := range []int64{format.PreludeSize, format.MinHeaderSize, 4096, 65536, edge, edge - 1, edge - 27, edge - 28} {
			l := layout(t, start, exp)
			top := l.MaxPlaintextSize()
			if storedSize(start, top, exp).Cmp(big.NewInt(math.MaxInt64)) > 0 {
				t.Fatalf("k=%d: MaxPlaintextSize does not fit", exp)
			}
			if storedSize(start, top+1, exp).Cmp(big.NewInt(math.MaxInt64)) <= 0 {
				t.Fatalf("k=%d: MaxPlaintextSize could be larger", exp)
			}
			s := int64(1) << exp
			sizes := []int64{0, 1, s - 1, s, s + 1, 2*s - 1, 2 * s, 2*s + 1, 1 << 45, top - 1, top}
			for range 200 {
				sizes = append(sizes, rng.Int64N(top), rng.Int64N(10*s))
			}
			for _, n := range sizes {
				stored, err := l.StoredSize(n)
				if err != nil || storedSize(start, n, exp).Cmp(big.NewInt(stored)) != 0 {
					t.Fatalf("k=%d n=%d: stored size %d, %v", exp, n, stored, err)
				}
				if back, err := l.PlaintextSize(stored); back != n || err != nil {
					t.Fatalf("k=%d n=%d: back from %d: %d, %v", exp, n, stored, back, err)
				}
			}
			for _, n := range []int64{-1, math.MinInt64, top + 1, math.MaxInt64} {
				if _, err := l.StoredSize(n); !errors.Is(err, format.ErrSize) {
					t.Errorf("k=%d n=%d: %v", exp, n, err)
				}
			}
		}
	}
}

// TestEveryStoredSize walks through all sizes around three segments: a size is
// valid exactly when some plaintext size has it.
func TestEveryStoredSize(t *testing.T) {
	l := layout(t, 100, 12)
	valid := make(map[int64]int64)
	for n := range int64(3*4096 + 2) {
		stored, err := l.StoredSize(n)
		if err != nil {
			t.Fatal(err)
		}
		valid[stored] = n
	}
	for stored := int64(-1); stored < 100+3*(4096+28)+29; stored++ {
		n, err := l.PlaintextSize(stored)
		want, ok := valid[stored]
		if ok != (err == nil) || n != want || err != nil && !errors.Is(err, format.ErrSize) {
			t.Fatalf("stored size %d: %d, %v; expected %d, %v", stored, n, err, want, ok)
		}
	}
}

// TestRanges compares with a walk over every byte.
func TestRanges(t *testing.T) {
	const exp, s = 12, 4096
	l := layout(t, 4096, exp)
	for _, size := range []int64{0, 1, s - 1, s, s + 1, 3*s + 5} {
		for _, offset := range []int64{0, 1, s - 1, s, s + 1, 2 * s, 3 * s} {
			for _, n := range []int64{0, 1, 2, s - 1, s, s + 1, 2*s + 1} {
				first, end, err := l.SegmentRange(offset, n)
				if err != nil {
					t.Fatal(err)
				}
				if first != offset/s || n == 0 && end != first || n > 0 && end != (offset+n-1)/s+1 {
					t.Errorf("%d bytes at %d: segments %d to %d", n, offset, first, end)
				}
				if end > l.FinalSegment(size)+1 {
					continue
				}
				start, stop := l.StoredRange(first, end, size)
				want := 4096 + first*(s+28)
				for i := first; i < end; i++ {
					want += min(s, size-i*s) + 28
				}
				if start != 4096+first*(s+28) || stop != want {
					t.Errorf("size %d, segments %d to %d: stored %d to %d, expected to %d", size, first, end, start, stop, want)
				}
			}
		}
	}
}

func TestRangeBounds(t *testing.T) {
	l := layout(t, 4096, 16)
	top := l.MaxPlaintextSize()
	for _, c := range [][2]int64{{-1, 0}, {0, -1}, {math.MaxInt64, math.MaxInt64}, {top, 1}, {1, top}, {math.MinInt64, math.MaxInt64}, {0, math.MinInt64}} {
		if _, _, err := l.SegmentRange(c[0], c[1]); !errors.Is(err, format.ErrSize) {
			t.Errorf("%d bytes at %d: %v", c[1], c[0], err)
		}
	}
	first, end, err := l.SegmentRange(top-1, 1)
	if err != nil || first != (top-1)>>16 || end != first+1 {
		t.Errorf("the topmost byte: segments %d to %d, %v", first, end, err)
	}
	start, stop := l.StoredRange(0, l.FinalSegment(top)+1, top)
	if want, _ := l.StoredSize(top); start != 4096 || stop != want {
		t.Errorf("all of the largest stream: %d to %d, expected %d", start, stop, want)
	}
}

func TestNewLayoutBounds(t *testing.T) {
	for _, c := range []struct {
		start int64
		exp   uint8
	}{{-1, 16}, {0, 11}, {0, 25}, {math.MaxInt64 - 27, 16}} {
		if _, err := format.NewLayout(c.start, c.exp); !errors.Is(err, format.ErrSize) {
			t.Errorf("%+v: %v", c, err)
		}
	}
}
