package e2e_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// headerPlaces are the options of uploads that store the header in each place.
var headerPlaces = map[string]s3upload.Options{
	"in the object": {PartSize: 5 * mib},
	"metadata":      {PartSize: 5 * mib, HeaderInMetadata: true},
	"beside":        {PartSize: 5 * mib, HeaderSuffix: s3upload.DefaultHeaderSuffix},
}

// headerOf is the key of the header object beside key.
func headerOf(key string) string { return key + s3upload.DefaultHeaderSuffix }

// keepVersions makes the place's bucket keep versions.
func (p *place) keepVersions(t *testing.T) {
	t.Helper()
	_, err := p.direct.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
		Bucket: &p.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A reader finds the header in each place without being told.
func TestHeaderPlaces(t *testing.T) {
	for name, o := range headerPlaces {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			o.BindLocation = true
			for _, size := range []int64{0, 1, 5*mib - 1, 5*mib + 1, three} {
				for _, unknown := range []bool{false, true} {
					body := io.Reader(text(size).Reader())
					if unknown {
						body = struct{ io.Reader }{body}
					}
					in := p.put("dir/key", body)
					in.Metadata = map[string]string{"color": "blue"}
					res, err := s3upload.New(p.direct, p.keys, &o).Upload(t.Context(), in)
					if err != nil {
						t.Fatal(err)
					}
					if apart := name != "in the object"; res.Info.Detached != apart || (res.HeaderKey == headerOf("dir/key")) != (name == "beside") || res.StoredSize != int64(len(p.stored(t, "dir/key"))) {
						t.Errorf("result %+v", res)
					}
					object := p.open(t, "dir/key", nil)
					readAllWays(t, object, size)
					if object.Info().IV != res.Info.IV {
						t.Error("another stream was read")
					}
					head, err := p.direct.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &p.bucket, Key: aws.String("dir/key")})
					if err != nil || head.Metadata["color"] != "blue" || (head.Metadata["bulla-header"] != "") != (name == "metadata") {
						t.Errorf("metadata %v, %v", head, err)
					}
				}
			}
		})
	}
}

// What a reader asks for until it has a megabyte from the middle.
func TestHeaderPlaceCost(t *testing.T) {
	p := newPlace(t)
	for name, want := range map[string]int{"in the object": 2, "metadata": 2, "beside": 3, "beside, expected": 3} {
		uploaded, expected, _ := strings.Cut(name, ", ")
		o := headerPlaces[uploaded]
		p.store(t, "key", three, &o)
		options := &s3download.Options{Prefetch: s3download.Range{Offset: 5 * mib, Length: mib}}
		if expected != "" {
			options.HeaderSuffix = s3upload.DefaultHeaderSuffix
		}
		p.connect(t)
		object, err := s3download.Open(t.Context(), p.client, p.get("key"), p.keys, options)
		if err != nil {
			t.Fatal(err)
		}
		defer object.Close()
		buf := make([]byte, mib)
		if _, err := object.ReadAt(buf, 5*mib); err != nil {
			t.Fatal(err)
		}
		if _, err := text(three).CheckFrom(5 * mib).Write(buf); err != nil {
			t.Error(err)
		}
		sum := faultproxy.Sum(p.proxy.Log(), faultproxy.GetObject)
		if sum.Requests != want || sum.BytesOut > mib+3*header+2*storedSegment {
			t.Errorf("%s: %d requests for %d bytes, expected %d", name, sum.Requests, sum.BytesOut, want)
		}
	}
}

// A pair that is replaced by an upload that fails is the old pair again, in a
// bucket with versions and in one without.
func TestPairSurvivesFailedUpload(t *testing.T) {
	for _, versions := range []bool{false, true} {
		for name, tc := range map[string]struct {
			size  int64
			rules []faultproxy.Rule
			maybe bool // MayBeStored
		}{
			"403 on the payload":        {small, []faultproxy.Rule{{Op: faultproxy.PutObject, Nth: 2, Fault: faultproxy.Error(403, "AccessDenied")}}, false},
			"403 on the header":         {small, []faultproxy.Rule{{Op: faultproxy.PutObject, Nth: 1, Fault: faultproxy.Error(403, "AccessDenied")}}, false},
			"403 on complete":           {three, []faultproxy.Rule{{Op: faultproxy.CompleteMultipartUpload, Fault: faultproxy.Error(403, "AccessDenied")}}, false},
			"500 on complete":           {three, []faultproxy.Rule{{Op: faultproxy.CompleteMultipartUpload, Fault: faultproxy.Error(500, "InternalError")}}, false},
			"reset on complete":         {three, []faultproxy.Rule{{Op: faultproxy.CompleteMultipartUpload, Fault: faultproxy.Reset()}}, false},
			"answers to payload lost":   {small, lostFrom(2), true},
			"answers to header lost":    {small, lostFrom(1)[:attempts], false},
			"answers to complete lost ": {three, []faultproxy.Rule{{Op: faultproxy.CompleteMultipartUpload, Nth: 1, Fault: faultproxy.ResetAfter()}, {Op: faultproxy.CompleteMultipartUpload, Fault: faultproxy.Reset()}}, true},
		} {
			for _, stood := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s, versions %v, replaced %v", name, versions, stood), func(t *testing.T) {
					p := newPlace(t)
					if versions {
						p.keepVersions(t)
					}
					const before = 70_001
					beside := headerPlaces["beside"]
					beside.Concurrency = 1
					if stood {
						p.store(t, "key", before, &beside)
					}
					p.proxy.Add(tc.rules...)
					_, err := s3upload.New(p.client, p.keys, &beside).Upload(t.Context(), p.put("key", text(tc.size).Reader()))
					e := uploadError(t, err)
					if e.HeaderErr != nil || e.AbortErr != nil || e.MayBeStored != tc.maybe {
						t.Errorf("%+v", e)
					}
					switch {
					case tc.maybe:
						readAllWays(t, p.open(t, "key", nil), tc.size)
					case stood:
						readAllWays(t, p.open(t, "key", nil), before)
					default:
						p.nothingLeft(t, "key")
						if b := p.stored(t, headerOf("key")); b != nil {
							t.Errorf("a header of %d bytes is left", len(b))
						}
					}
				})
			}
		}
	}
}

// lostFrom drops the answers to PutObject, from the nth on.
func lostFrom(nth int) []faultproxy.Rule {
	var rules []faultproxy.Rule
	for i := range attempts {
		rules = append(rules, faultproxy.Rule{Op: faultproxy.PutObject, Nth: nth + i, Fault: faultproxy.ResetAfter()})
	}
	return rules
}

// With If-None-Match neither object of a pair is replaced.
func TestPairIfNoneMatch(t *testing.T) {
	p := newPlace(t)
	beside := headerPlaces["beside"]
	for _, size := range []int64{small, three} {
		in := p.put("key", text(size).Reader())
		in.IfNoneMatch = aws.String("*")
		if _, err := s3upload.New(p.direct, p.keys, &beside).Upload(t.Context(), in); err != nil {
			t.Fatal(err)
		}
		payload, head := p.stored(t, "key"), p.stored(t, headerOf("key"))
		in.Body = text(size + 1).Reader()
		_, err := s3upload.New(p.direct, p.keys, &beside).Upload(t.Context(), in)
		if e := uploadError(t, err); code(e) != "PreconditionFailed" || e.HeaderErr != nil || e.MayBeStored {
			t.Errorf("%+v", e)
		}
		if !bytes.Equal(payload, p.stored(t, "key")) || !bytes.Equal(head, p.stored(t, headerOf("key"))) {
			t.Error("an object was replaced")
		}
		for _, key := range []string{"key", headerOf("key")} {
			if _, err := p.direct.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &p.bucket, Key: &key}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// Halves of different pairs, and a half alone, are errors that say what to do.
func TestHalvesOfPairs(t *testing.T) {
	p := newPlace(t)
	beside := headerPlaces["beside"]
	p.store(t, "key", small, &beside)
	old := p.stored(t, headerOf("key"))
	payload := p.stored(t, "key")
	p.store(t, "key", small, &beside)
	put := func(key string, b []byte) {
		t.Helper()
		if _, err := p.direct.PutObject(t.Context(), p.put(key, bytes.NewReader(b))); err != nil {
			t.Fatal(err)
		}
	}
	open := func() error {
		object, err := s3download.Open(t.Context(), p.direct, p.get("key"), p.keys, nil)
		if err == nil {
			object.Close()
		}
		return err
	}
	newer := p.stored(t, headerOf("key"))
	put(headerOf("key"), old)
	if err := open(); !errors.Is(err, stream.ErrAuth) || !strings.Contains(err.Error(), "open it again") {
		t.Errorf("an older header: %v", err)
	}
	put("key", payload)
	if err := open(); err != nil {
		t.Errorf("the older pair: %v", err)
	}
	put(headerOf("key"), newer)
	if err := open(); !errors.Is(err, stream.ErrAuth) {
		t.Errorf("a newer header: %v", err)
	}
	for size := range len(newer) {
		if size%500 != 0 && size > 2 {
			continue
		}
		put(headerOf("key"), old[:size])
		if err := open(); !wrongBytes(err) {
			t.Errorf("a header of %d bytes: %v", size, err)
		}
	}
	key := headerOf("key")
	if _, err := p.direct.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &p.bucket, Key: &key}); err != nil {
		t.Fatal(err)
	}
	if err := open(); !errors.Is(err, s3download.ErrNoHeader) || !strings.Contains(err.Error(), "s3://"+p.bucket+"/"+key) {
		t.Errorf("no header: %v", err)
	}
}

// In a bucket with versions the old pair can be read after it was replaced, by
// who gives the header of that time.
func TestOldVersionsOfPairs(t *testing.T) {
	p := newPlace(t)
	p.keepVersions(t)
	beside := headerPlaces["beside"]
	before := p.store(t, "key", small, &beside)
	after := p.store(t, "key", small+1, &beside)
	if before.VersionID == "" || before.HeaderVersionID == "" || before.HeaderVersionID == after.HeaderVersionID {
		t.Fatalf("versions %+v, %+v", before, after)
	}
	in := p.get("key")
	in.VersionId = &before.VersionID
	if _, err := s3download.Open(t.Context(), p.direct, in, p.keys, nil); !errors.Is(err, stream.ErrAuth) || !strings.Contains(err.Error(), "DetachedHeader") {
		t.Errorf("the old payload with the new header: %v", err)
	}
	out, err := p.direct.GetObject(t.Context(), &s3.GetObjectInput{Bucket: &p.bucket, Key: &before.HeaderKey, VersionId: &before.HeaderVersionID})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Body.Close()
	old, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatal(err)
	}
	object, err := s3download.Open(t.Context(), p.direct, in, p.keys, &s3download.Options{Decrypt: &stream.DecryptOptions{DetachedHeader: old}})
	if err != nil {
		t.Fatal(err)
	}
	defer object.Close()
	readAllWays(t, object, small)
}

// The most user metadata that an upload allows is taken by the store, and found
// there; a byte more is refused.
func TestMetadataLimit(t *testing.T) {
	p := newPlace(t)
	o := headerPlaces["metadata"]
	upload := func(own int) error {
		in := p.put("key", text(small).Reader())
		in.Metadata = map[string]string{"own": strings.Repeat("v", own)}
		_, err := s3upload.New(p.direct, p.keys, &o).Upload(t.Context(), in)
		return err
	}
	if err := upload(0); err != nil {
		t.Fatal(err)
	}
	head, err := p.direct.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &p.bucket, Key: aws.String("key")})
	if err != nil {
		t.Fatal(err)
	}
	room := 2048 - len("own") - len("bulla-header") - len(head.Metadata["bulla-header"])
	if room < 1000 {
		t.Errorf("a header for one KMS key leaves %d bytes", room)
	}
	if err := upload(room); err != nil {
		t.Errorf("%d bytes: %v", room, err)
	}
	readAllWays(t, p.open(t, "key", nil), small)
	if err := upload(room + 1); !errors.Is(err, stream.ErrTooLarge) {
		t.Errorf("%d bytes: %v", room+1, err)
	}
}
