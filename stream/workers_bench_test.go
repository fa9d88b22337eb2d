package stream_test

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// BenchmarkWorkers encrypts and decrypts with and without workers; compare on
// as many cores as there are workers, and AES-256-GCM with BULLA_AESGCM=std too.
func BenchmarkWorkers(b *testing.B) {
	const size = 64 << 20
	plaintext := benchPlaintext(size)
	part := make([]byte, 8<<20)
	for _, suite := range suites() {
		stored := encrypt(b, plaintext, &stream.EncryptOptions{Suite: suite})
		for op, run := range map[string]func(b *testing.B, workers int) error{
			"Write": func(b *testing.B, workers int) error {
				w, err := stream.NewEncryptWriter(b.Context(), io.Discard, testKey, &stream.EncryptOptions{Suite: suite, Workers: workers})
				if err != nil {
					return err
				}
				if _, err := w.Write(plaintext); err != nil {
					return err
				}
				return w.Close()
			},
			"ReadFrom": func(b *testing.B, workers int) error {
				w, err := stream.NewEncryptWriter(b.Context(), io.Discard, testKey, &stream.EncryptOptions{Suite: suite, Workers: workers})
				if err != nil {
					return err
				}
				if _, err := w.ReadFrom(struct{ io.Reader }{bytes.NewReader(plaintext)}); err != nil {
					return err
				}
				return w.Close()
			},
			"EncryptReader": func(b *testing.B, workers int) error {
				r, err := newBenchReader(b, plaintext, suite, workers)
				for err == nil {
					_, err = io.ReadFull(r, part)
				}
				if err != io.EOF && err != io.ErrUnexpectedEOF {
					return err
				}
				return nil
			},
			"EncryptReader.WriteTo": func(b *testing.B, workers int) error {
				r, err := newBenchReader(b, plaintext, suite, workers)
				if err != nil {
					return err
				}
				_, err = r.WriteTo(io.Discard)
				return err
			},
			"DecryptReader": func(b *testing.B, workers int) error {
				r, err := stream.NewDecryptReader(b.Context(), bytes.NewReader(stored), testKey, &stream.DecryptOptions{Workers: workers})
				for err == nil {
					_, err = io.ReadFull(r, part)
				}
				if err != io.EOF && err != io.ErrUnexpectedEOF {
					return err
				}
				return nil
			},
			"DecryptReader.WriteTo": func(b *testing.B, workers int) error {
				r, err := stream.NewDecryptReader(b.Context(), bytes.NewReader(stored), testKey, &stream.DecryptOptions{Workers: workers})
				if err != nil {
					return err
				}
				_, err = r.WriteTo(io.Discard)
				return err
			},
			"ReadAt": func(b *testing.B, workers int) error {
				r, err := newBenchReaderAt(b, stored, workers)
				if err != nil {
					return err
				}
				for off := int64(0); off < r.Size() && err == nil; off += int64(len(part)) {
					_, err = r.ReadAt(part, off)
				}
				return err
			},
			"Verify": func(b *testing.B, workers int) error {
				r, err := newBenchReaderAt(b, stored, workers)
				if err != nil {
					return err
				}
				return r.Verify(b.Context())
			},
		} {
			for _, workers := range []int{1, 2, 4} {
				b.Run(fmt.Sprintf("op=%s/suite=%v/workers=%d", op, suite, workers), func(b *testing.B) {
					b.SetBytes(size)
					b.ReportAllocs()
					for b.Loop() {
						if err := run(b, workers); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

func newBenchReader(b *testing.B, plaintext []byte, suite format.Suite, workers int) (*stream.EncryptReader, error) {
	return stream.NewEncryptReader(b.Context(), bytes.NewReader(plaintext), testKey, &stream.EncryptOptions{Suite: suite, Workers: workers})
}

func newBenchReaderAt(b *testing.B, stored []byte, workers int) (*stream.DecryptReaderAt, error) {
	return stream.NewDecryptReaderAt(b.Context(), bytes.NewReader(stored), int64(len(stored)), testKey, &stream.DecryptOptions{Workers: workers})
}
