package stream_test

import (
	"bytes"
	"context"
	"crypto/fips140"
	"crypto/hpke"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/vectors"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// classes are the errors that stand for the classes of SPEC §11: each is one
// of them.
var classes = map[string][]error{
	"not-stream":      {format.ErrNotStream},
	"unsupported":     {format.ErrUnsupported},
	"malformed":       {format.ErrMalformed},
	"too-large":       {stream.ErrTooLarge, keywrap.ErrKeyCost},
	"policy":          {stream.ErrPolicy},
	"no-key":          {keywrap.ErrNoMatch},
	"unwrap":          {keywrap.ErrUnwrap},
	"auth-commitment": {stream.ErrAuth},
	"auth-header":     {stream.ErrAuth},
	"auth-metadata":   {stream.ErrAuth},
	"context":         {stream.ErrContext},
	"truncated":       {stream.ErrTruncated},
	"size-mismatch":   {stream.ErrSizeMismatch},
	"auth-segment":    {stream.ErrAuth},
}

// inClass reports whether err is of the class, and of no other.
func inClass(err error, class string) bool {
	if class == "ok" {
		return err == nil
	}
	is := func(target error) bool { return errors.Is(err, target) }
	want := classes[class]
	if !slices.ContainsFunc(want, is) {
		return false
	}
	for _, others := range classes {
		if slices.ContainsFunc(others, func(other error) bool { return !slices.Contains(want, other) && is(other) }) {
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
		key, err := vectorKey(k)
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
		Workers:         workers,
	}
}

func vectorKey(k vectors.Key) (keywrap.Unwrapper, error) {
	switch format.KeyType(k.Type) {
	case format.KeyTypeAES:
		return keywrap.NewAESKey(k.Name, k.Key)
	case format.KeyTypeRSA:
		return keywrap.ParseRSAKey(k.Name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k.Key}))
	case format.KeyTypeHPKE:
		kem, err := hpke.NewKEM(binary.BigEndian.Uint16(k.Key))
		if err != nil {
			return nil, err
		}
		private, err := kem.NewPrivateKey(k.Key[2:])
		if err != nil {
			return nil, err
		}
		return keywrap.NewHPKEKey(k.Name, private)
	case format.KeyTypePassphrase:
		return keywrap.NewPassphrase(k.Key, nil)
	}
	return nil, fmt.Errorf("a wrapping key of type %04x", k.Type)
}

func TestVectors(t *testing.T) {
	counts := map[string]int{}
	for _, c := range vectors.Load(t) {
		t.Run(c.Name, func(t *testing.T) {
			if fips140.Enforced() && !approved(&c) {
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

// approved reports whether all that the case needs is approved by FIPS 140-3.
func approved(c *vectors.Case) bool {
	for _, k := range c.Keys {
		switch format.KeyType(k.Type) {
		case format.KeyTypePassphrase:
			return false
		case format.KeyTypeHPKE:
			if kem := keywrap.KEM(binary.BigEndian.Uint16(k.Key)); kem == keywrap.DHKEMX25519 || kem == keywrap.MLKEM768X25519 {
				return false
			}
		}
	}
	front := c.Payload
	if c.Header != nil {
		front = c.Header
	}
	return len(front) <= 9 || front[9] != byte(format.ChaCha20Poly1305)
}
