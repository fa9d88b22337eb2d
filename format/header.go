package format

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// Bounds of a header (SPEC §3.2).
const (
	DefaultHeaderSize = 4096  // what writers pad a header to, so that offsets survive a re-wrap
	MaxHeaderSize     = 65536 // larger headers are malformed
	MaxWrappedKeys    = 32
	MaxExtensions     = 32
	MaxKeyNameSize    = 1024 // bytes of UTF-8

	// MinHeaderSize is that of one nameless wrapped key of one byte.
	MinHeaderSize = fixedSize + wrappedKeyOverhead + 1 + MACSize
)

const (
	plaintextSizeOffset = PreludeSize + 4 + 4         // prelude, H, generation
	keysOffset          = plaintextSizeOffset + 8 + 2 // plaintext size, R
	fixedSize           = keysOffset + 2              // E
	wrappedKeyOverhead  = 2 + 2 + 2                   // type, key name size, size
	extensionOverhead   = 2 + 4                       // type, size
)

// UnknownSize is the plaintext size of a stream whose header was written
// before its end was known. It is stored as 2^64-1.
const UnknownSize int64 = -1

// A KeyType names a way of wrapping the data key (SPEC §12.3).
type KeyType uint16

// The types of wrapped keys.
const (
	KeyTypeAES        KeyType = 1 // AES-256 key wrap, RFC 3394
	KeyTypeRSA        KeyType = 2 // RSA-OAEP with SHA-256
	KeyTypeKMS        KeyType = 3 // AWS KMS CiphertextBlob
	KeyTypeHPKE       KeyType = 4 // HPKE base mode, RFC 9180
	KeyTypePassphrase KeyType = 5 // Argon2id, RFC 9106
)

// String returns the type's name as the command and the documents spell it.
func (t KeyType) String() string {
	switch t {
	case KeyTypeAES:
		return "aes"
	case KeyTypeRSA:
		return "rsa"
	case KeyTypeKMS:
		return "aws-kms"
	case KeyTypeHPKE:
		return "hpke"
	case KeyTypePassphrase:
		return "passphrase"
	}
	return fmt.Sprintf("type %#04x", uint16(t))
}

// A WrappedKey is the data key under one wrapping key.
type WrappedKey struct {
	Type KeyType // not zero
	Name string  // the wrapping key's name: at most MaxKeyNameSize bytes of UTF-8 without control characters; public
	Data []byte  // 1 to 65535 bytes; its exact size is the unwrapper's business
}

// An ExtensionType names an extension. Its top bit says whether a reader that
// does not know the type must refuse the stream (SPEC §12.4).
type ExtensionType uint16

// The extensions of version 1.
const (
	ExtensionContext  ExtensionType = 0x8001 // public pairs, passed to key services
	ExtensionMetadata ExtensionType = 0x0002 // sealed pairs
	ExtensionLocation ExtensionType = 0x8003 // where the stream is bound to

	criticalBit ExtensionType = 0x8000
)

// Critical reports whether a reader that does not know the type must refuse
// the stream.
func (t ExtensionType) Critical() bool { return t&criticalBit != 0 }

func (t ExtensionType) known() bool {
	return t == ExtensionContext || t == ExtensionMetadata || t == ExtensionLocation
}

// An Extension is an optional field of a header.
type Extension struct {
	Type  ExtensionType
	Value []byte
}

// A Header is everything in front of the segments. Only the holder of the data
// key can change it unnoticed, by way of the MAC.
type Header struct {
	Prelude
	Size          int    // H, of the whole header, MinHeaderSize to MaxHeaderSize
	Generation    uint32 // how often the stream was re-wrapped
	PlaintextSize int64  // bytes, or UnknownSize
	Keys          []WrappedKey
	Extensions    []Extension // strictly ascending by type
	MAC           [MACSize]byte
}

// Extension returns the value of the extension of type t, nil if h has none.
func (h *Header) Extension(t ExtensionType) []byte {
	for _, e := range h.Extensions {
		if e.Type == t {
			return e.Value
		}
	}
	return nil
}

// MinSize returns the smallest Size that h fits into, in bytes: that of a
// compact header.
func (h *Header) MinSize() int {
	n := fixedSize + MACSize
	for _, k := range h.Keys {
		n += wrappedKeyOverhead + len(k.Name) + len(k.Data)
	}
	for _, e := range h.Extensions {
		n += extensionOverhead + len(e.Value)
	}
	return n
}

// Append appends the Size bytes of h to dst, its MAC as it stands. It refuses
// with [ErrMalformed] or [ErrUnsupported] whatever [ParseHeader] would refuse,
// so that parsing what was appended gives h again.
func (h *Header) Append(dst []byte) ([]byte, error) {
	if err := h.check(); err != nil {
		return dst, err
	}
	start := len(dst)
	b := h.Prelude.Append(slices.Grow(dst, h.Size))
	b = binary.BigEndian.AppendUint32(b, uint32(h.Size))
	b = binary.BigEndian.AppendUint32(b, h.Generation)
	b = binary.BigEndian.AppendUint64(b, uint64(h.PlaintextSize)) // UnknownSize is 2^64-1
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.Keys)))
	for _, k := range h.Keys {
		b = binary.BigEndian.AppendUint16(b, uint16(k.Type))
		b = appendSized16(b, k.Name)
		b = appendSized16(b, k.Data)
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.Extensions)))
	for _, e := range h.Extensions {
		b = binary.BigEndian.AppendUint16(b, uint16(e.Type))
		b = binary.BigEndian.AppendUint32(b, uint32(len(e.Value)))
		b = append(b, e.Value...)
	}
	b = append(b, make([]byte, h.Size-MACSize-(len(b)-start))...)
	return append(b, h.MAC[:]...), nil
}

// check refuses what the parser refuses, by the same functions and at the same
// offsets, so that a header need not be parsed to know that it can be.
func (h *Header) check() error {
	if err := h.Prelude.check(); err != nil {
		return err
	}
	if err := checkSize(int64(h.Size)); err != nil {
		return err
	}
	if least := h.MinSize(); least > h.Size {
		return malformed(PreludeSize, "%d wrapped keys and %d extensions need %d bytes, the header has %d", len(h.Keys), len(h.Extensions), least, h.Size)
	}
	if err := h.checkPlaintextSize(); err != nil {
		return err
	}
	if err := checkKeyCount(len(h.Keys)); err != nil {
		return err
	}
	at := keysOffset
	for _, k := range h.Keys {
		if err := k.check(at); err != nil {
			return err
		}
		at += wrappedKeyOverhead + len(k.Name) + len(k.Data)
	}
	if err := checkExtensionCount(at, len(h.Extensions)); err != nil {
		return err
	}
	at += 2
	var previous ExtensionType
	for _, e := range h.Extensions {
		if err := e.check(at, previous); err != nil {
			return err
		}
		at += extensionOverhead + len(e.Value)
		previous = e.Type
	}
	return nil
}

// ParseHeader parses a whole header: b is exactly as long as its header size
// says (SPEC §3.2 to §3.5). Wrapped keys and extensions of the result alias b.
// The errors are those of [ParsePrelude]; [ErrUnsupported] also for an unknown
// critical extension. Appending the result gives b again: a header has one
// encoding.
func ParseHeader(b []byte) (*Header, error) {
	h := new(Header) // on the stack of a caller that ParseHeader is inlined into
	if err := h.parse(b); err != nil {
		return nil, err
	}
	return h, nil
}

func (h *Header) parse(b []byte) (err error) {
	if h.Prelude, err = ParsePrelude(b); err != nil {
		return err
	}
	if h.Size, err = HeaderSize(b); err != nil {
		return err
	}
	if len(b) != h.Size {
		return malformed(PreludeSize, "header size %d, but %d bytes of header", h.Size, len(b))
	}
	end := h.Size - MACSize
	h.MAC = [MACSize]byte(b[end:])
	r := reader{b: b[:end], off: PrefixSize}
	h.Generation = r.uint32("generation")
	h.parsePlaintextSize(&r)
	h.parseKeys(&r)
	h.parseExtensions(&r)
	r.zeros()
	return r.err
}

func (h *Header) parsePlaintextSize(r *reader) {
	h.PlaintextSize = int64(r.uint64("plaintext size"))
	if r.err == nil {
		r.fail(h.checkPlaintextSize())
	}
}

func (h *Header) checkPlaintextSize() error {
	if h.PlaintextSize == UnknownSize || 0 <= h.PlaintextSize && h.PlaintextSize <= h.Layout().MaxPlaintextSize() {
		return nil
	}
	return malformed(plaintextSizeOffset, "plaintext size %d is too large to be stored", uint64(h.PlaintextSize))
}

func (h *Header) parseKeys(r *reader) {
	count := int(r.uint16("number of wrapped keys"))
	if r.err == nil {
		r.fail(checkKeyCount(count))
	}
	if r.err != nil {
		return
	}
	h.Keys = make([]WrappedKey, count)
	for i := range h.Keys {
		at, k := r.off, &h.Keys[i]
		k.Type = KeyType(r.uint16("wrapped key type"))
		k.Name = string(r.sized16("key name"))
		k.Data = r.sized16("wrapped key")
		if r.err == nil {
			r.fail(k.check(at))
		}
		if r.err != nil {
			return
		}
	}
}

func checkKeyCount(n int) error {
	if n < 1 || n > MaxWrappedKeys {
		return malformed(keysOffset-2, "%d wrapped keys, expected 1 to %d", n, MaxWrappedKeys)
	}
	return nil
}

// check tells whether k may stand at byte at of a header (SPEC §3.3).
func (k *WrappedKey) check(at int) error {
	switch {
	case k.Type == 0:
		return malformed(at, "wrapped key type 0 is reserved")
	case !ValidKeyName(k.Name):
		return malformed(at+4, "key name is longer than %d bytes, not UTF-8, or has control characters", MaxKeyNameSize)
	case len(k.Data) == 0 || len(k.Data) > math.MaxUint16:
		return malformed(at, "wrapped key of %d bytes, expected 1 to %d", len(k.Data), math.MaxUint16)
	}
	return nil
}

func (h *Header) parseExtensions(r *reader) {
	at := r.off
	count := int(r.uint16("number of extensions"))
	if r.err == nil {
		r.fail(checkExtensionCount(at, count))
	}
	var previous ExtensionType
	for range count {
		at := r.off
		e := Extension{Type: ExtensionType(r.uint16("extension type")), Value: r.sized32("extension")}
		if r.err == nil {
			r.fail(e.check(at, previous))
		}
		if r.err != nil {
			return
		}
		previous = e.Type
		h.Extensions = append(h.Extensions, e)
	}
}

func checkExtensionCount(at, n int) error {
	if n > MaxExtensions {
		return malformed(at, "%d extensions, expected at most %d", n, MaxExtensions)
	}
	return nil
}

// check tells whether e may stand at byte at of a header, behind an extension
// of the previous type, and whether the value of a known one parses (SPEC §3.4).
func (e *Extension) check(at int, previous ExtensionType) error {
	switch {
	case e.Type&^criticalBit == 0:
		return malformed(at, "extension type %#04x is reserved", uint16(e.Type))
	case e.Type <= previous:
		return malformed(at, "extension type %#04x is not above the one before it", uint16(e.Type))
	case e.Type.Critical() && !e.Type.known():
		return unsupported(at, "critical extension %#04x", uint16(e.Type))
	}
	value := at + extensionOverhead
	switch e.Type {
	case ExtensionContext:
		_, err := parsePairs(e.Value, value)
		return err
	case ExtensionMetadata:
		if len(e.Value) <= SegmentOverhead {
			return malformed(value, "sealed metadata of %d bytes", len(e.Value))
		}
	case ExtensionLocation:
		if len(e.Value) == 0 || !utf8.Valid(e.Value) {
			return malformed(value, "location is empty or not UTF-8")
		}
	}
	return nil
}

// ValidKeyName reports whether name can name a wrapping key in a header: at
// most [MaxKeyNameSize] bytes of UTF-8 without control characters (below 0x20,
// and 0x7F). The empty name is valid here.
func ValidKeyName(name string) bool {
	if len(name) > MaxKeyNameSize || !utf8.ValidString(name) {
		return false
	}
	for i := range len(name) {
		if name[i] < 0x20 || name[i] == 0x7F {
			return false
		}
	}
	return true
}
