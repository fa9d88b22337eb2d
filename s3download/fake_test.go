package s3download

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
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

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// S is the segment size of most tests.
const S = 1 << format.MinSegmentExp

var key = mustKey("test key", 1)

func mustKey(name string, fill byte) *keywrap.AESKey {
	k, err := keywrap.NewAESKey(name, bytes.Repeat([]byte{fill}, keywrap.AESKeySize))
	if err != nil {
		panic(err)
	}
	return k
}

func plaintext(n int) []byte {
	p := make([]byte, n)
	chacha := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8)})
	chacha.Read(p)
	return p
}

func encrypt(t testing.TB, plain []byte, o stream.EncryptOptions) []byte {
	t.Helper()
	if o.SegmentSize == 0 {
		o.SegmentSize = S
	}
	r, err := stream.NewEncryptReader(context.Background(), bytes.NewReader(plain), key, &o)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

// known are the options of a stream that declares its size.
func known(n int) stream.EncryptOptions { return stream.EncryptOptions{PlaintextSize: new(int64(n))} }

// A fault is what becomes of a request. The zero value is no fault.
type fault struct {
	err   error                                             // instead of an answer
	hang  bool                                              // no answer before the context's end
	early int                                               // if positive, the body ends after that many bytes less one
	with  error                                             // and with this error; errHang: not before the context's end
	slow  time.Duration                                     // before the answer, and before each read of the body
	edit  func(out *s3.GetObjectOutput, body []byte) []byte // of the answer
}

var errHang = errors.New("hang")

func cut(n int, with error) fault { return fault{early: n + 1, with: with} }

// A fakeS3 is a bucket of one object, and perhaps of others beside it, with
// S3's meaning of ranges and conditions. It keeps what it was asked.
type fakeS3 struct {
	data     []byte
	etag     string
	version  string
	metadata map[string]string
	others   map[string][]byte // by key

	mu       sync.Mutex
	fault    func(k int, in *s3.GetObjectInput) fault // of the k-th request, from 0; called under mu
	requests []s3.GetObjectInput
	open     int   // bodies
	served   int64 // bytes of bodies
}

func newFake(stored []byte) *fakeS3 { return &fakeS3{data: stored, etag: `"one"`} }

// failOnce makes the k-th request meet with.
func (f *fakeS3) failOnce(k int, with fault) {
	f.fault = func(i int, _ *s3.GetObjectInput) fault {
		if i == k {
			return with
		}
		return fault{}
	}
}

// failBehind does so with the k-th of those that do not ask for the header.
func (f *fakeS3) failBehind(k int, with fault) (met *s3.GetObjectInput) {
	met = new(s3.GetObjectInput)
	f.fault = func(_ int, in *s3.GetObjectInput) fault {
		if strings.HasPrefix(*in.Range, "bytes=0-") {
			return fault{}
		}
		if k--; k != -1 {
			return fault{}
		}
		*met = *in
		return with
	}
	return met
}

func (f *fakeS3) input() *s3.GetObjectInput {
	return &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("a/key")}
}

func (f *fakeS3) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.requests)
}

func statusError(code int, name string) error {
	return &awshttp.ResponseError{ResponseError: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: code}},
		Err:      &smithy.GenericAPIError{Code: name, Message: name},
	}}
}

func (f *fakeS3) GetObject(ctx context.Context, in *s3.GetObjectInput, _ ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, *in)
	var fault fault
	if f.fault != nil {
		fault = f.fault(len(f.requests)-1, in)
	}
	if fault.hang {
		f.mu.Unlock()
		<-ctx.Done()
		f.mu.Lock()
		return nil, ctx.Err()
	}
	if fault.slow > 0 {
		f.mu.Unlock()
		time.Sleep(fault.slow)
		f.mu.Lock()
	}
	if fault.err != nil {
		return nil, fault.err
	}
	data, etag, metadata := f.data, f.etag, f.metadata
	if *in.Key != *f.input().Key {
		other, ok := f.others[*in.Key]
		if !ok {
			return nil, &smithyhttp.ResponseError{
				Response: &smithyhttp.Response{Response: &http.Response{StatusCode: http.StatusNotFound}},
				Err:      &types.NoSuchKey{},
			}
		}
		data, etag, metadata = other, `"beside"`, nil
	}
	if in.IfMatch != nil && *in.IfMatch != etag {
		return nil, statusError(http.StatusPreconditionFailed, "PreconditionFailed")
	}
	var start, end int
	if _, err := fmt.Sscanf(*in.Range, "bytes=%d-%d", &start, &end); err != nil || end < start {
		return nil, fmt.Errorf("the fake does not understand Range %q", *in.Range)
	}
	if start >= len(data) {
		return nil, statusError(http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
	}
	body := data[start:min(end+1, len(data))]
	out := &s3.GetObjectOutput{
		ETag:          aws.String(etag),
		ContentLength: aws.Int64(int64(len(body))),
		ContentRange:  aws.String(fmt.Sprintf("bytes %d-%d/%d", start, start+len(body)-1, len(data))),
		Metadata:      metadata,
	}
	if f.version != "" {
		out.VersionId = aws.String(f.version)
	}
	if fault.edit != nil {
		body = fault.edit(out, bytes.Clone(body))
	}
	if fault.early > 0 {
		body = body[:min(fault.early-1, len(body))]
	}
	f.open++
	out.Body = &fakeBody{fake: f, ctx: ctx, rest: body, with: fault.with, slow: fault.slow}
	return out, nil
}

type fakeBody struct {
	fake   *fakeS3
	ctx    context.Context
	rest   []byte
	with   error
	slow   time.Duration
	closed bool
}

// Read gives at most 3000 bytes at a time, so that nobody relies on more.
func (b *fakeBody) Read(p []byte) (int, error) {
	if b.slow > 0 {
		select {
		case <-time.After(b.slow):
		case <-b.ctx.Done():
		}
	}
	if err := b.ctx.Err(); err != nil {
		return 0, err
	}
	if len(b.rest) == 0 {
		if b.with == errHang {
			<-b.ctx.Done()
			return 0, b.ctx.Err()
		}
		if b.with != nil {
			return 0, b.with
		}
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), 3000)], b.rest)
	b.rest = b.rest[n:]
	b.fake.mu.Lock()
	b.fake.served += int64(n)
	b.fake.mu.Unlock()
	return n, nil
}

func (b *fakeBody) Close() error {
	b.fake.mu.Lock()
	defer b.fake.mu.Unlock()
	if !b.closed {
		b.closed = true
		b.fake.open--
	}
	return nil
}

// openFake opens the fake's object and, at the test's end, closes it and checks
// that no body was left open.
func openFake(t testing.TB, f *fakeS3, o *Options) *Object {
	t.Helper()
	object, err := Open(context.Background(), f, f.input(), key, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeFake(t, f, object) })
	return object
}

func closeFake(t testing.TB, f *fakeS3, object *Object) {
	t.Helper()
	if err := object.Close(); err != nil {
		t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open != 0 {
		t.Errorf("%d bodies were left open", f.open)
	}
}

// A buffer is an io.WriterAt that knows which bytes were written.
type buffer struct {
	mu      sync.Mutex
	data    []byte
	written []bool
}

func newBuffer(n int) *buffer { return &buffer{data: make([]byte, n), written: make([]bool, n)} }

func (b *buffer) WriteAt(p []byte, off int64) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if off < 0 || off+int64(len(p)) > int64(len(b.data)) {
		return 0, fmt.Errorf("writing %d bytes at %d of %d", len(p), off, len(b.data))
	}
	copy(b.data[off:], p)
	for i := range p {
		b.written[int(off)+i] = true
	}
	return len(p), nil
}

// mismatch returns where a byte that was written is not that of plain, or -1.
func (b *buffer) mismatch(plain []byte) int {
	for i, w := range b.written {
		if w && b.data[i] != plain[i] {
			return i
		}
	}
	return -1
}

func (b *buffer) complete() bool {
	for _, w := range b.written {
		if !w {
			return false
		}
	}
	return true
}

// the ways to read an object whole. Each returns what it got before an error.
var readers = map[string]func(ctx context.Context, o *Object) ([]byte, error){
	"Read": func(_ context.Context, o *Object) ([]byte, error) {
		return io.ReadAll(onlyReader{o})
	},
	"Read32KiB": func(_ context.Context, o *Object) ([]byte, error) {
		var b bytes.Buffer
		_, err := io.CopyBuffer(onlyWriter{&b}, onlyReader{o}, make([]byte, 32<<10))
		return b.Bytes(), err
	},
	"ReadAt": func(_ context.Context, o *Object) ([]byte, error) {
		p := make([]byte, o.Size()+1)
		n, err := o.ReadAt(p, 0)
		if err == io.EOF {
			err = nil
		}
		return p[:n], err
	},
	"ReadAt10000": func(_ context.Context, o *Object) ([]byte, error) {
		return io.ReadAll(io.NewSectionReader(stepReaderAt{o}, 0, o.Size()))
	},
	"WriteTo": func(_ context.Context, o *Object) ([]byte, error) {
		var b bytes.Buffer
		n, err := o.WriteTo(&b)
		if n != int64(b.Len()) {
			return nil, fmt.Errorf("WriteTo returned %d after %d bytes", n, b.Len())
		}
		return b.Bytes(), err
	},
	"DownloadTo": func(ctx context.Context, o *Object) ([]byte, error) {
		b := newBuffer(int(o.Size()))
		err := o.DownloadTo(ctx, b)
		if i := b.mismatch(plaintext(int(o.Size()))); i >= 0 {
			return b.data[:i+1], errors.New("DownloadTo wrote wrong bytes")
		}
		if err == nil && !b.complete() {
			return nil, errors.New("DownloadTo returned nil before all was written")
		}
		n := 0
		for n < len(b.written) && b.written[n] {
			n++
		}
		return b.data[:n], err
	},
}

type (
	onlyReader   struct{ io.Reader }
	onlyWriter   struct{ io.Writer }
	stepReaderAt struct{ r io.ReaderAt }
)

func (s stepReaderAt) ReadAt(p []byte, off int64) (int, error) {
	return s.r.ReadAt(p[:min(len(p), 10000)], off)
}
