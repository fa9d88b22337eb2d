package format_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/bulla-format/bulla/format"
)

func testHeader() *format.Header {
	h := &format.Header{
		Prelude:       format.Prelude{Suite: format.AES256GCM, SegmentExp: 16},
		Generation:    7,
		PlaintextSize: 123456,
		Keys: []format.WrappedKey{
			{Type: format.KeyTypeAES, Name: "backups", Data: bytes.Repeat([]byte{1}, 40)},
			{Type: 0x7777, Name: "", Data: []byte{2}},
		},
		Extensions: []format.Extension{
			{Type: format.ExtensionMetadata, Value: bytes.Repeat([]byte{3}, 40)},
			{Type: 0x0004, Value: nil},
			{Type: format.ExtensionContext, Value: pairs(map[string]string{"a": "1", "b": ""})},
			{Type: format.ExtensionLocation, Value: []byte("s3://bucket/key")},
		},
	}
	for i := range h.IV {
		h.IV[i], h.Commitment[i], h.MAC[i] = byte(i), byte(0x40+i), byte(0x80+i)
	}
	h.Size = h.MinSize() + 9
	return h
}

func pairs(m map[string]string) []byte {
	b, err := format.AppendPairs(nil, m)
	if err != nil {
		panic(err)
	}
	return b
}

func encode(t *testing.T, h *format.Header) []byte {
	t.Helper()
	b, err := h.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// normalise makes nil and empty slices equal.
func normalise(h *format.Header) {
	for i := range h.Extensions {
		h.Extensions[i].Value = append([]byte{}, h.Extensions[i].Value...)
	}
}

func TestHeaderRoundTrip(t *testing.T) {
	small := &format.Header{
		Prelude:       format.Prelude{Suite: format.ChaCha20Poly1305, SegmentExp: 24, Flags: format.FlagDetached | format.FlagAssociatedData},
		PlaintextSize: format.UnknownSize,
		Keys:          []format.WrappedKey{{Type: 1, Data: []byte{0}}},
		Size:          format.MinHeaderSize,
	}
	many := testHeader()
	many.Keys = nil
	for range format.MaxWrappedKeys {
		many.Keys = append(many.Keys, format.WrappedKey{Type: 3, Name: strings.Repeat("n", format.MaxKeyNameSize), Data: []byte{1}})
	}
	many.Size = format.MaxHeaderSize
	for name, h := range map[string]*format.Header{"usual": testHeader(), "smallest": small, "largest": many} {
		b := encode(t, h)
		if len(b) != h.Size {
			t.Errorf("%s: %d bytes, expected %d", name, len(b), h.Size)
		}
		got, err := format.ParseHeader(b)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		normalise(got)
		normalise(h)
		if !reflect.DeepEqual(got, h) {
			t.Errorf("%s: parsed\n%+v\nappended\n%+v", name, got, h)
		}
		withPrefix, err := h.Append([]byte("before"))
		if err != nil || !bytes.Equal(withPrefix, append([]byte("before"), b...)) {
			t.Errorf("%s: appending to a prefix gives other bytes, %v", name, err)
		}
	}
}

// TestHeaderOneEncoding changes each bit of a header: what still parses must
// append to the very bytes that were parsed.
func TestHeaderOneEncoding(t *testing.T) {
	b := encode(t, testHeader())
	refused := 0
	for i := range b {
		for bit := range 8 {
			c := bytes.Clone(b)
			c[i] ^= 1 << bit
			h, err := format.ParseHeader(c)
			if err != nil {
				refused++
				checkError(t, err, len(c))
				continue
			}
			if again := encode(t, h); !bytes.Equal(again, c) {
				t.Fatalf("byte %d bit %d: parse then append is not the identity", i, bit)
			}
		}
	}
	if refused == 0 {
		t.Error("no change was refused")
	}
}

func checkError(t *testing.T, err error, size int) {
	t.Helper()
	var e *format.Error
	if !errors.As(err, &e) {
		t.Fatalf("error of type %T: %v", err, err)
	}
	if !errors.Is(err, format.ErrNotStream) && !errors.Is(err, format.ErrUnsupported) && !errors.Is(err, format.ErrMalformed) {
		t.Errorf("error of no class: %v", err)
	}
	if e.Offset < 0 || e.Offset > size {
		t.Errorf("offset %d in a header of %d bytes: %v", e.Offset, size, err)
	}
}

func TestHeaderEveryCut(t *testing.T) {
	b := encode(t, testHeader())
	for n := range b {
		_, err := format.ParseHeader(b[:n])
		if err == nil {
			t.Fatalf("the first %d of %d bytes parse", n, len(b))
		}
		checkError(t, err, n)
	}
	if _, err := format.ParseHeader(append(bytes.Clone(b), 0)); !errors.Is(err, format.ErrMalformed) {
		t.Errorf("a byte too many: %v", err)
	}
}

// TestHeaderRefused edits fields; each edit must be refused with its class,
// by Append as well as by ParseHeader.
func TestHeaderRefused(t *testing.T) {
	key := func(k format.WrappedKey) func(*format.Header) {
		return func(h *format.Header) { h.Keys[1] = k }
	}
	extension := func(i int, e format.Extension) func(*format.Header) {
		return func(h *format.Header) { h.Extensions[i] = e }
	}
	layout, err := format.NewLayout(int64(testHeader().Size), 16)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		edit  func(*format.Header)
		class error
	}{
		"suite 0":                     {func(h *format.Header) { h.Suite = 0 }, format.ErrUnsupported},
		"suite 3":                     {func(h *format.Header) { h.Suite = 3 }, format.ErrUnsupported},
		"segments of 2 KiB":           {func(h *format.Header) { h.SegmentExp = 11 }, format.ErrMalformed},
		"segments of 32 MiB":          {func(h *format.Header) { h.SegmentExp = 25 }, format.ErrMalformed},
		"flag bit 2":                  {func(h *format.Header) { h.Flags = 4 }, format.ErrMalformed},
		"flag bit 7":                  {func(h *format.Header) { h.Flags = 0x80 }, format.ErrMalformed},
		"header too small":            {func(h *format.Header) { h.Size = h.MinSize() - 1 }, format.ErrMalformed},
		"header too large":            {func(h *format.Header) { h.Size = format.MaxHeaderSize + 1 }, format.ErrMalformed},
		"plaintext size -2":           {func(h *format.Header) { h.PlaintextSize = -2 }, format.ErrMalformed},
		"plaintext size 2^63-1":       {func(h *format.Header) { h.PlaintextSize = math.MaxInt64 }, format.ErrMalformed},
		"plaintext size one too many": {func(h *format.Header) { h.PlaintextSize = layout.MaxPlaintextSize() + 1 }, format.ErrMalformed},
		"no wrapped key":              {func(h *format.Header) { h.Keys = nil }, format.ErrMalformed},
		"33 wrapped keys":             {func(h *format.Header) { h.Keys = make([]format.WrappedKey, 33); h.Size = 4096 }, format.ErrMalformed},
		"wrapped key type 0":          {key(format.WrappedKey{Type: 0, Data: []byte{1}}), format.ErrMalformed},
		"empty wrapped key":           {key(format.WrappedKey{Type: 1, Name: "n"}), format.ErrMalformed},
		"key name not UTF-8":          {key(format.WrappedKey{Type: 1, Name: "\xff", Data: []byte{1}}), format.ErrMalformed},
		"key name with a line end":    {key(format.WrappedKey{Type: 1, Name: "a\nb", Data: []byte{1}}), format.ErrMalformed},
		"key name with DEL":           {key(format.WrappedKey{Type: 1, Name: "a\x7fb", Data: []byte{1}}), format.ErrMalformed},
		"key name too long": {func(h *format.Header) {
			h.Keys[1].Name = strings.Repeat("n", format.MaxKeyNameSize+1)
			h.Size = h.MinSize()
		}, format.ErrMalformed},
		"wrapped key too long": {func(h *format.Header) { h.Keys[1].Data = make([]byte, 65536); h.Size = h.MinSize() }, format.ErrMalformed},
		"33 extensions": {func(h *format.Header) {
			h.Extensions = nil
			for i := range 33 {
				h.Extensions = append(h.Extensions, format.Extension{Type: format.ExtensionType(100 + i)})
			}
			h.Size = h.MinSize()
		}, format.ErrMalformed},
		"extension type 0":       {extension(0, format.Extension{Type: 0}), format.ErrMalformed},
		"extension type 8000":    {extension(2, format.Extension{Type: 0x8000}), format.ErrMalformed},
		"extension twice":        {extension(1, format.Extension{Type: format.ExtensionMetadata, Value: make([]byte, 29)}), format.ErrMalformed},
		"extensions descending":  {extension(1, format.Extension{Type: 1}), format.ErrMalformed},
		"unknown critical":       {extension(3, format.Extension{Type: 0x8004}), format.ErrUnsupported},
		"empty context":          {extension(2, format.Extension{Type: format.ExtensionContext}), format.ErrMalformed},
		"context cut":            {extension(2, format.Extension{Type: format.ExtensionContext, Value: []byte{0, 1, 'a', 0}}), format.ErrMalformed},
		"context descending":     {extension(2, format.Extension{Type: format.ExtensionContext, Value: []byte("\x00\x01b\x00\x00\x00\x01a\x00\x00")}), format.ErrMalformed},
		"context key twice":      {extension(2, format.Extension{Type: format.ExtensionContext, Value: []byte("\x00\x01a\x00\x00\x00\x01a\x00\x00")}), format.ErrMalformed},
		"context empty key":      {extension(2, format.Extension{Type: format.ExtensionContext, Value: []byte("\x00\x00\x00\x01a")}), format.ErrMalformed},
		"context key not UTF-8":  {extension(2, format.Extension{Type: format.ExtensionContext, Value: []byte("\x00\x01\xff\x00\x00")}), format.ErrMalformed},
		"context value no UTF-8": {extension(2, format.Extension{Type: format.ExtensionContext, Value: []byte("\x00\x01a\x00\x01\xff")}), format.ErrMalformed},
		"metadata of 28 bytes":   {extension(0, format.Extension{Type: format.ExtensionMetadata, Value: make([]byte, 28)}), format.ErrMalformed},
		"empty location":         {extension(3, format.Extension{Type: format.ExtensionLocation}), format.ErrMalformed},
		"location not UTF-8":     {extension(3, format.Extension{Type: format.ExtensionLocation, Value: []byte{0xff}}), format.ErrMalformed},
	} {
		h := testHeader()
		h.Size += 200 // room, so that only the edit can be refused
		c.edit(h)
		before := []byte("before")
		got, err := h.Append(before)
		if !errors.Is(err, c.class) {
			t.Errorf("%s: %v, expected %v", name, err, c.class)
		}
		if !bytes.Equal(got, before) {
			t.Errorf("%s: a refused header was appended", name)
		}
	}
}

func TestPaddingIsZero(t *testing.T) {
	h := testHeader()
	h.Size = h.MinSize() + 300
	b := encode(t, h)
	first, end := h.MinSize()-format.MACSize, h.Size-format.MACSize
	for i := first; i < end; i++ {
		b[i] = 1
		var e *format.Error
		if _, err := format.ParseHeader(b); !errors.As(err, &e) || e.Class != format.ErrMalformed || e.Offset != i {
			t.Fatalf("padding byte %d: %v", i, err)
		}
		b[i] = 0
	}
	copy(b[first:end], bytes.Repeat([]byte{1}, end-first))
	var e *format.Error
	if _, err := format.ParseHeader(b); !errors.As(err, &e) || e.Class != format.ErrMalformed || e.Offset != first {
		t.Errorf("no padding byte is zero: %v", err)
	}
}

func TestPreludeErrors(t *testing.T) {
	b := encode(t, testHeader())[:format.PreludeSize]
	for i := range len(format.Magic) {
		c := bytes.Clone(b)
		c[i] ^= 0x20
		if _, err := format.ParsePrelude(c); !errors.Is(err, format.ErrNotStream) {
			t.Errorf("magic byte %d: %v", i, err)
		}
	}
	for n := range b {
		if _, err := format.ParsePrelude(b[:n]); !errors.Is(err, format.ErrNotStream) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	for version := range 256 {
		c := bytes.Clone(b)
		c[8] = byte(version)
		if _, err := format.ParsePrelude(c); (err == nil) != (version == 1) || err != nil && !errors.Is(err, format.ErrUnsupported) {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

func TestHeaderSizeBounds(t *testing.T) {
	b := encode(t, testHeader())
	for size, ok := range map[uint32]bool{
		0: false, format.MinHeaderSize - 1: false, format.MinHeaderSize: true, 4096: true,
		format.MaxHeaderSize: true, format.MaxHeaderSize + 1: false, math.MaxUint32: false,
	} {
		c := append(bytes.Clone(b[:format.PreludeSize]), byte(size>>24), byte(size>>16), byte(size>>8), byte(size))
		got, err := format.HeaderSize(c)
		if ok != (err == nil) || ok && got != int(size) || !ok && !errors.Is(err, format.ErrMalformed) {
			t.Errorf("header size %d: %d, %v", size, got, err)
		}
	}
}

func TestPairs(t *testing.T) {
	for _, m := range []map[string]string{
		{"a": ""}, {"a": "1", "b": "2"}, {"b": "2", "a": "1", "aa": "é"}, {strings.Repeat("k", 65535): strings.Repeat("v", 65535)},
	} {
		got, err := format.ParsePairs(pairs(m))
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%.60v: %.60v, %v", m, got, err)
		}
	}
	for _, m := range []map[string]string{
		nil, {}, {"": "x"}, {"a\xff": ""}, {"a": "\xff"}, {strings.Repeat("k", 65536): ""}, {"k": strings.Repeat("v", 65536)},
	} {
		if _, err := format.AppendPairs(nil, m); !errors.Is(err, format.ErrMalformed) {
			t.Errorf("%.60v: %v", m, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, s := range []format.Suite{format.AES256GCM, format.ChaCha20Poly1305} {
		for _, name := range []string{s.String(), strings.ToUpper(s.String())} {
			if got, err := format.ParseSuite(name); got != s || err != nil {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
	}
	if _, err := format.ParseSuite("rot13"); !errors.Is(err, format.ErrUnsupported) {
		t.Errorf("rot13: %v", err)
	}
	if got := format.KeyType(0x1234).String(); got != "type 0x1234" {
		t.Errorf("unknown key type prints as %q", got)
	}
	if got := format.Suite(9).String(); got != "suite 0x09" {
		t.Errorf("unknown suite prints as %q", got)
	}
}
