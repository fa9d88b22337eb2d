package keywrap_test

import (
	"bytes"
	"crypto/fips140"
	"crypto/hpke"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
)

func kems() []keywrap.KEM {
	if fips140.Enforced() { // X25519 is not approved
		return []keywrap.KEM{keywrap.MLKEM1024P384, keywrap.MLKEM768P256, keywrap.DHKEMP256}
	}
	return []keywrap.KEM{keywrap.MLKEM768X25519, keywrap.MLKEM1024P384, keywrap.MLKEM768P256, keywrap.DHKEMX25519, keywrap.DHKEMP256}
}

func TestKEMNames(t *testing.T) {
	for _, kem := range kems() {
		if got, err := keywrap.ParseKEM(kem.String()); got != kem || err != nil {
			t.Errorf("%v: %v, %v", kem, got, err)
		}
		if kem.PostQuantum() != strings.HasPrefix(kem.String(), "mlkem") {
			t.Errorf("%v: post-quantum %v", kem, kem.PostQuantum())
		}
	}
	if _, err := keywrap.ParseKEM("rot13"); !errors.Is(err, keywrap.ErrKeyFormat) || !strings.Contains(err.Error(), "mlkem768-x25519") {
		t.Errorf("%v", err)
	}
	if got := keywrap.KEM(0x0012).String(); got != "KEM 0x0012" {
		t.Errorf("an unknown KEM prints as %q", got)
	}
}

func TestHPKETexts(t *testing.T) {
	for _, kem := range kems() {
		k := must[*keywrap.HPKEKey](t)(keywrap.GenerateHPKEKey("alice 2026", kem))
		secret := must[[]byte](t)(k.SecretText())
		public := must[[]byte](t)(k.MarshalText())
		if bytes.ContainsAny(append(secret, public...), "\r\n") || bytes.Contains(public, secret[20:40]) {
			t.Fatalf("texts %q and %q", secret, public)
		}
		again, err := keywrap.ParseHPKEKey(append(bytes.Clone(secret), '\n'))
		if err != nil {
			t.Fatal(err)
		}
		wrapper, err := keywrap.ParseHPKEPublicKey(append(bytes.Clone(public), "\r\n"...))
		if err != nil {
			t.Fatal(err)
		}
		if again.KeyName() != "alice 2026" || again.KEM() != kem || wrapper.KeyName() != "alice 2026" || wrapper.KEM() != kem {
			t.Errorf("%v: parsed as %v and %q, %v", kem, again, wrapper.KeyName(), wrapper.KEM())
		}
		dataKey, keys := wrap(t, wrapper)
		if got, err := again.UnwrapKey(t.Context(), keys[0], nil); err != nil || !bytes.Equal(got, dataKey) {
			t.Errorf("%v: %v", kem, err)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%x", "%d"} {
			if got := fmt.Sprintf(verb, k); got != fmt.Sprintf("HPKE wrapping key %q (%v)", "alice 2026", kem) {
				t.Errorf("%s prints %q", verb, got)
			}
		}
	}
}

// TestHPKETextTyposAreFound changes every character of both texts, drops it,
// and cuts the text there.
func TestHPKETextTyposAreFound(t *testing.T) {
	k := must[*keywrap.HPKEKey](t)(keywrap.GenerateHPKEKey("alice", keywrap.DHKEMP256))
	secret, public := must[[]byte](t)(k.SecretText()), must[[]byte](t)(k.MarshalText())
	for i := range public {
		for _, text := range [][]byte{secret, public} {
			if i >= len(text) {
				continue
			}
			for _, typo := range [][]byte{
				append(append(bytes.Clone(text[:i]), text[i]^1), text[i+1:]...),
				append(bytes.Clone(text[:i]), text[i+1:]...),
				text[:i],
			} {
				_, secretErr := keywrap.ParseHPKEKey(typo)
				_, publicErr := keywrap.ParseHPKEPublicKey(typo)
				if !errors.Is(secretErr, keywrap.ErrKeyFormat) || !errors.Is(publicErr, keywrap.ErrKeyFormat) {
					t.Fatalf("character %d: %q is accepted: %v, %v", i, typo, secretErr, publicErr)
				}
			}
		}
	}
}

// TestTextsOfOtherKinds gives each parser the texts of the others: the error
// says what it is.
func TestTextsOfOtherKinds(t *testing.T) {
	k := must[*keywrap.HPKEKey](t)(keywrap.GenerateHPKEKey("alice", keywrap.DHKEMP256))
	texts := map[string][]byte{
		"an AES key": newKey(t, "k").SecretText(), "an HPKE private key": must[[]byte](t)(k.SecretText()), "an HPKE public key": must[[]byte](t)(k.MarshalText()),
	}
	for own, parse := range map[string]func([]byte) error{
		"an AES key":          func(b []byte) error { _, err := keywrap.ParseAESKey(b); return err },
		"an HPKE private key": func(b []byte) error { _, err := keywrap.ParseHPKEKey(b); return err },
		"an HPKE public key":  func(b []byte) error { _, err := keywrap.ParseHPKEPublicKey(b); return err },
	} {
		for kind, text := range texts {
			err := parse(text)
			if kind == own {
				if err != nil {
					t.Errorf("%s: %v", own, err)
				}
			} else if !errors.Is(err, keywrap.ErrKeyFormat) || !strings.Contains(err.Error(), "it is "+kind) {
				t.Errorf("%s parsed as %s: %v", kind, own, err)
			}
		}
		for _, text := range []string{"", "\n", "hello world", strings.Repeat("x", 10_000)} {
			if err := parse([]byte(text)); !errors.Is(err, keywrap.ErrKeyFormat) {
				t.Errorf("%.20q as %s: %v", text, own, err)
			}
		}
	}
}

func TestHPKEBadKeys(t *testing.T) {
	foreign := must[hpke.PrivateKey](t)(hpke.MLKEM1024().GenerateKey()) // no hybrid: not one of ours
	if _, err := keywrap.NewHPKEKey("k", foreign); !errors.Is(err, keywrap.ErrKeyFormat) {
		t.Errorf("another KEM: %v", err)
	}
	if _, err := keywrap.NewHPKEKey("k", nil); !errors.Is(err, keywrap.ErrKeyFormat) {
		t.Errorf("no key: %v", err)
	}
	if _, err := keywrap.NewHPKEPublicKey("k", nil); !errors.Is(err, keywrap.ErrKeyFormat) {
		t.Errorf("no public key: %v", err)
	}
	if _, err := keywrap.GenerateHPKEKey("", keywrap.DHKEMP256); !errors.Is(err, keywrap.ErrKeyFormat) {
		t.Errorf("no name: %v", err)
	}
	if _, err := keywrap.GenerateHPKEKey("k", 0x0012); !errors.Is(err, keywrap.ErrKeyFormat) {
		t.Errorf("an unknown KEM: %v", err)
	}
}

// TestHPKEOtherAlgorithms refuses wrapped keys whose ids are not the key's,
// before any decapsulation.
func TestHPKEOtherAlgorithms(t *testing.T) {
	k := must[*keywrap.HPKEKey](t)(keywrap.GenerateHPKEKey("k", keywrap.DHKEMP256))
	_, keys := wrap(t, k)
	for i := range 6 {
		for _, v := range []byte{0, 1, 2, 3, 0x10, 0x20, 0x64, 0xFF} {
			w := format.WrappedKey{Type: keys[0].Type, Name: keys[0].Name, Data: bytes.Clone(keys[0].Data)}
			if w.Data[i] == v {
				continue
			}
			w.Data[i] = v
			if _, err := k.UnwrapKey(t.Context(), w, nil); !errors.Is(err, keywrap.ErrUnwrap) {
				t.Errorf("byte %d is %#x: %v", i, v, err)
			}
		}
	}
}
