package s3server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
	"go.uber.org/goleak"

	"github.com/bulla-format/bulla/e2e/s3server"
)

func TestMain(m *testing.M) {
	s3server.RunChild()
	var ignore []goleak.Option
	for _, f := range s3server.LeftRunning() {
		ignore = append(ignore, goleak.IgnoreAnyFunction(f))
	}
	goleak.VerifyTestMain(m, ignore...)
}

// launch is Start or StartProcess.
type launch func(context.Context, *s3server.Options) (*s3server.Server, error)

func inProcess(_ context.Context, o *s3server.Options) (*s3server.Server, error) {
	return s3server.Start(o)
}

func run(t *testing.T, start launch, o *s3server.Options) *s3server.Server {
	t.Helper()
	s, err := start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func bucket(t *testing.T, c *s3.Client) string {
	t.Helper()
	const name = "bucket"
	if _, err := c.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String(name)}); err != nil {
		t.Fatal(err)
	}
	return name
}

// code is the S3 error code of err and the HTTP status of the answer.
func code(err error) (string, int) {
	var api smithy.APIError
	var http interface{ HTTPStatusCode() int }
	if !errors.As(err, &api) || !errors.As(err, &http) {
		return "", 0
	}
	return api.ErrorCode(), http.HTTPStatusCode()
}

func TestServer(t *testing.T) {
	for _, tc := range []struct {
		name   string
		start  launch
		tls    bool
		prefix string
	}{
		{"in process, http", inProcess, false, "http://127.0.0.1:"},
		{"in process, https", inProcess, true, "https://127.0.0.1:"},
		{"child process, http", s3server.StartProcess, false, "http://127.0.0.1:"},
		{"child process, https", s3server.StartProcess, true, "https://127.0.0.1:"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := run(t, tc.start, &s3server.Options{TLS: tc.tls})
			if !strings.HasPrefix(s.URL(), tc.prefix) {
				t.Errorf("URL %q, want prefix %q", s.URL(), tc.prefix)
			}
			c := s.Client()
			b := bucket(t, c)
			t.Run("objects", func(t *testing.T) { testObjects(t, s, c, b) })
			t.Run("conditions", func(t *testing.T) { testConditions(t, s, c, b) })
			t.Run("multipart", func(t *testing.T) { testMultipart(t, s, c, b) })
			t.Run("access", func(t *testing.T) { testAccess(t, s, c, b) })
		})
	}
}

func testObjects(t *testing.T, s *s3server.Server, c *s3.Client, b string) {
	for _, size := range []int{0, 1, 4095, 4096, 1 << 20, 5<<20 + 3} {
		want := bytes.Repeat([]byte("0123456789abcdef\n"), size/17+1)[:size]
		key := "dir/object"
		if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &b, Key: &key, Body: bytes.NewReader(want)}); err != nil {
			t.Fatalf("put %d bytes: %v", size, err)
		}
		if got := get(t, c, b, key, ""); !bytes.Equal(got, want) {
			t.Errorf("get after put of %d bytes: other content, %d bytes", size, len(got))
		}
		if got, err := os.ReadFile(s.PathOnDisk(b, key)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("file on disk after put of %d bytes: %d bytes, %v", size, len(got), err)
		}
	}
}

func get(t *testing.T, c *s3.Client, b, key, byteRange string) []byte {
	t.Helper()
	in := &s3.GetObjectInput{Bucket: &b, Key: &key}
	if byteRange != "" {
		in.Range = &byteRange
	}
	out, err := c.GetObject(t.Context(), in)
	if err != nil {
		t.Fatalf("get %s: %v", byteRange, err)
	}
	defer out.Body.Close()
	got, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatalf("get %s: %v", byteRange, err)
	}
	return got
}

func testConditions(t *testing.T, s *s3server.Server, c *s3.Client, b string) {
	key := "ten"
	put, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &b, Key: &key, Body: strings.NewReader("0123456789")})
	if err != nil {
		t.Fatal(err)
	}
	for r, want := range map[string]string{"bytes=0-0": "0", "bytes=3-5": "345", "bytes=9-": "9", "bytes=8-99": "89", "bytes=-3": "789"} {
		if got := get(t, c, b, key, r); string(got) != want {
			t.Errorf("range %s: %q, want %q", r, got, want)
		}
	}
	for _, tc := range []struct {
		name   string
		in     s3.GetObjectInput
		code   string
		status int
	}{
		{"range past the end", s3.GetObjectInput{Range: aws.String("bytes=10-12")}, "InvalidRange", 416},
		{"If-Match with another ETag", s3.GetObjectInput{IfMatch: aws.String(`"0"`)}, "PreconditionFailed", 412},
		{"missing key", s3.GetObjectInput{Key: aws.String("none")}, "NoSuchKey", 404},
		{"missing bucket", s3.GetObjectInput{Bucket: aws.String("none")}, "NoSuchBucket", 404},
	} {
		in := tc.in
		if in.Bucket == nil {
			in.Bucket = &b
		}
		if in.Key == nil {
			in.Key = &key
		}
		_, err := c.GetObject(t.Context(), &in)
		if code, status := code(err); code != tc.code || status != tc.status {
			t.Errorf("%s: %s %d (%v), want %s %d", tc.name, code, status, err, tc.code, tc.status)
		}
	}
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &b, Key: &key, IfMatch: put.ETag, Range: aws.String("bytes=2-3")})
	if err != nil {
		t.Fatalf("If-Match with the object's ETag: %v", err)
	}
	out.Body.Close()
	if aws.ToString(out.ContentRange) != "bytes 2-3/10" {
		t.Errorf("Content-Range %q", aws.ToString(out.ContentRange))
	}
	_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &b, Key: &key, IfNoneMatch: aws.String("*"), Body: strings.NewReader("x")})
	if code, status := code(err); code != "PreconditionFailed" || status != 412 {
		t.Errorf("If-None-Match: * on an existing key: %s %d (%v)", code, status, err)
	}
}

func testMultipart(t *testing.T, s *s3server.Server, c *s3.Client, b string) {
	ctx, key := t.Context(), "parts"
	first, second := bytes.Repeat([]byte("a"), 5<<20), bytes.Repeat([]byte("b"), 1000)
	up, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &b, Key: &key, ChecksumAlgorithm: types.ChecksumAlgorithmCrc32})
	if err != nil {
		t.Fatal(err)
	}
	var parts []types.CompletedPart
	for i, body := range [][]byte{first, second} {
		n := int32(i + 1)
		p, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: &b, Key: &key, UploadId: up.UploadId, PartNumber: &n, Body: bytes.NewReader(body)})
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, types.CompletedPart{ETag: p.ETag, ChecksumCRC32: p.ChecksumCRC32, PartNumber: &n})
	}
	if _, err := os.Stat(s.PathOnDisk(b, key)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("object visible before CompleteMultipartUpload: %v", err)
	}
	if _, err := c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &b, Key: &key, UploadId: up.UploadId,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, c, b, key, ""); !bytes.Equal(got, append(first, second...)) {
		t.Errorf("multipart object: other content, %d bytes", len(got))
	}

	// A copy of a part and an abort, the other two operations that the library needs.
	copyKey := "copied"
	up, err = c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &b, Key: &copyKey})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.UploadPartCopy(ctx, &s3.UploadPartCopyInput{
		Bucket: &b, Key: &copyKey, UploadId: up.UploadId, PartNumber: aws.Int32(1),
		CopySource: aws.String(b + "/" + key), CopySourceRange: aws.String("bytes=0-5242879"),
	}); err != nil {
		t.Errorf("UploadPartCopy: %v", err)
	}
	if _, err := c.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b, Key: &copyKey, UploadId: up.UploadId}); err != nil {
		t.Errorf("AbortMultipartUpload: %v", err)
	}
	list, err := c.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &b})
	if err != nil || len(list.Uploads) != 0 {
		t.Errorf("uploads after complete and abort: %d, %v", len(list.Uploads), err)
	}
}

func testAccess(t *testing.T, s *s3server.Server, c *s3.Client, b string) {
	key := "dir/object"
	wrong := aws.CredentialsProviderFunc(func(ctx context.Context) (aws.Credentials, error) {
		good, err := s.Credentials().Retrieve(ctx)
		good.SecretAccessKey += "x"
		return good, err
	})
	for _, tc := range []struct {
		name  string
		creds aws.CredentialsProvider
		code  string
	}{
		{"stranger", s.Stranger(), "AccessDenied"},
		{"wrong secret", wrong, "SignatureDoesNotMatch"},
	} {
		other := s.Client(func(o *s3.Options) { o.Credentials = tc.creds })
		_, err := other.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &b, Key: &key})
		if code, status := code(err); code != tc.code || status != http.StatusForbidden {
			t.Errorf("%s: %s %d (%v), want %s 403", tc.name, code, status, err, tc.code)
		}
	}
	plain := &http.Client{Transport: &http.Transport{}}
	defer plain.CloseIdleConnections()
	res, err := plain.Get(s.URL())
	if strings.HasPrefix(s.URL(), "https:") {
		if err == nil {
			res.Body.Close()
			t.Error("a client that does not know the CA accepted its certificate")
		}
	} else if err != nil {
		t.Error(err)
	} else {
		res.Body.Close()
	}
}

func TestVersioning(t *testing.T) {
	s := run(t, inProcess, &s3server.Options{Versioning: true})
	c := s.Client()
	b, key := bucket(t, c), "k"
	if _, err := c.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &b, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	}); err != nil {
		t.Fatal(err)
	}
	first, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &b, Key: &key, Body: strings.NewReader("old")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &b, Key: &key, Body: strings.NewReader("new")}); err != nil {
		t.Fatal(err)
	}
	out, err := c.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &b, Key: &key, VersionId: first.VersionId})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	if got, err := io.ReadAll(out.Body); err != nil || string(got) != "old" {
		t.Errorf("old version: %q, %v", got, err)
	}
	if got := get(t, c, b, key, ""); string(got) != "new" {
		t.Errorf("newest version: %q", got)
	}
}

func TestOneServerInAProcess(t *testing.T) {
	before, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	s, err := s3server.Start(nil)
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Dir(s.PathOnDisk("b", ""))
	if _, err := s3server.Start(nil); !errors.Is(err, s3server.ErrRunning) {
		t.Errorf("second Start: %v, want ErrRunning", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if after, err := os.Getwd(); err != nil || after != before {
		t.Errorf("working directory after Close: %q, want %q (%v)", after, before, err)
	}
	if _, err := os.Stat(root); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("files left after Close: %v", err)
	}
	again, err := s3server.Start(&s3server.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatalf("Start after Close: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestDirOfTheCallerStays(t *testing.T) {
	dir := t.TempDir()
	for i := range 2 {
		s, err := s3server.Start(&s3server.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		c := s.Client()
		if i == 0 {
			b := bucket(t, c)
			_, err = c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &b, Key: aws.String("k"), Body: strings.NewReader("kept")})
			if err != nil {
				t.Error(err)
			}
		} else if got := get(t, c, "bucket", "k", ""); string(got) != "kept" {
			t.Errorf("object in a directory served twice: %q", got)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestStartReportsABadDirectory(t *testing.T) {
	for name, start := range map[string]launch{"in process": inProcess, "child process": s3server.StartProcess} {
		s, err := start(t.Context(), &s3server.Options{Dir: filepath.Join(t.TempDir(), "none")})
		if err == nil {
			t.Errorf("%s: no error for a directory that does not exist", name)
			_ = s.Close()
		}
	}
}

func TestProcessEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s, err := s3server.StartProcess(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := s.Close(); err != nil {
		t.Errorf("Close after the context: %v", err)
	}
	if res, err := http.Get(s.URL()); err == nil {
		res.Body.Close()
		t.Error("the server still answers")
	}
}
