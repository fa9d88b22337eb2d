package e2e_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/e2e/measure"
	"github.com/bulla-format/bulla/e2e/s3server"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
	"github.com/bulla-format/bulla/s3upload"
)

// One S3 server serves all tests, each in a bucket of its own. While it runs, the working directory is its own;
// sourceDir is where it was before.
var (
	server    *s3server.Server
	sourceDir string
)

func TestMain(m *testing.M) {
	s3server.RunChild()
	code := 1
	if err := serve(m, &code); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// serve runs the tests between the start and the end of the server, and looks for goroutines that outlive it.
func serve(m *testing.M, code *int) (err error) {
	if sourceDir, err = os.Getwd(); err != nil {
		return err
	}
	if server, err = s3server.Start(&s3server.Options{Versioning: true}); err != nil {
		return err
	}
	*code = m.Run()
	if err := server.Close(); err != nil {
		return err
	}
	var ignore []goleak.Option
	for _, f := range s3server.LeftRunning() {
		ignore = append(ignore, goleak.IgnoreAnyFunction(f))
	}
	return goleak.Find(ignore...)
}

// A place is a bucket, reached through a proxy of its own, and the key service for what is stored in it.
type place struct {
	bucket string
	client *s3.Client // through the proxy
	direct *s3.Client // past it
	proxy  *faultproxy.Proxy

	kms       *kmstest.Server
	kmsClient *kms.Client
	keyARN    string
	keys      *awskms.Keyring
}

// attempts is how often the clients try a request.
const attempts = 3

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{bucket: "bucket-" + strings.ToLower(rand.Text())}
	p.direct = server.Client(func(o *s3.Options) { o.Retryer = retryer() })
	p.connect(t)
	p.create(t)

	p.kms = kmstest.New(nil)
	t.Cleanup(p.kms.Close)
	p.kmsClient = kms.NewFromConfig(p.kms.Config())
	p.keyARN = p.kms.CreateKey("alias/e2e")
	var err error
	if p.keys, err = awskms.New(p.kmsClient, "alias/e2e", nil); err != nil {
		t.Fatal(err)
	}
	return p
}

// connect gives the place a new proxy, and a client that goes through it. A proxy that was used before may still see
// requests that their client has given up.
func (p *place) connect(t *testing.T) {
	t.Helper()
	var err error
	if p.proxy, err = faultproxy.New(server.URL(), server.HTTPClient()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.proxy.Close)
	transport := server.HTTPClient().Transport.(*http.Transport).Clone()
	t.Cleanup(transport.CloseIdleConnections)
	p.client = server.Client(func(o *s3.Options) {
		o.BaseEndpoint = aws.String(p.proxy.URL())
		o.HTTPClient = &http.Client{Transport: transport}
		o.Retryer = retryer()
	})
}

// create creates the bucket.
func (p *place) create(t *testing.T) {
	t.Helper()
	if _, err := p.direct.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &p.bucket}); err != nil {
		t.Fatal(err)
	}
}

// retryer makes the SDK's usual decisions without its pauses.
func retryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) {
		o.MaxAttempts = attempts
		o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
		o.RateLimiter = ratelimit.None
	})
}

// text is the plaintext of the given size.
func text(size int64) measure.Text { return measure.Text{Size: size, Seed: 1} }

// put is the input that stores body under key in the place's bucket.
func (p *place) put(key string, body io.Reader) *s3.PutObjectInput {
	return &s3.PutObjectInput{Bucket: &p.bucket, Key: &key, Body: body}
}

// get is the input that reads key from the place's bucket.
func (p *place) get(key string) *s3.GetObjectInput {
	return &s3.GetObjectInput{Bucket: &p.bucket, Key: &key}
}

// store uploads a text, past the proxy, and must succeed.
func (p *place) store(t *testing.T, key string, size int64, o *s3upload.Options) *s3upload.Result {
	t.Helper()
	res, err := s3upload.New(p.direct, p.keys, o).Upload(t.Context(), p.put(key, text(size).Reader()))
	if err != nil {
		t.Fatalf("upload %d bytes: %v", size, err)
	}
	return res
}

// stored returns the bytes that the store holds for key, nil if there is no such object.
func (p *place) stored(t *testing.T, key string) []byte {
	t.Helper()
	b, err := os.ReadFile(server.PathOnDisk(p.bucket, key))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return b
}

// uploads returns the ids of the multipart uploads that are neither completed nor aborted.
func (p *place) uploads(t *testing.T) []string {
	t.Helper()
	out, err := p.direct.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &p.bucket})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, u := range out.Uploads {
		ids = append(ids, aws.ToString(u.UploadId))
	}
	return ids
}

// nothingLeft fails the test if key is stored or an upload is open.
func (p *place) nothingLeft(t *testing.T, key string) {
	t.Helper()
	if b := p.stored(t, key); b != nil {
		t.Errorf("an object of %d bytes is visible", len(b))
	}
	if ids := p.uploads(t); len(ids) != 0 {
		t.Errorf("%d multipart uploads stay open", len(ids))
	}
}

// code returns the code of the API error in err's tree, empty if there is none.
func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}
