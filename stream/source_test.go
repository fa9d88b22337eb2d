package stream_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"runtime"
	"testing"
	"testing/iotest"

	"github.com/bulla-format/bulla/stream"
)

// sources are readers of the same bytes, some of which have them in memory.
func sources(b []byte) map[string]io.Reader {
	begun := bytes.NewReader(append([]byte("something else"), b...))
	begun.Seek(14, io.SeekStart)
	plain := func() io.Reader { return struct{ io.Reader }{bytes.NewReader(b)} }
	return map[string]io.Reader{
		"bytes.Reader":                bytes.NewReader(b),
		"bytes.Reader, begun":         begun,
		"bytes.Buffer":                bytes.NewBuffer(bytes.Clone(b)),
		"plain":                       plain(),
		"small bufio":                 bufio.NewReaderSize(plain(), 100),
		"bufio with room for a piece": bufio.NewReaderSize(plain(), segmentSize+28),
		"bufio with room for more":    bufio.NewReaderSize(plain(), 5*segmentSize/2),
		"bufio of one byte a time":    bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(b)), 2*segmentSize),
	}
}

// TestSourcesInMemory encrypts and decrypts from every kind of source, and
// looks whether the memory that it lent is as it was.
func TestSourcesInMemory(t *testing.T) {
	for _, size := range edgeSizes {
		plaintext := content(size)
		before := bytes.Clone(plaintext)
		for kind, src := range sources(plaintext) {
			for _, step := range []int{100, 3 * segmentSize} {
				name := fmt.Sprintf("%d bytes from %s by %d", size, kind, step)
				r, err := stream.NewEncryptReader(t.Context(), src, testKey, small())
				if err != nil {
					t.Fatal(err)
				}
				stored, err := readBy(r, step)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				got, err := decrypt(t, stored, nil)
				check(t, name, got, err, plaintext)
				if !bytes.Equal(plaintext, before) {
					t.Fatalf("%s: the source's memory was changed", name)
				}
				src = sources(plaintext)[kind]
			}
			var stored bytes.Buffer
			w, err := stream.NewEncryptWriter(t.Context(), &stored, testKey, small())
			if err != nil {
				t.Fatal(err)
			}
			n, err := w.ReadFrom(src)
			if err := errors.Join(err, w.Close()); err != nil || n != int64(size) {
				t.Fatalf("ReadFrom %s took %d bytes, %v", kind, n, err)
			}
			got, err := decrypt(t, stored.Bytes(), nil)
			check(t, "ReadFrom "+kind, got, err, plaintext)
		}
		stored := encrypt(t, plaintext, small())
		before = bytes.Clone(stored)
		for kind, src := range sources(stored) {
			for _, step := range []int{0, 1, 100, 3 * segmentSize} {
				name := fmt.Sprintf("%d bytes stored in %s by %d", size, kind, step)
				r, err := stream.NewDecryptReader(t.Context(), src, testKey, reading())
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				var got []byte
				if step > 0 {
					got, err = readBy(r, step)
				} else {
					var b bytes.Buffer
					_, err = r.WriteTo(&b)
					got = b.Bytes()
				}
				check(t, name, got, err, plaintext)
				if !bytes.Equal(stored, before) {
					t.Fatalf("%s: the source's memory was changed", name)
				}
				src = sources(stored)[kind]
			}
		}
	}
}

// TestBufferedSourceFails lets the source of a bufio.Reader fail behind each
// segment, and within.
func TestBufferedSourceFails(t *testing.T) {
	plaintext := content(5*segmentSize + 5)
	stored := encrypt(t, plaintext, small())
	for n := headerSize(t, stored); n < len(stored); n += 499 {
		for _, injected := range sourceErrors {
			src := io.MultiReader(bytes.NewReader(stored[:n]), iotest.ErrReader(injected))
			r, err := stream.NewDecryptReader(t.Context(), bufio.NewReaderSize(src, 2*segmentSize), testKey, reading())
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			whole := (n - headerSize(t, stored)) / (segmentSize + 28) * segmentSize
			if !errors.Is(err, injected) || errors.Is(err, stream.ErrTruncated) || !bytes.Equal(got, plaintext[:whole]) {
				t.Fatalf("%v after %d stored bytes: %d bytes, %v", injected, n, len(got), err)
			}
			if _, again := r.Read(make([]byte, 1)); again != err {
				t.Fatalf("a later Read: %v", again)
			}
		}
	}
}

// destinations are writers that have room of their own in which to seal and
// open, and one that has none, with what they then hold.
func destinations(size int) map[string]func() (io.Writer, func() []byte) {
	return map[string]func() (io.Writer, func() []byte){
		"bytes.Buffer": func() (io.Writer, func() []byte) {
			b := bytes.NewBufferString("before")
			return b, func() []byte { return bytes.TrimPrefix(b.Bytes(), []byte("before")) }
		},
		"bytes.Buffer with room": func() (io.Writer, func() []byte) {
			var b bytes.Buffer
			b.Grow(size + 1000)
			return &b, b.Bytes
		},
		"bufio.Writer": func() (io.Writer, func() []byte) {
			var b bytes.Buffer
			w := bufio.NewWriterSize(&b, 2*segmentSize+100)
			return w, func() []byte { w.Flush(); return b.Bytes() }
		},
		"plain": func() (io.Writer, func() []byte) {
			var b bytes.Buffer
			return struct{ io.Writer }{&b}, b.Bytes
		},
	}
}

func TestDestinations(t *testing.T) {
	for _, size := range append([]int{30 * segmentSize}, edgeSizes...) {
		plaintext := content(size)
		stored := encrypt(t, plaintext, small())
		for kind, destination := range destinations(2 * size) {
			for _, step := range []int{100, 5 * segmentSize, 40 * segmentSize} {
				dst, written := destination()
				w, err := stream.NewEncryptWriter(t.Context(), dst, testKey, small())
				if err != nil {
					t.Fatal(err)
				}
				_, err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{bytes.NewReader(plaintext)}, make([]byte, step))
				if err := errors.Join(err, w.Close()); err != nil {
					t.Fatal(err)
				}
				got, err := decrypt(t, written(), nil)
				check(t, fmt.Sprintf("%d bytes by %d to %s", size, step, kind), got, err, plaintext)
			}

			dst, written := destination()
			r, err := stream.NewEncryptReader(t.Context(), iotest.HalfReader(bytes.NewReader(plaintext)), testKey, small())
			if err != nil {
				t.Fatal(err)
			}
			n, err := r.WriteTo(dst)
			if err != nil || n != int64(len(written())) {
				t.Fatalf("%d bytes, EncryptReader.WriteTo %s: %d, %v", size, kind, n, err)
			}
			got, err := decrypt(t, written(), nil)
			check(t, "EncryptReader.WriteTo "+kind, got, err, plaintext)
			if _, err := r.Read(make([]byte, 1)); err != io.EOF {
				t.Errorf("Read after WriteTo: %v", err)
			}

			dst, written = destination()
			d, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(stored), testKey, reading())
			if err != nil {
				t.Fatal(err)
			}
			n, err = d.WriteTo(dst)
			if n != int64(size) {
				t.Errorf("%d bytes, DecryptReader.WriteTo %s: %d", size, kind, n)
			}
			check(t, "DecryptReader.WriteTo "+kind, written(), err, plaintext)
		}
	}
}

// TestEncryptReaderDestinationFaults lets the k-th write of WriteTo fail.
func TestEncryptReaderDestinationFaults(t *testing.T) {
	plaintext := content(5*segmentSize + 5)
	for k := 1; k <= 7; k++ {
		for _, injected := range []error{errInjected, nil} {
			dst := &faultyDestination{k: k, n: 3, err: injected}
			r, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(plaintext), testKey, small())
			if err != nil {
				t.Fatal(err)
			}
			want := injected
			if want == nil {
				want = io.ErrShortWrite
			}
			n, err := r.WriteTo(dst)
			if !errors.Is(err, want) || n != int64(dst.Len()) {
				t.Errorf("write %d fails with %v: %d bytes counted, %d written, %v", k, injected, n, dst.Len(), err)
			}
			if _, again := r.Read(make([]byte, 10)); again != err {
				t.Errorf("a later Read: %v", again)
			}
			mustNotDecrypt(t, fmt.Sprintf("write %d", k), dst.Bytes(), plaintext)
		}
	}
}

// TestReencryptingStopsAtDamage copies from a DecryptReader to an EncryptWriter
// as io.Copy does, which asks the reader first: when it fails, the writer must
// not make half a stream a whole one.
func TestReencryptingStopsAtDamage(t *testing.T) {
	plaintext := content(5*segmentSize + 5)
	stored := encrypt(t, plaintext, small())
	for _, damaged := range []bool{false, true} {
		if damaged {
			stored[len(stored)-1] ^= 1
		}
		r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(stored), testKey, reading())
		if err != nil {
			t.Fatal(err)
		}
		var dst bytes.Buffer
		w, err := stream.NewEncryptWriter(t.Context(), &dst, testKey, small())
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(w, r)
		closeErr := w.Close()
		if !damaged {
			got, decryptErr := decrypt(t, dst.Bytes(), nil)
			check(t, "undamaged", got, errors.Join(err, closeErr, decryptErr), plaintext)
			continue
		}
		if !errors.Is(err, stream.ErrAuth) || !errors.Is(closeErr, stream.ErrAuth) {
			t.Errorf("io.Copy: %v; Close: %v", err, closeErr)
		}
		mustNotDecrypt(t, "damaged", dst.Bytes(), plaintext)
	}
}

// TestReaderAtLeavesItsSourceAlone opens a bytes.Reader that stands somewhere.
func TestReaderAtLeavesItsSourceAlone(t *testing.T) {
	plaintext := content(3*segmentSize + 1)
	stored := encrypt(t, plaintext, small())
	src := bytes.NewReader(stored)
	src.Seek(77, io.SeekStart)
	r, err := stream.NewDecryptReaderAt(t.Context(), src, src.Size(), testKey, reading())
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(plaintext))
	_, err = r.ReadAt(got, 0)
	check(t, "ReadAt", got, err, plaintext)
	if src.Len() != len(stored)-77 {
		t.Errorf("the source was moved: %d of %d bytes left", src.Len(), len(stored))
	}
	if _, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(stored[:len(stored)-1]), int64(len(stored)), testKey, reading()); !errors.Is(err, stream.ErrTruncated) {
		t.Errorf("a source that is shorter than said: %v", err)
	}
}

// TestSmallStreamsNeedNoSegmentBuffers counts the bytes, none of which should depend
// on the segment size.
func TestSmallStreamsNeedNoSegmentBuffers(t *testing.T) {
	plaintext := content(1000)
	o := &stream.EncryptOptions{SegmentSize: 16 << 20, Workers: 8}
	stored := encrypt(t, plaintext, o)
	const bound = 64 << 10
	for what, run := range map[string]func(){
		"EncryptWriter": func() { encrypt(t, plaintext, o) },
		"EncryptReader": func() {
			r, err := stream.NewEncryptReader(t.Context(), struct{ io.Reader }{bytes.NewReader(plaintext)}, testKey, o)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.WriteTo(io.Discard); err != nil {
				t.Fatal(err)
			}
		},
		"DecryptReader": func() {
			r, err := stream.NewDecryptReader(t.Context(), struct{ io.Reader }{bytes.NewReader(stored)}, testKey, &stream.DecryptOptions{Workers: 8})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := r.WriteTo(io.Discard); err != nil {
				t.Fatal(err)
			}
		},
	} {
		const runs = 20
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range runs {
			run()
		}
		runtime.ReadMemStats(&after)
		if n := (after.TotalAlloc - before.TotalAlloc) / runs; n > bound {
			t.Errorf("%s: %d bytes allocated for a stream of %d", what, n, len(plaintext))
		}
	}
}
