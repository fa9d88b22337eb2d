package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
)

// A vector is one file: a stream, what was done to it, what the reader is
// given, and what must come of it.
type vector struct {
	stream
	name        string
	description string

	expect       string // class of SPEC §11, or ok
	expectRandom string // the same for random access, where it differs
	segment      int    // index of the segment that a sequential reader fails at, or -1
	released     int    // bytes that a sequential reader may release

	readerKeys     []wrappingKey
	readerAD       []byte
	context        map[string]string // what the header holds
	metadata       map[string]string
	requireContext map[string]string
	location       string
	anyLocation    bool
	maxHeaderSize  int
	maxSegmentSize int

	joined        bool                         // a detached stream given as one object
	split         bool                         // a stream with its header in front given as two objects
	noSegments    bool                         // the payload is changePayload's alone
	change        func(b []byte) []byte        // of the object, header and payload
	changeHeader  func(h []byte) []byte        // after the MAC
	changePayload func(segs [][]byte) [][]byte // of the segments
	changeObject  func(payload []byte) []byte  // of a detached stream's payload object
}

// A wrappingKey is a key that the reader has, for a line of the vector's file.
type wrappingKey struct {
	kind string // what the line begins with
	name string
	key  []byte
}

// The kinds of wrapping keys.
const (
	keyAES        = "aes-key"
	keyRSA        = "rsa-key"
	keyHPKE       = "hpke-key"
	keyPassphrase = "passphrase"
)

// A set collects the vectors.
type set struct{ vectors []*vector }

// add adds a vector, after setup has changed what differs from an intact
// stream of suite 1 with segments of 4 KiB, one wrapped key, an unpadded header
// and an unknown plaintext size.
func (c *set) add(name, expect, description string, setup func(v *vector)) {
	r := &source{seed: name}
	v := &vector{name: name, description: description, expect: expect, segment: -1, released: -1}
	v.stream = stream{
		magic: []byte("\x89BUL\r\n\x1a\n"), version: 1, suite: suiteAES, k: 12,
		iv: r.bytes(32), dataKey: r.bytes(32), sizeField: unknownSize, random: r,
	}
	v.addKey("backup", r.bytes(32))
	setup(v)
	if len(v.ad) > 0 && v.readerAD == nil {
		v.readerAD = v.ad
	}
	if v.released < 0 {
		v.released = 0
		if expect == "ok" {
			v.released = len(v.plaintext)
		}
	}
	c.vectors = append(c.vectors, v)
}

// addKey adds a wrapping key of type 0001, which the reader also has.
func (v *vector) addKey(name string, key []byte) {
	v.addWrapped(wrappedKey{1, name, wrapAES(key, v.dataKey)}, keyAES, key)
}

// addWrapped adds a wrapped key, and the wrapping key that the reader has for
// it.
func (v *vector) addWrapped(w wrappedKey, kind string, key []byte) {
	v.keys = append(v.keys, w)
	v.readerKeys = append(v.readerKeys, wrappingKey{kind, w.name, key})
}

// fill gives the stream n bytes of plaintext.
func (v *vector) fill(n int) { v.plaintext = v.random.bytes(n) }

// fillKnown is fill, with the plaintext size in the header.
func (v *vector) fillKnown(n int) {
	v.fill(n)
	v.sizeField = uint64(n)
}

// withAD makes the stream need associated data.
func (v *vector) withAD(ad string) {
	v.ad = []byte(ad)
	v.flags |= flagAssociatedData
}

func (v *vector) withContext(keysAndValues ...string) {
	v.exts = append(v.exts, extension{0x8001, pairs(keysAndValues...)})
	v.context = pairMap(keysAndValues)
}

func (v *vector) withMetadata(keysAndValues ...string) {
	v.exts = append(v.exts, extension{0x0002, v.sealMetadata(pairs(keysAndValues...))})
	v.metadata = pairMap(keysAndValues)
}

func pairMap(keysAndValues []string) map[string]string {
	m := make(map[string]string)
	for i := 0; i < len(keysAndValues); i += 2 {
		m[keysAndValues[i]] = keysAndValues[i+1]
	}
	return m
}

// file returns the contents of the vector's file.
func (v *vector) file() []byte {
	header := v.stream.header()
	var segs [][]byte
	if !v.noSegments {
		segs = v.segments()
	}
	if v.changeHeader != nil {
		header = v.changeHeader(header)
	}
	if v.changePayload != nil {
		segs = v.changePayload(segs)
	}
	payload := concat(segs...)
	detached := v.flags&flagDetached != 0
	if detached {
		payload = concat(v.bound(), v.derive("commitment", 32), payload)
		if v.changeObject != nil {
			payload = v.changeObject(payload)
		}
	}
	body := concat(header, payload)
	if v.change != nil {
		body = v.change(body)
	}

	var b strings.Builder
	line := func(key string, format string, args ...any) {
		fmt.Fprintf(&b, "%s: %s\n", key, fmt.Sprintf(format, args...))
	}
	line("description", "%s", v.description)
	line("expect", "%s", v.expect)
	if v.expectRandom != "" {
		line("expect-random", "%s", v.expectRandom)
	}
	if v.segment >= 0 {
		line("segment", "%d", v.segment)
	}
	if detached && !v.joined || v.split {
		line("header-size", "%d", len(header))
	}
	line("data-key", "%x", v.dataKey)
	for _, k := range v.readerKeys {
		if k.kind == keyPassphrase {
			line(k.kind, "%x", k.key)
		} else {
			line(k.kind, "%x %s", k.key, k.name)
		}
	}
	if len(v.readerAD) > 0 {
		line("associated-data", "%x", v.readerAD)
	}
	for _, m := range []struct {
		key   string
		pairs map[string]string
	}{{"context", v.context}, {"metadata", v.metadata}, {"require-context", v.requireContext}} {
		if m.pairs != nil {
			line(m.key, "%s", must(json.Marshal(m.pairs)))
		}
	}
	if v.location != "" {
		line("location", "%s", v.location)
	}
	if v.anyLocation {
		line("any-location", "true")
	}
	if v.maxHeaderSize > 0 {
		line("max-header-size", "%d", v.maxHeaderSize)
	}
	if v.maxSegmentSize > 0 {
		line("max-segment-size", "%d", v.maxSegmentSize)
	}
	line("plaintext-size", "%d", len(v.plaintext))
	line("plaintext-sha256", "%s", hexSHA256(v.plaintext))
	line("released-size", "%d", v.released)
	line("released-sha256", "%s", hexSHA256(v.plaintext[:v.released]))
	return concat([]byte(b.String()+"\n"), body)
}

func hexSHA256(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// set overwrites bytes at an offset.
func put(at int, value []byte) func([]byte) []byte {
	return func(b []byte) []byte {
		copy(b[at:], value)
		return b
	}
}

// flip changes one bit of the byte at an offset; a negative one counts from
// the end.
func flip(at int) func([]byte) []byte {
	return func(b []byte) []byte {
		if at < 0 {
			b[len(b)+at] ^= 1
		} else {
			b[at] ^= 1
		}
		return b
	}
}

// cut keeps n bytes.
func cut(n int) func([]byte) []byte {
	return func(b []byte) []byte { return b[:n] }
}
