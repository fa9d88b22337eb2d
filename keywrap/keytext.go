package keywrap

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
)

// The text form of an AES wrapping key is one line:
//
//	BULLA-AES-256-KEY base64url(key | checksum) name
//
// The checksum is the first 4 bytes of the SHA-256 of everything else, so that
// a typing error, or a name that was edited, is found before it is used.
const (
	keyTextPrefix = "BULLA-AES-256-KEY "
	keyChecksum   = 4
)

var keyEncoding = base64.RawURLEncoding.Strict()

// SecretText returns the key's text form, one line without a line end, for a
// file that only its owner can read. Whoever has it can read every stream for
// this key. It is not MarshalText, so that no logger or encoder calls it.
func (k *AESKey) SecretText() []byte {
	sum := k.checksum()
	secret := append(k.key[:len(k.key):len(k.key)], sum[:]...)
	defer clear(secret)
	text := append([]byte(keyTextPrefix), keyEncoding.EncodeToString(secret)...)
	text = append(text, ' ')
	return append(text, k.name...)
}

// ParseAESKey parses the text form of a key, with or without a line end. The
// error is [ErrKeyFormat]; it holds nothing of the text.
func ParseAESKey(text []byte) (*AESKey, error) {
	line := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	rest, ok := bytes.CutPrefix(line, []byte(keyTextPrefix))
	if !ok {
		return nil, fmt.Errorf("%w: it does not begin with %q", ErrKeyFormat, keyTextPrefix)
	}
	encoded, name, ok := bytes.Cut(rest, []byte(" "))
	if !ok {
		return nil, fmt.Errorf("%w: it has no name behind the key", ErrKeyFormat)
	}
	if len(encoded) != keyEncoding.EncodedLen(AESKeySize+keyChecksum) {
		return nil, fmt.Errorf("%w: the key has %d characters, expected %d", ErrKeyFormat, len(encoded), keyEncoding.EncodedLen(AESKeySize+keyChecksum))
	}
	secret := make([]byte, AESKeySize+keyChecksum)
	defer clear(secret)
	if _, err := keyEncoding.Decode(secret, encoded); err != nil {
		return nil, fmt.Errorf("%w: the key is not base64url", ErrKeyFormat)
	}
	k, err := NewAESKey(string(name), secret[:AESKeySize])
	if err != nil {
		return nil, err
	}
	sum := k.checksum()
	if subtle.ConstantTimeCompare(sum[:], secret[AESKeySize:]) != 1 {
		return nil, fmt.Errorf("%w: the checksum does not match: the key or its name was mistyped or edited", ErrKeyFormat)
	}
	return k, nil
}

func (k *AESKey) checksum() [keyChecksum]byte {
	h := sha256.New()
	h.Write([]byte(keyTextPrefix))
	h.Write(k.key[:])
	h.Write([]byte(k.name))
	return [keyChecksum]byte(h.Sum(nil))
}
