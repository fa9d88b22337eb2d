package keywrap

import (
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
)

// ParseRSAPublicKey parses a public key in PEM: PKIX ("PUBLIC KEY"), PKCS #1
// ("RSA PUBLIC KEY") or the key of a certificate. Text around the first PEM
// block is ignored. The error is [ErrKeyFormat]; it says what was found
// instead.
func ParseRSAPublicKey(name string, text []byte) (*RSAPublicKey, error) {
	block, err := decodePEM(text)
	if err != nil {
		return nil, err
	}
	var key any
	switch block.Type {
	case "PUBLIC KEY":
		key, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		key, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		var certificate *x509.Certificate
		if certificate, err = x509.ParseCertificate(block.Bytes); err == nil {
			key = certificate.PublicKey
		}
	case "PRIVATE KEY", "RSA PRIVATE KEY":
		return nil, fmt.Errorf("%w: this is a private key; the public one is printed by: openssl pkey -in FILE -pubout", ErrKeyFormat)
	default:
		return nil, fmt.Errorf("%w: a PEM block of type %.64q, expected PUBLIC KEY", ErrKeyFormat, block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the PEM block %s does not parse: %v", ErrKeyFormat, block.Type, err)
	}
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: a public key of another kind (%T), expected RSA", ErrKeyFormat, key)
	}
	return NewRSAPublicKey(name, public)
}

// ParseRSAKey parses a private key in PEM: PKCS #8 ("PRIVATE KEY") or PKCS #1
// ("RSA PRIVATE KEY"), not encrypted. Text around the first PEM block is
// ignored. The error is [ErrKeyFormat]; it says what was found instead, and
// holds nothing of the key.
func ParseRSAKey(name string, text []byte) (*RSAKey, error) {
	block, err := decodePEM(text)
	if err != nil {
		return nil, err
	}
	defer clear(block.Bytes)
	const decrypt = "decrypt it first, to a file that only you can read: openssl pkey -in FILE -out NEWFILE"
	var key any
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
		return nil, fmt.Errorf("%w: the private key is encrypted; %s", ErrKeyFormat, decrypt)
	case block.Type == "PRIVATE KEY":
		key, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case block.Type == "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case block.Type == "PUBLIC KEY" || block.Type == "RSA PUBLIC KEY" || block.Type == "CERTIFICATE":
		return nil, fmt.Errorf("%w: this is a public key, which wraps but does not unwrap: the private one is needed", ErrKeyFormat)
	default:
		return nil, fmt.Errorf("%w: a PEM block of type %.64q, expected PRIVATE KEY", ErrKeyFormat, block.Type)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: the PEM block %s does not parse", ErrKeyFormat, block.Type)
	}
	private, ok := key.(crypto.Decrypter)
	if !ok {
		return nil, fmt.Errorf("%w: a private key of another kind (%T), expected RSA", ErrKeyFormat, key)
	}
	return NewRSAKey(name, private)
}

func decodePEM(text []byte) (*pem.Block, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%w: no PEM block in it: expected a line -----BEGIN ...-----", ErrKeyFormat)
	}
	return block, nil
}
