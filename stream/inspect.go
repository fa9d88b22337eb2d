package stream

import (
	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
)

// Info is what a header says of its stream.
type Info struct {
	Suite          format.Suite
	SegmentSize    int                 // plaintext bytes of a segment
	IV             [format.IVSize]byte // the identity of the stream: kept by a re-wrap
	Detached       bool                // the header is stored apart from the payload
	AssociatedData bool                // reading needs associated data
	HeaderSize     int                 // bytes
	Generation     uint32              // how often the stream was re-wrapped
	PlaintextSize  int64               // bytes, or format.UnknownSize
	Keys           []format.WrappedKey // whom the stream is for
	Context        keywrap.Context     // public pairs
	Location       string              // where the stream is bound to, or empty
	Metadata       map[string]string   // sealed pairs: nil in what Inspect returns
	Extensions     []format.Extension  // all of them, unknown ones included
	Layout         format.Layout       // of the payload's offsets
}

// Inspect returns what the header that b begins with says, without any key.
// Nothing of it is authenticated: whoever can write to the store can have
// written it. b holds the whole header and may hold more; when it is too
// short, the error is [ErrTruncated]. The other errors are those of
// format.ParseHeader. The result shares no memory with b.
func Inspect(b []byte) (Info, error) {
	b, err := wholeHeader(b)
	if err != nil {
		return Info{}, err
	}
	h, err := format.ParseHeader(b)
	if err != nil {
		return Info{}, err
	}
	return newInfo(h), nil
}

// newInfo gathers what a parsed header says; it aliases h.
func newInfo(h *format.Header) Info {
	info := Info{
		Suite:          h.Suite,
		SegmentSize:    1 << h.SegmentExp,
		IV:             h.IV,
		Detached:       h.Detached(),
		AssociatedData: h.Flags&format.FlagAssociatedData != 0,
		HeaderSize:     h.Size,
		Generation:     h.Generation,
		PlaintextSize:  h.PlaintextSize,
		Keys:           h.Keys,
		Location:       string(h.Extension(format.ExtensionLocation)),
		Extensions:     h.Extensions,
		Layout:         h.Layout(),
	}
	if value := h.Extension(format.ExtensionContext); value != nil {
		pairs, err := format.ParsePairs(value)
		if err != nil {
			panic("stream: a parsed header's context does not parse") // ParseHeader has parsed it
		}
		info.Context = pairs
	}
	return info
}
