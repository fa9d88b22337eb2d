package s3upload

import (
	"context"
	"fmt"
	"hash"
	"io"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// least returns the bytes of the budget that are the upload's from its beginning
// to its end, so that it gets on whatever others hold: for a part, and for part
// 1 where that goes last.
func (s *sender) least() int64 {
	parts := int64(1)
	if s.headerLast() {
		parts = 2
	}
	return parts * s.reserve * s.ladder.bufferSize()
}

// room returns an empty part n, and how many buffers it may have: as many as are
// wanted, or those of the reserve if the rest of the memory is others'.
func (s *sender) room(ctx context.Context, n int32, want int64) (*part, int64, error) {
	p := &part{number: n}
	if n == 1 {
		p.front = s.front()
		if s.headerLast() {
			return p, want, nil // in memory that is the upload's
		}
	}
	for {
		if memory := want * s.ladder.bufferSize(); s.budget.tryAcquire(memory) {
			p.memory = memory
			s.mu.Lock()
			s.memory += memory
			s.mu.Unlock()
			return p, want, nil
		}
		s.mu.Lock()
		alone := s.inFlight == 0
		s.mu.Unlock()
		if alone {
			return p, min(want, s.reserve), nil
		}
		select {
		case <-s.freed:
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		}
	}
}

// drop gives the memory of a part back.
func (s *sender) drop(p *part) {
	s.budget.recycle(p.buffers)
	s.mu.Lock()
	s.memory -= p.memory
	s.mu.Unlock()
	s.budget.release(p.memory)
}

// fill reads plaintext into at most so many buffers of p, and seals it there.
// The record of it is for the journal, if there is one.
func (s *sender) fill(ctx context.Context, p *part, buffers int64) (record, error) {
	l := s.ladder.layout
	start, stored := s.count, int64(len(p.front))
	var mac hash.Hash // for the journal
	if s.journal != nil {
		var err error
		if mac, err = s.sealer.SourceMAC(); err != nil {
			return record{}, err
		}
	}
	for int64(len(p.buffers)) < buffers && !p.final {
		if err := ctx.Err(); err != nil {
			return record{}, err
		}
		buf := s.budget.buffer(int(s.ladder.bufferSize()))
		p.buffers = append(p.buffers, buf)
		used := 0
		for range s.ladder.perBuffer {
			plaintext := buf[used+format.NonceSize:][:l.SegmentSize()]
			n, err := s.read(plaintext)
			if plaintext = plaintext[:n]; err != nil && err != io.EOF {
				clear(plaintext)
				return record{}, err
			}
			if mac != nil {
				mac.Write(plaintext)
			}
			p.final = n < l.SegmentSize()
			used = len(s.sealer.SealSegment(buf[:used], plaintext, s.index, p.final))
			s.index++
			if p.final {
				break
			}
		}
		p.pieces = append(p.pieces, buf[:used])
		stored += int64(used)
	}
	s.taken += int64(len(p.buffers))
	s.produced(stored, p.final)
	r := record{Part: p.number, Size: s.count - start, Final: p.final}
	if mac != nil {
		r.MAC = mac.Sum(nil)
	}
	return r, nil
}

// read fills p from the source, up to its end, which is io.EOF and must be where
// it was declared.
func (s *sender) read(p []byte) (n int, err error) {
	for idle := 0; n < len(p) && err == nil; {
		var m int
		m, err = s.src.Read(p[n:])
		n += m
		if idle++; m > 0 {
			idle = 0
		} else if idle == maxIdleReads && err == nil {
			err = io.ErrNoProgress
		}
	}
	s.count += int64(n)
	switch {
	case err != nil && err != io.EOF || s.declared == format.UnknownSize:
	case s.count > s.declared:
		err = fmt.Errorf("%w: the plaintext has more than the declared %d bytes", stream.ErrSizeMismatch, s.declared)
	case n < len(p) && s.count < s.declared:
		err = fmt.Errorf("%w: the plaintext ended after %d of the declared %d bytes", stream.ErrSizeMismatch, s.count, s.declared)
	}
	return n, err
}

// maxIdleReads is how often a source may give neither bytes nor an error.
const maxIdleReads = 100

// produced counts stored bytes, the final ones if so.
func (s *sender) produced(n int64, final bool) {
	t := s.t
	t.mu.Lock()
	defer t.mu.Unlock()
	t.produced += n
	t.ended = final
	if final && t.total == format.UnknownSize {
		t.total = t.produced
		t.report()
	}
}
