package main

import (
	"fmt"
	"slices"
)

// keys adds streams whose wrapped keys are of types 0002, 0004 and 0005.
func (c *set) keys() {
	c.rsaValid()
	c.rsaFaults()
	c.hpkeValid()
	c.hpkeFaults()
	c.hpkePoints()
	c.passphraseValid()
	c.passphraseFaults()
	c.passphraseLimits()
	c.severalTypes()
}

// addKeys is add without the key of type 0001, and with some plaintext.
func (c *set) addKeys(name, expect, description string, setup func(v *vector)) {
	c.add(name, expect, description, func(v *vector) {
		v.keys, v.readerKeys = nil, nil
		setup(v)
		v.fill(100)
	})
}

// A change says how a wrapped key becomes a wrong one.
type change struct {
	name, description string
	of                func(b []byte) []byte
}

// resized are changes of the size from n.
func resized(n int, sizes ...int) []change {
	var all []change
	for _, size := range sizes {
		all = append(all, change{fmt.Sprintf("size_%d", size), fmt.Sprintf("A wrapped key of %d bytes, not %d.", size, n), func(b []byte) []byte {
			return append(slices.Clip(b), make([]byte, max(0, size-len(b)))...)[:size]
		}})
	}
	return all
}

// flipped are changes of one bit.
func flipped(offsets ...int) []change {
	var all []change
	for _, at := range offsets {
		all = append(all, change{fmt.Sprintf("byte_%d", at), fmt.Sprintf("One bit of byte %d of the wrapped key is wrong, under a right header MAC.", at), flip(at)})
	}
	return all
}

// severalTypes adds streams with wrapped keys of four types. The reader has
// one wrapping key.
func (c *set) severalTypes() {
	all := func(v *vector) {
		v.addKey("archive", v.random.bytes(32))
		v.addRSA("escrow", rsa2048())
		v.addHPKE("partner", newHPKE(kemMLKEM768X25519))
		v.addPassphrase("the usual", smallArgon, "correct horse battery staple")
	}
	for i, kind := range []string{"aes", "rsa", "hpke", "passphrase"} {
		c.addKeys("types_"+kind, "ok", fmt.Sprintf("Wrapped keys of types 0001, 0002, 0004 and 0005; the reader has wrapping key %d.", i), func(v *vector) {
			all(v)
			v.headerSize = 4096
			v.readerKeys = v.readerKeys[i : i+1]
		})
	}
	c.addKeys("types_all", "ok", "Wrapped keys of four types, all damaged but the one at the end; the reader has all wrapping keys.", func(v *vector) {
		all(v)
		for _, k := range v.keys[:3] {
			flip(-1)(k.data)
		}
	})
	c.addKeys("types_none", "no-key", "Wrapped keys of four types; the reader has a key of another name.", func(v *vector) {
		all(v)
		v.readerKeys = []wrappingKey{{keyAES, "backup", v.random.bytes(32)}}
	})
	c.addKeys("types_exchanged", "no-key", "Each wrapped key has the type of another; names are the reader's.", func(v *vector) {
		all(v)
		v.readerKeys = v.readerKeys[:3]
		v.keys = v.keys[:3]
		v.keys[0].kind, v.keys[1].kind, v.keys[2].kind = 2, 4, 1
	})
	c.addKeys("types_mixed", "auth-commitment", "Two wrapped keys hold different data keys; the reader has the RSA key, of the wrong one.", func(v *vector) {
		v.addKey("archive", v.random.bytes(32))
		w := oaepSHA256.wrap(&rsa2048().PublicKey, v.random.bytes(32), v.random)
		v.addWrapped(wrappedKey{2, "escrow", w}, keyRSA, pkcs8(rsa2048()))
		v.readerKeys = v.readerKeys[1:]
	})
}
