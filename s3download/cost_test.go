package s3download

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// With the default header and segments of the default size, each range is at
// most two requests away, and at most three segments beyond the header.
func TestColdReadCost(t *testing.T) {
	const segment = 1 << format.DefaultSegmentExp
	const stored = segment + format.SegmentOverhead
	const n = 30*segment + 5
	plain := plaintext(n)
	f := newFake(encrypt(t, plain, stream.EncryptOptions{PlaintextSize: new(int64(n)), SegmentSize: segment}))
	for _, off := range []int{0, 1, segment - 1, segment, 2*segment + 7, 15 * segment, 29*segment + 1, n - segment, n - 1} {
		length := min(segment, n-off)
		for name, o := range map[string]*Options{"cold": nil, "prefetched": {Prefetch: Range{int64(off), int64(length)}}} {
			f.requests, f.served = nil, 0
			object := openFake(t, f, o)
			opened := f.count()
			p := make([]byte, length)
			if got, err := object.ReadAt(p, int64(off)); got != length || err != nil || !bytes.Equal(p, plain[off:off+length]) {
				t.Fatalf("%s: offset %d: %d, %v", name, off, got, err)
			}
			if f.count() > 2 || f.served > format.DefaultHeaderSize+3*stored {
				t.Errorf("%s: offset %d cost %d requests and %d bytes", name, off, f.count(), f.served)
			}
			if o != nil && f.count() != opened {
				t.Errorf("offset %d was prefetched and took another request", off)
			}
			if o != nil && off < 2*segment && opened != 1 {
				t.Errorf("offset %d is near the header, and took %d requests", off, opened)
			}
			closeFake(t, f, object)
		}
	}
}

// A wide header, and segments of another size, cost one request more.
func TestWrongGuessCost(t *testing.T) {
	plain := plaintext(100 * S)
	f := newFake(encrypt(t, plain, stream.EncryptOptions{PlaintextSize: new(int64(100 * S)), CompactHeader: true}))
	object := openFake(t, f, &Options{Prefetch: Range{90 * S, 100}})
	p := make([]byte, 100)
	if _, err := object.ReadAt(p, 90*S); err != nil || !bytes.Equal(p, plain[90*S:][:100]) {
		t.Fatal(err)
	}
	if f.count() > 3 {
		t.Errorf("%d requests", f.count())
	}
	eo := wideHeader()
	eo.PlaintextSize = new(int64(100 * S))
	f = newFake(encrypt(t, plain, eo))
	openFake(t, f, &Options{Prefetch: Range{1 << 40, 1}})
	if f.count() != 3 { // header, the prefetch that does not exist, the rest of the header
		t.Errorf("%d requests for a wide header", f.count())
	}
}

func TestUnknownSizeCost(t *testing.T) {
	f := newFake(encrypt(t, plaintext(5*S), stream.EncryptOptions{}))
	openFake(t, f, nil)
	if f.count() != 1 {
		t.Errorf("%d requests, though the final segment came with the first", f.count())
	}
	f = newFake(encrypt(t, plaintext(100*S), stream.EncryptOptions{}))
	openFake(t, f, nil)
	if f.count() != 2 {
		t.Errorf("%d requests, expected one for the final segment", f.count())
	}
}

func TestSequentialCost(t *testing.T) {
	const n = 16 << 20
	const windowSize = 2 << 20
	plain := plaintext(n)
	stored := encrypt(t, plain, stream.EncryptOptions{PlaintextSize: new(int64(n)), SegmentSize: 64 << 10})
	for how, growth := range map[string]int{"Read": 4, "Read32KiB": 4, "WriteTo": 1, "DownloadTo": 1} {
		f := newFake(stored)
		object := openFake(t, f, &Options{WindowSize: windowSize})
		if got, err := readers[how](t.Context(), object); err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%s: %d bytes, %v", how, len(got), err)
		}
		if limit := 1 + n/windowSize + growth; f.count() > limit {
			t.Errorf("%s: %d requests, expected at most %d", how, f.count(), limit)
		}
		if extra := f.served - int64(len(stored)); extra > 2*64<<10 {
			t.Errorf("%s: %d bytes were fetched twice", how, extra)
		}
	}
}

// What Open fetched is not fetched again, by whatever way it is read.
func TestSmallObjectCost(t *testing.T) {
	for _, n := range []int{0, 1, S, 5*S + 1} {
		for how, read := range readers {
			for _, eo := range []stream.EncryptOptions{known(n), {}} {
				f := newFake(encrypt(t, plaintext(n), eo))
				if got, err := read(t.Context(), openFake(t, f, nil)); err != nil || len(got) != n {
					t.Fatalf("%s: %d bytes, %v", how, len(got), err)
				}
				if f.count() != 1 {
					t.Errorf("%s: %d requests for %d bytes", how, f.count(), n)
				}
			}
		}
	}
}

// Adjacent segments that are missing come with one request; those between
// cached ones, with one each.
func TestRowsOfMisses(t *testing.T) {
	const n = 64 * S
	plain := plaintext(n)
	f := newFake(encrypt(t, plain, known(n)))
	for name, direct := range map[string]bool{"cached": false, "direct": true} {
		o := &Options{CacheSize: n, Prefetch: Range{1 << 30, 0}}
		if direct {
			o.CacheSize = 8 * S
		}
		object := openFake(t, f, o)
		read := func(off, length, requests int) {
			t.Helper()
			before := f.count()
			p := make([]byte, length)
			if _, err := object.ReadAt(p, int64(off)); err != nil || !bytes.Equal(p, plain[off:off+length]) {
				t.Fatal(err)
			}
			if got := f.count() - before; got != requests {
				t.Errorf("%s: %d bytes at %d took %d requests, expected %d", name, length, off, got, requests)
			}
		}
		read(10*S+5, 10, 1)
		read(12*S+5, 10, 1)
		read(10*S, S, 0)
		read(8*S+1, 8*S, 3) // 8 and 9, 11, 13 to 16
		if !direct {
			read(8*S, 8*S, 0)
		}
	}
}

// Leaving a window early must not fetch the rest of it.
func TestEarlyEnd(t *testing.T) {
	const n = 1000 * S
	f := newFake(encrypt(t, plaintext(n), known(n)))
	object := openFake(t, f, nil)
	before := f.served
	object.Seek(100*S, io.SeekStart)
	if _, err := io.ReadFull(object, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	object.Seek(500*S, io.SeekStart)
	if _, err := io.ReadFull(object, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if f.open != 1 {
		t.Errorf("%d bodies are open", f.open)
	}
	closeFake(t, f, object)
	if got := f.served - before; got > 2*(S+format.SegmentOverhead) {
		t.Errorf("%d bytes were read for two segments", got)
	}
}

// Segments that were wanted stay in the cache, rather than those that had to be
// fetched to open the object.
func TestSmallCacheKeepsPrefetch(t *testing.T) {
	const n = 100 * S
	for name, eo := range map[string]stream.EncryptOptions{"known": known(n), "unknown": {}} {
		for _, off := range []int64{0, 40 * S} {
			f := newFake(encrypt(t, plaintext(n), eo))
			object := openFake(t, f, &Options{CacheSize: 1, Prefetch: Range{off, 1}})
			if len(object.cache.entries) != 1 {
				t.Errorf("%s: %d segments are cached, expected 1", name, len(object.cache.entries))
			}
			if object.cache.entries[n/S] != nil {
				t.Errorf("%s: the cache keeps the final segment, not the prefetched range", name)
			}
		}
	}
}

// What a read in order allocates is bounded by the windows that are under way:
// buffers are used again, not made for each request.
func TestWriteToMemory(t *testing.T) {
	const n = 64 << 20
	f := newFake(encrypt(t, make([]byte, n), stream.EncryptOptions{PlaintextSize: new(int64(n)), SegmentSize: 64 << 10}))
	for _, how := range []string{"WriteTo", "DownloadTo", "Read"} {
		object := openFake(t, f, &Options{WindowSize: 1 << 20, Concurrency: 2, CacheSize: 1 << 20})
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		var err error
		switch how {
		case "WriteTo":
			_, err = object.WriteTo(io.Discard)
		case "DownloadTo":
			err = object.DownloadTo(t.Context(), &failingWriter{left: n})
		case "Read":
			_, err = io.CopyBuffer(onlyWriter{io.Discard}, onlyReader{object}, make([]byte, 32<<10))
		}
		runtime.ReadMemStats(&after)
		if allocated := after.TotalAlloc - before.TotalAlloc; err != nil || allocated > 4<<20 {
			t.Errorf("%s of %d bytes allocated %d bytes: %v", how, n, allocated, err)
		}
	}
}

// Nothing is allocated because an answer, or a header that is not authentic,
// says that much is to come.
func TestHostileSizes(t *testing.T) {
	stored := encrypt(t, plaintext(S), stream.EncryptOptions{})
	for _, total := range []string{maxInt, "1099511627776"} {
		for _, exp := range []byte{format.MinSegmentExp, format.MaxSegmentExp} {
			f := newFake(bytes.Clone(stored))
			f.data[10] = exp
			f.fault = func(int, *s3.GetObjectInput) fault {
				return editing(func(out *s3.GetObjectOutput) {
					first, _, _ := strings.Cut(*out.ContentRange, "-")
					*out.ContentRange = fmt.Sprintf("%s-%d/%s", first, format.DefaultHeaderSize+(64<<10)+format.SegmentOverhead-1, total)
					out.ContentLength = nil
				})
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Open(t.Context(), f, f.input(), key, &Options{Retries: -1})
			runtime.ReadMemStats(&after)
			if err == nil || after.TotalAlloc-before.TotalAlloc > 1<<20 {
				t.Errorf("total %s, segment exponent %d: %d bytes allocated, %v", total, exp, after.TotalAlloc-before.TotalAlloc, err)
			}
		}
	}
}
