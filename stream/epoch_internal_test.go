package stream

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"github.com/bulla-format/bulla/internal/segment"
	"github.com/bulla-format/bulla/keywrap"
)

// TestWriterAndReaderCrossEpochs writes and reads segments on both sides of
// the edge of an epoch, 2^20 segments into a stream, without the segments
// before them.
func TestWriterAndReaderCrossEpochs(t *testing.T) {
	key, err := keywrap.GenerateAESKey("k")
	if err != nil {
		t.Fatal(err)
	}
	const start = 1<<20 - 2
	if segment.EpochShift(12) != 20 {
		t.Fatal("the edge of an epoch is elsewhere")
	}
	defer SetBatchSize(1 << 12)()
	plaintext := bytes.Repeat([]byte("0123456789abcdef"), 5<<12/16)
	for _, workers := range []int{0, 3} {
		var stored bytes.Buffer
		w, err := NewEncryptWriter(t.Context(), &stored, key, &EncryptOptions{SegmentSize: 1 << 12, Workers: workers})
		if err != nil {
			t.Fatal(err)
		}
		w.enc.index = start
		for half := range slices.Chunk(plaintext, len(plaintext)/2) {
			if _, err := w.Write(half); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		open := func(start int64) ([]byte, error) {
			r, err := NewDecryptReader(t.Context(), bytes.NewReader(stored.Bytes()), key, &DecryptOptions{Workers: workers})
			if err != nil {
				t.Fatal(err)
			}
			r.index = start
			return io.ReadAll(r)
		}
		if got, err := open(start); err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("%d workers: %d bytes, %v", workers, len(got), err)
		}
		if _, err := open(start + 1); err == nil {
			t.Errorf("%d workers: segments open at another index", workers)
		}
	}
}

// TestSecretsAreCleared looks at the buffers behind writers and readers that
// have ended.
func TestSecretsAreCleared(t *testing.T) {
	key, err := keywrap.GenerateAESKey("k")
	if err != nil {
		t.Fatal(err)
	}
	secret := []byte("a secret of some length")
	for name, end := range map[string]func(*EncryptWriter){
		"Close": func(w *EncryptWriter) { w.Close() },
		"Abort": func(w *EncryptWriter) { w.Abort() },
		"grow":  func(w *EncryptWriter) { w.grow(2 * len(w.buf)) },
	} {
		w, err := NewEncryptWriter(t.Context(), io.Discard, key, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(secret); err != nil {
			t.Fatal(err)
		}
		buf := w.buf
		if !bytes.Contains(buf, secret) {
			t.Fatal("the buffer does not hold the partial segment")
		}
		end(w)
		if bytes.Contains(buf, secret) {
			t.Errorf("%s leaves plaintext behind", name)
		}
	}
}
