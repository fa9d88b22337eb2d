package e2e_test

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// Readers of other libraries, which know nothing of segments, over an encrypted object: what they cost beside the same
// reader over a plain object, whose every ReadAt is a request for just those bytes.

// plain is that plain object.
type plain struct {
	data            []byte
	requests, bytes atomic.Int64
}

func (p *plain) ReadAt(b []byte, off int64) (int, error) {
	n, err := bytes.NewReader(p.data).ReadAt(b, off)
	p.requests.Add(1)
	p.bytes.Add(int64(n))
	return n, err
}

// A consumer reads from r, which holds size bytes, and returns a sum of what it read.
type consumer struct {
	name string
	data func(t *testing.T) []byte
	read func(r io.ReaderAt, size int64) (uint32, error)

	// What the encrypted object may cost, by segment size.
	limits map[int]cost
}

// cost is how many requests and how many bytes, for each of those that the plain object takes.
type cost struct{ requests, bytes float64 }

var consumers = []consumer{
	{"zip, list and extract one", zipArchive, readZip, map[int]cost{64 << 10: {0.1, 1.3}, 16 << 10: {0.1, 1.3}}},
	{"parquet, 2 of 10 columns", parquetFile, readParquet, map[int]cost{64 << 10: {0.5, 1.3}, 16 << 10: {0.5, 1.3}}},
	{"half of it in order", pages, readHalf, map[int]cost{64 << 10: {0.01, 1.3}, 16 << 10: {0.012, 1.3}}},
	// A page of 4 KiB out of a segment of 64 KiB is what smaller segments are for.
	{"pages of 4 KiB, some often", pages, readPages, map[int]cost{64 << 10: {0.13, 2}, 16 << 10: {0.15, 0.6}, 4 << 10: {0.17, 0.2}}},
}

var consumerSize = flag.Int("consumer.size", 200, "MB (10^6 bytes) of the zip archive and of the Parquet file; 10 with -short")

// fileSize is how large, in bytes, the files of consumers get at least.
func fileSize() int {
	if testing.Short() {
		return 10e6
	}
	return *consumerSize * 1e6
}

func TestConsumers(t *testing.T) {
	for _, c := range consumers {
		t.Run(c.name, func(t *testing.T) {
			data := &plain{data: c.data(t)}
			size := int64(len(data.data))
			want, err := c.read(data, size)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("plain object of %d bytes: %d requests, %d bytes", size, data.requests.Load(), data.bytes.Load())
			p := newPlace(t)
			for segmentSize, limit := range c.limits {
				_, err := s3upload.New(p.direct, p.keys, &s3upload.Options{Encrypt: &stream.EncryptOptions{SegmentSize: segmentSize}}).
					Upload(t.Context(), p.put("key", bytes.NewReader(data.data)))
				if err != nil {
					t.Fatal(err)
				}
				object, err := s3download.Open(t.Context(), p.direct, p.get("key"), p.keys, nil)
				if err != nil {
					t.Fatal(err)
				}
				got, err := c.read(object, object.Size())
				stats := object.Stats()
				object.Close()
				if err != nil || got != want {
					t.Errorf("segments of %d: sum %08x, want %08x, %v", segmentSize, got, want, err)
				}
				took := cost{
					float64(stats.Requests) / float64(data.requests.Load()),
					float64(stats.Bytes) / float64(data.bytes.Load()),
				}
				t.Logf("segments of %d: %d requests, %d bytes: %.3f and %.2f times those of the plain object", segmentSize, stats.Requests, stats.Bytes, took.requests, took.bytes)
				if took.requests > limit.requests || took.bytes > limit.bytes {
					t.Errorf("segments of %d: the limits are %.3f and %.2f", segmentSize, limit.requests, limit.bytes)
				}
			}
		})
	}
}

// random is a source of the same numbers in each run.
func random(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }

// words is text that compresses to about half.
var words = sync.OnceValue(func() []byte {
	b, r := make([]byte, 0, 5_000_000), random(4)
	for len(b) < 4_500_000 {
		b = strconv.AppendUint(b, uint64(r.Uint32()), 16)
		b = append(b, ' ')
	}
	return b
})

// extracted is the member that readZip extracts.
const extracted = "directory 0/member 150"

// zipArchive holds directories of 300 members of up to 100,000 bytes, of which one has 4,000,000.
func zipArchive(t *testing.T) []byte {
	var b bytes.Buffer
	b.Grow(fileSize() + 20e6)
	w, members := zip.NewWriter(&b), zipMembers(t)
	for i := 0; b.Len() < fileSize(); i++ {
		for j, m := range members {
			header := m.FileHeader
			header.Name = fmt.Sprintf("directory %d/member %d", i, j)
			to, err := w.CreateRaw(&header)
			if err != nil {
				t.Fatal(err)
			}
			from, err := m.OpenRaw()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.Copy(to, from); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zipMembers returns the 300 members.
func zipMembers(t *testing.T) []*zip.File {
	var b bytes.Buffer
	r, w := random(1), zip.NewWriter(&b)
	w.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) { return flate.NewWriter(w, flate.BestSpeed) })
	for i := range 300 {
		m, err := w.Create(strconv.Itoa(i))
		if err != nil {
			t.Fatal(err)
		}
		n := r.IntN(100_000)
		if i == 150 {
			n = 4_000_000
		}
		if _, err := m.Write(words()[r.IntN(len(words())-n):][:n]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	z, err := zip.NewReader(bytes.NewReader(b.Bytes()), int64(b.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return z.File
}

func readZip(r io.ReaderAt, size int64) (uint32, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return 0, err
	}
	m, err := z.Open(extracted)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	return sum(m)
}

func sum(r io.Reader) (uint32, error) {
	h := crc32.NewIEEE()
	_, err := io.Copy(h, r)
	return h.Sum32(), err
}

// A record is a row of the parquet file: ten columns.
type record struct {
	ID         int64   `parquet:"id"`
	Name       string  `parquet:"name"`
	Price      float64 `parquet:"price"`
	Count      int32   `parquet:"count"`
	A, B, C, D [16]byte
	Note       string `parquet:"note"`
	Flag       bool   `parquet:"flag"`
}

// parquetFile is records in groups of 100,000.
func parquetFile(t *testing.T) []byte {
	var b bytes.Buffer
	b.Grow(fileSize() + 20e6)
	w := parquet.NewGenericWriter[record](&b, parquet.MaxRowsPerRowGroup(100_000))
	chacha := rand.NewChaCha8([32]byte{1})
	r := rand.New(chacha)
	rows := make([]record, 1000)
	for b.Len() < fileSize() {
		for i := range rows {
			rows[i] = record{
				ID: r.Int64(), Name: fmt.Sprintf("name %d", r.Uint32()), Price: r.Float64(), Count: r.Int32(),
				Note: string(words()[r.IntN(1_000_000):][:10]), Flag: r.IntN(2) == 0,
			}
			for _, column := range []*[16]byte{&rows[i].A, &rows[i].B, &rows[i].C, &rows[i].D} {
				chacha.Read(column[:])
			}
		}
		if _, err := w.Write(rows); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// readParquet reads the columns "name" and "price".
func readParquet(r io.ReaderAt, size int64) (uint32, error) {
	f, err := parquet.OpenFile(r, size)
	if err != nil {
		return 0, err
	}
	h := crc32.NewIEEE()
	values := make([]parquet.Value, 1000)
	for _, group := range f.RowGroups() {
		for _, name := range []string{"name", "price"} {
			column, ok := f.Schema().Lookup(name)
			if !ok {
				return 0, fmt.Errorf("no column %q", name)
			}
			pages := group.ColumnChunks()[column.ColumnIndex].Pages()
			for {
				page, err := pages.ReadPage()
				if err == io.EOF {
					break
				}
				if err != nil {
					return 0, err
				}
				for reader := page.Values(); ; {
					n, err := reader.ReadValues(values)
					for _, v := range values[:n] {
						h.Write(v.Bytes())
					}
					if err == io.EOF {
						break
					}
					if err != nil {
						return 0, err
					}
				}
				parquet.Release(page)
			}
			if err := pages.Close(); err != nil {
				return 0, err
			}
		}
	}
	return h.Sum32(), nil
}

// pages is a database of 8192 pages of 4 KiB.
func pages(*testing.T) []byte {
	b := make([]byte, 32<<20)
	chacha := rand.NewChaCha8([32]byte{2})
	chacha.Read(b)
	return b
}

// readHalf reads the first half, 4 KiB at a time.
func readHalf(r io.ReaderAt, size int64) (uint32, error) {
	h := crc32.NewIEEE()
	_, err := io.CopyBuffer(h, struct{ io.Reader }{io.NewSectionReader(r, 0, size/2)}, make([]byte, 4<<10))
	return h.Sum32(), err
}

// readPages looks up 2000 rows: each time the root, one of 30 inner pages, and one of the others, the first ones more
// often. A database has a cache of its own for what it reads; this one has none.
func readPages(r io.ReaderAt, size int64) (uint32, error) {
	const pageSize = 4096
	random := random(3)
	leaves := rand.NewZipf(random, 1.2, 10, uint64(size/pageSize)-32)
	h := crc32.NewIEEE()
	b := make([]byte, pageSize)
	for range 2000 {
		for _, page := range []uint64{0, 1 + random.Uint64N(30), 31 + leaves.Uint64()} {
			if _, err := r.ReadAt(b, int64(page)*pageSize); err != nil {
				return 0, err
			}
			h.Write(b)
		}
	}
	return h.Sum32(), nil
}
