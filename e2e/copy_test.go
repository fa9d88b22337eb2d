package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// Copies are made by the store, to another bucket too, and open where they are; moving is copying and deleting.
func TestCopyInTheStore(t *testing.T) {
	for name, o := range map[string]*s3upload.Options{
		"in the object":   {PartSize: 5 * mib},
		"beside it":       {PartSize: 5 * mib, HeaderSuffix: s3upload.DefaultHeaderSuffix},
		"in its metadata": {PartSize: 5 * mib, HeaderInMetadata: true},
	} {
		for _, size := range []int64{1, three} {
			for _, bound := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, %d bytes, bound %v", name, size, bound), func(t *testing.T) {
					p, to := newPlace(t), newPlace(t)
					upload := *o
					upload.BindLocation = bound
					in := p.put("long/original key+1", text(size).Reader())
					in.ContentType, in.CacheControl, in.Tagging = aws.String("text/x-test"), aws.String("no-store"), aws.String("team=a%20b&empty=")
					if _, err := s3upload.New(p.direct, p.keys, &upload).Upload(t.Context(), in); err != nil {
						t.Fatal(err)
					}
					before := p.stored(t, *in.Key)
					options := &s3upload.RewrapOptions{Change: otherSums}
					res, err := s3upload.Copy(t.Context(), p.client, p.get(*in.Key), to.bucket, "copy", p.keys, nil, options)
					if err != nil {
						t.Fatal(err)
					}
					total := faultproxy.Sum(p.proxy.Log())
					t.Logf("%d requests, %d bytes sent, %d read", total.Requests, total.BytesIn, total.BytesOut)
					if total.BytesIn > 5*mib+70_000 || total.BytesOut > 5*mib+140_000 || bound != (res.Info.Location != "") {
						t.Errorf("%d bytes sent, %d read; location %q", total.BytesIn, total.BytesOut, res.Info.Location)
					}
					to.keys = p.keys
					to.checkProperties(t, "copy", in)
					readAllWays(t, to.open(t, "copy", nil), size)
					if !bytes.Equal(p.stored(t, *in.Key), before) {
						t.Error("the original has changed")
					}
					if again, err := s3upload.Copy(t.Context(), p.client, p.get(*in.Key), to.bucket, "copy", p.keys, nil, options); err != nil || !again.Unchanged {
						t.Errorf("the second time: %+v, %v", again, err)
					}
					p.store(t, "other", 1, nil)
					if _, err := s3upload.Copy(t.Context(), p.client, p.get("other"), to.bucket, "copy", nil, nil, nil); !errors.Is(err, s3upload.ErrExists) {
						t.Errorf("over the copy: %v", err)
					}
					if err := s3upload.Delete(t.Context(), p.client, p.get(*in.Key), ""); err != nil {
						t.Fatal(err)
					}
					for _, suffix := range []string{"", s3upload.DefaultHeaderSuffix} {
						if b := p.stored(t, *in.Key+suffix); b != nil {
							t.Errorf("%d bytes are left of %s%s", len(b), *in.Key, suffix)
						}
					}
					readAllWays(t, to.open(t, "copy", nil), size)
				})
			}
		}
	}
}

// A copy by other means of a stream that is bound to its location is refused where it lands.
func TestPlainCopyOfABoundStream(t *testing.T) {
	p := newPlace(t)
	p.store(t, "key", small, &s3upload.Options{BindLocation: true})
	if _, err := p.direct.PutObject(t.Context(), p.put("copy", bytes.NewReader(p.stored(t, "key")))); err != nil {
		t.Fatal(err)
	}
	if _, err := s3download.Open(t.Context(), p.direct, p.get("copy"), p.keys, nil); !errors.Is(err, stream.ErrPolicy) {
		t.Errorf("opened at another place: %v", err)
	}
	if _, err := s3upload.Copy(t.Context(), p.direct, p.get("copy"), p.bucket, "third", p.keys, nil, nil); !errors.Is(err, stream.ErrPolicy) {
		t.Errorf("copied from another place: %v", err)
	}
}

// A pair whose payload cannot be copied leaves no header behind.
func TestCopyOfAPairFails(t *testing.T) {
	for _, fault := range []faultproxy.Fault{faultproxy.Error(403, "AccessDenied"), faultproxy.Reset()} {
		p := newPlace(t)
		p.store(t, "key", three, &s3upload.Options{HeaderSuffix: s3upload.DefaultHeaderSuffix})
		p.proxy.Add(faultproxy.Rule{Op: faultproxy.CopyObject, Key: "copy", Fault: fault})
		_, err := s3upload.Copy(t.Context(), p.client, p.get("key"), p.bucket, "copy", nil, nil, nil)
		e := uploadError(t, err)
		if e.AbortErr != nil || e.HeaderErr != nil || !strings.Contains(err.Error(), "copying the object") {
			t.Errorf("%#v", e)
		}
		header := p.stored(t, "copy"+s3upload.DefaultHeaderSuffix)
		if (header != nil) != e.MayBeStored || p.stored(t, "copy") != nil {
			t.Errorf("a header of %d bytes is left; MayBeStored %v", len(header), e.MayBeStored)
		}
	}
}

// A deletion that fails between the two objects is finished by the same call.
func TestDeleteOfAPairFails(t *testing.T) {
	p := newPlace(t)
	p.store(t, "key", small, &s3upload.Options{HeaderSuffix: s3upload.DefaultHeaderSuffix})
	p.proxy.Add(faultproxy.Rule{Op: faultproxy.DeleteObject, Key: "key" + s3upload.DefaultHeaderSuffix, Fault: faultproxy.Error(403, "AccessDenied")})
	if err := s3upload.Delete(t.Context(), p.client, p.get("key"), ""); code(err) != "AccessDenied" {
		t.Errorf("error %v", err)
	}
	if p.stored(t, "key") != nil || p.stored(t, "key"+s3upload.DefaultHeaderSuffix) == nil {
		t.Error("the header was deleted before the payload")
	}
	p.proxy.Reset()
	if err := s3upload.Delete(t.Context(), p.client, p.get("key"), ""); err != nil || p.stored(t, "key"+s3upload.DefaultHeaderSuffix) != nil {
		t.Errorf("the second time: %v", err)
	}
}
