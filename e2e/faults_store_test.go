package e2e_test

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// A keeping is the deed of changing what is stored as "key": re-wrapping it, copying or moving it to "copy", deleting it.
type keeping struct {
	name     string
	place    s3upload.Options // where the header is
	size     int64
	versions bool // the bucket keeps them
	refused  bool // the store refuses it, whatever happens
	act      func(ctx context.Context, s *stage) error
	left     func(t *testing.T, k *keeping, s *stage, err error) // checks what is stored afterwards
	kinds    map[string]int

	template string // bucket
}

// What is changed in the store: in one request, and in parts.
const (
	oneRequest = 50_000
	inParts    = 5*mib + 300_000
)

func storeDeeds(t *testing.T) (deeds []*deed) {
	const (
		start    = string(faultproxy.GetObject) + " from the start"
		get      = string(faultproxy.GetObject)
		head     = string(faultproxy.HeadObject)
		tags     = string(faultproxy.ObjectSubresource)
		put      = string(faultproxy.PutObject)
		copying  = string(faultproxy.CopyObject)
		remove   = string(faultproxy.DeleteObject)
		part     = string(faultproxy.UploadPart)
		partCopy = string(faultproxy.UploadPartCopy)
		complete = string(faultproxy.CompleteMultipartUpload)
		header   = " of a header"
	)
	var (
		beside   = s3upload.Options{HeaderSuffix: s3upload.DefaultHeaderSuffix}
		metadata = s3upload.Options{HeaderInMetadata: true}
	)
	for _, k := range []*keeping{
		{name: "re-wrap", act: rewrap, left: afterRewrap, size: oneRequest, kinds: map[string]int{start: 1, head: 1, tags: 1, put: 1}},
		{name: "re-wrap in parts", act: rewrap, left: afterRewrap, size: inParts, kinds: map[string]int{get: 1, part: 1, partCopy: 1, complete: 1}},
		{name: "re-wrap in the metadata", act: rewrap, left: afterRewrap, size: oneRequest, place: metadata, kinds: map[string]int{copying: 1}},
		{name: "re-wrap a pair", act: rewrap, left: afterRewrap, size: oneRequest, place: beside, kinds: map[string]int{get + header: 1, head + header: 1, tags + header: 1, put + header: 1}},
		{name: "re-wrap a pair with versions", act: rewrap, left: afterRewrap, size: oneRequest, place: beside, versions: true, kinds: map[string]int{put + header: 1}},
		{name: "copy", act: copyIt, left: afterCopy, size: oneRequest, kinds: map[string]int{start: 2, copying: 1}},
		{name: "copy a pair", act: copyIt, left: afterCopy, size: oneRequest, place: beside, kinds: map[string]int{get + header: 2, put + header: 1, copying: 1}},
		{name: "copy a pair that is refused", act: copyRefused, left: afterCopy, refused: true, size: oneRequest, place: beside, kinds: map[string]int{remove + header: 1}},
		{name: "move", act: move, left: afterMove, size: oneRequest, kinds: map[string]int{remove: 1}},
		{name: "move a pair", act: move, left: afterMove, size: oneRequest, place: beside, kinds: map[string]int{remove: 1, remove + header: 1}},
		{name: "move a pair with versions", act: move, left: afterMove, size: oneRequest, place: beside, versions: true, kinds: map[string]int{remove: 1, remove + header: 1}},
		{name: "delete", act: deleteIt, left: afterDelete, size: oneRequest, kinds: map[string]int{start: 1, remove: 1}},
		{name: "delete a pair", act: deleteIt, left: afterDelete, size: oneRequest, place: beside, kinds: map[string]int{remove: 1, get + header: 1, remove + header: 1}},
	} {
		k.prepare(t)
		deeds = append(deeds, &deed{name: k.name, verb: keeps, kinds: k.kinds, replaces: true, refused: k.refused, bucket: k.bucket, do: k.act, check: k.check})
	}
	return deeds
}

// prepare stores what each trial gets a copy of.
func (k *keeping) prepare(t *testing.T) {
	t.Helper()
	s := &stage{place: place{bucket: "templates-" + strings.ToLower(rand.Text()), direct: server.Client()}}
	s.create(t)
	keys, err := faultKey()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s3upload.New(s.direct, keys, &k.place).Upload(t.Context(), s.put("key", text(k.size).Reader())); err != nil {
		t.Fatal(err)
	}
	k.template = s.bucket
}

// bucket creates a bucket for one trial.
func (k *keeping) bucket(t *testing.T) string {
	t.Helper()
	s := newTrialBucket(t, k.versions)
	keys := []string{"key"}
	if k.place.HeaderSuffix != "" {
		keys = append(keys, headerOf("key"))
	}
	for _, key := range keys {
		if _, err := s.direct.CopyObject(t.Context(), &s3.CopyObjectInput{Bucket: &s.bucket, Key: &key, CopySource: aws.String(k.template + "/" + key)}); err != nil {
			t.Fatal(err)
		}
	}
	return s.bucket
}

// newFaultKey is what streams are re-wrapped for.
var newFaultKey = sync.OnceValues(func() (*keywrap.AESKey, error) { return keywrap.GenerateAESKey("faults, later") })

// keepOptions are those of all changes.
func keepOptions() *s3upload.RewrapOptions {
	return &s3upload.RewrapOptions{Change: otherSums, Concurrency: 1, AbortTimeout: 15 * time.Second}
}

func rewrap(ctx context.Context, s *stage) error {
	later, err := newFaultKey()
	if err != nil {
		return err
	}
	_, err = s3upload.Rewrap(ctx, s.client, s.get("key"), s.keys, later, keepOptions())
	return err
}

func copyIt(ctx context.Context, s *stage) (err error) {
	s.copied, err = s3upload.Copy(ctx, s.client, s.get("key"), s.bucket, "copy", nil, nil, keepOptions())
	return err
}

// copyRefused copies what the store does not let in.
func copyRefused(ctx context.Context, s *stage) error {
	s.proxy.Add(faultproxy.Rule{Op: faultproxy.CopyObject, Fault: faultproxy.Error(http.StatusForbidden, "AccessDenied")})
	return copyIt(ctx, s)
}

func move(ctx context.Context, s *stage) (err error) {
	s.copied, err = s3upload.Move(ctx, s.client, s.get("key"), s.bucket, "copy", nil, nil, keepOptions())
	return err
}

func deleteIt(ctx context.Context, s *stage) error {
	return s3upload.Delete(ctx, s.client, s.get("key"), "")
}

// look tells what is visible under a key: the old one is for the key that it was stored for.
func (k *keeping) look(t *testing.T, s *stage, key string) string {
	t.Helper()
	later, err := newFaultKey()
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keywrap.NewKeyring(s.keys, later)
	if err != nil {
		t.Fatal(err)
	}
	object, err := s3download.Open(t.Context(), s.direct, s.get(key), ring, nil)
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
	check := text(k.size).CheckFrom(0)
	_, err = object.WriteTo(check)
	if s.harm && errors.Is(err, stream.ErrAuth) {
		return damaged
	}
	if err != nil || check.Offset() != k.size {
		t.Errorf("what is visible is not whole: %d of %d bytes, %v", check.Offset(), k.size, err)
	}
	if object.Info().Keys[0].Name == later.KeyName() {
		return aNew
	}
	return anOld
}

// damaged is a re-wrapped object that has other bytes than it had.
const damaged = "a damaged one"

func afterRewrap(t *testing.T, k *keeping, s *stage, err error) {
	e, ok := errors.AsType[*s3upload.UploadError](err)
	now := k.look(t, s, "key")
	if now == damaged && err == nil {
		return // readers are told
	}
	if maybe := ok && e.MayBeStored; now != aNew && (err == nil || now != anOld) || now == aNew && err != nil && !maybe {
		t.Errorf("%s is visible after %v", now, err)
	}
}

func afterCopy(t *testing.T, k *keeping, s *stage, err error) {
	if now := k.look(t, s, "key"); now != anOld {
		t.Errorf("the original is %s", now)
	}
	checkCopy(t, k, s, err)
}

// checkCopy checks that there is a whole copy, or none and no header of it, unless the error says so.
func checkCopy(t *testing.T, k *keeping, s *stage, err error) {
	e, ok := errors.AsType[*s3upload.UploadError](err)
	if !ok {
		e = &s3upload.UploadError{}
	}
	now := k.look(t, s, "copy")
	if now != anOld && (err == nil || now != nothing) || now == anOld && err != nil && !e.MayBeStored {
		t.Errorf("the copy is %s after %v", now, err)
	}
	if b := s.stored(t, headerOf("copy")); b != nil && now == nothing && !e.MayBeStored && e.HeaderErr == nil {
		t.Errorf("a header of %d bytes stays, without a payload: %v", len(b), err)
	}
}

func afterMove(t *testing.T, k *keeping, s *stage, err error) {
	if s.copied == nil {
		afterCopy(t, k, s, err)
		return
	}
	if now := k.look(t, s, "copy"); now != anOld {
		t.Errorf("the copy is %s after %v", now, err)
	}
	again := move
	switch now := k.look(t, s, "key"); {
	case now == nothing:
		again = deleteIt
	case now != anOld || err == nil:
		t.Errorf("the original is %s after %v", now, err)
	}
	finish(t, k, s, err, again)
}

func afterDelete(t *testing.T, k *keeping, s *stage, err error) {
	if now := k.look(t, s, "key"); now != nothing && (now != anOld || err == nil) {
		t.Errorf("the original is %s after %v", now, err)
	}
	finish(t, k, s, err, deleteIt)
}

// finish does what is left to be done of a deletion after err, when the faults are over.
func finish(t *testing.T, k *keeping, s *stage, err error, again func(context.Context, *stage) error) {
	if err != nil {
		s.proxy.Reset()
		if err := again(t.Context(), s); err != nil {
			t.Errorf("without faults: %v", err)
		}
	}
	for _, key := range []string{"key", headerOf("key")} {
		if out, err := s.direct.HeadObject(t.Context(), &s3.HeadObjectInput{Bucket: &s.bucket, Key: &key}); code(err) != "NotFound" {
			t.Errorf("%s is left: %+v, %v", key, out, err)
		}
	}
}

func (k *keeping) check(t *testing.T, s *stage, c *trial, err error) string {
	outcome := outcomeOf(err)
	if outcome == "" {
		t.Errorf("not a typed error: %v", err)
	}
	e, ok := errors.AsType[*s3upload.UploadError](err)
	if ok {
		if e.MayBeStored {
			outcome += ", may be stored"
		}
		if e.AbortErr != nil {
			outcome += ", parts stay"
		}
		if e.HeaderErr != nil {
			outcome += ", header stays"
		}
	}
	s.harm = c != nil && c.kind == string(faultproxy.GetObject) && c.fault.name == "answer changed"
	if s.harm && err == nil {
		outcome += ", the payload damaged"
	}
	for id, parts := range s.openUploads(t) {
		switch {
		case ok && id == e.UploadID && e.AbortErr != nil: // as the error says
		case parts == 0 && c != nil && c.kind == string(faultproxy.CreateMultipartUpload): // its id did not arrive: nobody can abort it
		default:
			t.Errorf("an upload stays open, with %d parts", parts)
		}
	}
	k.left(t, k, s, err)
	if c != nil {
		k.expect(t, c, err)
	}
	return outcome
}

// expect compares a change's outcome with what it has to be.
func (k *keeping) expect(t *testing.T, c *trial, err error) {
	if k.refused {
		e, ok := errors.AsType[*s3upload.UploadError](err)
		if !ok || code(err) != "AccessDenied" {
			t.Errorf("not the refusal: %v", err)
			return
		}
		err = e.HeaderErr
	}
	switch want := k.want(c); {
	case want == succeeds && err != nil:
		t.Errorf("the fault passes, and is an error: %v", err)
	case want == fails && err == nil:
		t.Error("the fault was not noticed")
	case want == fails && !c.fault.typed(c, err):
		t.Errorf("the error does not tell what failed: %v", err)
	}
}

// want is what has to become of the change. It is not always what becomes of other deeds.
func (k *keeping) want(c *trial) expectation {
	op, whole := c.request.Op, c.request.Status < http.StatusBadRequest
	switch c.fault.name {
	case "answer slow":
		return succeeds
	case "429 with Retry-After":
		if op == faultproxy.HeadObject {
			return fails // it is the code that the SDK tries again for, and HEAD gets none
		}
	case "answer lost", "no answer":
		switch op {
		case faultproxy.PutObject, faultproxy.CopyObject, faultproxy.CompleteMultipartUpload, faultproxy.DeleteObject:
			return succeeds // one looks what has become of it
		}
	case "stale ETag":
		first := op == faultproxy.GetObject && c.kind != string(faultproxy.GetObject)
		if first && whole || op == faultproxy.HeadObject || op == faultproxy.UploadPart {
			return fails
		}
		return succeeds // nothing is named by it
	}
	switch {
	case c.fault.inAnswer && (c.xml() || !whole):
		return either // it is the SDK's to say what of a document, or of that of an error, it needs
	case c.fault.name == "answer long":
		return succeeds // what is too much is not read
	case c.fault.name == "answer short":
		return passes(c) // the rest is asked for again
	case c.fault.name == "answer changed" && !strings.HasPrefix(k.name, "re-wrap"):
		return either // the store copies, and deletes, without a look at the bytes
	case c.fault.name == "answer changed" && c.kind == string(faultproxy.GetObject):
		return succeeds // nobody can tell: a segment of the payload, which its readers will refuse
	}
	return c.fault.want(c)
}
