package keywrap

import (
	"context"
	"crypto/hpke"
	"encoding/binary"
	"fmt"

	"github.com/bulla-format/bulla/format"
)

// A KEM is a key encapsulation mechanism of HPKE, by its registered id.
type KEM uint16

// The KEMs that wrap data keys (SPEC §12.8). The first three withstand quantum
// computers as long as either of their two halves holds.
const (
	MLKEM768X25519 KEM = 0x647a // X-Wing; the one to use without a reason for another
	MLKEM1024P384  KEM = 0x0051
	MLKEM768P256   KEM = 0x0050
	DHKEMX25519    KEM = 0x0020
	DHKEMP256      KEM = 0x0010
)

// kems has the KEMs, their names, and the sizes of their encapsulated keys in
// bytes (SPEC §12.8).
var kems = []struct {
	id   KEM
	name string
	enc  int
}{
	{MLKEM768X25519, "mlkem768-x25519", 1120},
	{MLKEM1024P384, "mlkem1024-p384", 1665},
	{MLKEM768P256, "mlkem768-p256", 1153},
	{DHKEMX25519, "x25519", 32},
	{DHKEMP256, "p256", 65},
}

// String returns the KEM's name as the command and the documents spell it.
func (k KEM) String() string {
	for _, known := range kems {
		if known.id == k {
			return known.name
		}
	}
	return fmt.Sprintf("KEM %#04x", uint16(k))
}

// ParseKEM returns the KEM of the given name, as String spells it.
func ParseKEM(name string) (KEM, error) {
	for _, known := range kems {
		if known.name == name {
			return known.id, nil
		}
	}
	return 0, fmt.Errorf("%w: no KEM %.64q: use %v, %v, %v, %v or %v", ErrKeyFormat, name, MLKEM768X25519, MLKEM1024P384, MLKEM768P256, DHKEMX25519, DHKEMP256)
}

// PostQuantum reports whether the KEM withstands quantum computers.
func (k KEM) PostQuantum() bool {
	return k == MLKEM768X25519 || k == MLKEM1024P384 || k == MLKEM768P256
}

func (k KEM) known() bool { return k.PostQuantum() || k == DHKEMX25519 || k == DHKEMP256 }

// hpkeIDs is the size of what leads a wrapped key: the ids of KEM, KDF, AEAD.
const hpkeIDs = 6

var (
	hpkeInfo = []byte("bulla/v1\x00wrap")
	hpkeKDF  = hpke.HKDFSHA256()
	hpkeAEAD = hpke.AES256GCM()
)

// wrappedSize returns the size of a wrapped key in bytes.
func (k KEM) wrappedSize() int {
	for _, known := range kems {
		if known.id == k {
			return hpkeIDs + known.enc + DataKeySize + format.TagSize
		}
	}
	return 0 // which no wrapped key has
}

func (k KEM) appendIDs(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(k))
	dst = binary.BigEndian.AppendUint16(dst, hpkeKDF.ID())
	return binary.BigEndian.AppendUint16(dst, hpkeAEAD.ID())
}

// An HPKEPublicKey wraps data keys by HPKE in base mode (RFC 9180; SPEC §12.8)
// for whoever has the private key: a writer that cannot read what it has
// written. It does not bind the context to the wrapped key: the header MAC
// binds it to the stream. Use is safe concurrently.
type HPKEPublicKey struct {
	name string
	key  hpke.PublicKey
}

// NewHPKEPublicKey returns the wrapping key of the given name, of 1 to
// format.MaxKeyNameSize bytes of UTF-8 without control characters. The error
// is [ErrKeyFormat].
func NewHPKEPublicKey(name string, key hpke.PublicKey) (*HPKEPublicKey, error) {
	if err := checkKeyName(name); err != nil {
		return nil, err
	}
	if key == nil || !KEM(key.KEM().ID()).known() {
		return nil, fmt.Errorf("%w: key %.128q is not of a KEM that wraps data keys", ErrKeyFormat, name)
	}
	return &HPKEPublicKey{name, key}, nil
}

// KeyName returns the key's name.
func (k *HPKEPublicKey) KeyName() string { return k.name }

// KEM returns the key's KEM.
func (k *HPKEPublicKey) KEM() KEM { return KEM(k.key.KEM().ID()) }

// WrapKey implements [Wrapper]: one wrapped key.
func (k *HPKEPublicKey) WrapKey(_ context.Context, dataKey []byte, _ Context) ([]format.WrappedKey, error) {
	if err := checkDataKey(dataKey); err != nil {
		return nil, err
	}
	sealed, err := hpke.Seal(k.key, hpkeKDF, hpkeAEAD, hpkeInfo, dataKey)
	if err != nil {
		return nil, fmt.Errorf("keywrap: HPKE key %.128q: %w", k.name, err)
	}
	return []format.WrappedKey{{Type: format.KeyTypeHPKE, Name: k.name, Data: append(k.KEM().appendIDs(nil), sealed...)}}, nil
}

// An HPKEKey wraps and unwraps data keys. Use is safe concurrently.
type HPKEKey struct {
	HPKEPublicKey
	private hpke.PrivateKey
}

// NewHPKEKey returns the wrapping key with the given private key, as for
// [NewHPKEPublicKey].
func NewHPKEKey(name string, private hpke.PrivateKey) (*HPKEKey, error) {
	if private == nil {
		return nil, fmt.Errorf("%w: no HPKE key", ErrKeyFormat)
	}
	public, err := NewHPKEPublicKey(name, private.PublicKey())
	if err != nil {
		return nil, err
	}
	return &HPKEKey{*public, private}, nil
}

// GenerateHPKEKey returns a new key of the given KEM; 0 is [MLKEM768X25519].
// What SecretText returns is what to keep of it.
func GenerateHPKEKey(name string, kem KEM) (*HPKEKey, error) {
	if kem == 0 {
		kem = MLKEM768X25519
	}
	if !kem.known() {
		return nil, fmt.Errorf("%w: %v", ErrKeyFormat, kem)
	}
	k, err := hpke.NewKEM(uint16(kem))
	if err != nil {
		return nil, err
	}
	private, err := k.GenerateKey()
	if err != nil {
		return nil, err
	}
	return NewHPKEKey(name, private)
}

// PublicKey returns the part of the key that wraps.
func (k *HPKEKey) PublicKey() *HPKEPublicKey { return &k.HPKEPublicKey }

// Format prints the key's kind and name for every verb, never the key.
func (k *HPKEKey) Format(f fmt.State, _ rune) {
	fmt.Fprintf(f, "HPKE wrapping key %q (%v)", k.name, k.KEM())
}

// UnwrapKey implements [Unwrapper]. A wrapped key of another type or name is
// [ErrNoMatch], one of another KEM, KDF or AEAD than the key's is [ErrUnwrap].
func (k *HPKEKey) UnwrapKey(_ context.Context, w format.WrappedKey, _ Context) ([]byte, error) {
	if w.Type != format.KeyTypeHPKE || w.Name != k.name {
		return nil, ErrNoMatch
	}
	if len(w.Data) != k.KEM().wrappedSize() || string(w.Data[:hpkeIDs]) != string(k.KEM().appendIDs(nil)) {
		return nil, fmt.Errorf("%w: the wrapped key for HPKE key %.128q is not of its kind (%v): another key of this name wrapped it, or the header is damaged", ErrUnwrap, k.name, k.KEM())
	}
	dataKey, err := hpke.Open(k.private, hpkeKDF, hpkeAEAD, hpkeInfo, w.Data[hpkeIDs:])
	if err != nil || len(dataKey) != DataKeySize {
		clear(dataKey)
		return nil, fmt.Errorf("%w: HPKE key %.128q: another key of the same name wrapped it, or the header is damaged", ErrUnwrap, k.name)
	}
	return dataKey, nil
}
