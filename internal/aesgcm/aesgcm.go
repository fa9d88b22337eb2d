// Package aesgcm is AES-256-GCM (NIST SP 800-38D) with 96-bit nonces and
// 128-bit tags, as fast as the CPU allows: a kernel on 512-bit registers, one
// on 256-bit registers, or the standard library's, which also serves where
// there is no kernel, under the build tag purego, and wherever the FIPS 140-3
// module is in force.
//
// The environment variable BULLA_AESGCM, read once at the start, can name an
// implementation: "std" switches the kernels off, "avx2" those above it. A
// name that is unknown, or that this CPU cannot run, means the standard
// library.
package aesgcm

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"fmt"
	"os"
)

// Sizes in bytes.
const (
	KeySize   = 32
	NonceSize = 12
	TagSize   = 16
)

// An Implementation is one way to compute AES-256-GCM. All give the same
// result.
type Implementation int

// The implementations, from the slowest to the fastest.
const (
	Standard Implementation = iota // crypto/cipher
	AVX2                           // VAES and VPCLMULQDQ on 256-bit registers
	AVX512                         // the same on 512-bit registers
)

// String returns the name that BULLA_AESGCM uses.
func (i Implementation) String() string {
	switch i {
	case Standard:
		return "std"
	case AVX2:
		return "avx2"
	case AVX512:
		return "avx512"
	}
	return fmt.Sprintf("implementation %d", int(i))
}

// chosen is what New uses.
var chosen = choose(os.Getenv("BULLA_AESGCM"))

func choose(name string) Implementation {
	available := Available()
	if name == "" {
		return available[len(available)-1]
	}
	for _, i := range available {
		if i.String() == name {
			return i
		}
	}
	return Standard
}

// Chosen returns the implementation that [New] uses in this process.
func Chosen() Implementation { return chosen }

// Available returns the implementations that this process can use, from the
// slowest to the fastest: all that the build and the CPU have, and only the
// standard library's where the FIPS 140-3 module is in force.
func Available() []Implementation {
	if fips140.Enabled() {
		return []Implementation{Standard}
	}
	return append([]Implementation{Standard}, kernels()...)
}

// New returns AES-256-GCM under a key of 32 bytes, which it does not keep, by
// the chosen implementation. The result is safe for concurrent use and keeps
// the contract of crypto/cipher: Seal and Open append to dst; the input stands
// apart from the room that is appended to, or exactly where the output will;
// Open leaves zeros there when it returns an error; they panic on a nonce of
// another size, on an inexact overlap, and on more than 2^36-32 bytes. The
// error is for a key of another size.
func New(key []byte) (cipher.AEAD, error) { return NewWith(chosen, key) }

// Clear overwrites the key schedule of an AEAD from this package that a kernel
// uses; the standard library's cannot be cleared. No other call of a may follow
// or be under way.
func Clear(a cipher.AEAD) {
	if k, ok := a.(interface{ clear() }); ok {
		k.clear()
	}
}

// NewWith is [New] by the given implementation, which is an available one.
func NewWith(i Implementation, key []byte) (cipher.AEAD, error) {
	if len(key) != KeySize {
		return nil, fmt.Errorf("aesgcm: key of %d bytes, expected %d", len(key), KeySize)
	}
	if i != Standard {
		return newKernel(i, key), nil
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}
