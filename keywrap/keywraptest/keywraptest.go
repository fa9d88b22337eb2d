// Package keywraptest has the conformance suite for keywrap.Wrapper and
// keywrap.Unwrapper: what package stream and the readers of a stream rely on.
// Run it over an implementation of your own:
//
//	func TestConformance(t *testing.T) {
//		keywraptest.Run(t, keywraptest.Config{New: func(t testing.TB) keywraptest.Pair {
//			k := newVaultKey(t)
//			return keywraptest.Pair{Wrapper: k, Unwrapper: k}
//		}})
//	}
package keywraptest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
)

// A Pair is a Wrapper and the Unwrapper that unwraps what it wraps.
type Pair struct {
	Wrapper   keywrap.Wrapper
	Unwrapper keywrap.Unwrapper
}

// A Config says what to test, and what to expect of it. The zero value of each
// field but New is a default.
type Config struct {
	// New returns a pair with a new wrapping key. Two pairs do not unwrap each
	// other's data keys, even when their keys have the same name.
	New func(t testing.TB) Pair

	// Type is the type that each wrapped key must have; 0 allows any.
	Type format.KeyType

	// Size is the size that each wrapped key must have, in bytes; 0 allows any.
	Size int

	// BindsContext says that a wrapped key unwraps with its context only.
	BindsContext bool

	// AnyName says that the name in a wrapped key selects nothing.
	AnyName bool

	// Stride thins out the sweeps over the bits and sizes of a wrapped key,
	// for implementations that take long: every Stride-th is tried. The
	// default is 1, all.
	Stride int
}

// Run tests the implementation that c describes, in subtests.
func Run(t *testing.T, c Config) {
	if c.New == nil {
		t.Fatal("keywraptest: Config.New is missing")
	}
	c.Stride = max(c.Stride, 1)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *Config)
	}{
		{"RoundTrip", roundTrip},
		{"DataKeySize", dataKeySize},
		{"WrappedKeysDiffer", wrappedKeysDiffer},
		{"WrongKey", wrongKey},
		{"WrongTypeOrName", wrongTypeOrName},
		{"Context", contextBinding},
		{"BitFlips", bitFlips},
		{"WrongSizes", wrongSizes},
		{"InputsAreKept", inputsAreKept},
		{"Concurrent", concurrent},
		{"Cancelled", cancelled},
		{"NoSecretsInErrors", noSecretsInErrors},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, &c) })
	}
}

var testContext = keywrap.Context{"tenant": "a", "purpose": "keywraptest"}

func newDataKey() []byte {
	b := make([]byte, keywrap.DataKeySize)
	rand.Read(b)
	return b
}

// wrap wraps a new data key and checks what every wrapped key must be.
func (c *Config) wrap(t *testing.T, p Pair, ec keywrap.Context) (dataKey []byte, keys []format.WrappedKey) {
	t.Helper()
	dataKey = newDataKey()
	keys, err := p.Wrapper.WrapKey(t.Context(), dataKey, ec)
	if err != nil {
		t.Fatalf("WrapKey: %v", err)
	}
	c.checkKeys(t, keys)
	return dataKey, keys
}

func (c *Config) checkKeys(t *testing.T, keys []format.WrappedKey) {
	t.Helper()
	if len(keys) < 1 || len(keys) > format.MaxWrappedKeys {
		t.Fatalf("%d wrapped keys, expected 1 to %d", len(keys), format.MaxWrappedKeys)
	}
	for _, k := range keys {
		switch {
		case k.Type == 0 || c.Type != 0 && k.Type != c.Type:
			t.Fatalf("wrapped key of type %v, expected %v", k.Type, c.Type)
		case !format.ValidKeyName(k.Name):
			t.Fatalf("a header cannot hold the key name %q", k.Name)
		case len(k.Data) == 0 || len(k.Data) > 65535 || c.Size != 0 && len(k.Data) != c.Size:
			t.Fatalf("wrapped key of %d bytes, expected %d", len(k.Data), c.Size)
		}
	}
}

// refused checks a failed UnwrapKey: no data key, and one of the errors.
func refused(t *testing.T, what string, dataKey []byte, err error, wants ...error) {
	t.Helper()
	if dataKey != nil {
		t.Errorf("%s: a data key was returned", what)
	}
	if !slices.ContainsFunc(wants, func(want error) bool { return errors.Is(err, want) }) {
		t.Errorf("%s: %v, expected %v", what, err, wants)
	}
}

func clone(k format.WrappedKey) format.WrappedKey {
	k.Data = bytes.Clone(k.Data)
	return k
}

func roundTrip(t *testing.T, c *Config) {
	p := c.New(t)
	for _, ec := range []keywrap.Context{nil, testContext} {
		dataKey, keys := c.wrap(t, p, ec)
		for _, k := range keys {
			got, err := p.Unwrapper.UnwrapKey(t.Context(), k, ec)
			if err != nil || !bytes.Equal(got, dataKey) {
				t.Errorf("UnwrapKey: %d bytes that are the data key: %v, %v", len(got), bytes.Equal(got, dataKey), err)
			}
		}
		dataKey, keys, err := keywrap.GenerateKey(t.Context(), p.Wrapper, ec)
		if err != nil {
			t.Fatalf("GenerateKey: %v", err)
		}
		c.checkKeys(t, keys)
		if len(dataKey) != keywrap.DataKeySize || bytes.Equal(dataKey, make([]byte, len(dataKey))) {
			t.Errorf("GenerateKey: a data key of %d bytes, or of zeros", len(dataKey))
		}
		for _, k := range keys {
			got, err := p.Unwrapper.UnwrapKey(t.Context(), k, ec)
			if err != nil || !bytes.Equal(got, dataKey) {
				t.Errorf("UnwrapKey of a generated key: %v", err)
			}
		}
	}
}

func dataKeySize(t *testing.T, c *Config) {
	p := c.New(t)
	for _, n := range []int{0, 16, keywrap.DataKeySize - 1, keywrap.DataKeySize + 1} {
		if keys, err := p.Wrapper.WrapKey(t.Context(), make([]byte, n), nil); err == nil || keys != nil {
			t.Errorf("a data key of %d bytes was wrapped", n)
		}
	}
}

// wrappedKeysDiffer: two data keys never wrap to the same bytes.
func wrappedKeysDiffer(t *testing.T, c *Config) {
	p := c.New(t)
	_, one := c.wrap(t, p, nil)
	_, two := c.wrap(t, p, nil)
	for i := range one {
		if bytes.Equal(one[i].Data, two[i].Data) {
			t.Error("two data keys have the same wrapped key")
		}
	}
}

// wrongKey unwraps with another key: as it is, and under that key's name.
func wrongKey(t *testing.T, c *Config) {
	p, other := c.New(t), c.New(t)
	_, keys := c.wrap(t, p, nil)
	_, others := c.wrap(t, other, nil)
	for i, k := range keys {
		sameName := slices.ContainsFunc(others, func(o format.WrappedKey) bool { return o.Name == k.Name })
		got, err := other.Unwrapper.UnwrapKey(t.Context(), k, nil)
		if c.AnyName || sameName {
			refused(t, "another key of the same name", got, err, keywrap.ErrUnwrap)
		} else {
			refused(t, "another key", got, err, keywrap.ErrNoMatch)
		}
		k.Name = others[min(i, len(others)-1)].Name
		got, err = other.Unwrapper.UnwrapKey(t.Context(), k, nil)
		refused(t, "under another key's name", got, err, keywrap.ErrUnwrap)
	}
}

func wrongTypeOrName(t *testing.T, c *Config) {
	p := c.New(t)
	_, keys := c.wrap(t, p, nil)
	for _, k := range keys {
		for _, kind := range []format.KeyType{1, 2, 3, 4, 5, 0x7777, 0xFFFF} {
			if kind == k.Type {
				continue
			}
			changed := clone(k)
			changed.Type = kind
			got, err := p.Unwrapper.UnwrapKey(t.Context(), changed, nil)
			refused(t, fmt.Sprintf("type %v", kind), got, err, keywrap.ErrNoMatch)
		}
		if c.AnyName {
			continue
		}
		for _, name := range []string{"", "another", k.Name + "x", k.Name[:len(k.Name)-1]} {
			changed := clone(k)
			changed.Name = name
			got, err := p.Unwrapper.UnwrapKey(t.Context(), changed, nil)
			refused(t, fmt.Sprintf("name %q", name), got, err, keywrap.ErrNoMatch)
		}
	}
}

func contextBinding(t *testing.T, c *Config) {
	p := c.New(t)
	dataKey, keys := c.wrap(t, p, testContext)
	for what, ec := range map[string]keywrap.Context{
		"no context":       nil,
		"a pair less":      {"tenant": "a"},
		"a pair more":      {"tenant": "a", "purpose": "keywraptest", "x": ""},
		"another value":    {"tenant": "b", "purpose": "keywraptest"},
		"another spelling": {"Tenant": "a", "purpose": "keywraptest"},
	} {
		for _, k := range keys {
			got, err := p.Unwrapper.UnwrapKey(t.Context(), k, ec)
			if c.BindsContext {
				refused(t, what, got, err, keywrap.ErrUnwrap)
			} else if err != nil || !bytes.Equal(got, dataKey) {
				t.Errorf("%s: %v, though the context is not bound", what, err)
			}
		}
	}
}

func bitFlips(t *testing.T, c *Config) {
	p := c.New(t)
	_, keys := c.wrap(t, p, nil)
	for _, k := range keys {
		for i := 0; i < 8*len(k.Data); i += c.Stride {
			changed := clone(k)
			changed.Data[i/8] ^= 1 << (i % 8)
			// What leads a wrapped key may say what it costs to unwrap.
			got, err := p.Unwrapper.UnwrapKey(t.Context(), changed, nil)
			refused(t, fmt.Sprintf("bit %d of byte %d", i%8, i/8), got, err, keywrap.ErrUnwrap, keywrap.ErrKeyCost)
		}
	}
}

func wrongSizes(t *testing.T, c *Config) {
	p := c.New(t)
	_, keys := c.wrap(t, p, nil)
	for _, k := range keys {
		for n := 0; n < len(k.Data); n += c.Stride {
			cut := clone(k)
			cut.Data = cut.Data[:n]
			got, err := p.Unwrapper.UnwrapKey(t.Context(), cut, nil)
			refused(t, fmt.Sprintf("cut to %d bytes", n), got, err, keywrap.ErrUnwrap)
		}
		for _, n := range []int{1, 8, 16, 65535 - len(k.Data)} {
			extended := clone(k)
			extended.Data = append(extended.Data, make([]byte, n)...)
			got, err := p.Unwrapper.UnwrapKey(t.Context(), extended, nil)
			refused(t, fmt.Sprintf("extended by %d bytes", n), got, err, keywrap.ErrUnwrap)
		}
	}
}

// inputsAreKept: neither side changes or keeps what it is given, and what it
// returns is the caller's.
func inputsAreKept(t *testing.T, c *Config) {
	p := c.New(t)
	dataKey := newDataKey()
	want, ec := bytes.Clone(dataKey), keywrap.Context{"tenant": "a"}
	keys, err := p.Wrapper.WrapKey(t.Context(), dataKey, ec)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(dataKey, want) {
		t.Error("WrapKey changes the data key")
	}
	clear(dataKey) // the caller's right
	for _, k := range keys {
		before := clone(k)
		got, err := p.Unwrapper.UnwrapKey(t.Context(), k, ec)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("after the data key was cleared: %v", err)
		}
		clear(got)
		if again, err := p.Unwrapper.UnwrapKey(t.Context(), k, ec); err != nil || !bytes.Equal(again, want) {
			t.Errorf("after the returned data key was cleared: %v", err)
		}
		if !bytes.Equal(k.Data, before.Data) {
			t.Error("UnwrapKey changes the wrapped key")
		}
	}
	if len(ec) != 1 || ec["tenant"] != "a" {
		t.Error("the context was changed")
	}
}

func concurrent(t *testing.T, c *Config) {
	p := c.New(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 4 {
				dataKey := newDataKey()
				keys, err := p.Wrapper.WrapKey(t.Context(), dataKey, testContext)
				if err != nil {
					t.Errorf("WrapKey: %v", err)
					return
				}
				for _, k := range keys {
					if got, err := p.Unwrapper.UnwrapKey(t.Context(), k, testContext); err != nil || !bytes.Equal(got, dataKey) {
						t.Errorf("UnwrapKey: %v", err)
					}
				}
			}
		})
	}
	wg.Wait()
}

// cancelled: a context that has ended is honoured or, where nothing is waited
// for, ignored.
func cancelled(t *testing.T, c *Config) {
	p := c.New(t)
	dataKey, keys := c.wrap(t, p, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Wrapper.WrapKey(ctx, dataKey, nil); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("WrapKey: %v", err)
	}
	for _, k := range keys {
		got, err := p.Unwrapper.UnwrapKey(ctx, k, nil)
		switch {
		case err == nil && !bytes.Equal(got, dataKey):
			t.Error("UnwrapKey: another data key")
		case err != nil:
			refused(t, "UnwrapKey", got, err, context.Canceled)
		}
	}
	if got, err := p.Unwrapper.UnwrapKey(t.Context(), keys[0], nil); err != nil || !bytes.Equal(got, dataKey) {
		t.Errorf("after a cancelled call: %v", err)
	}
}

// noSecretsInErrors looks for the data key and the wrapped key in messages.
func noSecretsInErrors(t *testing.T, c *Config) {
	p, other := c.New(t), c.New(t)
	dataKey, keys := c.wrap(t, p, testContext)
	var messages []string
	_, err := p.Wrapper.WrapKey(t.Context(), append(bytes.Clone(dataKey), 0), testContext)
	messages = append(messages, fmt.Sprintf("%v %+v", err, err))
	for _, k := range keys {
		changed := clone(k)
		changed.Data[len(changed.Data)-1] ^= 1
		for _, u := range []keywrap.Unwrapper{p.Unwrapper, other.Unwrapper} {
			_, err := u.UnwrapKey(t.Context(), changed, testContext)
			messages = append(messages, fmt.Sprintf("%v %+v", err, err))
		}
	}
	secrets := [][]byte{dataKey, keys[0].Data}
	for _, message := range messages {
		if len(message) > 4096 {
			t.Errorf("a message of %d bytes", len(message))
		}
		for _, secret := range secrets {
			for _, form := range []string{string(secret[:8]), hex.EncodeToString(secret[:8]), base64.StdEncoding.EncodeToString(secret[:9]), fmt.Sprint(secret[:4])} {
				if bytes.Contains([]byte(message), []byte(form)) {
					t.Errorf("a message shows a data key or a wrapped key: %.200s", message)
				}
			}
		}
	}
}
