package s3upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/s3header"
	"github.com/bulla-format/bulla/stream"
)

// DefaultHeaderSuffix is the Options.HeaderSuffix of the header objects that
// package s3download finds without being told.
const DefaultHeaderSuffix = s3header.DefaultSuffix

// headerMetadata is the name of the user metadata that holds a header.
const headerMetadata = s3header.Metadata

// What S3 allows, in bytes.
const (
	maxMetadata = 2048 // names and values of an object's user metadata
	maxKey      = 1024
)

// apart tells whether headers are stored apart from the payload.
func (o *Options) apart() bool { return o.HeaderSuffix != "" || o.HeaderInMetadata }

// checkPlacement tells whether a header can be where the options want it.
func (u *Uploader) checkPlacement(in *s3.PutObjectInput) error {
	o := &u.options
	for name := range in.Metadata {
		if strings.EqualFold(name, headerMetadata) {
			return invalid("Metadata has the name %s, which is that of the stream's header: use another", headerMetadata)
		}
	}
	if o.HeaderSuffix == "" {
		return nil
	}
	if _, ok := u.client.(pairClient); !ok {
		return invalid("Options.HeaderSuffix needs a Client with the methods GetObject and DeleteObject, as *s3.Client has them")
	}
	if n := len(*in.Key) + len(o.HeaderSuffix); n > maxKey {
		return invalid("Key and Options.HeaderSuffix have %d bytes together, a key in S3 has at most %d", n, maxKey)
	}
	return nil
}

// place puts the header of t's stream where the options want it, or prepares
// that.
func (t *transfer) place(header []byte) (err error) {
	switch {
	case t.options.HeaderInMetadata:
		t.in.Metadata, err = withHeader(t.in.Metadata, header)
	case t.options.HeaderSuffix != "":
		t.header = newHeaderObject(t.client.(pairClient), t.in, t.options.HeaderSuffix, header)
	}
	return err
}

// withHeader returns a copy of an object's user metadata that has the header
// too.
func withHeader(metadata map[string]string, header []byte) (map[string]string, error) {
	m := maps.Clone(metadata)
	if m == nil {
		m = map[string]string{}
	}
	m[headerMetadata] = s3header.Encode(header)
	size := 0
	for name, value := range m {
		size += len(name) + len(value)
	}
	if size > maxMetadata {
		return nil, fmt.Errorf("s3upload: %w: with its header of %d bytes the object has %d bytes of user metadata, S3 takes %d: use Options.HeaderSuffix, or fewer wrapped keys",
			stream.ErrTooLarge, len(header), size, maxMetadata)
	}
	return m, nil
}

// A pairClient is what it takes to write a header object, and to take it back.
type pairClient interface {
	Client
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
	DeleteObject(context.Context, *s3.DeleteObjectInput, ...func(*s3.Options)) (*s3.DeleteObjectOutput, error)
}

// A headerObject is a header that is stored beside its payload, as an object of
// its own. It is written when all of the payload is at the store and not yet
// visible, and taken back if the payload then does not become visible.
type headerObject struct {
	client  pairClient
	put     s3.PutObjectInput // writes it
	payload string            // the payload's key
	header  []byte
	sent    bool   // it may be stored
	version string // of what was stored

	// before is what stood in its place, nil if nothing did; asked tells
	// whether that is known.
	before []byte
	asked  bool
}

// newHeaderObject returns the header object of the payload that in is about.
// Who may do what with the payload, how long it is kept and how the store
// encrypts it holds for the header too; what describes the payload does not. It
// has the store's default class: who archives payloads still reads headers at
// once, and a re-wrap needs nothing to be restored.
func newHeaderObject(client pairClient, in *s3.PutObjectInput, suffix string, header []byte) *headerObject {
	h := &headerObject{client: client, put: *in, payload: *in.Key, header: header}
	h.put.Key = aws.String(*in.Key + suffix)
	h.put.ContentType = aws.String("application/octet-stream")
	h.put.Body, h.put.Metadata, h.put.IfMatch, h.put.Expires = nil, nil, nil, nil
	h.put.CacheControl, h.put.ContentDisposition, h.put.ContentEncoding, h.put.ContentLanguage = nil, nil, nil, nil
	h.put.StorageClass, h.put.WebsiteRedirectLocation = "", nil
	return h
}

// write stores the header, after a look at what stood there, so that it can be
// put back.
func (h *headerObject) write(ctx context.Context) error {
	if err := h.look(ctx); err != nil {
		return err
	}
	h.sent = true
	out, err := h.store(ctx, h.header, h.put.IfNoneMatch, nil)
	if err == nil {
		h.version = aws.ToString(out.VersionId)
		return nil
	}
	met := statusOf(err) == http.StatusPreconditionFailed
	if met { // an earlier attempt of the SDK's may be what the condition met
		if stored, getErr := h.get(ctx, *h.put.Key, nil); getErr == nil && bytes.Equal(stored.data, h.header) {
			h.version = aws.ToString(stored.version)
			return nil
		}
	}
	h.sent = met || !refused(err)
	return fmt.Errorf("writing the header object %.1024q: %w", *h.put.Key, err)
}

// look keeps what stands in the place of the header; with If-None-Match nothing
// can.
func (h *headerObject) look(ctx context.Context) error {
	if h.put.IfNoneMatch != nil {
		h.asked = true
		return nil
	}
	stored, err := h.get(ctx, *h.put.Key, nil)
	switch {
	case err == nil && len(stored.data) > format.MaxHeaderSize:
		return fmt.Errorf("the object %.1024q is larger than any header, and was not replaced: delete it, or choose another Options.HeaderSuffix", *h.put.Key)
	case err == nil:
		h.before, h.asked = stored.data, true
	case statusOf(err) == http.StatusNotFound:
		h.asked = true
	case !unreadable(err):
		return fmt.Errorf("reading the header object %.1024q, which is to be replaced: %w", *h.put.Key, err)
	}
	return nil
}

// unreadable tells whether err is the store's answer to who may write, and not
// read. It is AccessDenied to who lacks the permission, or has another key of
// SSE-C than what is stored, and to who may not list the bucket about what does
// not exist; and InvalidRequest to who has a key of SSE-C for what is stored
// without, or none for what is stored with one.
func unreadable(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && (api.ErrorCode() == "AccessDenied" || api.ErrorCode() == "InvalidRequest")
}

// retried tells whether err is the store's answer to another attempt of the
// SDK's than the first, which may have been carried out.
func retried(err error) bool {
	r, ok := errors.AsType[*smithyhttp.ResponseError](err)
	if !ok || r.Response == nil || r.Response.Response == nil || r.Response.Request == nil {
		return false
	}
	attempt := r.Response.Request.Header.Get("Amz-Sdk-Request") // "attempt=2; max=3"
	return attempt != "" && !strings.HasPrefix(attempt, "attempt=1;")
}

// store writes data as the header object under a condition.
func (h *headerObject) store(ctx context.Context, data []byte, ifNoneMatch, ifMatch *string) (*s3.PutObjectOutput, error) {
	in := h.put
	in.Body, in.IfNoneMatch, in.IfMatch = bytes.NewReader(data), ifNoneMatch, ifMatch
	return h.client.PutObject(ctx, &in)
}

// A storedHeader is what was found in the place of a header.
type storedHeader struct {
	data          []byte // not nil; at most a byte more than a header may have
	etag, version *string
}

// get reads an object of the pair, or a range of it. A body that breaks off is
// asked for again, which the SDK does not do.
func (h *headerObject) get(ctx context.Context, key string, interval *string) (*storedHeader, error) {
	var broken error
	for range readAttempts {
		out, err := h.client.GetObject(ctx, &s3.GetObjectInput{
			Bucket: h.put.Bucket, Key: &key, Range: interval,
			SSECustomerAlgorithm: h.put.SSECustomerAlgorithm, SSECustomerKey: h.put.SSECustomerKey, SSECustomerKeyMD5: h.put.SSECustomerKeyMD5,
			ExpectedBucketOwner: h.put.ExpectedBucketOwner, RequestPayer: h.put.RequestPayer,
		})
		if err != nil {
			return nil, err
		}
		var data []byte
		data, broken = io.ReadAll(io.LimitReader(out.Body, format.MaxHeaderSize+1))
		out.Body.Close()
		if broken == nil {
			return &storedHeader{data, out.ETag, out.VersionId}, nil
		}
	}
	return nil, &brokenError{broken}
}

// settle makes a pair whole again after the upload of its payload failed as e
// says: the payload that is visible decides whether the header is taken back. A
// refusal is not looked into, unless an earlier attempt of the SDK's may have
// made the payload visible.
func (h *headerObject) settle(ctx context.Context, e *UploadError) {
	if e.MayBeStored || retried(e.Err) || statusOf(e.Err) == http.StatusPreconditionFailed {
		visible, err := h.payloadVisible(ctx)
		if err != nil {
			e.HeaderErr = fmt.Errorf("looking which payload is stored: %w", err)
			return
		}
		if e.MayBeStored = visible; visible {
			return
		}
	}
	e.HeaderErr = h.takeBack(ctx)
}

// payloadVisible tells whether the payload that is visible is that of the
// header. Each stream's prelude is its own.
func (h *headerObject) payloadVisible(ctx context.Context) (bool, error) {
	stored, err := h.get(ctx, h.payload, aws.String(fmt.Sprintf("bytes=0-%d", format.PreludeSize-1)))
	switch statusOf(err) {
	case http.StatusNotFound, http.StatusRequestedRangeNotSatisfiable:
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return bytes.HasPrefix(stored.data, h.header[:format.PreludeSize]), nil
}

// takeBack undoes write: where the bucket keeps versions by deleting the one
// that was written, and those that the SDK's other attempts left, else by
// putting back what stood there. What another upload has put in its place
// stays. A request that failed has failed if the header is still there.
func (h *headerObject) takeBack(ctx context.Context) error {
	var failed error
	for range maxVersions {
		stored, err := h.get(ctx, *h.put.Key, nil)
		switch {
		case statusOf(err) == http.StatusNotFound:
			return nil
		case err != nil:
			return errors.Join(failed, err)
		case !bytes.Equal(stored.data, h.header):
			return nil
		case failed != nil:
			return failed
		}
		if version := aws.ToString(stored.version); version != "" && version != "null" {
			failed = h.remove(ctx, stored.version, nil)
		} else if failed = h.restore(ctx, stored.etag); failed == nil {
			return nil
		}
	}
	return fmt.Errorf("more than %d versions of it were written", maxVersions)
}

// maxVersions is how many versions of a header one upload is taken to leave at
// most. The SDK makes three attempts.
const maxVersions = 20

// restore puts back what stood in the place of the header, if that still has
// the given ETag.
func (h *headerObject) restore(ctx context.Context, etag *string) error {
	switch {
	case !h.asked:
		return errors.New("what stood there before could not be read, and so not be put back")
	case h.before == nil:
		return h.remove(ctx, nil, etag)
	}
	_, err := h.store(ctx, h.before, nil, etag)
	return err
}

// remove deletes a version of the header, or what has the given ETag.
func (h *headerObject) remove(ctx context.Context, version, etag *string) error {
	_, err := h.client.DeleteObject(ctx, &s3.DeleteObjectInput{
		Bucket: h.put.Bucket, Key: h.put.Key, VersionId: version, IfMatch: etag,
		ExpectedBucketOwner: h.put.ExpectedBucketOwner, RequestPayer: h.put.RequestPayer,
	})
	return err
}
