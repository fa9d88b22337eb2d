package stream

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/segment"
	"github.com/bulla-format/bulla/keywrap"
)

// unwrap returns the data key: the first that one of the header's wrapped keys
// gives. A wrapped key that fails does not keep the others from being tried.
func unwrap(ctx context.Context, h *format.Header, keys keywrap.Unwrapper, ec keywrap.Context) ([]byte, error) {
	var failed []error
	for _, k := range h.Keys {
		dataKey, err := keys.UnwrapKey(ctx, k, ec)
		switch {
		case err == nil && len(dataKey) == format.DataKeySize:
			return dataKey, nil
		case err == nil:
			clear(dataKey)
			err = fmt.Errorf("%w: %v %.128q gave a data key of %d bytes", keywrap.ErrUnwrap, k.Type, k.Name, len(dataKey))
		case ctx.Err() != nil:
			return nil, err
		}
		if !errors.Is(err, keywrap.ErrNoMatch) {
			failed = append(failed, err)
		}
	}
	if len(failed) == 0 {
		return nil, fmt.Errorf("%w: the stream is for %s", keywrap.ErrNoMatch, keyNames(h.Keys))
	}
	return nil, errors.Join(failed...)
}

// keyNames lists wrapped keys for a message, of bounded length.
func keyNames(keys []format.WrappedKey) string {
	const limit = 4
	var names []string
	for _, k := range keys[:min(len(keys), limit)] {
		names = append(names, fmt.Sprintf("%v %.128q", k.Type, k.Name))
	}
	if len(keys) > limit {
		names = append(names, fmt.Sprintf("and %d more", len(keys)-limit))
	}
	return strings.Join(names, ", ")
}

// openHeader authenticates an encoded header, its prelude checked by
// checkPrelude, and returns what it says and the Opener of its segments
// (SPEC §9.1).
func openHeader(ctx context.Context, b []byte, keys keywrap.Unwrapper, o *DecryptOptions) (*Info, *segment.Opener, error) {
	h, err := format.ParseHeader(b)
	if err != nil {
		return nil, nil, err
	}
	info := newInfo(h)
	if err := o.checkInfo(&info); err != nil {
		return nil, nil, err
	}
	dataKey, err := unwrap(ctx, h, keys, info.Context)
	if err != nil {
		return nil, nil, err
	}
	defer clear(dataKey)
	k, err := segment.Derive(dataKey, &h.Prelude, o.AssociatedData)
	if err != nil {
		return nil, nil, err
	}
	defer k.Close()
	if k.VerifyCommitment(&h.Prelude) != nil {
		return nil, nil, fmt.Errorf("%w: the header's commitment is not to this data key: the prelude was changed, the header is another stream's, or the associated data differs", ErrAuth)
	}
	if k.VerifyHeader(b) != nil {
		return nil, nil, fmt.Errorf("%w: the header was changed", ErrAuth)
	}
	if value := h.Extension(format.ExtensionMetadata); value != nil {
		pairs, err := k.OpenMetadata(value)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: the header's sealed metadata", ErrAuth)
		}
		if info.Metadata, err = format.ParsePairs(pairs); err != nil {
			return nil, nil, fmt.Errorf("the header's sealed metadata: %w", err)
		}
	}
	opener, err := segment.NewOpener(k)
	return &info, opener, err
}

// readHeader reads a header, or a detached header's prelude, from src and
// returns the encoded header. Only as much is read as belongs to it.
func readHeader(src io.Reader, o *DecryptOptions) ([]byte, error) {
	b := make([]byte, format.PreludeSize, format.DefaultHeaderSize)
	if err := readHeaderBytes(src, b, b); err != nil {
		return nil, err
	}
	p, err := format.ParsePrelude(b)
	if err != nil {
		return nil, err
	}
	if err := o.checkPrelude(&p); err != nil {
		return nil, err
	}
	if p.Detached() {
		return detachedHeader(b, o)
	}
	b = b[:format.PrefixSize]
	if err := readHeaderBytes(src, b[format.PreludeSize:], b); err != nil {
		return nil, err
	}
	size, err := format.HeaderSize(b)
	if err != nil {
		return nil, err
	}
	if err := o.checkHeaderSize(size); err != nil {
		return nil, err
	}
	b = append(b, make([]byte, size-len(b))...)
	return b, readHeaderBytes(src, b[format.PrefixSize:], b)
}

// readHeaderBytes fills rest, the tail of b. An end before that is a truncated
// stream, if what came begins like a stream.
func readHeaderBytes(src io.Reader, rest, b []byte) error {
	n, err := readFull(src, rest)
	if err != io.EOF {
		return err
	}
	b = b[:len(b)-len(rest)+n]
	if len(b) < len(format.Magic) || string(b[:len(format.Magic)]) != format.Magic {
		_, err := format.ParsePrelude(b)
		return err
	}
	return ErrTruncated
}

// detachedHeader returns the detached header whose prelude must be the
// payload's.
func detachedHeader(prelude []byte, o *DecryptOptions) ([]byte, error) {
	if err := o.checkHeaderSize(len(o.DetachedHeader)); err != nil {
		return nil, err
	}
	if _, err := format.ParsePrelude(o.DetachedHeader); err != nil {
		return nil, fmt.Errorf("the detached header: %w", err)
	}
	if !bytes.Equal(prelude, o.DetachedHeader[:format.PreludeSize]) {
		return nil, fmt.Errorf("%w: the detached header belongs to another payload", ErrAuth)
	}
	return bytes.Clone(o.DetachedHeader), nil
}

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
