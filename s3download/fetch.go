package s3download

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// A Client is what this package needs of an *s3.Client.
type Client interface {
	GetObject(ctx context.Context, in *s3.GetObjectInput, opts ...func(*s3.Options)) (*s3.GetObjectOutput, error)
}

// A source fetches stored bytes of one version of an object. Once it is
// pinned, it is safe for concurrent use.
type source struct {
	client   Client
	in       s3.GetObjectInput // of every request, but for range and version
	location string
	retries  int
	stall    time.Duration

	size     int64  // of the object, and etag and metadata, are those of the first answer
	etag     string // may be empty
	metadata map[string]string
	version  atomic.Pointer[string]

	requests, bytes atomic.Int64
}

func newSource(client Client, in *s3.GetObjectInput, o *Options) (*source, error) {
	switch {
	case in == nil || aws.ToString(in.Bucket) == "" || aws.ToString(in.Key) == "":
		return nil, errors.New("s3download: bucket and key are required")
	case in.Range != nil || in.PartNumber != nil:
		return nil, errors.New("s3download: Range and PartNumber select stored bytes, which cannot be decrypted by themselves: use ReadAt and Options.Prefetch")
	}
	s := &source{
		client:   client,
		in:       *in,
		location: "s3://" + *in.Bucket + "/" + *in.Key,
		retries:  o.Retries,
		stall:    o.StallTimeout,
	}
	if c, ok := client.(*urlClient); ok {
		s.location = c.location()
	}
	s.version.Store(in.VersionId)
	return s, nil
}

// pin makes all further requests be about the object that a is from. A weak
// ETag never satisfies If-Match (RFC 9110 §13.1.1), and "null" names whatever
// was stored while versioning was off; both are left to the comparison of ETags.
func (s *source) pin(a *answer) {
	s.size, s.etag, s.metadata = a.total, a.etag, a.metadata
	if a.etag != "" && !strings.HasPrefix(a.etag, "W/") {
		s.in.IfMatch = &a.etag
	}
	if a.version != "" && a.version != "null" {
		s.version.Store(&a.version)
	}
}

// get asks the pinned object for the stored bytes start to end-1, and answers
// with just those.
func (s *source) get(ctx context.Context, start, end int64) (*answer, error) {
	version := s.version.Load()
	a, err := s.request(ctx, start, end, version)
	if version != s.in.VersionId && status(err) == http.StatusForbidden {
		// Naming a version takes a permission of its own, s3:GetObjectVersion.
		s.version.Store(s.in.VersionId)
		a, err = s.request(ctx, start, end, s.in.VersionId)
	}
	if err != nil {
		return nil, err
	}
	if err := s.check(a); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// check tells whether an answer is from the pinned object: a store may ignore
// If-Match.
func (s *source) check(a *answer) error {
	if a.etag != s.etag {
		return fmt.Errorf("%w: its ETag is %.64q, not %.64q", ErrChanged, a.etag, s.etag)
	}
	if a.total != s.size {
		return fmt.Errorf("%w: it has %d bytes, not %d", ErrChanged, a.total, s.size)
	}
	return nil
}

// fetch returns the stored bytes start to end-1 of the pinned object.
func (s *source) fetch(ctx context.Context, start, end int64) (data []byte, err error) {
	err = s.retry(ctx, func() error {
		a, err := s.get(ctx, start, end)
		if err != nil {
			return err
		}
		data, err = a.all()
		return err
	})
	return data, err
}

// retry calls try until it succeeds, fails for good, or has failed as often as
// the options allow.
func (s *source) retry(ctx context.Context, try func() error) error {
	for attempt := 0; ; attempt++ {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		err := try()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case attempt >= s.retries || !retryable(err):
			return err
		}
		timer := time.NewTimer(backoff(attempt))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// backoff is about 100 ms at first, doubles with each attempt up to 5 s, and
// varies by half, so that many readers do not come back at once.
func backoff(attempt int) time.Duration {
	d := min(100*time.Millisecond<<min(attempt, 6), 5*time.Second)
	return d/2 + rand.N(d)
}
