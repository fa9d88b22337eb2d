package e2e_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
)

// A list has pairs as one entry, and says of each object what it is, wherever the header stands.
func TestList(t *testing.T) {
	p := newPlace(t)
	beside := &s3upload.Options{HeaderSuffix: s3upload.DefaultHeaderSuffix}
	for _, o := range []struct {
		key  string
		size int64
		o    *s3upload.Options
	}{
		{"pre/a", small, beside},
		{"pre/a+b é%", 0, beside},
		{"pre/a-b", 1, nil},
		{"pre/a.b", 2, &s3upload.Options{HeaderInMetadata: true}},
		{"pre/ab/c", 3, beside},
		{"pre/alone", 4, beside},
		{"pre/lost", 5, beside},
		{"other", 6, beside},
	} {
		p.store(t, o.key, o.size, o.o)
	}
	for _, key := range []string{"pre/alone", headerOf("pre/lost")} {
		if _, err := p.direct.DeleteObject(t.Context(), &s3.DeleteObjectInput{Bucket: &p.bucket, Key: &key}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.direct.PutObject(t.Context(), p.put("pre/plain", strings.NewReader("no stream"))); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		in       s3.ListObjectsV2Input
		headers  bool
		want     []string
		requests int
	}{
		{s3.ListObjectsV2Input{Prefix: aws.String("pre/"), MaxKeys: aws.Int32(2)}, true, []string{
			"pre/a of 100000 + header", "pre/a+b é% of 0 + header", "pre/a-b of 1", "pre/a.b of 2", "pre/ab/c of 3 + header", "pre/alone: only header",
			"pre/lost: the header is missing", "pre/plain: not a stream",
		}, 6 + 10 + 1},
		{s3.ListObjectsV2Input{Prefix: aws.String("pre/"), Delimiter: aws.String("/")}, false, []string{
			"pre/a of 100000 + header", "pre/a+b é% of 0 + header", "pre/a-b of 1", "pre/a.b of unknown size", "pre/ab/", "pre/alone: only header",
			"pre/lost of unknown size", "pre/plain of unknown size",
		}, 1},
		{s3.ListObjectsV2Input{Prefix: aws.String("pre/a"), StartAfter: aws.String("pre/a-b")}, true, []string{
			"pre/a.b of 2", "pre/ab/c of 3 + header", "pre/alone: only header",
		}, 1 + 3},
	} {
		p.connect(t)
		tc.in.Bucket = &p.bucket
		var got []string
		for e, err := range s3download.List(t.Context(), p.client, &tc.in, &s3download.ListOptions{Headers: tc.headers}) {
			if err != nil {
				t.Fatal(err)
			}
			line := e.Key
			switch {
			case e.Object == nil && e.Header == nil:
			case e.Object == nil:
				line += ": only header"
			case errors.Is(e.Err, s3download.ErrNoHeader):
				line += ": the header is missing"
			case errors.Is(e.Err, format.ErrNotStream):
				line += ": not a stream"
			case e.PlaintextSize == format.UnknownSize:
				line += " of unknown size"
			case e.Header != nil:
				line += fmt.Sprintf(" of %d + header", e.PlaintextSize)
			default:
				line += fmt.Sprintf(" of %d", e.PlaintextSize)
			}
			if tc.headers && e.Info != nil && (len(e.Info.Keys) != 1 || e.Info.Keys[0].Name != p.keyARN || e.Info.Generation != 0) {
				t.Errorf("%s is for %v", e.Key, e.Info.Keys)
			}
			got = append(got, line)
		}
		if !slices.Equal(got, tc.want) {
			t.Errorf("got\n%q, want\n%q", got, tc.want)
		}
		if n := len(p.proxy.Log()); n != tc.requests {
			t.Errorf("%d requests, want %d", n, tc.requests)
		}
	}
}
