package s3download

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/stream"
)

func TestChangedObject(t *testing.T) {
	const n = 60 * S
	plain := plaintext(n)
	stored, other := encrypt(t, plain, known(n)), encrypt(t, plain, known(n))
	for how, read := range readers {
		f := newFake(stored)
		object := openFake(t, f, &small)
		f.data, f.etag = other, `"two"`
		got, err := read(t.Context(), object)
		if !errors.Is(err, ErrChanged) || !bytes.HasPrefix(plain, got) {
			t.Errorf("%s of a replaced object: %v", how, err)
		}
		// A store that hides the change is found out by the first segment.
		f.etag = `"one"`
		if got, err := read(t.Context(), openFake(t, newFake(stored), &small)); err != nil || len(got) != n {
			t.Fatal(err)
		}
		object.Seek(0, io.SeekStart)
		if _, err := read(t.Context(), object); !errors.Is(err, stream.ErrAuth) {
			t.Errorf("%s of a swapped object: %v", how, err)
		}
		if _, err := object.ReadAt(make([]byte, 1), 50*S); !errors.Is(err, stream.ErrAuth) {
			t.Errorf("an authentication failure was forgotten: %v", err)
		}
	}
	f := newFake(stored)
	in := f.input()
	in.IfMatch = aws.String(`"two"`)
	if _, err := Open(t.Context(), f, in, key, nil); !errors.Is(err, ErrChanged) {
		t.Errorf("the caller's own IfMatch: %v", err)
	}
}

func TestVersionPin(t *testing.T) {
	const n = 60 * S
	stored := encrypt(t, plaintext(n), known(n))
	readTail := func(object *Object) error {
		_, err := object.ReadAt(make([]byte, S), 50*S)
		return err
	}
	for _, c := range []struct {
		answered, asked string
		expected        string
	}{{"v1", "", "v1"}, {"", "", ""}, {"null", "", ""}, {"v1", "v1", "v1"}, {"", "v1", "v1"}} {
		f := newFake(stored)
		f.version = c.answered
		in := f.input()
		if c.asked != "" {
			in.VersionId = &c.asked
		}
		object, err := Open(t.Context(), f, in, key, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer closeFake(t, f, object)
		if err := readTail(object); err != nil {
			t.Fatal(err)
		}
		if first, second := aws.ToString(f.requests[0].VersionId), aws.ToString(f.requests[1].VersionId); first != c.asked || second != c.expected {
			t.Errorf("%+v: asked for version %q, then %q", c, first, second)
		}
	}
	// Without s3:GetObjectVersion, the ETag alone pins the object.
	f := newFake(stored)
	f.version = "v1"
	f.fault = func(_ int, in *s3.GetObjectInput) fault {
		if in.VersionId != nil {
			return fault{err: statusError(http.StatusForbidden, "AccessDenied")}
		}
		return fault{}
	}
	object := openFake(t, f, nil)
	if err := readTail(object); err != nil {
		t.Error(err)
	}
	before := f.count()
	if _, err := object.ReadAt(make([]byte, 1), 30*S); err != nil || f.count() != before+1 {
		t.Errorf("%v after %d requests: the refusal was forgotten", err, f.count()-before)
	}
	in := f.input()
	in.VersionId = aws.String("v1")
	if _, err := Open(t.Context(), f, in, key, nil); !hasStatus(http.StatusForbidden)(err) {
		t.Errorf("the caller's own version: %v", err)
	}
	// If-Match does not take a weak ETag; answers are compared all the same.
	f = newFake(stored)
	f.etag = `W/"one"`
	object = openFake(t, f, nil)
	if err := readTail(object); err != nil || f.requests[1].IfMatch != nil {
		t.Errorf("with a weak ETag: %v", err)
	}
	f.etag = `W/"two"`
	if _, err := object.ReadAt(make([]byte, 1), 20*S); !errors.Is(err, ErrChanged) {
		t.Errorf("with another weak ETag: %v", err)
	}
}

// Every field that the SDK has now or later goes into every request.
func TestInputFields(t *testing.T) {
	f := newFake(encrypt(t, plaintext(60*S), known(60*S)))
	in := f.input()
	v := reflect.ValueOf(in).Elem()
	for i := range v.NumField() {
		field, name := v.Field(i), v.Type().Field(i).Name
		switch {
		case !v.Type().Field(i).IsExported(), name == "Range", name == "PartNumber", name == "Bucket", name == "Key":
		case name == "IfMatch":
			in.IfMatch = &f.etag
		case field.Type() == reflect.TypeFor[*string]():
			field.Set(reflect.ValueOf(new(name)))
		case field.Type() == reflect.TypeFor[*time.Time]():
			field.Set(reflect.ValueOf(new(time.Unix(1, 0))))
		case field.Kind() == reflect.String:
			field.SetString(name)
		default:
			t.Fatalf("GetObjectInput has a field %s of type %v: extend this test", name, field.Type())
		}
	}
	before := *in
	object, err := Open(t.Context(), f, in, key, &Options{Prefetch: Range{40 * S, 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer closeFake(t, f, object)
	if _, err := object.ReadAt(make([]byte, 1), 50*S); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(*in, before) {
		t.Error("Open changed its input")
	}
	if f.count() != 3 {
		t.Fatalf("%d requests", f.count())
	}
	for _, request := range f.requests {
		if request.Range == nil {
			t.Error("a request without a range")
		}
		request.Range = nil
		if !reflect.DeepEqual(request, before) {
			t.Errorf("a request differs from the input: %+v", request)
		}
	}
}

func TestBadArguments(t *testing.T) {
	f := newFake(encrypt(t, plaintext(1), known(1)))
	for name, c := range map[string]struct {
		in *s3.GetObjectInput
		o  *Options
	}{
		"nil":              {in: nil},
		"no bucket":        {in: &s3.GetObjectInput{Key: aws.String("k")}},
		"empty key":        {in: &s3.GetObjectInput{Bucket: aws.String("b"), Key: new("")}},
		"range":            {in: &s3.GetObjectInput{Bucket: aws.String("b"), Key: aws.String("k"), Range: aws.String("bytes=0-1")}},
		"part":             {in: &s3.GetObjectInput{Bucket: aws.String("b"), Key: aws.String("k"), PartNumber: aws.Int32(1)}},
		"negative offset":  {in: f.input(), o: &Options{Prefetch: Range{-1, 1}}},
		"negative length":  {in: f.input(), o: &Options{Prefetch: Range{0, -1}}},
		"negative cache":   {in: f.input(), o: &Options{CacheSize: -1}},
		"negative window":  {in: f.input(), o: &Options{WindowSize: -1}},
		"negative workers": {in: f.input(), o: &Options{Concurrency: -1}},
		"negative stall":   {in: f.input(), o: &Options{StallTimeout: -1}},
	} {
		if _, err := Open(t.Context(), f, c.in, key, c.o); err == nil || !strings.HasPrefix(err.Error(), "s3download: ") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if f.count() != 0 {
		t.Errorf("%d requests were made", f.count())
	}
}

func TestNoRetries(t *testing.T) {
	f := newFake(encrypt(t, plaintext(1), known(1)))
	f.fault = func(int, *s3.GetObjectInput) fault { return cut(0, nil) }
	if _, err := Open(t.Context(), f, f.input(), key, &Options{Retries: -1}); !errors.Is(err, io.ErrUnexpectedEOF) || f.count() != 1 {
		t.Errorf("%v after %d requests", err, f.count())
	}
}

type clientFunc func(in *s3.GetObjectInput) (*s3.GetObjectOutput, error)

func (f clientFunc) GetObject(_ context.Context, in *s3.GetObjectInput, _ ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	return f(in)
}

func TestNoBody(t *testing.T) {
	client := clientFunc(func(*s3.GetObjectInput) (*s3.GetObjectOutput, error) {
		return &s3.GetObjectOutput{ContentRange: aws.String("bytes 0-69659/100000")}, nil
	})
	if _, err := Open(t.Context(), client, (&fakeS3{}).input(), key, &Options{Retries: -1}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
}

// A prefetch that does not come holds up neither Open's failure nor, for long,
// its success.
func TestHangingPrefetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(encrypt(t, plaintext(60*S), known(60*S)))
		var denied bool
		f.fault = func(_ int, in *s3.GetObjectInput) fault {
			if first := strings.HasPrefix(*in.Range, "bytes=0-"); first && denied {
				return fault{err: statusError(http.StatusForbidden, "AccessDenied")}
			} else if !first {
				return fault{hang: true}
			}
			return fault{}
		}
		for _, denied = range []bool{false, true} {
			start := time.Now()
			object, err := Open(t.Context(), f, f.input(), key, &Options{Prefetch: Range{33 * S, S}, StallTimeout: 7 * time.Second})
			took, limit := time.Since(start), 7*time.Second
			if denied {
				limit = 0
			} else {
				defer closeFake(t, f, object)
			}
			if denied != hasStatus(http.StatusForbidden)(err) || took > limit {
				t.Errorf("denied %t: %v after %v", denied, err, took)
			}
		}
	})
}

func TestParseContentRange(t *testing.T) {
	for v, want := range map[string][3]int64{
		"bytes 0-0/1":         {0, 1, 1},
		"bytes 5-9/10":        {5, 10, 10},
		"bytes 0-99/1000":     {0, 100, 1000},
		"bytes 0-0/" + maxInt: {0, 1, 1<<63 - 1},
		"":                    {}, "bytes": {}, "bytes 0-0": {}, "bytes 0-0/": {}, "bytes 0-0/*": {}, "bytes */10": {}, "0-0/1": {},
		"bytes 1-0/10": {}, "bytes 0-10/10": {}, "bytes -1-0/10": {}, "bytes 0--1/10": {}, "bytes +0-1/10": {},
		"bytes 0-0/9223372036854775808": {}, "bytes  0-0/1": {}, "bytes 0-0/1 ": {}, "items 0-0/1": {}, "bytes 0-0/1/1": {}, "bytes 0-0/0": {},
	} {
		start, end, total, ok := parseContentRange(v)
		if got := [3]int64{start, end, total}; got != want || ok != (want[2] > 0) {
			t.Errorf("%q: %v, %t", v, got, ok)
		}
	}
}

const maxInt = "9223372036854775807"
