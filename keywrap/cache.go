package keywrap

import (
	"bytes"
	"cmp"
	"container/list"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/bulla-format/bulla/format"
)

// CacheOptions limit what a [WrapperCache] or an [UnwrapperCache] holds. The
// zero value of each field is its default; no field is negative.
type CacheOptions struct {
	// MaxAge is how long a data key serves and stays in memory, counted from
	// before the call that gave it. Default: five minutes.
	MaxAge time.Duration

	// MaxStreams is how many streams a data key serves, the one it was made
	// or unwrapped for included. Default: 1000. 1 switches the cache off.
	MaxStreams int

	// MaxBytes bounds the plaintext bytes of all streams of a data key, as
	// [WithPlaintextSize] tells their sizes. A stream that is larger, or whose
	// size was not told, has a data key of its own. It is for a WrapperCache
	// only. Default, 0: no bound.
	MaxBytes int64

	// MaxEntries is how many data keys are held at a time; beyond, that which
	// was not used for the longest time goes. Default: 1000.
	MaxEntries int
}

// CacheStats counts what a cache did.
type CacheStats struct {
	Hits    int64 // answered from memory
	Misses  int64 // not answered from memory, failures included
	Calls   int64 // passed on; misses at the same time share one
	Entries int   // data keys held now
}

// A WrapperCache is a [Generator] that gives a data key to several streams of
// the same context, to spare calls of a key service. What grows is the damage
// when a data key leaks: it opens all the streams that share it. Their segments
// are sealed under different keys all the same (SPEC §13.6).
//
// It is for one Wrapper, the outermost: put a [Multi] inside. A data key is in
// memory from its call until the first limit in [CacheOptions] is reached, also
// when nobody asks for it, and is then cleared. Streams that are written at the
// same time share calls, so that MaxStreams much smaller than their number
// makes them wait for one another. Failures are not kept. Use is safe
// concurrently.
type WrapperCache struct {
	wrapper Wrapper
	cache   dataKeys
}

// NewWrapperCache returns a cache in front of w; nil options are the defaults.
func NewWrapperCache(w Wrapper, o *CacheOptions) (*WrapperCache, error) {
	c := &WrapperCache{wrapper: w}
	if err := c.cache.init(o); err != nil {
		return nil, err
	}
	return c, nil
}

// GenerateKey implements [Generator]: a data key that was generated for the
// same context, or a new one. What it returns is the caller's.
func (c *WrapperCache) GenerateKey(ctx context.Context, ec Context) (dataKey []byte, keys []format.WrappedKey, err error) {
	e, err := c.cache.get(ctx, string(appendContext(nil, ec)), plaintextSize(ctx), func() (e cached, err error) {
		e.dataKey, e.keys, err = GenerateKey(ctx, c.wrapper, ec)
		return e, err
	})
	return e.dataKey, e.keys, err
}

// WrapKey implements [Wrapper]. It passes every call on, and counts none.
func (c *WrapperCache) WrapKey(ctx context.Context, dataKey []byte, ec Context) ([]format.WrappedKey, error) {
	return c.wrapper.WrapKey(ctx, dataKey, ec)
}

// Stats returns the counts so far.
func (c *WrapperCache) Stats() CacheStats { return c.cache.snapshot() }

// Close clears every data key. From then on every call is passed on and
// nothing is held.
func (c *WrapperCache) Close() { c.cache.close() }

// An UnwrapperCache is an [Unwrapper] that remembers data keys by everything
// that it was asked with: type, name and bytes of the wrapped key, and the
// context. It spares calls where the same streams are opened again, and where
// streams share a data key.
//
// Whoever uses it can open, for MaxAge, what it has opened before, although
// the key service may have been told meanwhile to refuse. Clearing, waiting
// and concurrency are as for [WrapperCache].
type UnwrapperCache struct {
	unwrapper Unwrapper
	cache     dataKeys
}

// NewUnwrapperCache returns a cache in front of u; nil options are the
// defaults.
func NewUnwrapperCache(u Unwrapper, o *CacheOptions) (*UnwrapperCache, error) {
	if o != nil && o.MaxBytes != 0 {
		return nil, fmt.Errorf("keywrap: MaxBytes %d: a cache for unwrapping does not know sizes", o.MaxBytes)
	}
	c := &UnwrapperCache{unwrapper: u}
	if err := c.cache.init(o); err != nil {
		return nil, err
	}
	return c, nil
}

// UnwrapKey implements [Unwrapper]. What it returns is the caller's.
func (c *UnwrapperCache) UnwrapKey(ctx context.Context, k format.WrappedKey, ec Context) ([]byte, error) {
	id := binary.BigEndian.AppendUint16(nil, uint16(k.Type))
	id = appendSized(id, k.Name)
	id = appendSized(id, string(k.Data))
	e, err := c.cache.get(ctx, string(appendContext(id, ec)), 0, func() (e cached, err error) {
		e.dataKey, err = c.unwrapper.UnwrapKey(ctx, k, ec)
		return e, err
	})
	return e.dataKey, err
}

// Stats returns the counts so far.
func (c *UnwrapperCache) Stats() CacheStats { return c.cache.snapshot() }

// Close clears every data key. From then on every call is passed on and
// nothing is held.
func (c *UnwrapperCache) Close() { c.cache.close() }

type plaintextSizeKey struct{}

// WithPlaintextSize returns a context that tells a [WrapperCache] how many
// plaintext bytes the stream will have that GenerateKey is called for. A
// negative size is one not known.
func WithPlaintextSize(ctx context.Context, size int64) context.Context {
	return context.WithValue(ctx, plaintextSizeKey{}, size)
}

// plaintextSize is negative if the size was not told.
func plaintextSize(ctx context.Context) int64 {
	if size, ok := ctx.Value(plaintextSizeKey{}).(int64); ok {
		return size
	}
	return -1
}

// appendContext appends an encoding of ec that no other context has, whatever
// follows and precedes it.
func appendContext(b []byte, ec Context) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(ec)))
	for _, k := range slices.Sorted(maps.Keys(ec)) {
		b = appendSized(appendSized(b, k), ec[k])
	}
	return b
}

func appendSized(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(s))), s...)
}

// dataKeys is what both caches are made of.
type dataKeys struct {
	limits CacheOptions

	mu      sync.Mutex
	closed  bool
	entries map[string]*list.Element // whose values are *entry
	recent  list.List                // the entry last used is in front
	calls   map[string]*call         // under way
	stats   CacheStats
}

// cached is what a call gives and every hit gives a copy of.
type cached struct {
	dataKey []byte
	keys    []format.WrappedKey
}

func (e cached) clone() cached {
	keys := slices.Clone(e.keys)
	for i := range keys {
		keys[i].Data = bytes.Clone(keys[i].Data)
	}
	return cached{bytes.Clone(e.dataKey), keys}
}

type entry struct {
	cached
	id      string
	expires time.Time
	timer   *time.Timer // clears the entry when nobody asks for it
	streams int         // that it may still serve
	bytes   int64       // that it may still serve
}

type call struct {
	done chan struct{} // closed at its end
	err  error         // for all who wait; nil also if the caller gave up
}

func (c *dataKeys) init(o *CacheOptions) error {
	if o != nil {
		c.limits = *o
	}
	l := &c.limits
	if l.MaxAge < 0 || l.MaxStreams < 0 || l.MaxBytes < 0 || l.MaxEntries < 0 {
		return fmt.Errorf("keywrap: a negative limit of a cache: %+v", *l)
	}
	l.MaxAge = cmp.Or(l.MaxAge, 5*time.Minute)
	l.MaxStreams = cmp.Or(l.MaxStreams, 1000)
	l.MaxEntries = cmp.Or(l.MaxEntries, 1000)
	c.entries, c.calls = make(map[string]*list.Element), make(map[string]*call)
	return nil
}

// get returns a copy of the entry id, or what do returns.
func (c *dataKeys) get(ctx context.Context, id string, size int64, do func() (cached, error)) (cached, error) {
	for {
		c.mu.Lock()
		if e, ok := c.take(id, size); ok {
			c.stats.Hits++
			c.mu.Unlock()
			return e, nil
		}
		under := c.calls[id]
		if under == nil || !c.shares(size) {
			return c.miss(ctx, id, size, do)
		}
		c.mu.Unlock()
		err := under.wait(ctx)
		if err != nil {
			c.mu.Lock()
			c.stats.Misses++
			c.mu.Unlock()
			return cached{}, err
		}
	}
}

// shares reports whether a stream of that size may have a data key that other
// streams have too.
func (c *dataKeys) shares(size int64) bool {
	l := &c.limits
	return !c.closed && l.MaxStreams > 1 && (l.MaxBytes == 0 || size >= 0 && size <= l.MaxBytes)
}

func (c *call) wait(ctx context.Context) error {
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// miss unlocks c.mu and calls do; others with the same id may wait for that.
func (c *dataKeys) miss(ctx context.Context, id string, size int64, do func() (cached, error)) (e cached, err error) {
	c.stats.Misses++
	c.stats.Calls++
	if !c.shares(size) {
		c.mu.Unlock()
		return do()
	}
	own := &call{done: make(chan struct{})}
	c.calls[id] = own
	c.mu.Unlock()
	defer func() { // also when do panics
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.calls, id)
		if ctx.Err() == nil { // else the failure may be this caller's own
			own.err = err
		}
		close(own.done)
	}()
	start := time.Now()
	if e, err = do(); err == nil && len(e.dataKey) == DataKeySize {
		c.put(id, size, start, e.clone())
	}
	return e, err
}

// take returns a copy of an entry that may serve a stream of that size, and
// counts the stream. It is called with c.mu held, as are the functions below
// but where they say otherwise.
func (c *dataKeys) take(id string, size int64) (cached, bool) {
	element := c.entries[id]
	if element == nil || !c.shares(size) {
		return cached{}, false
	}
	e := element.Value.(*entry)
	if !time.Now().Before(e.expires) {
		c.drop(element)
		return cached{}, false
	}
	if c.limits.MaxBytes > 0 {
		if size > e.bytes {
			return cached{}, false
		}
		e.bytes -= size
	}
	e.streams--
	c.recent.MoveToFront(element)
	copied := e.clone()
	if e.streams == 0 {
		c.drop(element)
	}
	return copied, true
}

// put adds what the call that began at start gave to a stream of that size. It
// locks c.mu.
func (c *dataKeys) put(id string, size int64, start time.Time, v cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := &entry{
		cached: v, id: id, expires: start.Add(c.limits.MaxAge),
		streams: c.limits.MaxStreams - 1, bytes: c.limits.MaxBytes - size,
	}
	left, old := time.Until(e.expires), c.entries[id]
	if c.closed || left <= 0 || old != nil && old.Value.(*entry).bytes > e.bytes {
		clear(v.dataKey)
		return
	}
	if old != nil { // it had too few bytes left for this stream
		c.drop(old)
	}
	element := c.recent.PushFront(e)
	c.entries[id] = element
	e.timer = time.AfterFunc(left, func() { c.expire(element) })
	if len(c.entries) > c.limits.MaxEntries {
		c.drop(c.recent.Back())
	}
}

// drop removes an entry and clears its data key.
func (c *dataKeys) drop(element *list.Element) {
	e := c.recent.Remove(element).(*entry)
	e.timer.Stop()
	delete(c.entries, e.id)
	clear(e.dataKey)
}

// expire locks c.mu.
func (c *dataKeys) expire(element *list.Element) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries[element.Value.(*entry).id] == element { // else it is gone, or replaced
		c.drop(element)
	}
}

// close locks c.mu.
func (c *dataKeys) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for c.recent.Len() > 0 {
		c.drop(c.recent.Back())
	}
}

// snapshot locks c.mu.
func (c *dataKeys) snapshot() CacheStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.stats
	s.Entries = len(c.entries)
	return s
}
