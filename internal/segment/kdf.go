package segment

import (
	"bytes"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding"
)

// This file gives what crypto/hkdf and crypto/hmac give, without their six to
// ten allocations for each result and half of their hashing, which for a
// stream of a kilobyte are most of the work. Where the FIPS 140-3 module is in
// force they serve nevertheless: it has to know what its hash is used for.

// The blocks that HMAC's inner and outer hash begin with, before the key is
// added (RFC 2104 §2).
var (
	innerPad = bytes.Repeat([]byte{0x36}, sha512.BlockSize)
	outerPad = bytes.Repeat([]byte{0x5C}, sha512.BlockSize)
)

// An expander is HKDF-Expand-SHA-512 (RFC 5869 §2.3) under one secret of at
// most 64 bytes. No output is longer than the hash, so each takes one step:
// T(1) = HMAC(secret, info | 0x01).
//
// It keeps what the hash is after the first block, the secret's, of HMAC's
// inner and outer hash, as FIPS 198-1 §6 allows. That is as secret as the
// secret.
type expander struct {
	inner, outer hashState

	// secret and its size are set only where the FIPS 140-3 module is in force.
	secret [sha512.Size]byte
	size   int
}

// A hashState is a SHA-512 that has taken in something, marshaled.
type hashState struct {
	buf  [256]byte
	size int
}

func (x *expander) init(secret []byte) {
	if fips140.Enabled() {
		x.size = copy(x.secret[:], secret)
		return
	}
	x.inner.init(secret, innerPad)
	x.outer.init(secret, outerPad)
}

// init makes s the state after the block of key and pad.
func (s *hashState) init(key, pad []byte) {
	block := [sha512.BlockSize]byte(pad)
	subtle.XORBytes(block[:], block[:], key)
	h := sha512.New()
	h.Write(block[:])
	clear(block[:])
	b, err := h.(encoding.BinaryAppender).AppendBinary(s.buf[:0])
	if err != nil || len(b) > len(s.buf) {
		panic("segment: the state of SHA-512 does not marshal")
	}
	s.size = len(b)
}

// sum sets mac to the hash of what s has taken in, and of message behind it,
// which may be mac's own bytes.
func (s *hashState) sum(mac *[sha512.Size]byte, message []byte) {
	h := sha512.New()
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(s.buf[:s.size]); err != nil {
		panic("segment: " + err.Error())
	}
	h.Write(message)
	h.Sum(mac[:0])
}

// expand fills key, of at most 64 bytes. It uses the byte behind info, if info
// has the capacity. The error comes from a cryptographic module that refuses
// the algorithm.
func (x *expander) expand(key, info []byte) error {
	if fips140.Enabled() {
		secret := bytes.Clone(x.secret[:x.size]) // for x can stand on the stack if it never goes to crypto/hkdf
		out, err := hkdf.Expand(sha512.New, secret, string(info), len(key))
		copy(key, out)
		clear(out)
		clear(secret)
		return err
	}
	var t [sha512.Size]byte
	x.inner.sum(&t, append(info, 1))
	x.outer.sum(&t, t[:])
	copy(key, t[:])
	clear(t[:])
	return nil
}

// close clears the secret.
func (x *expander) close() { *x = expander{} }

// hmacSHA256 returns the HMAC-SHA-256 of message under a key of at most 64
// bytes.
func hmacSHA256(key, message []byte) (mac [sha256.Size]byte) {
	if fips140.Enabled() {
		key := bytes.Clone(key) // as in expand
		defer clear(key)
		h := hmac.New(sha256.New, key)
		h.Write(message)
		return [sha256.Size]byte(h.Sum(nil))
	}
	block := [sha256.BlockSize]byte(innerPad)
	subtle.XORBytes(block[:], block[:], key)
	h := sha256.New()
	h.Write(block[:])
	h.Write(message)
	h.Sum(mac[:0])
	block = [sha256.BlockSize]byte(outerPad)
	subtle.XORBytes(block[:], block[:], key)
	h.Reset()
	h.Write(block[:])
	h.Write(mac[:])
	h.Sum(mac[:0])
	clear(block[:])
	return mac
}
