package stream

import (
	"context"
	"fmt"
	"io"
	"math"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/segment"
	"github.com/bulla-format/bulla/keywrap"
)

// A DecryptReader decrypts a stream from front to back. It is not safe for
// concurrent use. Every error is final: later calls return it again.
type DecryptReader struct {
	src     source
	info    *Info
	opener  *segment.Opener
	index   int64  // of the next segment
	stored  []byte // room for a stored segment
	buf     []byte // plaintext of a segment that did not fit into the caller's slice
	plain   []byte // what the caller has yet to receive
	err     error  // sticky, and returned once plain is empty
	workers int
	ahead   *readAhead // with workers, once there was a batch without them
}

// NewDecryptReader reads a header from src and authenticates it, unwrapping
// the data key with keys under ctx. ctx has no bearing on what follows. src is
// read to its end, and no further than Read has come unless there are Workers.
// For a detached header src is the payload object.
func NewDecryptReader(ctx context.Context, src io.Reader, keys keywrap.Unwrapper, o *DecryptOptions) (*DecryptReader, error) {
	if o == nil {
		o = &DecryptOptions{}
	}
	info, opener, err := openHeader(ctx, src, keys, o)
	if err != nil {
		return nil, err
	}
	return &DecryptReader{src: source{r: src}, info: info, opener: opener, workers: o.Workers}, nil
}

// Info returns what the authenticated header says.
func (r *DecryptReader) Info() Info { return *r.info }

// Read reads plaintext, every byte of it authenticated. io.EOF follows only
// upon the whole, authenticated stream. When p has room for a segment, it is
// opened into p, unless there are Workers; a segment that is not authentic
// leaves no plaintext there.
func (r *DecryptReader) Read(p []byte) (int, error) {
	for len(r.plain) == 0 {
		if r.err != nil {
			r.release()
			return 0, r.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		r.next(p)
	}
	n := copy(p, r.plain) // which may be there already
	r.plain = r.plain[n:]
	return n, nil
}

// WriteTo writes the rest of the plaintext to dst, a segment at a time, or with
// Workers a batch. An error of dst is final too. To an [EncryptWriter] an error
// of this reader is final as well.
func (r *DecryptReader) WriteTo(dst io.Writer) (total int64, err error) {
	if w, ok := dst.(*EncryptWriter); ok {
		return w.ReadFrom(struct{ io.Reader }{r})
	}
	for {
		if len(r.plain) > 0 {
			n, err := writeAll(dst, r.plain)
			total += int64(n)
			r.plain = nil
			if err != nil {
				return total, r.fail(err)
			}
		}
		if r.err != nil {
			r.release()
			if r.err == io.EOF {
				return total, nil
			}
			return total, r.err
		}
		r.next(spare(dst))
	}
}

// Close ends the reader and clears its keys; later calls return [ErrClosed]. It
// is for readers that are given up before io.EOF; afterwards it changes
// nothing. It does not close the source, and always returns nil.
func (r *DecryptReader) Close() error {
	if r.err == nil {
		clear(r.plain)
		r.fail(ErrClosed)
	}
	return nil
}

// fail makes err the answer to every later call, and clears what is secret.
func (r *DecryptReader) fail(err error) error {
	r.err = err
	r.plain = nil
	if r.ahead != nil {
		r.ahead.discard()
	}
	r.opener.Close()
	r.release()
	return err
}

// release gives up the buffers, when nothing of them is to be delivered any
// more.
func (r *DecryptReader) release() {
	release(r.stored)
	release(r.buf)
	r.stored, r.buf = nil, nil
}

// next opens the next segment, or batch, and sets plain: in p if it is a
// segment that fits there. At the end of the stream, and on an error, it sets
// err.
func (r *DecryptReader) next(p []byte) {
	if r.parallel() {
		r.nextBatch()
		return
	}
	stored, err := r.src.nextIn(&r.stored, r.info.Layout.StoredSegmentSize(), r.guess())
	if err != nil && err != io.EOF {
		r.fail(err)
		return
	}
	final := err == io.EOF
	if err := r.checkSize(len(stored), final); err != nil {
		r.fail(err)
		return
	}
	size := len(stored) - format.SegmentOverhead
	if size > len(p) {
		r.buf = grown(r.buf, format.NonceSize+size, format.NonceSize+r.info.SegmentSize)
		p = r.buf[format.NonceSize:] // where it is aligned
	}
	r.plain, err = r.opener.Open(p[:0:size], stored, r.index, final)
	if err != nil {
		r.fail(segmentError(r.info, r.index))
		return
	}
	r.index++
	if final {
		r.err = io.EOF
		r.opener.Close()
	}
}

// guess returns how much the next stored segment may have at most, as far as
// that is known; one byte more would show that there is too much.
func (r *DecryptReader) guess() int {
	if r.info.PlaintextSize == format.UnknownSize {
		return firstRoom
	}
	expected, _ := r.info.Layout.StoredSize(r.info.PlaintextSize) // a parsed header's size can be stored
	left := max(0, expected-r.info.Layout.SegmentOffset(r.index)) + 1
	return int(min(left, int64(r.info.Layout.StoredSegmentSize())))
}

// checkSize tells whether a stored segment of n bytes, or at the end of the
// source what is left there, may stand at the current index (SPEC §9.2).
func (r *DecryptReader) checkSize(n int, final bool) error {
	if final && n < format.SegmentOverhead {
		return ErrTruncated
	}
	if r.info.PlaintextSize == format.UnknownSize {
		return nil
	}
	expected, _ := r.info.Layout.StoredSize(r.info.PlaintextSize) // a parsed header's size can be stored
	end := r.info.Layout.SegmentOffset(r.index) + int64(n)
	switch {
	case final && end < expected:
		return ErrTruncated
	case end > expected || !final && end == expected:
		return fmt.Errorf("%w: bytes follow the end of the stream", ErrSizeMismatch)
	}
	return nil
}

// parallel reports whether workers open what follows.
func (r *DecryptReader) parallel() bool {
	if r.ahead == nil && r.workers > 1 && r.index >= int64(segmentsPerBatch(r.info.SegmentSize)) {
		r.src.lendLasting()
		r.ahead = &readAhead{pipeline: newPipeline(r.workers, r.openBatch), fill: r.fill}
	}
	return r.ahead != nil
}

// nextBatch takes the next batch's plaintext and the error that follows it.
func (r *DecryptReader) nextBatch() {
	b, err := r.ahead.next()
	if err == nil {
		err = b.err
	}
	if err != nil {
		r.fail(err)
	}
	if b != nil {
		r.plain = b.out
	}
}

// fill reads a batch of stored segments.
func (r *DecryptReader) fill(b *batch) error {
	size := r.info.Layout.StoredSegmentSize()
	b.index = r.index
	stored, err := r.src.nextIn(&b.room, segmentsPerBatch(r.info.SegmentSize)*size, math.MaxInt)
	for len(stored) > 0 || err == io.EOF {
		segment := stored[:min(size, len(stored))]
		final := len(segment) < size
		if final && err != io.EOF {
			break // the source failed within it
		}
		if err := r.checkSize(len(segment), final); err != nil {
			return err
		}
		b.in = append(b.in, segment)
		r.index++
		if b.final = final; final {
			break
		}
		stored = stored[size:]
	}
	return err
}

// openBatch opens the segments of b up to the first that is not authentic.
func (r *DecryptReader) openBatch(b *batch) {
	if b.out == nil {
		b.out = make([]byte, 0, segmentsPerBatch(r.info.SegmentSize)*r.info.SegmentSize)
	}
	for i, stored := range b.in {
		index := b.index + int64(i)
		plaintext, err := r.opener.Open(b.out, stored, index, b.final && i == len(b.in)-1)
		if err != nil {
			b.err = segmentError(r.info, index)
			return
		}
		b.out = plaintext
	}
}

func segmentError(info *Info, index int64) error {
	return &SegmentError{Index: index, Offset: index * int64(info.SegmentSize), Err: ErrAuth}
}
