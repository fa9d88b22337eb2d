package measure_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"testing"
	"testing/iotest"

	"github.com/bulla-format/bulla/e2e/measure"
)

func TestTextIsOneFile(t *testing.T) {
	for _, size := range []int64{0, 1, 255, 256, 257, 1000, 70_000} {
		text := measure.Text{Size: size, Seed: 7}
		want, err := io.ReadAll(text.Reader())
		if err != nil || int64(len(want)) != size {
			t.Fatalf("size %d: %d bytes, %v", size, len(want), err)
		}
		if err := iotest.TestReader(text.Reader(), want); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
		for range 200 {
			off, n := rand.Int64N(size+2), rand.IntN(600)
			p := make([]byte, n)
			got, err := text.ReadAt(p, off)
			end := min(off+int64(n), size)
			if wantN := max(end-off, 0); int64(got) != wantN || !bytes.Equal(p[:got], want[min(off, end):end]) {
				t.Fatalf("size %d: ReadAt(%d bytes, %d): %d bytes, %v", size, n, off, got, err)
			}
			if short := got < n; n > 0 && short != errors.Is(err, io.EOF) {
				t.Fatalf("size %d: ReadAt(%d bytes, %d) = %d, %v", size, n, off, got, err)
			}
		}
	}
	if _, err := (measure.Text{Size: 1}).ReadAt(make([]byte, 1), -1); err == nil {
		t.Error("ReadAt at -1: no error")
	}
}

func TestTextLooksLikeText(t *testing.T) {
	text, err := io.ReadAll(measure.Text{Size: 1 << 20, Seed: 1}.Reader())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range bytes.Lines(text) {
		if len(line) != 256 || seen[string(line)] {
			t.Fatalf("line of %d bytes, or seen before: %q", len(line), line)
		}
		seen[string(line)] = true
	}
	if i := bytes.IndexFunc(text, func(r rune) bool { return r != '\n' && (r < ' ' || r > '~') }); i >= 0 {
		t.Errorf("byte %#x at %d is not text", text[i], i)
	}
	other, err := io.ReadAll(measure.Text{Size: 1 << 20, Seed: 2}.Reader())
	if err != nil || bytes.Equal(text, other) {
		t.Errorf("the seed changes nothing (%v)", err)
	}
}

func TestChecker(t *testing.T) {
	const size = 200_000
	text := measure.Text{Size: size, Seed: 3}
	all, err := io.ReadAll(text.Reader())
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []int{1000, 65536, size} {
		c := text.CheckFrom(0)
		if _, err := io.CopyBuffer(struct{ io.Writer }{c}, struct{ io.Reader }{bytes.NewReader(all)}, make([]byte, step)); err != nil || c.Offset() != size {
			t.Errorf("steps of %d: offset %d, %v", step, c.Offset(), err)
		}
	}
	for _, from := range []int64{0, 1, 99_999} {
		for _, bad := range []int64{from, from + 1, from + 65_535, from + 65_536, size - 1} {
			p := bytes.Clone(all[from:])
			p[bad-from] ^= 1
			c := text.CheckFrom(from)
			_, err := c.Write(p)
			if diff, ok := errors.AsType[*measure.DiffError](err); !ok || diff.Offset != bad || c.Offset() != bad {
				t.Errorf("from %d, wrong byte at %d: %v", from, bad, err)
			}
			if _, again := c.Write(all[bad:]); again != err {
				t.Errorf("Write after an error: %v", again)
			}
		}
	}
	c := text.CheckFrom(size - 1)
	if n, err := c.Write([]byte{all[size-1], 'x'}); n != 1 || err == nil {
		t.Errorf("one byte past the end: %d, %v", n, err)
	}
}

var sink []byte

func TestPeaks(t *testing.T) {
	const big = 64 << 20
	use := func() error {
		sink = make([]byte, big)
		for i := 0; i < big; i += 4096 {
			sink[i] = 1
		}
		sink = nil
		return io.ErrClosedPipe
	}
	h, err := measure.PeakHeap(use)
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the function's error: %v", err)
	}
	if grown := h.PeakObjects - h.Before; grown < big || grown > 2*big || h.PeakInuse < h.PeakObjects {
		t.Errorf("a function that uses %d bytes: %+v", big, h)
	}
	if runtime.GOOS != "linux" {
		if _, err := measure.PeakRSS(); !errors.Is(err, measure.ErrNotLinux) {
			t.Errorf("PeakRSS: %v, want ErrNotLinux", err)
		}
		return
	}
	peak, err := measure.PeakRSS()
	if err != nil || peak < big {
		t.Errorf("PeakRSS %d (%v) after use of %d bytes", peak, err, big)
	}
	debug.FreeOSMemory()
	if err := measure.ResetPeakRSS(); err != nil {
		t.Fatal(err)
	}
	if after, err := measure.PeakRSS(); err != nil || after > peak-big/2 {
		t.Errorf("PeakRSS %d (%v) after ResetPeakRSS, %d before", after, err, peak)
	}
}

func BenchmarkText(b *testing.B) {
	text := measure.Text{Size: 1 << 40, Seed: 1}
	p := make([]byte, 1<<20)
	b.SetBytes(int64(len(p)))
	for off := int64(0); b.Loop(); off += int64(len(p)) {
		if _, err := text.ReadAt(p, off); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkChecker(b *testing.B) {
	text := measure.Text{Size: 1 << 20, Seed: 1}
	p, err := io.ReadAll(text.Reader())
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if _, err := text.CheckFrom(0).Write(p); err != nil {
			b.Fatal(err)
		}
	}
}
