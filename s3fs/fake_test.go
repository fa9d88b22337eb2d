package s3fs

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"go.uber.org/goleak"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// S is the size of the segments of what the tests encrypt.
const S = 64 << 10

var key = func() *keywrap.AESKey {
	k, err := keywrap.NewAESKey("test key", bytes.Repeat([]byte{1}, keywrap.AESKeySize))
	if err != nil {
		panic(err)
	}
	return k
}()

func plaintext(n int) []byte {
	p := make([]byte, n)
	chacha := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	chacha.Read(p)
	return p
}

func encrypt(t testing.TB, plain []byte, o stream.EncryptOptions) []byte {
	t.Helper()
	r, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(plain), key, &o)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// A fakeS3 is the bucket "bucket", which lists and encodes keys as S3 does.
type fakeS3 struct {
	objects   map[string][]byte
	page      int  // keys of a listing's page
	plainKeys bool // like stores that do not know the encoding
	types     map[string]string

	mu    sync.Mutex
	gets  int
	asked []string // ranges
	lists int
	open  int
	fail  func(op, key string) error                // instead of an answer
	list  func(out *s3.ListObjectsV2Output)         // changes a listing
	body  func(key string, b io.Reader) io.Reader   // changes a body
	after func(key string, out *s3.GetObjectOutput) // changes an answer
}

func newFake(objects map[string][]byte) *fakeS3 {
	return &fakeS3{objects: objects, page: 1000, types: map[string]string{}}
}

// newFS returns the file system under prefix, and makes the test fail if it
// leaves a body open.
func (f *fakeS3) newFS(t testing.TB, prefix string, o *Options) *FS {
	t.Cleanup(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.open != 0 {
			t.Errorf("%d bodies were left open", f.open)
		}
	})
	return New(t.Context(), f, "bucket", prefix, key, o)
}

// changed is when all objects were stored.
var changed = time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)

func statusError(status int, code string) error {
	return &awshttp.ResponseError{ResponseError: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}},
		Err:      &smithy.GenericAPIError{Code: code, Message: code},
	}}
}

func (f *fakeS3) begin(op, key string) error {
	if f.fail != nil {
		return f.fail(op, key)
	}
	return nil
}

func (f *fakeS3) GetObject(ctx context.Context, in *s3.GetObjectInput, _ ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gets++
	f.asked = append(f.asked, *in.Range)
	if err := cmp.Or(ctx.Err(), f.begin("get", *in.Key)); err != nil {
		return nil, err
	}
	data, ok := f.objects[*in.Key]
	if !ok || *in.Bucket != "bucket" {
		return nil, statusError(http.StatusNotFound, "NoSuchKey")
	}
	etag := fmt.Sprintf("%q", fmt.Sprint(len(data)))
	if in.IfMatch != nil && *in.IfMatch != etag {
		return nil, statusError(http.StatusPreconditionFailed, "PreconditionFailed")
	}
	var start, end int
	if _, err := fmt.Sscanf(*in.Range, "bytes=%d-%d", &start, &end); err != nil {
		return nil, err
	}
	if start >= len(data) {
		return nil, statusError(http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
	}
	part := data[start:min(end+1, len(data))]
	out := &s3.GetObjectOutput{
		ETag:          &etag,
		ContentLength: new(int64(len(part))),
		ContentRange:  aws.String(fmt.Sprintf("bytes %d-%d/%d", start, start+len(part)-1, len(data))),
		LastModified:  new(changed),
	}
	if kind := f.types[*in.Key]; kind != "" {
		out.ContentType = &kind
	}
	if f.after != nil {
		f.after(*in.Key, out)
	}
	var body io.Reader = bytes.NewReader(part)
	if f.body != nil {
		body = f.body(*in.Key, body)
	}
	f.open++
	out.Body = &fakeBody{Reader: body, ctx: ctx, fake: f}
	return out, nil
}

type fakeBody struct {
	io.Reader
	ctx  context.Context
	fake *fakeS3
	once sync.Once
}

func (b *fakeBody) Read(p []byte) (int, error) {
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	return b.Reader.Read(p)
}

func (b *fakeBody) Close() error {
	b.once.Do(func() {
		b.fake.mu.Lock()
		defer b.fake.mu.Unlock()
		b.fake.open--
	})
	return nil
}

// ListObjectsV2 counts keys and common prefixes together, as S3 does, and goes
// on behind the one that ended a page.
func (f *fakeS3) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input, _ ...func(*s3.Options)) (*s3.ListObjectsV2Output, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	if err := cmp.Or(ctx.Err(), f.begin("list", *in.Prefix)); err != nil {
		return nil, err
	}
	if *in.Bucket != "bucket" {
		return nil, statusError(http.StatusNotFound, "NoSuchBucket")
	}
	out := &s3.ListObjectsV2Output{IsTruncated: new(false)}
	encode := func(key string) *string { return &key }
	if in.EncodingType == types.EncodingTypeUrl && !f.plainKeys {
		out.EncodingType = in.EncodingType
		encode = func(key string) *string {
			return aws.String(strings.ReplaceAll(url.QueryEscape(key), "%2F", "/"))
		}
	}
	page := f.page
	if in.MaxKeys != nil {
		page = min(page, int(*in.MaxKeys))
	}
	n, done := 0, aws.ToString(in.ContinuationToken)
	for _, key := range slices.Sorted(maps.Keys(f.objects)) {
		rest, ok := strings.CutPrefix(key, *in.Prefix)
		if !ok {
			continue
		}
		item, isPrefix := key, false
		if first, _, found := strings.Cut(rest, *in.Delimiter); found {
			item, isPrefix = *in.Prefix+first+*in.Delimiter, true
		}
		if item <= done {
			continue
		}
		if n == page {
			out.IsTruncated, out.NextContinuationToken = new(true), &done
			break
		}
		n, done = n+1, item
		if isPrefix {
			out.CommonPrefixes = append(out.CommonPrefixes, types.CommonPrefix{Prefix: encode(item)})
		} else {
			out.Contents = append(out.Contents, types.Object{
				Key: encode(item), Size: new(int64(len(f.objects[key]))), LastModified: new(changed.Add(123 * time.Millisecond)),
			})
		}
	}
	if f.list != nil {
		f.list(out)
	}
	return out, nil
}

func (f *fakeS3) counts() (gets, lists int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gets, f.lists
}
