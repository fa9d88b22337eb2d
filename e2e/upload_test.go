package e2e_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

const mib = 1 << 20

// Sizes of uploads in one request and in three parts of 5 MiB.
const (
	small = 100_000
	three = 11 * mib
)

var parts5 = &s3upload.Options{PartSize: 5 * mib}

// oneByOne sends one part at a time, for uploads that fail: S3 says of AbortMultipartUpload that parts which are being
// uploaded meanwhile might or might not succeed, and the gateway, too, may store a part after the abort.
var oneByOne = &s3upload.Options{PartSize: 5 * mib, Concurrency: 1}

// uploadError returns the *s3upload.UploadError in err's tree and fails the test if there is none.
func uploadError(t *testing.T, err error) *s3upload.UploadError {
	t.Helper()
	e, ok := errors.AsType[*s3upload.UploadError](err)
	if !ok {
		t.Fatalf("error %v (%T), want an *s3upload.UploadError", err, err)
	}
	return e
}

// Faults that pass: the upload succeeds, and the object is the plaintext.
func TestUploadOutlivesPassingFaults(t *testing.T) {
	slow := faultproxy.Error(503, "SlowDown")
	for name, rules := range map[string][]faultproxy.Rule{
		"503 on part 2": {{Op: faultproxy.UploadPart, Part: 2, Nth: 1, Fault: slow}},
		"503 on every part, twice": {
			{Op: faultproxy.UploadPart, Part: 1, Nth: 1, Fault: slow},
			{Op: faultproxy.UploadPart, Part: 1, Nth: 2, Fault: slow},
			{Op: faultproxy.UploadPart, Part: 2, Nth: 1, Fault: slow},
			{Op: faultproxy.UploadPart, Part: 2, Nth: 2, Fault: slow},
			{Op: faultproxy.UploadPart, Part: 3, Nth: 1, Fault: slow},
			{Op: faultproxy.UploadPart, Part: 3, Nth: 2, Fault: slow},
		},
		"500 on create":          {{Op: faultproxy.CreateMultipartUpload, Nth: 1, Fault: faultproxy.Error(500, "InternalError")}},
		"429 on complete":        {{Op: faultproxy.CompleteMultipartUpload, Nth: 1, Fault: faultproxy.Error(429, "TooManyRequestsException")}},
		"reset before part 3":    {{Op: faultproxy.UploadPart, Part: 3, Nth: 1, Fault: faultproxy.Reset()}},
		"answer to part 1 lost":  {{Op: faultproxy.UploadPart, Part: 1, Nth: 1, Fault: faultproxy.ResetAfter()}},
		"answer to the end lost": {{Op: faultproxy.CompleteMultipartUpload, Nth: 1, Fault: faultproxy.ResetAfter()}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.proxy.Add(rules...)
			res, err := s3upload.New(p.client, p.keys, parts5).Upload(t.Context(), p.put("key", text(three).Reader()))
			if err != nil {
				t.Fatal(err)
			}
			if res.Parts != 3 || res.PlaintextSize != three || res.StoredSize != int64(len(p.stored(t, "key"))) {
				t.Errorf("result %+v", res)
			}
			if ids := p.uploads(t); len(ids) != 0 {
				t.Errorf("%d multipart uploads stay open", len(ids))
			}
			faults := 0
			for _, q := range p.proxy.Log() {
				if q.Fault != "" {
					faults++
				}
			}
			if faults != len(rules) {
				t.Errorf("%d faults happened, want %d", faults, len(rules))
			}
			p.checkObject(t, "key", three)
		})
	}
}

// Faults that stay: a typed error, the object of before untouched, and nothing left behind.
func TestUploadFailsCleanly(t *testing.T) {
	for _, tc := range []struct {
		name  string
		size  int64
		rule  faultproxy.Rule
		code  string // of the API error; empty: none
		maybe bool   // MayBeStored
	}{
		{"503 on part 2", three, faultproxy.Rule{Op: faultproxy.UploadPart, Part: 2, Fault: faultproxy.Error(503, "SlowDown")}, "SlowDown", false},
		{"500 on the final part", three, faultproxy.Rule{Op: faultproxy.UploadPart, Part: 3, Fault: faultproxy.Error(500, "InternalError")}, "InternalError", false},
		{"429 with Retry-After on part 1", three, faultproxy.Rule{Op: faultproxy.UploadPart, Part: 1, Fault: faultproxy.Error(429, "TooManyRequestsException", "Retry-After", "1")}, "TooManyRequestsException", false},
		{"403 on create", three, faultproxy.Rule{Op: faultproxy.CreateMultipartUpload, Fault: faultproxy.Error(403, "AccessDenied")}, "AccessDenied", false},
		{"403 on complete", three, faultproxy.Rule{Op: faultproxy.CompleteMultipartUpload, Fault: faultproxy.Error(403, "AccessDenied")}, "AccessDenied", false},
		{"412 on complete", three, faultproxy.Rule{Op: faultproxy.CompleteMultipartUpload, Fault: faultproxy.Error(412, "PreconditionFailed")}, "PreconditionFailed", false},
		{"500 on complete", three, faultproxy.Rule{Op: faultproxy.CompleteMultipartUpload, Fault: faultproxy.Error(500, "InternalError")}, "InternalError", true},
		{"reset on part 3", three, faultproxy.Rule{Op: faultproxy.UploadPart, Part: 3, Fault: faultproxy.Reset()}, "", false},
		{"reset on complete", three, faultproxy.Rule{Op: faultproxy.CompleteMultipartUpload, Fault: faultproxy.Reset()}, "", true},
		{"503 on a small one", small, faultproxy.Rule{Op: faultproxy.PutObject, Fault: faultproxy.Error(503, "SlowDown")}, "SlowDown", true},
		{"403 on a small one", small, faultproxy.Rule{Op: faultproxy.PutObject, Fault: faultproxy.Error(403, "AccessDenied")}, "AccessDenied", false},
		{"reset on a small one", small, faultproxy.Rule{Op: faultproxy.PutObject, Fault: faultproxy.Reset()}, "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t)
			p.store(t, "key", small, nil)
			before := p.stored(t, "key")
			p.proxy.Add(tc.rule)
			_, err := s3upload.New(p.client, p.keys, oneByOne).Upload(t.Context(), p.put("key", text(tc.size).Reader()))
			e := uploadError(t, err)
			if code(err) != tc.code || e.AbortErr != nil || e.MayBeStored != tc.maybe {
				t.Errorf("error %v\ncode %q, want %q; MayBeStored %v, want %v; AbortErr %v", err, code(err), tc.code, e.MayBeStored, tc.maybe, e.AbortErr)
			}
			if errors.Is(err, stream.ErrAuth) || errors.Is(err, context.Canceled) {
				t.Errorf("the error hides its cause: %v", err)
			}
			if after := p.stored(t, "key"); string(after) != string(before) {
				t.Errorf("the object of before has changed: %d bytes, %d before", len(after), len(before))
			}
			if ids := p.uploads(t); len(ids) != 0 {
				t.Errorf("%d multipart uploads stay open", len(ids))
			}
		})
	}
}

// The answer to the request that makes the object visible is lost for good: the error says that it may be stored, and
// it is.
func TestUploadThatMayBeStored(t *testing.T) {
	for name, tc := range map[string]struct {
		op   faultproxy.Op
		size int64
	}{"multipart": {faultproxy.CompleteMultipartUpload, three}, "one request": {faultproxy.PutObject, small}} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.proxy.Add(faultproxy.Rule{Op: tc.op, Fault: faultproxy.ResetAfter()})
			_, err := s3upload.New(p.client, p.keys, oneByOne).Upload(t.Context(), p.put("key", text(tc.size).Reader()))
			if e := uploadError(t, err); !e.MayBeStored || e.AbortErr != nil {
				t.Errorf("MayBeStored %v, AbortErr %v", e.MayBeStored, e.AbortErr)
			}
			if ids := p.uploads(t); len(ids) != 0 {
				t.Errorf("%d multipart uploads stay open", len(ids))
			}
			p.checkObject(t, "key", tc.size)
		})
	}
}

// When aborting fails too, the error has what is needed to do it later.
func TestUploadReportsAFailedAbort(t *testing.T) {
	p := newPlace(t)
	p.proxy.Add(
		faultproxy.Rule{Op: faultproxy.UploadPart, Part: 2, Fault: faultproxy.Error(500, "InternalError")},
		faultproxy.Rule{Op: faultproxy.AbortMultipartUpload, Fault: faultproxy.Error(403, "AccessDenied")},
	)
	_, err := s3upload.New(p.client, p.keys, oneByOne).Upload(t.Context(), p.put("key", text(three).Reader()))
	e := uploadError(t, err)
	if code(e.Err) != "InternalError" || code(e.AbortErr) != "AccessDenied" {
		t.Errorf("Err %v, AbortErr %v", e.Err, e.AbortErr)
	}
	if ids := p.uploads(t); len(ids) != 1 || ids[0] != e.UploadID || !strings.Contains(err.Error(), e.UploadID) {
		t.Fatalf("open uploads %q, the error names %q: %v", ids, e.UploadID, err)
	}
	if _, err := p.direct.AbortMultipartUpload(t.Context(), &s3.AbortMultipartUploadInput{Bucket: &p.bucket, Key: &e.Key, UploadId: &e.UploadID}); err != nil {
		t.Errorf("aborting with what the error says: %v", err)
	}
	p.nothingLeft(t, "key")
}

// A cancelled upload leaves nothing behind, wherever it is when the context ends.
func TestUploadCancelled(t *testing.T) {
	for _, tc := range []struct {
		name string
		size int64
		rule faultproxy.Rule
	}{
		{"in create", three, faultproxy.Rule{Op: faultproxy.CreateMultipartUpload}},
		{"in part 1", three, faultproxy.Rule{Op: faultproxy.UploadPart, Part: 1}},
		{"in part 3", three, faultproxy.Rule{Op: faultproxy.UploadPart, Part: 3}},
		{"in the only request", small, faultproxy.Rule{Op: faultproxy.PutObject}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t)
			hold := faultproxy.NewHold()
			t.Cleanup(hold.Release)
			tc.rule.Fault = hold.Fault()
			p.proxy.Add(tc.rule)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			go func() {
				<-hold.Reached()
				cancel(errors.New("enough"))
				if tc.rule.Op == faultproxy.CreateMultipartUpload {
					hold.Release() // this request goes on after the context ended, for AbortTimeout
				}
			}()
			_, err := s3upload.New(p.client, p.keys, oneByOne).Upload(ctx, p.put("key", text(tc.size).Reader()))
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want context.Canceled", err)
			}
			if e := uploadError(t, err); e.AbortErr != nil {
				t.Errorf("abort: %v", e.AbortErr)
			}
			p.nothingLeft(t, "key")
		})
	}
}

// A source that fails, or is not what was said of it, makes nothing visible.
func TestUploadOfABadSource(t *testing.T) {
	broken := errors.New("the disk is gone")
	digest := func(size int64) *string {
		h := sha256.New()
		if _, err := io.Copy(h, text(size).Reader()); err != nil {
			t.Fatal(err)
		}
		return aws.String(base64.StdEncoding.EncodeToString(h.Sum(nil)))
	}
	type in = s3.PutObjectInput
	for _, size := range []int64{small, three} {
		for _, tc := range []struct {
			name string
			in   in
			want error
		}{
			{"fails at once", in{Body: iotest.ErrReader(broken)}, broken},
			{"fails in the middle", in{Body: io.MultiReader(io.LimitReader(text(size).Reader(), size/2), iotest.ErrReader(broken))}, broken},
			{"fails at the end", in{Body: io.MultiReader(text(size).Reader(), iotest.ErrReader(broken))}, broken},
			{"breaks off", in{Body: io.MultiReader(text(size).Reader(), iotest.ErrReader(io.ErrUnexpectedEOF))}, io.ErrUnexpectedEOF},
			{"is shorter than declared", in{Body: io.LimitReader(text(size).Reader(), size-1), ContentLength: &size}, stream.ErrSizeMismatch},
			{"is longer than declared", in{Body: io.MultiReader(text(size).Reader(), strings.NewReader("x")), ContentLength: &size}, stream.ErrSizeMismatch},
			{"shrinks", in{Body: &resized{text(size).Reader(), io.LimitReader(text(size).Reader(), size/2)}}, stream.ErrSizeMismatch},
			{"grows", in{Body: &resized{text(size).Reader(), io.MultiReader(text(size).Reader(), strings.NewReader("x"))}}, stream.ErrSizeMismatch},
			{"has another checksum", in{Body: text(size).Reader(), ChecksumSHA256: digest(size - 1)}, s3upload.ErrChecksum},
		} {
			t.Run(fmt.Sprintf("%s, %d bytes", tc.name, size), func(t *testing.T) {
				p := newPlace(t)
				tc.in.Bucket, tc.in.Key = &p.bucket, aws.String("key")
				_, err := s3upload.New(p.client, p.keys, oneByOne).Upload(t.Context(), &tc.in)
				if !errors.Is(err, tc.want) {
					t.Errorf("error %v, want %v", err, tc.want)
				}
				if e := uploadError(t, err); e.AbortErr != nil || e.MayBeStored {
					t.Errorf("AbortErr %v, MayBeStored %v", e.AbortErr, e.MayBeStored)
				}
				p.nothingLeft(t, "key")
			})
		}
	}
}

// resized is a file whose size changes after it was asked for.
type resized struct {
	seeker io.Seeker
	reader io.Reader
}

func (r *resized) Seek(off int64, whence int) (int64, error) { return r.seeker.Seek(off, whence) }
func (r *resized) Read(p []byte) (int, error)                { return r.reader.Read(p) }

// What the store refuses keeps its code.
func TestUploadRefusedByTheStore(t *testing.T) {
	for _, size := range []int64{small, three} {
		t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
			p := newPlace(t)
			p.store(t, "exists", small, nil)
			stranger := server.Client(func(o *s3.Options) { o.Credentials = server.Stranger() })
			for _, tc := range []struct {
				name   string
				client *s3.Client
				in     s3.PutObjectInput
				code   string
			}{
				{"no permission", stranger, s3.PutObjectInput{Bucket: &p.bucket, Key: aws.String("key")}, "AccessDenied"},
				{"wrong bucket", p.direct, s3.PutObjectInput{Bucket: aws.String("no-such-bucket"), Key: aws.String("key")}, "NoSuchBucket"},
				{"If-None-Match on an existing object", p.direct, s3.PutObjectInput{Bucket: &p.bucket, Key: aws.String("exists"), IfNoneMatch: aws.String("*")}, "PreconditionFailed"},
			} {
				tc.in.Body = text(size).Reader()
				_, err := s3upload.New(tc.client, p.keys, oneByOne).Upload(t.Context(), &tc.in)
				if e := uploadError(t, err); code(err) != tc.code || e.AbortErr != nil || e.MayBeStored {
					t.Errorf("%s: %v; code %q, want %q", tc.name, err, code(err), tc.code)
				}
			}
			p.nothingLeft(t, "key")
			p.checkObject(t, "exists", small)
		})
	}
}
