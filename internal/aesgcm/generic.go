//go:build !amd64 || purego

package aesgcm

import "crypto/cipher"

func kernels() []Implementation { return nil }

func newKernel(Implementation, []byte) cipher.AEAD { panic("aesgcm: this build has no kernel") }
