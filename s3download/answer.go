package s3download

import (
	"context"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// An answer is a body of stored bytes, and which bytes of which object it says
// they are.
type answer struct {
	source  *source
	ctx     context.Context // of the request; its cause is ErrStalled when watch ended it
	cancel  context.CancelCauseFunc
	timer   *time.Timer // calls watch
	waiting atomic.Bool // for the answer, or for a byte of its body
	moved   atomic.Bool // since watch looked
	body    io.ReadCloser
	start   int64
	end     int64
	total   int64 // size of the object
	etag    string
	version string

	metadata map[string]string // names in lower case
}

// request asks for the stored bytes start to end-1 of a version, or of any if
// it is nil. The answer is to just that, cut off at the object's end; anything
// else is ErrAnswer.
func (s *source) request(ctx context.Context, start, end int64, version *string) (*answer, error) {
	in := s.in
	in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", start, end-1))
	in.VersionId = version
	a := &answer{source: s}
	a.ctx, a.cancel = context.WithCancelCause(ctx)
	a.waiting.Store(true)
	a.timer = time.AfterFunc(math.MaxInt64, a.watch)
	a.timer.Reset(s.stall) // not before a.timer is set, which watch uses
	s.requests.Add(1)
	out, err := s.client.GetObject(a.ctx, &in)
	a.waiting.Store(false)
	a.moved.Store(true)
	if err != nil {
		if context.Cause(a.ctx) == ErrStalled {
			err = &bodyError{ErrStalled}
		}
		a.stop()
		return nil, err
	}
	a.body = out.Body
	if a.body == nil {
		a.body = http.NoBody
	}
	a.etag, a.version, a.metadata = aws.ToString(out.ETag), aws.ToString(out.VersionId), out.Metadata
	if err := a.locate(out, start, end); err != nil {
		a.Close()
		return nil, err
	}
	return a, nil
}

// locate learns which bytes were answered and checks that they are those that
// were asked for. Without a Content-Range they are the whole object.
func (a *answer) locate(out *s3.GetObjectOutput, start, end int64) error {
	length := aws.ToInt64(out.ContentLength)
	if out.ContentRange == nil {
		a.total = length
		if out.ContentLength == nil || length < 0 {
			return fmt.Errorf("%w: neither Content-Range nor Content-Length", ErrAnswer)
		}
		if start > 0 {
			return fmt.Errorf("%w: the whole object, not bytes %d to %d: the store ignores ranges", ErrAnswer, start, end-1)
		}
		a.end = min(end, a.total)
		return nil
	}
	var ok bool
	a.start, a.end, a.total, ok = parseContentRange(*out.ContentRange)
	if !ok || a.start != start || a.end != min(end, a.total) {
		return fmt.Errorf("%w: Content-Range %.64q for bytes %d to %d", ErrAnswer, *out.ContentRange, start, end-1)
	}
	if out.ContentLength != nil && length >= 0 && length != a.end-a.start {
		return fmt.Errorf("%w: Content-Length %d for the %d bytes of Content-Range %.64q", ErrAnswer, length, a.end-a.start, *out.ContentRange)
	}
	return nil
}

// parseContentRange parses "bytes 0-99/1000" (RFC 9110 §14.4) into the
// half-open range 0 to 100 and the total of 1000.
func parseContentRange(v string) (start, end, total int64, ok bool) {
	v, found := strings.CutPrefix(v, "bytes ")
	v, size, found2 := strings.Cut(v, "/")
	first, final, found3 := strings.Cut(v, "-")
	if !found || !found2 || !found3 {
		return 0, 0, 0, false
	}
	var numbers [3]int64
	for i, text := range []string{first, final, size} {
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return 0, 0, 0, false
		}
		numbers[i] = int64(n)
	}
	if numbers[0] > numbers[1] || numbers[1] >= numbers[2] {
		return 0, 0, 0, false
	}
	return numbers[0], numbers[1] + 1, numbers[2], true
}

// fill reads len(p) bytes of the body; if it breaks off before that, the error
// is a *bodyError.
func (a *answer) fill(p []byte) error {
	a.waiting.Store(true)
	defer a.waiting.Store(false)
	for len(p) > 0 {
		n, err := a.body.Read(p)
		a.moved.Store(true)
		a.source.bytes.Add(int64(n))
		p = p[n:]
		switch {
		case len(p) == 0:
			return nil
		case err == io.EOF:
			return &bodyError{io.ErrUnexpectedEOF}
		case context.Cause(a.ctx) == ErrStalled:
			return &bodyError{ErrStalled}
		case err != nil:
			return &bodyError{err}
		}
	}
	return nil
}

// watch ends the request if it is waited for and nothing has come since watch
// looked. It looks again and again because setting a timer for each read is a
// thirtieth of what reading a fast body costs.
func (a *answer) watch() {
	switch {
	case a.ctx.Err() != nil: // it has ended
	case a.waiting.Load() && !a.moved.Swap(false):
		a.cancel(ErrStalled)
	default:
		a.timer.Reset(a.source.stall)
	}
}

// all reads the answer's bytes and closes it. The caller has bounded what it
// asked for.
func (a *answer) all() ([]byte, error) {
	defer a.Close()
	p := make([]byte, a.end-a.start)
	return p, a.fill(p)
}

// Close ends the request. What of the body was not read does not come.
func (a *answer) Close() {
	a.stop()
	a.body.Close()
}

func (a *answer) stop() {
	a.cancel(nil) // first, so that watch does not set the timer again
	a.timer.Stop()
}
