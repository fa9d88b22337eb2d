package s3download

import (
	"container/list"
	"sync"

	"github.com/bulla-format/bulla/format"
)

// A cache keeps the plaintext of the segments that were used last, and segments
// that were read ahead as they are stored, and knows which segments are being
// fetched for it.
type cache struct {
	buffers *buffers // of plaintext
	sealed  *buffers // of segments that were read ahead
	limit   int      // segments to keep

	mu      sync.Mutex
	entries map[int64]*list.Element // of *entry, by segment
	recent  list.List               // the one used last in front
	flights map[int64]*flight       // by segment
	closed  bool
}

type entry struct {
	index  int64
	data   []byte
	sealed bool // data is the stored segment, not the plaintext
}

// A flight is a segment on its way into the cache. err is set before landed is
// closed.
type flight struct {
	landed chan struct{}
	err    error
}

func newCache(size int64, segmentSize int, bufferSize int) *cache {
	c := &cache{
		buffers: newBuffers(4, bufferSize),
		limit:   int(max(1, size/int64(segmentSize))),
		entries: make(map[int64]*list.Element),
		flights: make(map[int64]*flight),
	}
	c.sealed = newBuffers(c.aheadLimit(), bufferSize+format.SegmentOverhead)
	return c
}

// aheadLimit is how many segments one request may read ahead: few enough that
// they are still there when they are wanted.
func (c *cache) aheadLimit() int { return c.limit / 4 }

// read copies plaintext of segment index, from skip on, to p.
func (c *cache) read(p []byte, index int64, skip int) (n int, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[index]
	if !ok || e.Value.(*entry).sealed {
		return 0, false
	}
	c.recent.MoveToFront(e)
	return copy(p, e.Value.(*entry).data[skip:]), true
}

// unseal takes a segment that was read ahead out of the cache, nil if there is
// no such. Until the caller has put or forfeited it, it is in flight.
func (c *cache) unseal(index int64) (stored []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.entries[index]
	if !ok || !e.Value.(*entry).sealed {
		return nil
	}
	delete(c.entries, index)
	c.flights[index] = &flight{landed: make(chan struct{})}
	return c.recent.Remove(e).(*entry).data
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
func (c *cache) put(index int64, plain []byte) { c.keep(&entry{index, plain, false}) }

// putSealed does so with a segment that was read ahead, in one of c.sealed.
func (c *cache) putSealed(index int64, stored []byte) { c.keep(&entry{index, stored, true}) }

func (c *cache) keep(e *entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.land(e.index, nil)
	if _, ok := c.entries[e.index]; ok || c.closed {
		c.drop(e)
		return
	}
	c.entries[e.index] = c.recent.PushFront(e)
	for c.recent.Len() > c.limit {
		c.evict(c.recent.Back())
	}
}

func (c *cache) evict(e *list.Element) {
	old := c.recent.Remove(e).(*entry)
	delete(c.entries, old.index)
	c.drop(old)
}

// drop gives the buffer of an entry back.
func (c *cache) drop(e *entry) {
	if e.sealed {
		c.sealed.put(e.data)
		return
	}
	clear(e.data)
	c.buffers.put(e.data)
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
