package main

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/mlkem"
	"crypto/mlkem/mlkemtest"
	"crypto/sha256"
	"crypto/sha3"
	"crypto/sha512"
	"fmt"
	"hash"
	"io"
)

// A kem is one of SPEC §12.8: a DHKEM (RFC 9180 §4.1), or a hybrid of ML-KEM
// and Diffie-Hellman (draft-ietf-hpke-pq).
type kem struct {
	id    int
	name  string
	curve ecdh.Curve
	mlkem int    // 768 or 1024; 0 for a DHKEM
	label string // that ends a hybrid's input of SHA3-256
}

var (
	kemX25519         = &kem{0x0020, "x25519", ecdh.X25519(), 0, ""}
	kemP256           = &kem{0x0010, "p256", ecdh.P256(), 0, ""}
	kemMLKEM768X25519 = &kem{0x647a, "mlkem768_x25519", ecdh.X25519(), 768, `\.//^\`}
	kemMLKEM768P256   = &kem{0x0050, "mlkem768_p256", ecdh.P256(), 768, "MLKEM768-P256"}
	kemMLKEM1024P384  = &kem{0x0051, "mlkem1024_p384", ecdh.P384(), 1024, "MLKEM1024-P384"}

	kems = []*kem{kemMLKEM768X25519, kemMLKEM1024P384, kemMLKEM768P256, kemX25519, kemP256}
)

// newKey returns a private key of 32 bytes (RFC 9180 §7.1.2).
func (k *kem) newKey(r *source) []byte {
	if k.mlkem == 0 {
		return k.curveKey(r).Bytes()
	}
	return r.bytes(32)
}

// curveKey takes a private key of the curve from what r gives.
func (k *kem) curveKey(r io.Reader) *ecdh.PrivateKey {
	b := make([]byte, 32)
	if k.curve == ecdh.P384() {
		b = make([]byte, 48)
	}
	for {
		must(io.ReadFull(r, b))
		if key, err := k.curve.NewPrivateKey(b); err == nil {
			return key
		}
	}
}

// encapsulate returns a shared secret with the holder of the private key, and
// the encapsulated key.
func (k *kem) encapsulate(private []byte, r *source) (secret, enc []byte) {
	if k.mlkem == 0 {
		to, ephemeral := must(k.curve.NewPrivateKey(private)).PublicKey(), k.curveKey(r)
		enc = ephemeral.PublicKey().Bytes()
		l := labeled{sha256.New, concat([]byte("KEM"), u16(k.id))}
		prk := l.extract(nil, "eae_prk", must(ephemeral.ECDH(to)))
		return l.expand(prk, "shared_secret", concat(enc, to.Bytes()), 32), enc
	}
	seeds := sha3.NewSHAKE256()
	seeds.Write(private)
	seed := make([]byte, mlkem.SeedSize)
	must(io.ReadFull(seeds, seed))
	to, ephemeral := k.curveKey(seeds).PublicKey(), k.curveKey(r)
	point := ephemeral.PublicKey().Bytes()
	var pqSecret, pqEnc []byte
	var err error
	if k.mlkem == 768 {
		pqSecret, pqEnc, err = mlkemtest.Encapsulate768(must(mlkem.NewDecapsulationKey768(seed)).EncapsulationKey(), r.bytes(32))
	} else {
		pqSecret, pqEnc, err = mlkemtest.Encapsulate1024(must(mlkem.NewDecapsulationKey1024(seed)).EncapsulationKey(), r.bytes(32))
	}
	if err != nil {
		panic(err)
	}
	sum := sha3.Sum256(concat(pqSecret, must(ephemeral.ECDH(to)), point, to.Bytes(), []byte(k.label)))
	return sum[:], concat(pqEnc, point)
}

// labeled are LabeledExtract and LabeledExpand of RFC 9180 §4.
type labeled struct {
	hash  func() hash.Hash
	suite []byte
}

func (l labeled) extract(salt []byte, label string, ikm []byte) []byte {
	return must(hkdf.Extract(l.hash, concat([]byte("HPKE-v1"), l.suite, []byte(label), ikm), salt))
}

func (l labeled) expand(prk []byte, label string, info []byte, size int) []byte {
	return must(hkdf.Expand(l.hash, prk, string(concat(u16(size), []byte("HPKE-v1"), l.suite, []byte(label), info)), size))
}

// An hpke is the single-shot sender of RFC 9180 §6.1.
type hpke struct {
	kem       *kem
	kdf, aead int // ids
	info, ad  string
	sequence  byte // of the message; 0 in a single shot
}

// newHPKE returns what SPEC §12.8 says.
func newHPKE(k *kem) hpke {
	return hpke{kem: k, kdf: 1, aead: 2, info: "bulla/v1\x00wrap"}
}

// wrap returns a wrapped key: ids, encapsulated key, ciphertext and tag.
func (h hpke) wrap(private, message []byte, r *source) []byte {
	ids := concat(u16(h.kem.id), u16(h.kdf), u16(h.aead))
	keySize, suite := 32, byte(suiteAES)
	switch h.aead {
	case 1:
		keySize = 16
	case 3:
		suite = suiteChaCha
	}
	l := labeled{[]func() hash.Hash{1: sha256.New, 2: sha512.New384, 3: sha512.New}[h.kdf], concat([]byte("HPKE"), ids)}
	secret, enc := h.kem.encapsulate(private, r)
	context := concat([]byte{0}, l.extract(nil, "psk_id_hash", nil), l.extract(nil, "info_hash", []byte(h.info)))
	prk := l.extract(secret, "secret", nil)
	key, nonce := l.expand(prk, "key", context, keySize), l.expand(prk, "base_nonce", context, 12)
	nonce[11] ^= h.sequence
	return concat(ids, enc, newAEAD(suite, key).Seal(nil, nonce, message, []byte(h.ad)))
}

// keyLine returns a private key as a vector names it.
func (k *kem) keyLine(private []byte) []byte {
	if len(private) != 32 {
		panic(fmt.Sprintf("%s: private key of %d bytes", k.name, len(private)))
	}
	return concat(u16(k.id), private)
}
