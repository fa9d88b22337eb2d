package e2e_test

import (
	"bytes"
	"io"
	"testing"

	"github.com/bulla-format/bulla/stream"
)

// checkObject decrypts what the store holds for key, from its file, and compares it with the text of the given size.
func (p *place) checkObject(t *testing.T, key string, size int64) {
	t.Helper()
	r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(p.stored(t, key)), p.keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := text(size).CheckFrom(0)
	if _, err := io.Copy(c, r); err != nil || c.Offset() != size {
		t.Errorf("the stored object: %d of %d bytes, %v", c.Offset(), size, err)
	}
}
