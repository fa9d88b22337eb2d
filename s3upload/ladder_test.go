package s3upload

import (
	"errors"
	"fmt"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// tib is a TiB in bytes.
const tib = 1 << 40

func testGeometry(t *testing.T, exp uint8) geometry {
	t.Helper()
	l, err := format.NewLayout(format.DefaultHeaderSize, exp)
	if err != nil {
		t.Fatal(err)
	}
	return newGeometry(l)
}

// climb walks through all parts of an upload without a byte of plaintext, and
// returns the stored sizes of the parts.
func climb(t *testing.T, l *ladder, plaintext int64) (sizes []int64) {
	t.Helper()
	var taken, sent int64
	for n := int32(1); ; n++ {
		if int64(n) > l.parts {
			t.Fatalf("%d plaintext bytes need more than %d parts", plaintext, l.parts)
		}
		buffers := l.buffersOf(n, taken)
		taken += buffers
		size := min(buffers*l.plaintext(), plaintext-sent)
		sent += size
		final := size < buffers*l.plaintext()
		stored := size + size/int64(l.layout.SegmentSize())*format.SegmentOverhead
		if final {
			stored += format.SegmentOverhead
		}
		if n == 1 {
			stored += l.layout.Start()
		}
		if stored > maxPartSize || stored < minPartSize && !final {
			t.Fatalf("part %d has %d stored bytes", n, stored)
		}
		sizes = append(sizes, stored)
		if final {
			return sizes
		}
	}
}

func sum(sizes []int64) (n int64) {
	for _, s := range sizes {
		n += s
	}
	return n
}

// TestLadderReaches walks through uploads up to the largest object in S3.
func TestLadderReaches(t *testing.T) {
	for exp := uint8(format.MinSegmentExp); exp <= format.MaxSegmentExp; exp++ {
		g := testGeometry(t, exp)
		// Of unknown size, by the memory.
		for _, memory := range []int64{16 << 20, 64 << 20, defaultBudget, 1 << 30, 16 << 30, 64 << 30} {
			l, err := newLadder(g, format.UnknownSize, 0, memory, maxParts)
			if err != nil {
				t.Fatal(err)
			}
			reach := int64(0)
			for n := range int32(maxParts) {
				reach += l.buffersOf(n+1, 0) * l.plaintext()
			}
			sizes := climb(t, l, reach-1)
			if len(sizes) != maxParts {
				t.Errorf("S=2^%d, %d MiB: %d parts", exp, memory>>20, len(sizes))
			}
			for i := range sizes[:len(sizes)-2] {
				if i > 0 && sizes[i+1] < sizes[i] {
					t.Fatalf("part %d is smaller than the one before", i+2)
				}
			}
			if exp == format.DefaultSegmentExp {
				t.Logf("%6d MiB of memory: %8.3f TiB", memory>>20, float64(sum(sizes))/tib)
				if want := min(float64(memory)*2500, 48.8*tib) * 0.97; float64(sum(sizes)) < want {
					t.Errorf("%d MiB of memory: %d stored bytes, expected %.0f", memory>>20, sum(sizes), want)
				}
				if memory == 64<<30 && fmt.Sprintf("%.1f", float64(sum(sizes))/tib) != "48.8" {
					t.Errorf("%d stored bytes are the most for a size that is not known", sum(sizes))
				}
			}
		}
		// Of known size: around every edge of the plan, and the largest.
		largest := maxParts*g.maxBuffers()*g.plaintext() - 1
		for _, size := range []int64{
			0, 1, minPartSize, defaultPartSize - 1, defaultPartSize, maxParts * defaultPartSize, maxParts*defaultPartSize - 1,
			maxParts*defaultPartSize + 1, tib, 5 * tib, 48 * tib, largest - 1, largest,
		} {
			if size > largest {
				continue
			}
			l, err := newLadder(g, size, 0, 0, maxParts)
			if err != nil {
				t.Fatalf("S=2^%d, %d bytes: %v", exp, size, err)
			}
			stored, err := g.layout.StoredSize(size)
			if sizes := climb(t, l, size); err != nil || sum(sizes) != stored || len(sizes) > maxParts {
				t.Errorf("S=2^%d: %d bytes in %d parts, expected %d, %v", exp, sum(sizes), len(sizes), stored, err)
			} else if size == largest && float64(stored) < 0.99*48.8*tib {
				t.Errorf("S=2^%d: the largest object has %d bytes", exp, stored)
			} else if size == largest && exp == format.DefaultSegmentExp && fmt.Sprintf("%.1f", float64(stored)/tib) != "48.8" {
				t.Errorf("the largest object has %d bytes", stored)
			}
		}
		if _, err := newLadder(g, largest+1, 0, 0, maxParts); !errors.Is(err, stream.ErrTooLarge) {
			t.Errorf("S=2^%d: one byte more: %v", exp, err)
		}
	}
}

// TestLadderCatchesUp has parts that were smaller than planned, for lack of
// memory or of an earlier run: those behind them grow, so that all fits.
func TestLadderCatchesUp(t *testing.T) {
	g := testGeometry(t, format.DefaultSegmentExp)
	const parts = 100
	size := 2000*g.plaintext() + 5 // 2,001 buffers
	l, err := newLadder(g, size, 0, 0, parts)
	if err != nil {
		t.Fatal(err)
	}
	taken := int64(0)
	for n := int32(1); n <= parts; n++ {
		if n <= 50 {
			taken += 5
			continue
		}
		taken += l.buffersOf(n, taken)
	}
	if taken < 2001 || taken > 2001+40 {
		t.Errorf("%d parts hold %d buffers of %d", parts, taken, 2001)
	}
}

func TestLadderRequested(t *testing.T) {
	g := testGeometry(t, format.DefaultSegmentExp)
	for _, c := range []struct{ requested, size, want int64 }{
		{minPartSize, format.UnknownSize, 5},
		{minPartSize, 100 << 20, 5},
		{64 << 20, format.UnknownSize, 64},
		{64<<20 + 5, 100, 64},
		{maxPartSize, format.UnknownSize, 5117},
		{minPartSize, tib, 105},
	} {
		l, err := newLadder(g, c.size, c.requested, defaultBudget, maxParts)
		if err != nil || l.first != c.want || l.most != c.want || l.buffersOf(7, 0) != c.want {
			t.Errorf("%+v: %+v, %v", c, l, err)
		}
	}
	for _, requested := range []int64{1, minPartSize - 1, maxPartSize + 1, -1} {
		if _, err := newLadder(g, 1, requested, defaultBudget, maxParts); !errors.Is(err, ErrInput) {
			t.Errorf("parts of %d bytes: %v", requested, err)
		}
	}
}
