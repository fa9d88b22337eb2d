package s3upload

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// TestRewrapErrors checks what is refused, with which error, and that nothing
// is written then.
func TestRewrapErrors(t *testing.T) {
	besideData := func(change func([]byte) []byte) func(*shelf) {
		return func(f *shelf) { f.put(besideName, &shelved{data: change(bytes.Clone(f.objects[besideName].data))}) }
	}
	metadata := func(text string) func(*shelf) {
		return func(f *shelf) { f.objects[rewrapName].head.Metadata[headerMetadata] = text }
	}
	fails := func(wanted string, err error) func(*shelf) {
		return func(f *shelf) {
			f.before = func(_ int, op string) error {
				if op == wanted {
					return err
				}
				return nil
			}
		}
	}
	for _, c := range []struct {
		name  string
		place string
		size  int
		set   func(*shelf)
		o     *RewrapOptions
		want  error  // nil: only the words
		words string // of the message
	}{
		{"no object", inObject, 1, func(f *shelf) { delete(f.objects, rewrapName) }, nil, nil, "there is no such object"},
		{"empty object", inObject, 1, func(f *shelf) { f.put(rewrapName, &shelved{}) }, nil, format.ErrNotStream, "dir/key"},
		{"another kind of file", inObject, 1, func(f *shelf) { f.put(rewrapName, &shelved{data: make([]byte, 5000)}) }, nil, format.ErrNotStream, "dir/key"},
		{"cut header", inObject, 1, func(f *shelf) { f.put(rewrapName, &shelved{data: f.objects[rewrapName].data[:4000]}) }, nil, stream.ErrTruncated, "dir/key"},
		{"changed header", inObject, 1, func(f *shelf) { f.objects[rewrapName].data[4095]++ }, nil, stream.ErrAuth, "dir/key"},
		{"no header beside", besideIt, 1, func(f *shelf) { delete(f.objects, besideName) }, nil, nil, besideName},
		{"other suffix", besideIt, 1, func(*shelf) {}, &RewrapOptions{HeaderSuffix: ".other"}, nil, "dir/key.other"},
		{"header beside of another payload", besideIt, 1, besideData(func(b []byte) []byte { b[20]++; return b }), nil, stream.ErrAuth, "another payload"},
		{"cut header beside", besideIt, 1, besideData(func(b []byte) []byte { return b[:4095] }), nil, format.ErrMalformed, besideName},
		{"header beside with more behind it", besideIt, 1, besideData(func(b []byte) []byte { return append(b, 0) }), nil, format.ErrMalformed, besideName},
		{"header beside is huge", besideIt, 1, besideData(func(b []byte) []byte { return append(b, make([]byte, 1<<20)...) }), nil, format.ErrMalformed, besideName},
		{"header beside is something else", besideIt, 1, besideData(func([]byte) []byte { return []byte("text") }), nil, format.ErrNotStream, besideName},
		{"metadata is no base64", inMetadata, 1, metadata("!"), nil, format.ErrMalformed, headerMetadata},
		{"metadata has a line break", inMetadata, 1, func(f *shelf) {
			m := f.objects[rewrapName].head.Metadata
			m[headerMetadata] = m[headerMetadata][:76] + "\n" + m[headerMetadata][76:]
		}, nil, format.ErrMalformed, headerMetadata},
		{"metadata is no header", inMetadata, 1, metadata(base64.RawURLEncoding.EncodeToString([]byte("text"))), nil, format.ErrNotStream, "dir/key"},
		{"new header does not fit", inMetadata, 1, func(*shelf) {}, &RewrapOptions{Stream: &stream.RewrapOptions{Metadata: map[string]string{"a": strings.Repeat("b", 2000)}}}, stream.ErrTooLarge, "2048"},
		{"archived", inObject, 1, fails(opGet, answer(403, "InvalidObjectState")), nil, nil, "restore it first"},
		{"may not read", inObject, 1, fails(opGet, answer(403, "AccessDenied")), nil, nil, "s3:GetObject"},
		{"may not read tags", inObject, 1, fails(opTags, answer(403, "AccessDenied")), nil, nil, "s3:GetObjectTagging"},
		{"may not write", inObject, 1, fails(opPut, answer(403, "AccessDenied")), nil, nil, "s3:PutObject"},
		{"may not create", inObject, minPartSize, fails(opCreate, answer(403, "AccessDenied")), nil, nil, "s3:PutObject"},
		{"may not copy", inObject, minPartSize, fails(opPartCopy, answer(403, "AccessDenied")), nil, nil, "s3:GetObject"},
		{"conflict", inObject, minPartSize, fails(opComplete, answer(409, "ConditionalRequestConflict")), nil, ErrChanged, ""},
		{"an upload that is gone", inObject, minPartSize, fails(opComplete, answer(404, "NoSuchUpload")), nil, nil, "NoSuchUpload"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newShelf()
			f.store(t, c.place, pattern(c.size), nil)
			c.set(f)
			before := map[string]*shelved{}
			for name, o := range f.objects {
				before[name] = o
			}
			o := &RewrapOptions{}
			if c.o != nil {
				*o = *c.o
			}
			o.AbortTimeout = time.Second
			res, err := Rewrap(t.Context(), f, rewrapInput(), testKey, newKey(t, "new", 8), o)
			if err == nil || res != nil || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.words) {
				t.Errorf("error %v, expected %v with %q", err, c.want, c.words)
			}
			if c.want == nil && (errors.Is(err, ErrChanged) || errors.Is(err, stream.ErrAuth)) {
				t.Errorf("error %v", err)
			}
			if strings.Count(err.Error(), "access was denied") > 1 || strings.Count(err.Error(), ErrChanged.Error()) > 1 {
				t.Errorf("the error says something twice: %v", err)
			}
			for name, o := range f.objects {
				if o != before[name] {
					t.Errorf("%s was written", name)
				}
			}
			f.clean(t)
		})
	}
}

// TestRewrapLargestHeader has a header as large as one can be, alone and with a
// byte behind it.
func TestRewrapLargestHeader(t *testing.T) {
	f := newShelf()
	f.store(t, besideIt, []byte("text"), &stream.EncryptOptions{Metadata: map[string]string{"a": strings.Repeat("b", 62_000)}})
	data := f.objects[besideName].data
	if len(data) != format.MaxHeaderSize {
		t.Fatalf("the header has %d bytes", len(data))
	}
	f.put(besideName, &shelved{data: append(bytes.Clone(data), 0)})
	if _, err := Rewrap(t.Context(), f, rewrapInput(), testKey, newKey(t, "new", 8), nil); !errors.Is(err, format.ErrMalformed) {
		t.Errorf("with a byte behind it: %v", err)
	}
	f.put(besideName, &shelved{data: data})
	if _, err := Rewrap(t.Context(), f, rewrapInput(), testKey, newKey(t, "new", 8), nil); err != nil {
		t.Errorf("alone: %v", err)
	}
}

// TestRewrapInput checks what is refused before the first request.
func TestRewrapInput(t *testing.T) {
	for name, in := range map[string]*s3.GetObjectInput{
		"nil":        nil,
		"no bucket":  {Key: aws.String("k")},
		"no key":     {Bucket: aws.String("b")},
		"range":      {Bucket: aws.String("b"), Key: aws.String("k"), Range: aws.String("bytes=0-1")},
		"part":       {Bucket: aws.String("b"), Key: aws.String("k"), PartNumber: new(int32(1))},
		"condition":  {Bucket: aws.String("b"), Key: aws.String("k"), IfModifiedSince: new(time.Now())},
		"other type": {Bucket: aws.String("b"), Key: aws.String("k"), ResponseContentType: aws.String("text/plain")},
	} {
		f := newShelf()
		if _, err := Rewrap(t.Context(), f, in, testKey, testKey, nil); !errors.Is(err, ErrInput) || len(f.calls) > 0 {
			t.Errorf("%s: %v after %v", name, err, f.calls)
		}
	}
	for _, o := range []*RewrapOptions{{Concurrency: -1}, {AbortTimeout: -1}} {
		f := newShelf()
		if _, err := Rewrap(t.Context(), f, rewrapInput(), testKey, testKey, o); !errors.Is(err, ErrInput) || len(f.calls) > 0 {
			t.Errorf("%+v: %v after %v", o, err, f.calls)
		}
	}
}

// TestRewrapVersions checks that only the current version, with the caller's
// ETag if there is one, is re-wrapped.
func TestRewrapVersions(t *testing.T) {
	for _, size := range []int{1, minPartSize} {
		f := newShelf()
		f.versioned = true
		f.store(t, inObject, pattern(size), nil)
		first := *f.objects[rewrapName]
		f.store(t, inObject, []byte("later"), nil)
		in := rewrapInput()
		in.VersionId = &first.version
		if _, err := Rewrap(t.Context(), f, in, testKey, newKey(t, "new", 8), nil); !errors.Is(err, ErrChanged) {
			t.Errorf("an old version: %v", err)
		}
		in.VersionId, in.IfMatch = nil, &first.etag
		if _, err := Rewrap(t.Context(), f, in, testKey, newKey(t, "new", 8), nil); !errors.Is(err, ErrChanged) {
			t.Errorf("an old ETag: %v", err)
		}
		f.opens(t, testKey, []byte("later"))
		now := f.objects[rewrapName]
		in.VersionId, in.IfMatch = &now.version, &now.etag
		if _, err := Rewrap(t.Context(), f, in, testKey, newKey(t, "new", 8), nil); err != nil {
			t.Errorf("the current version: %v", err)
		}
		f.opens(t, newKey(t, "new", 8), []byte("later"))
	}
}

// TestRewrapLocation checks that a stream that is bound elsewhere is not
// wrapped for other keys.
func TestRewrapLocation(t *testing.T) {
	key := newKey(t, "new", 8)
	for _, place := range places {
		f := newShelf()
		f.store(t, place, []byte("text"), &stream.EncryptOptions{Location: "s3://bucket/elsewhere"})
		f.calls = nil
		if _, err := Rewrap(t.Context(), f, rewrapInput(), testKey, key, nil); !errors.Is(err, stream.ErrPolicy) || slices.Contains(f.calls, opHead) {
			t.Errorf("%s: %v after %v", place, err, f.calls)
		}
		here := &RewrapOptions{Stream: &stream.RewrapOptions{Location: aws.String("s3://bucket/dir/key")}}
		if _, err := Rewrap(t.Context(), f, rewrapInput(), testKey, key, here); err != nil {
			t.Errorf("%s: %v", place, err)
		}
		f.opens(t, key, []byte("text"))
		if _, err := Rewrap(t.Context(), f, rewrapInput(), key, testKey, nil); err != nil {
			t.Errorf("%s: bound to where it is: %v", place, err)
		}
	}
}

// TestRewrapRetriedByTheSDK has a final request that succeeds, and whose
// second attempt then meets its own object.
func TestRewrapRetriedByTheSDK(t *testing.T) {
	for _, c := range rewrapCases {
		for _, code := range []error{answer(412, "PreconditionFailed"), answer(404, "NoSuchUpload"), answer(500, "InternalError"), io.ErrUnexpectedEOF} {
			f := newShelf()
			f.store(t, c.place, pattern(c.size), nil)
			f.after = func(_ int, op string) error {
				if op == opPut || op == opCopy || op == opComplete {
					return code
				}
				return nil
			}
			res, err := Rewrap(t.Context(), f, rewrapInput(), testKey, newKey(t, "new", 8), nil)
			if err != nil {
				t.Errorf("%v, %v: %v", c, code, err)
				continue
			}
			if res.ETag != f.objects["bucket/"+res.Key].etag {
				t.Errorf("%v, %v: %+v", c, code, res)
			}
			f.opens(t, newKey(t, "new", 8), pattern(c.size))
		}
	}
}

// TestRewrapFailedAbort checks that the error has what it takes to abort later.
func TestRewrapFailedAbort(t *testing.T) {
	f := newShelf()
	f.store(t, inObject, pattern(minPartSize), nil)
	f.before = func(_ int, op string) error {
		switch op {
		case opPartCopy:
			return answer(500, "InternalError")
		case opAbort:
			return answer(403, "AccessDenied")
		}
		return nil
	}
	_, err := Rewrap(t.Context(), f, rewrapInput(), testKey, newKey(t, "new", 8), nil)
	e, ok := errors.AsType[*UploadError](err)
	if !ok || e.AbortErr == nil || f.uploads[e.UploadID] == nil || !strings.Contains(err.Error(), e.UploadID) || e.MayBeStored {
		t.Errorf("%#v", err)
	}
}

// A breaking client's answers break off after a while.
type breaking struct {
	*shelf
	whole  int // bodies that do not, at first
	bodies int // bodies that do, then
}

func (b *breaking) GetObject(ctx context.Context, in *s3.GetObjectInput, o ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	out, err := b.shelf.GetObject(ctx, in, o...)
	if b.whole--; err == nil && b.whole < 0 && b.bodies > 0 {
		b.bodies--
		out.Body = io.NopCloser(io.MultiReader(io.LimitReader(out.Body, 1000), iotest.ErrReader(io.ErrUnexpectedEOF)))
	}
	return out, err
}

// TestRewrapBrokenBodies checks that a body that breaks off is asked for again,
// and not for ever.
func TestRewrapBrokenBodies(t *testing.T) {
	for _, size := range []int{100_000, minPartSize} {
		for whole := range 2 {
			for bodies := range readAttempts + 1 {
				f := newShelf()
				f.store(t, inObject, pattern(size), nil)
				_, err := Rewrap(t.Context(), &breaking{f, whole, bodies}, rewrapInput(), testKey, newKey(t, "new", 8), nil)
				if broken := errors.Is(err, io.ErrUnexpectedEOF); broken != (bodies == readAttempts) || !broken && err != nil {
					t.Errorf("%d bytes, %d bodies break off after %d: %v", size, bodies, whole, err)
				}
				if err == nil {
					f.opens(t, newKey(t, "new", 8), pattern(size))
				}
			}
		}
	}
}
