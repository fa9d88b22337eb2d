package fuzz

import (
	"bytes"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/vectors"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

var key = func() *keywrap.AESKey {
	k, err := keywrap.NewAESKey("fuzz", bytes.Repeat([]byte{1}, keywrap.AESKeySize))
	if err != nil {
		panic(err)
	}
	return k
}()

// FuzzStream encrypts anything in any steps and reads it back in all ways.
func FuzzStream(f *testing.F) {
	f.Add([]byte(nil), uint8(0), uint16(1), uint32(0), uint32(10), false)
	f.Add(make([]byte, 4096), uint8(1), uint16(4096), uint32(4095), uint32(2), true)
	f.Add(make([]byte, 9000), uint8(0), uint16(4124), uint32(100), uint32(8000), true)
	f.Fuzz(func(t *testing.T, plaintext []byte, options uint8, step uint16, off, n uint32, declare bool) {
		o := &stream.EncryptOptions{
			Suite:         []format.Suite{format.AES256GCM, format.ChaCha20Poly1305}[options&1],
			SegmentSize:   1 << (format.MinSegmentExp + int(options>>1&3)),
			CompactHeader: options&8 != 0,
		}
		if declare {
			o.PlaintextSize = new(int64(len(plaintext)))
		}
		if options&16 != 0 {
			o.Metadata, o.Context = map[string]string{"m": "1"}, keywrap.Context{"c": "2"}
		}
		stored := write(t, plaintext, o, int(step)+1)
		for name, source := range map[string]io.Reader{"Read": bytes.NewReader(stored), "Read by halves": iotest.HalfReader(bytes.NewReader(stored))} {
			r, err := stream.NewDecryptReader(t.Context(), source, key, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got bytes.Buffer
			if _, err := io.CopyBuffer(struct{ io.Writer }{&got}, struct{ io.Reader }{r}, make([]byte, int(step)+1)); err != nil || !bytes.Equal(got.Bytes(), plaintext) {
				t.Fatalf("%s: %d bytes, %v", name, got.Len(), err)
			}
		}
		at, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(stored), int64(len(stored)), key, nil)
		if err != nil || at.Size() != int64(len(plaintext)) {
			t.Fatalf("size of %d: %v", len(plaintext), err)
		}
		p := make([]byte, n%(1<<16))
		m, err := at.ReadAt(p, int64(off))
		from, to := min(int64(off), at.Size()), min(int64(off)+int64(len(p)), at.Size())
		if !bytes.Equal(p[:m], plaintext[from:to]) || (err == io.EOF) != (m < len(p) || int64(off) >= at.Size()) {
			t.Fatalf("ReadAt %d at %d: %d bytes, %v", len(p), off, m, err)
		}
	})
}

// write encrypts by Write, step bytes at a time, or with even steps by an
// EncryptReader that is read so.
func write(t *testing.T, plaintext []byte, o *stream.EncryptOptions, step int) []byte {
	var stored bytes.Buffer
	if step%2 == 0 {
		r, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(plaintext), key, o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyBuffer(struct{ io.Writer }{&stored}, struct{ io.Reader }{r}, make([]byte, step)); err != nil {
			t.Fatal(err)
		}
		return stored.Bytes()
	}
	w, err := stream.NewEncryptWriter(t.Context(), &stored, key, o)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for rest := plaintext; len(rest) > 0; {
		n, err := w.Write(rest[:min(step, len(rest))])
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return stored.Bytes()
}

// FuzzTamper edits a stream. What is released must be a prefix of the
// plaintext; a stream that reads to its end must be the one that was written;
// both readers must agree on that, and use little memory.
func FuzzTamper(f *testing.F) {
	f.Add(uint16(5000), uint32(0), byte(1), uint32(0), uint32(0), uint16(0), false)
	f.Add(uint16(9000), uint32(5000), byte(0), uint32(300), uint32(4424), uint16(4124), true)
	f.Fuzz(func(t *testing.T, size uint16, at uint32, change byte, from, to uint32, n uint16, declare bool) {
		plaintext := bytes.Repeat([]byte("0123456789abcdef!"), int(size)/17+1)[:size]
		o := &stream.EncryptOptions{SegmentSize: 1 << format.MinSegmentExp, CompactHeader: true, Context: keywrap.Context{"c": "1"}}
		if declare {
			o.PlaintextSize = new(int64(size))
		}
		original := write(t, plaintext, o, 4096)
		stored := bytes.Clone(original)
		stored[int(at)%len(stored)] ^= change
		moved := stored[min(int(from), len(stored)):]
		moved = bytes.Clone(moved[:min(int(n), len(moved))])
		copy(stored[min(int(to), len(stored)):], moved)
		if n%3 == 1 {
			stored = stored[:len(stored)-min(int(n), len(stored))]
		} else if n%3 == 2 {
			stored = append(stored, moved...)
		}
		readBoth(t, stored, original, plaintext)
	})
}

// FuzzDecrypt reads anything as a stream, with the keys of the test vectors
// and with unknown ones.
func FuzzDecrypt(f *testing.F) {
	for _, c := range vectors.Load(f) {
		if len(c.Payload) < 10_000 {
			f.Add(c.Payload)
		}
	}
	f.Fuzz(func(t *testing.T, stored []byte) { readBoth(t, stored, nil, nil) })
}

// readBoth reads stored from front to back and at random. original is the only
// stream that may read to its end.
func readBoth(t *testing.T, stored, original, plaintext []byte) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var got bytes.Buffer
	r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(stored), key, &stream.DecryptOptions{MaxSegmentSize: 1 << 20})
	if err == nil {
		_, err = r.WriteTo(&got)
	}
	if !bytes.HasPrefix(plaintext, got.Bytes()) {
		t.Fatalf("%d bytes were released that are not the plaintext's", got.Len())
	}
	same := original != nil && bytes.Equal(stored, original)
	if (err == nil) != same {
		t.Fatalf("unchanged %v, read with %v", same, err)
	}
	at, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(stored), int64(len(stored)), key, &stream.DecryptOptions{MaxSegmentSize: 1 << 20})
	if err == nil {
		err = at.Verify(t.Context())
	}
	if (err == nil) != same {
		t.Fatalf("unchanged %v, verified with %v", same, err)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 8<<20 {
		t.Fatalf("%d bytes were allocated for a stream of %d", used, len(stored))
	}
}
