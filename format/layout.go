package format

import "math"

// A Layout maps between plaintext and stored offsets (SPEC §7). All sizes and
// offsets are in bytes, all ranges half-open, all results exact up to 2^63-1.
type Layout struct {
	start int64 // of segment 0 in the payload object
	exp   uint8
}

// NewLayout returns the layout of segments of 2^segmentExp plaintext bytes,
// the first of which is stored at offset start: the header's size, or
// [PreludeSize] when the header is detached. The error is [ErrSize].
func NewLayout(start int64, segmentExp uint8) (Layout, error) {
	if start < 0 || segmentExp < MinSegmentExp || segmentExp > MaxSegmentExp || start > math.MaxInt64-SegmentOverhead {
		return Layout{}, sizeError("segments of 2^%d bytes from offset %d", segmentExp, start)
	}
	return Layout{start, segmentExp}, nil
}

// Layout returns the layout of h's payload object.
func (h *Header) Layout() Layout {
	if h.Detached() {
		return Layout{PreludeSize, h.SegmentExp}
	}
	return Layout{int64(h.Size), h.SegmentExp}
}

// Start returns the stored offset of segment 0.
func (l Layout) Start() int64 { return l.start }

// SegmentSize returns S, the plaintext bytes of every segment but the final one.
func (l Layout) SegmentSize() int { return 1 << l.exp }

// StoredSegmentSize returns the stored bytes of every segment but the final one.
func (l Layout) StoredSegmentSize() int { return l.SegmentSize() + SegmentOverhead }

// MaxPlaintextSize returns the largest plaintext size whose stored size is at
// most 2^63-1.
func (l Layout) MaxPlaintextSize() int64 {
	room := math.MaxInt64 - l.start
	full, rest := room/int64(l.StoredSegmentSize()), room%int64(l.StoredSegmentSize())
	if rest < SegmentOverhead { // no room for another segment: the one before it is final, and short
		return full<<l.exp - 1
	}
	return full<<l.exp + rest - SegmentOverhead
}

// StoredSize returns the size of the payload object of a stream of n plaintext
// bytes; [ErrSize] if n is negative or above MaxPlaintextSize.
func (l Layout) StoredSize(n int64) (int64, error) {
	if n < 0 || n > l.MaxPlaintextSize() {
		return 0, sizeError("%d plaintext bytes, expected 0 to %d", n, l.MaxPlaintextSize())
	}
	return l.SegmentOffset(l.FinalSegment(n)) + n&(1<<l.exp-1) + SegmentOverhead, nil
}

// PlaintextSize returns the plaintext size of a stream whose payload object
// has the given size. No two sizes have the same plaintext size, and none has
// a size that ends at the edge of a segment: that is [ErrSize].
func (l Layout) PlaintextSize(stored int64) (int64, error) {
	if stored < l.start {
		return 0, sizeError("%d stored bytes, the segments begin at %d", stored, l.start)
	}
	full, rest := (stored-l.start)/int64(l.StoredSegmentSize()), (stored-l.start)%int64(l.StoredSegmentSize())
	if rest < SegmentOverhead {
		return 0, sizeError("%d stored bytes end %d bytes into a segment, a final segment has at least %d", stored, rest, SegmentOverhead)
	}
	return full<<l.exp + rest - SegmentOverhead, nil
}

// FinalSegment returns the index of the final segment of a stream of n
// plaintext bytes.
func (l Layout) FinalSegment(n int64) int64 { return n >> l.exp }

// SegmentOffset returns the stored offset of segment index. The caller keeps
// index at or below that of the final segment of MaxPlaintextSize.
func (l Layout) SegmentOffset(index int64) int64 {
	return l.start + index*int64(l.StoredSegmentSize())
}

// SegmentRange returns the half-open range of the indices of the segments that
// hold the n plaintext bytes from offset on; it is empty when n is 0. The
// error is [ErrSize] for negative numbers and ranges beyond MaxPlaintextSize.
func (l Layout) SegmentRange(offset, n int64) (first, end int64, err error) {
	if offset < 0 || n < 0 || offset > l.MaxPlaintextSize()-n {
		return 0, 0, sizeError("%d plaintext bytes at offset %d", n, offset)
	}
	first = offset >> l.exp
	if n == 0 {
		return first, first, nil
	}
	return first, (offset+n-1)>>l.exp + 1, nil
}

// StoredRange returns the half-open range of the stored bytes of the segments
// first to end-1 of a stream of size plaintext bytes. The caller keeps
// 0 <= first <= end <= FinalSegment(size)+1, and size at or below
// MaxPlaintextSize.
func (l Layout) StoredRange(first, end, size int64) (start, stop int64) {
	start = l.SegmentOffset(first)
	if final := l.FinalSegment(size); first < end && end > final {
		return start, l.SegmentOffset(final) + size&(1<<l.exp-1) + SegmentOverhead
	}
	return start, l.SegmentOffset(end)
}
