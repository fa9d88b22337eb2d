package s3upload

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// A Budget bounds the memory that uploads hold parts in. Uploads that are given
// the same one share it: each is admitted when there is room for the least that
// it needs, in the order in which they came, and takes more as long as there is
// more. It is safe for concurrent use.
//
// The memory is allocated as it is needed, used again, and let go of with the
// Budget.
type Budget struct {
	size int64
	used *semaphore.Weighted

	mu   sync.Mutex
	free [][]byte // all of one size
}

// NewBudget returns a budget of the given number of bytes. An upload needs at
// least 16 MiB: the default is 128 MiB.
func NewBudget(bytes int64) *Budget {
	return &Budget{size: bytes, used: semaphore.NewWeighted(max(0, bytes))}
}

// acquire waits until n bytes are to be had.
func (b *Budget) acquire(ctx context.Context, n int64) error { return b.used.Acquire(ctx, n) }

// tryAcquire takes n bytes, if nobody waits for them.
func (b *Budget) tryAcquire(n int64) bool { return b.used.TryAcquire(n) }

// release gives n bytes back.
func (b *Budget) release(n int64) { b.used.Release(n) }

// buffer returns memory of the given size, which was acquired before.
func (b *Budget) buffer(size int) []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.free)
	if n > 0 && len(b.free[0]) != size {
		b.free, n = nil, 0
	}
	if n == 0 {
		return make([]byte, size)
	}
	buf := b.free[n-1]
	b.free = b.free[:n-1]
	return buf
}

// recycle takes buffers back, before their bytes are released.
func (b *Budget) recycle(bufs [][]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, buf := range bufs {
		if len(b.free) == 0 || len(b.free[0]) == len(buf) {
			b.free = append(b.free, buf)
		}
	}
}
