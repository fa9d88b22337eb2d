package s3download

import (
	"errors"
	"fmt"
	"time"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

const (
	defaultCacheSize    = 4 << 20
	defaultWindowSize   = 8 << 20
	defaultConcurrency  = 4
	defaultRetries      = 3
	defaultStallTimeout = time.Minute
)

// Options say how to read an object. The zero value of each field is its
// default, and nil options are all defaults.
type Options struct {
	// Decrypt says which streams to accept. Where it has no Location, that is
	// "s3://bucket/key", with bucket and key as they stand in the
	// GetObjectInput.
	Decrypt *stream.DecryptOptions

	// HeaderSuffix is the suffix of the key of a header object, where a header
	// stands in one beside its payload. If it is set, such headers are
	// expected, and asked for at the same time as the payload; by default one
	// with the suffix s3upload.DefaultHeaderSuffix is asked for when the
	// payload's first bytes show that it is needed.
	HeaderSuffix string

	// Prefetch is the plaintext range that is asked for together with the
	// header, so that reading it needs no further request. It is cut off at
	// CacheSize. The default is the first segment; an empty range that begins
	// elsewhere asks for the header alone.
	Prefetch Range

	// CacheSize bounds the plaintext that is kept for later reads and what
	// ReadAt reads ahead, together, in bytes. One segment is always kept. The
	// default is 4 MiB.
	CacheSize int64

	// WindowSize bounds how much plaintext, in bytes, one request is for when
	// an object is read in order: by Read, which begins with less, by WriteTo
	// and by DownloadTo. It is rounded to whole segments, and one at least.
	// The default is 8 MiB.
	WindowSize int64

	// Concurrency is how many windows WriteTo and DownloadTo fetch at the same
	// time. The default is 4.
	Concurrency int

	// Retries is how often a request that failed in a way that may pass is
	// made again. It counts from zero for each segment, and comes on top of
	// the retries of the SDK, which end where a body begins. The default is 3;
	// a negative number means none.
	Retries int

	// StallTimeout is how long to wait for an answer, the SDK's own retries
	// included, and for each further byte of a body, there up to twice as
	// long; then the request has failed, and is made again as Retries allow,
	// before the error is [ErrStalled]. The default is one minute.
	StallTimeout time.Duration
}

// A Range is the Length bytes from Offset on.
type Range struct {
	Offset, Length int64
}

// withDefaults returns a copy of o in which every field has its value.
func (o *Options) withDefaults() (Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	if c.CacheSize < 0 || c.WindowSize < 0 || c.Concurrency < 0 || c.StallTimeout < 0 {
		return c, errors.New("s3download: CacheSize, WindowSize, Concurrency and StallTimeout cannot be negative")
	}
	if c.Decrypt == nil {
		c.Decrypt = &stream.DecryptOptions{}
	}
	setDefault(&c.CacheSize, defaultCacheSize)
	setDefault(&c.WindowSize, defaultWindowSize)
	setDefault(&c.Concurrency, defaultConcurrency)
	setDefault(&c.Retries, defaultRetries)
	setDefault(&c.StallTimeout, defaultStallTimeout)
	return c, nil
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// guess returns where in the object the header and the wanted range are if the
// header has the default size and the segments have theirs. The range begins
// early enough for a header in the metadata too. A header beside is expected
// only if HeaderSuffix says so. One that is given leaves nothing to guess: what
// it says is yet to be authenticated, and only tells which bytes to ask for.
func (o *Options) guess() (header, wanted extent, err error) {
	start, early := int64(format.DefaultHeaderSize), int64(format.DefaultHeaderSize-format.PreludeSize)
	if o.HeaderSuffix != "" {
		start, early = format.PreludeSize, 0
	}
	layout, err := format.NewLayout(start, format.DefaultSegmentExp)
	if err != nil {
		return header, wanted, err
	}
	if info, err := stream.Inspect(o.Decrypt.DetachedHeader); err == nil && info.Detached {
		layout, early = info.Layout, 0
	}
	length := o.Prefetch.Length
	if o.Prefetch == (Range{}) {
		length = int64(layout.SegmentSize())
	}
	first, end, err := layout.SegmentRange(o.Prefetch.Offset, min(length, o.CacheSize))
	if err != nil {
		return header, wanted, fmt.Errorf("s3download: Options.Prefetch: %w", err)
	}
	header.end = format.DefaultHeaderSize
	wanted.start, wanted.end = layout.StoredRange(first, end, layout.MaxPlaintextSize())
	if wanted.start < wanted.end {
		wanted.start -= early
	}
	return header, wanted, nil
}
