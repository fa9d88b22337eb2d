// Package s3header says where in S3 a header is that stands apart from its
// payload (SPEC §6).
package s3header

import (
	"encoding/base64"
	"fmt"

	"github.com/bulla-format/bulla/format"
)

const (
	// Metadata is the name, among the payload object's user metadata, of the
	// entry that holds the header.
	Metadata = "bulla-header"

	// DefaultSuffix is what the key of a header object has behind that of the
	// payload object.
	DefaultSuffix = ".bulla-header"
)

// Encode returns a header as the value of Metadata: in base64url without padding
// (RFC 4648 §5).
func Encode(header []byte) string { return base64.RawURLEncoding.EncodeToString(header) }

// Decode returns the header that Encode made value of. It is not parsed. Any
// other value, and that of more bytes than a header has, is
// format.ErrMalformed.
func Decode(value string) ([]byte, error) {
	if len(value) > base64.RawURLEncoding.EncodedLen(format.MaxHeaderSize) {
		return nil, fmt.Errorf("%w: metadata %q of %d bytes", format.ErrMalformed, Metadata, len(value))
	}
	header, err := base64.RawURLEncoding.DecodeString(value) // which overlooks line breaks
	if err != nil || Encode(header) != value {
		return nil, fmt.Errorf("%w: metadata %q is not base64url", format.ErrMalformed, Metadata)
	}
	return header, nil
}
