package stream_test

import (
	"bytes"
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

func newAESKey(t testing.TB, name string) *keywrap.AESKey {
	t.Helper()
	k, err := keywrap.GenerateAESKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func encryptFor(t testing.TB, w keywrap.Wrapper, plaintext []byte, o *stream.EncryptOptions) []byte {
	t.Helper()
	r, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(plaintext), w, o)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func decryptWith(t testing.TB, u keywrap.Unwrapper, stored []byte, o *stream.DecryptOptions) ([]byte, stream.Info, error) {
	t.Helper()
	r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(stored), u, o)
	if err != nil {
		return nil, stream.Info{}, err
	}
	plaintext, err := io.ReadAll(r)
	return plaintext, r.Info(), err
}

// rewrapped puts the re-wrapped header in front of the payload.
func rewrapped(t testing.TB, stored []byte, old keywrap.Unwrapper, new keywrap.Wrapper, o *stream.RewrapOptions) []byte {
	t.Helper()
	header, err := stream.Rewrap(t.Context(), stored, old, new, o)
	if err != nil {
		t.Fatal(err)
	}
	before, err := stream.Inspect(stored)
	if err != nil {
		t.Fatal(err)
	}
	after, err := stream.Inspect(header)
	if err != nil {
		t.Fatal(err)
	}
	if after.Generation != before.Generation+1 || after.IV != before.IV || after.PlaintextSize != before.PlaintextSize || len(header) != after.HeaderSize {
		t.Errorf("before %+v, after %+v", before, after)
	}
	if !bytes.Equal(header[:format.PreludeSize], stored[:format.PreludeSize]) {
		t.Error("the prelude has changed")
	}
	return append(header, stored[before.HeaderSize:]...)
}

func TestRewrap(t *testing.T) {
	old, current := newAESKey(t, "old"), newAESKey(t, "new")
	for _, suite := range suites() {
		for _, compact := range []bool{false, true} {
			plaintext := content(2*segmentSize + 7)
			o := rich()
			o.Suite, o.CompactHeader, o.PlaintextSize = suite, compact, new(int64(len(plaintext)))
			stored := encryptFor(t, old, plaintext, o)
			next := rewrapped(t, stored, old, current, nil)
			if len(next) != len(stored) {
				t.Errorf("compact %v: %d bytes before, %d after", compact, len(stored), len(next))
			}
			got, info, err := decryptWith(t, current, next, &stream.DecryptOptions{RequiredContext: o.Context})
			check(t, "the new key", got, err, plaintext)
			if !maps.Equal(info.Metadata, o.Metadata) || !maps.Equal(info.Context, o.Context) {
				t.Errorf("metadata %v, context %v", info.Metadata, info.Context)
			}
			if _, _, err := decryptWith(t, old, next, nil); !errors.Is(err, keywrap.ErrNoMatch) {
				t.Errorf("the old key: %v", err)
			}
			again := rewrapped(t, next, current, old, nil)
			got, info, err = decryptWith(t, old, again, nil)
			check(t, "re-wrapped back", got, err, plaintext)
			if info.Generation != 2 {
				t.Errorf("generation %d", info.Generation)
			}
		}
	}
}

func TestRewrapKeepsKeys(t *testing.T) {
	a, b, c := newAESKey(t, "a"), newAESKey(t, "b"), newAESKey(t, "c")
	stored := encryptFor(t, keywrap.Multi(a, b), []byte("x"), nil)
	keepB := func(k format.WrappedKey) bool { return k.Name == "b" }
	for name, v := range map[string]struct {
		new   keywrap.Wrapper
		keep  func(format.WrappedKey) bool
		opens string
	}{
		"added":    {c, func(format.WrappedKey) bool { return true }, "abc"},
		"replaced": {c, keepB, "bc"},
		"removed":  {nil, keepB, "b"},
		"all new":  {keywrap.Multi(a, c), nil, "ac"},
	} {
		next := rewrapped(t, stored, a, v.new, &stream.RewrapOptions{Keep: v.keep})
		for _, k := range []*keywrap.AESKey{a, b, c} {
			_, _, err := decryptWith(t, k, next, nil)
			if want := bytes.Contains([]byte(v.opens), []byte(k.KeyName())); (err == nil) != want {
				t.Errorf("%s: key %s: %v", name, k.KeyName(), err)
			}
		}
	}
	if _, err := stream.Rewrap(t.Context(), stored, a, nil, nil); !errors.Is(err, stream.ErrPolicy) {
		t.Errorf("for no key: %v", err)
	}
}

func TestRewrapExtensions(t *testing.T) {
	o := rich()
	o.Location = "s3://b/k"
	stored := encryptFor(t, testKey, []byte("x"), o)
	here := &stream.DecryptOptions{IgnoreLocation: true}
	for name, c := range map[string]struct {
		o                 stream.RewrapOptions
		context, metadata map[string]string
		location          string
	}{
		"as it is":     {stream.RewrapOptions{}, o.Context, o.Metadata, o.Location},
		"new context":  {stream.RewrapOptions{Context: keywrap.Context{"x": "y"}}, map[string]string{"x": "y"}, o.Metadata, o.Location},
		"no context":   {stream.RewrapOptions{Context: keywrap.Context{}}, nil, o.Metadata, o.Location},
		"new metadata": {stream.RewrapOptions{Metadata: map[string]string{"n": "2"}}, o.Context, map[string]string{"n": "2"}, o.Location},
		"no metadata":  {stream.RewrapOptions{Metadata: map[string]string{}}, o.Context, nil, o.Location},
		"moved":        {stream.RewrapOptions{Location: new("s3://b/k2")}, o.Context, o.Metadata, "s3://b/k2"},
		"no location":  {stream.RewrapOptions{Location: new("")}, o.Context, o.Metadata, ""},
	} {
		got, info, err := decryptWith(t, testKey, rewrapped(t, stored, testKey, testKey, &c.o), here)
		check(t, name, got, err, []byte("x"))
		if !maps.Equal(info.Context, c.context) || !maps.Equal(info.Metadata, c.metadata) || info.Location != c.location {
			t.Errorf("%s: %+v", name, info)
		}
	}
	if _, err := stream.Rewrap(t.Context(), stored, testKey, testKey, &stream.RewrapOptions{Context: keywrap.Context{"": "x"}}); !errors.Is(err, format.ErrMalformed) {
		t.Errorf("a bad context: %v", err)
	}
}

// TestRewrapKeepsUnknownExtensions re-wraps a header with an extension of a
// later version.
func TestRewrapKeepsUnknownExtensions(t *testing.T) {
	key := knownKey{bytes.Repeat([]byte{3}, keywrap.DataKeySize)}
	stored := encryptFor(t, key, []byte("x"), rich())
	h, err := format.ParseHeader(stored[:headerSize(t, stored)])
	if err != nil {
		t.Fatal(err)
	}
	h.Extensions = append([]format.Extension{{Type: 0x0001, Value: []byte("later")}}, h.Extensions...)
	h.Size = 4096
	header := seal(t, h, key.dataKey)
	next, err := stream.Rewrap(t.Context(), header, key, keywrap.Multi(newAESKey(t, "a")), nil)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Inspect(next)
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Extensions) != 3 || string(info.Extensions[0].Value) != "later" {
		t.Errorf("%+v", info.Extensions)
	}

	h.Generation = 1<<32 - 1
	if _, err := stream.Rewrap(t.Context(), seal(t, h, key.dataKey), key, testKey, nil); !errors.Is(err, stream.ErrTooLarge) {
		t.Errorf("at the highest generation: %v", err)
	}
	h.Generation = 1<<32 - 2
	if _, err := stream.Rewrap(t.Context(), seal(t, h, key.dataKey), key, testKey, nil); err != nil {
		t.Errorf("below it: %v", err)
	}
}

// TestRewrapGrowsHeader re-wraps headers for more keys than fit. What was
// compact stays so.
func TestRewrapGrowsHeader(t *testing.T) {
	plaintext := content(segmentSize + 1)
	var keys []keywrap.Wrapper
	for i := range format.MaxWrappedKeys {
		keys = append(keys, newAESKey(t, fmt.Sprintf("key %d %0200d", i, 0)))
	}
	for _, compact := range []bool{false, true} {
		o := small()
		o.CompactHeader = compact
		stored := encryptFor(t, testKey, plaintext, o)
		next := rewrapped(t, stored, testKey, keywrap.Multi(keys...), nil)
		got, info, err := decryptWith(t, keys[31].(keywrap.Unwrapper), next, nil)
		check(t, "grown", got, err, plaintext)
		h, err := format.ParseHeader(next[:info.HeaderSize])
		if err != nil {
			t.Fatal(err)
		}
		if info.HeaderSize <= format.DefaultHeaderSize || compact != (h.Size == h.MinSize()) || compact == (h.Size%4096 == 0) {
			t.Errorf("compact %v: header of %d bytes, %d needed", compact, info.HeaderSize, h.MinSize())
		}
		if _, err := stream.Rewrap(t.Context(), next, keys[0].(keywrap.Unwrapper), testKey, &stream.RewrapOptions{Keep: func(format.WrappedKey) bool { return true }}); !errors.Is(err, format.ErrMalformed) {
			t.Errorf("33 keys: %v", err)
		}
	}
}

// TestRewrapShrinksAndGrows re-wraps a compact header for a key with a shorter
// name, which leaves zero bytes in it, and then for one with a longer name.
func TestRewrapShrinksAndGrows(t *testing.T) {
	o := small()
	long, short := newAESKey(t, strings.Repeat("n", 40)), newAESKey(t, "n")
	stored := encryptFor(t, long, []byte("text"), o)
	shorter := rewrapped(t, stored, long, short, nil)
	if before, after := headerSize(t, stored), headerSize(t, shorter); after != before {
		t.Fatalf("a header of %d bytes has %d with a shorter name", before, after)
	}
	longer := rewrapped(t, shorter, short, keywrap.Multi(long, newAESKey(t, strings.Repeat("m", 40))), nil)
	if size := headerSize(t, longer); size >= format.DefaultHeaderSize {
		t.Errorf("a compact header grew to %d bytes", size)
	}
	got, _, err := decryptWith(t, long, longer, nil)
	check(t, "grown again", got, err, []byte("text"))
}

// TestRewrapAuthenticates changes each byte of a header: none may be carried
// over into a new one.
func TestRewrapAuthenticates(t *testing.T) {
	o := rich()
	o.AssociatedData = []byte("ad")
	stored := encryptFor(t, testKey, []byte("x"), o)
	with := &stream.RewrapOptions{AssociatedData: o.AssociatedData}
	size := headerSize(t, stored)
	for i := range size {
		changed := bytes.Clone(stored)
		changed[i] ^= 1
		if header, err := stream.Rewrap(t.Context(), changed, testKey, testKey, with); !refused(err) || header != nil {
			t.Fatalf("byte %d: %v", i, err)
		}
	}
	for n := range size {
		if _, err := stream.Rewrap(t.Context(), stored[:n], testKey, testKey, with); !refused(err) {
			t.Fatalf("%d bytes: %v", n, err)
		}
	}
	if _, err := stream.Rewrap(t.Context(), stored, testKey, testKey, nil); !errors.Is(err, stream.ErrPolicy) {
		t.Errorf("without the associated data: %v", err)
	}
	if _, err := stream.Rewrap(t.Context(), stored, testKey, testKey, &stream.RewrapOptions{AssociatedData: []byte("AD")}); !errors.Is(err, stream.ErrAuth) {
		t.Errorf("with other associated data: %v", err)
	}
	if _, err := stream.Rewrap(t.Context(), stored, newAESKey(t, "other"), testKey, with); !errors.Is(err, keywrap.ErrNoMatch) {
		t.Errorf("with another key: %v", err)
	}
	if _, err := stream.Rewrap(t.Context(), stored, testKey, &service{err: errInjected}, with); !errors.Is(err, errInjected) {
		t.Errorf("with a failing Wrapper: %v", err)
	}
}

// A contextKey says that it is of AWS KMS and looks at the context.
type contextKey struct{}

func (contextKey) WrapKey(_ context.Context, dataKey []byte, ec keywrap.Context) ([]format.WrappedKey, error) {
	return []format.WrappedKey{{Type: format.KeyTypeKMS, Name: "kms", Data: append([]byte(fmt.Sprint(ec)), dataKey...)}}, nil
}

func (contextKey) UnwrapKey(_ context.Context, w format.WrappedKey, ec keywrap.Context) ([]byte, error) {
	if w.Type != format.KeyTypeKMS {
		return nil, keywrap.ErrNoMatch
	}
	dataKey, ok := bytes.CutPrefix(w.Data, []byte(fmt.Sprint(ec)))
	if !ok {
		return nil, keywrap.ErrUnwrap
	}
	return bytes.Clone(dataKey), nil
}

func TestRewrapContextOfKMS(t *testing.T) {
	k := contextKey{}
	stored := encryptFor(t, k, []byte("x"), &stream.EncryptOptions{Context: keywrap.Context{"a": "1"}})
	keep := func(format.WrappedKey) bool { return true }
	if _, err := stream.Rewrap(t.Context(), stored, k, testKey, &stream.RewrapOptions{Keep: keep, Context: keywrap.Context{"a": "2"}}); !errors.Is(err, stream.ErrPolicy) {
		t.Errorf("kept under another context: %v", err)
	}
	next := rewrapped(t, stored, k, k, &stream.RewrapOptions{Context: keywrap.Context{"a": "2"}})
	got, _, err := decryptWith(t, k, next, nil)
	check(t, "wrapped under the new context", got, err, []byte("x"))
	next = rewrapped(t, stored, k, testKey, &stream.RewrapOptions{Keep: keep, Context: keywrap.Context{"a": "1"}})
	got, _, err = decryptWith(t, k, next, nil)
	check(t, "kept under the same context", got, err, []byte("x"))
}

// TestEveryKindOfKey writes for all kinds at once: each opens the stream
// alone, and after a re-wrap only the one that is left.
func TestEveryKindOfKey(t *testing.T) {
	if fips140.Enforced() {
		return // the cryptographic module in force does not have all kinds
	}
	aes := newAESKey(t, "aes")
	rsa, err := keywrap.GenerateRSAKey("rsa", 2048)
	if err != nil {
		t.Fatal(err)
	}
	hpke, err := keywrap.GenerateHPKEKey("hpke", 0)
	if err != nil {
		t.Fatal(err)
	}
	passphrase, err := keywrap.NewPassphrase([]byte("correct horse"), &keywrap.PassphraseOptions{Memory: 1 << 10, Passes: 1})
	if err != nil {
		t.Fatal(err)
	}
	plaintext := content(3*segmentSize + 1)
	all := keywrap.Multi(aes, contextKey{}, rsa.PublicKey(), hpke.PublicKey(), passphrase)
	if _, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(plaintext), all, nil); !errors.Is(err, stream.ErrPolicy) {
		t.Errorf("RSA beside a post-quantum key: %v", err)
	}
	stored := encryptFor(t, all, plaintext, &stream.EncryptOptions{ClassicalKeys: []string{"rsa"}})
	unwrappers := map[string]keywrap.Unwrapper{"aes": aes, "kms": contextKey{}, "rsa": rsa, "hpke": hpke, "passphrase": passphrase}
	for name, u := range unwrappers {
		got, _, err := decryptWith(t, u, stored, nil)
		check(t, name, got, err, plaintext)
	}
	next := rewrapped(t, stored, rsa, hpke.PublicKey(), nil)
	for name, u := range unwrappers {
		got, _, err := decryptWith(t, u, next, nil)
		if name == "hpke" {
			check(t, name, got, err, plaintext)
		} else if !errors.Is(err, keywrap.ErrNoMatch) {
			t.Errorf("after the re-wrap, %s: %v", name, err)
		}
	}
}

func TestPostQuantumRule(t *testing.T) {
	if fips140.Enforced() {
		return // the cryptographic module in force does not have all KEMs
	}
	keys := map[keywrap.KEM]*keywrap.HPKEKey{}
	for _, kem := range []keywrap.KEM{keywrap.MLKEM768X25519, keywrap.MLKEM768P256, keywrap.MLKEM1024P384, keywrap.DHKEMX25519, keywrap.DHKEMP256} {
		k, err := keywrap.GenerateHPKEKey(kem.String(), kem)
		if err != nil {
			t.Fatal(err)
		}
		keys[kem] = k
	}
	rsa, err := keywrap.GenerateRSAKey("rsa", 2048)
	if err != nil {
		t.Fatal(err)
	}
	pq, x, p := keys[keywrap.MLKEM768X25519], keys[keywrap.DHKEMX25519], keys[keywrap.DHKEMP256]
	for name, c := range map[string]struct {
		w       keywrap.Wrapper
		allowed []string
		want    error
	}{
		"post-quantum":              {keywrap.Multi(pq, keys[keywrap.MLKEM768P256], keys[keywrap.MLKEM1024P384]), nil, nil},
		"with a symmetric key":      {keywrap.Multi(pq, testKey), nil, nil},
		"classical":                 {keywrap.Multi(x, p, rsa), nil, nil},
		"with X25519":               {keywrap.Multi(pq, x), nil, stream.ErrClassical},
		"with P-256":                {keywrap.Multi(p, pq), nil, stream.ErrClassical},
		"with RSA":                  {keywrap.Multi(pq, rsa), nil, stream.ErrClassical},
		"with RSA, by name":         {keywrap.Multi(pq, rsa), []string{"rsa"}, nil},
		"with two, one by name":     {keywrap.Multi(pq, rsa, x), []string{"rsa"}, stream.ErrPolicy},
		"with two, both by name":    {keywrap.Multi(pq, rsa, x), []string{"x25519", "rsa"}, nil},
		"with RSA, by another name": {keywrap.Multi(pq, rsa), []string{"RSA"}, stream.ErrPolicy},
	} {
		_, err := stream.NewEncryptWriter(t.Context(), io.Discard, c.w, &stream.EncryptOptions{ClassicalKeys: c.allowed})
		if !errors.Is(err, c.want) || errors.Is(err, stream.ErrClassical) && !errors.Is(err, stream.ErrPolicy) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stored := encryptFor(t, pq, []byte("x"), nil)
	keep := func(format.WrappedKey) bool { return true }
	if _, err := stream.Rewrap(t.Context(), stored, pq, rsa, &stream.RewrapOptions{Keep: keep}); !errors.Is(err, stream.ErrPolicy) {
		t.Errorf("re-wrapped for RSA too: %v", err)
	}
	if _, err := stream.Rewrap(t.Context(), stored, pq, rsa, &stream.RewrapOptions{Keep: keep, ClassicalKeys: []string{"rsa"}}); err != nil {
		t.Errorf("re-wrapped for RSA too, by name: %v", err)
	}
}
