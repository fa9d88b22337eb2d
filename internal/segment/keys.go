// Package segment derives the keys of a stream from its data key and seals and
// opens single segments (SPEC §4 and §5). It knows neither streams nor I/O.
package segment

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/bulla-format/bulla/format"
)

// ErrAuth means that something does not verify under its key.
var ErrAuth = errors.New("authentication failed")

// label is the start of every derivation's info.
const label = "bulla/v1\x00"

const (
	keySize       = 32
	streamKeySize = 64
)

// Keys are what one stream's data key gives. They are not safe for concurrent
// use; the Sealers and Openers made from them do not depend on them.
type Keys struct {
	suite      format.Suite
	epochShift uint
	commitment []byte
	header     []byte
	meta       []byte
	stream     []byte
}

// Derive derives the keys of the stream with the given prelude (SPEC §4.1);
// its commitment is not looked at. dataKey is 32 bytes, which Derive neither
// keeps nor clears. The error comes from a cryptographic module that refuses
// an algorithm.
func Derive(dataKey []byte, p *format.Prelude, associatedData []byte) (*Keys, error) {
	if len(dataKey) != format.DataKeySize {
		return nil, fmt.Errorf("segment: data key of %d bytes, expected %d", len(dataKey), format.DataKeySize)
	}
	var prelude [format.PreludeSize]byte
	p.Append(prelude[:0])
	adHash := sha256.Sum256(associatedData)
	bound := string(prelude[:format.BoundSize]) + string(adHash[:])

	k := &Keys{suite: p.Suite, epochShift: EpochShift(p.SegmentExp)}
	for _, d := range []struct {
		key  *[]byte
		name string
		size int
	}{
		{&k.commitment, "commitment", format.CommitmentSize},
		{&k.header, "header", keySize},
		{&k.meta, "metadata", keySize},
		{&k.stream, "stream", streamKeySize},
	} {
		key, err := hkdf.Expand(sha512.New, dataKey, label+d.name+"\x00"+bound, d.size)
		if err != nil {
			k.Close()
			return nil, fmt.Errorf("segment: deriving the %s key: %w", d.name, err)
		}
		*d.key = key
	}
	return k, nil
}

// EpochShift returns by how many bits a segment's index is shifted to give its
// epoch: an epoch is at most 2^20 segments and 64 GiB (SPEC §4.3).
func EpochShift(segmentExp uint8) uint { return min(20, 36-uint(segmentExp)) }

// Commitment returns the key commitment that belongs into the prelude.
func (k *Keys) Commitment() [format.CommitmentSize]byte {
	return [format.CommitmentSize]byte(k.commitment)
}

// VerifyCommitment compares the prelude's commitment in constant time; the
// error is [ErrAuth].
func (k *Keys) VerifyCommitment(p *format.Prelude) error {
	if subtle.ConstantTimeCompare(k.commitment, p.Commitment[:]) != 1 {
		return ErrAuth
	}
	return nil
}

// HeaderMAC returns the MAC of an encoded header, whose own final MACSize bytes
// are not covered (SPEC §4.2).
func (k *Keys) HeaderMAC(header []byte) [format.MACSize]byte {
	mac := hmac.New(sha256.New, k.header)
	mac.Write(header[:len(header)-format.MACSize])
	return [format.MACSize]byte(mac.Sum(nil))
}

// VerifyHeader compares the MAC at the end of an encoded header in constant
// time; the error is [ErrAuth].
func (k *Keys) VerifyHeader(header []byte) error {
	mac := k.HeaderMAC(header)
	if !hmac.Equal(mac[:], header[len(header)-format.MACSize:]) {
		return ErrAuth
	}
	return nil
}

// SealMetadata returns the value of the sealed metadata extension.
func (k *Keys) SealMetadata(plaintext []byte) ([]byte, error) {
	a, err := newAEAD(k.suite, k.meta)
	if err != nil {
		return nil, err
	}
	var n nonces
	return a.seal(make([]byte, 0, len(plaintext)+format.SegmentOverhead), plaintext, nil, &n), nil
}

// OpenMetadata returns the plaintext of a sealed metadata extension; the error
// is [ErrAuth].
func (k *Keys) OpenMetadata(value []byte) ([]byte, error) {
	a, err := newAEAD(k.suite, k.meta)
	if err != nil {
		return nil, err
	}
	return a.open(nil, value, nil)
}

// Close clears the keys. Sealers and Openers stay usable.
func (k *Keys) Close() {
	for _, key := range [][]byte{k.commitment, k.header, k.meta, k.stream} {
		clear(key)
	}
}

// epochKey derives the key of an epoch.
func epochKey(streamKey []byte, epoch uint64) ([]byte, error) {
	info := binary.BigEndian.AppendUint64([]byte(label+"epoch\x00"), epoch)
	return hkdf.Expand(sha512.New, streamKey, string(info), keySize)
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
	block, err := aes.NewCipher(key)
	if err != nil {
		return aead{}, err
	}
	if fips140.Enabled() {
		a, err := cipher.NewGCMWithRandomNonce(block)
		return aead{AEAD: a, random: true}, err
	}
	a, err := cipher.NewGCM(block)
	return aead{AEAD: a}, err
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
