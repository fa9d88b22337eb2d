package stream

import (
	"bytes"
	"errors"
	"fmt"
	"io"
)

// A source takes pieces of a given size from an io.Reader.
type source struct {
	r      io.Reader
	memory *bytes.Reader // r, if that is its type: its bytes need not be copied
	piece  borrow
}

func newSource(r io.Reader) source {
	memory, _ := r.(*bytes.Reader)
	return source{r: r, memory: memory}
}

// next returns the next len(buf) bytes, in buf or in the source's own memory,
// where they stay as they are until the following call. Fewer bytes come with
// an error only, with io.EOF at the source's regular end.
func (s *source) next(buf []byte) ([]byte, error) {
	if s.memory == nil {
		n, err := readFull(s.r, buf)
		return buf[:n], err
	}
	s.piece = borrow{limit: len(buf)}
	s.memory.WriteTo(&s.piece) // its only error is errBorrowed
	if len(s.piece.b) < len(buf) {
		return s.piece.b, io.EOF
	}
	return s.piece.b, nil
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
			return n, fmt.Errorf("stream: reading the source: %w", err)
		}
		if m > 0 {
			empty = 0
		} else if empty++; empty == maxEmptyReads {
			return n, fmt.Errorf("stream: reading the source: %w", io.ErrNoProgress)
		}
	}
	return n, nil
}
