package main

import (
	"bytes"
	"crypto/rsa"
	"crypto/subtle"
	"hash"
	"math/big"
	"sync"
)

// The RSA keys of the vectors.
var (
	rsa2048      = sync.OnceValue(func() *rsa.PrivateKey { return newRSAKey("rsa 2048", 2048) })
	rsa2048Other = sync.OnceValue(func() *rsa.PrivateKey { return newRSAKey("rsa 2048 other", 2048) })
	rsa3072      = sync.OnceValue(func() *rsa.PrivateKey { return newRSAKey("rsa 3072", 3072) })
)

// newRSAKey returns the key of a seed, the same on every run.
func newRSAKey(seed string, bits int) *rsa.PrivateKey {
	r := &source{seed: seed}
	one, e := big.NewInt(1), big.NewInt(65537)
	primes := []*big.Int{newPrime(r, bits/2, e), newPrime(r, bits/2, e)}
	phi := new(big.Int).Mul(new(big.Int).Sub(primes[0], one), new(big.Int).Sub(primes[1], one))
	k := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(primes[0], primes[1]), E: int(e.Int64())},
		D:         new(big.Int).ModInverse(e, phi),
		Primes:    primes,
	}
	k.Precompute()
	if err := k.Validate(); err != nil {
		panic(err)
	}
	return k
}

// newPrime returns a prime p with its two top bits set, so that the product of
// two has all its bits, and with p-1 prime to e.
func newPrime(r *source, bits int, e *big.Int) *big.Int {
	one := big.NewInt(1)
	for {
		b := r.bytes(bits / 8)
		b[0] |= 0xC0
		b[len(b)-1] |= 1
		p := new(big.Int).SetBytes(b)
		if p.ProbablyPrime(20) && new(big.Int).GCD(nil, nil, e, new(big.Int).Sub(p, one)).Cmp(one) == 0 {
			return p
		}
	}
}

// encryptRSA is RSAEP (RFC 8017 §5.1.1) on an encoded message.
func encryptRSA(k *rsa.PublicKey, encoded []byte) []byte {
	c := new(big.Int).Exp(new(big.Int).SetBytes(encoded), big.NewInt(int64(k.E)), k.N)
	return c.FillBytes(make([]byte, k.Size()))
}

// An oaep is RSAES-OAEP (RFC 8017 §7.1.1).
type oaep struct {
	hash, mgfHash func() hash.Hash
	label         string
}

func (o oaep) wrap(k *rsa.PublicKey, message []byte, r *source) []byte {
	h := o.hash()
	h.Write([]byte(o.label))
	labelHash := h.Sum(nil)
	padding := make([]byte, k.Size()-len(message)-2*len(labelHash)-2)
	block := concat(labelHash, padding, []byte{1}, message)
	seed := r.bytes(len(labelHash))
	subtle.XORBytes(block, block, o.mask(seed, len(block)))
	subtle.XORBytes(seed, seed, o.mask(block, len(seed)))
	return encryptRSA(k, concat([]byte{0}, seed, block))
}

// mask is MGF1 (RFC 8017 §B.2.1).
func (o oaep) mask(seed []byte, size int) []byte {
	var b []byte
	for i := 0; len(b) < size; i++ {
		h := o.mgfHash()
		h.Write(seed)
		h.Write(u32(i))
		b = h.Sum(b)
	}
	return b[:size]
}

// wrapPKCS1 is RSAES-PKCS1-v1_5 (RFC 8017 §7.2.1).
func wrapPKCS1(k *rsa.PublicKey, message []byte) []byte {
	padding := bytes.Repeat([]byte{0x5A}, k.Size()-len(message)-3)
	return encryptRSA(k, concat([]byte{0, 2}, padding, []byte{0}, message))
}
