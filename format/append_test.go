package format_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"

	"github.com/bulla-format/bulla/format"
)

// TestAppendAgreesWithParse makes headers of usual and of faulty fields,
// several faults in one header too. Append takes a header if and only if the
// parser takes its bytes, as an encoder that checks nothing writes them, and
// refuses it for the same reason at the same offset.
func TestAppendAgreesWithParse(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 0))
	taken, reasons := 0, make(map[string]bool)
	for range 20_000 {
		h := randomHeader(rng)
		encoded := encodeUnchecked(h)
		parsed, parseErr := format.ParseHeader(encoded)
		got, err := h.Append([]byte("before"))
		if parseErr == nil {
			taken++
			if err != nil || !bytes.Equal(got, append([]byte("before"), encoded...)) {
				t.Fatalf("%+v: the parser takes it, Append does not: %v", h, err)
			}
			if normalise(parsed); !reflect.DeepEqual(parsed, h) {
				t.Fatalf("parsed\n%+v\nappended\n%+v", parsed, h)
			}
			continue
		}
		if err == nil || err.Error() != parseErr.Error() || string(got) != "before" {
			t.Fatalf("%+v: Append says %v, the parser %v", h, err, parseErr)
		}
		var e *format.Error
		if !errors.As(err, &e) {
			t.Fatalf("error of type %T: %v", err, err)
		}
		reasons[strings.Map(dropDigit, e.Reason)] = true
	}
	if taken < 1000 || len(reasons) < 14 {
		t.Errorf("%d headers are taken, the others refused for %d reasons: the headers are not various enough", taken, len(reasons))
	}
}

func dropDigit(r rune) rune {
	if '0' <= r && r <= '9' {
		return -1
	}
	return r
}

// pick returns usual most of the time, so that many headers have one fault or
// none, and else one of the others.
func pick[T any](rng *rand.Rand, usual T, others ...T) T {
	if rng.IntN(12) > 0 {
		return usual
	}
	return others[rng.IntN(len(others))]
}

// randomHeader returns a header with room for its fields, which may be any.
func randomHeader(rng *rand.Rand) *format.Header {
	h := &format.Header{
		Prelude: format.Prelude{
			Suite:      pick(rng, format.AES256GCM, 0, format.ChaCha20Poly1305, 3),
			SegmentExp: pick(rng, uint8(16), 11, 12, 24, 25),
			Flags:      format.Flags(pick(rng, 0, 1, 2, 4, 0x80)),
		},
		Generation: rng.Uint32(),
		MAC:        [format.MACSize]byte{1},
	}
	for range pick(rng, 1+rng.IntN(3), 0, 32, 33) {
		h.Keys = append(h.Keys, format.WrappedKey{
			Type: format.KeyType(pick(rng, 1, 0, 7, 0xFFFF)),
			Name: pick(rng, "name", "", "é", "\xff", "a\x1f", "\x7f", strings.Repeat("n", format.MaxKeyNameSize), strings.Repeat("n", format.MaxKeyNameSize+1)),
			Data: pick(rng, []byte{1, 2}, []byte{}, make([]byte, 2000)),
		})
	}
	// In their order, with now and then one that is left out, doubled, unknown or reserved.
	types := []format.ExtensionType{1, format.ExtensionMetadata, 9, format.ExtensionContext, format.ExtensionLocation}
	for _, usual := range types {
		if rng.IntN(2) == 0 {
			h.Extensions = append(h.Extensions, extension(rng, pick(rng, usual, 0, 0x8000, 0x8004, 0x7FFF, 5, format.ExtensionContext)))
		}
	}
	if rng.IntN(40) == 0 {
		h.Extensions = nil
		for i := range 32 + rng.IntN(2) {
			h.Extensions = append(h.Extensions, format.Extension{Type: format.ExtensionType(100 + i), Value: []byte{}})
		}
	}
	h.Size = h.MinSize() + rng.IntN(50)
	max := h.Layout().MaxPlaintextSize()
	h.PlaintextSize = pick(rng, format.UnknownSize, 0, 123, max, max+1, -2, math.MinInt64, math.MaxInt64)
	return h
}

func extension(rng *rand.Rand, t format.ExtensionType) format.Extension {
	e := format.Extension{Type: t, Value: []byte("any")}
	switch t {
	case format.ExtensionMetadata:
		e.Value = make([]byte, pick(rng, 29, 0, 28, 100))
	case format.ExtensionContext:
		e.Value = []byte(pick(rng, "\x00\x01a\x00\x00\x00\x01b\x00\x01c", "", "\x00", "\x00\x01a\x00\x05b", "\x00\x01b\x00\x00\x00\x01a\x00\x00", "\x00\x01\xff\x00\x00", "\x00\x00\x00\x00"))
	case format.ExtensionLocation:
		e.Value = []byte(pick(rng, "s3://bucket/key", "", "\xff"))
	}
	return e
}

// encodeUnchecked encodes whatever h says.
func encodeUnchecked(h *format.Header) []byte {
	var b []byte
	add := func(size int, v uint64) {
		b = append(b, binary.BigEndian.AppendUint64(nil, v)[8-size:]...)
	}
	b = append(b, format.Magic...)
	add(1, format.Version)
	add(1, uint64(h.Suite))
	add(1, uint64(h.SegmentExp))
	add(1, uint64(h.Flags))
	b = append(append(b, h.IV[:]...), h.Commitment[:]...)
	add(4, uint64(h.Size))
	add(4, uint64(h.Generation))
	add(8, uint64(h.PlaintextSize))
	add(2, uint64(len(h.Keys)))
	for _, k := range h.Keys {
		add(2, uint64(k.Type))
		add(2, uint64(len(k.Name)))
		b = append(b, k.Name...)
		add(2, uint64(len(k.Data)))
		b = append(b, k.Data...)
	}
	add(2, uint64(len(h.Extensions)))
	for _, e := range h.Extensions {
		add(2, uint64(e.Type))
		add(4, uint64(len(e.Value)))
		b = append(b, e.Value...)
	}
	b = append(b, make([]byte, h.Size-format.MACSize-len(b))...)
	return append(b, h.MAC[:]...)
}
