package keywrap

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"fmt"
	"math"

	"github.com/bulla-format/bulla/format"
)

// Bounds of an RSA modulus, in bits (SPEC §12.6).
const (
	MinRSABits = 2048
	MaxRSABits = 8192
)

// An RSAPublicKey wraps data keys by RSA-OAEP with SHA-256 (RFC 8017 §7.1;
// SPEC §12.6), for whoever has the private key: a writer that cannot read what
// it has written. It does not bind the context to the wrapped key: the header
// MAC binds it to the stream. Use is safe concurrently.
//
// RSA does not withstand quantum computers.
type RSAPublicKey struct {
	name string
	key  *rsa.PublicKey
}

// NewRSAPublicKey returns the wrapping key of the given name, of 1 to
// format.MaxKeyNameSize bytes of UTF-8 without control characters. The modulus
// has MinRSABits to MaxRSABits bits, a multiple of 8, and the exponent is odd,
// 3 to 2^31-1. The error is [ErrKeyFormat].
func NewRSAPublicKey(name string, key *rsa.PublicKey) (*RSAPublicKey, error) {
	if err := checkKeyName(name); err != nil {
		return nil, err
	}
	if key == nil || key.N == nil {
		return nil, fmt.Errorf("%w: no RSA key", ErrKeyFormat)
	}
	if bits := key.N.BitLen(); bits < MinRSABits || bits > MaxRSABits || bits%8 != 0 {
		return nil, fmt.Errorf("%w: RSA key %.128q has %d bits, expected %d to %d, a multiple of 8", ErrKeyFormat, name, bits, MinRSABits, MaxRSABits)
	}
	if key.N.Bit(0) == 0 {
		return nil, fmt.Errorf("%w: the modulus of RSA key %.128q is even", ErrKeyFormat, name)
	}
	if key.E < 3 || key.E > math.MaxInt32 || key.E%2 == 0 {
		return nil, fmt.Errorf("%w: the exponent of RSA key %.128q is %d", ErrKeyFormat, name, key.E)
	}
	return &RSAPublicKey{name, key}, nil
}

// KeyName returns the key's name.
func (k *RSAPublicKey) KeyName() string { return k.name }

// WrapKey implements [Wrapper]: one wrapped key of the modulus's size.
func (k *RSAPublicKey) WrapKey(_ context.Context, dataKey []byte, _ Context) ([]format.WrappedKey, error) {
	if err := checkDataKey(dataKey); err != nil {
		return nil, err
	}
	wrapped, err := rsa.EncryptOAEP(sha256.New(), rand.Reader, k.key, dataKey, nil)
	if err != nil {
		return nil, fmt.Errorf("keywrap: RSA key %.128q: %w", k.name, err)
	}
	return []format.WrappedKey{{Type: format.KeyTypeRSA, Name: k.name, Data: wrapped}}, nil
}

// An RSAKey wraps and unwraps data keys. The private key may be in memory, an
// *rsa.PrivateKey, or in a module or service behind crypto.Decrypter. Use is
// safe concurrently if the Decrypter's is.
type RSAKey struct {
	RSAPublicKey
	private crypto.Decrypter
}

// NewRSAKey returns the wrapping key with the given private key, whose public
// key must be an *rsa.PublicKey as for [NewRSAPublicKey]. The error is
// [ErrKeyFormat].
//
// A Decrypter of another make than *rsa.PrivateKey is called with
// *rsa.OAEPOptions, SHA-256 as the hash, and no label.
func NewRSAKey(name string, private crypto.Decrypter) (*RSAKey, error) {
	if private == nil {
		return nil, fmt.Errorf("%w: no RSA key", ErrKeyFormat)
	}
	public, ok := private.Public().(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("%w: key %.128q is a %T, not an RSA key", ErrKeyFormat, name, private.Public())
	}
	k, err := NewRSAPublicKey(name, public)
	if err != nil {
		return nil, err
	}
	if private, ok := private.(*rsa.PrivateKey); ok {
		if err := private.Validate(); err != nil {
			return nil, fmt.Errorf("%w: RSA key %.128q: %v", ErrKeyFormat, name, err)
		}
	}
	return &RSAKey{*k, private}, nil
}

// GenerateRSAKey returns a new key of the given number of bits.
func GenerateRSAKey(name string, bits int) (*RSAKey, error) {
	if bits < MinRSABits || bits > MaxRSABits || bits%8 != 0 {
		return nil, fmt.Errorf("%w: an RSA key of %d bits, expected %d to %d, a multiple of 8", ErrKeyFormat, bits, MinRSABits, MaxRSABits)
	}
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, err
	}
	return NewRSAKey(name, private)
}

// PublicKey returns the part of the key that wraps.
func (k *RSAKey) PublicKey() *RSAPublicKey { return &k.RSAPublicKey }

// Format prints the key's kind and name for every verb, never the key.
func (k *RSAKey) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "RSA wrapping key %q", k.name) }

// UnwrapKey implements [Unwrapper]. A wrapped key of another type or name is
// [ErrNoMatch]. With an *rsa.PrivateKey every failure to decrypt is the same
// [ErrUnwrap], and takes the same time, whatever its cause (RFC 8017 §7.1.2).
// That of another Decrypter, whose cause may be a network, is wrapped as well.
func (k *RSAKey) UnwrapKey(ctx context.Context, w format.WrappedKey, _ Context) ([]byte, error) {
	if w.Type != format.KeyTypeRSA || w.Name != k.name {
		return nil, ErrNoMatch
	}
	if len(w.Data) != k.key.Size() {
		return nil, fmt.Errorf("%w: the wrapped key for RSA key %.128q has %d bytes, its modulus %d: another key of this name wrapped it, or the header is damaged", ErrUnwrap, k.name, len(w.Data), k.key.Size())
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	dataKey, err := k.private.Decrypt(rand.Reader, w.Data, &rsa.OAEPOptions{Hash: crypto.SHA256})
	if err == nil && len(dataKey) == DataKeySize {
		return dataKey, nil
	}
	clear(dataKey)
	const message = "%w: RSA key %.128q: another key of the same name wrapped it, or the header is damaged"
	if _, ok := k.private.(*rsa.PrivateKey); ok || err == nil {
		return nil, fmt.Errorf(message, ErrUnwrap, k.name)
	}
	return nil, fmt.Errorf(message+", or the key's module failed: %w", ErrUnwrap, k.name, err)
}
