package stream

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
)

// batchSize is how many stored bytes are gathered for one Write to the
// destination when segments are smaller.
const batchSize = 64 << 10

// An EncryptWriter encrypts what is written to it. It is not safe for
// concurrent use. Every error is final: later calls return it again.
type EncryptWriter struct {
	dst io.Writer
	enc *encryption
	err error // sticky; nil while open

	// buf holds stored bytes that are not yet written, buf[:ready], then room
	// for a nonce, then the first partial bytes of a segment's plaintext,
	// which is sealed where it stands. It grows up to limit. Between calls
	// there is always room for another whole segment within limit.
	buf     []byte
	ready   int
	partial int
	limit   int
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
	front := enc.front()
	w := &EncryptWriter{dst: dst, enc: enc, limit: max(len(front)+enc.layout.StoredSegmentSize(), batchSize)}
	w.grow(len(front) + format.SegmentOverhead)
	w.ready = copy(w.buf, front)
	return w, nil
}

// Header returns a copy of the encoded header.
func (w *EncryptWriter) Header() []byte { return bytes.Clone(w.enc.header) }

// Write encrypts p, which it does not retain. A segment goes to dst once its
// plaintext is complete; whole segments are sealed straight from p.
func (w *EncryptWriter) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	if err := w.enc.take(len(p)); err != nil {
		return 0, w.fail(err)
	}
	size := w.enc.layout.SegmentSize()
	for rest := p; len(rest) > 0; {
		n := min(len(rest), size-w.partial)
		if n == size {
			w.grow(w.ready + size + format.SegmentOverhead)
			w.ready = len(w.enc.seal(w.buf[:w.ready], rest[:n], false))
		} else {
			copy(w.room(n), rest)
			w.partial += n
		}
		rest = rest[n:]
		if err := w.advance(); err != nil {
			return len(p) - len(rest), err
		}
	}
	return len(p), nil
}

// ReadFrom encrypts src up to its io.EOF and returns how many bytes it took.
// An error of src fails the stream for good, so that a deferred Close cannot
// pass off half a source as a whole one.
func (w *EncryptWriter) ReadFrom(src io.Reader) (int64, error) {
	if w.err != nil {
		return 0, w.err
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
	w.sealPartial(true)
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
	clear(w.buf)
	w.buf = nil
	w.enc.sealer.Close()
	return err
}

// room returns where the next n bytes of the partial segment go.
func (w *EncryptWriter) room(n int) []byte {
	w.grow(w.ready + w.partial + n + format.SegmentOverhead)
	start := w.ready + format.NonceSize + w.partial
	return w.buf[start : start+n]
}

// advance seals the partial segment if it is full, and writes out what is
// ready if there would be no room for another segment.
func (w *EncryptWriter) advance() error {
	if w.partial == w.enc.layout.SegmentSize() {
		w.sealPartial(false)
	}
	if w.partial == 0 && w.ready+w.enc.layout.StoredSegmentSize() > w.limit {
		return w.flush()
	}
	return nil
}

func (w *EncryptWriter) sealPartial(final bool) {
	w.room(0)
	start := w.ready + format.NonceSize
	w.ready = len(w.enc.seal(w.buf[:w.ready], w.buf[start:start+w.partial], final))
	w.partial = 0
}

func (w *EncryptWriter) flush() error {
	n, err := w.dst.Write(w.buf[:w.ready])
	if err == nil && n != w.ready {
		err = io.ErrShortWrite
	}
	if err != nil {
		return w.fail(fmt.Errorf("stream: writing to the destination: %w", err))
	}
	w.ready = 0
	return nil
}

// grow makes buf at least n bytes long; n is at most limit.
func (w *EncryptWriter) grow(n int) {
	if n <= len(w.buf) {
		return
	}
	buf := make([]byte, min(w.limit, max(n, 2*len(w.buf))))
	copy(buf, w.buf)
	clear(w.buf)
	w.buf = buf
}
