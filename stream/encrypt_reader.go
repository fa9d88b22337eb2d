package stream

import (
	"bytes"
	"context"
	"io"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
)

// An EncryptReader encrypts what it reads from a source. It is not safe for
// concurrent use. Every error is final: later calls return it again.
//
// It is what to give to an uploader that takes an io.Reader. It cannot seek,
// on purpose: encrypting again gives other bytes.
type EncryptReader struct {
	src     source
	enc     *encryption
	pending []byte // stored bytes that the caller has yet to receive
	buf     []byte // for segments that do not fit into the caller's slice
	err     error  // sticky, and returned once pending is empty
	workers int
	ahead   *readAhead // with workers, once there was a batch without them
}

// NewEncryptReader obtains a data key from keys, under ctx, and returns a
// reader of the stream whose plaintext is all that src has. ctx has no bearing
// on what follows. An error of src is returned by Read, and what was read up
// to it never decrypts to its end. No more than the next segment is read from
// src before the stream up to it was returned, unless there are Workers.
func NewEncryptReader(ctx context.Context, src io.Reader, keys keywrap.Wrapper, o *EncryptOptions) (*EncryptReader, error) {
	enc, err := newEncryption(ctx, keys, o)
	if err != nil {
		return nil, err
	}
	r := &EncryptReader{src: source{r: src}, enc: enc, pending: enc.front()}
	if o != nil {
		r.workers = o.Workers
	}
	return r, nil
}

// Header returns a copy of the encoded header.
func (r *EncryptReader) Header() []byte { return bytes.Clone(r.enc.header) }

// PlaintextCount returns how many plaintext bytes were taken from the source
// so far: after io.EOF, the plaintext's size.
func (r *EncryptReader) PlaintextCount() int64 { return r.enc.count }

// Read reads the stream. When p has room for a whole stored segment, the
// plaintext is read into p and sealed there, unless there are Workers.
func (r *EncryptReader) Read(p []byte) (int, error) {
	if len(r.pending) == 0 {
		if r.err != nil {
			r.release()
			return 0, r.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		if r.next(p); len(r.pending) == 0 {
			return 0, r.err
		}
	}
	n := copy(p, r.pending) // which may be there already
	r.pending = r.pending[n:]
	return n, nil
}

// WriteTo writes the rest of the stream to dst, a segment at a time, or with
// Workers a batch. An error of dst is final too.
func (r *EncryptReader) WriteTo(dst io.Writer) (total int64, err error) {
	for {
		if len(r.pending) > 0 {
			n, err := writeAll(dst, r.pending)
			total += int64(n)
			r.pending = nil
			if err != nil {
				r.fail(err)
				return total, err
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

// Close ends the reader and clears its keys; later calls of Read return
// [ErrClosed]. It is for readers that are given up before io.EOF; afterwards it
// changes nothing. It does not close the source, and always returns nil.
func (r *EncryptReader) Close() error {
	if r.err == nil {
		r.fail(ErrClosed)
		r.pending = nil
		r.release()
	}
	return nil
}

// release gives up the buffer, when nothing of it is pending any more.
func (r *EncryptReader) release() {
	release(r.buf)
	r.buf = nil
}

func (r *EncryptReader) fail(err error) {
	r.err = err
	if r.ahead != nil {
		r.ahead.discard()
	}
	r.enc.sealer.Close()
}

// next seals the next segment, or has the next batch, and sets pending: in p if
// there is room for a whole stored segment. On an error it sets err, and the
// room is cleared.
func (r *EncryptReader) next(p []byte) {
	if r.parallel() {
		r.nextBatch()
		return
	}
	layout := r.enc.layout
	var plaintext []byte
	var err error
	if size := layout.StoredSegmentSize(); len(p) >= size {
		p = p[:size]
		plaintext, err = r.src.next(p[format.NonceSize:][:layout.SegmentSize()])
	} else {
		plaintext, err = r.src.nextIn(&r.buf, layout.SegmentSize(), r.guess())
		r.buf = grown(r.buf, len(plaintext)+format.SegmentOverhead, size) // for what was lent
		p = r.buf
	}
	final, err := r.accept(len(plaintext), err)
	if err != nil {
		clear(p)
		r.fail(err)
		return
	}
	r.pending = r.enc.seal(p[:0], plaintext, final)
	if final {
		clear(p[len(r.pending):]) // a source may use all of its slice as scratch space
		r.fail(io.EOF)
	}
}

// accept counts n bytes of plaintext that the source gave with err, and tells
// whether they are the final segment's.
func (r *EncryptReader) accept(n int, err error) (final bool, _ error) {
	if err != nil && err != io.EOF {
		return false, err
	}
	if err := r.enc.take(n); err != nil || n == r.enc.layout.SegmentSize() {
		return false, err
	}
	return true, r.enc.complete()
}

// guess returns how much plaintext the next segment may have at most, as far
// as that is known; one byte more would show that there is too much.
func (r *EncryptReader) guess() int {
	if r.enc.declared == format.UnknownSize {
		return firstRoom
	}
	return int(min(r.enc.declared-r.enc.count+1, int64(r.enc.layout.SegmentSize())))
}

// parallel reports whether workers seal what follows.
func (r *EncryptReader) parallel() bool {
	if r.ahead == nil && r.workers > 1 && r.enc.index >= int64(segmentsPerBatch(r.enc.layout.SegmentSize())) {
		r.src.lendLasting()
		r.ahead = &readAhead{pipeline: newPipeline(r.workers, r.enc.sealBatch), fill: r.fill}
	}
	return r.ahead != nil
}

// nextBatch takes the next batch.
func (r *EncryptReader) nextBatch() {
	b, err := r.ahead.next()
	if err != nil {
		r.fail(err)
		return
	}
	r.pending = b.out
}

// fill reads a batch of plaintext.
func (r *EncryptReader) fill(b *batch) error {
	size, stored := r.enc.layout.SegmentSize(), r.enc.layout.StoredSegmentSize()
	b.index = r.enc.index
	if b.out == nil {
		b.out = make([]byte, 0, segmentsPerBatch(size)*stored)
	}
	for free := b.out[:cap(b.out)]; len(free) > 0 && !b.final; free = free[stored:] {
		room := free[format.NonceSize:][:size]
		plaintext, err := r.src.next(room)
		if b.final, err = r.accept(len(plaintext), err); err != nil {
			clear(room)
			b.final = false
			return err
		}
		b.in = append(b.in, plaintext)
		r.enc.index++
	}
	if b.final {
		return io.EOF
	}
	return nil
}
