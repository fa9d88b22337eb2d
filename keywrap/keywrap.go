// Package keywrap wraps a stream's data key for one or more wrapping keys and
// unwraps it again.
//
// A [Wrapper] is what a writer needs, an [Unwrapper] what a reader needs; the
// kinds of keys in this package and below it implement one or both. A caller's
// own key service takes an implementation of the two methods.
//
// An Unwrapper uses only the keys it was configured with: what a header names
// selects among them and never adds to them.
package keywrap

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/bulla-format/bulla/format"
)

// DataKeySize is the size of every data key, in bytes.
const DataKeySize = format.DataKeySize

var (
	// ErrNoMatch means that a wrapped key is not for any key that the
	// Unwrapper was configured with. Configure the key that the error names,
	// or check that this is the right stream.
	ErrNoMatch = errors.New("no matching key")

	// ErrUnwrap means that a wrapped key is for a configured key and does not
	// unwrap with it: the key's bytes are others than those that wrapped it,
	// the context differs, or the wrapped key is damaged.
	ErrUnwrap = errors.New("unwrapping the data key failed")

	// ErrKeyFormat means that something given as a key is not one: another
	// kind or size, a name that a header cannot hold, or a damaged text.
	ErrKeyFormat = errors.New("not a valid wrapping key")
)

// A Context is a set of pairs that stand in the header for all to read, are
// authenticated with it, and are bound to the wrapped key by those key services
// that can: AWS KMS takes it as its encryption context.
type Context map[string]string

// A Wrapper wraps data keys. Implementations are safe for concurrent use.
type Wrapper interface {
	// WrapKey wraps the data key, of [DataKeySize] bytes, under each of the
	// Wrapper's keys: most return one wrapped key, and at most
	// format.MaxWrappedKeys. It neither keeps nor changes dataKey.
	WrapKey(ctx context.Context, dataKey []byte, ec Context) ([]format.WrappedKey, error)
}

// A Generator is a Wrapper whose key service makes the data key.
type Generator interface {
	Wrapper

	// GenerateKey returns a new data key of [DataKeySize] bytes, which the
	// caller owns and clears, and the same key wrapped.
	GenerateKey(ctx context.Context, ec Context) (dataKey []byte, keys []format.WrappedKey, err error)
}

// An Unwrapper unwraps data keys. Implementations are safe for concurrent use.
type Unwrapper interface {
	// UnwrapKey returns the data key of [DataKeySize] bytes, which the caller
	// owns and clears. Everything in k is unauthenticated. The error is
	// [ErrNoMatch], returned without any use of a key, when k is not for a
	// configured key, and [ErrUnwrap] when k does not unwrap.
	UnwrapKey(ctx context.Context, k format.WrappedKey, ec Context) (dataKey []byte, err error)
}

// GenerateKey returns a new data key, which the caller owns and clears, and
// the same key wrapped by w. The key comes from w if it is a [Generator], else
// from the system's random source.
func GenerateKey(ctx context.Context, w Wrapper, ec Context) (dataKey []byte, keys []format.WrappedKey, err error) {
	if g, ok := w.(Generator); ok {
		dataKey, keys, err = g.GenerateKey(ctx, ec)
		if err != nil {
			return nil, nil, err
		}
		if len(dataKey) != DataKeySize {
			clear(dataKey)
			return nil, nil, fmt.Errorf("keywrap: %T generated a data key of %d bytes, expected %d", w, len(dataKey), DataKeySize)
		}
		return dataKey, keys, nil
	}
	dataKey = make([]byte, DataKeySize)
	rand.Read(dataKey)
	keys, err = w.WrapKey(ctx, dataKey, ec)
	if err != nil {
		clear(dataKey)
		return nil, nil, err
	}
	return dataKey, keys, nil
}

func checkDataKey(dataKey []byte) error {
	if len(dataKey) != DataKeySize {
		return fmt.Errorf("keywrap: data key of %d bytes, expected %d", len(dataKey), DataKeySize)
	}
	return nil
}

// checkKeyName is for the keys that a reader finds by name.
func checkKeyName(name string) error {
	if name == "" || !format.ValidKeyName(name) {
		return fmt.Errorf("%w: a key's name is 1 to %d bytes of UTF-8 without control characters", ErrKeyFormat, format.MaxKeyNameSize)
	}
	return nil
}
