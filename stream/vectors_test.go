package stream_test

import (
	"bytes"
	"context"
	"crypto/fips140"
	"errors"
	"io"
	"maps"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/vectors"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// classes are the errors that stand for the classes of SPEC §11.
var classes = map[string]error{
	"not-stream":      format.ErrNotStream,
	"unsupported":     format.ErrUnsupported,
	"malformed":       format.ErrMalformed,
	"too-large":       stream.ErrTooLarge,
	"policy":          stream.ErrPolicy,
	"no-key":          keywrap.ErrNoMatch,
	"unwrap":          keywrap.ErrUnwrap,
	"auth-commitment": stream.ErrAuth,
	"auth-header":     stream.ErrAuth,
	"auth-metadata":   stream.ErrAuth,
	"context":         stream.ErrContext,
	"truncated":       stream.ErrTruncated,
	"size-mismatch":   stream.ErrSizeMismatch,
	"auth-segment":    stream.ErrAuth,
}

// inClass reports whether err is of the class, and of no other.
func inClass(err error, class string) bool {
	if class == "ok" {
		return err == nil
	}
	want, ok := classes[class]
	if !ok || !errors.Is(err, want) {
		return false
	}
	for _, other := range classes {
		if other != want && errors.Is(err, other) {
			return false
		}
	}
	var segment *stream.SegmentError
	return errors.As(err, &segment) == (class == "auth-segment")
}

func vectorReader(t *testing.T, c *vectors.Case) (keywrap.Unwrapper, *stream.DecryptOptions) {
	t.Helper()
	var keys []keywrap.Unwrapper
	for _, k := range c.Keys {
		key, err := keywrap.NewAESKey(k.Name, k.Key)
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	return keywrap.AnyOf(keys...), &stream.DecryptOptions{
		AssociatedData:  c.AssociatedData,
		RequiredContext: c.RequireContext,
		Location:        c.Location,
		IgnoreLocation:  c.AnyLocation,
		MaxHeaderSize:   c.MaxHeaderSize,
		MaxSegmentSize:  c.MaxSegmentSize,
		DetachedHeader:  c.Header,
	}
}

func TestVectors(t *testing.T) {
	counts := map[string]int{}
	for _, c := range vectors.Load(t) {
		t.Run(c.Name, func(t *testing.T) {
			if fips140.Enforced() && usesChaCha(&c) {
				return // the cryptographic module in force does not allow it
			}
			keys, o := vectorReader(t, &c)
			counts[c.Expect]++

			released, info, err := readVector(t.Context(), &c, keys, o)
			if !inClass(err, c.Expect) {
				t.Errorf("sequential: %v, expected %s", err, c.Expect)
			}
			if !c.Released.Matches(released) {
				t.Errorf("sequential: released %d bytes, expected %d", len(released), c.Released.Size)
			}
			var segment *stream.SegmentError
			if errors.As(err, &segment) && segment.Index != c.Segment {
				t.Errorf("sequential: fails at segment %d, expected %d", segment.Index, c.Segment)
			}
			if c.Expect == "ok" && (!maps.Equal(info.Context, c.Context) || !maps.Equal(info.Metadata, c.Metadata)) {
				t.Errorf("context %v, metadata %v; expected %v, %v", info.Context, info.Metadata, c.Context, c.Metadata)
			}

			at, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(c.Payload), int64(len(c.Payload)), keys, o)
			if err == nil {
				plaintext := make([]byte, at.Size())
				if _, err = io.ReadFull(io.NewSectionReader(at, 0, at.Size()), plaintext); err == nil {
					err = at.Verify(t.Context())
				}
				if err == nil && !c.Plaintext.Matches(plaintext) {
					t.Error("random access: other plaintext")
				}
			}
			if !inClass(err, c.ExpectRandom) {
				t.Errorf("random access: %v, expected %s", err, c.ExpectRandom)
			}
		})
	}
	for class := range classes {
		if counts[class] == 0 {
			t.Errorf("no vector for the class %s", class)
		}
	}
}

func readVector(ctx context.Context, c *vectors.Case, keys keywrap.Unwrapper, o *stream.DecryptOptions) ([]byte, stream.Info, error) {
	r, err := stream.NewDecryptReader(ctx, bytes.NewReader(c.Payload), keys, o)
	if err != nil {
		return nil, stream.Info{}, err
	}
	plaintext, err := io.ReadAll(r)
	return plaintext, r.Info(), err
}

func usesChaCha(c *vectors.Case) bool {
	front := c.Payload
	if c.Header != nil {
		front = c.Header
	}
	return len(front) > 9 && front[9] == byte(format.ChaCha20Poly1305)
}
