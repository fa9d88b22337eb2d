package bench

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// readSize is how many bytes BenchmarkReadAt reads at a time.
const readSize = 64 * kib

func BenchmarkEncrypt(b *testing.B) { benchmarkStreams(b, encryptStream) }
func BenchmarkDecrypt(b *testing.B) { benchmarkStreams(b, decryptStream) }

// benchmarkStreams goes through the implementations for each size, so that
// those that are compared run one after the other.
func benchmarkStreams(b *testing.B, run func(*testing.B, *codec, int, bool)) {
	for _, size := range []int{kib, 64 * kib, mib, 64 * mib, gib} {
		for _, im := range implementations() {
			if size <= im.limit {
				b.Run(im.String()+"/size="+sizeName(size), func(b *testing.B) { run(b, open(b, im.open), size, false) })
			}
		}
	}
	for _, im := range implementations() {
		if im.impl == "raw" || im.impl == "aws-esdk" {
			continue // no readers as sources
		}
		b.Run(im.String()+"/size=64MiB/src=reader", func(b *testing.B) { run(b, open(b, im.open), 64*mib, true) })
	}
}

func open(b *testing.B, f func() (*codec, error)) *codec {
	c, err := f()
	if err != nil {
		b.Fatal(err)
	}
	return c
}

func encryptStream(b *testing.B, c *codec, size int, reader bool) {
	if _, err := stored(c, size); err != nil {
		b.Fatal(err)
	}
	timeStreams(b, c.encrypt, plaintext(size), size, reader)
}

func decryptStream(b *testing.B, c *codec, size int, reader bool) {
	in, err := stored(c, size)
	if err != nil {
		b.Fatal(err)
	}
	timeStreams(b, c.decrypt, in, size, reader)
}

func timeStreams(b *testing.B, run func(io.Writer, input) error, in []byte, size int, reader bool) {
	memory := bytes.NewReader(in)
	src := input{memory, in}
	if reader {
		src.Reader = onlyReader{memory}
	}
	dst := new(discard)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		memory.Reset(in)
		if err := run(dst, src); err != nil {
			b.Fatal(err)
		}
	}
	if dst.n < int64(b.N)*int64(size) {
		b.Fatalf("%d bytes written in %d operations of at least %d", dst.n, b.N, size)
	}
}

func BenchmarkReadAt(b *testing.B) {
	const size = 64 * mib
	for _, offsets := range []struct {
		name  string
		align int64
	}{{"aligned", 64 * kib}, {"any", 1}} {
		for _, im := range implementations() {
			c := open(b, im.open)
			if c.openAt == nil {
				continue
			}
			b.Run(im.String()+"/offsets="+offsets.name, func(b *testing.B) {
				in, err := stored(c, size)
				if err != nil {
					b.Fatal(err)
				}
				r, err := c.openAt(in)
				if err != nil {
					b.Fatal(err)
				}
				rng := rand.New(rand.NewPCG(1, 2))
				p := make([]byte, readSize)
				var off int64
				b.SetBytes(readSize)
				b.ReportAllocs()
				for b.Loop() {
					off = rng.Int64N((size-readSize)/offsets.align) * offsets.align
					if n, err := r.ReadAt(p, off); n < len(p) || err != nil {
						b.Fatal(n, err)
					}
				}
				if !bytes.Equal(p, plaintext(size)[off:off+readSize]) {
					b.Fatal("wrong bytes")
				}
			})
		}
	}
}

func BenchmarkSegmentSize(b *testing.B) {
	for _, op := range []string{"encrypt", "decrypt"} {
		for _, suite := range []format.Suite{format.AES256GCM, format.ChaCha20Poly1305} {
			for size := 4 * kib; size <= mib; size *= 2 {
				name := fmt.Sprintf("op=%s/impl=%s/suite=%s/segment=%s", op, bulla, suiteName(suite), sizeName(size))
				b.Run(name, func(b *testing.B) {
					benchmarkBulla(b, op, false, &stream.EncryptOptions{Suite: suite, SegmentSize: size}, nil)
				})
			}
		}
	}
}

func suiteName(s format.Suite) string {
	if s == format.ChaCha20Poly1305 {
		return suiteChaCha
	}
	return suiteGCM
}

// benchmarkBulla encrypts or decrypts streams of 64 MiB.
func benchmarkBulla(b *testing.B, op string, reader bool, enc *stream.EncryptOptions, dec *stream.DecryptOptions) {
	c := open(b, func() (*codec, error) { return newBulla(enc, dec) })
	if op == "encrypt" {
		encryptStream(b, c, 64*mib, reader)
	} else {
		decryptStream(b, c, 64*mib, reader)
	}
}

// BenchmarkWorkers is about two cores: from memory, and from a reader, whose
// copying can go on beside.
func BenchmarkWorkers(b *testing.B) {
	for _, op := range []string{"encrypt", "decrypt"} {
		for _, suite := range []format.Suite{format.AES256GCM, format.ChaCha20Poly1305} {
			for _, src := range []string{"memory", "reader"} {
				for _, workers := range []int{1, 2} {
					name := fmt.Sprintf("op=%s/impl=%s/suite=%s/src=%s/workers=%d", op, bulla, suiteName(suite), src, workers)
					b.Run(name, func(b *testing.B) {
						benchmarkBulla(b, op, src == "reader", &stream.EncryptOptions{Suite: suite, Workers: workers},
							&stream.DecryptOptions{Workers: workers})
					})
				}
			}
		}
	}
}
