package bench

import (
	"bytes"
	"io"
	"math/rand/v2"
	"testing"
)

// TestRoundTrip proves that every implementation is used rightly: what it
// decrypts is what was encrypted, from both kinds of sources, and no stream
// that was changed is accepted.
func TestRoundTrip(t *testing.T) {
	for _, im := range implementations() {
		t.Run(im.String(), func(t *testing.T) {
			c, err := im.open()
			if err != nil {
				t.Fatal(err)
			}
			for _, n := range []int{1, kib, 64*kib - 1, 64 * kib, 64*kib + 1, mib, mib + 12345} {
				b, err := stored(c, n)
				if err != nil {
					t.Fatalf("%d bytes: %v", n, err)
				}
				var again bytes.Buffer
				if err := c.encrypt(&again, input{onlyReader{bytes.NewReader(plaintext(n))}, plaintext(n)}); err != nil {
					t.Fatalf("%d bytes from a reader: %v", n, err)
				}
				want := &expected{plaintext(n)}
				src := input{onlyReader{bytes.NewReader(again.Bytes())}, again.Bytes()}
				if err := c.decrypt(want, src); err != nil || len(want.rest) > 0 {
					t.Fatalf("%d bytes from a reader: %v, %d bytes missing", n, err, len(want.rest))
				}
				b[rand.IntN(min(n, 16))+len(b)-16] ^= 1
				if err := c.decrypt(new(discard), fromMemory(b)); err == nil {
					t.Errorf("%d bytes: a changed stream was accepted", n)
				}
			}
		})
	}
}

func TestReadAt(t *testing.T) {
	const n = mib + 12345
	for _, im := range implementations() {
		t.Run(im.String(), func(t *testing.T) {
			c, err := im.open()
			if err != nil {
				t.Fatal(err)
			}
			if c.openAt == nil {
				t.Skip("no random access")
			}
			b, err := stored(c, n)
			if err != nil {
				t.Fatal(err)
			}
			r, err := c.openAt(b)
			if err != nil {
				t.Fatal(err)
			}
			p := make([]byte, readSize)
			for _, off := range []int64{0, 1, 64*kib - 1, 64 * kib, 500_000, 15 * 64 * kib, n - readSize} {
				if m, err := r.ReadAt(p, off); m != len(p) || err != nil && err != io.EOF {
					t.Fatalf("at %d: %d bytes, %v", off, m, err)
				}
				if !bytes.Equal(p, plaintext(n)[off:off+readSize]) {
					t.Fatalf("at %d: wrong bytes", off)
				}
			}
		})
	}
}

// TestExpected proves that the comparison before each benchmark can fail.
func TestExpected(t *testing.T) {
	for _, wrong := range [][]byte{{1, 2, 4}, {1, 2, 3, 4}} {
		if _, err := (&expected{[]byte{1, 2, 3}}).Write(wrong); err != errUnexpected {
			t.Errorf("%v: error %v", wrong, err)
		}
	}
	short := &codec{
		encrypt: func(dst io.Writer, _ input) error { return nil },
		decrypt: func(dst io.Writer, _ input) error {
			_, err := dst.Write(plaintext(kib)[:kib-1])
			return err
		},
	}
	if _, err := stored(short, kib); err == nil {
		t.Error("a stream that decrypts to less was accepted")
	}
}
