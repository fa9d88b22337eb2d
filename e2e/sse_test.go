package e2e_test

import (
	"crypto/md5"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// A recorder keeps the headers of the requests that a client sends.
type recorder struct {
	http.RoundTripper
	mu       sync.Mutex
	requests []recorded
}

type recorded struct {
	op     faultproxy.Op
	header http.Header
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.mu.Lock()
	r.requests = append(r.requests, recorded{opOf(req), req.Header.Clone()})
	r.mu.Unlock()
	return r.RoundTripper.RoundTrip(req)
}

// opOf tells which of the operations a request is that uploads and downloads use.
func opOf(r *http.Request) faultproxy.Op {
	query := r.URL.Query()
	switch {
	case r.Method == http.MethodPost && query.Has("uploads"):
		return faultproxy.CreateMultipartUpload
	case r.Method == http.MethodPost:
		return faultproxy.CompleteMultipartUpload
	case r.Method == http.MethodPut && query.Has("partNumber"):
		return faultproxy.UploadPart
	case r.Method == http.MethodPut:
		return faultproxy.PutObject
	case r.Method == http.MethodDelete && query.Has("uploadId"):
		return faultproxy.AbortMultipartUpload
	case r.Method == http.MethodDelete:
		return faultproxy.DeleteObject
	}
	return faultproxy.GetObject
}

// record gives the place's client a recorder.
func (p *place) record(t *testing.T) *recorder {
	t.Helper()
	p.connect(t)
	r := &recorder{RoundTripper: p.client.Options().HTTPClient.(*http.Client).Transport}
	p.client = s3.New(p.client.Options(), func(o *s3.Options) { o.HTTPClient = &http.Client{Transport: r} })
	return r
}

// customerKey is the key of SSE-C, and the sum that goes with it, as the SDK wants them.
func customerKey() (key, sum string) {
	raw := []byte("0123456789abcdefghijklmnopqrstuv")
	hash := md5.Sum(raw)
	return base64.StdEncoding.EncodeToString(raw), base64.StdEncoding.EncodeToString(hash[:])
}

// A scheme is a way to have the store encrypt once more.
type scheme struct {
	name   string
	put    func(in *s3.PutObjectInput)
	get    func(in *s3.GetObjectInput)
	header map[string]string // of each request that needs it
	ops    []faultproxy.Op   // that do
}

func schemes() []scheme {
	const prefix = "X-Amz-Server-Side-Encryption"
	key, sum := customerKey()
	writes := []faultproxy.Op{faultproxy.PutObject, faultproxy.CreateMultipartUpload}
	return []scheme{
		{
			"SSE-S3", func(in *s3.PutObjectInput) { in.ServerSideEncryption = types.ServerSideEncryptionAes256 }, nil,
			map[string]string{prefix: "AES256"},
			writes,
		},
		{
			"SSE-KMS", func(in *s3.PutObjectInput) {
				in.ServerSideEncryption, in.BucketKeyEnabled = types.ServerSideEncryptionAwsKms, aws.Bool(true)
				in.SSEKMSKeyId, in.SSEKMSEncryptionContext = aws.String("alias/store"), aws.String("eyJhIjoiYiJ9")
			}, nil,
			map[string]string{
				prefix: "aws:kms", prefix + "-Aws-Kms-Key-Id": "alias/store",
				prefix + "-Context": "eyJhIjoiYiJ9", prefix + "-Bucket-Key-Enabled": "true",
			},
			writes,
		},
		{
			"SSE-C", func(in *s3.PutObjectInput) {
				in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = aws.String("AES256"), &key, &sum
			}, func(in *s3.GetObjectInput) {
				in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = aws.String("AES256"), &key, &sum
			},
			map[string]string{prefix + "-Customer-Algorithm": "AES256", prefix + "-Customer-Key": key, prefix + "-Customer-Key-Md5": sum},
			append(writes, faultproxy.UploadPart, faultproxy.CompleteMultipartUpload, faultproxy.GetObject),
		},
	}
}

// check compares the headers about a second layer that the requests have with
// those that they need, and returns which operations there were.
func (s *scheme) check(t *testing.T, r *recorder) (seen []faultproxy.Op) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.requests {
		seen = append(seen, q.op)
		got, want := map[string]string{}, map[string]string{}
		for name := range q.header {
			if strings.HasPrefix(name, "X-Amz-Server-Side-Encryption") {
				got[name] = q.header.Get(name)
			}
		}
		if slices.Contains(s.ops, q.op) {
			want = s.header
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s has %v, expected %v", q.op, got, want)
		}
	}
	r.requests = nil
	slices.Sort(seen)
	return slices.Compact(seen)
}

// What the caller says of a second layer of encryption goes with each request
// that needs it, and with no other, wherever the header is.
func TestSecondLayer(t *testing.T) {
	for _, s := range schemes() {
		for name, o := range headerPlaces {
			t.Run(s.name+"/"+name, func(t *testing.T) {
				p := newPlace(t)
				seen := map[faultproxy.Op]bool{}
				for _, size := range []int64{small, three} {
					for _, fails := range []bool{false, true} {
						r := p.record(t)
						if fails { // what was written is taken back
							p.proxy.Add(faultproxy.Rule{Op: faultproxy.CompleteMultipartUpload, Fault: faultproxy.Error(403, "AccessDenied")},
								faultproxy.Rule{Op: faultproxy.PutObject, Nth: 2, Fault: faultproxy.Error(403, "AccessDenied")})
						}
						in := p.put(fmt.Sprint("key-", fails), text(size).Reader())
						s.put(in)
						_, err := s3upload.New(p.client, p.keys, &o).Upload(t.Context(), in)
						if fails == (err == nil) && (size == three || name == "beside") {
							t.Fatal(err)
						}
						for _, op := range s.check(t, r) {
							seen[op] = true
						}
					}
					r := p.record(t)
					in := p.get("key-false")
					if s.get != nil {
						s.get(in)
					}
					object, err := s3download.Open(t.Context(), p.client, in, p.keys, nil)
					if err != nil {
						t.Fatal(err)
					}
					readAllWays(t, object, size)
					object.Close()
					if got := s.check(t, r); !slices.Equal(got, []faultproxy.Op{faultproxy.GetObject}) {
						t.Errorf("reading took %v", got)
					}
				}
				want := 5
				if name == "beside" {
					want = 7 // GetObject and DeleteObject
				}
				if len(seen) != want {
					t.Errorf("uploads took %v", seen)
				}
			})
		}
	}
}

// The key of SSE-C is in no error.
func TestCustomerKeyStaysSecret(t *testing.T) {
	p := newPlace(t)
	key, sum := customerKey()
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	layer := schemes()[2]
	failures := 0
	secret := func(name string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: no error", name)
			return
		}
		failures++
		for e := err; e != nil; e = errors.Unwrap(e) {
			for _, text := range []string{e.Error(), fmt.Sprintf("%+v", e), fmt.Sprintf("%#v", e)} {
				if strings.Contains(text, key) || strings.Contains(text, sum) || strings.Contains(text, string(raw)) {
					t.Errorf("%s: the error has the key: %s", name, text)
				}
			}
		}
	}
	for place, o := range headerPlaces {
		o.Concurrency = 1
		for name, rule := range map[string]faultproxy.Rule{
			"denied":         {Op: faultproxy.PutObject, Fault: faultproxy.Error(403, "AccessDenied")},
			"bad key":        {Op: faultproxy.PutObject, Fault: faultproxy.Error(400, "InvalidArgument")},
			"reset":          {Op: faultproxy.PutObject, Fault: faultproxy.Reset()},
			"everything":     {Fault: faultproxy.Reset()},
			"create denied":  {Op: faultproxy.CreateMultipartUpload, Fault: faultproxy.Error(403, "AccessDenied")},
			"part":           {Op: faultproxy.UploadPart, Part: 2, Fault: faultproxy.Error(500, "InternalError")},
			"complete":       {Op: faultproxy.CompleteMultipartUpload, Fault: faultproxy.Error(500, "InternalError")},
			"complete reset": {Op: faultproxy.CompleteMultipartUpload, Fault: faultproxy.Reset()},
		} {
			for _, size := range []int64{small, three} {
				if (rule.Op == faultproxy.PutObject) != (size == small) {
					continue
				}
				p.connect(t)
				p.proxy.Add(rule)
				in := p.put("key", text(size).Reader())
				layer.put(in)
				_, err := s3upload.New(p.client, p.keys, &o).Upload(t.Context(), in)
				secret(place+", upload, "+name, err)
			}
		}
		in := p.put("", nil)
		layer.put(in)
		_, err := s3upload.New(p.client, p.keys, &o).Upload(t.Context(), in)
		secret(place+", no key", err)

		p.store(t, "key", three, &o)
		for name, rule := range map[string]faultproxy.Rule{
			"denied":   {Op: faultproxy.GetObject, Fault: faultproxy.Error(403, "AccessDenied")},
			"no key":   {Op: faultproxy.GetObject, Fault: faultproxy.Error(400, "InvalidRequest")},
			"missing":  {Op: faultproxy.GetObject, Fault: faultproxy.Error(404, "NoSuchKey")},
			"changed":  {Op: faultproxy.GetObject, Nth: 1, Fault: faultproxy.Error(412, "PreconditionFailed")},
			"tampered": {Op: faultproxy.GetObject, Fault: faultproxy.FlipBit(60, 1)},
		} {
			p.connect(t)
			p.proxy.Add(rule)
			in := p.get("key")
			layer.get(in)
			_, err := s3download.Open(t.Context(), p.client, in, p.keys, nil)
			secret(place+", download, "+name, err)
		}
		bad := p.get("key")
		layer.get(bad)
		bad.Range = aws.String("bytes=0-1")
		_, err = s3download.Open(t.Context(), p.client, bad, p.keys, nil)
		secret(place+", a range", err)
		bad.Range = nil
		_, err = s3download.Open(t.Context(), p.client, bad, p.keys, &s3download.Options{Decrypt: &stream.DecryptOptions{AssociatedData: []byte("x")}})
		secret(place+", policy", err)
	}
	if failures < 45 {
		t.Errorf("only %d failures were looked at", failures)
	}
}
