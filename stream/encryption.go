package stream

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"

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
	var k segment.Keys
	defer k.Close()
	h, b, err := newHeader(ctx, keys, o, &k)
	if err != nil {
		return nil, err
	}
	sealer, err := segment.NewSealer(&k)
	if err != nil {
		return nil, err
	}
	return &encryption{header: b, detached: h.Detached(), layout: h.Layout(), sealer: sealer, declared: h.PlaintextSize}, nil
}

// newHeader obtains a data key, puts what it gives into k, and returns the
// header and its encoded form. The caller closes k.
func newHeader(ctx context.Context, keys keywrap.Wrapper, o *EncryptOptions, k *segment.Keys) (*format.Header, []byte, error) {
	if o == nil {
		o = &EncryptOptions{}
	}
	h := &format.Header{PlaintextSize: format.UnknownSize}
	if err := o.apply(h); err != nil {
		return nil, nil, err
	}
	if o.PlaintextSize != nil {
		ctx = keywrap.WithPlaintextSize(ctx, *o.PlaintextSize)
	}
	dataKey, wrapped, err := keywrap.GenerateKey(ctx, keys, o.Context)
	if err != nil {
		return nil, nil, err
	}
	defer clear(dataKey)
	h.Keys = wrapped
	rand.Read(h.IV[:])
	if err := k.Derive(dataKey, &h.Prelude, o.AssociatedData); err != nil {
		return nil, nil, err
	}
	h.Commitment = k.Commitment()
	if err := setExtensions(h, k, o.Context, o.Metadata, &o.Location); err != nil {
		return nil, nil, err
	}
	if err := checkPostQuantum(h.Keys, o.ClassicalKeys); err != nil {
		return nil, nil, err
	}
	h.Size = h.MinSize()
	if !o.CompactHeader {
		h.Size = paddedSize(h.Size)
	}
	b, err := appendHeader(h, k)
	return h, b, err
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

// paddedSize returns the usual size of a header whose fields need n bytes.
func paddedSize(n int) int {
	return (n + format.DefaultHeaderSize - 1) / format.DefaultHeaderSize * format.DefaultHeaderSize
}

// appendHeader encodes h, with its MAC.
func appendHeader(h *format.Header, k *segment.Keys) ([]byte, error) {
	b, err := h.Append(make([]byte, 0, h.Size))
	if err != nil {
		return nil, fmt.Errorf("stream: the header cannot be written: %w", err)
	}
	mac := k.HeaderMAC(b)
	copy(b[len(b)-format.MACSize:], mac[:])
	return b, nil
}

// setExtensions puts the extensions of h in place. What is nil stays as it is,
// what is empty is left out.
func setExtensions(h *format.Header, k *segment.Keys, ec keywrap.Context, metadata map[string]string, location *string) error {
	if metadata != nil {
		value, err := appendPairs(metadata, "metadata")
		if err == nil && value != nil {
			value, err = k.SealMetadata(value)
		}
		if err != nil {
			return err
		}
		setExtension(h, format.ExtensionMetadata, value)
	}
	if ec != nil {
		value, err := appendPairs(ec, "context")
		if err != nil {
			return err
		}
		setExtension(h, format.ExtensionContext, value)
	}
	if location != nil {
		setExtension(h, format.ExtensionLocation, []byte(*location))
	}
	return nil
}

func appendPairs(pairs map[string]string, what string) ([]byte, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	value, err := format.AppendPairs(nil, pairs)
	if err != nil {
		return nil, fmt.Errorf("stream: %s: %w", what, err)
	}
	return value, nil
}

// setExtension replaces the extension of type t, or removes it if the value is
// empty, and keeps the order.
func setExtension(h *format.Header, t format.ExtensionType, value []byte) {
	at, found := slices.BinarySearchFunc(h.Extensions, t, func(e format.Extension, t format.ExtensionType) int { return cmp.Compare(e.Type, t) })
	switch {
	case found && len(value) == 0:
		h.Extensions = slices.Delete(h.Extensions, at, at+1)
	case found:
		h.Extensions[at].Value = value
	case len(value) > 0:
		h.Extensions = slices.Insert(h.Extensions, at, format.Extension{Type: t, Value: value})
	}
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
