// Package segment derives the keys of a stream from its data key and seals and
// opens single segments (SPEC §4 and §5). It knows neither streams nor I/O.
package segment

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/aesgcm"
)

// ErrAuth means that something does not verify under its key.
var ErrAuth = errors.New("authentication failed")

// label is the start of every derivation's info.
const label = "bulla/v1\x00"

const (
	keySize       = 32
	streamKeySize = 64

	// infoSize is that of the longest info, with the byte that HKDF appends.
	infoSize = len(label) + len("commitment\x00") + format.BoundSize + sha256.Size + 1
)

// Keys are what one stream's data key gives, once Derive has made them. They
// are not changed by other methods than that and Close; the Sealers and Openers
// made from them do not depend on them.
type Keys struct {
	suite      format.Suite
	epochShift uint
	dataKey    expander
	bound      [format.BoundSize + sha256.Size]byte // what every info ends with
	commitment [format.CommitmentSize]byte
	header     [keySize]byte
	stream     [streamKeySize]byte
}

// noAssociatedData is the hash of associated data that is empty.
var noAssociatedData = sha256.Sum256(nil)

// Derive makes k the keys of the stream with the given prelude (SPEC §4.1); its
// commitment is not looked at. dataKey is 32 bytes, which Derive neither keeps
// nor clears; what k holds of it goes with Close. The error comes from a
// cryptographic module that refuses an algorithm, and leaves k closed.
func (k *Keys) Derive(dataKey []byte, p *format.Prelude, associatedData []byte) error {
	if len(dataKey) != format.DataKeySize {
		return fmt.Errorf("segment: data key of %d bytes, expected %d", len(dataKey), format.DataKeySize)
	}
	k.suite, k.epochShift = p.Suite, EpochShift(p.SegmentExp)
	var prelude [format.PreludeSize]byte
	copy(k.bound[:], p.Append(prelude[:0])[:format.BoundSize])
	adHash := noAssociatedData
	if len(associatedData) > 0 {
		adHash = sha256.Sum256(associatedData)
	}
	copy(k.bound[format.BoundSize:], adHash[:])

	k.dataKey.init(dataKey)
	err := k.derive(k.commitment[:], "commitment")
	if err == nil {
		err = k.derive(k.header[:], "header")
	}
	if err == nil {
		err = k.derive(k.stream[:], "stream")
	}
	if err != nil {
		k.Close()
	}
	return err
}

// derive fills key with that of the given name.
func (k *Keys) derive(key []byte, name string) error {
	var room [infoSize]byte
	info := append(append(append(append(room[:0], label...), name...), 0), k.bound[:]...)
	if err := k.dataKey.expand(key, info); err != nil {
		return fmt.Errorf("segment: deriving the %s key: %w", name, err)
	}
	return nil
}

// EpochShift returns by how many bits a segment's index is shifted to give its
// epoch: an epoch is at most 2^20 segments and 64 GiB (SPEC §4.3).
func EpochShift(segmentExp uint8) uint { return min(20, 36-uint(segmentExp)) }

// SourceKey returns the key for what a writer keeps for itself about the
// plaintext of the stream (SPEC §4.1).
func (k *Keys) SourceKey() (key [keySize]byte, err error) {
	err = k.derive(key[:], "source")
	return key, err
}

// Commitment returns the key commitment that belongs into the prelude.
func (k *Keys) Commitment() [format.CommitmentSize]byte { return k.commitment }

// VerifyCommitment compares the prelude's commitment in constant time; the
// error is [ErrAuth].
func (k *Keys) VerifyCommitment(p *format.Prelude) error {
	if subtle.ConstantTimeCompare(k.commitment[:], p.Commitment[:]) != 1 {
		return ErrAuth
	}
	return nil
}

// HeaderMAC returns the MAC of an encoded header, whose own final MACSize bytes
// are not covered (SPEC §4.2).
func (k *Keys) HeaderMAC(header []byte) [format.MACSize]byte {
	return hmacSHA256(k.header[:], header[:len(header)-format.MACSize])
}

// VerifyHeader compares the MAC at the end of an encoded header in constant
// time; the error is [ErrAuth].
func (k *Keys) VerifyHeader(header []byte) error {
	mac := k.HeaderMAC(header)
	if subtle.ConstantTimeCompare(mac[:], header[len(header)-format.MACSize:]) != 1 {
		return ErrAuth
	}
	return nil
}

// SealMetadata returns the value of the sealed metadata extension.
func (k *Keys) SealMetadata(plaintext []byte) ([]byte, error) {
	a, err := k.metadata()
	if err != nil {
		return nil, err
	}
	x := scratches.Get().(*scratch)
	defer scratches.Put(x)
	return a.seal(make([]byte, 0, len(plaintext)+format.SegmentOverhead), plaintext, nil, &x.nonces), nil
}

// OpenMetadata returns the plaintext of a sealed metadata extension; the error
// is [ErrAuth].
func (k *Keys) OpenMetadata(value []byte) ([]byte, error) {
	a, err := k.metadata()
	if err != nil {
		return nil, err
	}
	return a.open(nil, value, nil)
}

// metadata returns the AEAD of the meta key, which few streams need.
func (k *Keys) metadata() (aead, error) {
	var key [keySize]byte
	defer clear(key[:])
	if err := k.derive(key[:], "metadata"); err != nil {
		return aead{}, err
	}
	return newAEAD(k.suite, key[:])
}

// Close clears the keys. Sealers and Openers stay usable.
func (k *Keys) Close() { *k = Keys{} }

// epochKey derives the key of an epoch.
func epochKey(streamKey *[streamKeySize]byte, epoch uint64) (key [keySize]byte, err error) {
	var x expander
	x.init(streamKey[:])
	defer x.close()
	var room [infoSize]byte
	info := append(append(room[:0], label...), "epoch\x00"...)
	err = x.expand(key[:], binary.BigEndian.AppendUint64(info, epoch))
	return key, err
}

// An aead seals to and opens from nonce | ciphertext | tag.
type aead struct {
	cipher.AEAD
	random bool // the AEAD draws the nonce itself, and puts it there and takes it from there
}

// newAEAD returns the suite's AEAD. Where the FIPS 140-3 module is in force,
// AES-GCM runs in the one mode that it approves for random nonces.
func newAEAD(suite format.Suite, key []byte) (aead, error) {
	if suite == format.ChaCha20Poly1305 {
		a, err := chacha20poly1305.New(key)
		return aead{AEAD: a}, err
	}
	if !fips140.Enabled() {
		a, err := aesgcm.New(key)
		return aead{AEAD: a}, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return aead{}, err
	}
	a, err := cipher.NewGCMWithRandomNonce(block)
	return aead{AEAD: a, random: true}, err
}

// seal appends nonce | ciphertext | tag to dst, whose capacity has room for it.
// plaintext stands either apart from that room or exactly where its ciphertext
// will.
func (a aead) seal(dst, plaintext, ad []byte, n *nonces) []byte {
	if !a.random {
		dst = append(dst, n.next()...)
		return a.Seal(dst, dst[len(dst)-format.NonceSize:], plaintext, ad)
	}
	room := dst[len(dst) : len(dst)+len(plaintext)+format.SegmentOverhead]
	if len(plaintext) > 0 && &plaintext[0] == &room[format.NonceSize] {
		plaintext = room[:copy(room, plaintext)] // this AEAD takes it in place only at the start of its output
	}
	return a.Seal(dst, nil, plaintext, ad)
}

// open appends the plaintext of nonce | ciphertext | tag to dst, whose room
// does not overlap stored. On ErrAuth no plaintext is left there.
func (a aead) open(dst, stored, ad []byte) ([]byte, error) {
	if len(stored) < format.SegmentOverhead {
		return nil, ErrAuth
	}
	nonce, sealed := stored[:format.NonceSize], stored[format.NonceSize:]
	if a.random {
		nonce, sealed = nil, stored
	}
	plaintext, err := a.Open(dst, nonce, sealed, ad)
	if err != nil {
		return nil, ErrAuth
	}
	return plaintext, nil
}
