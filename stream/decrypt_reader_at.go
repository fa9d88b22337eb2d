package stream

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/segment"
	"github.com/bulla-format/bulla/keywrap"
)

// windowSize is about how many stored bytes one read of the source asks for.
const windowSize = 256 << 10

// A DecryptReaderAt decrypts any range of a stream. All its methods are safe
// for concurrent use. A segment that is not authentic, and a source that has
// become shorter, fail it for good: later calls return the error again. Other
// errors of the source are returned and may pass.
type DecryptReaderAt struct {
	src     io.ReaderAt
	memory  []byte // src's, if it has all of it there
	info    *Info
	size    int64 // of the plaintext
	opener  *segment.Opener
	workers int
	failed  atomic.Pointer[error]
	buffers sync.Pool // of *buffers
}

// buffers are what one call of ReadAt needs.
type buffers struct {
	stored []byte // a window of whole stored segments
	plain  []byte // a segment of which the caller wants a part
}

// NewDecryptReaderAt reads the header of the stream of size stored bytes in
// src and authenticates it, unwrapping the data key with keys under ctx. ctx
// has no bearing on what follows. It proves the stream's size: against the
// header if it declares one, else by opening the final segment. For a detached
// header src is the payload object. Of a *bytes.Reader the bytes are used where
// they are, and must stay there as they are.
func NewDecryptReaderAt(ctx context.Context, src io.ReaderAt, size int64, keys keywrap.Unwrapper, o *DecryptOptions) (*DecryptReaderAt, error) {
	if o == nil {
		o = &DecryptOptions{}
	}
	front, err := readerAtFront(src, size)
	if err != nil {
		return nil, err
	}
	info, opener, err := openHeader(ctx, front, keys, o)
	if err != nil {
		return nil, err
	}
	r := &DecryptReaderAt{src: src, memory: memoryOf(src), info: info, opener: opener, workers: o.Workers}
	r.buffers.New = func() any { return new(buffers) }
	if err := r.proveSize(size); err != nil {
		r.opener.Close()
		return nil, err
	}
	return r, nil
}

// proveSize finds the plaintext size that the stored size stands for, and
// proves it (SPEC §9.3, steps 1 and 2).
func (r *DecryptReaderAt) proveSize(stored int64) error {
	size, err := r.info.Layout.PlaintextSize(stored)
	if declared := r.info.PlaintextSize; declared != format.UnknownSize {
		expected, _ := r.info.Layout.StoredSize(declared) // a parsed header's size can be stored
		switch {
		case stored < expected:
			return fmt.Errorf("%w: %d of %d stored bytes", ErrTruncated, stored, expected)
		case stored > expected:
			return fmt.Errorf("%w: %d stored bytes, the stream has %d", ErrSizeMismatch, stored, expected)
		}
		r.size = declared
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTruncated, err)
	}
	r.size = size
	b := r.buffers.Get().(*buffers)
	defer r.buffers.Put(b)
	final := r.info.Layout.FinalSegment(size)
	segment, err := r.fetch(b, final, final+1)
	if err != nil {
		return err
	}
	_, err = r.open(b.plaintext(r.info.SegmentSize), segment, final)
	return err
}

// Info returns what the authenticated header says.
func (r *DecryptReaderAt) Info() Info { return *r.info }

// Size returns the plaintext size in bytes.
func (r *DecryptReaderAt) Size() int64 { return r.size }

// StoredRange returns the half-open range of the stored bytes that hold the n
// plaintext bytes from offset on, cut off at the plaintext's end: whole
// segments. It is empty when the plaintext range is. Negative numbers are
// format.ErrSize.
func (r *DecryptReaderAt) StoredRange(offset, n int64) (start, end int64, err error) {
	if n > 0 && offset >= 0 {
		n = max(0, min(n, r.size-offset))
	}
	first, stop, err := r.info.Layout.SegmentRange(min(offset, r.size), n)
	if err != nil {
		return 0, 0, err
	}
	start, end = r.info.Layout.StoredRange(first, stop, r.size)
	return start, end, nil
}

// ReadAt implements io.ReaderAt over the plaintext: every byte that it returns
// is authenticated, those before an error included. At the end of the
// plaintext the error is io.EOF itself. Segments that p takes whole are opened
// into it; one that is not authentic leaves no plaintext there. With Workers
// the segments of a range of two batches or more are opened concurrently.
func (r *DecryptReaderAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("stream: reading at negative offset %d", off)
	}
	if off >= r.size {
		return 0, io.EOF
	}
	wanted := p[:min(int64(len(p)), r.size-off)]
	var n int
	var err error
	if r.workers > 1 && len(wanted) >= 2*batchSize {
		n, err = r.readInRuns(wanted, off)
	} else {
		n, err = r.read(wanted, off)
	}
	switch {
	case err != nil:
		return n, r.lasting(err)
	case n < len(p):
		return n, io.EOF
	}
	return n, nil
}

// read opens what p takes from offset off on, which is within the plaintext.
func (r *DecryptReaderAt) read(p []byte, off int64) (done int, err error) {
	first, end, _ := r.info.Layout.SegmentRange(off, int64(len(p))) // the caller has cut p off at the end
	b := r.buffers.Get().(*buffers)
	defer r.buffers.Put(b)
	for ; first < end; first += r.perWindow() {
		stored, err := r.fetch(b, first, min(end, first+r.perWindow()))
		if err != nil {
			return done, err
		}
		for index := first; len(stored) > 0; index++ {
			segment := stored[:min(len(stored), r.info.Layout.StoredSegmentSize())]
			n, err := r.openPart(p[done:], off+int64(done), segment, index, b)
			if err != nil {
				return done, err
			}
			done += n
			stored = stored[len(segment):]
		}
	}
	return done, nil
}

// Verify opens every segment, in order, and returns the first error. ctx is
// looked at every few segments. With Workers several runs of segments are
// opened at a time.
func (r *DecryptReaderAt) Verify(ctx context.Context) error {
	end := r.info.Layout.FinalSegment(r.size) + 1
	if r.workers > 1 {
		_, _, err := r.inRuns(0, end, func(first, end int64) (int, error) { return 0, r.verify(ctx, first, end) })
		return r.lasting(err)
	}
	return r.lasting(r.verify(ctx, 0, end))
}

// verify opens the segments first to end-1.
func (r *DecryptReaderAt) verify(ctx context.Context, first, end int64) error {
	b := r.buffers.Get().(*buffers)
	defer r.buffers.Put(b)
	for ; first < end; first += r.perWindow() {
		if err := ctx.Err(); err != nil {
			return err
		}
		stored, err := r.fetch(b, first, min(end, first+r.perWindow()))
		if err != nil {
			return err
		}
		for index := first; len(stored) > 0; index++ {
			segment := stored[:min(len(stored), r.info.Layout.StoredSegmentSize())]
			if _, err := r.open(b.plaintext(r.info.SegmentSize), segment, index); err != nil {
				return err
			}
			stored = stored[len(segment):]
		}
	}
	return nil
}

// OpenSegment opens one stored segment and appends its plaintext to dst, whose
// capacity does not overlap stored. It is for callers that fetch the bytes of
// StoredRange themselves, with retries and caches of their own. stored is the
// whole segment; a wrong number of bytes is [ErrTruncated] or
// [ErrSizeMismatch], and does not fail the reader.
func (r *DecryptReaderAt) OpenSegment(dst, stored []byte, index int64) ([]byte, error) {
	if err := r.failed.Load(); err != nil {
		return nil, *err
	}
	final := r.info.Layout.FinalSegment(r.size)
	if index < 0 || index > final {
		return nil, fmt.Errorf("stream: segment %d of 0 to %d", index, final)
	}
	start, end := r.info.Layout.StoredRange(index, index+1, r.size)
	switch size := end - start; {
	case int64(len(stored)) < size:
		return nil, fmt.Errorf("%w: %d of the %d bytes of segment %d", ErrTruncated, len(stored), size, index)
	case int64(len(stored)) > size:
		return nil, fmt.Errorf("%w: %d bytes for the %d of segment %d", ErrSizeMismatch, len(stored), size, index)
	}
	plaintext, err := r.open(dst, stored, index)
	if err != nil {
		return nil, r.fail(err)
	}
	return plaintext, nil
}

// Close clears the keys; later calls return [ErrClosed]. No other call may be
// under way. It does not close the source, and always returns nil.
func (r *DecryptReaderAt) Close() error {
	r.fail(ErrClosed)
	r.opener.Close()
	return nil
}

// open opens a whole stored segment.
func (r *DecryptReaderAt) open(dst, stored []byte, index int64) ([]byte, error) {
	plaintext, err := r.opener.Open(dst, stored, index, index == r.info.Layout.FinalSegment(r.size))
	if err != nil {
		return nil, segmentError(r.info, index)
	}
	return plaintext, nil
}

// openPart opens a stored segment, copies to p what of its plaintext stands
// from offset off on, and returns the count.
func (r *DecryptReaderAt) openPart(p []byte, off int64, stored []byte, index int64, b *buffers) (int, error) {
	size := len(stored) - format.SegmentOverhead
	if off == index*int64(r.info.SegmentSize) && len(p) >= size {
		plaintext, err := r.open(p[:0:size], stored, index)
		return len(plaintext), err
	}
	plaintext, err := r.open(b.plaintext(r.info.SegmentSize), stored, index)
	if err != nil {
		return 0, err
	}
	return copy(p, plaintext[off-index*int64(r.info.SegmentSize):]), nil
}

// perWindow returns how many segments one read of the source asks for.
func (r *DecryptReaderAt) perWindow() int64 {
	return int64(max(1, windowSize/r.info.Layout.StoredSegmentSize()))
}

// fetch returns the stored segments first to end-1, which it reads into b
// unless they are in memory.
func (r *DecryptReaderAt) fetch(b *buffers, first, end int64) ([]byte, error) {
	if err := r.failed.Load(); err != nil {
		return nil, *err
	}
	start, stop := r.info.Layout.StoredRange(first, end, r.size)
	if stop <= int64(len(r.memory)) {
		return r.memory[start:stop], nil
	}
	if int64(cap(b.stored)) < stop-start {
		b.stored = make([]byte, stop-start)
	}
	b.stored = b.stored[:stop-start]
	n, err := r.src.ReadAt(b.stored, start)
	switch {
	case n == len(b.stored):
		return b.stored, nil // whatever err is: io.ReaderAt allows io.EOF here
	case err == io.EOF:
		return nil, fmt.Errorf("%w: the source ends at byte %d of %d", ErrTruncated, start+int64(n), stop)
	case err == nil:
		err = io.ErrNoProgress
	}
	return nil, fmt.Errorf("stream: reading the source: %w", err)
}

// lasting makes err the answer to later calls if it says that the stored
// stream is not the one that was opened.
func (r *DecryptReaderAt) lasting(err error) error {
	var segment *SegmentError
	if errors.As(err, &segment) || errors.Is(err, ErrTruncated) {
		return r.fail(err)
	}
	return err
}

// fail makes err the answer to later calls, unless another one came first.
func (r *DecryptReaderAt) fail(err error) error {
	r.failed.CompareAndSwap(nil, &err)
	return err
}

// plaintext returns an empty slice with room for a segment's plaintext.
func (b *buffers) plaintext(size int) []byte {
	if b.plain == nil {
		b.plain = make([]byte, 0, size)
	}
	return b.plain
}

// readerAtFront returns a reader of src from its beginning that has fetched as
// much as the usual header with one read.
func readerAtFront(src io.ReaderAt, size int64) (io.Reader, error) {
	front := make([]byte, min(max(size, 0), format.DefaultHeaderSize))
	n, err := src.ReadAt(front, 0)
	if n < len(front) && err != nil && err != io.EOF {
		return nil, fmt.Errorf("stream: reading the source: %w", err)
	}
	rest := io.NewSectionReader(src, int64(n), size-int64(n))
	return io.MultiReader(bytes.NewReader(front[:n]), rest), nil
}
