package stream

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"math"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/segment"
	"github.com/bulla-format/bulla/keywrap"
)

// RewrapOptions say what a re-wrap changes beside the keys. The zero value of
// each field is its default, and nil options are all defaults.
type RewrapOptions struct {
	// Keep tells which of the stream's wrapped keys stay, as they are. The
	// default is none: the stream is then for the new keys only.
	Keep func(format.WrappedKey) bool

	// AssociatedData is what the stream was encrypted with.
	AssociatedData []byte

	// Context, Metadata and Location replace those of the stream. nil leaves
	// them as they are, an empty value removes them. A wrapped key of AWS KMS
	// is bound to its context and cannot be kept when that changes.
	Context  keywrap.Context
	Metadata map[string]string
	Location *string

	// ClassicalKeys is as in [EncryptOptions].
	ClassicalKeys []string
}

// Rewrap returns the header that makes the stream of the given header one for
// other wrapping keys (SPEC §10). header holds the whole header and may hold
// more; it is authenticated with old, under ctx, before anything of it is
// used. The data key is wrapped with new, which may be nil if Keep keeps a
// wrapped key.
//
// The payload stays as it is. The new header has the size of the old one, and
// so takes its place, if its fields fit; else it has the next multiple of 4096
// bytes, and the payload moves, unless the header is detached. The caller
// replaces the old header in one step: a half-written one is a lost one.
//
// Rewrap takes nothing away from those who had the data key or can still get
// an old header (SPEC §10.3). The errors are those of [NewDecryptReader] and
// [NewEncryptWriter].
func Rewrap(ctx context.Context, header []byte, old keywrap.Unwrapper, new keywrap.Wrapper, o *RewrapOptions) ([]byte, error) {
	if o == nil {
		o = &RewrapOptions{}
	}
	b, err := wholeHeader(header)
	if err != nil {
		return nil, err
	}
	h, err := format.ParseHeader(b)
	if err != nil {
		return nil, err
	}
	d := DecryptOptions{AssociatedData: o.AssociatedData}
	if err := d.checkAssociatedData(&h.Prelude); err != nil {
		return nil, err
	}
	ec := newInfo(h).Context
	var k segment.Keys
	defer k.Close()
	dataKey, err := openKeys(ctx, h, b, old, ec, o.AssociatedData, &k)
	if err != nil {
		return nil, err
	}
	defer clear(dataKey)
	if _, err := openMetadata(h, &k); err != nil {
		return nil, err
	}
	if h.Generation == math.MaxUint32 {
		return nil, fmt.Errorf("%w: the stream was re-wrapped %d times, which is as often as it can be", ErrTooLarge, h.Generation)
	}
	h.Generation++
	compact := h.Size%format.DefaultHeaderSize != 0 // which a compact header stays when its fields have become shorter
	if err := o.replaceKeys(ctx, h, dataKey, ec, new); err != nil {
		return nil, err
	}
	if err := setExtensions(h, &k, o.Context, o.Metadata, o.Location); err != nil {
		return nil, err
	}
	if least := h.MinSize(); least > h.Size {
		h.Size = least
		if !compact {
			h.Size = paddedSize(least)
		}
	}
	return appendHeader(h, &k)
}

// replaceKeys puts the wrapped keys of h in place: those that are kept, and
// the new ones.
func (o *RewrapOptions) replaceKeys(ctx context.Context, h *format.Header, dataKey []byte, ec keywrap.Context, new keywrap.Wrapper) error {
	var keys []format.WrappedKey
	newContext := ec
	if o.Context != nil {
		newContext = o.Context
	}
	for _, k := range h.Keys {
		if o.Keep == nil || !o.Keep(k) {
			continue
		}
		if k.Type == format.KeyTypeKMS && !maps.Equal(ec, newContext) {
			return fmt.Errorf("%w: the wrapped key of %.128q is bound to the context: wrap for that key again, or keep the context", ErrPolicy, k.Name)
		}
		keys = append(keys, k)
	}
	if new != nil {
		wrapped, err := new.WrapKey(ctx, dataKey, newContext)
		if err != nil {
			return err
		}
		keys = append(keys, wrapped...)
	}
	if len(keys) == 0 {
		return fmt.Errorf("%w: the stream would be for no key at all", ErrPolicy)
	}
	h.Keys = keys
	return checkPostQuantum(h.Keys, o.ClassicalKeys)
}

// wholeHeader returns a copy of the header that b begins with.
func wholeHeader(b []byte) ([]byte, error) {
	if bytes.HasPrefix(b, []byte(format.Magic)) && len(b) < format.PrefixSize {
		return nil, ErrTruncated
	}
	if _, err := format.ParsePrelude(b); err != nil {
		return nil, err
	}
	size, err := format.HeaderSize(b)
	if err != nil {
		return nil, err
	}
	if len(b) < size {
		return nil, ErrTruncated
	}
	return bytes.Clone(b[:size]), nil
}
