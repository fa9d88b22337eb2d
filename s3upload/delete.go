package s3upload

import (
	"bytes"
	"context"
	"errors"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
)

// Delete deletes the encrypted object that in names, and then the header beside
// it. headerSuffix is as in [RewrapOptions]. A failure between the two leaves a
// header alone, which nothing can be read with; the same call deletes that, too:
// where there is no payload, it looks for a header beside it. Nothing at all is
// no error.
//
// What is not a stream is not deleted: format.ErrNotStream. Nor is another
// object than the one that was looked at: [ErrChanged]. In a bucket that keeps
// versions both stay, behind delete markers. The fields of in are those of
// Rewrap, without VersionId. Needed are s3:GetObject, s3:DeleteObject, and
// s3:ListBucket, without which the store does not tell what is not there.
func Delete(ctx context.Context, client RewrapClient, in *s3.GetObjectInput, headerSuffix string) error {
	if in != nil && in.VersionId != nil {
		return invalid("VersionId: versions are deleted one by one, and their headers with care")
	}
	if headerSuffix == "" {
		headerSuffix = DefaultHeaderSuffix
	}
	payload, err := find(ctx, client, in)
	apart := statusOf(err) == http.StatusNotFound
	if err != nil && !apart {
		return err
	}
	if !apart {
		prelude, err := format.ParsePrelude(payload.front)
		if err != nil {
			return payload.named(err)
		}
		_, has := payload.metadata[headerMetadata]
		apart = prelude.Detached() && !has
		if err := payload.delete(ctx); err != nil {
			return err
		}
	}
	if !apart {
		return nil
	}
	beside := *in
	beside.Key, beside.IfMatch = aws.String(*in.Key+headerSuffix), nil
	h, err := find(ctx, client, &beside)
	if statusOf(err) == http.StatusNotFound || errors.Is(err, format.ErrNotStream) {
		return nil
	}
	if err != nil {
		return err
	}
	if h.size > format.MaxHeaderSize {
		return nil
	}
	// Not one that another upload has put there meanwhile, nor something else.
	if payload != nil && !bytes.HasPrefix(h.front, payload.front[:format.PreludeSize]) {
		return nil
	}
	if header, err := format.ParseHeader(h.front); payload == nil && (err != nil || !header.Detached()) {
		return nil
	}
	return h.delete(ctx)
}

// delete deletes the object if it is still the current version. A request that
// failed has failed if the object is still there: an earlier attempt of the
// SDK's may have deleted it.
func (s *stored) delete(ctx context.Context) error {
	in := &s3.DeleteObjectInput{}
	carry(in, &s.in)
	in.VersionId = nil
	_, err := s.client.DeleteObject(ctx, in)
	if err == nil {
		return nil
	}
	now := s.in
	now.VersionId, now.IfMatch = nil, nil
	if _, gone := find(ctx, s.client, &now); statusOf(gone) == http.StatusNotFound {
		return nil
	}
	return s.named(s.advise(err, "s3:DeleteObject"))
}
