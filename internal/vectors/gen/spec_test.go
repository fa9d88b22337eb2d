package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
)

// sequence returns n bytes that count up from first.
func sequence(first byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = first + byte(i)
	}
	return b
}

// specValues is the block of SPEC §4.4.
func specValues() string {
	wrappingKey := sequence(0x40, 32)
	s := stream{
		magic: []byte("\x89BUL\r\n\x1a\n"), version: 1, suite: suiteAES, k: 16, flags: flagAssociatedData,
		dataKey: sequence(0, 32), iv: sequence(0x20, 32), ad: []byte("example"),
		sizeField: 5, plaintext: []byte("hello"), random: &source{buf: sequence(0x60, 12)},
	}
	s.keys = []wrappedKey{{1, "k", wrapAES(wrappingKey, s.dataKey)}}
	adh := sha256.Sum256(s.ad)
	segment, header := s.segments()[0], s.header()

	var b strings.Builder
	line := func(name string, value []byte) {
		for len(value) > 0 {
			n := min(32, len(value))
			fmt.Fprintf(&b, "%-15s  %x\n", name, value[:n])
			name, value = "", value[n:]
		}
	}
	line("data key", s.dataKey)
	line("associated data", s.ad)
	line("prelude[0:44]", s.bound())
	line("adh", adh[:])
	line("commitment", s.derive("commitment", 32))
	line("header key", s.derive("header", 32))
	line("meta key", s.derive("metadata", 32))
	line("stream key", s.derive("stream", 64))
	line("epoch key 0", s.epochKey(0))
	line("epoch key 1", s.epochKey(1))
	line("wrapping key", wrappingKey)
	line("wrapped key", s.keys[0].data)
	line("header MAC", header[len(header)-macSize:])
	line("nonce", segment[:12])
	line("segment 0", segment)
	line("stream", concat(header, segment))
	return b.String()
}

// specBounds is the table of SPEC §13.5.
func specBounds() string {
	const (
		object = 10000 * 5 << 30 // bytes
		header = 4096
	)
	pairs := func(n float64) float64 { return n * (n - 1) / 2 }
	var b strings.Builder
	b.WriteString("| k | S | N | segments an epoch | epochs | nonces | one key | distinguishing | one key | forgery, 01 | forgery, 02 | overhead |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for k := 12; k <= 24; k++ {
		size := int64(1) << k
		blocks := float64(size / 16)
		n := (object - header + size + overhead - 1) / (size + overhead)
		epoch := int64(1) << min(20, 36-k)
		calls := func(segments int64) float64 { return float64(segments)*(blocks+1) + 1 }
		var nonces, distinguishing float64
		for _, e := range []struct{ count, segments int64 }{{n / epoch, epoch}, {1, n % epoch}} {
			nonces += float64(e.count) * pairs(float64(e.segments))
			distinguishing += float64(e.count) * pairs(calls(e.segments))
		}
		fmt.Fprintf(&b, "| %d | %s | %d | 2^%d | %d", k, binarySize(size), n, min(20, 36-k), (n+epoch-1)/epoch)
		for _, p := range []float64{
			nonces / 0x1p96, pairs(float64(n)) / 0x1p96,
			distinguishing / 0x1p128, pairs(calls(n)) / 0x1p128,
			(blocks + 2) / 0x1p128, 8 * (blocks + 2) / 0x1p106,
		} {
			fmt.Fprintf(&b, " | %.1f", math.Log2(p))
		}
		fmt.Fprintf(&b, " | %.4f %% |\n", 100*overhead/float64(size))
	}
	return b.String()
}

func binarySize(n int64) string {
	if n >= 1<<20 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

// TestSpec compares what SPEC.md prints with what follows from it.
func TestSpec(t *testing.T) {
	requireGCM(t)
	spec, err := os.ReadFile("../../../SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	for section, block := range map[string]string{"§4.4": specValues(), "§13.5": specBounds()} {
		if !bytes.Contains(spec, []byte("\n"+block)) {
			t.Errorf("SPEC.md %s does not have these lines:\n%s", section, block)
		}
	}
}
