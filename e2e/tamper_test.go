package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"testing"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// A small stream of several segments, so that every place in it can be damaged in turn.
const (
	tinySegment = 4096
	tinyStored  = tinySegment + 28
	tinyCount   = 5 // segments, the final one of 100 bytes included
	tinySize    = (tinyCount-1)*tinySegment + 100
)

var tiny = &s3upload.Options{Encrypt: &stream.EncryptOptions{SegmentSize: tinySegment}}

// readStored replaces the stored bytes of key with b, behind the store's back, and reads the object to its end. It
// checks that what came before an error is a prefix of the plaintext.
func (p *place) readStored(t *testing.T, key string, b []byte) (n int64, err error) {
	t.Helper()
	if err := os.WriteFile(server.PathOnDisk(p.bucket, key), b, 0o600); err != nil {
		t.Fatal(err)
	}
	object, err := s3download.Open(t.Context(), p.direct, p.get(key), p.keys, nil)
	if err != nil {
		return 0, err
	}
	defer object.Close()
	check := text(tinySize).CheckFrom(0)
	_, err = io.Copy(check, struct{ io.Reader }{object})
	return check.Offset(), err
}

// Errors that mean that stored bytes are wrong. One of them, and nothing else, is what every damage gives.
var wrongBytes = is(format.ErrNotStream, format.ErrUnsupported, format.ErrMalformed, keywrap.ErrNoMatch, keywrap.ErrUnwrap,
	stream.ErrAuth, stream.ErrTruncated, stream.ErrSizeMismatch, stream.ErrPolicy)

// A wrong bit anywhere in the header refuses the stream; in a segment, it is found in that segment.
func TestDamagedByte(t *testing.T) {
	p := newPlace(t)
	p.store(t, "key", tinySize, tiny)
	good := p.stored(t, "key")
	if n, err := p.readStored(t, "key", good); err != nil || n != tinySize {
		t.Fatalf("undamaged: %d bytes, %v", n, err)
	}
	var offsets []int
	for off := range header {
		if off < 600 || off >= header-32 || off%61 == 0 {
			offsets = append(offsets, off)
		}
	}
	for off := header; off < len(good); off += 509 {
		offsets = append(offsets, off)
	}
	for i := range tinyCount { // nonce, ciphertext and tag of each segment
		at := header + i*tinyStored
		end := min(at+tinyStored, len(good))
		offsets = append(offsets, at, at+11, at+12, end-17, end-16, end-1)
	}
	for _, off := range offsets {
		bad := bytes.Clone(good)
		bad[off] ^= 1 << (off % 8)
		n, err := p.readStored(t, "key", bad)
		if !wrongBytes(err) {
			t.Errorf("byte %d: %d bytes came, %v", off, n, err)
			continue
		}
		if off < header {
			if n != 0 {
				t.Errorf("byte %d of the header: %d bytes came", off, n)
			}
			continue
		}
		index := int64(off-header) / tinyStored
		segmentErr, ok := errors.AsType[*stream.SegmentError](err)
		if !ok || !errors.Is(err, stream.ErrAuth) || segmentErr.Index != index || segmentErr.Offset != index*tinySegment || n > index*tinySegment {
			t.Errorf("byte %d, in segment %d: %d bytes came, %v", off, index, n, err)
		}
	}
}

// The same when the byte changes on the way, for reads that begin anywhere.
func TestDamagedOnTheWay(t *testing.T) {
	p := newPlace(t)
	p.store(t, "key", large, parts5)
	for _, index := range []int64{0, 1, 100, large/segment - 1, large / segment} {
		p.connect(t)
		p.proxy.Add(faultproxy.Rule{Op: faultproxy.GetObject, Fault: faultproxy.FlipBit(header+index*storedSegment+13, 3)})
		for name, read := range ways {
			object, err := s3download.Open(t.Context(), p.client, p.get("key"), p.keys, nil)
			n := int64(0)
			if err == nil {
				n, err = read(t.Context(), object)
				object.Close()
			}
			segmentErr, ok := errors.AsType[*stream.SegmentError](err)
			if !ok || !errors.Is(err, stream.ErrAuth) || segmentErr.Index != index || n > index*segment {
				t.Errorf("%s, segment %d: %d bytes came, %v", name, index, n, err)
			}
		}
		// A read elsewhere does not meet it.
		elsewhere := int64(10 * mib)
		object, err := s3download.Open(t.Context(), p.client, p.get("key"), p.keys,
			&s3download.Options{Prefetch: s3download.Range{Offset: elsewhere, Length: 1}})
		if err != nil {
			t.Errorf("open, segment %d is wrong: %v", index, err)
			continue
		}
		buf := make([]byte, 1000)
		if _, err := object.ReadAt(buf, elsewhere); err != nil {
			t.Errorf("a read elsewhere, segment %d is wrong: %v", index, err)
		}
		object.Close()
	}
}

// Stored bytes that are cut, added, exchanged, left out or doubled.
func TestDamagedOrder(t *testing.T) {
	for _, unknown := range []bool{false, true} {
		t.Run(fmt.Sprintf("unknown size %v", unknown), func(t *testing.T) {
			p := newPlace(t)
			body := io.Reader(text(tinySize).Reader())
			if unknown {
				body = struct{ io.Reader }{body}
			}
			if _, err := s3upload.New(p.direct, p.keys, tiny).Upload(t.Context(), p.put("key", body)); err != nil {
				t.Fatal(err)
			}
			good := p.stored(t, "key")
			p.store(t, "other", tinySize, tiny)
			other := p.stored(t, "other")

			segmentOf := func(b []byte, i int) []byte { return b[header+i*tinyStored : min(header+(i+1)*tinyStored, len(b))] }
			join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
			rest := good[header+2*tinyStored:]
			for name, tc := range map[string]struct {
				stored []byte
				is     func(error) bool
			}{
				"segments 0 and 1 exchanged": {join(good[:header], segmentOf(good, 1), segmentOf(good, 0), rest), is(stream.ErrAuth)},
				"segment 1 doubled":          {join(good[:header], segmentOf(good, 0), segmentOf(good, 1), segmentOf(good, 1), rest), is(stream.ErrAuth, stream.ErrSizeMismatch)},
				"segment 1 left out":         {join(good[:header], segmentOf(good, 0), rest), is(stream.ErrAuth, stream.ErrTruncated)},
				"segment 1 of another":       {join(good[:header], segmentOf(good, 0), segmentOf(other, 1), rest), is(stream.ErrAuth)},
				"all segments of another":    {join(good[:header], other[header:]), is(stream.ErrAuth)},
				"header of another":          {join(other[:header], good[header:]), is(stream.ErrAuth)},
				"a byte more":                {join(good, []byte{0}), is(stream.ErrAuth, stream.ErrSizeMismatch)},
				"the final segment twice":    {join(good, segmentOf(good, tinyCount-1)), is(stream.ErrAuth, stream.ErrSizeMismatch)},
				"another stream behind":      {join(good, other), is(stream.ErrAuth, stream.ErrSizeMismatch)},
				"nothing":                    {nil, is(format.ErrNotStream)},
				"not a stream":               {[]byte("PK\x03\x04"), is(format.ErrNotStream)},
				"plaintext":                  {bytes.Repeat([]byte("plain "), 2000), is(format.ErrNotStream)},
			} {
				if n, err := p.readStored(t, "key", tc.stored); !tc.is(err) {
					t.Errorf("%s: %d bytes came, %v", name, n, err)
				}
			}
			for size := range len(good) {
				edge := (size - header + tinyStored) % tinyStored
				if size > 100 && edge > 30 && edge < tinyStored-2 && size%512 != 0 {
					continue
				}
				if n, err := p.readStored(t, "key", good[:size]); !wrongBytes(err) {
					t.Errorf("cut to %d of %d bytes: %d bytes came, %v", size, len(good), n, err)
				}
			}
		})
	}
}
