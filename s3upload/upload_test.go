package s3upload

import (
	"bytes"
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// edges returns the plaintext sizes whose stored sizes are at and around each
// edge between parts, and small ones.
func edges(t *testing.T, partSize int64) []int64 {
	t.Helper()
	layout, err := format.NewLayout(format.DefaultHeaderSize, format.DefaultSegmentExp)
	if err != nil {
		t.Fatal(err)
	}
	sizes := []int64{0, 1, 65535, 65536, 65537, 131072}
	for stored := range 2 {
		if testing.Short() && stored > 0 {
			break
		}
		for d := int64(-1); d <= 1; d++ {
			n, err := layout.PlaintextSize(partSize*int64(stored+1) + d)
			if err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, n)
		}
	}
	return sizes
}

func TestUploadSizes(t *testing.T) {
	for _, n := range edges(t, minPartSize) {
		plaintext := pattern(int(n))
		for name, body := range map[string]io.Reader{
			"known":   bytes.NewReader(plaintext),
			"unknown": plainReader{bytes.NewReader(plaintext)},
			"dataerr": plainReader{iotest.DataErrReader(bytes.NewReader(plaintext))},
		} {
			t.Run(fmt.Sprintf("%d/%s", n, name), func(t *testing.T) {
				f := newFake()
				var last Progress
				u := New(f, testKey, &Options{PartSize: minPartSize, Progress: func(p Progress) { last = p }})
				res, err := u.Upload(t.Context(), putInput(body))
				if err != nil {
					t.Fatal(err)
				}
				info := f.decrypts(t, plaintext, nil)
				want := format.UnknownSize
				if name == "known" {
					want = n
				}
				if info.PlaintextSize != want || res.Info.IV != info.IV || res.PlaintextSize != n {
					t.Errorf("header says %d, result %d; expected %d, %d", info.PlaintextSize, res.PlaintextSize, want, n)
				}
				stored := int64(len(f.objects["bucket/dir/key"]))
				parts := (stored + minPartSize - 1) / minPartSize
				multi := stored >= minPartSize
				if res.StoredSize != stored || int64(res.Parts) != parts || (res.UploadID != "") != multi {
					t.Errorf("result %+v for %d stored bytes", res, stored)
				}
				if wantETag := map[bool]string{true: `"multi-1"`, false: `"put"`}[multi]; res.ETag != wantETag || res.VersionID != "v1" || res.Bucket != "bucket" || res.Key != "dir/key" {
					t.Errorf("result %+v, expected ETag %s", res, wantETag)
				}
				if want := (Progress{stored, stored, int(parts)}); last != want {
					t.Errorf("last progress %+v, expected %+v", last, want)
				}
				if f.count(opPart)+f.count(opPut) != int(parts) {
					t.Errorf("calls %v, expected %d parts", f.calls, parts)
				}
			})
		}
	}
}

// TestUploadDefaults uploads with nil options, an absent body, and a body that
// is read from where it stands.
func TestUploadDefaults(t *testing.T) {
	f := newFake()
	if _, err := New(f, testKey, nil).Upload(t.Context(), putInput(nil)); err != nil {
		t.Fatal(err)
	}
	if info := f.decrypts(t, nil, nil); info.PlaintextSize != 0 || info.Location != "" {
		t.Errorf("header of an empty object: %+v", info)
	}
	body := strings.NewReader("not this, this")
	body.Seek(10, io.SeekStart)
	if _, err := New(f, testKey, nil).Upload(t.Context(), putInput(body)); err != nil {
		t.Fatal(err)
	}
	f.decrypts(t, []byte("this"), nil)
}

// otherSuite is not the default suite, if there may be another.
func otherSuite() format.Suite {
	if fips140.Enforced() {
		return format.AES256GCM
	}
	return format.ChaCha20Poly1305
}

func TestUploadEncryptOptions(t *testing.T) {
	f := newFake()
	o := &stream.EncryptOptions{
		Suite: otherSuite(), SegmentSize: 4096, Context: keywrap.Context{"a": "b"},
		Metadata: map[string]string{"name": "x"}, AssociatedData: []byte("ad"), CompactHeader: true,
	}
	u := New(f, testKey, &Options{Encrypt: o, BindLocation: true})
	if _, err := u.Upload(t.Context(), putInput(strings.NewReader("text"))); err != nil {
		t.Fatal(err)
	}
	info := f.decrypts(t, []byte("text"), &stream.DecryptOptions{AssociatedData: []byte("ad"), Location: "s3://bucket/dir/key"})
	if info.Suite != o.Suite || info.SegmentSize != 4096 || info.Context["a"] != "b" || info.Metadata["name"] != "x" || info.HeaderSize >= 4096 {
		t.Errorf("header %+v", info)
	}
	if o.Location != "" || o.PlaintextSize != nil {
		t.Error("the caller's options were changed")
	}
	_, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(f.objects["bucket/dir/key"]), testKey,
		&stream.DecryptOptions{AssociatedData: []byte("ad"), Location: "s3://bucket/other"})
	if !errors.Is(err, stream.ErrPolicy) {
		t.Errorf("found elsewhere: %v", err)
	}
}

// brokenKey is a key service that fails.
type brokenKey struct{ err error }

func (k brokenKey) WrapKey(context.Context, []byte, keywrap.Context) ([]format.WrappedKey, error) {
	return nil, k.err
}

// TestUploadRefused checks what is refused before any request.
func TestUploadRefused(t *testing.T) {
	errKey := errors.New("no key today")
	input := func(change func(*s3.PutObjectInput)) *s3.PutObjectInput {
		in := putInput(plainReader{strings.NewReader("text")})
		change(in)
		return in
	}
	same := input(func(*s3.PutObjectInput) {})
	for _, c := range []struct {
		name string
		in   *s3.PutObjectInput
		o    *Options
		keys keywrap.Wrapper
		err  error
		says string
	}{
		{"nil input", nil, nil, testKey, ErrInput, "PutObjectInput"},
		{"no bucket", input(func(in *s3.PutObjectInput) { in.Bucket = nil }), nil, testKey, ErrInput, "Bucket"},
		{"empty bucket", input(func(in *s3.PutObjectInput) { in.Bucket = new("") }), nil, testKey, ErrInput, "Bucket"},
		{"no key", input(func(in *s3.PutObjectInput) { in.Key = nil }), nil, testKey, ErrInput, "Key"},
		{"empty key", input(func(in *s3.PutObjectInput) { in.Key = new("") }), nil, testKey, ErrInput, "Key"},
		{"append", input(func(in *s3.PutObjectInput) { in.WriteOffsetBytes = new(int64(0)) }), nil, testKey, ErrInput, "WriteOffsetBytes"},
		{"concurrency", same, &Options{Concurrency: -1}, testKey, ErrInput, "Concurrency"},
		{"timeout", same, &Options{AbortTimeout: -1}, testKey, ErrInput, "AbortTimeout"},
		{"part size", same, &Options{PartSize: 1}, testKey, ErrInput, "PartSize"},
		{"detached", same, &Options{Encrypt: &stream.EncryptOptions{Detached: true}}, testKey, ErrInput, "Detached"},
		{"two locations", same, &Options{BindLocation: true, Encrypt: &stream.EncryptOptions{Location: "x"}}, testKey, ErrInput, "BindLocation"},
		{"segment size", same, &Options{Encrypt: &stream.EncryptOptions{SegmentSize: 5}}, testKey, nil, "segment size"},
		{"sizes differ", input(func(in *s3.PutObjectInput) { in.ContentLength = new(int64(4)) }), &Options{Encrypt: &stream.EncryptOptions{PlaintextSize: new(int64(5))}}, testKey, stream.ErrSizeMismatch, "ContentLength"},
		{"too large for S3", input(func(in *s3.PutObjectInput) { in.ContentLength = new(maxParts * maxPartSize) }), nil, testKey, stream.ErrTooLarge, "53687091200000"},
		{"too large for a stream", input(func(in *s3.PutObjectInput) { in.ContentLength = new(int64(1<<63 - 1)) }), nil, testKey, stream.ErrTooLarge, "plaintext size"},
		{"too large for the part size", input(func(in *s3.PutObjectInput) { in.ContentLength = new(int64(5<<20) * maxParts) }), &Options{PartSize: 5 << 20}, testKey, stream.ErrTooLarge, "PartSize"},
		{"key service", same, nil, brokenKey{errKey}, errKey, "no key today"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake()
			res, err := New(f, c.keys, c.o).Upload(t.Context(), c.in)
			if err == nil || res != nil {
				t.Fatalf("accepted: %+v", res)
			}
			if c.err != nil && !errors.Is(err, c.err) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error %v, expected %v about %q", err, c.err, c.says)
			}
			if _, ok := errors.AsType[*UploadError](err); ok {
				t.Errorf("%v is an UploadError, and nothing was sent", err)
			}
			if len(f.calls) != 0 {
				t.Errorf("requests were sent: %v", f.calls)
			}
		})
	}
}

// TestUploadInputUnchanged checks that the caller's input is as it was.
func TestUploadInputUnchanged(t *testing.T) {
	for _, n := range []int{10, minPartSize} {
		in := putInput(bytes.NewReader(pattern(n)))
		in.ContentLength = new(int64(n))
		in.ChecksumCRC32 = new(sumOf("ChecksumCRC32", pattern(n)))
		before := *in
		if _, err := New(newFake(), testKey, nil).Upload(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(before, *in) {
			t.Errorf("the input was changed: %+v", in)
		}
	}
}

// TestUploadTooManyParts checks the limit of an unknown size with three parts
// in place of 10,000.
func TestUploadTooManyParts(t *testing.T) {
	layout, err := format.NewLayout(format.DefaultHeaderSize, format.DefaultSegmentExp)
	if err != nil {
		t.Fatal(err)
	}
	fits, err := layout.PlaintextSize(3 * minPartSize)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range []int64{-1, 0, 1, 1 << 20} {
		f := newFake()
		u := New(f, testKey, &Options{PartSize: minPartSize})
		u.maxParts = 3
		plaintext := pattern(int(fits + d))
		res, err := u.Upload(t.Context(), putInput(plainReader{bytes.NewReader(plaintext)}))
		if d <= 0 {
			if err != nil || res.Parts != 3 {
				t.Fatalf("%d bytes from the limit: %+v, %v", d, res, err)
			}
			f.decrypts(t, plaintext, nil)
			continue
		}
		if !errors.Is(err, stream.ErrTooLarge) || !strings.Contains(err.Error(), "Options.PartSize") || !strings.Contains(err.Error(), "15728640") {
			t.Errorf("%d bytes above the limit: %v", d, err)
		}
		if f.count(opPart) > 3 {
			t.Errorf("%d parts were sent", f.count(opPart))
		}
		f.empty(t)
	}
}

func TestUploadProgress(t *testing.T) {
	for _, known := range []bool{true, false} {
		plaintext := pattern(6 * minPartSize)
		var body io.Reader = bytes.NewReader(plaintext)
		if !known {
			body = plainReader{body}
		}
		var calls []Progress
		var inside atomic.Int32
		u := New(newFake(), testKey, &Options{PartSize: minPartSize, Concurrency: 4, Progress: func(p Progress) {
			if inside.Add(1) != 1 {
				t.Error("calls overlap")
			}
			calls = append(calls, p)
			inside.Add(-1)
		}})
		res, err := u.Upload(t.Context(), putInput(body))
		if err != nil {
			t.Fatal(err)
		}
		before := Progress{Total: -1}
		told := 0 // calls that are about the size alone
		for _, p := range calls {
			switch {
			case !known && before.Total == -1 && p == Progress{before.Stored, res.StoredSize, before.Parts}:
				told++
			case p.Parts != before.Parts+1, p.Stored <= before.Stored, p.Total != res.StoredSize && (known || p.Total != before.Total):
				t.Errorf("progress %+v after %+v", p, before)
			}
			before = p
		}
		if want := map[bool]int{true: 0, false: 1}[known]; told != want || len(calls) != res.Parts+want {
			t.Errorf("%d calls for %d parts, %d of them about the size", len(calls), res.Parts, told)
		}
		if before.Stored != res.StoredSize || before.Total != res.StoredSize {
			t.Errorf("progress ends at %+v of %d", before, res.StoredSize)
		}
	}
}

// TestUploadConcurrency checks that as many parts as allowed are in flight, and
// never more.
func TestUploadConcurrency(t *testing.T) {
	for _, limit := range []int{1, 3} {
		f := newFake()
		var waiting sync.WaitGroup // for the first parts, until limit of them are in flight
		waiting.Add(limit)
		f.before = func(_ context.Context, k int, op string) error {
			if op == opPart && k-1 <= limit { // the first call creates the upload
				waiting.Done()
				waiting.Wait()
			}
			return nil
		}
		plaintext := pattern(8 * minPartSize)
		_, err := New(f, testKey, &Options{PartSize: minPartSize, Concurrency: limit}).Upload(t.Context(), putInput(bytes.NewReader(plaintext)))
		if err != nil {
			t.Fatal(err)
		}
		if f.most != limit {
			t.Errorf("%d parts in flight, the limit is %d", f.most, limit)
		}
		f.decrypts(t, plaintext, nil)
	}
}

// zeros is a source that holds no memory.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestUploadMemory measures what is reachable while each part is in flight.
func TestUploadMemory(t *testing.T) {
	const concurrency, parts = 2, 24
	f, most := newWeighed()
	body := io.LimitReader(zeros{}, parts*minPartSize)
	if _, err := New(f, testKey, &Options{PartSize: minPartSize, Concurrency: concurrency}).Upload(t.Context(), putInput(body)); err != nil {
		t.Fatal(err)
	}
	if limit := int64((concurrency+2)*minPartSize + minPartSize/2); *most > limit || *most < concurrency*minPartSize {
		t.Errorf("%d bytes were reachable, expected at most %d", *most, limit)
	}
	t.Logf("%.1f parts reachable at most", float64(*most)/minPartSize)
}

// TestUploaderShared uses one Uploader for several objects at a time.
func TestUploaderShared(t *testing.T) {
	f := newFake()
	u := New(f, testKey, &Options{PartSize: minPartSize})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			in := putInput(bytes.NewReader(pattern(minPartSize + i)))
			in.Key = aws.String(fmt.Sprint("key-", i))
			if res, err := u.Upload(t.Context(), in); err != nil || res.PlaintextSize != int64(minPartSize+i) {
				t.Errorf("object %d: %+v, %v", i, res, err)
			}
		})
	}
	wg.Wait()
	if len(f.objects) != 4 || len(f.uploads) != 0 {
		t.Errorf("%d objects, %d uploads", len(f.objects), len(f.uploads))
	}
}
