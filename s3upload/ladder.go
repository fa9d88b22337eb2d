package s3upload

import (
	"fmt"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// A ladder is how large the parts of an upload are, counted in buffers. With a
// known size they are equal. With an unknown one each is as large as all before
// it, and one first part, together, up to a quarter of the memory: a pipe that
// soon ends has sent something before, and one that does not has nearly all of
// 10,000 parts of the largest size left.
type ladder struct {
	geometry
	first, most int64
	total       int64 // buffers of the object, 0 if that is not known
	parts       int64 // how many there may be
}

// rungs is by what the largest part is divided for the first: 2^6, so that the
// seventh part is the largest, and 10,000 parts of up to 5 GiB are 48.8 TiB.
const rungs = 64

// newLadder plans the parts of an upload of a plaintext of the given size, or
// format.UnknownSize. requested is Options.PartSize.
func newLadder(g geometry, plaintext, requested, memory, parts int64) (*ladder, error) {
	l := &ladder{geometry: g, parts: parts}
	whole := func(bytes int64) int64 { return min(max(bytes/g.plaintext(), g.minBuffers()), g.maxBuffers()) }
	switch {
	case requested != 0 && (requested < minPartSize || requested > maxPartSize):
		return nil, invalid("Options.PartSize is %d, S3 takes parts of %d to %d bytes", requested, minPartSize, maxPartSize)
	case requested != 0:
		l.first = whole(requested)
	case plaintext == format.UnknownSize:
		l.most = whole(memory / 4)
		l.first = min(max(whole(defaultPartSize), l.most/rungs), whole(memory*7/16)) // two of them are held at least
	default:
		l.first = whole(defaultPartSize)
	}
	if plaintext != format.UnknownSize {
		l.total = g.buffers(plaintext)
		least := (l.total + parts - 1) / parts
		if least > g.maxBuffers() {
			return nil, fmt.Errorf("s3upload: %w: %d plaintext bytes do not fit into %d parts of %d bytes", stream.ErrTooLarge, plaintext, parts, maxPartSize)
		}
		l.first = max(l.first, least)
	}
	l.most = max(l.most, l.first)
	return l, nil
}

// buffersOf returns how many buffers part n has, from 1, when the parts before it
// have sent.
func (l *ladder) buffersOf(n int32, sent int64) int64 {
	size := l.first
	for range n - 1 {
		if size = min(2*size, l.most); size == l.most {
			break
		}
	}
	if left := l.parts - int64(n) + 1; l.total > 0 && left > 0 {
		size = max(size, (l.total-sent+left-1)/left)
	}
	return size
}
