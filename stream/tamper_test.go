package stream_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// refused reports whether err is one of those that a tampered stream gives.
func refused(err error) bool {
	for _, class := range []error{
		format.ErrNotStream, format.ErrUnsupported, format.ErrMalformed, keywrap.ErrNoMatch, keywrap.ErrUnwrap,
		stream.ErrAuth, stream.ErrTruncated, stream.ErrSizeMismatch, stream.ErrPolicy, stream.ErrContext,
	} {
		if errors.Is(err, class) {
			return true
		}
	}
	return false
}

// mustRefuse reads a tampered stream in every way: each must give a typed
// error, the same twice, and release nothing but a prefix of the plaintext.
func mustRefuse(t *testing.T, what string, tampered, plaintext []byte) {
	t.Helper()
	r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(tampered), testKey, reading())
	var got bytes.Buffer
	if err == nil {
		_, err = r.WriteTo(&got)
		if _, again := r.Read(make([]byte, 1)); err == nil || again != err {
			t.Fatalf("%s: WriteTo gives %v, a later Read %v", what, err, again)
		}
	}
	if !refused(err) {
		t.Fatalf("%s: %v", what, err)
	}
	if !bytes.HasPrefix(plaintext, got.Bytes()) {
		t.Fatalf("%s: something else was released", what)
	}
	for _, step := range []int{100, segmentSize} {
		read, err := readTampered(t, tampered, step)
		if !refused(err) || !bytes.HasPrefix(plaintext, read) {
			t.Fatalf("%s, by %d: %d bytes, %v", what, step, len(read), err)
		}
	}
	at, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(tampered), int64(len(tampered)), testKey, reading())
	if err == nil {
		err = at.Verify(t.Context())
		if _, again := at.ReadAt(make([]byte, 1), 0); err == nil || err != again && at.Size() > 0 {
			t.Fatalf("%s: Verify gives %v, a later ReadAt %v", what, err, again)
		}
	}
	if !refused(err) {
		t.Fatalf("%s, ReadAt: %v", what, err)
	}
}

func readTampered(t *testing.T, tampered []byte, step int) ([]byte, error) {
	t.Helper()
	r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(tampered), testKey, reading())
	if err != nil {
		return nil, err
	}
	var all bytes.Buffer
	buf := make([]byte, step)
	for {
		n, err := r.Read(buf)
		all.Write(buf[:n])
		if err == io.EOF {
			return all.Bytes(), nil
		}
		if err != nil {
			return all.Bytes(), err
		}
	}
}

// rich are options that put something into every part of a header.
func rich() *stream.EncryptOptions {
	o := small()
	o.Context = keywrap.Context{"tenant": "a"}
	o.Metadata = map[string]string{"name": "x"}
	return o
}

func TestTamperHeader(t *testing.T) {
	plaintext := content(segmentSize + 5)
	for _, suite := range suites() {
		for _, declared := range []bool{false, true} {
			o := rich()
			o.Suite = suite
			o.CompactHeader = false
			if declared {
				o.PlaintextSize = new(int64(len(plaintext)))
			}
			stored := encrypt(t, plaintext, o)
			for i := range format.DefaultHeaderSize {
				changes := []byte{1, 0x80, 0xFF}
				if i > 600 && i < format.DefaultHeaderSize-format.MACSize { // padding
					changes = changes[i%3:][:1]
				}
				for _, change := range changes {
					tampered := bytes.Clone(stored)
					tampered[i] ^= change
					mustRefuse(t, fmt.Sprintf("%v: header byte %d ^ %#02x", suite, i, change), tampered, plaintext)
				}
			}
		}
	}
}

func TestTamperSegments(t *testing.T) {
	for _, size := range edgeSizes {
		plaintext := content(size)
		for _, declared := range []bool{false, true} {
			o := small()
			if declared {
				o.PlaintextSize = new(int64(size))
			}
			stored := encrypt(t, plaintext, o)
			info, err := stream.Inspect(stored)
			if err != nil {
				t.Fatal(err)
			}
			start := int(info.Layout.Start())
			segments := slices.Collect(slices.Chunk(stored[start:], segmentSize+28))
			name := fmt.Sprintf("%d bytes, declared %v: ", size, declared)

			for i, segment := range segments {
				for _, at := range []int{0, 11, 12, len(segment) / 2, len(segment) - 17, len(segment) - 16, len(segment) - 1} {
					tampered := bytes.Clone(stored)
					tampered[start+i*(segmentSize+28)+at] ^= 1 << (at % 8)
					mustRefuse(t, fmt.Sprintf("%ssegment %d, byte %d", name, i, at), tampered, plaintext)
				}
			}
			other := encrypt(t, plaintext, o)
			foreign := slices.Collect(slices.Chunk(other[start:], segmentSize+28))
			rebuild := func(segments ...[]byte) []byte {
				return slices.Concat(append([][]byte{stored[:start]}, segments...)...)
			}
			for i := range segments {
				mustRefuse(t, fmt.Sprintf("%ssegment %d dropped", name, i), rebuild(slices.Delete(slices.Clone(segments), i, i+1)...), plaintext)
				mustRefuse(t, fmt.Sprintf("%ssegment %d doubled", name, i), rebuild(slices.Insert(slices.Clone(segments), i, segments[i])...), plaintext)
				replaced := slices.Clone(segments)
				replaced[i] = foreign[i]
				mustRefuse(t, fmt.Sprintf("%ssegment %d of another stream", name, i), rebuild(replaced...), plaintext)
				for j := range i {
					swapped := slices.Clone(segments)
					swapped[i], swapped[j] = swapped[j], swapped[i]
					mustRefuse(t, fmt.Sprintf("%ssegments %d and %d swapped", name, i, j), rebuild(swapped...), plaintext)
				}
			}
			if got, err := decrypt(t, rebuild(segments...), nil); err != nil || !bytes.Equal(got, plaintext) {
				t.Fatalf("%srebuilt without a change: %v", name, err)
			}
			mustRefuse(t, name+"the payload of another stream", append(bytes.Clone(stored[:start]), other[start:]...), plaintext)
			mustRefuse(t, name+"two streams in a row", append(bytes.Clone(stored), other...), plaintext)
			for _, extra := range []int{1, 27, 28, 29, segmentSize + 28} {
				mustRefuse(t, fmt.Sprintf("%s%d bytes more", name, extra), append(bytes.Clone(stored), make([]byte, extra)...), plaintext)
			}
		}
	}
}

func TestEveryCut(t *testing.T) {
	plaintext := content(2*segmentSize + 3)
	for _, declared := range []bool{false, true} {
		o := small()
		if declared {
			o.PlaintextSize = new(int64(len(plaintext)))
		}
		stored := encrypt(t, plaintext, o)
		for n := range stored {
			if n%7 != 0 && n%(segmentSize+28) > 60 { // every cut near an edge, and some between
				continue
			}
			mustRefuse(t, fmt.Sprintf("cut to %d bytes", n), stored[:n], plaintext)
			_, err := decrypt(t, stored[:n], nil)
			if declared && n >= len(format.Magic) && !errors.Is(err, stream.ErrTruncated) {
				t.Fatalf("cut to %d bytes, with the size declared: %v", n, err)
			}
		}
	}
}

// TestSegmentErrorTellsWhere checks the fields of the error.
func TestSegmentErrorTellsWhere(t *testing.T) {
	stored := encrypt(t, content(3*segmentSize), small())
	stored[len(stored)-28-100] ^= 1 // in segment 2; the final one is empty
	_, err := decrypt(t, stored, nil)
	var e *stream.SegmentError
	if !errors.As(err, &e) || e.Index != 2 || e.Offset != 2*segmentSize || !errors.Is(err, stream.ErrAuth) {
		t.Errorf("%v", err)
	}
	at, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(stored), int64(len(stored)), testKey, reading())
	if err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 3*segmentSize)
	n, err := at.ReadAt(p, 0)
	if !errors.As(err, &e) || e.Index != 2 || n != 2*segmentSize || !bytes.Equal(p[:n], content(3 * segmentSize)[:n]) {
		t.Errorf("ReadAt: %d bytes, %v", n, err)
	}
	if !bytes.Equal(p[n:], make([]byte, segmentSize)) {
		t.Error("ReadAt left unauthenticated bytes in the caller's slice")
	}
	if _, err := at.ReadAt(p[:10], 0); !errors.Is(err, stream.ErrAuth) {
		t.Errorf("the failure is not final: %v", err)
	}
}

// TestRejectedPlaintextIsNotLeft reads into slices that have room for a whole
// segment; after a failure they hold none of its plaintext.
func TestRejectedPlaintextIsNotLeft(t *testing.T) {
	plaintext := content(segmentSize)
	stored := encrypt(t, plaintext, small())
	stored[len(stored)-29] ^= 1 // the tag of segment 0
	r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(stored), testKey, reading())
	if err != nil {
		t.Fatal(err)
	}
	p := bytes.Repeat([]byte{0xEE}, segmentSize+100)
	if n, err := r.Read(p); n != 0 || !errors.Is(err, stream.ErrAuth) {
		t.Fatalf("%d bytes, %v", n, err)
	}
	for i := 0; i+16 <= len(plaintext); i += 16 {
		if bytes.Contains(p, plaintext[i:i+16]) {
			t.Fatal("the caller's slice holds rejected plaintext")
		}
	}
}
