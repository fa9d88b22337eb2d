package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"

	"golang.org/x/crypto/chacha20poly1305"
)

// A stream is what the reference writer turns into bytes (SPEC §3). Its fields
// go into the bytes as they are, so that a wrong one is wrong in a stream that
// is consistent otherwise: derived from it, and under the right MAC.
type stream struct {
	magic      []byte
	version    byte
	suite      byte
	k          byte
	flags      byte
	iv         []byte
	dataKey    []byte
	ad         []byte
	generation uint32
	sizeField  uint64 // the plaintext size as stored in the header
	keys       []wrappedKey
	exts       []extension
	headerSize int // H; 0 for a header without padding
	plaintext  []byte

	editBody func(h []byte) []byte // changes the header, which has no MAC yet, before the MAC is computed
	random   *source               // of nonces
}

type wrappedKey struct {
	kind uint16
	name string
	data []byte
}

type extension struct {
	kind  uint16
	value []byte
}

const (
	preludeSize = 76
	macSize     = 32
	unknownSize = 1<<64 - 1

	suiteAES    = 1
	suiteChaCha = 2

	flagDetached       = 1
	flagAssociatedData = 2
)

func u16(n int) []byte              { return binary.BigEndian.AppendUint16(nil, uint16(n)) }
func u32[N int | int64](n N) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
func u64(n uint64) []byte           { return binary.BigEndian.AppendUint64(nil, n) }

func concat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// expand is HKDF-Expand-SHA-512 for at most 64 bytes (SPEC §2.3).
func expand(key, info []byte, size int) []byte {
	mac := hmac.New(sha512.New, key)
	mac.Write(info)
	mac.Write([]byte{1})
	return mac.Sum(nil)[:size]
}

// segmentSize returns S.
func (s *stream) segmentSize() int { return 1 << s.k }

// bound returns the part of the prelude that enters every derivation.
func (s *stream) bound() []byte {
	return concat(s.magic, []byte{s.version, s.suite, s.k, s.flags}, s.iv)
}

// derive derives one key from the data key (SPEC §4.1).
func (s *stream) derive(label string, size int) []byte {
	adh := sha256.Sum256(s.ad)
	info := concat([]byte("bulla/v1\x00"+label+"\x00"), s.bound(), adh[:])
	return expand(s.dataKey, info, size)
}

// epochShift returns by how much an index is shifted to give its epoch
// (SPEC §4.3).
func epochShift(k byte) int { return min(20, 36-int(k)) }

func (s *stream) epochKey(epoch uint64) []byte {
	return expand(s.derive("stream", 64), concat([]byte("bulla/v1\x00epoch\x00"), u64(epoch)), 32)
}

func newAEAD(suite byte, key []byte) cipher.AEAD {
	if suite == suiteChaCha {
		return must(chacha20poly1305.New(key))
	}
	return must(cipher.NewGCM(must(aes.NewCipher(key))))
}

// seal seals segment i (SPEC §5.1).
func (s *stream) seal(i uint64, final bool, plaintext []byte) []byte {
	return s.sealUnder(i>>epochShift(s.k), i, final, plaintext)
}

// sealUnder seals segment i under the key of an epoch that need not be its own.
func (s *stream) sealUnder(epoch, i uint64, final bool, plaintext []byte) []byte {
	ad := append(u64(i), 0)
	if final {
		ad[8] = 1
	}
	nonce := s.random.bytes(12)
	return newAEAD(s.suite, s.epochKey(epoch)).Seal(nonce, nonce, plaintext, ad)
}

// segments returns the stored segments of the plaintext (SPEC §3.6).
func (s *stream) segments() [][]byte {
	var segs [][]byte
	rest := s.plaintext
	for len(rest) >= s.segmentSize() {
		segs = append(segs, s.seal(uint64(len(segs)), false, rest[:s.segmentSize()]))
		rest = rest[s.segmentSize():]
	}
	return append(segs, s.seal(uint64(len(segs)), true, rest))
}

// header returns the whole header (SPEC §3).
func (s *stream) header() []byte {
	h := concat(s.bound(), s.derive("commitment", 32))
	h = append(h, 0, 0, 0, 0) // H, below
	h = append(h, u32(int64(s.generation))...)
	h = append(h, u64(s.sizeField)...)
	h = append(h, u16(len(s.keys))...)
	for _, k := range s.keys {
		h = concat(h, u16(int(k.kind)), u16(len(k.name)), []byte(k.name), u16(len(k.data)), k.data)
	}
	h = append(h, u16(len(s.exts))...)
	for _, e := range s.exts {
		h = concat(h, u16(int(e.kind)), u32(len(e.value)), e.value)
	}
	size := max(s.headerSize, len(h)+macSize)
	h = append(h, make([]byte, size-macSize-len(h))...)
	copy(h[76:], u32(size))
	if s.editBody != nil {
		h = s.editBody(h)
	}
	return append(h, s.headerMAC(h)...)
}

// headerMAC returns the MAC of a header that has none yet (SPEC §4.2).
func (s *stream) headerMAC(h []byte) []byte {
	mac := hmac.New(sha256.New, s.derive("header", 32))
	mac.Write(h)
	return mac.Sum(nil)
}

// extensionsOffset returns the offset of E in the header.
func (s *stream) extensionsOffset() int {
	n := 94
	for _, k := range s.keys {
		n += 6 + len(k.name) + len(k.data)
	}
	return n
}

// pairs encodes a pair list from key, value, key, value... in the order given
// (SPEC §3.4).
func pairs(keysAndValues ...string) []byte {
	var b []byte
	for _, s := range keysAndValues {
		b = concat(b, u16(len(s)), []byte(s))
	}
	return b
}

// sealMetadata returns the value of a sealed metadata extension (SPEC §12.4).
func (s *stream) sealMetadata(list []byte) []byte {
	nonce := s.random.bytes(12)
	return newAEAD(s.suite, s.derive("metadata", 32)).Seal(nonce, nonce, list, nil)
}

// wrapAES is AES key wrap with the default initial value (RFC 3394 §2.2.1).
func wrapAES(wrappingKey, key []byte) []byte {
	block := must(aes.NewCipher(wrappingKey))
	n := len(key) / 8
	a := bytes.Repeat([]byte{0xA6}, 8)
	r := bytes.Clone(key)
	for j := range 6 {
		for i := range n {
			b := concat(a, r[8*i:8*i+8])
			block.Encrypt(b, b)
			binary.BigEndian.PutUint64(a, binary.BigEndian.Uint64(b)^uint64(n*j+i+1))
			copy(r[8*i:], b[8:])
		}
	}
	return concat(a, r)
}

// A source gives the same bytes for the same seed on every run.
type source struct {
	seed  string
	block uint64
	buf   []byte
}

func (r *source) bytes(n int) []byte {
	for len(r.buf) < n {
		sum := sha512.Sum512(concat([]byte("bulla test vectors\x00"+r.seed+"\x00"), u64(r.block)))
		r.buf = append(r.buf, sum[:]...)
		r.block++
	}
	b := bytes.Clone(r.buf[:n])
	r.buf = r.buf[n:]
	return b
}

// Read implements io.Reader with the same bytes.
func (r *source) Read(p []byte) (int, error) { return copy(p, r.bytes(len(p))), nil }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
