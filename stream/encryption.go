package stream

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/segment"
	"github.com/bulla-format/bulla/keywrap"
)

// An encryption is the state that EncryptWriter and EncryptReader share: the
// header, the Sealer, and where in the plaintext they are.
type encryption struct {
	header   []byte // encoded
	detached bool
	layout   format.Layout
	sealer   *segment.Sealer
	declared int64 // plaintext size, or format.UnknownSize
	count    int64 // plaintext bytes taken so far
	index    int64 // of the next segment
}

// newEncryption obtains a data key and makes the header (SPEC §8).
func newEncryption(ctx context.Context, keys keywrap.Wrapper, o *EncryptOptions) (*encryption, error) {
	if o == nil {
		o = &EncryptOptions{}
	}
	h := &format.Header{PlaintextSize: format.UnknownSize}
	if err := o.apply(h); err != nil {
		return nil, err
	}
	dataKey, wrapped, err := keywrap.GenerateKey(ctx, keys, o.Context)
	if err != nil {
		return nil, err
	}
	defer clear(dataKey)
	h.Keys = wrapped
	rand.Read(h.IV[:])
	k, err := segment.Derive(dataKey, &h.Prelude, o.AssociatedData)
	if err != nil {
		return nil, err
	}
	defer k.Close()
	h.Commitment = k.Commitment()
	if err := o.addExtensions(h, k); err != nil {
		return nil, err
	}
	h.Size = h.MinSize()
	if !o.CompactHeader {
		h.Size = (h.Size + format.DefaultHeaderSize - 1) / format.DefaultHeaderSize * format.DefaultHeaderSize
	}
	b, err := h.Append(nil)
	if err != nil {
		return nil, fmt.Errorf("stream: the header cannot be written: %w", err)
	}
	mac := k.HeaderMAC(b)
	copy(b[len(b)-format.MACSize:], mac[:])
	sealer, err := segment.NewSealer(k)
	if err != nil {
		return nil, err
	}
	return &encryption{header: b, detached: o.Detached, layout: h.Layout(), sealer: sealer, declared: h.PlaintextSize}, nil
}

// apply checks the options that fix the prelude and the plaintext size, before
// a key service is asked.
func (o *EncryptOptions) apply(h *format.Header) (err error) {
	h.Suite, h.Flags = o.suite(), o.flags()
	if !h.Suite.Known() {
		return fmt.Errorf("stream: %w %v", format.ErrUnsupported, h.Suite)
	}
	if h.SegmentExp, err = o.segmentExp(); err != nil {
		return err
	}
	if o.PlaintextSize != nil {
		layout, err := format.NewLayout(format.MaxHeaderSize, h.SegmentExp)
		if err != nil {
			return err
		}
		if *o.PlaintextSize < 0 || *o.PlaintextSize > layout.MaxPlaintextSize() {
			return fmt.Errorf("%w: plaintext size %d", ErrTooLarge, *o.PlaintextSize)
		}
		h.PlaintextSize = *o.PlaintextSize
	}
	return nil
}

// addExtensions adds the extensions in ascending order of their types.
func (o *EncryptOptions) addExtensions(h *format.Header, k *segment.Keys) error {
	if len(o.Metadata) > 0 {
		pairs, err := format.AppendPairs(nil, o.Metadata)
		if err != nil {
			return fmt.Errorf("stream: metadata: %w", err)
		}
		value, err := k.SealMetadata(pairs)
		if err != nil {
			return err
		}
		h.Extensions = append(h.Extensions, format.Extension{Type: format.ExtensionMetadata, Value: value})
	}
	if len(o.Context) > 0 {
		pairs, err := format.AppendPairs(nil, o.Context)
		if err != nil {
			return fmt.Errorf("stream: context: %w", err)
		}
		h.Extensions = append(h.Extensions, format.Extension{Type: format.ExtensionContext, Value: pairs})
	}
	if o.Location != "" {
		h.Extensions = append(h.Extensions, format.Extension{Type: format.ExtensionLocation, Value: []byte(o.Location)})
	}
	return nil
}

// front returns what the output begins with: the header, or its prelude when
// the header is detached.
func (e *encryption) front() []byte {
	if e.detached {
		return e.header[:format.PreludeSize]
	}
	return e.header
}

// take counts n more plaintext bytes, unless they are too many.
func (e *encryption) take(n int) error {
	if e.declared != format.UnknownSize && int64(n) > e.declared-e.count {
		return fmt.Errorf("%w: the plaintext has more than the declared %d bytes", ErrSizeMismatch, e.declared)
	}
	if int64(n) > e.layout.MaxPlaintextSize()-e.count {
		return fmt.Errorf("%w: more than %d plaintext bytes", ErrTooLarge, e.layout.MaxPlaintextSize())
	}
	e.count += int64(n)
	return nil
}

// complete tells whether the plaintext may end here.
func (e *encryption) complete() error {
	if e.declared != format.UnknownSize && e.count != e.declared {
		return fmt.Errorf("%w: the plaintext ended after %d of the declared %d bytes", ErrSizeMismatch, e.count, e.declared)
	}
	return nil
}

// seal appends the next stored segment to dst; Sealer.Seal says how the two
// may overlap.
func (e *encryption) seal(dst, plaintext []byte, final bool) []byte {
	dst = e.sealer.Seal(dst, plaintext, e.index, final)
	e.index++
	return dst
}
