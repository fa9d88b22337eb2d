package aesgcm_test

import (
	"fmt"
	"testing"

	"github.com/bulla-format/bulla/internal/aesgcm"
)

// The benchmarks seal and open with the associated data of a segment; what to
// compare with is impl=std of the same run. 64 MiB are walked through in pieces
// of 64 KiB with one destination, as a stream does it: the source comes from
// memory, the destination stays in the cache.

var benchSizes = []int{16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 1 << 20, 64 << 20}

func sizeName(n int) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%dMiB", n>>20)
	case n >= 1<<10:
		return fmt.Sprintf("%dKiB", n>>10)
	}
	return fmt.Sprintf("%dB", n)
}

// benchmark runs f for every implementation and size, with as many messages as
// it takes to have size bytes of plaintext.
func benchmark(b *testing.B, f func(b *testing.B, impl aesgcm.Implementation, messages []message)) {
	for _, impl := range aesgcm.Available() {
		for _, size := range benchSizes {
			b.Run(fmt.Sprintf("impl=%v/size=%s", impl, sizeName(size)), func(b *testing.B) {
				n := size
				if size == 64<<20 {
					n = 64 << 10
				}
				r := source(60)
				first := newMessage(b, r, 9, n)
				messages := []message{first}
				ref := reference(b, first.key)
				for range size/n - 1 {
					m := first
					m.plaintext = read(r, n)
					messages = append(messages, m.cut(ref, 9, n))
				}
				b.SetBytes(int64(size))
				b.ReportAllocs()
				f(b, impl, messages)
			})
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	benchmark(b, func(b *testing.B, impl aesgcm.Implementation, messages []message) {
		a, room := newAEAD(b, impl, messages[0].key), make([]byte, len(messages[0].sealed))
		for b.Loop() {
			for i := range messages {
				m := &messages[i]
				a.Seal(room[:0], m.nonce, m.plaintext, m.aad)
			}
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	benchmark(b, func(b *testing.B, impl aesgcm.Implementation, messages []message) {
		a, room := newAEAD(b, impl, messages[0].key), make([]byte, len(messages[0].plaintext))
		for b.Loop() {
			for i := range messages {
				m := &messages[i]
				if _, err := a.Open(room[:0], m.nonce, m.sealed, m.aad); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
}

// BenchmarkNew sets up a key.
func BenchmarkNew(b *testing.B) {
	for _, impl := range aesgcm.Available() {
		b.Run("impl="+impl.String(), func(b *testing.B) {
			key := make([]byte, aesgcm.KeySize)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := aesgcm.NewWith(impl, key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
