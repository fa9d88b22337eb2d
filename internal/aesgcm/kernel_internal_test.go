//go:build amd64 && !purego

package aesgcm

import (
	"crypto/cipher"
	"slices"
	"testing"
	"unsafe"
)

// HasKernels says that the build has kernels, for the CPUs that can run them.
const HasKernels = true

// KernelSize is what a kernel keeps of a key, in bytes.
const KernelSize = int(unsafe.Sizeof(gcm512{}))

// PlaceKernel is NewWith for a kernel that keeps what it does in p.
func PlaceKernel(i Implementation, p, key []byte) cipher.AEAD {
	_ = p[KernelSize-1]
	if i == AVX512 {
		g := (*gcm512)(unsafe.Pointer(&p[0]))
		setup512(&g.ctx, &key[0])
		return g
	}
	g := (*gcm256)(unsafe.Pointer(&p[0]))
	setup256(&g.ctx, &key[0])
	return g
}

// Both kinds have the same size.
var _ = [1]struct{}{}[unsafe.Sizeof(gcm512{})-unsafe.Sizeof(gcm256{})]

// TestKernelTypes keeps a kernel from being tested under the name of the other.
func TestKernelTypes(t *testing.T) {
	for _, i := range []Implementation{AVX2, AVX512} {
		if !slices.Contains(Available(), i) {
			continue
		}
		a, err := NewWith(i, make([]byte, KeySize))
		if err != nil {
			t.Fatal(err)
		}
		_, is256 := a.(*gcm256)
		_, is512 := a.(*gcm512)
		if is256 != (i == AVX2) || is512 != (i == AVX512) {
			t.Errorf("%v is a %T", i, a)
		}
	}
}
