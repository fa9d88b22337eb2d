package stream

import (
	"context"
	"fmt"
	"io"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/segment"
	"github.com/bulla-format/bulla/keywrap"
)

// A DecryptReader decrypts a stream from front to back. It is not safe for
// concurrent use. Every error is final: later calls return it again.
type DecryptReader struct {
	src    source
	info   *Info
	opener *segment.Opener
	index  int64  // of the next segment
	stored []byte // room for a stored segment
	buf    []byte // plaintext of a segment that did not fit into the caller's slice
	plain  []byte // what of it the caller has yet to receive
	err    error  // sticky, and returned once plain is empty
}

// NewDecryptReader reads a header from src and authenticates it, unwrapping
// the data key with keys under ctx. ctx has no bearing on what follows. src is
// read to its end, and no further than Read has come. For a detached header
// src is the payload object.
func NewDecryptReader(ctx context.Context, src io.Reader, keys keywrap.Unwrapper, o *DecryptOptions) (*DecryptReader, error) {
	if o == nil {
		o = &DecryptOptions{}
	}
	info, opener, err := openHeader(ctx, src, keys, o)
	if err != nil {
		return nil, err
	}
	return &DecryptReader{src: newSource(src), info: info, opener: opener}, nil
}

// Info returns what the authenticated header says.
func (r *DecryptReader) Info() Info { return *r.info }

// Read reads plaintext, every byte of it authenticated. io.EOF follows only
// upon the whole, authenticated stream. When p has room for a whole segment,
// it is opened into p; a segment that is not authentic leaves no plaintext
// there.
func (r *DecryptReader) Read(p []byte) (int, error) {
	for {
		if len(r.plain) > 0 {
			n := copy(p, r.plain)
			r.plain = r.plain[n:]
			return n, nil
		}
		if r.err != nil || len(p) == 0 {
			return 0, r.err
		}
		if len(p) >= r.info.SegmentSize {
			if n := len(r.next(p[:0])); n > 0 {
				return n, nil
			}
			continue // the final segment is empty, or an error is due
		}
		r.plain = r.next(r.buffer())
	}
}

// WriteTo writes the rest of the plaintext to dst, a segment at a time.
func (r *DecryptReader) WriteTo(dst io.Writer) (total int64, err error) {
	for {
		if len(r.plain) > 0 {
			n, err := dst.Write(r.plain)
			if err == nil && n != len(r.plain) {
				err = io.ErrShortWrite
			}
			total += int64(n)
			if err != nil {
				return total, r.fail(fmt.Errorf("stream: writing to the destination: %w", err))
			}
			r.plain = nil
		}
		if r.err == io.EOF {
			return total, nil
		}
		if r.err != nil {
			return total, r.err
		}
		r.plain = r.next(r.buffer())
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

func (r *DecryptReader) buffer() []byte {
	if r.buf == nil {
		r.buf = make([]byte, 0, r.info.SegmentSize)
	}
	return r.buf
}

// fail makes err the answer to every later call, and clears what is secret.
func (r *DecryptReader) fail(err error) error {
	r.err = err
	r.plain = nil
	r.opener.Close()
	return err
}

// next opens the next segment into dst's capacity. At the end of the stream,
// and on an error, it sets err; then the segment returned is the final one, or
// nil.
func (r *DecryptReader) next(dst []byte) []byte {
	if r.stored == nil {
		r.stored = make([]byte, r.info.SegmentSize+format.SegmentOverhead)
	}
	stored, err := r.src.next(r.stored)
	if err != nil && err != io.EOF {
		r.fail(err)
		return nil
	}
	final := err == io.EOF
	if err := r.checkSize(len(stored), final); err != nil {
		r.fail(err)
		return nil
	}
	plaintext, err := r.opener.Open(dst, stored, r.index, final)
	if err != nil {
		r.fail(segmentError(r.info, r.index))
		return nil
	}
	r.index++
	if final {
		r.err = io.EOF
		r.opener.Close()
	}
	return plaintext
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

func segmentError(info *Info, index int64) error {
	return &SegmentError{Index: index, Offset: index * int64(info.SegmentSize), Err: ErrAuth}
}
