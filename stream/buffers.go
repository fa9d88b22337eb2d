package stream

import (
	"sync"

	"github.com/bulla-format/bulla/format"
)

// pooledSize is the size of the buffers that streams hand on to each other: a
// header and a segment of the default sizes. Fresh memory of this size costs a
// stream that fits into it more than its encryption.
const pooledSize = format.DefaultHeaderSize + 1<<format.DefaultSegmentExp + format.SegmentOverhead

// alignment is that of the byte behind a nonce at the start of a large buffer:
// where vectors are stored across cache lines, AES-GCM loses a twelfth of its
// speed.
const alignment = 32

// pool has cleared buffers only.
var pool = sync.Pool{New: func() any { return (*[pooledSize]byte)(aligned(pooledSize)) }}

func aligned(n int) []byte {
	const lead = alignment - format.NonceSize
	return make([]byte, lead+n)[lead:] // a large allocation is aligned itself
}

// newBuffer returns n zero bytes.
func newBuffer(n int) []byte {
	switch {
	case n <= pooledSize/4:
		return make([]byte, n)
	case n > pooledSize:
		return aligned(n)
	default:
		return pool.Get().(*[pooledSize]byte)[:n]
	}
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
