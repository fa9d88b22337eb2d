package stream_test

import (
	"math/rand/v2"
	"testing"
)

// BenchmarkReadAtOffsets reads 64 KiB at a time from 64 MiB in memory: one
// segment after the other, segments at random, and at random offsets, where two
// segments have to be authenticated for each read.
func BenchmarkReadAtOffsets(b *testing.B) {
	const size, step = 64 << 20, 64 << 10
	r, err := newBenchReaderAt(b, encrypt(b, benchPlaintext(size), nil), 0)
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, step)
	at := int64(0)
	for _, c := range []struct {
		name string
		next func() int64
	}{
		{"sequential", func() int64 { at = (at + step) % size; return at }},
		{"aligned", func() int64 { return rng.Int64N(size/step) * step }},
		{"unaligned", func() int64 { return rng.Int64N(size - step) }},
	} {
		b.Run("offsets="+c.name, func(b *testing.B) {
			b.SetBytes(step)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.ReadAt(p, c.next()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
