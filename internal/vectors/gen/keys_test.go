package main

import (
	"bytes"
	stdhpke "crypto/hpke"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"math/big"
	"testing"
)

// TestOAEP opens what this package wraps with the standard library's RSA.
func TestOAEP(t *testing.T) {
	r := &source{seed: t.Name()}
	for name, key := range map[string]*rsa.PrivateKey{"2048": rsa2048(), "2048 other": rsa2048Other(), "3072": rsa3072()} {
		for n := range 65 {
			message := r.bytes(n)
			for label, o := range map[string]oaep{"": oaepSHA256, "label": {sha256.New, sha256.New, "label"}} {
				got, err := rsa.DecryptOAEP(sha256.New(), nil, key, o.wrap(&key.PublicKey, message, r), []byte(label))
				if err != nil || !bytes.Equal(got, message) {
					t.Errorf("%s, %d bytes, label %q: %v", name, n, label, err)
				}
			}
		}
		message := r.bytes(32)
		got, err := rsa.DecryptOAEP(sha512.New(), nil, key, oaep{sha512.New, sha512.New, ""}.wrap(&key.PublicKey, message, r), nil)
		if err != nil || !bytes.Equal(got, message) {
			t.Errorf("%s, SHA-512: %v", name, err)
		}
		c := new(big.Int).SetBytes(wrapPKCS1(&key.PublicKey, message))
		encoded := c.Exp(c, key.D, key.N).FillBytes(make([]byte, key.Size()))
		if !bytes.HasPrefix(encoded, []byte{0, 2, 0x5A}) || !bytes.HasSuffix(encoded, append([]byte{0x5A, 0}, message...)) {
			t.Errorf("%s, PKCS #1 v1.5: %x", name, encoded)
		}
	}
}

// TestHPKE opens what this package wraps with the standard library's HPKE.
func TestHPKE(t *testing.T) {
	requireGCM(t)
	r := &source{seed: t.Name()}
	for _, k := range kems {
		for kdf := 1; kdf <= 3; kdf++ {
			for aead := 1; aead <= 3; aead++ {
				private, message := k.newKey(r), r.bytes(32)
				key := must(must(stdhpke.NewKEM(uint16(k.id))).NewPrivateKey(private))
				h := newHPKE(k)
				h.kdf, h.aead = kdf, aead
				wrapped := h.wrap(private, message, r)
				got, err := stdhpke.Open(key, must(stdhpke.NewKDF(uint16(kdf))), must(stdhpke.NewAEAD(uint16(aead))), []byte("bulla/v1\x00wrap"), wrapped[6:])
				if err != nil || !bytes.Equal(got, message) || !bytes.Equal(wrapped[:6], concat(u16(k.id), u16(kdf), u16(aead))) {
					t.Errorf("%s, KDF %d, AEAD %d: %v", k.name, kdf, aead, err)
				}
			}
		}
	}
}

// TestPassphrase compares with the Argon2id of OpenSSL 4.0, for the passphrase
// "mellon", t = 2, m = 99, p = 4 and a salt that counts up.
func TestPassphrase(t *testing.T) {
	a := argon{2, 99, 4}
	wrapped := a.wrap("mellon", sequence(0, 32), &source{buf: sequence(0x20, 16)})
	const front = "13000000020000006304202122232425262728292a2b2c2d2e2f"
	if got := hex.EncodeToString(wrapped[:26]); got != front {
		t.Errorf("front %s, want %s", got, front)
	}
	key := must(hex.DecodeString("cf9ed89fb6477683e2c8cdbe2f59f64362b3ec29e7af8a449c392928bc3ae656"))
	if want := wrapAES(key, sequence(0, 32)); !bytes.Equal(wrapped[26:], want) {
		t.Errorf("wrapped data key %x, want %x", wrapped[26:], want)
	}
}
