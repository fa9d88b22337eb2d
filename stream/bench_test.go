package stream_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// The benchmarks make a new stream for each operation, header and keys
// included. BenchmarkRawGCM is what to compare with in the same run: AES-256-GCM
// of crypto/cipher over 64 KiB pieces with one key that is set up beforehand.

var benchSizes = []int{1 << 10, 64 << 10, 1 << 20, 64 << 20}

// benchPlaintext returns n bytes that are in memory, not a page of zeros that
// stands for all of them.
func benchPlaintext(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

func sizeName(n int) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%dMiB", n>>20)
	}
	return fmt.Sprintf("%dKiB", n>>10)
}

func BenchmarkRawGCM(b *testing.B) {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		b.Fatal(err)
	}
	const piece = 1 << format.DefaultSegmentExp
	nonce := make([]byte, format.NonceSize)
	for _, size := range benchSizes {
		plaintext := benchPlaintext(size)
		sealed := make([][]byte, 0, size/piece+1)
		for rest := plaintext; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
			sealed = append(sealed, gcm.Seal(nil, nonce, rest[:min(piece, len(rest))], nil))
		}
		dst := make([]byte, 0, piece+format.TagSize)
		b.Run("op=seal/size="+sizeName(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				for rest := plaintext; len(rest) > 0; rest = rest[min(piece, len(rest)):] {
					gcm.Seal(dst, nonce, rest[:min(piece, len(rest))], nil)
				}
			}
		})
		b.Run("op=open/size="+sizeName(size), func(b *testing.B) {
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				for _, s := range sealed {
					if _, err := gcm.Open(dst, nonce, s, nil); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
}

func BenchmarkEncrypt(b *testing.B) {
	for _, suite := range suites() {
		for _, size := range benchSizes {
			b.Run(fmt.Sprintf("suite=%v/size=%s", suite, sizeName(size)), func(b *testing.B) {
				plaintext := benchPlaintext(size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					w, err := stream.NewEncryptWriter(b.Context(), io.Discard, testKey, &stream.EncryptOptions{Suite: suite})
					if err != nil {
						b.Fatal(err)
					}
					if _, err := w.Write(plaintext); err != nil {
						b.Fatal(err)
					}
					if err := w.Close(); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkEncryptReader reads as an uploader does, into buffers of 8 MiB.
func BenchmarkEncryptReader(b *testing.B) {
	for _, size := range benchSizes {
		b.Run("size="+sizeName(size), func(b *testing.B) {
			plaintext := benchPlaintext(size)
			part := make([]byte, 8<<20)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				r, err := stream.NewEncryptReader(b.Context(), bytes.NewReader(plaintext), testKey, nil)
				if err != nil {
					b.Fatal(err)
				}
				for err == nil {
					_, err = io.ReadFull(r, part)
				}
				if err != io.EOF && err != io.ErrUnexpectedEOF {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkDecrypt(b *testing.B) {
	for _, suite := range suites() {
		for _, size := range benchSizes {
			b.Run(fmt.Sprintf("suite=%v/size=%s", suite, sizeName(size)), func(b *testing.B) {
				stored := encrypt(b, benchPlaintext(size), &stream.EncryptOptions{Suite: suite})
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					r, err := stream.NewDecryptReader(b.Context(), bytes.NewReader(stored), testKey, nil)
					if err != nil {
						b.Fatal(err)
					}
					if _, err := r.WriteTo(io.Discard); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkReadAt reads 64 KiB at random offsets, each of them in two segments.
func BenchmarkReadAt(b *testing.B) {
	const size = 64 << 20
	stored := encrypt(b, benchPlaintext(size), nil)
	r, err := stream.NewDecryptReaderAt(b.Context(), bytes.NewReader(stored), int64(len(stored)), testKey, nil)
	if err != nil {
		b.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	p := make([]byte, 64<<10)
	b.SetBytes(int64(len(p)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.ReadAt(p, rng.Int64N(size-int64(len(p)))); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkRewrapFile re-wraps a file of 1 GiB in the directory for temporary
// files: set TMPDIR to compare file systems.
func BenchmarkRewrapFile(b *testing.B) {
	const size = 1 << 30
	name := filepath.Join(b.TempDir(), "stream")
	f, err := os.Create(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	w, err := stream.NewEncryptWriter(b.Context(), f, testKey, nil)
	if err != nil {
		b.Fatal(err)
	}
	plaintext := benchPlaintext(1 << 20)
	for range size / len(plaintext) {
		if _, err := w.Write(plaintext); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), f.Sync()); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := stream.RewrapFile(b.Context(), name, testKey, testKey, nil); err != nil {
			b.Fatal(err)
		}
	}
}
