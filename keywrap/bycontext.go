package keywrap

import (
	"context"

	"github.com/bulla-format/bulla/format"
)

// A ContextChooser wraps and unwraps with the key that a function chooses for
// the context of a stream, such as that of the tenant whom it names. Use is
// safe concurrently if the function is.
type ContextChooser struct {
	choose func(ctx context.Context, ec Context) (WrapUnwrapper, error)
}

// ByContext returns a ContextChooser. choose returns the key for streams of
// the given context, or nil where there is none. When a stream is read, the
// context is not yet authenticated: choose looks it up among keys that it knows
// and makes none of it.
func ByContext(choose func(ctx context.Context, ec Context) (WrapUnwrapper, error)) *ContextChooser {
	return &ContextChooser{choose}
}

// WrapKey implements [Wrapper]. Without a key for the context the error is
// [ErrNoMatch].
func (c *ContextChooser) WrapKey(ctx context.Context, dataKey []byte, ec Context) ([]format.WrappedKey, error) {
	k, err := c.key(ctx, ec)
	if err != nil {
		return nil, err
	}
	return k.WrapKey(ctx, dataKey, ec)
}

// GenerateKey implements [Generator], as WrapKey does Wrapper.
func (c *ContextChooser) GenerateKey(ctx context.Context, ec Context) ([]byte, []format.WrappedKey, error) {
	k, err := c.key(ctx, ec)
	if err != nil {
		return nil, nil, err
	}
	return GenerateKey(ctx, k, ec)
}

// UnwrapKey implements [Unwrapper].
func (c *ContextChooser) UnwrapKey(ctx context.Context, w format.WrappedKey, ec Context) ([]byte, error) {
	k, err := c.key(ctx, ec)
	if err != nil {
		return nil, err
	}
	return k.UnwrapKey(ctx, w, ec)
}

func (c *ContextChooser) key(ctx context.Context, ec Context) (WrapUnwrapper, error) {
	k, err := c.choose(ctx, ec)
	if err == nil && k == nil {
		err = ErrNoMatch
	}
	return k, err
}
