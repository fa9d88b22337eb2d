package stream

import (
	"bytes"
	"context"
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
	var failed, hints []error
	for _, k := range h.Keys {
		dataKey, err := keys.UnwrapKey(ctx, k, ec)
		switch {
		case err == nil && len(dataKey) == format.DataKeySize:
			return dataKey, nil
		case err == nil:
			clear(dataKey)
			err = fmt.Errorf("%w: %v %.128q gave a data key of %d bytes", keywrap.ErrUnwrap, k.Type, k.Name, len(dataKey))
		case errors.Is(err, keywrap.ErrNoMatch):
			if err != keywrap.ErrNoMatch && len(hints) < maxShownKeys { // it says more than that
				hints = append(hints, err)
			}
			continue
		case ctx.Err() != nil:
			return nil, err
		}
		failed = append(failed, err)
	}
	if len(failed) == 0 {
		noMatch := fmt.Errorf("%w: the stream is for %s", keywrap.ErrNoMatch, keyNames(h.Keys))
		return nil, errors.Join(append([]error{noMatch}, hints...)...)
	}
	return nil, errors.Join(failed...)
}

// maxShownKeys is of how many wrapped keys a message says something.
const maxShownKeys = 4

// keyNames lists wrapped keys for a message, of bounded length.
func keyNames(keys []format.WrappedKey) string {
	var names []string
	for _, k := range keys[:min(len(keys), maxShownKeys)] {
		names = append(names, fmt.Sprintf("%v %.128q", k.Type, k.Name))
	}
	if len(keys) > maxShownKeys {
		names = append(names, fmt.Sprintf("and %d more", len(keys)-maxShownKeys))
	}
	return strings.Join(names, ", ")
}

// openHeader reads a header, applies the options to it, authenticates it, and
// returns what it says and the Opener of its segments, which begin where src
// then stands (SPEC §9.1).
func openHeader(ctx context.Context, src io.Reader, keys keywrap.Unwrapper, o *DecryptOptions) (*Info, *segment.Opener, error) {
	b, err := readHeader(src, o)
	if err != nil {
		return nil, nil, err
	}
	h, err := format.ParseHeader(b)
	if err != nil {
		return nil, nil, err
	}
	info := newInfo(h)
	if err := o.checkInfo(&info); err != nil {
		return nil, nil, err
	}
	var k segment.Keys
	defer k.Close()
	dataKey, err := openKeys(ctx, h, b, keys, info.Context, o.AssociatedData, &k)
	if err != nil {
		return nil, nil, err
	}
	clear(dataKey)
	if info.Metadata, err = openMetadata(h, &k); err != nil {
		return nil, nil, err
	}
	opener, err := segment.NewOpener(&k)
	return &info, opener, err
}

// openKeys unwraps the data key of the stream whose header h is encoded in b,
// puts what it gives into k, and authenticates the header with it. It returns
// the data key, which the caller clears; the caller closes k.
func openKeys(ctx context.Context, h *format.Header, b []byte, keys keywrap.Unwrapper, ec keywrap.Context, associatedData []byte, k *segment.Keys) ([]byte, error) {
	dataKey, err := unwrap(ctx, h, keys, ec)
	if err != nil {
		return nil, err
	}
	if err = k.Derive(dataKey, &h.Prelude, associatedData); err == nil {
		err = authenticate(k, h, b)
	}
	if err != nil {
		clear(dataKey)
		return nil, err
	}
	return dataKey, nil
}

// authenticate verifies the commitment and the MAC of the header that is
// encoded in b, under the keys of its stream (SPEC §9.1, steps 9 and 10).
func authenticate(k *segment.Keys, h *format.Header, b []byte) error {
	if k.VerifyCommitment(&h.Prelude) != nil {
		return fmt.Errorf("%w: the header's commitment is not to this data key: the prelude was changed, the header is another stream's, or the associated data differs", ErrAuth)
	}
	if k.VerifyHeader(b) != nil {
		return fmt.Errorf("%w: the header was changed", ErrAuth)
	}
	return nil
}

func openMetadata(h *format.Header, k *segment.Keys) (map[string]string, error) {
	value := h.Extension(format.ExtensionMetadata)
	if value == nil {
		return nil, nil
	}
	pairs, err := k.OpenMetadata(value)
	if err != nil {
		return nil, fmt.Errorf("%w: the header's sealed metadata", ErrAuth)
	}
	metadata, err := format.ParsePairs(pairs)
	if err != nil {
		return nil, fmt.Errorf("the header's sealed metadata: %w", err)
	}
	return metadata, nil
}

// readHeader reads a header and no more from src; of a stream with a detached
// header, the prelude in front of the payload. It returns the encoded header
// (SPEC §9.1, steps 1 to 5).
func readHeader(src io.Reader, o *DecryptOptions) ([]byte, error) {
	prelude, p, err := readPrelude(src)
	if err != nil {
		return nil, err
	}
	if err := o.checkPrelude(&p); err != nil {
		return nil, err
	}
	if !p.Detached() {
		return readBody(src, prelude, o)
	}
	header := bytes.NewReader(o.DetachedHeader)
	detached, _, err := readPrelude(header)
	if err != nil {
		return nil, fmt.Errorf("the detached header: %w", err)
	}
	if !bytes.Equal(detached, prelude) {
		return nil, fmt.Errorf("%w: the detached header belongs to another payload", ErrAuth)
	}
	b, err := readBody(header, detached, o)
	if err != nil {
		return nil, fmt.Errorf("the detached header: %w", err)
	}
	if header.Len() > 0 {
		return o.DetachedHeader, nil // which ParseHeader refuses, for it is longer than it says
	}
	return b, nil
}

func readPrelude(src io.Reader) ([]byte, format.Prelude, error) {
	b := make([]byte, format.PreludeSize, format.DefaultHeaderSize)
	if err := readHeaderBytes(src, b, b); err != nil {
		return nil, format.Prelude{}, err
	}
	p, err := format.ParsePrelude(b)
	return b, p, err
}

// readBody reads what follows the prelude b and returns all of the header.
func readBody(src io.Reader, b []byte, o *DecryptOptions) ([]byte, error) {
	b = b[:format.PrefixSize]
	if err := readHeaderBytes(src, b[format.PreludeSize:], b); err != nil {
		return nil, err
	}
	size, err := format.HeaderSize(b)
	if err != nil {
		return nil, err
	}
	if o.MaxHeaderSize > 0 && size > o.MaxHeaderSize {
		return nil, fmt.Errorf("%w: header of %d bytes, the limit is %d (MaxHeaderSize)", ErrTooLarge, size, o.MaxHeaderSize)
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
	if b = b[:len(b)-len(rest)+n]; !bytes.HasPrefix(b, []byte(format.Magic)) {
		_, err := format.ParsePrelude(b)
		return err
	}
	return ErrTruncated
}
