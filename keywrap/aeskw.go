package keywrap

import (
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
)

// kwOverhead is how much longer a wrapped key is than the key, in bytes.
const kwOverhead = 8

// kwIV is the initial value of RFC 3394 §2.2.3.1: what shows that an unwrap
// succeeded.
const kwIV = 0xA6A6A6A6A6A6A6A6

// kwWrap wraps plaintext, of at least two and whole 8-byte registers, under
// the AES key of block (RFC 3394 §2.2.1).
func kwWrap(block cipher.Block, plaintext []byte) []byte {
	out := make([]byte, kwOverhead+len(plaintext))
	registers := out[kwOverhead:]
	copy(registers, plaintext)
	var b [16]byte
	binary.BigEndian.PutUint64(b[:], kwIV)
	t := uint64(0)
	for range 6 {
		for i := 0; i < len(registers); i += 8 {
			t++
			copy(b[8:], registers[i:i+8])
			block.Encrypt(b[:], b[:])
			binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])^t)
			copy(registers[i:], b[8:])
		}
	}
	copy(out, b[:8])
	clear(b[:])
	return out
}

// kwUnwrap is the inverse of kwWrap (RFC 3394 §2.2.2). It compares the initial
// value in constant time and leaves no plaintext behind when it is wrong.
func kwUnwrap(block cipher.Block, wrapped []byte) ([]byte, bool) {
	n := len(wrapped) - kwOverhead
	if n < 16 || n%8 != 0 {
		return nil, false
	}
	registers := make([]byte, n)
	copy(registers, wrapped[kwOverhead:])
	var b [16]byte
	copy(b[:], wrapped[:8])
	t := uint64(6 * n / 8)
	for range 6 {
		for i := n - 8; i >= 0; i -= 8 {
			binary.BigEndian.PutUint64(b[:], binary.BigEndian.Uint64(b[:])^t)
			t--
			copy(b[8:], registers[i:i+8])
			block.Decrypt(b[:], b[:])
			copy(registers[i:], b[8:])
		}
	}
	var iv [8]byte
	binary.BigEndian.PutUint64(iv[:], kwIV)
	ok := subtle.ConstantTimeCompare(b[:8], iv[:]) == 1
	clear(b[:])
	if !ok {
		clear(registers)
		return nil, false
	}
	return registers, true
}
