//go:build amd64 && !purego

package aesgcm

import (
	"crypto/cipher"
	"crypto/subtle"
	"errors"
	"unsafe"

	"github.com/klauspost/cpuid/v2"
)

// A context is what a kernel derives from a key. The assembly knows the layout.
// Vectors are read from it, which is faster when it is aligned to 64 bytes, as
// the allocator does with this size; nothing but speed depends on it.
type context struct {
	roundKeys [15][64]byte // each repeated over the vector
	powers    [32][16]byte // of the hash key, the highest first; the narrow kernel fills the second half
	_         [64]byte     // a vector that begins with any power can be loaded
	sums      [4][64]byte  // of the halves of powers
}

// Assembly, see _asm. n and adLen may be zero, and then the pointers beside
// them are not followed. dst has room for n bytes and is src or apart from it.
// What lies in ctx is secret; nothing else that is secret stays anywhere, and
// neither branches nor addresses depend on it.

//go:noescape
func setup512(ctx *context, key *byte)

//go:noescape
func seal512(ctx *context, dst, src *byte, n int, nonce, ad *byte, adLen int, tag *byte)

//go:noescape
func open512(ctx *context, dst, src *byte, n int, nonce, ad *byte, adLen int, tag *byte)

//go:noescape
func setup256(ctx *context, key *byte)

//go:noescape
func seal256(ctx *context, dst, src *byte, n int, nonce, ad *byte, adLen int, tag *byte)

//go:noescape
func open256(ctx *context, dst, src *byte, n int, nonce, ad *byte, adLen int, tag *byte)

// kernels returns those that this CPU can run, and whose registers the
// operating system saves, which the two AVX features stand for.
func kernels() (k []Implementation) {
	if cpuid.CPU.Supports(cpuid.AVX2, cpuid.BMI2, cpuid.AESNI, cpuid.VAES, cpuid.VPCLMULQDQ) {
		k = append(k, AVX2)
		if cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512VL, cpuid.AVX512DQ) {
			k = append(k, AVX512)
		}
	}
	return k
}

// The two kernels have types of their own, so that nothing stands beside the
// context and what a call does is known without looking.
type (
	gcm512 struct{ ctx context }
	gcm256 struct{ ctx context }
)

func newKernel(i Implementation, key []byte) cipher.AEAD {
	if i == AVX512 {
		g := new(gcm512)
		setup512(&g.ctx, &key[0])
		return g
	}
	g := new(gcm256)
	setup256(&g.ctx, &key[0])
	return g
}

func (g *gcm512) NonceSize() int { return NonceSize }
func (g *gcm512) Overhead() int  { return TagSize }
func (g *gcm256) NonceSize() int { return NonceSize }
func (g *gcm256) Overhead() int  { return TagSize }

func (g *gcm512) clear() { g.ctx = context{} }
func (g *gcm256) clear() { g.ctx = context{} }

func (g *gcm512) Seal(dst, nonce, plaintext, ad []byte) []byte {
	ret, out := prepareSeal(dst, nonce, plaintext, ad)
	tag := &out[len(plaintext)]
	seal512(&g.ctx, unsafe.SliceData(out), unsafe.SliceData(plaintext), len(plaintext), &nonce[0], unsafe.SliceData(ad), len(ad), tag)
	return ret
}

func (g *gcm256) Seal(dst, nonce, plaintext, ad []byte) []byte {
	ret, out := prepareSeal(dst, nonce, plaintext, ad)
	tag := &out[len(plaintext)]
	seal256(&g.ctx, unsafe.SliceData(out), unsafe.SliceData(plaintext), len(plaintext), &nonce[0], unsafe.SliceData(ad), len(ad), tag)
	return ret
}

func (g *gcm512) Open(dst, nonce, ciphertext, ad []byte) ([]byte, error) {
	ret, out, err := prepareOpen(dst, nonce, ciphertext, ad)
	if err != nil {
		return nil, err
	}
	var tag [TagSize]byte
	open512(&g.ctx, unsafe.SliceData(out), unsafe.SliceData(ciphertext), len(out), &nonce[0], unsafe.SliceData(ad), len(ad), &tag[0])
	return finishOpen(ret, out, ciphertext[len(out):], &tag)
}

func (g *gcm256) Open(dst, nonce, ciphertext, ad []byte) ([]byte, error) {
	ret, out, err := prepareOpen(dst, nonce, ciphertext, ad)
	if err != nil {
		return nil, err
	}
	var tag [TagSize]byte
	open256(&g.ctx, unsafe.SliceData(out), unsafe.SliceData(ciphertext), len(out), &nonce[0], unsafe.SliceData(ad), len(ad), &tag[0])
	return finishOpen(ret, out, ciphertext[len(out):], &tag)
}

// maxPlaintextSize is where the 32-bit counter would come round
// (SP 800-38D §5.2.1.1).
const maxPlaintextSize = (1<<32 - 2) * 16

var errOpen = errors.New("aesgcm: message authentication failed")

// prepareSeal checks the arguments of Seal and makes the room: out is what is
// appended to dst.
func prepareSeal(dst, nonce, plaintext, ad []byte) (ret, out []byte) {
	checkNonce(nonce)
	if uint64(len(plaintext)) > maxPlaintextSize {
		panic("aesgcm: message too large for GCM")
	}
	ret, out = appendRoom(dst, len(plaintext)+TagSize)
	checkOverlap(out, plaintext, ad)
	return ret, out
}

func prepareOpen(dst, nonce, ciphertext, ad []byte) (ret, out []byte, err error) {
	checkNonce(nonce)
	if len(ciphertext) < TagSize || uint64(len(ciphertext)) > maxPlaintextSize+TagSize {
		return nil, nil, errOpen
	}
	ret, out = appendRoom(dst, len(ciphertext)-TagSize)
	checkOverlap(out, ciphertext, ad)
	return ret, out, nil
}

// finishOpen releases the plaintext only when the tag is right.
func finishOpen(ret, out, received []byte, tag *[TagSize]byte) ([]byte, error) {
	if subtle.ConstantTimeCompare(tag[:], received) != 1 {
		clear(out)
		return nil, errOpen
	}
	return ret, nil
}

func checkNonce(nonce []byte) {
	if len(nonce) != NonceSize {
		panic("aesgcm: incorrect nonce length given to GCM")
	}
}

// appendRoom returns dst with n more bytes, and these alone.
func appendRoom(dst []byte, n int) (all, room []byte) {
	total := len(dst) + n
	if cap(dst) >= total {
		all = dst[:total]
	} else {
		all = make([]byte, total)
		copy(all, dst)
	}
	return all, all[len(dst):]
}

// checkOverlap panics unless the input is apart from the output or begins where
// it does, and the associated data apart from it.
func checkOverlap(out, in, ad []byte) {
	if overlap(out, in) && &out[0] != &in[0] {
		panic("aesgcm: invalid buffer overlap of output and input")
	}
	if overlap(out, ad) {
		panic("aesgcm: invalid buffer overlap of output and additional data")
	}
}

func overlap(x, y []byte) bool {
	return len(x) > 0 && len(y) > 0 &&
		uintptr(unsafe.Pointer(&x[0])) <= uintptr(unsafe.Pointer(&y[len(y)-1])) &&
		uintptr(unsafe.Pointer(&y[0])) <= uintptr(unsafe.Pointer(&x[len(x)-1]))
}
