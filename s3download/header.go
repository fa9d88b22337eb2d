package s3download

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/s3header"
	"github.com/bulla-format/bulla/stream"
)

// A headerObject is the object that may hold the header beside the payload. It
// is fetched once at most.
type headerObject struct {
	location string
	begin    func() // to fetch
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	data []byte // and err, once it was fetched
	err  error
}

// headerObject returns the header object of the payload that s is about.
func (s *source) headerObject(ctx context.Context, o *Options) (*headerObject, error) {
	suffix := o.HeaderSuffix
	if suffix == "" {
		suffix = s3header.DefaultSuffix
	}
	// It is another object: what selects a version of the payload is not about it.
	in := s.in
	in.Key = aws.String(*in.Key + suffix)
	in.VersionId, in.IfMatch, in.IfNoneMatch, in.IfModifiedSince, in.IfUnmodifiedSince = nil, nil, nil, nil, nil
	beside, err := newSource(s.client, &in, o)
	if err != nil {
		return nil, err
	}
	h := &headerObject{location: s.location + suffix}
	ctx, h.cancel = context.WithCancel(ctx)
	h.begin = sync.OnceFunc(func() {
		h.wg.Go(func() {
			h.data, h.err = beside.small(ctx)
			s.requests.Add(beside.requests.Load())
			s.bytes.Add(beside.bytes.Load())
		})
	})
	return h, nil
}

// small returns all of an object, but of one that is larger than a header can
// be only as much as shows that.
func (s *source) small(ctx context.Context) (data []byte, err error) {
	err = s.retry(ctx, func() error {
		_, data, err = s.front(ctx, 0, format.MaxHeaderSize+1)
		return err
	})
	if status(err) == http.StatusRequestedRangeNotSatisfiable {
		return []byte{}, nil // it is empty
	}
	return data, err
}

// fetch returns the object that is, or was, being fetched.
func (h *headerObject) fetch() ([]byte, error) {
	h.begin()
	h.wg.Wait()
	return h.data, h.err
}

// stop ends what is under way.
func (h *headerObject) stop() {
	h.cancel()
	h.wg.Wait()
}

// findHeader returns the header of a stream that has it apart from its
// payload, which begins with front: the one in the payload's metadata, else the
// one beside. It is not authenticated. For all other streams it is nil.
func (s *source) findHeader(front []byte, beside *headerObject) ([]byte, error) {
	p, err := format.ParsePrelude(front)
	if err != nil || !p.Detached() {
		return nil, nil // package stream says what is wrong with it
	}
	if value, ok := s.metadata[s3header.Metadata]; ok {
		return s3header.Decode(value)
	}
	header, err := beside.fetch()
	switch {
	case err == nil:
		return header, nil
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return nil, err
	case status(err) == http.StatusNotFound:
		return nil, fmt.Errorf("%w: there is neither metadata %q nor an object %.300q; if it has another suffix, name that in Options.HeaderSuffix: %w",
			ErrNoHeader, s3header.Metadata, beside.location, err)
	}
	return nil, fmt.Errorf("the header object %.300q: %w", beside.location, advice(err))
}

// mixed says what to do about a header that was found and is of another
// payload than the one that begins with front.
func mixed(err error, front, header []byte) error {
	if header == nil || !errors.Is(err, stream.ErrAuth) || bytes.HasPrefix(header, front[:format.PreludeSize]) {
		return err
	}
	return fmt.Errorf("%w: if the object is just being replaced, open it again; for an older version, give the header of that time as Options.Decrypt.DetachedHeader; else restore the header from a good copy", err)
}
