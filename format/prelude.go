package format

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// Sizes in bytes of the parts that never vary (SPEC §3).
const (
	PreludeSize     = 76                  // magic to commitment
	PrefixSize      = PreludeSize + 4     // what a reader needs to learn the header's size
	IVSize          = 32                  // the header's random IV
	CommitmentSize  = 32                  // key commitment
	BoundSize       = 44                  // the part of the prelude that enters every key derivation: all but the commitment
	MACSize         = 32                  // HMAC-SHA-256, the header's final bytes
	NonceSize       = 12                  // in front of each segment's ciphertext
	TagSize         = 16                  // behind it
	SegmentOverhead = NonceSize + TagSize // stored bytes of a segment beyond its plaintext
	DataKeySize     = 32                  // the key that the wrapped keys wrap
)

// Version is the one version of the format that this package reads and writes.
const Version = 1

// Bounds of the segment size exponent k; a segment holds 2^k plaintext bytes.
const (
	MinSegmentExp     = 12 // 4 KiB
	MaxSegmentExp     = 24 // 16 MiB
	DefaultSegmentExp = 16 // 64 KiB
)

// Magic is how every stream begins. Its first byte is not ASCII and its line
// ends are of both kinds, so that text-mode and 7-bit damage shows at once.
const Magic = "\x89BUL\r\n\x1a\n"

// A Suite names the AEAD of the segments and the hash of the key derivation
// (SPEC §12.1).
type Suite uint8

// The suites of version 1.
const (
	AES256GCM        Suite = 1 // AES-256-GCM with HKDF-SHA-512
	ChaCha20Poly1305 Suite = 2 // ChaCha20-Poly1305 with HKDF-SHA-512
)

// Known reports whether s is a suite of version 1.
func (s Suite) Known() bool { return s == AES256GCM || s == ChaCha20Poly1305 }

// String returns the suite's name as the command and the documents spell it.
func (s Suite) String() string {
	switch s {
	case AES256GCM:
		return "aes-256-gcm"
	case ChaCha20Poly1305:
		return "chacha20-poly1305"
	}
	return fmt.Sprintf("suite %#02x", uint8(s))
}

// ParseSuite returns the suite of the given name, as String spells it, in
// upper or lower case; [ErrUnsupported] if there is none.
func ParseSuite(name string) (Suite, error) {
	for _, s := range []Suite{AES256GCM, ChaCha20Poly1305} {
		if strings.EqualFold(name, s.String()) {
			return s, nil
		}
	}
	return 0, fmt.Errorf("%w suite %q: use %v or %v", ErrUnsupported, name, AES256GCM, ChaCha20Poly1305)
}

// Flags are the prelude's flag bits; all others are zero.
type Flags uint8

// The flags of version 1.
const (
	FlagDetached       Flags = 1 << 0 // the header is stored apart from the payload (SPEC §6)
	FlagAssociatedData Flags = 1 << 1 // the caller's associated data is needed to read the stream

	knownFlags = FlagDetached | FlagAssociatedData
)

// A Prelude is the fixed front of a header. It is the same in the header and,
// when they are stored apart, in front of the payload.
type Prelude struct {
	Suite      Suite
	SegmentExp uint8 // k, MinSegmentExp to MaxSegmentExp
	Flags      Flags
	IV         [IVSize]byte
	Commitment [CommitmentSize]byte
}

// ParsePrelude parses the first [PreludeSize] bytes of b (SPEC §3.1) and
// ignores what follows them. The errors are of type [*Error]: [ErrNotStream]
// for fewer bytes or another magic, [ErrUnsupported] for a later version or an
// unknown suite, [ErrMalformed] otherwise.
func ParsePrelude(b []byte) (Prelude, error) {
	var p Prelude
	if !bytes.HasPrefix(b, []byte(Magic)) {
		return p, &Error{Class: ErrNotStream, Reason: "it does not begin with the magic bytes"}
	}
	if len(b) < PreludeSize {
		return p, &Error{Class: ErrNotStream, Offset: len(b), Reason: fmt.Sprintf("only %d bytes, a prelude has %d", len(b), PreludeSize)}
	}
	if b[8] != Version {
		return p, unsupported(8, "format version %d, this release reads version %d", b[8], Version)
	}
	p.Suite, p.SegmentExp, p.Flags = Suite(b[9]), b[10], Flags(b[11])
	copy(p.IV[:], b[12:])
	copy(p.Commitment[:], b[BoundSize:])
	return p, p.check()
}

func (p *Prelude) check() error {
	if !p.Suite.Known() {
		return unsupported(9, "suite %#02x", uint8(p.Suite))
	}
	if p.SegmentExp < MinSegmentExp || p.SegmentExp > MaxSegmentExp {
		return malformed(10, "segment size 2^%d, expected 2^%d to 2^%d", p.SegmentExp, MinSegmentExp, MaxSegmentExp)
	}
	if p.Flags&^knownFlags != 0 {
		return malformed(11, "unknown flag bits %#02x", uint8(p.Flags&^knownFlags))
	}
	return nil
}

// Append appends the [PreludeSize] bytes of p to dst. It does not validate p.
func (p *Prelude) Append(dst []byte) []byte {
	dst = append(dst, Magic...)
	dst = append(dst, Version, byte(p.Suite), p.SegmentExp, byte(p.Flags))
	dst = append(dst, p.IV[:]...)
	return append(dst, p.Commitment[:]...)
}

// Detached reports whether the header is stored apart from the payload.
func (p *Prelude) Detached() bool { return p.Flags&FlagDetached != 0 }

// HeaderSize returns the size in bytes of the header that b begins with. It
// needs the first [PrefixSize] bytes and looks at no others. The size is
// MinHeaderSize to MaxHeaderSize; otherwise the error is [ErrMalformed].
func HeaderSize(b []byte) (int, error) {
	if len(b) < PrefixSize {
		return 0, malformed(len(b), "only %d bytes, the header's size ends at byte %d", len(b), PrefixSize)
	}
	size := binary.BigEndian.Uint32(b[PreludeSize:])
	if err := checkSize(int64(size)); err != nil {
		return 0, err
	}
	return int(size), nil
}

func checkSize(n int64) error {
	if n < MinHeaderSize || n > MaxHeaderSize {
		return malformed(PreludeSize, "header size %d, expected %d to %d", n, MinHeaderSize, MaxHeaderSize)
	}
	return nil
}
