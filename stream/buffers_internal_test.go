//go:build !race

package stream

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"testing/iotest"
	"unsafe"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
)

// TestPooledBuffersAreClear looks at what streams have left in the pool, of
// which the race detector would drop some.
func TestPooledBuffersAreClear(t *testing.T) {
	key, err := keywrap.NewAESKey("key", bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	plaintext := bytes.Repeat([]byte("plain"), 30000) // three segments
	var stored bytes.Buffer
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	plain := struct{ io.Reader }{bytes.NewReader(plaintext)}
	broken := errors.New("broken")
	for name, run := range map[string]func(){
		"EncryptWriter": func() {
			stored.Reset()
			w, err := NewEncryptWriter(ctx, &stored, key, nil)
			must(err)
			_, err = w.ReadFrom(plain)
			must(err)
			must(w.Close())
		},
		"EncryptWriter, aborted": func() {
			w, err := NewEncryptWriter(ctx, io.Discard, key, nil)
			must(err)
			_, err = w.Write(plaintext[:40000])
			must(err)
			w.Abort()
		},
		"EncryptReader": func() {
			r, err := NewEncryptReader(ctx, plain, key, nil)
			must(err)
			_, err = io.Copy(io.Discard, iotest.HalfReader(r))
			must(err)
		},
		"EncryptReader, closed": func() {
			r, err := NewEncryptReader(ctx, plain, key, nil)
			must(err)
			_, err = io.ReadFull(r, make([]byte, 10000))
			must(err)
			must(r.Close())
		},
		"DecryptReader": func() {
			r, err := NewDecryptReader(ctx, struct{ io.Reader }{bytes.NewReader(stored.Bytes())}, key, nil)
			must(err)
			_, err = io.Copy(io.Discard, iotest.HalfReader(r))
			must(err)
		},
		"DecryptReader, closed": func() {
			r, err := NewDecryptReader(ctx, struct{ io.Reader }{bytes.NewReader(stored.Bytes())}, key, nil)
			must(err)
			_, err = io.ReadFull(r, make([]byte, 10000))
			must(err)
			must(r.Close())
		},
		"DecryptReader, of a source that fails": func() {
			src := io.MultiReader(bytes.NewReader(stored.Bytes()[:100000]), iotest.ErrReader(broken))
			r, err := NewDecryptReader(ctx, src, key, nil)
			must(err)
			if _, err = r.WriteTo(io.Discard); !errors.Is(err, broken) {
				t.Fatal(err)
			}
		},
	} {
		plain.Reader.(*bytes.Reader).Reset(plaintext)
		if stored.Len() == 0 {
			w, err := NewEncryptWriter(ctx, &stored, key, nil)
			must(err)
			_, err = w.Write(plaintext)
			must(err)
			must(w.Close())
		}
		run()
		b := pool.Get().(*[pooledSize]byte)
		if *b != ([pooledSize]byte{}) {
			t.Errorf("%s: a buffer in the pool is not clear", name)
		}
	}
}

// TestBuffersAreAligned looks at the byte behind a nonce in large buffers.
func TestBuffersAreAligned(t *testing.T) {
	for _, n := range []int{pooledSize / 2, pooledSize, pooledSize + 1, 1 << 20, 16<<20 + 28} {
		for range 3 {
			b := newBuffer(n)
			if address := uintptr(unsafe.Pointer(&b[format.NonceSize])); len(b) != n || address%alignment != 0 {
				t.Errorf("%d bytes: %d bytes, data at %#x", n, len(b), address)
			}
			release(b)
		}
	}
}
