package stream_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// put seals the segments of plaintext in the given order and puts the payload
// together.
func put(t *testing.T, s *stream.Sealer, header, plaintext []byte, order []int) []byte {
	t.Helper()
	l := s.Layout()
	size, err := l.StoredSize(int64(len(plaintext)))
	if err != nil {
		t.Fatal(err)
	}
	stored := make([]byte, size)
	copy(stored, header[:l.Start()])
	final := int(l.FinalSegment(int64(len(plaintext))))
	for _, i := range order {
		at := l.SegmentOffset(int64(i))
		src := plaintext[i*l.SegmentSize() : min(len(plaintext), (i+1)*l.SegmentSize())]
		sealed := s.SealSegment(stored[:at], src, int64(i), i == final)
		if &sealed[0] != &stored[0] || len(sealed) != int(at)+len(src)+format.SegmentOverhead {
			t.Fatalf("segment %d: %d bytes from %d on", i, len(sealed), at)
		}
	}
	return stored
}

// TestSealer puts streams together in random order, by a Sealer of a new stream
// and by one that was opened from its header, each of which seals some
// segments, and some segments twice.
func TestSealer(t *testing.T) {
	for _, size := range edgeSizes {
		for _, detached := range []bool{false, true} {
			for _, known := range []bool{false, true} {
				o := small()
				o.Detached, o.AssociatedData, o.Metadata = detached, []byte("ad"), map[string]string{"name": "value"}
				plaintext := content(size)
				if known {
					o.PlaintextSize = new(int64(size))
				}
				begun, err := stream.NewSealer(t.Context(), testKey, o)
				if err != nil {
					t.Fatal(err)
				}
				defer begun.Close()
				declared := format.UnknownSize
				if known {
					declared = int64(size)
				}
				header, err := begun.Header(declared)
				if err != nil {
					t.Fatal(err)
				}
				again, err := stream.OpenSealer(t.Context(), header, testKey, o.AssociatedData)
				if err != nil {
					t.Fatal(err)
				}
				defer again.Close()
				complete, err := again.Header(int64(size))
				if err != nil || len(complete) != len(header) {
					t.Fatalf("%d header bytes, then %d: %v", len(header), len(complete), err)
				}
				if info, err := stream.Inspect(complete); err != nil || info.PlaintextSize != int64(size) {
					t.Fatalf("%+v, %v", info, err)
				}
				n := int(begun.Layout().FinalSegment(int64(size))) + 1
				first := put(t, begun, complete, plaintext, rand.Perm(n))
				second := put(t, again, complete, plaintext, rand.Perm(n))
				for i := range n {
					start, end := begun.Layout().StoredRange(int64(i), int64(i)+1, int64(size))
					if bytes.Equal(first[start:start+format.NonceSize], second[start:start+format.NonceSize]) {
						t.Fatal("a nonce was used twice")
					}
					if rand.N(2) == 0 {
						copy(first[start:end], second[start:end])
					}
				}
				d := &stream.DecryptOptions{AssociatedData: o.AssociatedData}
				if detached {
					d.DetachedHeader = complete
				}
				got, err := decrypt(t, first, d)
				check(t, fmt.Sprintf("%d bytes, detached %v, known %v", size, detached, known), got, err, plaintext)
			}
		}
	}
}

// TestSealerConcurrent seals every segment by several goroutines, across the
// edge of an epoch too, for which the race detector watches.
func TestSealerConcurrent(t *testing.T) {
	s, err := stream.NewSealer(t.Context(), testKey, small())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	header, err := s.Header(format.UnknownSize)
	if err != nil {
		t.Fatal(err)
	}
	plaintext := content(64*segmentSize + 5)
	stored := put(t, s, header, plaintext, nil)
	var wg sync.WaitGroup
	for i := range 65 {
		wg.Go(func() {
			end := min(len(plaintext), (i+1)*segmentSize)
			at := s.Layout().SegmentOffset(int64(i))
			s.SealSegment(stored[:at:at+int64(end-i*segmentSize)+format.SegmentOverhead], plaintext[i*segmentSize:end], int64(i), i == 64)
			s.SealSegment(room(segmentSize), plaintext[:segmentSize], 1<<20+int64(i%2), false) // of the next epoch
		})
	}
	wg.Wait()
	got, err := decrypt(t, stored, nil)
	check(t, "sealed at a time", got, err, plaintext)
}

// room returns room for a segment of n bytes.
func room(n int) []byte { return make([]byte, 0, n+format.SegmentOverhead) }

func TestSealerRefuses(t *testing.T) {
	o := small()
	o.PlaintextSize = new(int64(7))
	s, err := stream.NewSealer(t.Context(), testKey, o)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	header, err := s.Header(7)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Header(8); !errors.Is(err, stream.ErrSizeMismatch) {
		t.Errorf("another size than the declared one: %v", err)
	}
	open, err := stream.NewSealer(t.Context(), testKey, small())
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	for _, n := range []int64{-2, open.Layout().MaxPlaintextSize() + 1} {
		if _, err := open.Header(n); !errors.Is(err, stream.ErrTooLarge) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}

	other, err := keywrap.NewAESKey("test", bytes.Repeat([]byte{1}, keywrap.AESKeySize))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.OpenSealer(t.Context(), header, other, nil); !errors.Is(err, keywrap.ErrUnwrap) {
		t.Errorf("another key: %v", err)
	}
	if _, err := stream.OpenSealer(t.Context(), header, testKey, []byte("ad")); !errors.Is(err, stream.ErrPolicy) {
		t.Errorf("associated data that the stream has not: %v", err)
	}
	if _, err := stream.OpenSealer(t.Context(), header[:len(header)-1], testKey, nil); !errors.Is(err, stream.ErrTruncated) {
		t.Errorf("half a header: %v", err)
	}
	for i := range header {
		tampered := bytes.Clone(header)
		tampered[i] ^= 1
		if _, err := stream.OpenSealer(t.Context(), tampered, testKey, nil); err == nil {
			t.Errorf("byte %d of the header was changed, and nobody minded", i)
		}
	}
	if _, err := stream.NewSealer(t.Context(), testKey, &stream.EncryptOptions{SegmentSize: 5}); err == nil {
		t.Error("segments of 5 bytes")
	}

	for name, f := range map[string]func(){
		"too long":         func() { s.SealSegment(room(segmentSize+1), make([]byte, segmentSize+1), 0, false) },
		"short, not final": func() { s.SealSegment(room(segmentSize), make([]byte, segmentSize-1), 0, false) },
		"whole, yet final": func() { s.SealSegment(room(segmentSize), make([]byte, segmentSize), 0, true) },
		"negative index":   func() { s.SealSegment(room(1), make([]byte, 1), -1, true) },
		"index beyond":     func() { s.SealSegment(room(1), make([]byte, 1), 1<<62, true) },
		"room for less":    func() { s.SealSegment(room(0), make([]byte, 1), 0, true) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

// TestSourceMAC checks that the sum depends on the stream's data key, the
// plaintext and nothing else.
func TestSourceMAC(t *testing.T) {
	sum := func(s *stream.Sealer, plaintext string) string {
		t.Helper()
		mac, err := s.SourceMAC()
		if err != nil {
			t.Fatal(err)
		}
		mac.Write([]byte(plaintext))
		return string(mac.Sum(nil))
	}
	var sealers []*stream.Sealer
	for range 2 {
		s, err := stream.NewSealer(t.Context(), testKey, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		sealers = append(sealers, s)
	}
	header, err := sealers[0].Header(5)
	if err != nil {
		t.Fatal(err)
	}
	again, err := stream.OpenSealer(t.Context(), header, testKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	want := sum(sealers[0], "hello")
	if sum(again, "hello") != want || sum(sealers[0], "hello") != want {
		t.Error("the same stream and plaintext give other sums")
	}
	if sum(sealers[0], "hullo") == want || sum(sealers[1], "hello") == want {
		t.Error("another plaintext or another stream gives the same sum")
	}
}
