package keywrap

import (
	"bytes"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"fmt"
)

// The text form of a key is one line:
//
//	KIND base64url(key | checksum) name
//
// The checksum is the first 4 bytes of the SHA-256 of everything else, so that
// a typing error, or a name that was edited, is found before it is used. The
// key is 32 bytes for AES; for HPKE it is the KEM's id and the key as RFC 9180
// §7.1.1 and §7.1.2 serialise it.
const (
	aesTextKind        = "BULLA-AES-256-KEY"
	hpkeTextKind       = "BULLA-HPKE-KEY"
	hpkePublicTextKind = "bulla-hpke-public"

	checksumSize   = 4
	maxKeyTextSize = 8192 // bytes of a line; the largest public key with the longest name has about 3300
)

var keyEncoding = base64.RawURLEncoding.Strict()

// SecretText returns the key's text form, one line without a line end, for a
// file that only its owner can read. Whoever has it can read every stream for
// this key. It is not MarshalText, so that no logger or encoder calls it.
func (k *AESKey) SecretText() []byte { return appendKeyText(aesTextKind, k.key[:], k.name) }

// SecretText returns the private key's text form, one line without a line end,
// for a file that only its owner can read. It is not MarshalText, so that no
// logger or encoder calls it. The error is that of a private key that does not
// leave its module.
func (k *HPKEKey) SecretText() ([]byte, error) {
	private, err := k.private.Bytes()
	if err != nil {
		return nil, fmt.Errorf("keywrap: HPKE key %.128q: %w", k.name, err)
	}
	defer clear(private)
	return k.KEM().appendText(hpkeTextKind, private, k.name), nil
}

// MarshalText returns the key's text form, one line without a line end. It is
// not secret, but whoever can change it can read what is written for it.
func (k *HPKEPublicKey) MarshalText() ([]byte, error) {
	return k.KEM().appendText(hpkePublicTextKind, k.key.Bytes(), k.name), nil
}

// ParseAESKey parses the text form of an AES key, with or without a line end.
// The error is [ErrKeyFormat]; it holds nothing of the text.
func ParseAESKey(text []byte) (*AESKey, error) {
	key, name, err := parseKeyText(aesTextKind, text)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	return NewAESKey(name, key)
}

// ParseHPKEKey parses the text form of a private key, as ParseAESKey does.
func ParseHPKEKey(text []byte) (*HPKEKey, error) {
	key, name, err := parseKeyText(hpkeTextKind, text)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	kem, err := textKEM(key)
	if err != nil {
		return nil, err
	}
	private, err := kem.NewPrivateKey(key[2:])
	if err != nil {
		return nil, fmt.Errorf("%w: the HPKE key does not parse", ErrKeyFormat)
	}
	return NewHPKEKey(name, private)
}

// ParseHPKEPublicKey parses the text form of a public key, as ParseAESKey
// does.
func ParseHPKEPublicKey(text []byte) (*HPKEPublicKey, error) {
	key, name, err := parseKeyText(hpkePublicTextKind, text)
	if err != nil {
		return nil, err
	}
	kem, err := textKEM(key)
	if err != nil {
		return nil, err
	}
	public, err := kem.NewPublicKey(key[2:])
	if err != nil {
		return nil, fmt.Errorf("%w: the HPKE public key does not parse", ErrKeyFormat)
	}
	return NewHPKEPublicKey(name, public)
}

func textKEM(key []byte) (hpke.KEM, error) {
	if len(key) < 2 || !KEM(binary.BigEndian.Uint16(key)).known() {
		return nil, fmt.Errorf("%w: an HPKE key of an unknown KEM", ErrKeyFormat)
	}
	return hpke.NewKEM(binary.BigEndian.Uint16(key))
}

func (k KEM) appendText(kind string, key []byte, name string) []byte {
	both := append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(key)), uint16(k)), key...)
	defer clear(both)
	return appendKeyText(kind, both, name)
}

func appendKeyText(kind string, key []byte, name string) []byte {
	sum := keyChecksum(kind, key, name)
	secret := append(append(make([]byte, 0, len(key)+checksumSize), key...), sum[:]...)
	defer clear(secret)
	text := make([]byte, 0, len(kind)+1+keyEncoding.EncodedLen(len(secret))+1+len(name))
	text = append(append(text, kind...), ' ')
	text = keyEncoding.AppendEncode(text, secret)
	return append(append(text, ' '), name...)
}

// parseKeyText returns a copy of the key in a text of the given kind, which
// the caller clears, and its name.
func parseKeyText(kind string, text []byte) (key []byte, name string, err error) {
	line := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	if len(line) > maxKeyTextSize {
		return nil, "", fmt.Errorf("%w: a line of %d bytes", ErrKeyFormat, len(line))
	}
	found, rest, ok := bytes.Cut(line, []byte(" "))
	if !ok || string(found) != kind {
		return nil, "", fmt.Errorf("%w: it does not begin with %q%s", ErrKeyFormat, kind+" ", otherKind(string(found)))
	}
	encoded, nameBytes, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return nil, "", fmt.Errorf("%w: it has no name behind the key", ErrKeyFormat)
	}
	secret := make([]byte, keyEncoding.DecodedLen(len(encoded)))
	n, err := keyEncoding.Decode(secret, encoded)
	if err != nil || n < checksumSize || bytes.ContainsAny(encoded, "\r\n") {
		clear(secret)
		return nil, "", fmt.Errorf("%w: the key is not base64url", ErrKeyFormat)
	}
	key, name = secret[:n-checksumSize], string(nameBytes)
	sum := keyChecksum(kind, key, name)
	if subtle.ConstantTimeCompare(sum[:], secret[n-checksumSize:]) != 1 {
		clear(secret)
		return nil, "", fmt.Errorf("%w: the checksum does not match: the key or its name was mistyped or edited", ErrKeyFormat)
	}
	return key, name, nil
}

// otherKind says which other kind of key a text is, if it is one.
func otherKind(kind string) string {
	switch kind {
	case aesTextKind:
		return ": it is an AES key"
	case hpkeTextKind:
		return ": it is an HPKE private key"
	case hpkePublicTextKind:
		return ": it is an HPKE public key, which wraps but does not unwrap"
	}
	return ""
}

func keyChecksum(kind string, key []byte, name string) [checksumSize]byte {
	h := sha256.New()
	h.Write([]byte(kind))
	h.Write([]byte{' '})
	h.Write(key)
	h.Write([]byte(name))
	return [checksumSize]byte(h.Sum(nil))
}
