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
}

// NewEncryptReader obtains a data key from keys, under ctx, and returns a
// reader of the stream whose plaintext is all that src has. ctx has no bearing
// on what follows. An error of src is returned by Read, and what was read up
// to it never decrypts to its end.
func NewEncryptReader(ctx context.Context, src io.Reader, keys keywrap.Wrapper, o *EncryptOptions) (*EncryptReader, error) {
	enc, err := newEncryption(ctx, keys, o)
	if err != nil {
		return nil, err
	}
	return &EncryptReader{src: newSource(src), enc: enc, pending: enc.front()}, nil
}

// Header returns a copy of the encoded header.
func (r *EncryptReader) Header() []byte { return bytes.Clone(r.enc.header) }

// PlaintextCount returns how many plaintext bytes were taken from the source
// so far: after io.EOF, the plaintext's size.
func (r *EncryptReader) PlaintextCount() int64 { return r.enc.count }

// Read reads the stream. When p has room for a whole stored segment, the
// plaintext is read into p and sealed there.
func (r *EncryptReader) Read(p []byte) (int, error) {
	if len(r.pending) > 0 {
		n := copy(p, r.pending)
		r.pending = r.pending[n:]
		return n, nil
	}
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	size := r.enc.layout.StoredSegmentSize()
	if len(p) >= size {
		return r.seal(p[:size])
	}
	if r.buf == nil {
		r.buf = make([]byte, size)
	}
	n, err := r.seal(r.buf)
	r.pending = r.buf[:n]
	if n == 0 {
		return 0, err
	}
	return r.Read(p)
}

// Close ends the reader and clears its keys; later calls of Read return
// [ErrClosed]. It is for readers that are given up before io.EOF; afterwards it
// changes nothing. It does not close the source, and always returns nil.
func (r *EncryptReader) Close() error {
	if r.err == nil {
		r.fail(ErrClosed)
		r.pending = nil
		clear(r.buf)
	}
	return nil
}

func (r *EncryptReader) fail(err error) {
	r.err = err
	r.enc.sealer.Close()
}

// seal reads a segment's plaintext into b, which has the size of a stored
// segment, and seals it there. On an error b is cleared.
func (r *EncryptReader) seal(b []byte) (int, error) {
	room := b[format.NonceSize : len(b)-format.TagSize]
	plaintext, err := r.src.next(room)
	final := err == io.EOF
	if final {
		err = nil
	}
	if err == nil {
		err = r.enc.take(len(plaintext))
	}
	if err == nil && final {
		err = r.enc.complete()
	}
	if err != nil {
		clear(room)
		r.fail(err)
		return 0, err
	}
	stored := r.enc.seal(b[:0], plaintext, final)
	if final {
		clear(b[len(stored):]) // a source may use all of its slice as scratch space
		r.fail(io.EOF)
	}
	return len(stored), nil
}
