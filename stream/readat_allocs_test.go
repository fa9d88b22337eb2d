//go:build !race

package stream_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/bulla-format/bulla/stream"
)

// TestReadAtDoesNotAllocate reads within segments, whole ones, and across.
// The race detector empties pools at random.
func TestReadAtDoesNotAllocate(t *testing.T) {
	stored := encrypt(t, content(100*segmentSize), small())
	for kind, src := range map[string]io.ReaderAt{"memory": bytes.NewReader(stored), "another source": struct{ io.ReaderAt }{bytes.NewReader(stored)}} {
		r, err := stream.NewDecryptReaderAt(t.Context(), src, int64(len(stored)), testKey, reading())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range [][2]int{{0, segmentSize}, {5, 100}, {segmentSize - 5, 10}, {segmentSize + 7, 80 * segmentSize}} {
			p := make([]byte, c[1])
			// Pools are emptied when garbage is collected: now and then counts.
			if n := testing.AllocsPerRun(200, func() { r.ReadAt(p, int64(c[0])) }); n >= 1 {
				t.Errorf("%d bytes at %d of %s: %v allocations", c[1], c[0], kind, n)
			}
		}
	}
}
