package s3upload

import (
	"context"
	"errors"
	"io"
	"sync"
)

// A Limiter says how fast bytes may be sent; *rate.Limiter of
// golang.org/x/time/rate is one. WaitN waits until n bytes may be, at most as
// many as Burst returns, or until ctx ends. It is used concurrently.
type Limiter interface {
	WaitN(ctx context.Context, n int) error
	Burst() int
}

// A sentBody is the body of one request. It gives nothing once the request has
// ended: its memory is then used again, first for plaintext, and an HTTP
// transport may still be reading the body of a request that it has given up. The
// SDK sees to that too; a Client need not be the SDK's.
type sentBody struct {
	body    io.ReadSeeker
	limiter Limiter         // nil without one
	ctx     context.Context // of the request

	mu    sync.Mutex
	ended bool
}

var errRequestEnded = errors.New("the request has ended")

func (b *sentBody) Read(p []byte) (int, error) {
	if b.limiter != nil {
		if burst := b.limiter.Burst(); burst > 0 {
			p = p[:min(len(p), burst)]
		}
	}
	n, err := b.read(p)
	if n > 0 && b.limiter != nil {
		if waitErr := b.limiter.WaitN(b.ctx, n); waitErr != nil {
			return 0, waitErr
		}
	}
	return n, err
}

func (b *sentBody) read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return 0, errRequestEnded
	}
	return b.body.Read(p)
}

func (b *sentBody) Seek(offset int64, whence int) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return 0, errRequestEnded
	}
	return b.body.Seek(offset, whence)
}

// end waits for a Read that is under way, and lets no other follow.
func (b *sentBody) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
}
