package keywrap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
)

func newKey(t testing.TB, name string) *keywrap.AESKey {
	t.Helper()
	k, err := keywrap.GenerateAESKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func wrap(t testing.TB, w keywrap.Wrapper) (dataKey []byte, keys []format.WrappedKey) {
	t.Helper()
	dataKey, keys, err := keywrap.GenerateKey(t.Context(), w, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(dataKey) != keywrap.DataKeySize || bytes.Equal(dataKey, make([]byte, len(dataKey))) {
		t.Fatalf("data key of %d bytes", len(dataKey))
	}
	return dataKey, keys
}

// fake is a key service that generates keys and can fail.
type fake struct {
	name      string
	err       error
	size      int
	generated [][]byte
}

func (f *fake) WrapKey(_ context.Context, dataKey []byte, _ keywrap.Context) ([]format.WrappedKey, error) {
	if f.err != nil {
		return nil, f.err
	}
	return []format.WrappedKey{{Type: 99, Name: f.name, Data: bytes.Clone(dataKey)}}, nil
}

func (f *fake) GenerateKey(ctx context.Context, ec keywrap.Context) ([]byte, []format.WrappedKey, error) {
	dataKey := bytes.Repeat([]byte{42}, f.size)
	f.generated = append(f.generated, dataKey)
	keys, err := f.WrapKey(ctx, dataKey, ec)
	return dataKey, keys, err
}

func (f *fake) UnwrapKey(_ context.Context, k format.WrappedKey, _ keywrap.Context) ([]byte, error) {
	switch {
	case f.err != nil:
		return nil, f.err
	case k.Type != 99 || k.Name != f.name:
		return nil, keywrap.ErrNoMatch
	}
	return bytes.Clone(k.Data), nil
}

func TestAESKey(t *testing.T) {
	k := newKey(t, "one")
	dataKey, keys := wrap(t, k)
	if len(keys) != 1 || keys[0].Type != format.KeyTypeAES || keys[0].Name != "one" || len(keys[0].Data) != 40 {
		t.Fatalf("wrapped keys: %+v", keys)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got, err := k.UnwrapKey(t.Context(), keys[0], nil); err != nil || !bytes.Equal(got, dataKey) {
				t.Errorf("unwrapped %x, %v", got, err)
			}
		})
	}
	wg.Wait()

	for name, c := range map[string]struct {
		edit func(*format.WrappedKey)
		by   *keywrap.AESKey
		want error
	}{
		"another type":              {func(w *format.WrappedKey) { w.Type = format.KeyTypeKMS }, k, keywrap.ErrNoMatch},
		"another name":              {func(w *format.WrappedKey) { w.Name = "two" }, k, keywrap.ErrNoMatch},
		"a key of another name":     {func(*format.WrappedKey) {}, newKey(t, "two"), keywrap.ErrNoMatch},
		"another key with its name": {func(*format.WrappedKey) {}, newKey(t, "one"), keywrap.ErrUnwrap},
		"cut":                       {func(w *format.WrappedKey) { w.Data = w.Data[:39] }, k, keywrap.ErrUnwrap},
		"a register less":           {func(w *format.WrappedKey) { w.Data = w.Data[:32] }, k, keywrap.ErrUnwrap},
		"extended":                  {func(w *format.WrappedKey) { w.Data = append(w.Data, make([]byte, 8)...) }, k, keywrap.ErrUnwrap},
		"empty":                     {func(w *format.WrappedKey) { w.Data = nil }, k, keywrap.ErrUnwrap},
		"a bit flipped":             {func(w *format.WrappedKey) { w.Data[17] ^= 1 }, k, keywrap.ErrUnwrap},
	} {
		w := keys[0]
		w.Data = bytes.Clone(w.Data)
		c.edit(&w)
		if got, err := c.by.UnwrapKey(t.Context(), w, nil); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: %x, %v", name, got, err)
		}
	}
	for _, size := range []int{0, 16, 31, 33} {
		if _, err := k.WrapKey(t.Context(), make([]byte, size), nil); err == nil {
			t.Errorf("a data key of %d bytes was wrapped", size)
		}
	}
}

func TestAESKeyBadInput(t *testing.T) {
	for _, name := range []string{"", "a\nb", "\xff", strings.Repeat("n", format.MaxKeyNameSize+1)} {
		if _, err := keywrap.NewAESKey(name, make([]byte, 32)); !errors.Is(err, keywrap.ErrKeyFormat) {
			t.Errorf("name %.20q: %v", name, err)
		}
	}
	for _, size := range []int{0, 16, 24, 31, 33} {
		if _, err := keywrap.NewAESKey("n", make([]byte, size)); !errors.Is(err, keywrap.ErrKeyFormat) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}

func TestKeyText(t *testing.T) {
	for _, name := range []string{"k", "backups 2026", "ключ", strings.Repeat("n", format.MaxKeyNameSize)} {
		k := newKey(t, name)
		text := k.SecretText()
		if bytes.ContainsAny(text, "\r\n") || !bytes.HasPrefix(text, []byte("BULLA-AES-256-KEY ")) {
			t.Fatalf("text %q", text)
		}
		dataKey, keys := wrap(t, k)
		for _, end := range []string{"", "\n", "\r\n"} {
			again, err := keywrap.ParseAESKey(append(bytes.Clone(text), end...))
			if err != nil {
				t.Fatal(err)
			}
			if again.KeyName() != name {
				t.Errorf("name %q, expected %q", again.KeyName(), name)
			}
			if got, err := again.UnwrapKey(t.Context(), keys[0], nil); err != nil || !bytes.Equal(got, dataKey) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

// TestKeyTextTyposAreFound changes every character of a key's text, drops it,
// doubles it, and cuts the text there.
func TestKeyTextTyposAreFound(t *testing.T) {
	text := newKey(t, "backups").SecretText()
	for i := range text {
		for _, typo := range [][]byte{
			append(append(bytes.Clone(text[:i]), text[i]^1), text[i+1:]...),
			append(bytes.Clone(text[:i]), text[i+1:]...),
			append(append(bytes.Clone(text[:i]), text[i]), text[i:]...),
			text[:i],
		} {
			if _, err := keywrap.ParseAESKey(typo); !errors.Is(err, keywrap.ErrKeyFormat) {
				t.Fatalf("character %d: %q is accepted: %v", i, typo, err)
			}
		}
	}
}

func TestKeyIsNotPrinted(t *testing.T) {
	secret := bytes.Repeat([]byte{0xA7}, 32)
	k, err := keywrap.NewAESKey("backups", secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o"} {
		got := fmt.Sprintf(verb, k)
		if got != `AES wrapping key "backups"` {
			t.Errorf("%s prints %q", verb, got)
		}
	}
}

func TestGenerateKey(t *testing.T) {
	f := &fake{name: "f", size: 32}
	dataKey, keys := wrap(t, f)
	if !bytes.Equal(keys[0].Data, dataKey) {
		t.Error("the service's data key was not used")
	}
	short := &fake{name: "f", size: 16}
	if dataKey, _, err := keywrap.GenerateKey(t.Context(), short, nil); err == nil || dataKey != nil {
		t.Errorf("a generated data key of 16 bytes: %x, %v", dataKey, err)
	}
	if !bytes.Equal(short.generated[0], make([]byte, 16)) {
		t.Error("the refused data key was not cleared")
	}
	failing := &fake{err: errors.New("down"), size: 32}
	if _, _, err := keywrap.GenerateKey(t.Context(), failing, nil); !errors.Is(err, failing.err) {
		t.Errorf("failing service: %v", err)
	}
}

func TestKeyring(t *testing.T) {
	old, current := newKey(t, "2025"), newKey(t, "2026")
	r, err := keywrap.NewKeyring(current, old)
	if err != nil {
		t.Fatal(err)
	}
	if names := strings.Join(r.KeyNames(), " "); r.Active() != "2026" || names != "2025 2026" {
		t.Errorf("active %q of %s", r.Active(), names)
	}
	dataKey, keys := wrap(t, r)
	if len(keys) != 1 || keys[0].Name != "2026" {
		t.Errorf("new streams are for %+v", keys)
	}
	if keys, err := r.WrapKey(t.Context(), dataKey, nil); err != nil || keys[0].Name != "2026" {
		t.Errorf("wrapping for %+v, %v", keys, err)
	}
	for _, k := range []*keywrap.AESKey{old, current} {
		dataKey, keys := wrap(t, k)
		if got, err := r.UnwrapKey(t.Context(), keys[0], nil); err != nil || !bytes.Equal(got, dataKey) {
			t.Errorf("%v: %v", k, err)
		}
	}
	_, foreign := wrap(t, newKey(t, "2024"))
	if _, err := r.UnwrapKey(t.Context(), foreign[0], nil); !errors.Is(err, keywrap.ErrNoMatch) {
		t.Errorf("unknown name: %v", err)
	}
	if _, err := keywrap.NewKeyring(current, old, newKey(t, "2025")); !errors.Is(err, keywrap.ErrKeyFormat) {
		t.Errorf("a name twice: %v", err)
	}
}

func TestMulti(t *testing.T) {
	a, b, g := newKey(t, "a"), newKey(t, "b"), &fake{name: "g", size: 32}
	for name, c := range map[string]struct {
		wrappers []keywrap.Wrapper
		names    string
	}{
		"no generator":    {[]keywrap.Wrapper{a, b}, "a b"},
		"generator first": {[]keywrap.Wrapper{g, a, b}, "g a b"},
		"generator later": {[]keywrap.Wrapper{a, g, b}, "a g b"},
		"two generators":  {[]keywrap.Wrapper{g, &fake{name: "h", size: 16}}, "g h"},
		"nested":          {[]keywrap.Wrapper{keywrap.Multi(a, g), b}, "a g b"},
		"one":             {[]keywrap.Wrapper{a}, "a"},
	} {
		dataKey, keys := wrap(t, keywrap.Multi(c.wrappers...))
		var names []string
		for _, k := range keys {
			names = append(names, k.Name)
			got, err := keywrap.AnyOf(a, b, g, &fake{name: "h"}).UnwrapKey(t.Context(), k, nil)
			if err != nil || !bytes.Equal(got, dataKey) {
				t.Errorf("%s: %s does not unwrap: %v", name, k.Name, err)
			}
		}
		if got := strings.Join(names, " "); got != c.names {
			t.Errorf("%s: wrapped for %s, expected %s", name, got, c.names)
		}
	}

	down := &fake{err: errors.New("down"), size: 32}
	for name, wrappers := range map[string][]keywrap.Wrapper{
		"last fails": {a, down}, "first fails": {down, a}, "beside a generator": {g, struct{ keywrap.Wrapper }{down}},
		"before a generator": {struct{ keywrap.Wrapper }{down}, g},
	} {
		dataKey, keys, err := keywrap.GenerateKey(t.Context(), keywrap.Multi(wrappers...), nil)
		if !errors.Is(err, down.err) || dataKey != nil || keys != nil {
			t.Errorf("%s: %x, %v", name, dataKey, err)
		}
	}
	if !bytes.Equal(g.generated[len(g.generated)-1], make([]byte, 32)) {
		t.Error("the data key of a failed Multi was not cleared")
	}
	if _, _, err := keywrap.GenerateKey(t.Context(), keywrap.Multi(), nil); err == nil {
		t.Error("a Multi of nothing generates keys")
	}
}

func TestAnyOf(t *testing.T) {
	a, down := newKey(t, "a"), &fake{err: errors.New("down")}
	dataKey, keys := wrap(t, a)
	for name, u := range map[string]keywrap.Unwrapper{
		"after no match":  keywrap.AnyOf(newKey(t, "b"), a),
		"after a failure": keywrap.AnyOf(down, a),
	} {
		if got, err := u.UnwrapKey(t.Context(), keys[0], nil); err != nil || !bytes.Equal(got, dataKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := keywrap.AnyOf(newKey(t, "b"), newKey(t, "c")).UnwrapKey(t.Context(), keys[0], nil); !errors.Is(err, keywrap.ErrNoMatch) {
		t.Errorf("no match at all: %v", err)
	}
	if _, err := keywrap.AnyOf(newKey(t, "b"), down).UnwrapKey(t.Context(), keys[0], nil); !errors.Is(err, down.err) || errors.Is(err, keywrap.ErrNoMatch) {
		t.Errorf("one failure: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := keywrap.AnyOf(down, a).UnwrapKey(ctx, keys[0], nil); !errors.Is(err, down.err) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestByContext(t *testing.T) {
	tenants := map[string]*keywrap.AESKey{"a": newKey(t, "k"), "b": newKey(t, "k")}
	down := errors.New("down")
	c := keywrap.ByContext(func(_ context.Context, ec keywrap.Context) (keywrap.WrapUnwrapper, error) {
		if ec["tenant"] == "down" {
			return nil, down
		}
		if k, ok := tenants[ec["tenant"]]; ok {
			return k, nil
		}
		return nil, nil
	})
	a, b := keywrap.Context{"tenant": "a"}, keywrap.Context{"tenant": "b"}
	dataKey, keys, err := c.GenerateKey(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	for name, u := range map[string]keywrap.Unwrapper{"the chooser": c, "the tenant's key": tenants["a"]} {
		if got, err := u.UnwrapKey(t.Context(), keys[0], a); err != nil || !bytes.Equal(got, dataKey) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.UnwrapKey(t.Context(), keys[0], b); !errors.Is(err, keywrap.ErrUnwrap) {
		t.Errorf("under another tenant's context: %v", err)
	}
	for want, ec := range map[error]keywrap.Context{keywrap.ErrNoMatch: {"tenant": "c"}, down: {"tenant": "down"}} {
		_, wrapErr := c.WrapKey(t.Context(), dataKey, ec)
		_, _, generateErr := c.GenerateKey(t.Context(), ec)
		_, unwrapErr := c.UnwrapKey(t.Context(), keys[0], ec)
		for _, err := range []error{wrapErr, generateErr, unwrapErr} {
			if !errors.Is(err, want) {
				t.Errorf("%v: %v, expected %v", ec, err, want)
			}
		}
	}
}
