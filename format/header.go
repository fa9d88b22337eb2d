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
	fixedSize          = PreludeSize + 4 + 4 + 8 + 2 + 2 // prelude, H, generation, plaintext size, R, E
	wrappedKeyOverhead = 2 + 2 + 2                       // type, key name size, size
	extensionOverhead  = 2 + 4                           // type, size
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
// with [ErrMalformed] whatever [ParseHeader] would refuse, so that parsing
// what was appended gives h again.
func (h *Header) Append(dst []byte) ([]byte, error) {
	start := len(dst)
	if h.Size > MaxHeaderSize || h.MinSize() > h.Size || len(h.Keys) > MaxWrappedKeys || len(h.Extensions) > MaxExtensions {
		return dst, malformed(PreludeSize, "%d wrapped keys and %d extensions need %d bytes, the header has %d of at most %d",
			len(h.Keys), len(h.Extensions), h.MinSize(), h.Size, MaxHeaderSize)
	}
	b := h.Prelude.Append(slices.Grow(dst, h.Size))
	b = binary.BigEndian.AppendUint32(b, uint32(h.Size))
	b = binary.BigEndian.AppendUint32(b, h.Generation)
	b = binary.BigEndian.AppendUint64(b, uint64(h.PlaintextSize)) // UnknownSize is 2^64-1
	b = binary.BigEndian.AppendUint16(b, uint16(len(h.Keys)))
	for _, k := range h.Keys {
		if len(k.Name) > MaxKeyNameSize || len(k.Data) > math.MaxUint16 {
			return dst, malformed(len(b)-start, "wrapped key of %d bytes with a name of %d", len(k.Data), len(k.Name))
		}
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
	b = append(b, h.MAC[:]...)
	if _, err := ParseHeader(b[start:]); err != nil {
		return dst, err
	}
	return b, nil
}

// ParseHeader parses a whole header: b is exactly as long as its header size
// says (SPEC §3.2 to §3.5). Wrapped keys and extensions of the result alias b.
// The errors are those of [ParsePrelude]; [ErrUnsupported] also for an unknown
// critical extension. Appending the result gives b again: a header has one
// encoding.
func ParseHeader(b []byte) (*Header, error) {
	p, err := ParsePrelude(b)
	if err != nil {
		return nil, err
	}
	size, err := HeaderSize(b)
	if err != nil {
		return nil, err
	}
	if len(b) != size {
		return nil, malformed(PreludeSize, "header size %d, but %d bytes of header", size, len(b))
	}
	h := &Header{Prelude: p, Size: size, MAC: [MACSize]byte(b[size-MACSize:])}
	r := reader{b: b[:size-MACSize], off: PrefixSize}
	h.Generation = r.uint32("generation")
	h.parsePlaintextSize(&r)
	h.parseKeys(&r)
	h.parseExtensions(&r)
	r.zeros()
	if r.err != nil {
		return nil, r.err
	}
	return h, nil
}

func (h *Header) parsePlaintextSize(r *reader) {
	at := r.off
	n := r.uint64("plaintext size")
	h.PlaintextSize = int64(n)
	if n == math.MaxUint64 || r.err != nil {
		return
	}
	if n > math.MaxInt64 || h.PlaintextSize > h.Layout().MaxPlaintextSize() {
		r.fail(malformed(at, "plaintext size %d is too large to be stored", n))
	}
}

func (h *Header) parseKeys(r *reader) {
	at := r.off
	count := int(r.uint16("number of wrapped keys"))
	if r.err == nil && (count < 1 || count > MaxWrappedKeys) {
		r.fail(malformed(at, "%d wrapped keys, expected 1 to %d", count, MaxWrappedKeys))
	}
	for range count {
		if r.err != nil {
			return
		}
		at := r.off
		k := WrappedKey{Type: KeyType(r.uint16("wrapped key type"))}
		name := r.sized16("key name")
		k.Name, k.Data = string(name), r.sized16("wrapped key")
		switch {
		case r.err != nil:
			return
		case k.Type == 0:
			r.fail(malformed(at, "wrapped key type 0 is reserved"))
		case len(name) > MaxKeyNameSize || !ValidKeyName(k.Name):
			r.fail(malformed(at+4, "key name is longer than %d bytes, not UTF-8, or has control characters", MaxKeyNameSize))
		case len(k.Data) == 0:
			r.fail(malformed(at, "empty wrapped key"))
		}
		h.Keys = append(h.Keys, k)
	}
}

func (h *Header) parseExtensions(r *reader) {
	at := r.off
	count := int(r.uint16("number of extensions"))
	if r.err == nil && count > MaxExtensions {
		r.fail(malformed(at, "%d extensions, expected at most %d", count, MaxExtensions))
	}
	var previous ExtensionType
	for range count {
		if r.err != nil {
			return
		}
		at := r.off
		e := Extension{Type: ExtensionType(r.uint16("extension type")), Value: r.sized32("extension")}
		switch {
		case r.err != nil:
			return
		case e.Type&^criticalBit == 0:
			r.fail(malformed(at, "extension type %#04x is reserved", uint16(e.Type)))
		case e.Type <= previous:
			r.fail(malformed(at, "extension type %#04x is not above the one before it", uint16(e.Type)))
		case e.Type.Critical() && !e.Type.known():
			r.fail(unsupported(at, "critical extension %#04x", uint16(e.Type)))
		default:
			r.fail(e.check(at + extensionOverhead))
		}
		previous = e.Type
		h.Extensions = append(h.Extensions, e)
	}
}

// check parses the value of a known extension, which begins at byte at of the
// header (SPEC §3.4).
func (e *Extension) check(at int) error {
	switch e.Type {
	case ExtensionContext:
		_, err := parsePairs(e.Value, at)
		return err
	case ExtensionMetadata:
		if len(e.Value) <= SegmentOverhead {
			return malformed(at, "sealed metadata of %d bytes", len(e.Value))
		}
	case ExtensionLocation:
		if len(e.Value) == 0 || !utf8.Valid(e.Value) {
			return malformed(at, "location is empty or not UTF-8")
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
