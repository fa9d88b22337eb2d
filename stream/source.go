package stream

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/bulla-format/bulla/format"
)

// A source takes pieces of a given size from an io.Reader, without a copy from
// one that has them in memory.
type source struct {
	r     io.Reader
	piece borrow
}

// next returns the next len(room) bytes, in room or where lend found them.
// Fewer bytes come with an error only, with io.EOF at the source's regular end.
func (s *source) next(room []byte) ([]byte, error) {
	if piece, ok, err := s.lend(len(room)); ok {
		return piece, err
	}
	n, err := readFull(s.r, room)
	return room[:n], err
}

// firstRoom is how much room for a segment there is at first when nothing is
// known of its size.
const firstRoom = 4 << 10

// nextIn is next for n bytes with room in *buf, which grows as they come, from
// a first guess on: nothing large is allocated for a small stream. In *buf
// there is space for a nonce before them and for a tag behind.
func (s *source) nextIn(buf *[]byte, n, guess int) ([]byte, error) {
	if piece, ok, err := s.lend(n); ok {
		return piece, err
	}
	*buf = grown(*buf, min(n, guess)+format.SegmentOverhead, n+format.SegmentOverhead)
	for have := 0; ; {
		end := min(n, len(*buf)-format.SegmentOverhead)
		room := (*buf)[format.NonceSize:][:end]
		m, err := readFull(s.r, room[have:])
		if have += m; err != nil || have == n {
			return room[:have], err
		}
		*buf = grown(*buf, len(*buf)+1, n+format.SegmentOverhead)
	}
}

// lend returns the next n bytes in the source's own memory, where they stay as
// they are until the following call; not ok if it cannot lend them.
func (s *source) lend(n int) (piece []byte, ok bool, err error) {
	switch r := s.r.(type) {
	case *bytes.Reader:
		s.piece = borrow{limit: n}
		r.WriteTo(&s.piece) // its only error is errBorrowed
		if piece = s.piece.b; len(piece) < n {
			err = io.EOF
		}
		return piece, true, err
	case *bufio.Reader:
		if r.Size() < n {
			return nil, false, nil
		}
		piece, err = r.Peek(n)
		r.Discard(len(piece))
		return piece, true, sourceError(err)
	}
	return nil, false, nil
}

// lendLasting makes s lend only what stays as it is for good, for a reader
// that takes pieces before it is done with those before them.
func (s *source) lendLasting() {
	if _, ok := s.r.(*bytes.Reader); !ok {
		s.r = struct{ io.Reader }{s.r}
	}
}

// A borrow is an io.Writer that takes up to limit bytes and keeps the slice
// that it was given: for a bytes.Reader, part of its own memory, behind which
// it stands afterwards.
type borrow struct {
	b     []byte
	limit int
}

var errBorrowed = errors.New("borrowed")

func (w *borrow) Write(p []byte) (int, error) {
	w.b = p[:min(len(p), w.limit)]
	return len(w.b), errBorrowed
}

// memoryOf returns all the bytes of a bytes.Reader, nil for other sources.
func memoryOf(src io.ReaderAt) []byte {
	r, ok := src.(*bytes.Reader)
	if !ok {
		return nil
	}
	whole := *r // whose position is moved instead of r's
	whole.Seek(0, io.SeekStart)
	b := borrow{limit: math.MaxInt}
	whole.WriteTo(&b)
	return b.b
}

// maxEmptyReads is how many reads of nothing, without an error, a source may
// answer in a row; the standard library's packages have the same bound.
const maxEmptyReads = 100

// readFull reads until buf is full. It tells a source's regular end (io.EOF,
// whether or not anything came before) from its errors, so that a source's own
// io.ErrUnexpectedEOF stays what it is; err is nil only when buf is full.
func readFull(src io.Reader, buf []byte) (n int, err error) {
	empty := 0
	for n < len(buf) {
		m, err := src.Read(buf[n:])
		if m < 0 || m > len(buf)-n {
			return n, errors.New("stream: the source returned an impossible count")
		}
		n += m
		if err == io.EOF {
			if n == len(buf) {
				return n, nil
			}
			return n, io.EOF
		}
		if err != nil {
			return n, sourceError(err)
		}
		if m > 0 {
			empty = 0
		} else if empty++; empty == maxEmptyReads {
			return n, sourceError(io.ErrNoProgress)
		}
	}
	return n, nil
}

func sourceError(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return fmt.Errorf("stream: reading the source: %w", err)
}

// spare returns memory of a destination in which may be prepared what is then
// written to it, so that it need not be copied there; most have none.
func spare(dst io.Writer) []byte {
	var room []byte
	switch d := dst.(type) {
	case *bytes.Buffer:
		room = d.AvailableBuffer()
	case *bufio.Writer:
		room = d.AvailableBuffer()
	}
	return room[:cap(room)]
}

// writeAll writes b to a destination.
func writeAll(dst io.Writer, b []byte) (int, error) {
	n, err := dst.Write(b)
	if err == nil && n != len(b) {
		err = io.ErrShortWrite
	}
	if err != nil {
		err = fmt.Errorf("stream: writing to the destination: %w", err)
	}
	return n, err
}
