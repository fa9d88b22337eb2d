package s3download

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"testing"
	"testing/iotest"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// small options make little data go a long way: several windows, a cache that
// evicts.
var small = Options{CacheSize: 4 * S, WindowSize: 3 * S, Concurrency: 3}

func TestReadWhole(t *testing.T) {
	layouts := map[string]func(n int) stream.EncryptOptions{
		"known":       known,
		"unknown":     func(int) stream.EncryptOptions { return stream.EncryptOptions{} },
		"compact":     func(int) stream.EncryptOptions { return stream.EncryptOptions{CompactHeader: true} },
		"64KiB":       func(int) stream.EncryptOptions { return stream.EncryptOptions{SegmentSize: 64 << 10} },
		"wide header": func(n int) stream.EncryptOptions { return wideHeader() },
	}
	for name, layout := range layouts {
		for i, at := range places {
			if i > 0 && name != "known" && name != "unknown" {
				continue
			}
			for _, n := range []int{0, 1, S - 1, S, S + 1, 2*S - 1, 2 * S, 2*S + 1, 7*S + 5, 40*S - 1, 40 * S} {
				plain := plaintext(n)
				stored := at.store(t, plain, layout(n))
				for how, read := range readers {
					for _, o := range []*Options{nil, &small} {
						t.Run(fmt.Sprintf("%s/%s/%d/%s/%t", name, at.name, n, how, o == nil), func(t *testing.T) {
							f := stored.clone()
							object := openFake(t, f, at.options(o))
							if object.Size() != int64(n) {
								t.Fatalf("size %d, expected %d", object.Size(), n)
							}
							got, err := read(t.Context(), object)
							if err != nil || !bytes.Equal(got, plain) {
								t.Fatalf("%d bytes and %v, expected the %d bytes of the plaintext", len(got), err, n)
							}
							if s := object.Stats(); s.Requests != int64(f.count()) || s.Bytes != f.served {
								t.Errorf("stats %+v, the store counted %d requests and %d bytes", s, f.count(), f.served)
							}
							checkPinned(t, f)
						})
					}
				}
			}
		}
	}
}

// wideHeader makes a header of two times the default size.
func wideHeader() stream.EncryptOptions {
	return stream.EncryptOptions{Context: map[string]string{"k": string(bytes.Repeat([]byte{'v'}, format.DefaultHeaderSize))}}
}

// checkPinned checks that all requests for the object but the first name the
// ETag, and that those for others do not.
func checkPinned(t *testing.T, f *fakeS3) {
	t.Helper()
	first := true
	for i, in := range f.requests {
		switch {
		case *in.Key != *f.input().Key:
			if in.IfMatch != nil {
				t.Errorf("request %d is for %s, and for the object's ETag", i, *in.Key)
			}
		case first:
			first = false
		case in.IfMatch == nil || *in.IfMatch != f.etag:
			t.Errorf("request %d is not pinned to the ETag", i)
		}
	}
}

func TestReaderContract(t *testing.T) {
	for _, at := range places {
		for _, n := range []int{0, 1, S, 3*S + 7, 8 * S} {
			plain := plaintext(n)
			f := at.store(t, plain, known(n))
			if err := iotest.TestReader(openFake(t, f, at.options(&small)), plain); err != nil {
				t.Errorf("%s, %d bytes: %v", at.name, n, err)
			}
		}
	}
}

// edges are the offsets around every segment edge of n plaintext bytes.
func edges(n int) (offsets []int) {
	for edge := 0; edge <= n+S; edge += S {
		for _, d := range []int{-1, 0, 1, S / 2} {
			if off := edge + d; off >= 0 && off <= n+1 {
				offsets = append(offsets, off)
			}
		}
	}
	return append(offsets, n-1, n)
}

func TestReadAtRanges(t *testing.T) {
	for _, at := range places {
		t.Run(at.name, func(t *testing.T) { testReadAtRanges(t, at) })
	}
}

func testReadAtRanges(t *testing.T, at place) {
	const n = 6*S + 100
	plain := plaintext(n)
	f := at.store(t, plain, known(n))
	shared := openFake(t, f, at.options(&small))
	for _, start := range edges(n) {
		for _, end := range edges(n) {
			if end < start {
				continue
			}
			fresh := f.clone()
			o := openFake(t, fresh, at.options(nil))
			for name, object := range map[string]*Object{"shared": shared, "fresh": o} {
				p := make([]byte, end-start)
				got, err := object.ReadAt(p, int64(start))
				expected := plain[min(start, n):min(end, n)]
				if !bytes.Equal(p[:got], expected) {
					t.Fatalf("%s: ReadAt %d to %d gave %d other bytes than expected", name, start, end, got)
				}
				if (got < len(p) || start >= n) != (err == io.EOF) || err != nil && err != io.EOF {
					t.Fatalf("%s: ReadAt %d to %d of %d: %d, %v", name, start, end, n, got, err)
				}
			}
			closeFake(t, fresh, o)
		}
	}
}

func TestSeekThenRead(t *testing.T) {
	const n = 6*S + 100
	plain := plaintext(n)
	f := newFake(encrypt(t, plain, known(n)))
	object := openFake(t, f, &small)
	for _, off := range edges(n) {
		for how, whence := range map[string]int{"start": io.SeekStart, "current": io.SeekCurrent, "end": io.SeekEnd} {
			arg := int64(off)
			switch whence {
			case io.SeekCurrent:
				arg -= object.offset
			case io.SeekEnd:
				arg -= n
			}
			got, err := object.Seek(arg, whence)
			if err != nil || got != int64(off) {
				t.Fatalf("Seek %d from %s: %d, %v", off, how, got, err)
			}
			rest, err := io.ReadAll(onlyReader{object})
			if err != nil || !bytes.Equal(rest, plain[min(off, n):]) {
				t.Fatalf("after Seek to %d from %s: %d bytes, %v", off, how, len(rest), err)
			}
			object.Seek(int64(off), io.SeekStart)
			var b bytes.Buffer
			if _, err := object.WriteTo(&b); err != nil || !bytes.Equal(b.Bytes(), plain[min(off, n):]) {
				t.Fatalf("WriteTo after Seek to %d: %d bytes, %v", off, b.Len(), err)
			}
			if end, _ := object.Seek(0, io.SeekCurrent); end != int64(max(off, n)) {
				t.Fatalf("offset %d after WriteTo from %d of %d", end, off, n)
			}
		}
	}
	for _, bad := range []struct {
		offset int64
		whence int
	}{{-1, io.SeekStart}, {-n - 1, io.SeekEnd}, {0, 3}} {
		before, _ := object.Seek(0, io.SeekCurrent)
		if _, err := object.Seek(bad.offset, bad.whence); err == nil {
			t.Errorf("Seek(%d, %d) succeeded", bad.offset, bad.whence)
		}
		if after, _ := object.Seek(0, io.SeekCurrent); after != before {
			t.Errorf("a failed Seek moved the offset from %d to %d", before, after)
		}
	}
	if _, err := object.ReadAt(make([]byte, 1), -1); err == nil || err == io.EOF {
		t.Errorf("ReadAt at a negative offset: %v", err)
	}
}

func TestDetached(t *testing.T) {
	const n = 20*S + 9
	plain := plaintext(n)
	for _, declared := range []bool{true, false} {
		eo := stream.EncryptOptions{Detached: true, SegmentSize: S}
		if declared {
			eo.PlaintextSize = new(int64(n))
		}
		r, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(plain), key, &eo)
		if err != nil {
			t.Fatal(err)
		}
		stored, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		f := newFake(stored)
		o := Options{
			Decrypt:  &stream.DecryptOptions{DetachedHeader: r.Header()},
			Prefetch: Range{17*S + 5, S},
		}
		object := openFake(t, f, &o)
		before := f.count()
		p := make([]byte, S)
		if _, err := object.ReadAt(p, 17*S+5); err != nil || !bytes.Equal(p, plain[17*S+5:][:S]) {
			t.Fatalf("the prefetched range: %v", err)
		}
		if f.count() != before {
			t.Error("a detached header leaves nothing to guess, and the guess was wrong")
		}
		var b bytes.Buffer
		if _, err := object.WriteTo(&b); err != nil || !bytes.Equal(b.Bytes(), plain) {
			t.Fatalf("WriteTo: %d bytes, %v", b.Len(), err)
		}
	}
	if _, err := Open(context.Background(), newFake(encrypt(t, plain, stream.EncryptOptions{Detached: true})), (&fakeS3{}).input(), key, nil); err == nil {
		t.Error("a detached stream was opened without its header")
	}
}
