package kmstest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"hash"
)

// The algorithms of RSA keys that encrypt.
const (
	oaepSHA1   = "RSAES_OAEP_SHA_1"
	oaepSHA256 = "RSAES_OAEP_SHA_256"
)

var rsaBits = map[string]int{"RSA_2048": 2048, "RSA_3072": 3072, "RSA_4096": 4096}

func newHash(algorithm string) hash.Hash {
	if algorithm == oaepSHA1 {
		return sha1.New()
	}
	return sha256.New()
}

// checkPlaintext checks a size against what the algorithm has room for (RFC
// 8017 §7.1.1).
func (k *key) checkPlaintext(algorithm string, size int) error {
	most := maxPlaintext
	if k.private != nil {
		most = k.private.Size() - 2*newHash(algorithm).Size() - 2
	}
	if size > most {
		return fail("ValidationException", "Algorithm %s and key spec %s cannot encrypt data larger than %d bytes.", algorithm, k.spec, most)
	}
	return nil
}

// wrap encrypts what [key.checkUse] and [key.checkPlaintext] have passed.
func (k *key) wrap(plaintext []byte, algorithm string, context map[string]string) []byte {
	if k.private == nil {
		return k.seal(plaintext, context)
	}
	blob, err := rsa.EncryptOAEP(newHash(algorithm), rand.Reader, &k.private.PublicKey, plaintext, nil)
	if err != nil {
		panic(err) // size and key were checked
	}
	return blob
}

func (k *key) openRSA(blob []byte, algorithm string) ([]byte, bool) {
	if len(blob) != k.private.Size() {
		return nil, false
	}
	plaintext, err := rsa.DecryptOAEP(newHash(algorithm), nil, k.private, blob, nil)
	return plaintext, err == nil
}

type publicKeyInput struct {
	requestOptions
	KeyId *string
}

func (r *region) getPublicKey(in *publicKeyInput) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	k, err := r.findEnabled("keyId", in.KeyId)
	if err != nil {
		return nil, err
	}
	if k.private == nil {
		return nil, fail("UnsupportedOperationException", "%s is a symmetric key.", k.arn())
	}
	der, err := x509.MarshalPKIXPublicKey(&k.private.PublicKey)
	if err != nil {
		return nil, err
	}
	return map[string]any{
		"CustomerMasterKeySpec": k.spec,
		"EncryptionAlgorithms":  k.algorithms(),
		"KeyId":                 k.arn(),
		"KeySpec":               k.spec,
		"KeyUsage":              encryptDecrypt,
		"PublicKey":             der,
	}, nil
}
