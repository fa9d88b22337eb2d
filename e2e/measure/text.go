package measure

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
)

// Text is a file of Size bytes that reads like a log: lines of words, 256 bytes each, every line different. Its content
// follows from Seed alone, is computed while it is read, at several GB/s, and can be read from any offset, so that a
// test can check the bytes it gets back without keeping them. Concurrent use is safe.
type Text struct {
	Size int64
	Seed uint64
}

const (
	lineSize   = 256
	numberSize = 16 // hexadecimal digits of the line's number, at its front
	poolSize   = 64 << 10
)

// ReadAt implements [io.ReaderAt].
func (t Text) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("measure: ReadAt before the beginning")
	}
	if off >= t.Size {
		return 0, io.EOF
	}
	var err error
	if int64(len(p)) > t.Size-off {
		p, err = p[:t.Size-off], io.EOF
	}
	var line [lineSize]byte
	for n := 0; n < len(p); {
		number, skip := (off+int64(n))/lineSize, int((off+int64(n))%lineSize)
		if skip == 0 && len(p)-n >= lineSize {
			t.line((*[lineSize]byte)(p[n:]), uint64(number))
			n += lineSize
			continue
		}
		t.line(&line, uint64(number))
		n += copy(p[n:], line[skip:])
	}
	return len(p), err
}

// Reader returns a reader of the whole text, which can seek.
func (t Text) Reader() *io.SectionReader { return io.NewSectionReader(t, 0, t.Size) }

// line writes line number i: its number, then a piece of the pool at a place that depends on seed and number.
func (t Text) line(p *[lineSize]byte, i uint64) {
	var number [numberSize / 2]byte
	binary.BigEndian.PutUint64(number[:], i)
	hex.Encode(p[:numberSize], number[:])
	p[numberSize] = ' '
	at := mix(t.Seed^mix(i)) % (poolSize - lineSize)
	copy(p[numberSize+1:lineSize-1], pool()[at:])
	p[lineSize-1] = '\n'
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// pool is poolSize bytes of words.
var pool = sync.OnceValue(func() []byte {
	words := []string{
		"the", "river", "carries", "seven", "small", "boats", "past", "an", "old", "stone", "bridge", "and", "nobody",
		"counts", "them", "before", "morning", "when", "market", "opens", "its", "doors", "with", "bread", "salt",
		"lamps", "letters", "from", "far", "away", "are", "read", "aloud", "twice", "then", "kept", "under", "glass",
	}
	var b bytes.Buffer
	for i := uint64(0); b.Len() < poolSize; i++ {
		b.WriteString(words[mix(i)%uint64(len(words))])
		b.WriteByte(' ')
	}
	return b.Bytes()[:poolSize]
})

// DiffError reports the first byte that is not the text's.
type DiffError struct {
	Offset int64 // in the text
}

func (e *DiffError) Error() string {
	return fmt.Sprintf("measure: not the expected text at offset %d", e.Offset)
}

// Checker is an [io.Writer] that compares what is written to it with a [Text]. It never stops by itself at the end of
// the text: compare [Checker.Offset] with the size that was expected.
type Checker struct {
	text Text
	off  int64
	buf  []byte
	err  error
}

// CheckFrom returns a Checker whose first byte is to be the one at offset off.
func (t Text) CheckFrom(off int64) *Checker {
	return &Checker{text: t, off: off, buf: make([]byte, 64<<10)}
}

// Offset is the offset in the text of the next byte: everything before it, from where the Checker began, was right.
func (c *Checker) Offset() int64 { return c.off }

// Write fails with a *[DiffError] at the first byte that differs or lies past the end of the text, and ever after.
func (c *Checker) Write(p []byte) (n int, err error) {
	for n < len(p) && c.err == nil {
		piece := p[n:min(n+len(c.buf), len(p))]
		want := c.buf[:len(piece)]
		got, err := c.text.ReadAt(want, c.off)
		if err != nil && !errors.Is(err, io.EOF) {
			return n, err
		}
		same := got
		if !bytes.Equal(piece[:got], want[:got]) {
			for same = 0; piece[same] == want[same]; same++ {
			}
		}
		n += same
		c.off += int64(same)
		if same < len(piece) {
			c.err = &DiffError{Offset: c.off}
		}
	}
	return n, c.err
}
