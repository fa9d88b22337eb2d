package e2e_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/e2e/measure"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// twoParts is a size that takes two parts, the second one small.
const twoParts = 5*mib + 50_000

// oldText is what stood in the place of an upload.
var oldText = measure.Text{Size: 50_000, Seed: 2}

// An upload is the deed of uploading to "key".
type upload struct {
	name       string
	size       int64
	old        bool // there is an object to replace
	tls        bool
	versions   bool // the bucket keeps them
	undeclared bool // the size of the body, and of parts
	vacant     bool // it goes where nothing is, under that condition
	options    s3upload.Options
	change     func(in *s3.PutObjectInput)
	refused    bool // the store refuses it, whatever happens
	kinds      map[string]int
}

func uploadDeeds() (deeds []*deed) {
	const (
		put      = string(faultproxy.PutObject)
		create   = string(faultproxy.CreateMultipartUpload)
		part     = string(faultproxy.UploadPart)
		complete = string(faultproxy.CompleteMultipartUpload)
		abort    = string(faultproxy.AbortMultipartUpload)
		remove   = string(faultproxy.DeleteObject)
		get      = string(faultproxy.GetObject)
		header   = " of a header"
	)
	beside := s3upload.Options{HeaderSuffix: s3upload.DefaultHeaderSuffix}
	other := func(in *s3.PutObjectInput) { in.IfMatch = aws.String(`"0123456789abcdef0123456789abcdef"`) }
	none := func(in *s3.PutObjectInput) { in.IfNoneMatch = aws.String("*") }
	for _, u := range []*upload{
		{name: "put", size: small, kinds: map[string]int{put: 1}},
		{name: "put over another", size: small, old: true, kinds: map[string]int{put: 1}},
		{name: "put with the header in the metadata", size: small, old: true, options: s3upload.Options{HeaderInMetadata: true}, kinds: map[string]int{put: 1}},
		{name: "put a pair", size: small, options: beside, kinds: map[string]int{get + header: 1, put + header: 1, put: 1}},
		{name: "put a pair over another", size: small, old: true, options: beside, kinds: map[string]int{get + header: 1, put + header: 1, put: 1}},
		{name: "put a pair that is refused", size: small, options: beside, change: other, refused: true, kinds: map[string]int{get + header: 2, put + header: 1, remove + header: 1}},
		{name: "put a pair over another that is refused", size: small, old: true, options: beside, change: other, refused: true, kinds: map[string]int{get + header: 2, put + header: 2}},
		{name: "put a pair over another with versions", size: small, old: true, versions: true, options: beside, kinds: map[string]int{get + header: 1, put + header: 1, put: 1}},
		{name: "put a pair with versions that is refused", size: small, old: true, versions: true, options: beside, change: other, refused: true, kinds: map[string]int{get + header: 3, put + header: 1, remove + header: 1}},
		{name: "put a pair where none is", size: small, vacant: true, options: beside, kinds: map[string]int{put + header: 1, put: 1}},
		{name: "put where nothing is", size: small, vacant: true, kinds: map[string]int{put: 1}},
		{name: "put over TLS", size: small, tls: true, kinds: map[string]int{put: 1}},
		{name: "upload in parts over TLS", size: twoParts, tls: true, kinds: map[string]int{part: 2}},
		{name: "put of an undeclared size", size: small, undeclared: true, kinds: map[string]int{put: 1}},
		{name: "upload in parts of an undeclared size", size: 8*mib + 50_000, undeclared: true, kinds: map[string]int{part: 2}},
		{name: "upload in parts", size: twoParts, kinds: map[string]int{create: 1, part: 2, complete: 1}},
		{name: "upload in parts, refused", size: twoParts, old: true, change: none, refused: true, kinds: map[string]int{abort: 2}},
		{name: "upload a pair in parts over another", size: twoParts, old: true, options: beside, kinds: map[string]int{complete: 1}},
	} {
		u.options.Concurrency, u.options.AbortTimeout = 1, 15*time.Second
		if !u.undeclared {
			u.options.PartSize = 5 * mib
		}
		deeds = append(deeds, &deed{name: u.name, verb: writes, tls: u.tls, kinds: u.kinds, replaces: u.old, refused: u.refused, bucket: u.bucket, do: u.do, check: u.check})
	}
	return deeds
}

// newTrialBucket creates a bucket for one trial, past the proxy.
func newTrialBucket(t *testing.T, versions bool) *stage {
	t.Helper()
	s := &stage{place: place{bucket: "faults-" + strings.ToLower(rand.Text()), direct: server.Client()}}
	s.create(t)
	t.Cleanup(func() {
		if err := os.RemoveAll(server.PathOnDisk(s.bucket, "")); err != nil {
			t.Error(err)
		}
	})
	if versions {
		s.keepVersions(t)
	}
	return s
}

// bucket creates a bucket for one trial.
func (u *upload) bucket(t *testing.T) string {
	t.Helper()
	s := newTrialBucket(t, u.versions)
	if u.old {
		keys, err := faultKey()
		if err == nil {
			_, err = s3upload.New(s.direct, keys, &u.options).Upload(t.Context(), s.put("key", oldText.Reader()))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return s.bucket
}

func (u *upload) do(ctx context.Context, s *stage) (err error) {
	in := s.put("key", text(u.size).Reader())
	if u.undeclared {
		in.Body = struct{ io.Reader }{in.Body}
	}
	if u.vacant {
		in.IfNoneMatch = aws.String("*")
	}
	if u.change != nil {
		u.change(in)
	}
	s.result, err = s3upload.New(s.client, s.keys, &u.options).Upload(ctx, in)
	return err
}

// What is visible under "key".
const (
	nothing = "nothing"
	anOld   = "the old one"
	aNew    = "the new one"
	mixed   = "a mixed pair"
)

// look tells what is visible.
func (u *upload) look(t *testing.T, s *stage) string {
	t.Helper()
	object, err := s3download.Open(t.Context(), s.direct, s.get("key"), s.keys, nil)
	if code(err) == "NoSuchKey" && !errors.Is(err, s3download.ErrNoHeader) {
		return nothing
	}
	if errors.Is(err, s3download.ErrNoHeader) || errors.Is(err, stream.ErrAuth) {
		return mixed
	}
	if err != nil {
		t.Errorf("what is visible does not open: %v", err)
		return ""
	}
	defer object.Close()
	want, which := text(u.size), aNew
	if object.Size() == oldText.Size {
		want, which = oldText, anOld
	}
	check := want.CheckFrom(0)
	if _, err := object.WriteTo(check); err != nil || check.Offset() != want.Size {
		t.Errorf("what is visible is not whole: %d of %d bytes, %v", check.Offset(), want.Size, err)
	}
	return which
}

func (u *upload) check(t *testing.T, s *stage, c *trial, err error) string {
	before := nothing
	if u.old {
		before = anOld
	}
	e, ok := errors.AsType[*s3upload.UploadError](err)
	if err != nil && !ok {
		t.Errorf("not an UploadError: %v", err)
		return "no UploadError"
	}
	if e == nil {
		e = &s3upload.UploadError{}
	}
	switch now := u.look(t, s); {
	case err == nil && now != aNew,
		err != nil && !e.MayBeStored && e.HeaderErr == nil && now != before,
		err != nil && e.MayBeStored && e.HeaderErr == nil && now != before && now != aNew,
		now == mixed && e.HeaderErr == nil:
		t.Errorf("%s is visible, there was %s", now, before)
	case now == nothing && e.HeaderErr == nil && !e.MayBeStored:
		if b := s.stored(t, "key"+s3upload.DefaultHeaderSuffix); b != nil {
			t.Errorf("a header of %d bytes stays, without a payload", len(b))
		}
	}
	for id, parts := range s.openUploads(t) {
		switch {
		case id == e.UploadID && e.AbortErr != nil: // as the error says
		case parts == 0 && c != nil && c.kind == string(faultproxy.CreateMultipartUpload): // its id did not arrive: nobody can abort it
		default:
			t.Errorf("an upload stays open, with %d parts", parts)
		}
	}
	u.expect(t, c, err, e)
	outcome := outcomeOf(err)
	if err != nil && outcome == "" {
		t.Errorf("not a typed error: %v", err)
	}
	if e.MayBeStored {
		outcome += ", may be stored"
	}
	if e.AbortErr != nil {
		outcome += ", parts stay"
	}
	if e.HeaderErr != nil {
		outcome += ", header stays"
	}
	return outcome
}

// expect compares an upload's outcome with what it has to be.
func (u *upload) expect(t *testing.T, c *trial, err error, e *s3upload.UploadError) {
	want := succeeds
	if c != nil {
		want = u.want(c)
	}
	clean := err == nil
	if u.refused {
		clean = code(err) == "PreconditionFailed" || code(err) == "NoSuchKey"
	}
	clean = clean && e.AbortErr == nil && e.HeaderErr == nil
	switch {
	case want == succeeds && !clean:
		t.Errorf("the fault passes, and is an error: %v", err)
	case want == fails && clean && !(u.refused && c.fault.typed(c, err)):
		t.Error("the fault was not noticed")
	case want == fails && !clean:
		for _, failed := range []error{e.Err, e.AbortErr, e.HeaderErr} {
			if failed != nil && (c.fault.typed(c, failed) || u.met(c) && e.MayBeStored && code(failed) == "PreconditionFailed") {
				return
			}
		}
		t.Errorf("the error does not tell what failed: %v", err)
	}
}

// met tells whether another attempt at the fault's request meets what the first has stored, under the condition that
// nothing is.
func (u *upload) met(c *trial) bool {
	return u.vacant && c.kind == string(faultproxy.PutObject) && (c.fault.name == "answer lost" || c.fault.name == "no answer")
}

// want is what has to become of the upload. It is not always what becomes of other deeds.
func (u *upload) want(c *trial) expectation {
	const header = " of a header"
	var (
		readsHeader  = c.kind == string(faultproxy.GetObject)+header
		writesHeader = c.kind == string(faultproxy.PutObject)+header
		takingBack   = u.refused && (c.nth > 1 || c.onward || c.request.Op == faultproxy.DeleteObject)
		lost         = c.fault.name == "answer lost" || c.fault.name == "no answer"
	)
	switch {
	case c.fault.name == "stale ETag":
		// Only what is then named to the store by its ETag has to have the right one.
		if c.kind == string(faultproxy.UploadPart) || readsHeader && takingBack && !u.versions {
			return fails
		}
		return succeeds
	case c.fault.name == "answer slow":
		return succeeds
	case c.kind == string(faultproxy.AbortMultipartUpload) && c.nth > 1:
		return succeeds // the first abort has succeeded, and this one looks whether that lasts
	case u.met(c):
		return fails
	case c.fault.inAnswer && (c.xml() || c.request.Status >= http.StatusBadRequest):
		return either // it is the SDK's to say what of a document, or of that of an error, it needs
	case readsHeader && c.fault.inAnswer:
		return passes(c) // it is asked for again
	case lost && takingBack && (writesHeader && c.nth > 1 || c.request.Op == faultproxy.DeleteObject):
		return succeeds // what was done is seen
	}
	return c.fault.want(c)
}
