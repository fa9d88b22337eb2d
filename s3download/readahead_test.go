package s3download

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// nothing is a prefetch of the header alone.
var nothing = Range{Offset: 1}

// readSteps reads the plaintext from off to end through ReadAt, in small steps.
func readSteps(t *testing.T, o *Object, plain []byte, off, end, step int) {
	t.Helper()
	p := make([]byte, step)
	for ; off < end; off += step {
		n := min(step, end-off)
		if got, err := o.ReadAt(p[:n], int64(off)); err != nil || !bytes.Equal(p[:n], plain[off:off+n]) {
			t.Fatalf("%d bytes at %d: %d, %v", n, off, got, err)
		}
	}
}

// Reads in order take ever fewer requests, and when they end, no more than a
// quarter was fetched for nothing.
func TestReadAheadCost(t *testing.T) {
	const n = 1000 * S
	plain := plaintext(n)
	f := newFake(encrypt(t, plain, known(n)))
	for _, length := range []int{1, 2, 3, 4, 5, 8, 20, 63, 200, 999} {
		for _, step := range []int{100, S, S + 1} {
			before, bytesBefore := f.count()+1, f.served+format.DefaultHeaderSize
			object := openFake(t, f, &Options{CacheSize: 400 * S, Prefetch: nothing})
			readSteps(t, object, plain, S, (1+length)*S, step)
			requests, fetched := f.count()-before, (f.served-bytesBefore)/(S+format.SegmentOverhead)
			if fetched > int64(length+length/4+1) {
				t.Errorf("steps of %d: %d segments were fetched for %d", step, fetched, length)
			}
			if limit := 6 + 10*len(bits(length)); requests > min(length, limit) {
				t.Errorf("steps of %d: %d requests for %d segments", step, requests, length)
			}
		}
	}
}

func bits(n int) (b []int) {
	for ; n > 7; n /= 8 {
		b = append(b, n)
	}
	return b
}

// Reads at random fetch what they need.
func TestReadAheadOfRandomReads(t *testing.T) {
	const n = 1000 * S
	plain := plaintext(n)
	f := newFake(encrypt(t, plain, known(n)))
	object := openFake(t, f, &Options{CacheSize: n, Prefetch: nothing})
	before, bytesBefore := f.count(), f.served
	order := rand.New(rand.NewPCG(1, 2)).Perm(500)
	for _, i := range order {
		readSteps(t, object, plain, 2*i*S, 2*i*S+10, 10) // each second segment: none follows another
	}
	if got := f.count() - before; got != 500 {
		t.Errorf("%d requests", got)
	}
	if got := f.served - bytesBefore; got != 500*(S+format.SegmentOverhead) {
		t.Errorf("%d bytes for 500 segments", got)
	}
}

// Several rows at a time are several rows.
func TestReadAheadOfColumns(t *testing.T) {
	const n, rows, length = 1000 * S, 8, 100
	plain := plaintext(n)
	f := newFake(encrypt(t, plain, known(n)))
	object := openFake(t, f, &Options{CacheSize: n, Prefetch: nothing})
	before := f.count()
	for i := range length {
		for r := range rows {
			readSteps(t, object, plain, (r*120+i)*S, (r*120+i+1)*S, S/2)
		}
	}
	if got := f.count() - before; got > rows*25 {
		t.Errorf("%d requests for %d rows of %d segments", got, rows, length)
	}
}

// A small cache holds what is read ahead until it is read.
func TestReadAheadInSmallCaches(t *testing.T) {
	const n = 200 * S
	plain := plaintext(n)
	f := newFake(encrypt(t, plain, known(n)))
	for _, size := range []int64{1, S, 4 * S, 8 * S, 20 * S} {
		before := f.served
		object := openFake(t, f, &Options{CacheSize: size, Prefetch: nothing})
		readSteps(t, object, plain, 0, n, 100)
		if len(object.cache.entries) > int(max(1, size/S)) {
			t.Errorf("a cache of %d bytes has %d segments", size, len(object.cache.entries))
		}
		if got := f.served - before; got > int64(len(f.data)) {
			t.Errorf("a cache of %d bytes: %d bytes fetched of %d", size, got, len(f.data))
		}
	}
}

// A segment that was read ahead and is not authentic fails nobody but those who
// want it.
func TestReadAheadOfDamage(t *testing.T) {
	const n = 100 * S
	plain := plaintext(n)
	for damaged := 1; damaged < 40; damaged++ {
		f := newFake(encrypt(t, plain, known(n)))
		f.data[format.DefaultHeaderSize+damaged*(S+format.SegmentOverhead)+20] ^= 1
		object := openFake(t, f, &Options{CacheSize: n, Prefetch: nothing})
		readSteps(t, object, plain, 0, damaged*S, S/2)
		readSteps(t, object, plain, 60*S, 61*S, S)
		if _, err := object.ReadAt(make([]byte, 1), int64(damaged)*S); !errors.Is(err, stream.ErrAuth) {
			t.Errorf("segment %d: %v", damaged, err)
		}
	}
}

// A request that breaks off in what was read ahead has done what it was for.
func TestReadAheadFails(t *testing.T) {
	const n = 100 * S
	plain := plaintext(n)
	stored := encrypt(t, plain, known(n))
	for k := 1; k < 20; k++ {
		for _, with := range []error{nil, errors.New("broken")} {
			f := newFake(stored)
			f.fault = func(i int, _ *s3.GetObjectInput) fault {
				if i == k {
					return cut(S+format.SegmentOverhead+10, with)
				}
				return fault{}
			}
			object := openFake(t, f, &Options{CacheSize: n, Prefetch: nothing, Retries: -1})
			if k < 5 { // one segment for each request, which is not cut
				readSteps(t, object, plain, 0, 4*S, S)
			}
			readSteps(t, object, plain, 0, n, S)
		}
	}
}

func TestReadAheadConcurrently(t *testing.T) {
	const n = 300*S + 5
	plain := plaintext(n)
	f := newFake(encrypt(t, plain, stream.EncryptOptions{}))
	for _, size := range []int64{8 * S, 40 * S, 400 * S} {
		object := openFake(t, f, &Options{CacheSize: size})
		var wg sync.WaitGroup
		for i := range 6 {
			wg.Go(func() {
				r := io.NewSectionReader(object, 0, object.Size())
				r.Seek(int64(i/2*50*S), io.SeekStart) // two of them read the same
				got, err := io.ReadAll(io.LimitReader(r, 150*S))
				if err != nil || !bytes.Equal(got, plain[i/2*50*S:][:150*S]) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			})
		}
		wg.Go(func() {
			if got, err := readers["Read"](t.Context(), object); err != nil || !bytes.Equal(got, plain) {
				t.Errorf("Read: %d bytes, %v", len(got), err)
			}
		})
		wg.Wait()
	}
}
