package format

import (
	"maps"
	"math"
	"slices"
	"unicode/utf8"
)

// AppendPairs appends a pair list (SPEC §3.4): the pairs in ascending order of
// their keys' bytes, so that equal maps have equal encodings. Keys are 1 to
// 65535 bytes, values 0 to 65535, both UTF-8; otherwise, and for no pairs at
// all, the error is [ErrMalformed]: a header without pairs has no such list.
func AppendPairs(dst []byte, pairs map[string]string) ([]byte, error) {
	if len(pairs) == 0 {
		return dst, malformed(0, "no pairs")
	}
	b := dst
	for _, key := range slices.Sorted(maps.Keys(pairs)) {
		value := pairs[key]
		if key == "" || len(key) > math.MaxUint16 || len(value) > math.MaxUint16 || !utf8.ValidString(key) || !utf8.ValidString(value) {
			return dst, malformed(len(b)-len(dst), "a pair's key is empty, or its key or value is over 65535 bytes or not UTF-8")
		}
		b = appendSized16(b, key)
		b = appendSized16(b, value)
	}
	return b, nil
}

// ParsePairs parses a whole pair list, the inverse of [AppendPairs]. A list in
// any other form is refused with [ErrMalformed].
func ParsePairs(b []byte) (map[string]string, error) { return parsePairs(b, 0) }

func parsePairs(b []byte, base int) (map[string]string, error) {
	if len(b) == 0 {
		return nil, malformed(base, "no pairs")
	}
	pairs := make(map[string]string)
	r := reader{b: b, base: base}
	previous := ""
	for r.err == nil && r.off < len(b) {
		at := base + r.off
		key, value := string(r.sized16("pair's key")), string(r.sized16("pair's value"))
		switch {
		case r.err != nil:
		case key <= previous: // also refuses the empty key
			r.fail(malformed(at, "a pair's key is empty or not above the one before it"))
		case !utf8.ValidString(key) || !utf8.ValidString(value):
			r.fail(malformed(at, "a pair is not UTF-8"))
		}
		pairs[key], previous = value, key
	}
	if r.err != nil {
		return nil, r.err
	}
	return pairs, nil
}
