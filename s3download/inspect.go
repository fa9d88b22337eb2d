package s3download

import (
	"bytes"
	"context"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// Inspect asks for the header of the encrypted object that in names, wherever
// [Open] would find it, and returns what it says, and how many bytes the object
// has as it is stored. It needs no key, and nothing of what it returns is
// authenticated: whoever can write to the store can have written it.
//
// in is as for Open; of the options Decrypt, Prefetch and the sizes mean nothing
// here. The errors are those of Open that need no key: format.ErrNotStream,
// format.ErrMalformed, format.ErrUnsupported, stream.ErrTruncated; stream.ErrAuth
// for the header of another payload; [ErrNoHeader], [ErrChanged], [ErrAnswer];
// those of the SDK.
func Inspect(ctx context.Context, client Client, in *s3.GetObjectInput, o *Options) (info stream.Info, storedSize int64, err error) {
	options, err := o.withDefaults()
	if err != nil {
		return info, 0, err
	}
	return inspect(ctx, client, in, &options, options.HeaderSuffix != "")
}

// inspect is Inspect. If a header object is expected, it is asked for at once.
func inspect(ctx context.Context, client Client, in *s3.GetObjectInput, o *Options, expected bool) (info stream.Info, storedSize int64, err error) {
	src, err := newSource(client, in, o)
	if err != nil {
		return info, 0, err
	}
	beside, err := src.headerObject(ctx, o)
	if err != nil {
		return info, 0, err
	}
	defer beside.stop()
	if expected {
		beside.begin()
	}
	fetched, err := src.open(ctx, extent{end: format.DefaultHeaderSize}, extent{})
	if err != nil {
		return info, 0, src.explain(err)
	}
	header, err := src.header(ctx, fetched[0].data, beside)
	if err != nil {
		return info, 0, err
	}
	if info, err = stream.Inspect(header); err != nil {
		return info, 0, src.named(err)
	}
	return info, src.size, nil
}

// header returns the header of the stream that begins with front, and of one
// that stands in the object perhaps more.
func (s *source) header(ctx context.Context, front []byte, beside *headerObject) ([]byte, error) {
	found, err := s.findHeader(front, beside)
	if err != nil {
		return nil, s.named(err)
	}
	if found == nil {
		size, err := format.HeaderSize(front)
		start, end := int64(len(front)), min(int64(size), s.size)
		if err != nil || end <= start {
			return front, nil // package stream says what is wrong with it, if anything is
		}
		rest, err := s.fetch(ctx, start, end)
		if err != nil {
			return nil, s.explain(err)
		}
		return append(front, rest...), nil
	}
	if _, err := format.ParseHeader(found); err != nil {
		return nil, s.named(fmt.Errorf("the detached header: %w", err))
	}
	if !bytes.HasPrefix(found, front[:format.PreludeSize]) {
		return nil, s.named(mixed(fmt.Errorf("%w: the detached header belongs to another payload", stream.ErrAuth), front, found))
	}
	return found, nil
}
