package s3upload

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// Copy copies the encrypted object that in names to a place where there is
// none yet, with the header that stands beside it and all that [Rewrap] carries
// over. The store copies the payload by itself, of any size.
//
// A stream that is bound to its location is bound to the new one, for which
// old must open it; where new is not nil the copy is for the keys of new, and
// otherwise for those of the original. If the header stays as it is, both may
// be nil. Of the options, Always means nothing here.
//
// A header beside the payload is copied first, and deleted again if the payload
// cannot be; the *UploadError then says whether that failed too. Where an object
// stands already the error is [ErrExists], unless it is the very copy, as after a
// call whose answer was lost: that is Unchanged. A version that
// is not the current one is copied, if its header can be found: beside it there
// is only the current one. The other conditions, limits, permissions and errors
// are those of Rewrap.
func Copy(ctx context.Context, client RewrapClient, in *s3.GetObjectInput, bucket, key string, old keywrap.Unwrapper, new keywrap.Wrapper, o *RewrapOptions) (*RewrapResult, error) {
	options, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	h, err := options.original(ctx, client, in)
	if err != nil {
		return nil, err
	}
	return h.copy(ctx, bucket, key, old, new, options)
}

// Move copies as [Copy] does, and then deletes the original as [Delete] does,
// which has to be the current version, and the one that was copied: a newer one
// stays, and is [ErrChanged]. With an error from the deletion the result is not
// nil: the copy is whole, and the same call, or one of Delete where the payload
// is gone, finishes the rest.
func Move(ctx context.Context, client RewrapClient, in *s3.GetObjectInput, bucket, key string, old keywrap.Unwrapper, new keywrap.Wrapper, o *RewrapOptions) (*RewrapResult, error) {
	options, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if in != nil && in.VersionId != nil {
		return nil, invalid("VersionId: a version is copied, and deleted by itself")
	}
	h, err := options.original(ctx, client, in)
	if err != nil {
		return nil, err
	}
	result, err := h.copy(ctx, bucket, key, old, new, options)
	if err != nil {
		return nil, err
	}
	if err := h.payload.delete(ctx); err != nil || h.in == h.payload {
		return result, err
	}
	return result, h.in.delete(ctx)
}

// copy copies the payload and its header.
func (h *header) copy(ctx context.Context, bucket, key string, old keywrap.Unwrapper, new keywrap.Wrapper, options *RewrapOptions) (*RewrapResult, error) {
	payload := h.payload
	if bucket == "" || key == "" || bucket == *payload.in.Bucket && key == *payload.in.Key {
		return nil, invalid("a copy needs a bucket and a key, and other ones than the original has")
	}
	replacement, err := options.headerAt(ctx, h, "s3://"+bucket+"/"+key, old, new)
	if err != nil {
		return nil, payload.named(err)
	}
	result := &RewrapResult{}
	if result.Info, err = stream.Inspect(replacement); err != nil {
		return nil, err
	}
	w, err := payload.rewrite(ctx, bucket, key, options)
	if err != nil {
		return nil, err
	}
	if h.in == payload {
		if string(replacement) != string(h.bytes) {
			err = w.replaceHeader(h, replacement)
		}
		if err == nil {
			err = w.run(ctx, result)
		}
	} else {
		err = w.runPair(ctx, h, replacement, result)
	}
	if err != nil {
		return nil, err
	}
	return result, nil
}

// headerAt returns the header that the stream has at another place.
func (o *RewrapOptions) headerAt(ctx context.Context, h *header, place string, old keywrap.Unwrapper, new keywrap.Wrapper) ([]byte, error) {
	if err := o.checkLocation(h.bytes, h.payload.location()); err != nil {
		return nil, err
	}
	info, err := stream.Inspect(h.bytes)
	if err != nil {
		return nil, err
	}
	s := *o.Stream
	if info.Location != "" && s.Location == nil {
		s.Location = &place
	}
	if new == nil && s.Keep == nil {
		if s.Location == nil && s.Context == nil && s.Metadata == nil {
			return h.bytes, nil
		}
		keepKeys(&s)
	}
	if old == nil {
		return nil, fmt.Errorf("%w: its header has to be another one there, bound to the new location or for new keys, which takes a key that opens it", keywrap.ErrNoMatch)
	}
	return stream.Rewrap(ctx, h.bytes, old, new, &s)
}

// runPair writes the header beside the new payload, and then that.
func (w *rewrite) runPair(ctx context.Context, h *header, replacement []byte, result *RewrapResult) error {
	first, err := h.in.rewrite(ctx, *w.properties.Bucket, *w.properties.Key+w.options.HeaderSuffix, w.options)
	if err != nil {
		return err
	}
	if err := first.replaceHeader(h, replacement); err != nil {
		return err
	}
	var written RewrapResult
	if err := first.run(ctx, &written); err != nil {
		return err
	}
	err = w.run(ctx, result)
	e, ok := errors.AsType[*UploadError](err)
	if err == nil || written.Unchanged || ok && e.MayBeStored {
		return err
	}
	takeBackErr := first.takeBack(ctx, &written)
	if ok {
		e.HeaderKey, e.HeaderErr = written.Key, takeBackErr
		return e
	}
	return errors.Join(err, takeBackErr)
}

// takeBack deletes what was written.
func (w *rewrite) takeBack(ctx context.Context, written *RewrapResult) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.options.AbortTimeout)
	defer cancel()
	in := &s3.DeleteObjectInput{}
	carry(in, w.properties)
	if written.VersionID != "" && written.VersionID != "null" {
		in.VersionId = &written.VersionID
	} else {
		in.IfMatch = &written.ETag
	}
	_, err := w.src.client.DeleteObject(ctx, in)
	if err == nil {
		return nil
	}
	if _, _, gone := w.standing(ctx); statusOf(gone) == http.StatusNotFound {
		return nil // an earlier attempt of the SDK's deleted it
	}
	return advise(err, "s3:DeleteObject (s3:DeleteObjectVersion for a version)")
}
