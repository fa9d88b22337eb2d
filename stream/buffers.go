package stream

import (
	"sync"

	"github.com/bulla-format/bulla/format"
)

// pooledSize is the size of the buffers that streams hand on to each other: a
// header and a segment of the default sizes. Fresh memory of this size costs a
// stream that fits into it more than its encryption.
const pooledSize = format.DefaultHeaderSize + 1<<format.DefaultSegmentExp + format.SegmentOverhead

// pool has cleared buffers only.
var pool = sync.Pool{New: func() any { return new([pooledSize]byte) }}

// newBuffer returns n zero bytes.
func newBuffer(n int) []byte {
	if n <= pooledSize/4 || n > pooledSize {
		return make([]byte, n)
	}
	return pool.Get().(*[pooledSize]byte)[:n]
}

// release clears b, all that a stream has used of a buffer, for the last time
// that the stream has to do with it.
func release(b []byte) {
	clear(b)
	if cap(b) == pooledSize {
		pool.Put((*[pooledSize]byte)(b[:pooledSize]))
	}
}

// grown returns buf with at least n bytes, n being at most limit. A buffer that
// is too small is released, and its successor at least twice as large.
func grown(buf []byte, n, limit int) []byte {
	if n <= len(buf) {
		return buf
	}
	larger := newBuffer(min(limit, max(n, 2*len(buf))))
	copy(larger, buf)
	release(buf)
	return larger
}
