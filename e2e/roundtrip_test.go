package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/e2e/s3server"
	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// open opens an object, past the proxy, and must succeed.
func (p *place) open(t *testing.T, key string, o *s3download.Options) *s3download.Object {
	t.Helper()
	object, err := s3download.Open(t.Context(), p.direct, p.get(key), p.keys, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { object.Close() })
	return object
}

// readAllWays reads an object in each of the ways there are and compares it with the text.
func readAllWays(t *testing.T, object *s3download.Object, size int64) {
	t.Helper()
	if object.Size() != size {
		t.Errorf("Size %d, want %d", object.Size(), size)
	}
	check := text(size).CheckFrom(0)
	if n, err := object.WriteTo(check); err != nil || n != size || check.Offset() != size {
		t.Errorf("WriteTo: %d, %v", n, err)
	}

	if _, err := object.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	check = text(size).CheckFrom(0)
	if _, err := io.Copy(check, struct{ io.Reader }{object}); err != nil || check.Offset() != size {
		t.Errorf("Read: %d bytes, %v", check.Offset(), err)
	}

	f, err := os.Create(filepath.Join(t.TempDir(), "download"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := object.DownloadTo(t.Context(), f); err != nil {
		t.Errorf("DownloadTo: %v", err)
	}
	check = text(size).CheckFrom(0)
	if _, err := io.Copy(check, f); err != nil || check.Offset() != size {
		t.Errorf("DownloadTo: %d bytes, %v", check.Offset(), err)
	}

	check = text(size).CheckFrom(0)
	if _, err := io.CopyBuffer(check, struct{ io.Reader }{io.NewSectionReader(object, 0, size)}, make([]byte, 3*mib)); err != nil || check.Offset() != size {
		t.Errorf("ReadAt: %d bytes, %v", check.Offset(), err)
	}
}

func TestRoundTrip(t *testing.T) {
	p := newPlace(t)
	for _, size := range []int64{0, 1, 5*mib - 1, 5 * mib, 5*mib + 1, 64*mib + 3} {
		for _, unknown := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes, unknown %v", size, unknown), func(t *testing.T) {
				var body io.Reader = text(size).Reader()
				if unknown {
					body = struct{ io.Reader }{body}
				}
				in := p.put("key", body)
				in.ContentType = aws.String("text/plain")
				res, err := s3upload.New(p.direct, p.keys, parts5).Upload(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				stored := p.stored(t, "key")
				want, err := res.Info.Layout.StoredSize(size)
				if err != nil || int64(len(stored)) != want || res.StoredSize != want || res.PlaintextSize != size {
					t.Errorf("%d bytes stored, want %d (%v); result %+v", len(stored), want, err, res)
				}
				if wantParts := max(1, int((want+5*mib-1)/(5*mib))); res.Parts != wantParts {
					t.Errorf("%d parts, want %d", res.Parts, wantParts)
				}
				if sample, err := io.ReadAll(io.LimitReader(text(size).Reader(), 100)); err != nil || len(sample) >= 16 && bytes.Contains(stored, sample[:16]) {
					t.Errorf("the store holds plaintext (%v)", err)
				}
				if known := res.Info.PlaintextSize != format.UnknownSize; known == unknown {
					t.Errorf("plaintext size in the header: %d", res.Info.PlaintextSize)
				}
				readAllWays(t, p.open(t, "key", nil), size)
				p.checkObject(t, "key", size)
			})
		}
	}
}

// Every option of a stream survives the way through the store.
func TestRoundTripOptions(t *testing.T) {
	p := newPlace(t)
	const size = 6*mib + 5
	for name, o := range map[string]*stream.EncryptOptions{
		"ChaCha20-Poly1305": {Suite: format.ChaCha20Poly1305},
		"4 KiB segments":    {SegmentSize: 4096},
		"1 MiB segments":    {SegmentSize: mib},
		"compact header":    {CompactHeader: true},
		"context":           {Context: keywrap.Context{"tenant": "seven", "table": "orders"}},
		"metadata":          {Metadata: map[string]string{"name": "orders.csv"}},
		"associated data":   {AssociatedData: []byte("version 7 of orders")},
	} {
		t.Run(name, func(t *testing.T) {
			p.store(t, name, size, &s3upload.Options{Encrypt: o, PartSize: 5 * mib, BindLocation: true})
			object := p.open(t, name, &s3download.Options{Decrypt: &stream.DecryptOptions{
				AssociatedData: o.AssociatedData, RequiredContext: o.Context,
			}})
			info := object.Info()
			if info.Location != "s3://"+p.bucket+"/"+name || fmt.Sprint(info.Context) != fmt.Sprint(o.Context) || fmt.Sprint(info.Metadata) != fmt.Sprint(o.Metadata) {
				t.Errorf("info %+v", info)
			}
			readAllWays(t, object, size)
		})
	}
}

// Ranges with both ends at, before and behind every kind of edge: of the object, of a segment, of a part, of the final
// segment.
func TestRanges(t *testing.T) {
	p := newPlace(t)
	const (
		size    = 64*mib + 3
		segment = 64 << 10
	)
	res := p.store(t, "key", size, parts5)
	layout := res.Info.Layout
	edges := []int64{0, 1, 4095, 4096, segment - 1, segment, segment + 1, size - 3 - segment, size - 4, size - 3, size - 2, size - 1, size, size + 1}
	for part := int64(5 * mib); part < res.StoredSize; part += 25 * mib {
		// The segment that the border between two parts goes through.
		at := (part - layout.Start()) / int64(layout.StoredSegmentSize()) * segment
		edges = append(edges, at-1, at, at+1, at+segment/2, at+segment)
	}
	slices.Sort(edges)
	cached := p.open(t, "key", nil)
	uncached := p.open(t, "key", &s3download.Options{CacheSize: 1})
	for i, off := range edges {
		for _, end := range edges[i:] {
			for name, object := range map[string]*s3download.Object{"cache": cached, "no cache": uncached} {
				if end-off > 8*mib && (off > 1 || end < size-1 || name == "cache") {
					continue // some large ones are enough; they go past the cache
				}
				buf := make([]byte, end-off)
				n, err := object.ReadAt(buf, off)
				want := max(0, min(end, size)-min(off, size))
				if int64(n) != want || n < len(buf) && err != io.EOF || n == len(buf) && err != nil && err != io.EOF {
					t.Fatalf("%s: ReadAt of %d bytes at %d: %d, %v", name, len(buf), off, n, err)
				}
				if _, err := text(size).CheckFrom(off).Write(buf[:n]); err != nil {
					t.Fatalf("%s: ReadAt of %d bytes at %d: %v", name, len(buf), off, err)
				}
			}
		}
	}
	if _, err := cached.ReadAt(make([]byte, 1), -1); err == nil || err == io.EOF {
		t.Errorf("ReadAt at -1: %v", err)
	}
}

// A reader of many small ranges in order, as an archive reader or an HTTP server is, does not make a request for each.
func TestSequentialReadsShareRequests(t *testing.T) {
	p := newPlace(t)
	const size = 16*mib + 7
	res := p.store(t, "key", size, nil)
	object, err := s3download.Open(t.Context(), p.client, p.get("key"), p.keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	check := text(size).CheckFrom(0)
	if _, err := io.CopyBuffer(check, struct{ io.Reader }{object}, make([]byte, 32<<10)); err != nil || check.Offset() != size {
		t.Errorf("%d bytes, %v", check.Offset(), err)
	}
	sum := faultproxy.Sum(p.proxy.Log(), faultproxy.GetObject)
	if stored := int64(len(p.stored(t, "key"))); sum.Requests > 8 || sum.BytesOut > stored {
		t.Errorf("%d requests and %d bytes for an object of %d", sum.Requests, sum.BytesOut, stored)
	}
	for i, q := range p.proxy.Log() {
		if q.Op != faultproxy.GetObject {
			t.Errorf("a reader needs GetObject only, this was %s", q.Op)
		}
		if i > 0 && q.IfMatch != res.ETag {
			t.Errorf("request %d is for any object, not that of the first answer: If-Match %q", i, q.IfMatch)
		}
	}
	if got := object.Stats(); got.Requests != int64(sum.Requests) || got.Bytes > sum.BytesOut {
		t.Errorf("Stats %+v, the proxy saw %+v", got, sum)
	}
}

// The reader is what other code expects of an io.ReadSeeker and io.ReaderAt.
func TestObjectIsAReader(t *testing.T) {
	p := newPlace(t)
	const size = 200_001
	p.store(t, "key", size, &s3upload.Options{Encrypt: &stream.EncryptOptions{SegmentSize: 4096}})
	want, err := io.ReadAll(text(size).Reader())
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(p.open(t, "key", nil), want); err != nil {
		t.Error(err)
	}
}

// A range past the end and an empty range cost no request.
func TestReadsOutsideCostNothing(t *testing.T) {
	p := newPlace(t)
	const size = 100_000
	p.store(t, "key", size, nil)
	object, err := s3download.Open(t.Context(), p.client, p.get("key"), p.keys, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	p.proxy.Reset()
	for _, off := range []int64{size, size + 1, 1 << 40} {
		if n, err := object.ReadAt(make([]byte, 10), off); n != 0 || !errors.Is(err, io.EOF) {
			t.Errorf("ReadAt at %d: %d, %v", off, n, err)
		}
	}
	if n, err := object.ReadAt(nil, 70_000); n != 0 || err != nil {
		t.Errorf("ReadAt of nothing: %d, %v", n, err)
	}
	if log := p.proxy.Log(); len(log) > 1 {
		t.Errorf("%d requests", len(log))
	}
}

// The S3 server as another process, over TLS, with the SDK's checksums in trailers.
func TestSecondProcessOverTLS(t *testing.T) {
	remote, err := s3server.StartProcess(t.Context(), &s3server.Options{TLS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := remote.Close(); err != nil {
			t.Error(err)
		}
	})
	p := newPlace(t)
	p.direct = remote.Client()
	p.create(t)
	for _, size := range []int64{0, 1, 5 * mib, 20*mib + 3} {
		p.store(t, "key", size, parts5)
		readAllWays(t, p.open(t, "key", nil), size)
	}
}
