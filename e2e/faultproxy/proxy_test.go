package faultproxy_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"go.uber.org/goleak"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/e2e/s3server"
)

var server *s3server.Server

func TestMain(m *testing.M) {
	var err error
	if server, err = s3server.Start(nil); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	var ignore []goleak.Option
	for _, f := range s3server.LeftRunning() {
		ignore = append(ignore, goleak.IgnoreAnyFunction(f))
	}
	if err := goleak.Find(ignore...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

const (
	key  = "dir/object"
	size = 300_000
)

var content = bytes.Repeat([]byte("0123456789"), size/10)

// setup starts a proxy in front of the server and returns it with a client that goes through it and never retries, and
// a bucket with one object.
func setup(t *testing.T) (*faultproxy.Proxy, *s3.Client, string) {
	t.Helper()
	p, err := faultproxy.New(server.URL(), server.HTTPClient())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	c := server.Client(func(o *s3.Options) {
		o.BaseEndpoint = aws.String(p.URL())
		o.HTTPClient = &http.Client{Transport: transport}
		o.RetryMaxAttempts = 1
	})
	bucket := "bucket-" + strings.ToLower(rand.Text())
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &bucket}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String(key), Body: bytes.NewReader(content)}); err != nil {
		t.Fatal(err)
	}
	p.Reset()
	return p, c, bucket
}

// get reads an object, whole or a range of it; err is the first error, of the request or of its body.
func get(ctx context.Context, c *s3.Client, bucket, byteRange string) (got []byte, out *s3.GetObjectOutput, err error) {
	in := &s3.GetObjectInput{Bucket: &bucket, Key: aws.String(key)}
	if byteRange != "" {
		in.Range = &byteRange
	}
	if out, err = c.GetObject(ctx, in); err != nil {
		return nil, nil, err
	}
	defer out.Body.Close()
	got, err = io.ReadAll(out.Body)
	return got, out, err
}

func TestForwardsAndLogs(t *testing.T) {
	p, c, bucket := setup(t)
	ctx := t.Context()
	check := func(want faultproxy.Request) {
		t.Helper()
		log := p.Log()
		if len(log) != 1 {
			t.Fatalf("%d requests in the log, want one: %+v", len(log), log)
		}
		want.Bucket = bucket
		if log[0] != want {
			t.Errorf("log\n got %+v\nwant %+v", log[0], want)
		}
		p.Reset()
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	got, out, err := get(ctx, c, bucket, "")
	must(err)
	if !bytes.Equal(got, content) {
		t.Error("the proxy changed the content")
	}
	check(faultproxy.Request{Op: faultproxy.GetObject, Key: key, Status: 200, BytesOut: size})

	got, _, err = get(ctx, c, bucket, "bytes=10-19")
	must(err)
	if string(got) != "0123456789" {
		t.Errorf("range: %q", got)
	}
	check(faultproxy.Request{Op: faultproxy.GetObject, Key: key, Range: "bytes=10-19", Status: 206, BytesOut: 10})

	_, err = c.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &bucket, Key: aws.String(key), IfMatch: out.ETag})
	must(err)
	check(faultproxy.Request{Op: faultproxy.HeadObject, Key: key, IfMatch: *out.ETag, Status: 200})

	small := "small"
	_, err = c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &small, Body: strings.NewReader("12345")})
	must(err)
	check(faultproxy.Request{Op: faultproxy.PutObject, Key: small, Status: 200, BytesIn: 5})

	_, err = c.CopyObject(ctx, &s3.CopyObjectInput{Bucket: &bucket, Key: &small, CopySource: aws.String(bucket + "/" + key)})
	must(err)
	q := p.Log()[0]
	check(faultproxy.Request{Op: faultproxy.CopyObject, Key: small, Status: 200, BytesOut: q.BytesOut})

	up, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &small})
	must(err)
	q = p.Log()[0]
	check(faultproxy.Request{Op: faultproxy.CreateMultipartUpload, Key: small, Status: 200, BytesOut: q.BytesOut})

	part, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: &bucket, Key: &small, UploadId: up.UploadId, PartNumber: aws.Int32(7), Body: strings.NewReader("abc")})
	must(err)
	check(faultproxy.Request{Op: faultproxy.UploadPart, Key: small, Part: 7, Status: 200, BytesIn: 3})

	_, err = c.UploadPartCopy(ctx, &s3.UploadPartCopyInput{
		Bucket: &bucket, Key: &small, UploadId: up.UploadId, PartNumber: aws.Int32(8),
		CopySource: aws.String(bucket + "/" + key), CopySourceRange: aws.String("bytes=0-99"),
	})
	must(err)
	q = p.Log()[0]
	check(faultproxy.Request{Op: faultproxy.UploadPartCopy, Key: small, Part: 8, Range: "bytes=0-99", Status: 200, BytesOut: q.BytesOut})

	_, err = c.ListParts(ctx, &s3.ListPartsInput{Bucket: &bucket, Key: &small, UploadId: up.UploadId})
	must(err)
	q = p.Log()[0]
	check(faultproxy.Request{Op: faultproxy.ListParts, Key: small, Status: 200, BytesOut: q.BytesOut})

	_, err = c.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &bucket})
	must(err)
	q = p.Log()[0]
	check(faultproxy.Request{Op: faultproxy.ListMultipartUploads, Status: 200, BytesOut: q.BytesOut})

	_, err = c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &bucket, Key: &small, UploadId: up.UploadId})
	must(err)
	check(faultproxy.Request{Op: faultproxy.AbortMultipartUpload, Key: small, Status: 204})

	// The gateway answers a second completion of the same object as S3 does, with success: take another key.
	none := "none"
	_, err = c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &bucket, Key: &none, UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: []types.CompletedPart{{ETag: part.ETag, PartNumber: aws.Int32(7)}}},
	})
	if code, status := apiError(err); code != "NoSuchUpload" || status != 404 {
		t.Errorf("complete an aborted upload: %v", err)
	}
	q = p.Log()[0]
	check(faultproxy.Request{Op: faultproxy.CompleteMultipartUpload, Key: none, Status: 404, BytesIn: q.BytesIn, BytesOut: q.BytesOut})

	_, err = c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &small})
	must(err)
	check(faultproxy.Request{Op: faultproxy.DeleteObject, Key: small, Status: 204})

	_, err = c.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &bucket, Key: aws.String(key)})
	must(err)
	q = p.Log()[0]
	check(faultproxy.Request{Op: faultproxy.ObjectSubresource, Key: key, Status: 200, BytesOut: q.BytesOut})

	_, err = c.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &bucket})
	must(err)
	check(faultproxy.Request{Op: faultproxy.BucketOperation, Status: 200})
}

func apiError(err error) (string, int) {
	var api smithy.APIError
	var http interface{ HTTPStatusCode() int }
	if !errors.As(err, &api) || !errors.As(err, &http) {
		return "", 0
	}
	return api.ErrorCode(), http.HTTPStatusCode()
}

func TestErrors(t *testing.T) {
	for _, tc := range []struct {
		status int
		code   string
		header []string
	}{
		{503, "SlowDown", nil},
		{500, "InternalError", nil},
		{429, "TooManyRequests", []string{"Retry-After", "1"}},
		{412, "PreconditionFailed", nil},
		{403, "AccessDenied", nil},
	} {
		t.Run(tc.code, func(t *testing.T) {
			p, c, bucket := setup(t)
			p.Add(
				faultproxy.Rule{Op: faultproxy.GetObject, Nth: 2, Fault: faultproxy.Error(tc.status, tc.code, tc.header...)},
				faultproxy.Rule{Op: faultproxy.PutObject, Key: "refused", Fault: faultproxy.Error(tc.status, tc.code, tc.header...)},
			)
			for i := range 3 {
				_, _, err := get(t.Context(), c, bucket, "")
				code, status := apiError(err)
				if i == 1 && (code != tc.code || status != tc.status) {
					t.Errorf("get 2: %v, want %s", err, tc.code)
				}
				if i != 1 && err != nil {
					t.Errorf("get %d: %v", i+1, err)
				}
			}
			if q := p.Log()[1]; q.Status != tc.status || q.Fault != fmt.Sprintf("%d %s", tc.status, tc.code) {
				t.Errorf("log: %+v", q)
			}
			// A body of some size must not hide the answer.
			body := bytes.NewReader(make([]byte, 4<<20))
			_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("refused"), Body: body})
			if code, _ := apiError(err); code != tc.code {
				t.Errorf("put: %v, want %s", err, tc.code)
			}
			if _, err := os.Stat(server.PathOnDisk(bucket, "refused")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the server saw the request: %v", err)
			}
		})
	}
}

func TestRulesMatchInOrder(t *testing.T) {
	p, c, bucket := setup(t)
	p.Add(
		faultproxy.Rule{Op: faultproxy.UploadPart, Part: 2, Nth: 1, Fault: faultproxy.Error(503, "SlowDown")},
		faultproxy.Rule{Op: faultproxy.UploadPart, Part: 2, Nth: 2, Fault: faultproxy.Error(500, "InternalError")},
		faultproxy.Rule{Op: faultproxy.UploadPart, Part: 3, Fault: faultproxy.Error(403, "AccessDenied")},
	)
	up, err := c.CreateMultipartUpload(t.Context(), &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: aws.String(key)})
	if err != nil {
		t.Fatal(err)
	}
	for i, tc := range []struct {
		part int32
		code string
	}{{1, ""}, {2, "SlowDown"}, {1, ""}, {3, "AccessDenied"}, {2, "InternalError"}, {2, ""}, {3, "AccessDenied"}} {
		_, err := c.UploadPart(t.Context(), &s3.UploadPartInput{
			Bucket: &bucket, Key: aws.String(key), UploadId: up.UploadId, PartNumber: &tc.part, Body: strings.NewReader("x"),
		})
		if code, _ := apiError(err); code != tc.code || (err != nil) != (tc.code != "") {
			t.Errorf("request %d, part %d: %v, want %q", i, tc.part, err, tc.code)
		}
	}
	parts := faultproxy.Sum(p.Log(), faultproxy.UploadPart)
	if parts.Requests != 7 || parts.BytesIn != 7 {
		t.Errorf("sum of the parts: %+v", parts)
	}
	if all := faultproxy.Sum(p.Log()); all.Requests != 8 {
		t.Errorf("sum of all: %+v", all)
	}
}

// broke tells whether there was no answer, whether that showed first in reading or in writing.
func broke(err error) bool {
	_, ok := errors.AsType[*smithyhttp.RequestSendError](err)
	return ok
}

func TestBrokenConnections(t *testing.T) {
	p, c, bucket := setup(t)
	p.Add(
		faultproxy.Rule{Key: "a", Nth: 1, Fault: faultproxy.Reset()},
		faultproxy.Rule{Key: "b", Nth: 1, Fault: faultproxy.ResetAfter()},
	)
	for name, stored := range map[string]bool{"a": false, "b": true} {
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &name, Body: strings.NewReader("x")})
		if !broke(err) {
			t.Errorf("%s: %v, want a broken connection", name, err)
		}
		if _, err := os.Stat(server.PathOnDisk(bucket, name)); (err == nil) != stored {
			t.Errorf("%s stored: %v, want %v", name, err == nil, stored)
		}
	}
	if q := p.Log()[0]; q.Status != 0 {
		t.Errorf("status of a request without an answer: %d", q.Status)
	}
	for _, n := range []int64{0, 1, 1000, 100_000, size - 1} {
		p.Reset()
		p.Add(faultproxy.Rule{Op: faultproxy.GetObject, Fault: faultproxy.CutBody(n)})
		got, out, err := get(t.Context(), c, bucket, "")
		if !errors.Is(err, io.ErrUnexpectedEOF) || out == nil || aws.ToInt64(out.ContentLength) != size {
			t.Fatalf("cut after %d: %+v, %v", n, out, err)
		}
		if int64(len(got)) != n || !bytes.Equal(got, content[:n]) {
			t.Errorf("cut after %d: %d bytes", n, len(got))
		}
		if q := p.Log()[0]; q.BytesOut != n || q.Status != 200 {
			t.Errorf("cut after %d: log %+v", n, q)
		}
	}
}

// Over https, requests go through and connections break as over http.
func TestTLS(t *testing.T) {
	p, err := faultproxy.NewTLS(server.URL(), server.HTTPClient())
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	transport := &http.Transport{DisableCompression: true, TLSClientConfig: p.TLS()}
	defer transport.CloseIdleConnections()
	c := server.Client(func(o *s3.Options) {
		o.BaseEndpoint = aws.String(p.URL())
		o.HTTPClient = &http.Client{Transport: transport}
		o.RetryMaxAttempts = 1
	})
	_, plain, bucket := setup(t)
	put := func() error {
		_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("other"), Body: bytes.NewReader(content)})
		return err
	}
	if err := put(); err != nil {
		t.Fatal(err)
	}
	out, err := c.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &bucket})
	if err != nil || len(out.Contents) != 2 {
		t.Errorf("%+v, %v", out, err)
	}
	if log := p.Log(); len(log) != 2 || log[0].Op != faultproxy.PutObject || log[0].BytesIn <= size || log[1].Op != faultproxy.ListObjectsV2 {
		t.Errorf("log %+v: the body has no trailer, or an operation is another", log)
	}
	p.Add(faultproxy.Rule{Fault: faultproxy.Reset()})
	if err := put(); !broke(err) {
		t.Errorf("%v, want a broken connection", err)
	}
	if _, _, err := get(t.Context(), plain, bucket, ""); err != nil {
		t.Error(err)
	}
}

func TestWrongBodies(t *testing.T) {
	p, c, bucket := setup(t)
	// The SDK would find a changed body by its checksum; the library must find it without one.
	for _, tc := range []struct {
		name      string
		fault     faultproxy.Fault
		byteRange string
		want      func() []byte
	}{
		{"short", faultproxy.ShortBody(10), "bytes=0-99", func() []byte { return content[:90] }},
		{"short to nothing", faultproxy.ShortBody(1000), "bytes=0-99", func() []byte { return nil }},
		{"long", faultproxy.LongBody(3), "bytes=0-9", func() []byte { return append(bytes.Clone(content[:10]), 0, 0, 0) }},
		{"flip, whole object", faultproxy.FlipBit(200_001, 7), "", func() []byte { return flipped(content, 200_001, 0x80) }},
		{"flip, first byte", faultproxy.FlipBit(0, 0), "", func() []byte { return flipped(content, 0, 1) }},
		{"flip, inside a range", faultproxy.FlipBit(1005, 0), "bytes=1000-1009", func() []byte { return flipped(content, 1005, 1)[1000:1010] }},
		{"flip, before a range", faultproxy.FlipBit(999, 0), "bytes=1000-1009", func() []byte { return content[1000:1010] }},
		{"flip, after a range", faultproxy.FlipBit(1010, 0), "bytes=1000-1009", func() []byte { return content[1000:1010] }},
		{"slow", faultproxy.Slow(3, time.Millisecond), "bytes=1000-1009", func() []byte { return content[1000:1010] }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p.Reset()
			p.Add(faultproxy.Rule{Op: faultproxy.GetObject, Fault: tc.fault})
			in := &s3.GetObjectInput{Bucket: &bucket, Key: aws.String(key)}
			if tc.byteRange != "" {
				in.Range = &tc.byteRange
			}
			out, err := c.GetObject(t.Context(), in, func(o *s3.Options) {
				o.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
			})
			if err != nil {
				t.Fatal(err)
			}
			defer out.Body.Close()
			got, err := io.ReadAll(out.Body)
			if want := tc.want(); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%d bytes, %v; want %d", len(got), err, len(want))
			}
			if aws.ToInt64(out.ContentLength) != int64(len(got)) {
				t.Errorf("Content-Length %d for %d bytes", aws.ToInt64(out.ContentLength), len(got))
			}
		})
	}
}

func flipped(p []byte, at int, mask byte) []byte {
	p = bytes.Clone(p)
	p[at] ^= mask
	return p
}

func TestHeader(t *testing.T) {
	p, c, bucket := setup(t)
	p.Add(
		faultproxy.Rule{Op: faultproxy.GetObject, Nth: 1, Fault: faultproxy.Header("ETag", `"changed"`)},
		faultproxy.Rule{Op: faultproxy.GetObject, Nth: 2, Fault: faultproxy.Header("ETag", "")},
	)
	for _, want := range []string{`"changed"`, ""} {
		_, out, err := get(t.Context(), c, bucket, "")
		if err != nil || aws.ToString(out.ETag) != want {
			t.Errorf("ETag %q, %v; want %q", aws.ToString(out.ETag), err, want)
		}
	}
}

func TestCallbacks(t *testing.T) {
	p, c, bucket := setup(t)
	var before, after atomic.Int32
	done := make(chan faultproxy.Request, 1)
	direct := server.Client()
	p.Add(
		faultproxy.Rule{Op: faultproxy.GetObject, Nth: 2, Fault: faultproxy.Before(func(q faultproxy.Request) {
			before.Add(1)
			if _, err := direct.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &q.Key, Body: strings.NewReader("overwritten")}); err != nil {
				t.Error(err)
			}
		})},
		faultproxy.Rule{Op: faultproxy.GetObject, Nth: 3, Fault: faultproxy.After(func(q faultproxy.Request) {
			after.Add(1)
			done <- q
		})},
	)
	for i, want := range []string{string(content), "overwritten", "overwritten"} {
		if got, _, err := get(t.Context(), c, bucket, ""); err != nil || string(got) != want {
			t.Errorf("get %d: %d bytes, %v", i, len(got), err)
		}
	}
	if q := <-done; q.BytesOut != int64(len("overwritten")) || before.Load() != 1 || after.Load() != 1 {
		t.Errorf("calls: before %d, after %d, %+v", before.Load(), after.Load(), q)
	}
}

func TestHold(t *testing.T) {
	p, c, bucket := setup(t)
	for _, tc := range []struct {
		name   string
		cancel bool
	}{{"released", false}, {"cancelled", true}} {
		t.Run(tc.name, func(t *testing.T) {
			hold := faultproxy.NewHold()
			t.Cleanup(hold.Release)
			p.Reset()
			p.Add(faultproxy.Rule{Op: faultproxy.PutObject, Fault: hold.Fault()})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			result := make(chan error, 1)
			go func() {
				_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &tc.name, Body: bytes.NewReader(make([]byte, 3<<20))})
				result <- err
			}()
			<-hold.Reached()
			select {
			case err := <-result:
				t.Fatalf("answered while held: %v", err)
			default:
			}
			if tc.cancel {
				cancel()
				if err := <-result; !errors.Is(err, context.Canceled) {
					t.Errorf("after cancel: %v", err)
				}
			} else {
				hold.Release()
				if err := <-result; err != nil {
					t.Errorf("after release: %v", err)
				}
			}
			if _, err := os.Stat(server.PathOnDisk(bucket, tc.name)); (err == nil) == tc.cancel {
				t.Errorf("stored: %v, cancelled: %v", err == nil, tc.cancel)
			}
		})
	}
}

func TestNewRefusesWhatItCannotForward(t *testing.T) {
	if _, err := faultproxy.New("http://%zz", nil); err == nil {
		t.Error("no error for a bad URL")
	}
	if _, err := faultproxy.New("http://127.0.0.1:1", &http.Client{}); err == nil {
		t.Error("no error for a client without a transport of its own")
	}
}

func TestServerThatIsGone(t *testing.T) {
	p, err := faultproxy.New("http://127.0.0.1:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Get(p.URL() + "/bucket/key")
	if err == nil {
		res.Body.Close()
		t.Errorf("status %d from a server that is not there", res.StatusCode)
	}
}
