package s3download

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// far has a prefetch that takes a request of its own, and does not reach the
// end of farSize bytes.
var far = Options{CacheSize: 12 * S, WindowSize: 12 * S, Concurrency: 3, Prefetch: Range{33 * S, S}}

const farSize = 50*S + 10

// openAndRead opens the fake's object and reads it in one of the ways.
func openAndRead(t *testing.T, f *fakeS3, how string, o *Options) ([]byte, error) {
	object, err := Open(t.Context(), f, f.input(), key, o)
	if err != nil {
		return nil, err
	}
	defer closeFake(t, f, object)
	return readers[how](t.Context(), object)
}

// sweep calls test in a bubble of fake time for each way to read, of a stream
// that declares its size and of one that does not and is opened with two
// requests, with its header in each place, and gives it the number of requests
// that reading takes when nothing fails.
func sweep(t *testing.T, test func(t *testing.T, f *fakeS3, plain []byte, requests int, read func() ([]byte, error))) {
	for name, c := range map[string]struct {
		size int
		eo   stream.EncryptOptions
		o    *Options
	}{
		"known":   {25 * S, known(25 * S), &small},
		"unknown": {farSize, stream.EncryptOptions{}, &far},
	} {
		plain := plaintext(c.size)
		for _, at := range places[:4] {
			stored := at.store(t, plain, c.eo)
			for how := range readers {
				if testing.Short() && (name == "known") != (at.name == places[0].name) {
					continue
				}
				t.Run(name+"/"+at.name+"/"+how, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						f := stored.clone()
						read := func() ([]byte, error) { return openAndRead(t, f, how, at.options(c.o)) }
						if got, err := read(); err != nil || !bytes.Equal(got, plain) {
							t.Fatalf("without a fault: %d bytes, %v", len(got), err)
						}
						test(t, f, plain, f.count(), read)
					})
				})
			}
		}
	}
}

// passing are the faults that a further request makes good.
func passing() map[string]fault {
	faults := map[string]fault{
		"503":   {err: statusError(http.StatusServiceUnavailable, "SlowDown")},
		"500":   {err: statusError(http.StatusInternalServerError, "InternalError")},
		"hang":  {hang: true},
		"long":  {edit: func(_ *s3.GetObjectOutput, body []byte) []byte { return append(body, "more"...) }},
		"reset": cut(S+100, errors.New("connection reset by peer")),
		"stall": cut(S+100, errHang),
	}
	for _, n := range []int{0, 1, format.PreludeSize, format.DefaultHeaderSize, S + format.SegmentOverhead - 1, S + format.SegmentOverhead, 2 * S} {
		faults[fmt.Sprintf("cut after %d", n)] = cut(n, nil)
	}
	return faults
}

func TestPassingFaults(t *testing.T) {
	sweep(t, func(t *testing.T, f *fakeS3, plain []byte, requests int, read func() ([]byte, error)) {
		for name, fault := range passing() {
			for k := range requests {
				f.requests = nil
				f.failOnce(k, fault)
				got, err := read()
				if err != nil || !bytes.Equal(got, plain) {
					t.Fatalf("%s at request %d of %d: %d bytes, %v", name, k, requests, len(got), err)
				}
				if f.count() > requests+2 { // one instead, and a row that the prefetch would have parted
					t.Errorf("%s at request %d: %d requests, %d without it", name, k, f.count(), requests)
				}
			}
		}
	})
}

// Each body ends one segment after it began: nothing but progress.
func TestProgressResetsRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain := plaintext(farSize)
		f := newFake(encrypt(t, plain, known(farSize)))
		f.fault = func(k int, _ *s3.GetObjectInput) fault {
			if k == 0 {
				return fault{}
			}
			return cut(S+format.SegmentOverhead+S/2, nil)
		}
		got, err := openAndRead(t, f, "Read", &Options{Retries: 1})
		if err != nil || !bytes.Equal(got, plain) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
}

// lasting are the faults that retries do not make good, when each request from
// the k-th on meets them.
var lasting = map[string]struct {
	fault fault
	want  error
}{
	"503":     {fault{err: statusError(http.StatusServiceUnavailable, "SlowDown")}, nil},
	"hang":    {fault{hang: true}, ErrStalled},
	"empty":   {cut(0, nil), io.ErrUnexpectedEOF},
	"stalled": {cut(10, errHang), ErrStalled},
}

func TestLastingFaults(t *testing.T) {
	sweep(t, func(t *testing.T, f *fakeS3, plain []byte, requests int, read func() ([]byte, error)) {
		for name, l := range lasting {
			for k := range requests {
				f.requests = nil
				f.fault = func(i int, _ *s3.GetObjectInput) fault {
					if i >= k {
						return l.fault
					}
					return fault{}
				}
				got, err := read()
				if err == nil {
					t.Fatalf("%s from request %d of %d on: no error, %d bytes", name, k, requests, len(got))
				}
				if l.want != nil && !errors.Is(err, l.want) {
					t.Errorf("%s from request %d on: %v", name, k, err)
				}
				if errors.Is(err, stream.ErrAuth) || errors.Is(err, stream.ErrTruncated) {
					t.Errorf("%s from request %d on: the network's fault became the stream's: %v", name, k, err)
				}
				if !bytes.HasPrefix(plain, got) {
					t.Fatalf("%s from request %d on: wrong bytes", name, k)
				}
				// The prefetch, and four times each fetch that was under way.
				if limit := k + 1 + 4*far.Concurrency; f.count() > limit {
					t.Errorf("%s from request %d on: %d requests", name, k, f.count())
				}
			}
		}
	})
}

// final are the faults that no retry may follow.
var final = map[string]struct {
	fault fault
	want  error // or check
	check func(error) bool
}{
	"no such key": {fault: fault{err: &types.NoSuchKey{}}, check: isA[*types.NoSuchKey]},
	"archived":    {fault: fault{err: &types.InvalidObjectState{}}, check: isA[*types.InvalidObjectState]},
	"denied":      {fault: fault{err: statusError(http.StatusForbidden, "AccessDenied")}, check: hasStatus(http.StatusForbidden)},
	"416":         {fault: fault{err: statusError(http.StatusRequestedRangeNotSatisfiable, "InvalidRange")}, check: hasStatus(http.StatusRequestedRangeNotSatisfiable)},
	"changed":     {fault: fault{err: statusError(http.StatusPreconditionFailed, "PreconditionFailed")}, want: ErrChanged},
	"other ETag": {want: ErrChanged, fault: editing(func(out *s3.GetObjectOutput) {
		out.ETag = aws.String(`"two"`)
	})},
	"other total": {want: ErrChanged, fault: editing(func(out *s3.GetObjectOutput) {
		*out.ContentRange += "0"
	})},
	"no range": {want: ErrAnswer, fault: editing(func(out *s3.GetObjectOutput) { out.ContentRange = nil })},
	"shifted range": {want: ErrAnswer, fault: editing(func(out *s3.GetObjectOutput) {
		var start, end, total int64
		fmt.Sscanf(*out.ContentRange, "bytes %d-%d/%d", &start, &end, &total)
		*out.ContentRange = fmt.Sprintf("bytes %d-%d/%d", start-1, end, total)
		out.ContentLength = nil
	})},
	"no total": {want: ErrAnswer, fault: editing(func(out *s3.GetObjectOutput) {
		*out.ContentRange = (*out.ContentRange)[:strings.Index(*out.ContentRange, "/")] + "/*"
	})},
	"other range": {want: ErrAnswer, fault: editing(func(out *s3.GetObjectOutput) {
		*out.ContentRange = strings.Replace(*out.ContentRange, "bytes ", "bytes 1", 1)
	})},
	"other length": {want: ErrAnswer, fault: editing(func(out *s3.GetObjectOutput) { *out.ContentLength++ })},
	"wrong bytes": {want: stream.ErrAuth, fault: fault{edit: func(_ *s3.GetObjectOutput, body []byte) []byte {
		body[len(body)-1] ^= 1
		return body
	}}},
}

func editing(edit func(out *s3.GetObjectOutput)) fault {
	return fault{edit: func(out *s3.GetObjectOutput, body []byte) []byte {
		edit(out)
		return body
	}}
}

func isA[E error](err error) bool {
	var target E
	return errors.As(err, &target)
}

func hasStatus(code int) func(error) bool {
	return func(err error) bool {
		var response interface{ HTTPStatusCode() int }
		return errors.As(err, &response) && response.HTTPStatusCode() == code
	}
}

func TestFinalFaults(t *testing.T) {
	sweep(t, func(t *testing.T, f *fakeS3, plain []byte, requests int, read func() ([]byte, error)) {
		for name, l := range final {
			for k := range requests - 1 {
				f.requests = nil
				met := f.failBehind(k, l.fault)
				got, err := read()
				if err == nil && met.IfMatch == nil && bytes.Equal(got, plain) {
					continue // the prefetch failed, which is nothing lost
				}
				if err == nil || l.want != nil && !errors.Is(err, l.want) || l.check != nil && !l.check(err) {
					t.Fatalf("%s at request %d of %d: %v", name, k, requests, err)
				}
				if !strings.Contains(err.Error(), "s3://bucket/a/key") {
					t.Errorf("the error does not name the object: %v", err)
				}
				if !bytes.HasPrefix(plain, got) {
					t.Fatalf("%s at request %d: wrong bytes", name, k)
				}
			}
		}
	})
}

// The two first answers must be from the same object.
func TestFirstAnswersDiffer(t *testing.T) {
	f := newFake(encrypt(t, plaintext(farSize), known(farSize)))
	for _, name := range []string{"other ETag", "other total"} {
		met := f.failBehind(0, final[name].fault)
		if _, err := Open(t.Context(), f, f.input(), key, &far); !errors.Is(err, ErrChanged) || met.Range == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpenFaults(t *testing.T) {
	stored := encrypt(t, plaintext(3*S), known(3*S))
	empty := statusError(http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
	for name, c := range map[string]struct {
		fault fault
		data  []byte
		want  error
		check func(error) bool
	}{
		"no such key":    {fault: fault{err: &types.NoSuchKey{}}, check: isA[*types.NoSuchKey]},
		"no such bucket": {fault: fault{err: &types.NoSuchBucket{}}, check: isA[*types.NoSuchBucket]},
		"archived":       {fault: fault{err: &types.InvalidObjectState{}}, check: isA[*types.InvalidObjectState]},
		"denied":         {fault: fault{err: statusError(http.StatusForbidden, "AccessDenied")}, check: hasStatus(http.StatusForbidden)},
		"not modified":   {fault: fault{err: statusError(http.StatusNotModified, "NotModified")}, check: hasStatus(http.StatusNotModified)},
		"precondition":   {fault: fault{err: statusError(http.StatusPreconditionFailed, "PreconditionFailed")}, want: ErrChanged},
		"empty, 416":     {fault: fault{err: empty}, want: format.ErrNotStream},
		"empty, 200": {want: format.ErrNotStream, fault: editing(func(out *s3.GetObjectOutput) {
			out.ContentRange, out.ContentLength = nil, aws.Int64(0)
		})},
		"no length": {want: ErrAnswer, fault: editing(func(out *s3.GetObjectOutput) {
			out.ContentRange, out.ContentLength = nil, nil
		})},
		"unknown length": {want: ErrAnswer, fault: editing(func(out *s3.GetObjectOutput) {
			out.ContentRange, out.ContentLength = nil, aws.Int64(-1)
		})},
		"great total": {want: stream.ErrSizeMismatch, fault: editing(func(out *s3.GetObjectOutput) {
			*out.ContentRange = fmt.Sprintf("bytes 0-%d/9223372036854775807", *out.ContentLength-1)
			out.ContentLength = nil
		}), data: append(bytes.Clone(stored), make([]byte, 70<<10)...)},
		"other file": {data: []byte("a file of another kind"), want: format.ErrNotStream},
		"cut":        {data: stored[:len(stored)-1], want: stream.ErrTruncated},
		"cut header": {data: stored[:1000], want: stream.ErrTruncated},
		"extended":   {data: append(bytes.Clone(stored), 0), want: stream.ErrSizeMismatch},
	} {
		f := newFake(stored)
		if c.data != nil {
			f.data = c.data
		}
		f.failOnce(0, c.fault)
		object, err := Open(t.Context(), f, f.input(), key, nil)
		if object != nil || err == nil || c.want != nil && !errors.Is(err, c.want) || c.check != nil && !c.check(err) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if strings.Count(err.Error(), "s3://bucket/a/key") != 1 {
			t.Errorf("%s: the error does not name the object once: %v", name, err)
		}
		if f.open != 0 {
			t.Errorf("%s: a body was left open", name)
		}
	}
}

// A server that answers the whole object with status 200 can be read as long
// as what it answers begins where it was asked to.
func TestWholeObjectAnswer(t *testing.T) {
	plain := plaintext(2*S + 5)
	f := newFake(encrypt(t, plain, known(len(plain))))
	f.fault = func(int, *s3.GetObjectInput) fault {
		return fault{edit: func(out *s3.GetObjectOutput, _ []byte) []byte {
			out.ContentRange, out.ContentLength = nil, aws.Int64(int64(len(f.data)))
			return f.data
		}}
	}
	got, err := openAndRead(t, f, "Read", nil)
	if err != nil || !bytes.Equal(got, plain) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if got, err = openAndRead(t, f, "Read", &Options{Prefetch: Range{1 << 20, 0}}); !errors.Is(err, ErrAnswer) || len(got) != 0 {
		t.Errorf("with the segments not yet fetched: %d bytes, %v", len(got), err)
	}
}

// Keys and policy errors name the object too, and are not taken for S3's.
func TestOpenKeyErrors(t *testing.T) {
	eo := known(S)
	eo.Location = "s3://bucket/another"
	f := newFake(encrypt(t, plaintext(S), known(S)))
	_, err := Open(t.Context(), f, f.input(), mustKey("another", 2), nil)
	if !errors.Is(err, keywrap.ErrNoMatch) || !strings.Contains(err.Error(), "s3://bucket/a/key") {
		t.Errorf("no key: %v", err)
	}
	_, err = Open(t.Context(), f, f.input(), refusing{statusError(http.StatusForbidden, "AccessDenied")}, nil)
	if !hasStatus(http.StatusForbidden)(err) || strings.Contains(err.Error(), "s3:GetObject") {
		t.Errorf("a key service that denies: %v", err)
	}
	f = newFake(encrypt(t, plaintext(S), eo))
	if _, err := Open(t.Context(), f, f.input(), key, nil); !errors.Is(err, stream.ErrPolicy) {
		t.Errorf("an object bound to another location: %v", err)
	}
	openFake(t, f, &Options{Decrypt: &stream.DecryptOptions{IgnoreLocation: true}})
	openFake(t, f, &Options{Decrypt: &stream.DecryptOptions{Location: eo.Location}})
	eo.Location = "s3://bucket/a/key"
	openFake(t, newFake(encrypt(t, plaintext(S), eo)), nil)
}

type refusing struct{ err error }

func (r refusing) UnwrapKey(context.Context, format.WrappedKey, keywrap.Context) ([]byte, error) {
	return nil, r.err
}
