package s3upload

import (
	"errors"
	"io"

	"github.com/bulla-format/bulla/format"
)

// A part is one of a multipart upload that is sent without the SDK's uploader,
// or a whole object. It holds whole segments, sealed, in buffers of a Budget,
// until the store has acknowledged them.
type part struct {
	number  int32    // from 1
	front   []byte   // what stands in front of segment 0, in part 1
	pieces  [][]byte // stored segments, as much of each buffer as is used
	buffers [][]byte
	memory  int64 // bytes of the budget that go with it, 0 if it stands in the upload's reserve
	final   bool  // it holds the final segment
}

// body returns a reader of the part's stored bytes for one request.
func (p *part) body() *partBody {
	b := &partBody{pieces: p.pieces}
	if len(p.front) > 0 {
		b.pieces = append([][]byte{p.front}, p.pieces...)
	}
	for _, piece := range b.pieces {
		b.size += int64(len(piece))
	}
	return b
}

// A partBody reads pieces as one.
type partBody struct {
	pieces    [][]byte
	size, off int64
	piece, at int // where off is
}

func (b *partBody) Read(p []byte) (int, error) {
	if b.off == b.size {
		return 0, io.EOF
	}
	n := copy(p, b.pieces[b.piece][b.at:])
	b.off += int64(n)
	b.at += n
	for b.piece < len(b.pieces) && b.at == len(b.pieces[b.piece]) {
		b.piece, b.at = b.piece+1, 0
	}
	return n, nil
}

func (b *partBody) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += b.off
	case io.SeekEnd:
		offset += b.size
	}
	if offset < 0 || offset > b.size {
		return 0, errors.New("seeking to outside of a part")
	}
	b.off, b.piece = offset, 0
	for b.piece < len(b.pieces) && offset >= int64(len(b.pieces[b.piece])) {
		offset -= int64(len(b.pieces[b.piece]))
		b.piece++
	}
	b.at = int(offset)
	return b.off, nil
}

// bufferPlaintext is how many bytes of plaintext a buffer holds, sealed; the
// size of a segment if that is larger.
const bufferPlaintext = 1 << 20

// A geometry is how segments stand in buffers and buffers in parts.
type geometry struct {
	layout    format.Layout
	perBuffer int // segments
}

func newGeometry(l format.Layout) geometry {
	return geometry{l, max(1, bufferPlaintext/l.SegmentSize())}
}

// plaintext returns the plaintext bytes of a buffer.
func (g geometry) plaintext() int64 { return int64(g.perBuffer) * int64(g.layout.SegmentSize()) }

// bufferSize returns the stored bytes of a buffer.
func (g geometry) bufferSize() int64 {
	return int64(g.perBuffer) * int64(g.layout.StoredSegmentSize())
}

// buffers returns how many buffers hold the segments of n plaintext bytes, the
// final segment, which may be empty, among them.
func (g geometry) buffers(n int64) int64 { return n/g.plaintext() + 1 }

// minBuffers and maxBuffers return between how many buffers S3 takes as a part.
func (g geometry) minBuffers() int64 {
	return (minPartSize + g.bufferSize() - 1) / g.bufferSize()
}

func (g geometry) maxBuffers() int64 {
	return (maxPartSize - g.layout.Start()) / g.bufferSize()
}
