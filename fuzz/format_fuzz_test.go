package fuzz

import (
	"bytes"
	"errors"
	"maps"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/vectors"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// addHeaders seeds f with the headers of the test vectors.
func addHeaders(f *testing.F) {
	for _, c := range vectors.Load(f) {
		b := c.Payload
		if c.Header != nil {
			b = c.Header
		}
		if size, err := format.HeaderSize(b); err == nil && size <= len(b) {
			b = b[:size]
		}
		f.Add(b[:min(len(b), 8192)])
	}
}

// FuzzHeader parses anything as a header. What parses must append to the very
// bytes that were parsed, and Inspect must agree.
func FuzzHeader(f *testing.F) {
	addHeaders(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := format.ParseHeader(b)
		info, inspectErr := stream.Inspect(b)
		if err != nil {
			var e *format.Error
			if !errors.As(err, &e) || e.Offset < 0 || e.Offset > len(b) {
				t.Fatalf("error %v", err)
			}
			if inspectErr == nil && info.HeaderSize == len(b) {
				t.Fatalf("Inspect accepts what ParseHeader refuses: %v", err)
			}
			return
		}
		if inspectErr != nil || info.PlaintextSize != h.PlaintextSize || len(info.Keys) != len(h.Keys) {
			t.Fatalf("Inspect: %+v, %v", info, inspectErr)
		}
		again, err := h.Append(nil)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("parse then append is not the identity: %v", err)
		}
		if h.PlaintextSize != format.UnknownSize {
			stored, err := h.Layout().StoredSize(h.PlaintextSize)
			if err != nil {
				t.Fatalf("the header's plaintext size cannot be stored: %v", err)
			}
			if n, err := h.Layout().PlaintextSize(stored); n != h.PlaintextSize || err != nil {
				t.Fatalf("size %d comes back as %d, %v", h.PlaintextSize, n, err)
			}
		}
	})
}

// FuzzPairs parses anything as a pair list. What parses must append to the
// very bytes that were parsed.
func FuzzPairs(f *testing.F) {
	f.Add([]byte("\x00\x01a\x00\x01b"))
	f.Add([]byte("\x00\x01a\x00\x00\x00\x02aa\x00\x02\xc3\xa9"))
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		pairs, err := format.ParsePairs(b)
		if err != nil {
			if !errors.Is(err, format.ErrMalformed) {
				t.Fatal(err)
			}
			return
		}
		again, err := format.AppendPairs(nil, pairs)
		if err != nil || !bytes.Equal(again, b) {
			t.Fatalf("parse then append is not the identity: %v", err)
		}
		parsed, err := format.ParsePairs(again)
		if err != nil || !maps.Equal(parsed, pairs) {
			t.Fatalf("%v, %v", parsed, err)
		}
	})
}

// FuzzLayout checks sizes and ranges against each other.
func FuzzLayout(f *testing.F) {
	f.Add(int64(4096), uint8(16), int64(0), int64(1))
	f.Add(int64(76), uint8(24), int64(1)<<62, int64(1)<<62)
	f.Fuzz(func(t *testing.T, start int64, exp uint8, a, n int64) {
		l, err := format.NewLayout(start, exp)
		if err != nil {
			return
		}
		if stored, err := l.StoredSize(a); err == nil {
			if back, err := l.PlaintextSize(stored); back != a || err != nil {
				t.Fatalf("%d plaintext bytes come back as %d, %v", a, back, err)
			}
			if _, err := l.PlaintextSize(stored - 1); err == nil && a&int64(l.SegmentSize()-1) == 0 && stored > l.Start() {
				t.Fatalf("%d is no stored size", stored-1)
			}
		}
		if plaintext, err := l.PlaintextSize(a); err == nil {
			if back, err := l.StoredSize(plaintext); back != a || err != nil {
				t.Fatalf("%d stored bytes come back as %d, %v", a, back, err)
			}
		}
		first, end, err := l.SegmentRange(a, n)
		if err != nil {
			return
		}
		size := a + n // the range ends where the plaintext does
		from, to := l.StoredRange(first, end, size)
		if first > end || from > to || from < l.Start() {
			t.Fatalf("segments %d to %d at %d to %d", first, end, from, to)
		}
		stored, err := l.StoredSize(size)
		if err != nil || to > stored {
			t.Fatalf("the range ends at %d of %d, %v", to, stored, err)
		}
	})
}

// FuzzKeyText parses anything as the text of a key. What parses must print as
// it was, but for the line end.
func FuzzKeyText(f *testing.F) {
	k, err := keywrap.NewAESKey("backups 2026", make([]byte, keywrap.AESKeySize))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(k.SecretText())
	f.Add(append(k.SecretText(), '\n'))
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := keywrap.ParseAESKey(text)
		if err != nil {
			if !errors.Is(err, keywrap.ErrKeyFormat) {
				t.Fatal(err)
			}
			return
		}
		line := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
		if !bytes.Equal(k.SecretText(), line) {
			t.Fatal("parse then print is not the identity")
		}
	})
}
