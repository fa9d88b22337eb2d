package keywrap

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"

	"github.com/bulla-format/bulla/format"
)

// AESKeySize is the size of an AES wrapping key, in bytes.
const AESKeySize = 32

// An AESKey wraps data keys by AES-256 key wrap (RFC 3394; SPEC §12.5) under a
// key that the caller keeps. It does not bind the context to the wrapped key:
// the header MAC binds it to the stream. Use is safe concurrently.
type AESKey struct {
	name  string
	key   [AESKeySize]byte
	block cipher.Block
}

// NewAESKey returns the wrapping key of [AESKeySize] bytes in key, which it
// copies. The name goes into headers, in the clear, and is how a reader finds
// the key again; it is 1 to format.MaxKeyNameSize bytes of UTF-8 without
// control characters. The error is [ErrKeyFormat].
func NewAESKey(name string, key []byte) (*AESKey, error) {
	if err := checkKeyName(name); err != nil {
		return nil, err
	}
	if len(key) != AESKeySize {
		return nil, fmt.Errorf("%w: an AES wrapping key has %d bytes, not %d", ErrKeyFormat, AESKeySize, len(key))
	}
	k := &AESKey{name: name, key: [AESKeySize]byte(key)}
	var err error
	k.block, err = aes.NewCipher(key)
	return k, err
}

// GenerateAESKey returns a new random wrapping key. What SecretText
// returns is what to keep of it.
func GenerateAESKey(name string) (*AESKey, error) {
	var key [AESKeySize]byte
	defer clear(key[:])
	rand.Read(key[:])
	return NewAESKey(name, key[:])
}

// KeyName returns the key's name.
func (k *AESKey) KeyName() string { return k.name }

// Format prints the key's kind and name for every verb, never the key.
func (k *AESKey) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "AES wrapping key %q", k.name) }

// WrapKey implements [Wrapper]: one wrapped key of 40 bytes.
func (k *AESKey) WrapKey(_ context.Context, dataKey []byte, _ Context) ([]format.WrappedKey, error) {
	if err := checkDataKey(dataKey); err != nil {
		return nil, err
	}
	return []format.WrappedKey{{Type: format.KeyTypeAES, Name: k.name, Data: kwWrap(k.block, dataKey)}}, nil
}

// UnwrapKey implements [Unwrapper]. A wrapped key of another type or name is
// [ErrNoMatch].
func (k *AESKey) UnwrapKey(_ context.Context, w format.WrappedKey, _ Context) ([]byte, error) {
	if w.Type != format.KeyTypeAES || w.Name != k.name {
		return nil, ErrNoMatch
	}
	if len(w.Data) != DataKeySize+kwOverhead {
		return nil, fmt.Errorf("%w: the wrapped key for AES key %.128q has %d bytes, expected %d: the header is damaged", ErrUnwrap, k.name, len(w.Data), DataKeySize+kwOverhead)
	}
	dataKey, ok := kwUnwrap(k.block, w.Data)
	if !ok {
		return nil, fmt.Errorf("%w: AES key %.128q: another key of the same name wrapped it, or the header is damaged", ErrUnwrap, k.name)
	}
	return dataKey, nil
}
