package keywrap_test

import (
	"bytes"
	"context"
	"crypto/fips140"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
)

// cheap is what tests can wait for.
var cheap = keywrap.PassphraseOptions{Memory: 32, Passes: 1}

func TestPassphraseBadInput(t *testing.T) {
	for what, c := range map[string]struct {
		passphrase string
		o          keywrap.PassphraseOptions
		want       error
	}{
		"empty":                          {"", cheap, keywrap.ErrKeyFormat},
		"hint with a line end":           {"x", keywrap.PassphraseOptions{Hint: "a\nb"}, keywrap.ErrKeyFormat},
		"too little memory":              {"x", keywrap.PassphraseOptions{Memory: 31}, keywrap.ErrKeyFormat},
		"more memory than its own limit": {"x", keywrap.PassphraseOptions{Memory: 1 << 21}, keywrap.ErrKeyCost},
		"more passes than its own limit": {"x", keywrap.PassphraseOptions{Passes: 3, MaxPasses: 2}, keywrap.ErrKeyCost},
	} {
		if _, err := keywrap.NewPassphrase([]byte(c.passphrase), &c.o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	p := must[*keywrap.Passphrase](t)(keywrap.NewPassphrase([]byte("secret words"), &keywrap.PassphraseOptions{Hint: "the usual"}))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
		if got := fmt.Sprintf(verb, p); got != `passphrase "the usual"` {
			t.Errorf("%s prints %q", verb, got)
		}
	}
	if p.KeyName() != "the usual" {
		t.Errorf("name %q", p.KeyName())
	}
}

// TestPassphraseCost changes the parameters in a wrapped key: what costs more
// than allowed is refused before anything is computed.
func TestPassphraseCost(t *testing.T) {
	if fips140.Enforced() {
		return // Argon2id is not approved
	}
	p := must[*keywrap.Passphrase](t)(keywrap.NewPassphrase([]byte("x"), &keywrap.PassphraseOptions{Memory: 32, Passes: 1, MaxMemory: 64, MaxPasses: 2}))
	_, keys := wrap(t, p)
	for what, c := range map[string]struct {
		passes, memory uint32
		lanes          byte
		want           error
	}{
		"64 GiB":                {1, 64 << 20, 4, keywrap.ErrKeyCost},
		"all the memory":        {1, 1<<32 - 1, 4, keywrap.ErrKeyCost},
		"a KiB too many":        {1, 65, 4, keywrap.ErrKeyCost},
		"many passes":           {1<<32 - 1, 32, 4, keywrap.ErrKeyCost},
		"a pass too many":       {3, 32, 4, keywrap.ErrKeyCost},
		"17 lanes":              {1, 1 << 20, 17, keywrap.ErrKeyCost},
		"no pass":               {0, 32, 4, keywrap.ErrUnwrap},
		"no lane":               {1, 32, 0, keywrap.ErrUnwrap},
		"memory below 8 a lane": {1, 31, 4, keywrap.ErrUnwrap},
		"within the limits":     {2, 64, 8, keywrap.ErrUnwrap}, // but others than those that wrapped it
	} {
		w := format.WrappedKey{Type: keys[0].Type, Data: bytes.Clone(keys[0].Data)}
		binary.BigEndian.PutUint32(w.Data[1:], c.passes)
		binary.BigEndian.PutUint32(w.Data[5:], c.memory)
		w.Data[9] = c.lanes
		if _, err := p.UnwrapKey(t.Context(), w, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestPassphraseSaltsDiffer(t *testing.T) {
	if fips140.Enforced() {
		return // Argon2id is not approved
	}
	p := must[*keywrap.Passphrase](t)(keywrap.NewPassphrase([]byte("x"), &cheap))
	_, one := wrap(t, p)
	_, two := wrap(t, p)
	if bytes.Equal(one[0].Data[10:26], two[0].Data[10:26]) {
		t.Error("two wrapped keys have one salt")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.UnwrapKey(ctx, one[0], nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	other := must[*keywrap.Passphrase](t)(keywrap.NewPassphrase([]byte("y"), &cheap))
	if _, err := other.UnwrapKey(t.Context(), one[0], nil); !errors.Is(err, keywrap.ErrUnwrap) || !strings.Contains(err.Error(), "wrong passphrase") {
		t.Errorf("another passphrase: %v", err)
	}
}

func TestPassphraseUnderFIPS(t *testing.T) {
	if !fips140.Enforced() {
		return // the tests above are for this case
	}
	p := must[*keywrap.Passphrase](t)(keywrap.NewPassphrase([]byte("x"), &cheap))
	if _, err := p.WrapKey(t.Context(), make([]byte, keywrap.DataKeySize), nil); err == nil || !strings.Contains(err.Error(), "FIPS") {
		t.Errorf("%v", err)
	}
}
