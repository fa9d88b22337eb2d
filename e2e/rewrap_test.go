package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/s3upload"
)

var rewrapSize = flag.Int64("rewrap.size", 300, "MiB of the largest object that TestRewrapInTheStore re-wraps")

// anotherKey returns a second KMS key of the place.
func (p *place) anotherKey(t *testing.T) *awskms.Keyring {
	t.Helper()
	p.kms.CreateKey("alias/another")
	keys, err := awskms.New(p.kmsClient, "alias/another", nil)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// payloadSum is the hash of what the store holds for key from the offset on.
func (p *place) payloadSum(t *testing.T, key string, from int64) (sum [32]byte) {
	t.Helper()
	f, err := os.Open(server.PathOnDisk(p.bucket, key))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, from, 1<<62)); err != nil {
		t.Fatal(err)
	}
	h.Sum(sum[:0])
	return sum
}

// checkRewrapped reads the object with its new keys.
func (p *place) checkRewrapped(t *testing.T, key string, keys *awskms.Keyring, size int64) {
	t.Helper()
	before := p.keys
	defer func() { p.keys = before }()
	p.keys = keys
	check := text(size).CheckFrom(0)
	if n, err := p.open(t, key, nil).WriteTo(check); err != nil || n != size {
		t.Errorf("with the new key: %d of %d bytes, %v", n, size, err)
	}
}

// otherSums announces another checksum than the uploads of these tests have: of parts that it copies from an object with
// a checksum of the same algorithm, the gateway takes that of the whole object.
func otherSums(in *s3.CreateMultipartUploadInput) {
	in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc64nvme
}

// A re-wrap in the store changes the header, leaves the payload and what belongs to the object, and moves at most one
// small part through this host.
func TestRewrapInTheStore(t *testing.T) {
	for name, o := range map[string]s3upload.Options{
		"in the object":   {},
		"beside it":       {HeaderSuffix: s3upload.DefaultHeaderSuffix},
		"in its metadata": {HeaderInMetadata: true},
	} {
		largest := *rewrapSize * mib
		if testing.Short() {
			largest = min(largest, 20*mib)
		}
		for _, size := range []int64{0, 1, 5*mib - 4096 - 28*80 - 1, 5 * mib, 5*mib + 1, largest} {
			t.Run(fmt.Sprintf("%s, %d bytes", name, size), func(t *testing.T) {
				p := newPlace(t)
				in := p.put("dir/a key+1", text(size).Reader())
				in.ContentType, in.CacheControl = aws.String("text/x-test"), aws.String("no-store")
				in.Metadata = map[string]string{"name": "value"}
				in.Tagging = aws.String("team=a%20b&empty=")
				o.PartSize = max(5*mib, size/40) // the gateway keeps what it knows of parts in an extended attribute
				up, err := s3upload.New(p.direct, p.keys, &o).Upload(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				from := up.Info.Layout.Start()
				before := p.payloadSum(t, *in.Key, from)
				keys := p.anotherKey(t)
				start := time.Now()
				res, err := s3upload.Rewrap(t.Context(), p.client, p.get(*in.Key), p.keys, keys, &s3upload.RewrapOptions{Change: otherSums})
				if err != nil {
					t.Fatal(err)
				}
				took := time.Since(start)
				if p.payloadSum(t, *in.Key, from) != before || res.Info.Generation != 1 || res.Info.HeaderSize != up.Info.HeaderSize {
					t.Errorf("the payload has changed, or the header's size: %+v", res)
				}
				total := faultproxy.Sum(p.proxy.Log())
				if total.BytesIn > 5*mib+70_000 || total.BytesOut > 5*mib+140_000 {
					t.Errorf("%d bytes sent, %d read, in %d requests", total.BytesIn, total.BytesOut, total.Requests)
				}
				t.Logf("%d requests, %d bytes sent, %d read, in %v", total.Requests, total.BytesIn, total.BytesOut, took.Round(time.Millisecond))
				p.checkProperties(t, *in.Key, in)
				p.checkRewrapped(t, *in.Key, keys, size)
				if ids := p.uploads(t); len(ids) != 0 {
					t.Errorf("%d multipart uploads stay open", len(ids))
				}
				again, err := s3upload.Rewrap(t.Context(), p.client, p.get(*in.Key), p.keys, keys, nil)
				if err != nil || !again.Unchanged {
					t.Errorf("the second time: %+v, %v", again, err)
				}
			})
		}
	}
}

// checkProperties compares what the store tells of the object with what it was uploaded with.
func (p *place) checkProperties(t *testing.T, key string, in *s3.PutObjectInput) {
	t.Helper()
	head, err := p.direct.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &p.bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	delete(head.Metadata, "bulla-header")
	if aws.ToString(head.ContentType) != *in.ContentType || aws.ToString(head.CacheControl) != *in.CacheControl || !maps.Equal(head.Metadata, in.Metadata) {
		t.Errorf("type %q, cache control %q, metadata %q", aws.ToString(head.ContentType), aws.ToString(head.CacheControl), head.Metadata)
	}
	tags, err := p.direct.GetObjectTagging(t.Context(), &s3.GetObjectTaggingInput{Bucket: &p.bucket, Key: &key})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, tag := range tags.TagSet {
		got[*tag.Key] = *tag.Value
	}
	if want := map[string]string{"team": "a b", "empty": ""}; !maps.Equal(got, want) {
		t.Errorf("tags %q, want %q", got, want)
	}
}

// A re-wrap that fails leaves the object as it was and nothing beside it; where only an answer is lost, it succeeds.
func TestRewrapFaults(t *testing.T) {
	for _, tc := range []struct {
		name string
		size int64
		rule faultproxy.Rule
		code string // of the API error; empty: none
		done bool   // it succeeds
	}{
		{"403 on the header", three, faultproxy.Rule{Op: faultproxy.GetObject, Nth: 1, Fault: faultproxy.Error(403, "AccessDenied")}, "AccessDenied", false},
		{"404 on the front", three, faultproxy.Rule{Op: faultproxy.GetObject, Nth: 2, Fault: faultproxy.Error(404, "NoSuchKey")}, "NoSuchKey", false},
		{"403 on the head", three, faultproxy.Rule{Op: faultproxy.HeadObject, Fault: faultproxy.Error(403, "AccessDenied")}, "Forbidden", false},
		{"403 on the tags", three, faultproxy.Rule{Op: faultproxy.ObjectSubresource, Fault: faultproxy.Error(403, "AccessDenied")}, "AccessDenied", false},
		{"403 on create", three, faultproxy.Rule{Op: faultproxy.CreateMultipartUpload, Fault: faultproxy.Error(403, "AccessDenied")}, "AccessDenied", false},
		{"500 on part 1", three, faultproxy.Rule{Op: faultproxy.UploadPart, Fault: faultproxy.Error(500, "InternalError")}, "InternalError", false},
		{"403 on the copy", three, faultproxy.Rule{Op: faultproxy.UploadPartCopy, Fault: faultproxy.Error(403, "AccessDenied")}, "AccessDenied", false},
		{"reset on the copy", three, faultproxy.Rule{Op: faultproxy.UploadPartCopy, Fault: faultproxy.Reset()}, "", false},
		{"412 on the final look", three, faultproxy.Rule{Op: faultproxy.HeadObject, Nth: 2, Fault: faultproxy.Error(412, "PreconditionFailed")}, "PreconditionFailed", false},
		{"403 on complete", three, faultproxy.Rule{Op: faultproxy.CompleteMultipartUpload, Fault: faultproxy.Error(403, "AccessDenied")}, "AccessDenied", false},
		{"500 on complete", three, faultproxy.Rule{Op: faultproxy.CompleteMultipartUpload, Fault: faultproxy.Error(500, "InternalError")}, "InternalError", false},
		{"403 on a small one", small, faultproxy.Rule{Op: faultproxy.PutObject, Fault: faultproxy.Error(403, "AccessDenied")}, "AccessDenied", false},
		{"reset on a small one", small, faultproxy.Rule{Op: faultproxy.PutObject, Fault: faultproxy.Reset()}, "", false},

		{"one 503 on the copy", three, faultproxy.Rule{Op: faultproxy.UploadPartCopy, Nth: 1, Fault: faultproxy.Error(503, "SlowDown")}, "", true},
		{"front cut once", three, faultproxy.Rule{Op: faultproxy.GetObject, Nth: 2, Fault: faultproxy.CutBody(100_000)}, "", true},
		{"answer to complete lost once", three, faultproxy.Rule{Op: faultproxy.CompleteMultipartUpload, Nth: 1, Fault: faultproxy.ResetAfter()}, "", true},
		{"answer to complete lost", three, faultproxy.Rule{Op: faultproxy.CompleteMultipartUpload, Fault: faultproxy.ResetAfter()}, "", true},
		{"answer to a small one lost once", small, faultproxy.Rule{Op: faultproxy.PutObject, Nth: 1, Fault: faultproxy.ResetAfter()}, "", true},
		{"answer to a small one lost", small, faultproxy.Rule{Op: faultproxy.PutObject, Fault: faultproxy.ResetAfter()}, "", true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t)
			p.store(t, "key", tc.size, parts5)
			before := p.stored(t, "key")
			keys := p.anotherKey(t)
			p.proxy.Add(tc.rule)
			_, err := s3upload.Rewrap(t.Context(), p.client, p.get("key"), p.keys, keys, &s3upload.RewrapOptions{Change: otherSums})
			if (err == nil) != tc.done || code(err) != tc.code {
				t.Errorf("error %v; code %q, want %q", err, code(err), tc.code)
			}
			if ids := p.uploads(t); len(ids) != 0 {
				t.Errorf("%d multipart uploads stay open", len(ids))
			}
			if tc.done {
				p.checkRewrapped(t, "key", keys, tc.size)
			} else if !bytes.Equal(p.stored(t, "key"), before) {
				t.Error("the object has changed")
			}
		})
	}
}

// A writer that comes while an object is being re-wrapped keeps what it wrote.
func TestRewrapRace(t *testing.T) {
	for _, versions := range []bool{false, true} {
		for _, rule := range []faultproxy.Rule{
			{Op: faultproxy.HeadObject, Nth: 1},
			{Op: faultproxy.UploadPartCopy},
			{Op: faultproxy.CompleteMultipartUpload},
			{Op: faultproxy.PutObject},
		} {
			t.Run(fmt.Sprintf("before %s, versions %v", rule.Op, versions), func(t *testing.T) {
				p := newPlace(t)
				if versions {
					if _, err := p.direct.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
						Bucket: &p.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
					}); err != nil {
						t.Fatal(err)
					}
				}
				size := int64(three)
				if rule.Op == faultproxy.PutObject {
					size = small
				}
				p.store(t, "key", size, parts5)
				rule.Fault = faultproxy.Before(func(faultproxy.Request) { p.store(t, "key", small+1, nil) })
				p.proxy.Add(rule)
				_, err := s3upload.Rewrap(t.Context(), p.client, p.get("key"), p.keys, p.anotherKey(t), &s3upload.RewrapOptions{Change: otherSums})
				if !errors.Is(err, s3upload.ErrChanged) {
					t.Errorf("error %v, want ErrChanged", err)
				}
				p.checkObject(t, "key", small+1)
				if ids := p.uploads(t); len(ids) != 0 {
					t.Errorf("%d multipart uploads stay open", len(ids))
				}
			})
		}
	}
}

// What the store refuses, or is not a stream, keeps its error.
func TestRewrapRefused(t *testing.T) {
	p := newPlace(t)
	p.store(t, "key", three, parts5)
	keys := p.anotherKey(t)
	stranger := server.Client(func(o *s3.Options) { o.Credentials = server.Stranger() })
	if _, err := s3upload.Rewrap(t.Context(), stranger, p.get("key"), p.keys, keys, nil); code(err) != "AccessDenied" {
		t.Errorf("no permission: %v", err)
	}
	if _, err := s3upload.Rewrap(t.Context(), p.direct, p.get("none"), p.keys, keys, nil); code(err) != "NoSuchKey" {
		t.Errorf("no object: %v", err)
	}
	for _, content := range []string{"", "no stream"} {
		if _, err := p.direct.PutObject(t.Context(), p.put("plain", bytes.NewReader([]byte(content)))); err != nil {
			t.Fatal(err)
		}
		if _, err := s3upload.Rewrap(t.Context(), p.direct, p.get("plain"), p.keys, keys, nil); !errors.Is(err, format.ErrNotStream) {
			t.Errorf("%q: %v", content, err)
		}
	}
	p.checkObject(t, "key", three)
}
