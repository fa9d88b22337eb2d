package s3download

import (
	"container/list"
	"sync"
)

// A cache keeps the plaintext of the segments that were used last, and knows
// which segments are being fetched for it.
type cache struct {
	buffers *buffers
	limit   int // segments to keep

	mu      sync.Mutex
	entries map[int64]*list.Element // of *entry, by segment
	recent  list.List               // the one used last in front
	flights map[int64]*flight       // by segment
	closed  bool
}

type entry struct {
	index int64
	plain []byte
}

// A flight is a segment on its way into the cache. err is set before landed is
// closed.
type flight struct {
	landed chan struct{}
	err    error
}

func newCache(size int64, segmentSize int, bufferSize int) *cache {
	return &cache{
		buffers: newBuffers(4, bufferSize),
		limit:   int(max(1, size/int64(segmentSize))),
		entries: make(map[int64]*list.Element),
		flights: make(map[int64]*flight),
	}
}

// read copies plaintext of segment index, from skip on, to p.
func (c *cache) read(p []byte, index int64, skip int) (n int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[index]
	if !ok {
		return 0, false
	}
	c.recent.MoveToFront(e)
	return copy(p, e.Value.(*entry).plain[skip:]), true
}

// before returns where, from first on and up to end, the first cached segment
// is.
func (c *cache) before(first, end int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return firstKey(c.entries, first, end)
}

// claim makes the caller the one who fetches the segments first to end-1: end
// is lowered to the first that is cached or in flight. If first itself is in
// flight, that is what is returned. The caller puts the segments in order and,
// if it cannot, forfeits the others.
func (c *cache) claim(first, end int64) (int64, *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.flights[first]; f != nil {
		return first, f
	}
	end = firstKey(c.entries, first, firstKey(c.flights, first, end))
	for i := first; i < end; i++ {
		c.flights[i] = &flight{landed: make(chan struct{})}
	}
	return end, nil
}

// forfeit gives up claimed segments because of err.
func (c *cache) forfeit(first, end int64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := first; i < end; i++ {
		c.land(i, err)
	}
}

func (c *cache) land(index int64, err error) {
	if f := c.flights[index]; f != nil {
		f.err = err
		close(f.landed)
		delete(c.flights, index)
	}
}

// put stores the plaintext of a segment in the place of the one that was not
// used for longest. The cache owns plain from now on.
func (c *cache) put(index int64, plain []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.land(index, nil)
	if _, ok := c.entries[index]; ok || c.closed {
		clear(plain)
		c.buffers.put(plain)
		return
	}
	c.entries[index] = c.recent.PushFront(&entry{index, plain})
	for c.recent.Len() > c.limit {
		c.evict(c.recent.Back())
	}
}

func (c *cache) evict(e *list.Element) {
	old := c.recent.Remove(e).(*entry)
	delete(c.entries, old.index)
	clear(old.plain)
	c.buffers.put(old.plain)
}

// close clears the cache for good.
func (c *cache) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for c.recent.Len() > 0 {
		c.evict(c.recent.Back())
	}
}

// firstKey returns the smallest key of m from first on and below end, else end.
func firstKey[V any](m map[int64]V, first, end int64) int64 {
	for i := range m {
		if first <= i && i < end {
			end = i
		}
	}
	return end
}

// buffers are empty slices with room for a segment. What was put back last is
// got first, for the CPU's caches may still hold it. They are safe for
// concurrent use.
type buffers struct {
	size int

	mu   sync.Mutex
	free [][]byte // up to its capacity
}

func newBuffers(keep, size int) *buffers {
	return &buffers{size: size, free: make([][]byte, 0, keep)}
}

func (b *buffers) get() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.free)
	if n == 0 {
		return make([]byte, 0, b.size)
	}
	p := b.free[n-1]
	b.free = b.free[:n-1]
	return p
}

func (b *buffers) put(p []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.free) < cap(b.free) {
		b.free = append(b.free, p[:0])
	}
}
