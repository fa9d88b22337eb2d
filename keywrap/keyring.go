package keywrap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/bulla-format/bulla/format"
)

// A WrapUnwrapper is a key that both wraps and unwraps.
type WrapUnwrapper interface {
	Wrapper
	Unwrapper
}

// A Key is a WrapUnwrapper with a name.
type Key interface {
	WrapUnwrapper
	KeyName() string
}

// A Keyring holds named keys. New streams are for the first one; old streams
// open with any, chosen by the name in the header. To rotate, put a new key in
// front and keep the old ones. It is immutable, and safe for concurrent use.
type Keyring struct {
	active Key
	keys   map[string]Key
}

// NewKeyring returns a keyring of one or more keys of different names, the
// first of which is for new streams.
func NewKeyring(active Key, others ...Key) (*Keyring, error) {
	r := &Keyring{active: active, keys: make(map[string]Key)}
	for _, k := range append([]Key{active}, others...) {
		if _, ok := r.keys[k.KeyName()]; ok {
			return nil, fmt.Errorf("%w: two keys of a keyring have the name %.128q", ErrKeyFormat, k.KeyName())
		}
		r.keys[k.KeyName()] = k
	}
	return r, nil
}

// Active returns the name of the key that new streams are for.
func (r *Keyring) Active() string { return r.active.KeyName() }

// KeyNames returns the names of all keys, in ascending order.
func (r *Keyring) KeyNames() []string { return slices.Sorted(maps.Keys(r.keys)) }

// WrapKey implements [Wrapper] with the first key.
func (r *Keyring) WrapKey(ctx context.Context, dataKey []byte, ec Context) ([]format.WrappedKey, error) {
	return r.active.WrapKey(ctx, dataKey, ec)
}

// GenerateKey implements [Generator] with the first key.
func (r *Keyring) GenerateKey(ctx context.Context, ec Context) ([]byte, []format.WrappedKey, error) {
	return GenerateKey(ctx, r.active, ec)
}

// UnwrapKey implements [Unwrapper] with the key that the header names; without
// one of that name the error is [ErrNoMatch].
func (r *Keyring) UnwrapKey(ctx context.Context, w format.WrappedKey, ec Context) ([]byte, error) {
	k, ok := r.keys[w.Name]
	if !ok {
		return nil, ErrNoMatch
	}
	return k.UnwrapKey(ctx, w, ec)
}

// Multi returns a Generator that wraps each data key for all of the given
// wrappers, any one of which then suffices to read the stream. The data key
// comes from the first wrapper that is a [Generator], else from the system's
// random source. When one of them fails, all do.
func Multi(wrappers ...Wrapper) Generator { return multi(wrappers) }

type multi []Wrapper

func (m multi) WrapKey(ctx context.Context, dataKey []byte, ec Context) ([]format.WrappedKey, error) {
	var all []format.WrappedKey
	for _, w := range m {
		keys, err := w.WrapKey(ctx, dataKey, ec)
		if err != nil {
			return nil, err
		}
		all = append(all, keys...)
	}
	if len(all) == 0 {
		return nil, errors.New("keywrap: no key to wrap the data key for")
	}
	return all, nil
}

func (m multi) GenerateKey(ctx context.Context, ec Context) ([]byte, []format.WrappedKey, error) {
	for i, w := range m {
		g, ok := w.(Generator)
		if !ok {
			continue
		}
		dataKey, keys, err := GenerateKey(ctx, g, ec)
		if err != nil {
			return nil, nil, err
		}
		before, err := m[:i].wrapAny(ctx, dataKey, ec)
		if err == nil {
			var after []format.WrappedKey
			after, err = m[i+1:].wrapAny(ctx, dataKey, ec)
			keys = append(append(before, keys...), after...)
		}
		if err != nil {
			clear(dataKey)
			return nil, nil, err
		}
		return dataKey, keys, nil
	}
	return GenerateKey(ctx, struct{ Wrapper }{m}, ec) // hides this method: the data key is drawn here
}

// wrapAny is WrapKey that allows there to be no wrapper.
func (m multi) wrapAny(ctx context.Context, dataKey []byte, ec Context) ([]format.WrappedKey, error) {
	if len(m) == 0 {
		return nil, nil
	}
	return m.WrapKey(ctx, dataKey, ec)
}

// AnyOf returns an Unwrapper that asks each of the given ones in turn. The
// first data key wins; a failure of one does not keep the next from being
// asked, and is reported when none has the key.
func AnyOf(unwrappers ...Unwrapper) Unwrapper { return anyOf(unwrappers) }

type anyOf []Unwrapper

func (a anyOf) UnwrapKey(ctx context.Context, k format.WrappedKey, ec Context) ([]byte, error) {
	var failed []error
	for _, u := range a {
		dataKey, err := u.UnwrapKey(ctx, k, ec)
		switch {
		case err == nil:
			return dataKey, nil
		case errors.Is(err, ErrNoMatch):
			continue
		case ctx.Err() != nil:
			return nil, err
		}
		failed = append(failed, err)
	}
	if len(failed) == 0 {
		return nil, ErrNoMatch
	}
	return nil, errors.Join(failed...)
}
