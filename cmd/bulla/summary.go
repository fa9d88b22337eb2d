package main

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// A summary is what inspect prints; its JSON form is for programs.
type summary struct {
	Authenticated  bool               `json:"authenticated"` // always false
	Suite          string             `json:"suite"`
	SegmentSize    int                `json:"segment_size"`
	IV             string             `json:"iv"`
	HeaderSize     int                `json:"header_size"`
	Generation     uint32             `json:"generation"`
	PlaintextSize  *int64             `json:"plaintext_size"` // null: not known
	Declared       bool               `json:"plaintext_size_declared"`
	StoredSize     *int64             `json:"stored_size"` // null: not known
	SizeProblem    string             `json:"size_problem,omitempty"`
	Keys           []summaryKey       `json:"keys"`
	Context        map[string]string  `json:"context,omitempty"`
	Location       string             `json:"location,omitempty"`
	AssociatedData bool               `json:"associated_data"`
	Detached       bool               `json:"detached"`
	SealedMetadata bool               `json:"sealed_metadata"`
	Extensions     []summaryExtension `json:"extensions,omitempty"` // of types unknown to this release
}

type summaryKey struct {
	Type string `json:"type"`
	Name string `json:"name"`
	KEM  string `json:"kem,omitempty"` // of an HPKE key
	Size int    `json:"size"`          // of the wrapped key, in bytes
}

type summaryExtension struct {
	Type string `json:"type"`
	Size int    `json:"size"`
}

// newSummary gathers what the header says, and what the stored size says about
// the plaintext: of the whole stream, or of the payload that has the header
// apart from it, and -1 if it is not known.
func newSummary(info *stream.Info, stored int64) *summary {
	s := &summary{
		Suite:          info.Suite.String(),
		SegmentSize:    info.SegmentSize,
		IV:             hex.EncodeToString(info.IV[:]),
		HeaderSize:     info.HeaderSize,
		Generation:     info.Generation,
		Declared:       info.PlaintextSize != format.UnknownSize,
		Context:        info.Context,
		Location:       info.Location,
		AssociatedData: info.AssociatedData,
		Detached:       info.Detached,
	}
	for _, k := range info.Keys {
		s.Keys = append(s.Keys, newSummaryKey(k))
	}
	for _, e := range info.Extensions {
		switch e.Type {
		case format.ExtensionContext, format.ExtensionLocation: // shown as what they are
		case format.ExtensionMetadata:
			s.SealedMetadata = true
		default:
			s.Extensions = append(s.Extensions, summaryExtension{fmt.Sprintf("%#04x", uint16(e.Type)), len(e.Value)})
		}
	}
	if s.Declared {
		s.PlaintextSize = &info.PlaintextSize
	}
	if stored >= 0 {
		s.StoredSize = &stored
		s.compareSizes(&info.Layout)
	}
	return s
}

func newSummaryKey(k format.WrappedKey) summaryKey {
	s := summaryKey{Type: k.Type.String(), Name: k.Name, Size: len(k.Data)}
	if k.Type == format.KeyTypeHPKE && len(k.Data) >= 2 {
		s.KEM = keywrap.KEM(binary.BigEndian.Uint16(k.Data)).String()
	}
	return s
}

// String quotes the name, which may hold anything.
func (k summaryKey) String() string {
	return fmt.Sprintf("%s %q%s, %d bytes", k.Type, k.Name, prefixed(", ", k.KEM), k.Size)
}

func (s *summary) compareSizes(layout *format.Layout) {
	if !s.Declared {
		if n, err := layout.PlaintextSize(*s.StoredSize); err != nil {
			s.SizeProblem = "truncated: no stream has this size"
		} else {
			s.PlaintextSize = &n
		}
		return
	}
	expected, err := layout.StoredSize(*s.PlaintextSize)
	switch {
	case err != nil: // a parsed header's size can be stored
	case *s.StoredSize < expected:
		s.SizeProblem = fmt.Sprintf("truncated: expected %d", expected)
	case *s.StoredSize > expected:
		s.SizeProblem = fmt.Sprintf("bytes follow the stream: expected %d", expected)
	}
}

func (s *summary) printJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(s)
}

// print prints the summary for people. What the header says is quoted: it may
// hold anything.
func (s *summary) print(w io.Writer) error {
	fmt.Fprint(w, "Nothing of this is authenticated: decrypting is what proves it.\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	row("suite", "%s", s.Suite)
	segment := byteSize(s.SegmentSize)
	row("segment size", "%d bytes (%v)", s.SegmentSize, &segment)
	row("header size", "%d bytes", s.HeaderSize)
	row("generation", "%d", s.Generation)
	row("plaintext size", "%s", s.plaintextText())
	if s.StoredSize != nil {
		row("stored size", "%d bytes%s", *s.StoredSize, prefixed(", ", s.SizeProblem))
	}
	row("IV", "%s", s.IV)
	for _, k := range s.Keys {
		row("key", "%v", k)
	}
	for _, key := range slices.Sorted(maps.Keys(s.Context)) {
		row("context", "%q = %q", key, s.Context[key])
	}
	if s.Location != "" {
		row("location", "%q", s.Location)
	}
	if s.AssociatedData {
		row("associated data", "needed")
	}
	if s.SealedMetadata {
		row("metadata", "sealed")
	}
	if s.Detached {
		row("detached", "the payload is stored apart from the header")
	}
	for _, e := range s.Extensions {
		row("extension", "%s, %d bytes", e.Type, e.Size)
	}
	return t.Flush()
}

func (s *summary) plaintextText() string {
	switch {
	case s.PlaintextSize == nil:
		return "not known"
	case s.Declared:
		return fmt.Sprintf("%d bytes, declared", *s.PlaintextSize)
	}
	return fmt.Sprintf("%d bytes, by the stored size", *s.PlaintextSize)
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}
