package format

import (
	"bytes"
	"encoding/binary"
)

func appendSized16[T ~string | ~[]byte](dst []byte, v T) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(v)))
	return append(dst, v...)
}

// A reader consumes b from off on and keeps its first error. After an error it
// yields zeros, so that a parser checks once for several fields.
type reader struct {
	b    []byte
	off  int
	base int // what errors add to off
	err  error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *reader) bytes(n int, what string) []byte {
	if r.err == nil && n > len(r.b)-r.off {
		r.fail(malformed(r.base+r.off, "%s of %d bytes does not fit, %d are left", what, n, len(r.b)-r.off))
	}
	if r.err != nil {
		return nil
	}
	b := r.b[r.off : r.off+n : r.off+n]
	r.off += n
	return b
}

func (r *reader) uint16(what string) uint16 {
	if b := r.bytes(2, what); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32(what string) uint32 {
	if b := r.bytes(4, what); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *reader) uint64(what string) uint64 {
	if b := r.bytes(8, what); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (r *reader) sized16(what string) []byte { return r.bytes(int(r.uint16("size field")), what) }

func (r *reader) sized32(what string) []byte {
	n := r.uint32("size field")
	if r.err == nil && n > MaxHeaderSize { // int(n) may not fit where int has 32 bits
		r.fail(malformed(r.base+r.off, "%s of %d bytes", what, n))
	}
	return r.bytes(int(n), what)
}

// zeros tells whether the rest of b is zero bytes: whether the first is, and
// each is as the one before it, which compares a whole header's padding at
// once.
func (r *reader) zeros() {
	rest := r.b[r.off:]
	if r.err != nil || len(rest) == 0 || rest[0] == 0 && bytes.Equal(rest[1:], rest[:len(rest)-1]) {
		return
	}
	for i, c := range rest {
		if c != 0 {
			r.fail(malformed(r.base+r.off+i, "padding byte %#02x is not zero", c))
			return
		}
	}
}
