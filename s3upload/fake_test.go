package s3upload

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// The operations of a fake's calls.
const (
	opPut      = "PutObject"
	opCreate   = "CreateMultipartUpload"
	opPart     = "UploadPart"
	opComplete = "CompleteMultipartUpload"
	opAbort    = "AbortMultipartUpload"
)

// A fake is S3 in memory: what is visible, what is stored without being
// visible, and every request.
type fake struct {
	before func(ctx context.Context, k int, op string) error // the k-th call, from 1: an error keeps it from having an effect
	after  func(ctx context.Context, k int, op string) error // an error: the effect is there, the answer is lost

	discard bool // keep only the sizes of parts

	mu       sync.Mutex
	calls    []string
	inputs   []any
	objects  map[string][]byte
	uploads  map[string]map[int32][]byte
	created  int // uploads begun, each with an id of its own
	inFlight int
	most     int // parts in flight at a time
}

func newFake() *fake {
	return &fake{objects: map[string][]byte{}, uploads: map[string]map[int32][]byte{}}
}

// newWeighed returns a fake that keeps only the sizes of parts, and the most
// bytes that were reachable during a request, beyond those of now.
func newWeighed() (*fake, *int64) {
	live := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	base, most := live(), new(int64)
	var mu sync.Mutex
	f := newFake()
	f.discard = true
	f.before = func(context.Context, int, string) error {
		mu.Lock()
		defer mu.Unlock()
		*most = max(*most, live()-base)
		return nil
	}
	return f, most
}

// call runs effect between the hooks.
func (f *fake) call(ctx context.Context, op string, in any, effect func() error) error {
	f.mu.Lock()
	f.calls = append(f.calls, op)
	f.inputs = append(f.inputs, in)
	k := len(f.calls)
	f.mu.Unlock()
	if f.before != nil {
		if err := f.before(ctx, k, op); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	err := effect()
	f.mu.Unlock()
	if err == nil && f.after != nil {
		err = f.after(ctx, k, op)
	}
	return err
}

func (f *fake) PutObject(ctx context.Context, in *s3.PutObjectInput, _ ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	b, err := readBody(in.Body)
	if err != nil {
		return nil, err
	}
	err = f.call(ctx, opPut, in, func() error {
		f.objects[*in.Bucket+"/"+*in.Key] = b
		return nil
	})
	return &s3.PutObjectOutput{ETag: aws.String(`"put"`), VersionId: aws.String("v1")}, err
}

func (f *fake) CreateMultipartUpload(ctx context.Context, in *s3.CreateMultipartUploadInput, _ ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error) {
	var id string
	err := f.call(ctx, opCreate, in, func() error {
		f.created++
		id = "upload-" + strconv.Itoa(f.created)
		f.uploads[id] = map[int32][]byte{}
		return nil
	})
	return &s3.CreateMultipartUploadOutput{UploadId: &id}, err
}

func (f *fake) UploadPart(ctx context.Context, in *s3.UploadPartInput, _ ...func(*s3.Options)) (*s3.UploadPartOutput, error) {
	f.mu.Lock()
	f.inFlight++
	f.most = max(f.most, f.inFlight)
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.inFlight--
		f.mu.Unlock()
	}()
	var b []byte
	if !f.discard {
		var err error
		if b, err = readBody(in.Body); err != nil {
			return nil, err
		}
	}
	err := f.call(ctx, opPart, in, func() error {
		parts, ok := f.uploads[*in.UploadId]
		if !ok {
			return errNoSuchUpload
		}
		parts[*in.PartNumber] = b
		return nil
	})
	return &s3.UploadPartOutput{ETag: aws.String(fmt.Sprint("etag-", *in.PartNumber)), ChecksumCRC32: aws.String("sum")}, err
}

func (f *fake) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput, _ ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error) {
	err := f.call(ctx, opComplete, in, func() error {
		parts, ok := f.uploads[*in.UploadId]
		if !ok {
			return errNoSuchUpload
		}
		size := 0
		for _, b := range parts {
			size += len(b)
		}
		object := make([]byte, 0, size)
		for i, p := range in.MultipartUpload.Parts {
			b, ok := parts[*p.PartNumber]
			if !ok || int(*p.PartNumber) != i+1 || *p.ETag != fmt.Sprint("etag-", i+1) || *p.ChecksumCRC32 != "sum" {
				return &smithy.GenericAPIError{Code: "InvalidPart"}
			}
			if !f.discard && i < len(in.MultipartUpload.Parts)-1 && len(b) < minPartSize {
				return &smithy.GenericAPIError{Code: "EntityTooSmall"}
			}
			object = append(object, b...)
		}
		f.objects[*in.Bucket+"/"+*in.Key] = object
		delete(f.uploads, *in.UploadId)
		return nil
	})
	return &s3.CompleteMultipartUploadOutput{ETag: aws.String(`"multi-1"`), VersionId: aws.String("v1")}, err
}

func (f *fake) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput, _ ...func(*s3.Options)) (*s3.AbortMultipartUploadOutput, error) {
	err := f.call(ctx, opAbort, in, func() error {
		if _, ok := f.uploads[*in.UploadId]; !ok {
			return errNoSuchUpload
		}
		delete(f.uploads, *in.UploadId)
		return nil
	})
	return &s3.AbortMultipartUploadOutput{}, err
}

var errNoSuchUpload = &smithy.GenericAPIError{Code: "NoSuchUpload"}

// empty fails the test if anything is visible or stored.
func (f *fake) empty(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, b := range f.objects {
		t.Errorf("object %s of %d bytes is visible", name, len(b))
	}
	for id, parts := range f.uploads {
		t.Errorf("upload %s is left with %d parts", id, len(parts))
	}
}

// count returns how many calls of op there were.
func (f *fake) count(op string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, c := range f.calls {
		if c == op {
			n++
		}
	}
	return n
}

var testKey = func() *keywrap.AESKey {
	k, err := keywrap.NewAESKey("test", bytes.Repeat([]byte{7}, keywrap.AESKeySize))
	if err != nil {
		panic(err)
	}
	return k
}()

// pattern returns n bytes that differ from segment to segment, and are not to
// be changed.
func pattern(n int) []byte { return allPattern()[:n:n] }

var allPattern = sync.OnceValue(func() []byte {
	b := make([]byte, 8*minPartSize)
	for i := range b {
		b[i] = byte(i>>16 ^ i>>8 ^ i)
	}
	return b
})

// readBody reads the body of a request into memory of its size: with the race
// detector, large memory that is allocated costs more than anything else here.
func readBody(body io.Reader) ([]byte, error) {
	size, err := bodySize(body)
	if err != nil {
		return nil, err
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(body, b); err != nil && err != io.EOF {
		return nil, err
	}
	return b, nil
}

// readAll is io.ReadAll, of about size bytes.
func readAll(r io.Reader, size int) ([]byte, error) {
	b := new(bytes.Buffer)
	b.Grow(size + size/1000 + 16<<10)
	_, err := b.ReadFrom(r)
	return b.Bytes(), err
}

// sameBytes tells whether r gives want, and nothing else.
func sameBytes(r io.Reader, want []byte) error {
	buf := make([]byte, 256<<10)
	for at := 0; ; {
		n, err := r.Read(buf)
		if n > len(want)-at || !bytes.Equal(buf[:n], want[at:at+n]) {
			return fmt.Errorf("other bytes from %d on, expected are %d", at, len(want))
		}
		at += n
		if err == io.EOF && at == len(want) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("after %d of %d bytes: %w", at, len(want), err)
		}
	}
}

// plainReader hides all but Read, so that the size is not known.
type plainReader struct{ io.Reader }

func putInput(body io.Reader) *s3.PutObjectInput {
	if asPipe {
		body = plainReader{body}
	}
	return &s3.PutObjectInput{Bucket: aws.String("bucket"), Key: aws.String("dir/key"), Body: body}
}

// decrypts fails the test unless the object is a stream of the plaintext.
func (f *fake) decrypts(t *testing.T, plaintext []byte, o *stream.DecryptOptions) stream.Info {
	t.Helper()
	r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(f.objects["bucket/dir/key"]), testKey, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := sameBytes(r, plaintext); err != nil {
		t.Fatalf("the object: %v", err)
	}
	if slices.Contains(f.calls, opAbort) {
		t.Error("a finished upload was aborted")
	}
	return r.Info()
}
