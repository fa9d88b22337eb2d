package s3upload

import (
	"fmt"
	"io"
	"math"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// What S3 allows of a multipart upload, sizes in bytes.
const (
	maxParts    = 10_000
	minPartSize = 5 << 20
	maxPartSize = int64(5 << 30)
)

// Part sizes where the caller names none.
const (
	partUnit        = 1 << 20
	defaultPartSize = 8 << 20  // of a known size that fits
	unknownPartSize = 16 << 20 // of an unknown size: 10,000 parts are 156 GiB
)

// planParts returns the size of the parts of an object of the given stored
// size, which is format.UnknownSize if it is not known yet. requested is
// Options.PartSize.
func planParts(stored, requested int64) (int64, error) {
	if stored > maxParts*maxPartSize {
		return 0, fmt.Errorf("s3upload: %w: %d stored bytes, an object in S3 has at most %d", stream.ErrTooLarge, stored, maxParts*maxPartSize)
	}
	least := max(minPartSize, (stored+maxParts-1)/maxParts)
	least = (least + partUnit - 1) / partUnit * partUnit
	size := requested
	switch {
	case requested == 0 && stored == format.UnknownSize:
		size = unknownPartSize
	case requested == 0:
		size = max(least, defaultPartSize)
	case requested < minPartSize || requested > maxPartSize:
		return 0, invalid("Options.PartSize is %d, S3 takes parts of %d to %d bytes", requested, minPartSize, maxPartSize)
	case stored > requested*maxParts:
		return 0, fmt.Errorf("s3upload: %w: %d stored bytes do not fit into %d parts of %d: set Options.PartSize to 0 or at least %d",
			stream.ErrTooLarge, stored, maxParts, requested, least)
	}
	if size > math.MaxInt {
		return 0, fmt.Errorf("s3upload: %w: parts of %d bytes are beyond this machine's address space", stream.ErrTooLarge, size)
	}
	return size, nil
}

// plaintextSize returns the size of the plaintext, of which body is the
// source: the one that a seekable body, ContentLength and declared (the
// option) agree on; nil if none of them tells. A seekable body is left where
// it stood.
func plaintextSize(body io.Reader, in *s3.PutObjectInput, declared *int64) (*int64, error) {
	seekable, err := remaining(body)
	if err != nil {
		return nil, err
	}
	var size *int64
	var name string
	for _, s := range []struct {
		name string
		size *int64
	}{
		{"the bytes that Body has left", seekable},
		{"ContentLength", in.ContentLength},
		{"Options.Encrypt.PlaintextSize", declared},
	} {
		switch {
		case s.size == nil:
		case *s.size < 0:
			return nil, invalid("%s is negative", s.name)
		case size == nil:
			size, name = s.size, s.name
		case *size != *s.size:
			return nil, fmt.Errorf("s3upload: %w: %s: %d, %s: %d", stream.ErrSizeMismatch, name, *size, s.name, *s.size)
		}
	}
	return size, nil
}

// remaining returns how many bytes body has from where it stands, or nil if it
// cannot seek, as a pipe that is an *os.File cannot.
func remaining(body io.Reader) (*int64, error) {
	seeker, ok := body.(io.Seeker)
	if !ok {
		return nil, nil
	}
	start, err := seeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, nil
	}
	end, err := seeker.Seek(0, io.SeekEnd)
	if err != nil {
		end = -1
	}
	if _, err := seeker.Seek(start, io.SeekStart); err != nil {
		return nil, fmt.Errorf("s3upload: seeking Body back to where it stood: %w", err)
	}
	if end < 0 {
		return nil, nil
	}
	return new(max(0, end-start)), nil
}
