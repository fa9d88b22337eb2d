package s3upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"strconv"
	"testing"
	"testing/iotest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/stream"
)

// The operations that only pairs need.
const (
	opGet    = "GetObject"
	opDelete = "DeleteObject"
)

// Where a pair's payload and header are in a fake.
const (
	payloadName = "bucket/dir/key"
	headerName  = payloadName + DefaultHeaderSuffix
)

// A pairFake is a fake that reads and deletes too, knows conditions, and keeps
// versions if it is told to.
type pairFake struct {
	*fake
	versions bool
	older    map[string][][]byte
	metadata map[string]string // of the payload
	breaks   int               // answers with a body that breaks off, from now on
}

func newPairFake(versions bool) *pairFake {
	return &pairFake{fake: newFake(), versions: versions, older: map[string][][]byte{}}
}

func etagOf(b []byte) *string { return aws.String(fmt.Sprintf(`"%08x"`, crc32.ChecksumIEEE(b))) }

// version names the current version of an object.
func (f *pairFake) version(name string) *string {
	if !f.versions {
		return nil
	}
	return aws.String("v" + strconv.Itoa(len(f.older[name])))
}

// check tells whether an object meets the conditions.
func (f *pairFake) check(name string, ifMatch, ifNoneMatch *string) error {
	b, ok := f.objects[name]
	if ifMatch != nil && (!ok || *ifMatch != *etagOf(b)) || ifNoneMatch != nil && ok {
		return answer(http.StatusPreconditionFailed, "PreconditionFailed")
	}
	return nil
}

// keep keeps the current version before another takes its place.
func (f *pairFake) keep(name string) {
	if f.versions {
		f.older[name] = append(f.older[name], f.objects[name])
	}
}

func (f *pairFake) PutObject(ctx context.Context, in *s3.PutObjectInput, _ ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	b, err := readBody(in.Body)
	if err != nil {
		return nil, err
	}
	name := *in.Bucket + "/" + *in.Key
	out := &s3.PutObjectOutput{ETag: etagOf(b)}
	return out, f.call(ctx, opPut, in, func() error {
		if err := f.check(name, in.IfMatch, in.IfNoneMatch); err != nil {
			return err
		}
		f.keep(name)
		f.objects[name] = b
		out.VersionId = f.version(name)
		if name == payloadName {
			f.metadata = in.Metadata
		}
		return nil
	})
}

func (f *pairFake) CreateMultipartUpload(ctx context.Context, in *s3.CreateMultipartUploadInput, _ ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error) {
	f.metadata = in.Metadata
	return f.fake.CreateMultipartUpload(ctx, in)
}

func (f *pairFake) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput, _ ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error) {
	f.mu.Lock()
	name := *in.Bucket + "/" + *in.Key
	err := f.check(name, in.IfMatch, in.IfNoneMatch)
	f.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return f.fake.CompleteMultipartUpload(ctx, in)
}

func (f *pairFake) GetObject(ctx context.Context, in *s3.GetObjectInput, _ ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	out := &s3.GetObjectOutput{}
	return out, f.call(ctx, opGet, in, func() error {
		name := *in.Bucket + "/" + *in.Key
		b, ok := f.objects[name]
		if !ok {
			return answer(http.StatusNotFound, "NoSuchKey")
		}
		out.ETag, out.VersionId = etagOf(b), f.version(name)
		if in.Range != nil {
			var first, final int
			if _, err := fmt.Sscanf(*in.Range, "bytes=%d-%d", &first, &final); err != nil {
				return err
			}
			if first >= len(b) {
				return answer(http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
			}
			b = b[first:min(final+1, len(b))]
		}
		out.Body = io.NopCloser(bytes.NewReader(b))
		if f.breaks > 0 {
			f.breaks--
			out.Body = io.NopCloser(io.MultiReader(bytes.NewReader(b[:len(b)/2]), iotest.ErrReader(io.ErrUnexpectedEOF)))
		}
		return nil
	})
}

func (f *pairFake) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput, _ ...func(*s3.Options)) (*s3.DeleteObjectOutput, error) {
	return &s3.DeleteObjectOutput{}, f.call(ctx, opDelete, in, func() error {
		name := *in.Bucket + "/" + *in.Key
		if err := f.check(name, in.IfMatch, nil); err != nil {
			return err
		}
		if in.VersionId != nil {
			if *in.VersionId != *f.version(name) {
				return errors.New("another version is deleted than the current one")
			}
			f.objects[name] = f.older[name][len(f.older[name])-1]
			f.older[name] = f.older[name][:len(f.older[name])-1]
			if f.objects[name] != nil {
				return nil
			}
		} else {
			f.keep(name)
		}
		delete(f.objects, name)
		return nil
	})
}

// reads fails the test unless payload and header are a stream of the plaintext.
func reads(t *testing.T, payload, header, plaintext []byte) stream.Info {
	t.Helper()
	r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(payload), testKey, &stream.DecryptOptions{DetachedHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	if err := sameBytes(r, plaintext); err != nil {
		t.Fatalf("the plaintext: %v", err)
	}
	return r.Info()
}
