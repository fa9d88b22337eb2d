package stream

import (
	"bytes"
	"context"
	"io"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
)

// writeSize is how many stored bytes are gathered for one Write to the
// destination when segments are smaller. Tests lower it.
var writeSize = 64 << 10

// An EncryptWriter encrypts what is written to it. It is not safe for
// concurrent use. Every error is final: later calls return it again.
type EncryptWriter struct {
	dst io.Writer
	enc *encryption
	err error // sticky; nil while open

	// buf holds stored bytes that are not yet written, buf[:ready], then room
	// for a nonce, then the first partial bytes of a segment's plaintext,
	// which is sealed where it stands. It grows up to limit; it is nil while
	// only enc.front() is ready. Between calls there is always room for
	// another whole segment within limit.
	buf     []byte
	ready   int
	partial int
	limit   int

	// With workers, the segments behind the first batch are theirs to seal:
	// buf is then the room of batch, and its ready bytes are segments that
	// hold their plaintext, or that are sealed from a caller's slice.
	workers  int
	pipeline *pipeline
	batch    *batch
	lent     bool // whether workers seal from a caller's slice
}

// NewEncryptWriter obtains a data key from keys, under ctx, and returns a
// writer whose stream goes to dst: the header with the first segment, then at
// least a segment with each Write. The stream is complete when Close returns
// nil, not before. ctx has no bearing on what follows.
func NewEncryptWriter(ctx context.Context, dst io.Writer, keys keywrap.Wrapper, o *EncryptOptions) (*EncryptWriter, error) {
	enc, err := newEncryption(ctx, keys, o)
	if err != nil {
		return nil, err
	}
	w := &EncryptWriter{dst: dst, enc: enc, ready: len(enc.front())}
	w.limit = max(w.ready+enc.layout.StoredSegmentSize(), writeSize)
	if o != nil {
		w.workers = o.Workers
	}
	return w, nil
}

// Header returns a copy of the encoded header.
func (w *EncryptWriter) Header() []byte { return bytes.Clone(w.enc.header) }

// Write encrypts p, which it does not retain. A segment goes to dst once its
// plaintext is complete; whole segments are sealed straight from p. With
// Workers a segment goes to dst later: with one of the following calls, or with
// Close; what makes no whole batch is copied.
func (w *EncryptWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if err := w.enc.take(len(p)); err != nil {
		return 0, w.fail(err)
	}
	for rest := p; len(rest) > 0; {
		n, err := w.add(rest)
		rest = rest[n:]
		if err == nil {
			err = w.advance()
		}
		if err != nil {
			return len(p) - len(rest), err
		}
	}
	if w.lent {
		w.lent = false
		w.pipeline.wait()
	}
	return len(p), nil
}

// add takes what of p belongs to the current segment, or if that is empty and p
// large to the current batch. A whole segment is sealed, unless that is for the
// workers: in the destination's own memory if possible.
func (w *EncryptWriter) add(p []byte) (int, error) {
	if n := w.lend(p); n > 0 {
		return n, nil
	}
	size := w.enc.layout.SegmentSize()
	n := min(len(p), size-w.partial)
	if n < size || w.pipeline != nil {
		copy(w.room(n), p)
		w.partial += n
		return n, nil
	}
	if room := spare(w.dst); w.ready == 0 && len(room) >= size+format.SegmentOverhead {
		return n, w.write(w.enc.seal(room[:0], p[:n], false))
	}
	w.grow(w.ready + size + format.SegmentOverhead)
	w.ready = len(w.enc.seal(w.buf[:w.ready], p[:n], false))
	return n, nil
}

// ReadFrom encrypts src up to its io.EOF and returns how many bytes it took.
// An error of src fails the stream for good, so that a deferred Close cannot
// pass off half a source as a whole one.
func (w *EncryptWriter) ReadFrom(src io.Reader) (int64, error) {
	if w.err != nil {
		return 0, w.err
	}
	if memory, ok := src.(*bytes.Reader); ok {
		return memory.WriteTo(w)
	}
	for total := int64(0); ; {
		n, readErr := readFull(src, w.room(w.enc.layout.SegmentSize()-w.partial))
		if err := w.enc.take(n); err != nil {
			return total, w.fail(err)
		}
		total += int64(n)
		w.partial += n
		switch {
		case readErr == io.EOF:
			return total, nil
		case readErr != nil:
			return total, w.fail(readErr)
		}
		if err := w.advance(); err != nil {
			return total, err
		}
	}
}

// Close seals and writes the final segment. The stream is complete only when
// Close returns nil. It does not close dst. After a success further calls
// return nil; after any failure, or Abort, Close returns that error and writes
// nothing.
func (w *EncryptWriter) Close() error {
	if w.err == ErrClosed {
		return nil
	}
	if w.err != nil {
		return w.err
	}
	if err := w.enc.complete(); err != nil {
		return w.fail(err)
	}
	w.seal(true)
	if err := w.flush(); err != nil {
		return err
	}
	w.fail(ErrClosed)
	return nil
}

// Abort ends the writer without completing the stream: what dst has received
// never decrypts to its end. After Close, and after a failure, it does nothing.
func (w *EncryptWriter) Abort() {
	if w.err == nil {
		w.fail(ErrAborted)
	}
}

// fail makes err the answer to every later call, and clears what is secret.
func (w *EncryptWriter) fail(err error) error {
	w.err = err
	if w.pipeline != nil {
		w.pipeline.discard()
	}
	release(w.buf)
	w.buf, w.batch = nil, nil
	w.enc.sealer.Close()
	return err
}

// room returns where the next n bytes of the partial segment go.
func (w *EncryptWriter) room(n int) []byte {
	w.grow(w.ready + w.partial + n + format.SegmentOverhead)
	start := w.ready + format.NonceSize + w.partial
	return w.buf[start : start+n]
}

// advance seals the partial segment if it is full, writes out what is ready if
// there would be no room for another segment, and lets the workers begin once
// there has been a batch without them.
func (w *EncryptWriter) advance() error {
	if w.partial == w.enc.layout.SegmentSize() {
		w.seal(false)
	}
	if w.partial > 0 {
		return nil
	}
	if w.ready+w.enc.layout.StoredSegmentSize() > w.limit {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.pipeline == nil && w.ready == 0 && w.workers > 1 && w.enc.index >= int64(segmentsPerBatch(w.enc.layout.SegmentSize())) {
		w.pipeline = newPipeline(w.workers, w.enc.sealBatch)
		release(w.buf)
		w.begin()
	}
	return nil
}

// seal seals the partial segment, or adds it to the batch.
func (w *EncryptWriter) seal(final bool) {
	w.room(0)
	start := w.ready + format.NonceSize
	plaintext := w.buf[start : start+w.partial]
	if w.pipeline != nil {
		w.batch.in = append(w.batch.in, plaintext)
		w.batch.final = final
		w.ready += w.partial + format.SegmentOverhead
	} else {
		w.ready = len(w.enc.seal(w.buf[:w.ready], plaintext, final))
	}
	w.partial = 0
}

// flush writes out what is ready.
func (w *EncryptWriter) flush() error {
	if w.pipeline != nil {
		return w.submit()
	}
	if err := w.write(w.buf[:w.ready]); err != nil {
		return err
	}
	w.ready = 0
	return nil
}

func (w *EncryptWriter) write(b []byte) error {
	if _, err := writeAll(w.dst, b); err != nil {
		return w.fail(err)
	}
	return nil
}

// grow makes buf at least n bytes long; n is at most limit.
func (w *EncryptWriter) grow(n int) {
	fresh := w.buf == nil
	w.buf = grown(w.buf, n, w.limit)
	if fresh {
		copy(w.buf, w.enc.front())
	}
}
