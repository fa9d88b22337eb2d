package stream

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"hash"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/segment"
	"github.com/bulla-format/bulla/keywrap"
)

// A Sealer seals the segments of one stream one by one, in any order, and again
// where that is needed. It is for those who put the payload together themselves,
// such as an upload that goes on after a crash; [EncryptWriter] and
// [EncryptReader] are for everyone else.
//
// The caller answers for what a stream is: each segment is sealed from the
// plaintext of its index, all of them have SegmentSize bytes but the final one,
// which has fewer, possibly none, and stored they stand behind the header, or
// behind its prelude when it is detached, in order. A stream that is put
// together wrongly is refused by readers; nothing of it becomes readable for
// others.
//
// A Sealer is safe for concurrent use, but for Close.
type Sealer struct {
	header format.Header
	layout format.Layout
	keys   segment.Keys
	sealer *segment.Sealer
}

// NewSealer obtains a data key from keys, under ctx, for a new stream. Workers
// of the options has no meaning here. The errors are those of
// [NewEncryptWriter].
func NewSealer(ctx context.Context, keys keywrap.Wrapper, o *EncryptOptions) (*Sealer, error) {
	s := new(Sealer)
	h, _, err := newHeader(ctx, keys, o, &s.keys)
	if err == nil {
		err = s.open(h)
	}
	if err != nil {
		s.keys.Close()
		return nil, err
	}
	return s, nil
}

// OpenSealer returns a Sealer of a stream that another one has begun, from one
// of its headers. keys unwraps the data key, under ctx; associatedData is that
// of the stream. The errors are those of [NewDecryptReader].
func OpenSealer(ctx context.Context, header []byte, keys keywrap.Unwrapper, associatedData []byte) (*Sealer, error) {
	b, err := wholeHeader(header)
	if err != nil {
		return nil, err
	}
	h, err := format.ParseHeader(b)
	if err != nil {
		return nil, err
	}
	d := DecryptOptions{AssociatedData: associatedData}
	if err := d.checkAssociatedData(&h.Prelude); err != nil {
		return nil, err
	}
	s := new(Sealer)
	dataKey, err := openKeys(ctx, h, b, keys, newInfo(h).Context, associatedData, &s.keys)
	clear(dataKey)
	if err == nil {
		err = s.open(h)
	}
	if err != nil {
		s.keys.Close()
		return nil, err
	}
	return s, nil
}

func (s *Sealer) open(h *format.Header) (err error) {
	s.header, s.layout = *h, h.Layout()
	s.sealer, err = segment.NewSealer(&s.keys)
	return err
}

// Header returns the encoded header of the stream when its plaintext has the
// given size, or format.UnknownSize. All headers of a Sealer have the same
// number of bytes. A size that is not the one that was declared is
// [ErrSizeMismatch]; one that no stream can have is [ErrTooLarge].
func (s *Sealer) Header(plaintextSize int64) ([]byte, error) {
	h := s.header
	if h.PlaintextSize != format.UnknownSize && plaintextSize != h.PlaintextSize {
		return nil, fmt.Errorf("%w: %d plaintext bytes, declared are %d", ErrSizeMismatch, plaintextSize, h.PlaintextSize)
	}
	if plaintextSize != format.UnknownSize && (plaintextSize < 0 || plaintextSize > s.layout.MaxPlaintextSize()) {
		return nil, fmt.Errorf("%w: %d plaintext bytes, a stream has 0 to %d", ErrTooLarge, plaintextSize, s.layout.MaxPlaintextSize())
	}
	h.PlaintextSize = plaintextSize
	return appendHeader(&h, &s.keys)
}

// Layout returns the layout of the stream's payload.
func (s *Sealer) Layout() format.Layout { return s.layout }

// SealSegment appends the stored segment of the given index to dst: 28 bytes
// more than plaintext, for which dst's capacity must have room. plaintext stands
// apart from that room or exactly where its ciphertext will, 12 bytes behind
// dst's length. Sealing an index again is safe: each call draws a nonce of its
// own. A size, an index or a room that cannot be right is a mistake of the
// program, and panics.
func (s *Sealer) SealSegment(dst, plaintext []byte, index int64, final bool) []byte {
	size := s.layout.SegmentSize()
	if len(plaintext) > size || final == (len(plaintext) == size) || index < 0 || index > s.layout.FinalSegment(s.layout.MaxPlaintextSize()) {
		panic(fmt.Sprintf("stream: sealing %d bytes as segment %d of %d, final: %v", len(plaintext), index, size, final))
	}
	if cap(dst)-len(dst) < len(plaintext)+format.SegmentOverhead {
		panic(fmt.Sprintf("stream: no room for a segment of %d bytes", len(plaintext)))
	}
	return s.sealer.Seal(dst, plaintext, index, final)
}

// SourceMAC returns an HMAC-SHA-256 under a key of the stream that nothing else
// uses (SPEC §4.1): for telling later whether a source still has the same
// plaintext, by a sum that tells nothing to those without the data key.
func (s *Sealer) SourceMAC() (hash.Hash, error) {
	key, err := s.keys.SourceKey()
	defer clear(key[:])
	if err != nil {
		return nil, err
	}
	return hmac.New(sha256.New, key[:]), nil
}

// Close clears the keys. No other call but Close may follow or be under way.
func (s *Sealer) Close() {
	s.sealer.Close()
	s.keys.Close()
}
