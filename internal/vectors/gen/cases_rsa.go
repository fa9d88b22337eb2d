package main

import (
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"fmt"
	"math/big"
)

// oaepSHA256 is what SPEC §12.6 says.
var oaepSHA256 = oaep{sha256.New, sha256.New, ""}

func pkcs8(k *rsa.PrivateKey) []byte { return must(x509.MarshalPKCS8PrivateKey(k)) }

func (v *vector) addRSA(name string, k *rsa.PrivateKey) {
	v.addWrapped(wrappedKey{2, name, oaepSHA256.wrap(&k.PublicKey, v.dataKey, v.random)}, keyRSA, pkcs8(k))
}

// addRSALeadingZero adds a wrapped key that begins with a zero byte.
func (v *vector) addRSALeadingZero() {
	v.addRSA("escrow", rsa2048())
	for v.keys[0].data[0] != 0 {
		v.keys[0].data = oaepSHA256.wrap(&rsa2048().PublicKey, v.dataKey, v.random)
	}
}

func (c *set) rsaValid() {
	c.addKeys("rsa_2048", "ok", "Type 0002, a modulus of 2048 bits.", func(v *vector) { v.addRSA("escrow", rsa2048()) })
	c.addKeys("rsa_3072", "ok", "Type 0002, a modulus of 3072 bits.", func(v *vector) { v.addRSA("escrow", rsa3072()) })
	c.addKeys("rsa_leading_zero", "ok", "The ciphertext begins with a zero byte.", func(v *vector) { v.addRSALeadingZero() })
	c.addKeys("rsa_same_name", "ok", "Two wrapped keys have the same name; the first is for another modulus.", func(v *vector) {
		v.addRSA("escrow", rsa3072())
		v.addRSA("escrow", rsa2048())
		v.readerKeys = v.readerKeys[1:]
	})
}

func (c *set) rsaFaults() {
	add := func(name, expect, description string, setup func(v *vector)) {
		c.addKeys("rsa_"+name, expect, description, func(v *vector) {
			v.addRSA("escrow", rsa2048())
			setup(v)
		})
	}
	for _, f := range append(resized(256, 1, 40, 128, 255, 257, 384), flipped(0, 128, 255)...) {
		add(f.name, "unwrap", f.description, func(v *vector) { v.keys[0].data = f.of(v.keys[0].data) })
	}
	c.addKeys("rsa_leading_zero_dropped", "unwrap", "The ciphertext begins with a zero byte, which was left out.", func(v *vector) {
		v.addRSALeadingZero()
		v.keys[0].data = v.keys[0].data[1:]
	})
	add("leading_zero_added", "unwrap", "A zero byte was put in front of the ciphertext.", func(v *vector) {
		v.keys[0].data = append([]byte{0}, v.keys[0].data...)
	})
	add("wrong_key", "unwrap", "The reader's key has the right name and size, and another modulus.", func(v *vector) {
		v.readerKeys[0].key = pkcs8(rsa2048Other())
	})
	add("wrong_modulus_larger", "unwrap", "The reader's key of this name has 3072 bits, the wrapped key 2048.", func(v *vector) {
		v.readerKeys[0].key = pkcs8(rsa3072())
	})
	add("no_match", "no-key", "The reader has a key of another name.", func(v *vector) { v.readerKeys[0].name = "Escrow" })
	add("type_aes", "no-key", "The reader's RSA key has the name of a wrapped key of type 0001.", func(v *vector) {
		v.keys[0] = wrappedKey{1, "escrow", wrapAES(v.random.bytes(32), v.dataKey)}
	})
	add("zero", "unwrap", "The ciphertext is 0.", func(v *vector) { clear(v.keys[0].data) })
	add("one", "unwrap", "The ciphertext is 1.", func(v *vector) { v.keys[0].data = append(make([]byte, 255), 1) })
	add("modulus", "unwrap", "The ciphertext is the modulus.", func(v *vector) { v.keys[0].data = rsa2048().N.Bytes() })
	add("not_reduced", "unwrap", "The modulus was added to the ciphertext.", func(v *vector) {
		for {
			sum := new(big.Int).SetBytes(v.keys[0].data)
			if sum.Add(sum, rsa2048().N).BitLen() <= 2048 {
				v.keys[0].data = sum.Bytes()
				return
			}
			v.keys[0].data = oaepSHA256.wrap(&rsa2048().PublicKey, v.dataKey, v.random)
		}
	})
	for _, f := range []struct {
		name, what string
		oaep       oaep
	}{
		{"label", "a label", oaep{sha256.New, sha256.New, "bulla"}},
		{"mgf_sha1", "MGF1 with SHA-1", oaep{sha256.New, sha1.New, ""}},
		{"sha1", "SHA-1", oaep{sha1.New, sha1.New, ""}},
		{"sha512", "SHA-512", oaep{sha512.New, sha512.New, ""}},
	} {
		add(f.name, "unwrap", "The data key is wrapped by OAEP with "+f.what+".", func(v *vector) {
			v.keys[0].data = f.oaep.wrap(&rsa2048().PublicKey, v.dataKey, v.random)
		})
	}
	add("pkcs1", "unwrap", "The data key is wrapped by RSAES-PKCS1-v1_5.", func(v *vector) {
		v.keys[0].data = wrapPKCS1(&rsa2048().PublicKey, v.dataKey)
	})
	for _, n := range []int{0, 16, 31, 33, 64} {
		add(fmt.Sprintf("data_key_%d", n), "unwrap", fmt.Sprintf("The wrapped key holds a data key of %d bytes.", n), func(v *vector) {
			v.keys[0].data = oaepSHA256.wrap(&rsa2048().PublicKey, v.random.bytes(n), v.random)
		})
	}
	add("of_other_stream", "auth-commitment", "The wrapped key of another stream under the same wrapping key.", func(v *vector) {
		v.keys[0].data = oaepSHA256.wrap(&rsa2048().PublicKey, v.random.bytes(32), v.random)
	})
}
