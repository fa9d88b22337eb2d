package s3download

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/s3header"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// A place is where a header can be, and how a reader is told.
type place struct {
	name   string
	put    func(f *fakeS3, header []byte) // nil: in front of the payload
	suffix string                         // Options.HeaderSuffix
}

var places = []place{
	{"in the object", nil, ""},
	{"metadata", putInMetadata, ""},
	{"beside", putBeside(s3header.DefaultSuffix), ""},
	{"beside, expected", putBeside(s3header.DefaultSuffix), s3header.DefaultSuffix},
	{"beside, another suffix", putBeside("/header"), "/header"},
}

func putInMetadata(f *fakeS3, header []byte) {
	f.metadata = map[string]string{"color": "blue", s3header.Metadata: base64.RawURLEncoding.EncodeToString(header)}
}

func putBeside(suffix string) func(f *fakeS3, header []byte) {
	return func(f *fakeS3, header []byte) { f.others = map[string][]byte{*f.input().Key + suffix: header} }
}

// encryptOptions returns eo for a header in this place.
func (at place) encryptOptions(eo stream.EncryptOptions) stream.EncryptOptions {
	eo.Detached = at.put != nil
	return eo
}

// options returns o for a header in this place.
func (at place) options(o *Options) *Options {
	if at.suffix == "" {
		return o
	}
	var c Options
	if o != nil {
		c = *o
	}
	c.HeaderSuffix = at.suffix
	return &c
}

// fake returns a bucket of what is stored, with the header in this place.
func (at place) fake(stored, header []byte) *fakeS3 {
	f := newFake(stored)
	if at.put != nil {
		at.put(f, header)
	}
	return f
}

// store encrypts into a bucket with the header in this place.
func (at place) store(t testing.TB, plain []byte, eo stream.EncryptOptions) *fakeS3 {
	t.Helper()
	return at.fake(encryptApart(t, plain, at.encryptOptions(eo)))
}

// clone returns a bucket of the same that was not asked anything.
func (f *fakeS3) clone() *fakeS3 {
	return &fakeS3{data: f.data, etag: f.etag, version: f.version, metadata: f.metadata, others: f.others}
}

// encryptApart returns what is stored, and the header.
func encryptApart(t testing.TB, plain []byte, eo stream.EncryptOptions) (stored, header []byte) {
	t.Helper()
	if eo.SegmentSize == 0 {
		eo.SegmentSize = S
	}
	r, err := stream.NewEncryptReader(context.Background(), bytes.NewReader(plain), key, &eo)
	if err != nil {
		t.Fatal(err)
	}
	if stored, err = io.ReadAll(r); err != nil {
		t.Fatal(err)
	}
	return stored, r.Header()
}

// What this package looks for is what package s3upload writes.
func TestPlacesOfUploads(t *testing.T) {
	for name, o := range map[string]*s3upload.Options{
		"in the object": nil,
		"metadata":      {HeaderInMetadata: true},
		"beside":        {HeaderSuffix: s3upload.DefaultHeaderSuffix},
	} {
		f := newFake(nil)
		in := &s3.PutObjectInput{Bucket: f.input().Bucket, Key: f.input().Key, Body: strings.NewReader("text"), Metadata: map[string]string{"color": "blue"}}
		if _, err := s3upload.New(uploadTo{f}, key, o).Upload(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(openFake(t, f, nil))
		if err != nil || string(got) != "text" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		if f.metadata["color"] != "blue" {
			t.Errorf("%s: metadata %v", name, f.metadata)
		}
	}
}

// uploadTo is as much of a client as small uploads need.
type uploadTo struct{ *fakeS3 }

func (c uploadTo) PutObject(_ context.Context, in *s3.PutObjectInput, _ ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	data, err := io.ReadAll(in.Body)
	if *in.Key == *c.input().Key {
		c.data, c.metadata = data, in.Metadata
	} else {
		c.others = map[string][]byte{*in.Key: data}
	}
	return &s3.PutObjectOutput{}, err
}

func (c uploadTo) GetObject(ctx context.Context, in *s3.GetObjectInput, _ ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	in.Range = aws.String("bytes=0-99999")
	return c.fakeS3.GetObject(ctx, in)
}

var errNotNeeded = errors.New("a small upload needs no such request")

func (uploadTo) CreateMultipartUpload(context.Context, *s3.CreateMultipartUploadInput, ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error) {
	return nil, errNotNeeded
}

func (uploadTo) UploadPart(context.Context, *s3.UploadPartInput, ...func(*s3.Options)) (*s3.UploadPartOutput, error) {
	return nil, errNotNeeded
}

func (uploadTo) CompleteMultipartUpload(context.Context, *s3.CompleteMultipartUploadInput, ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error) {
	return nil, errNotNeeded
}

func (uploadTo) AbortMultipartUpload(context.Context, *s3.AbortMultipartUploadInput, ...func(*s3.Options)) (*s3.AbortMultipartUploadOutput, error) {
	return nil, errNotNeeded
}

func (uploadTo) DeleteObject(context.Context, *s3.DeleteObjectInput, ...func(*s3.Options)) (*s3.DeleteObjectOutput, error) {
	return nil, errNotNeeded
}

// Opening, and the first read of what was prefetched, take a number of requests
// that depends on where the header is and on what the reader was told.
func TestPlaceCost(t *testing.T) {
	const segment = 1 << format.DefaultSegmentExp
	const n = 30*segment + 5
	plain := plaintext(n)
	for i, cost := range []struct{ near, far int }{{1, 2}, {1, 2}, {2, 3}, {2, 3}, {2, 3}} {
		at := places[i]
		eo := stream.EncryptOptions{PlaintextSize: new(int64(n)), SegmentSize: segment}
		f := at.store(t, plain, eo)
		for off, want := range map[int]int{0: cost.near, 20*segment + 5: cost.far} {
			f.requests = nil
			object := openFake(t, f, at.options(&Options{Prefetch: Range{int64(off), 100}}))
			p := make([]byte, 100)
			if _, err := object.ReadAt(p, int64(off)); err != nil || !bytes.Equal(p, plain[off:off+100]) {
				t.Fatal(err)
			}
			if f.count() != want {
				t.Errorf("%s: %d requests to read at %d, expected %d", at.name, f.count(), off, want)
			}
		}
	}
}

// A header that is expected beside is asked for while the payload's answer is
// still to come.
func TestExpectedHeaderAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := places[3].store(t, plaintext(S), known(S))
		f.fault = func(int, *s3.GetObjectInput) fault { return fault{slow: time.Second} }
		start := time.Now()
		o := places[3].options(nil)
		object, err := Open(t.Context(), f, f.input(), key, o)
		if err != nil {
			t.Fatal(err)
		}
		defer closeFake(t, f, object)
		took := time.Since(start)
		start = time.Now()
		o.HeaderSuffix = ""
		second, err := Open(t.Context(), f, f.input(), key, o)
		if err != nil {
			t.Fatal(err)
		}
		defer closeFake(t, f, second)
		if later := time.Since(start); later <= took {
			t.Errorf("opening took %v with the header expected, %v without", took, later)
		}
	})
}

// A header that was expected and is not needed holds nothing up, whatever
// becomes of it.
func TestExpectedInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain := plaintext(3 * S)
		for i, name := range []string{"in the object", "metadata"} {
			for what, with := range map[string]fault{
				"missing": {err: &types.NoSuchKey{}}, "denied": {err: statusError(http.StatusForbidden, "AccessDenied")}, "hangs": {hang: true},
			} {
				f := places[i].store(t, plain, known(len(plain)))
				f.fault = func(_ int, in *s3.GetObjectInput) fault {
					if *in.Key != *f.input().Key {
						return with
					}
					return fault{}
				}
				start := time.Now()
				client := &counting{fakeS3: f}
				object, err := Open(t.Context(), client, f.input(), key, places[3].options(nil))
				if err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if n := client.n.Load(); n != 0 {
					t.Errorf("%s, the expected header %s: %d requests outlive Open", name, what, n)
				}
				got, err := io.ReadAll(object)
				if err != nil || !bytes.Equal(got, plain) || time.Since(start) > 0 {
					t.Errorf("%s, the expected header %s: %d bytes, %v after %v", name, what, len(got), err, time.Since(start))
				}
				closeFake(t, f, object)
			}
		}
		// Nor does it outlive a payload that cannot be opened.
		f := places[3].store(t, plain, known(len(plain)))
		f.fault = func(_ int, in *s3.GetObjectInput) fault {
			if *in.Key == *f.input().Key {
				return fault{err: &types.NoSuchKey{}}
			}
			return fault{hang: true}
		}
		if _, err := Open(t.Context(), f, f.input(), key, places[3].options(nil)); !isA[*types.NoSuchKey](err) || errors.Is(err, ErrNoHeader) {
			t.Errorf("no payload: %v", err)
		}
	})
}

// A counting client knows how many requests are under way.
type counting struct {
	*fakeS3
	n atomic.Int32
}

func (c *counting) GetObject(ctx context.Context, in *s3.GetObjectInput, o ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	c.n.Add(1)
	defer c.n.Add(-1)
	return c.fakeS3.GetObject(ctx, in, o...)
}

// What the caller's input says of the payload's version is not said of the
// header's object; all else is.
func TestHeaderRequest(t *testing.T) {
	f := places[2].store(t, plaintext(S), known(S))
	in := f.input()
	in.VersionId, in.IfMatch, in.IfNoneMatch = aws.String("v1"), &f.etag, aws.String("x")
	in.IfModifiedSince, in.IfUnmodifiedSince = aws.Time(time.Unix(1, 0)), aws.Time(time.Unix(2, 0))
	in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = aws.String("AES256"), aws.String("key"), aws.String("sum")
	in.ExpectedBucketOwner, in.RequestPayer, in.ChecksumMode = aws.String("owner"), types.RequestPayerRequester, types.ChecksumModeEnabled
	object, err := Open(t.Context(), f, in, key, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFake(t, f, object)
	want := s3.GetObjectInput{
		Bucket: in.Bucket, Key: aws.String("a/key" + s3header.DefaultSuffix), Range: aws.String("bytes=0-65536"),
		SSECustomerAlgorithm: in.SSECustomerAlgorithm, SSECustomerKey: in.SSECustomerKey, SSECustomerKeyMD5: in.SSECustomerKeyMD5,
		ExpectedBucketOwner: in.ExpectedBucketOwner, RequestPayer: in.RequestPayer, ChecksumMode: in.ChecksumMode,
	}
	if got := fmt.Sprintf("%+v", dereferenced(f.requests[1])); got != fmt.Sprintf("%+v", dereferenced(want)) {
		t.Errorf("the header was asked for with\n%s, expected\n%+v", got, dereferenced(want))
	}
}

// dereferenced returns the strings of an input, and whether it has a time.
func dereferenced(in s3.GetObjectInput) map[string]string {
	m := map[string]string{"payer": string(in.RequestPayer), "mode": string(in.ChecksumMode)}
	maps.DeleteFunc(m, func(_, v string) bool { return v == "" })
	for name, v := range map[string]*string{
		"Bucket": in.Bucket, "Key": in.Key, "Range": in.Range, "VersionId": in.VersionId, "IfMatch": in.IfMatch, "IfNoneMatch": in.IfNoneMatch,
		"Algorithm": in.SSECustomerAlgorithm, "CustomerKey": in.SSECustomerKey, "MD5": in.SSECustomerKeyMD5, "Owner": in.ExpectedBucketOwner,
	} {
		if v != nil {
			m[name] = *v
		}
	}
	if in.IfModifiedSince != nil || in.IfUnmodifiedSince != nil {
		m["time"] = "set"
	}
	return m
}

// A header that the caller gives is used, and none is looked for.
func TestGivenHeader(t *testing.T) {
	const n = 3 * S
	eo := known(n)
	eo.Detached = true
	stored, header := encryptApart(t, plaintext(n), eo)
	_, another := encryptApart(t, plaintext(n), eo)
	f := newFake(stored)
	putInMetadata(f, another)
	f.others = map[string][]byte{"a/key" + s3header.DefaultSuffix: another}
	got, err := openAndRead(t, f, "Read", &Options{HeaderSuffix: s3header.DefaultSuffix, Decrypt: &stream.DecryptOptions{DetachedHeader: header}})
	if err != nil || !bytes.Equal(got, plaintext(n)) || slices.ContainsFunc(f.requests, func(in s3.GetObjectInput) bool { return *in.Key != "a/key" }) {
		t.Errorf("%v after %d requests", err, f.count())
	}
	_, err = Open(t.Context(), f, f.input(), key, &Options{Decrypt: &stream.DecryptOptions{DetachedHeader: another}})
	if !errors.Is(err, stream.ErrAuth) || strings.Contains(err.Error(), "open it again") {
		t.Errorf("another header: %v", err)
	}
	f = newFake(encrypt(t, plaintext(n), known(n)))
	if _, err := Open(t.Context(), f, f.input(), key, &Options{Decrypt: &stream.DecryptOptions{DetachedHeader: header}}); !errors.Is(err, stream.ErrPolicy) {
		t.Errorf("a header too many: %v", err)
	}
}

// MaxHeaderSize and the keys hold for a header wherever it is.
func TestPlacePolicy(t *testing.T) {
	for _, at := range places {
		f := at.store(t, plaintext(S), known(S))
		_, err := Open(t.Context(), f, f.input(), key, at.options(&Options{Decrypt: &stream.DecryptOptions{MaxHeaderSize: 1000}}))
		if !errors.Is(err, stream.ErrTooLarge) {
			t.Errorf("%s: header of 4096 bytes, at most 1000: %v", at.name, err)
		}
		if _, err := Open(t.Context(), f, f.input(), mustKey("another", 2), at.options(nil)); !errors.Is(err, keywrap.ErrNoMatch) {
			t.Errorf("%s: another key: %v", at.name, err)
		}
		bound := known(S)
		bound.Location = "s3://bucket/a/key"
		openFake(t, at.store(t, plaintext(S), bound), at.options(nil))
		bound.Location = "s3://bucket/another"
		f = at.store(t, plaintext(S), bound)
		if _, err := Open(t.Context(), f, f.input(), key, at.options(nil)); !errors.Is(err, stream.ErrPolicy) {
			t.Errorf("%s: bound to another place: %v", at.name, err)
		}
	}
}

// A stream made of an object that fails is never completed, whichever way
// io.Copy takes.
func TestCopyIntoEncryptWriter(t *testing.T) {
	const n = 60 * S
	plain := plaintext(n)
	f := newFake(encrypt(t, plain, known(n)))
	for _, from := range []int64{0, 5*S + 100, n} {
		object := openFake(t, f, &small)
		object.Seek(from, io.SeekStart)
		var stored bytes.Buffer
		w, err := stream.NewEncryptWriter(t.Context(), &stored, key, nil)
		if err != nil {
			t.Fatal(err)
		}
		copied, err := io.Copy(w, object)
		if err := errors.Join(err, w.Close()); err != nil || copied != n-from {
			t.Fatalf("%d bytes, %v", copied, err)
		}
		r, err := stream.NewDecryptReader(t.Context(), &stored, key, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, plain[from:]) {
			t.Errorf("from %d: %d bytes, %v", from, len(got), err)
		}
		if at, err := object.Seek(0, io.SeekCurrent); err != nil || at != n {
			t.Errorf("the offset is %d, %v", at, err)
		}
	}
	broken := errors.New("the network is down")
	for k := 1; k < 4; k++ {
		f := f.clone()
		f.fault = func(i int, _ *s3.GetObjectInput) fault {
			if i >= k {
				return fault{err: broken}
			}
			return fault{}
		}
		object := openFake(t, f, &small)
		w, err := stream.NewEncryptWriter(t.Context(), io.Discard, key, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(w, object); !errors.Is(err, broken) {
			t.Errorf("request %d fails: %v", k, err)
		}
		if err := w.Close(); !errors.Is(err, broken) {
			t.Errorf("request %d fails: Close returned %v: half an object became a stream", k, err)
		}
	}
}
