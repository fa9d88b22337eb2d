//go:build !race

package stream_test

import (
	"bytes"
	"crypto/fips140"
	"io"
	"testing"

	"github.com/bulla-format/bulla/stream"
)

// TestSmallStreamsAllocateLittle counts the allocations of a whole stream of 1
// KiB, keys and header included. The race detector and the FIPS 140-3 module
// add theirs.
func TestSmallStreamsAllocateLittle(t *testing.T) {
	if fips140.Enabled() {
		t.Skip("the standard library's key derivation allocates more")
	}
	const limit = 12
	plaintext := content(1 << 10)
	stored := encrypt(t, plaintext, nil)
	src := new(bytes.Reader)
	buf := make([]byte, 8<<10)
	readAll := func(r io.Reader) (n int) {
		for {
			m, err := r.Read(buf[n:])
			n += m
			if err == io.EOF {
				return n
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, run := range map[string]func(){
		"EncryptWriter": func() {
			w, err := stream.NewEncryptWriter(t.Context(), io.Discard, testKey, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(plaintext); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
		},
		"EncryptReader": func() {
			src.Reset(plaintext)
			r, err := stream.NewEncryptReader(t.Context(), src, testKey, nil)
			if err != nil {
				t.Fatal(err)
			}
			if n := readAll(r); n != len(stored) {
				t.Fatalf("%d stored bytes, expected %d", n, len(stored))
			}
		},
		"DecryptReader": func() {
			src.Reset(stored)
			r, err := stream.NewDecryptReader(t.Context(), src, testKey, nil)
			if err != nil {
				t.Fatal(err)
			}
			if n := readAll(r); !bytes.Equal(buf[:n], plaintext) {
				t.Fatal("the plaintext differs")
			}
		},
	} {
		n := testing.AllocsPerRun(100, run)
		t.Logf("%s: %v allocations", name, n)
		if n > limit {
			t.Errorf("%s: %v allocations for 1 KiB, at most %d are expected", name, n, limit)
		}
	}
}
