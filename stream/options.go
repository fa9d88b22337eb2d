package stream

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
)

// EncryptOptions say how to encrypt a stream. The zero value of each field is
// its default, and nil options are all defaults.
type EncryptOptions struct {
	// Suite is the AEAD; the default is format.AES256GCM.
	Suite format.Suite

	// SegmentSize is S, the plaintext bytes of a segment: a power of two from
	// 4 KiB to 16 MiB. The default is 64 KiB. Smaller segments make small
	// random reads cheaper, and cost 28 stored bytes each.
	SegmentSize int

	// Context stands in the header, public and authenticated, and is passed
	// to the key services. Readers can require pairs of it.
	Context keywrap.Context

	// Metadata stands in the header sealed: only readers of the stream see it.
	Metadata map[string]string

	// Location binds the stream to where it is stored, such as
	// "s3://bucket/key": readers elsewhere refuse it.
	Location string

	// AssociatedData is authenticated and not stored: a reader must be given
	// the same bytes. Empty is the same as none.
	AssociatedData []byte

	// PlaintextSize declares how many bytes the plaintext will have, in the
	// header too; the stream fails with [ErrSizeMismatch] if it has another
	// number. nil: not known yet.
	PlaintextSize *int64

	// ClassicalKeys are the names of wrapping keys that quantum computers
	// break and that the stream may be for nevertheless, beside a
	// post-quantum one. Without it such a mixture, which is as weak as its
	// weakest key, is refused with [ErrClassical].
	ClassicalKeys []string

	// CompactHeader leaves out the zero bytes that pad a header to 4096 bytes.
	// A stream with a compact header may grow when it is re-wrapped.
	CompactHeader bool

	// Detached leaves the header out of the output, which then begins with
	// the 76 bytes of the prelude. The caller stores what Header returns
	// elsewhere (SPEC §6).
	Detached bool

	// Workers is how many goroutines seal segments at a time, up to 1024; 0
	// and 1 mean none but the caller's own. More pay for slow suites and
	// CPUs, and from the second batch of 512 KiB on: before that, none is
	// started. An [EncryptReader] then reads its source ahead; source and
	// destination are used by the caller's goroutine only, and no other
	// outlives the work on its batch. Memory: 2*Workers batches, each as
	// large as a segment if that is larger.
	Workers int
}

// DecryptOptions say which streams to accept. The zero value of each field is
// its default, and nil options are all defaults.
type DecryptOptions struct {
	// AssociatedData is what the stream was encrypted with. A stream with
	// associated data is refused without it, and one without it is refused
	// with it.
	AssociatedData []byte

	// RequiredContext are pairs that the stream's context must have; it may
	// have more. Otherwise the error is [ErrContext].
	RequiredContext keywrap.Context

	// Suites are those to accept; none means all.
	Suites []format.Suite

	// Location is where the stream was found. A stream that is bound to a
	// location is accepted only there; one that is not, everywhere.
	Location string

	// IgnoreLocation accepts a stream wherever it is bound to.
	IgnoreLocation bool

	// MaxHeaderSize bounds the header, in bytes; the default is
	// format.MaxHeaderSize, 64 KiB.
	MaxHeaderSize int

	// MaxSegmentSize bounds S, in bytes, and with it the memory that a hostile
	// stream can ask for, a small multiple of it; the default is 16 MiB.
	MaxSegmentSize int

	// DetachedHeader is the header of a stream whose payload is stored apart
	// from it. It is required for such streams and refused for others.
	DetachedHeader []byte

	// Workers is how many goroutines open segments at a time, up to 1024; 0
	// and 1 mean none but the caller's own. More pay for slow suites and
	// CPUs, and from the second batch of 512 KiB on: before that, none is
	// started. A [DecryptReader] then reads its source ahead, in the caller's
	// goroutine; a [DecryptReaderAt] calls its source from several. No
	// goroutine outlives the work on its batch. Memory: 2*Workers batches,
	// each as large as a segment if that is larger, stored and in plain.
	Workers int
}

func (o *EncryptOptions) segmentExp() (uint8, error) {
	if o.SegmentSize == 0 {
		return format.DefaultSegmentExp, nil
	}
	exp := bits.Len(uint(o.SegmentSize)) - 1
	if o.SegmentSize < 0 || o.SegmentSize != 1<<exp || exp < format.MinSegmentExp || exp > format.MaxSegmentExp {
		return 0, fmt.Errorf("stream: segment size %d is not a power of two from %d to %d",
			o.SegmentSize, 1<<format.MinSegmentExp, 1<<format.MaxSegmentExp)
	}
	return uint8(exp), nil
}

func (o *EncryptOptions) flags() (f format.Flags) {
	if o.Detached {
		f |= format.FlagDetached
	}
	if len(o.AssociatedData) > 0 {
		f |= format.FlagAssociatedData
	}
	return f
}

func (o *EncryptOptions) suite() format.Suite {
	if o.Suite == 0 {
		return format.AES256GCM
	}
	return o.Suite
}

// checkPrelude applies the policy to a prelude, before anything is read by it.
func (o *DecryptOptions) checkPrelude(p *format.Prelude) error {
	if len(o.Suites) > 0 && !slices.Contains(o.Suites, p.Suite) {
		return fmt.Errorf("%w: the stream's suite is %v, allowed are %v", ErrPolicy, p.Suite, o.Suites)
	}
	if o.MaxSegmentSize > 0 && 1<<p.SegmentExp > o.MaxSegmentSize {
		return fmt.Errorf("%w: segments of %d bytes, the limit is %d (MaxSegmentSize)", ErrTooLarge, 1<<p.SegmentExp, o.MaxSegmentSize)
	}
	if err := o.checkAssociatedData(p); err != nil {
		return err
	}
	switch {
	case p.Detached() && o.DetachedHeader == nil:
		return fmt.Errorf("%w: the stream's header is stored apart from it: give it as DetachedHeader", ErrPolicy)
	case !p.Detached() && o.DetachedHeader != nil:
		return fmt.Errorf("%w: a detached header was given, and the stream has its own", ErrPolicy)
	}
	return nil
}

func (o *DecryptOptions) checkAssociatedData(p *format.Prelude) error {
	switch has := p.Flags&format.FlagAssociatedData != 0; {
	case has && len(o.AssociatedData) == 0:
		return fmt.Errorf("%w: the stream needs the associated data that it was encrypted with", ErrPolicy)
	case !has && len(o.AssociatedData) > 0:
		return fmt.Errorf("%w: associated data was given, and the stream was encrypted without", ErrPolicy)
	}
	return nil
}

// checkInfo applies the policy to the rest of a header (SPEC §9.1, step 7). It
// needs no authenticated header: it only refuses.
func (o *DecryptOptions) checkInfo(info *Info) error {
	for key, value := range o.RequiredContext {
		if got, ok := info.Context[key]; !ok || got != value {
			return fmt.Errorf("%w: the stream's context lacks the required value of %.64q", ErrContext, key)
		}
	}
	if info.Location != "" && info.Location != o.Location && !o.IgnoreLocation {
		return fmt.Errorf("%w: the stream is bound to %.256q, it was found at %.256q (IgnoreLocation accepts it)", ErrPolicy, info.Location, o.Location)
	}
	return nil
}
