package bench

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
)

// plaintext returns n random bytes, the same ones each time, in memory that
// all benchmarks share.
func plaintext(n int) []byte {
	if len(plaintextMemory) < n {
		release(plaintextMemory)
		plaintextMemory = offHeap(n)
		rand.NewChaCha8([32]byte{}).Read(plaintextMemory)
	}
	return plaintextMemory[:n]
}

// stored returns the stream that c makes of n bytes, in memory that the next
// call uses again, after comparing what it decrypts to with the plaintext.
func stored(c *codec, n int) ([]byte, error) {
	if need := n + n/64 + 16*kib; len(storedMemory) < need {
		release(storedMemory)
		storedMemory = offHeap(need)
	}
	dst := bytes.NewBuffer(storedMemory[:0])
	if err := c.encrypt(dst, fromMemory(plaintext(n))); err != nil {
		return nil, err
	}
	want := &expected{rest: plaintext(n)}
	if err := c.decrypt(want, fromMemory(dst.Bytes())); err != nil {
		return nil, err
	}
	if len(want.rest) > 0 {
		return nil, fmt.Errorf("%d bytes are missing at the end", len(want.rest))
	}
	return dst.Bytes(), nil
}

var plaintextMemory, storedMemory []byte

// An expected compares what is written to it with what it should be.
type expected struct{ rest []byte }

var errUnexpected = errors.New("the stream decrypts to something else")

func (e *expected) Write(p []byte) (int, error) {
	if len(p) > len(e.rest) || !bytes.Equal(p, e.rest[:len(p)]) {
		return 0, errUnexpected
	}
	e.rest = e.rest[len(p):]
	return len(p), nil
}

// A discard counts and forgets. Unlike io.Discard it has no ReadFrom, with
// which readers would be drained through buffers of another size.
type discard struct{ n int64 }

func (d *discard) Write(p []byte) (int, error) {
	d.n += int64(len(p))
	return len(p), nil
}

func fromMemory(b []byte) input { return input{bytes.NewReader(b), b} }

// An onlyReader hides all methods of a reader but Read.
type onlyReader struct{ io.Reader }
