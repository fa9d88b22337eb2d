package keywrap_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
)

// hexBytes are hexadecimal in JSON.
type hexBytes []byte

func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

func loadJSON(t *testing.T, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

// TestWycheproofRSA unwraps the RSA-OAEP cases of Project Wycheproof. Those
// that are valid, have no label and hold 32 bytes are data keys; all others
// are ErrUnwrap.
func TestWycheproofRSA(t *testing.T) {
	var file struct {
		Groups []struct {
			KeySize    int    `json:"keySize"`
			PrivateKey string `json:"privateKeyPem"`
			Tests      []struct {
				ID      int      `json:"tcId"`
				Comment string   `json:"comment"`
				Message hexBytes `json:"msg"`
				Label   hexBytes `json:"label"`
				Wrapped hexBytes `json:"ct"`
				Result  string   `json:"result"`
			} `json:"tests"`
		} `json:"testGroups"`
	}
	loadJSON(t, "testdata/wycheproof_rsa_oaep.json", &file)
	if len(file.Groups) != 3 {
		t.Fatalf("%d groups of cases", len(file.Groups))
	}
	for _, g := range file.Groups {
		k, err := keywrap.ParseRSAKey("k", []byte(g.PrivateKey))
		if err != nil {
			t.Fatal(err)
		}
		unwrapped := 0
		for _, c := range g.Tests {
			got, err := k.UnwrapKey(t.Context(), format.WrappedKey{Type: format.KeyTypeRSA, Name: "k", Data: c.Wrapped}, nil)
			if c.Result == "valid" && len(c.Label) == 0 && len(c.Message) == keywrap.DataKeySize {
				unwrapped++
				if err != nil || !bytes.Equal(got, c.Message) {
					t.Errorf("%d bits, case %d (%s): %v", g.KeySize, c.ID, c.Comment, err)
				}
			} else if !errors.Is(err, keywrap.ErrUnwrap) || got != nil {
				t.Errorf("%d bits, case %d (%s): a data key of %d bytes, %v", g.KeySize, c.ID, c.Comment, len(got), err)
			}
		}
		if unwrapped == 0 || unwrapped == len(g.Tests) {
			t.Errorf("%d bits: %d of %d cases unwrap", g.KeySize, unwrapped, len(g.Tests))
		}
	}
}

// TestHPKEVectors takes private keys, encapsulated keys and shared secrets
// from published vectors. Their messages are not data keys, and their info is
// another; so the test wraps a data key under the published shared secret, by
// a key schedule of its own, and unwraps it.
func TestHPKEVectors(t *testing.T) {
	if fips140.Enforced() {
		t.Skip("GODEBUG=fips140=only refuses the nonce that this test chooses")
	}
	var all []struct {
		Source  string   `json:"source"`
		KEM     uint16   `json:"kem_id"`
		KDF     uint16   `json:"kdf_id"`
		AEAD    uint16   `json:"aead_id"`
		Info    hexBytes `json:"info"`
		Private hexBytes `json:"skRm"`
		Public  hexBytes `json:"pkRm"`
		Enc     hexBytes `json:"enc"`
		Secret  hexBytes `json:"shared_secret"`
		Key     hexBytes `json:"key"`
		Nonce   hexBytes `json:"base_nonce"`
	}
	loadJSON(t, "testdata/hpke.json", &all)
	seen := map[keywrap.KEM]bool{}
	for i, v := range all {
		id := keywrap.KEM(v.KEM)
		seen[id] = true
		kem, err := hpke.NewKEM(v.KEM)
		if err != nil {
			t.Fatal(err)
		}
		private, err := kem.NewPrivateKey(v.Private)
		if err != nil {
			t.Fatal(err)
		}
		k, err := keywrap.NewHPKEKey("k", private)
		if err != nil {
			t.Fatal(err)
		}

		// The public key is what follows the KEM's id in its text.
		text, err := k.PublicKey().MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		public, err := base64.RawURLEncoding.DecodeString(string(bytes.Fields(text)[1]))
		if err != nil || !bytes.Equal(public[2:len(public)-4], v.Public) || k.KEM() != id {
			t.Errorf("vector %d (%s, %v): another public key, or %v", i, v.Source, id, err)
		}

		if v.KDF == 1 && v.AEAD == 2 { // the vector is also one of this test's key schedule
			if key, nonce := schedule(t, v.KEM, v.Secret, v.Info); !bytes.Equal(key, v.Key) || !bytes.Equal(nonce, v.Nonce) {
				t.Errorf("vector %d (%s, %v): key %x, nonce %x", i, v.Source, id, key, nonce)
			}
		}
		key, nonce := schedule(t, v.KEM, v.Secret, []byte("bulla/v1\x00wrap"))
		block, err := aes.NewCipher(key)
		if err != nil {
			t.Fatal(err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			t.Fatal(err)
		}
		dataKey := make([]byte, keywrap.DataKeySize)
		rand.Read(dataKey)
		wrapped := slices.Concat(suiteIDs(v.KEM), v.Enc, aead.Seal(nil, nonce, dataKey, nil))
		got, err := k.UnwrapKey(t.Context(), format.WrappedKey{Type: format.KeyTypeHPKE, Name: "k", Data: wrapped}, nil)
		if err != nil || !bytes.Equal(got, dataKey) {
			t.Errorf("vector %d (%s, %v): %v", i, v.Source, id, err)
		}
	}
	if len(seen) != 5 {
		t.Errorf("vectors for %d KEMs of 5", len(seen))
	}
}

// suiteIDs are the ids that lead a wrapped key: KEM, HKDF-SHA256, AES-256-GCM.
func suiteIDs(kem uint16) []byte {
	return append(binary.BigEndian.AppendUint16(nil, kem), 0, 1, 0, 2)
}

// schedule is the key schedule of RFC 9180 §5.1 in base mode.
func schedule(t *testing.T, kem uint16, secret, info []byte) (key, nonce []byte) {
	t.Helper()
	suite := append([]byte("HPKE-v1HPKE"), suiteIDs(kem)...)
	extract := func(salt []byte, label string, ikm []byte) []byte {
		b, err := hkdf.Extract(sha256.New, slices.Concat(suite, []byte(label), ikm), salt)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	context := slices.Concat([]byte{0}, extract(nil, "psk_id_hash", nil), extract(nil, "info_hash", info))
	prk := extract(secret, "secret", nil)
	expand := func(label string, size int) []byte {
		labeled := slices.Concat([]byte{0, byte(size)}, suite, []byte(label), context)
		b, err := hkdf.Expand(sha256.New, prk, string(labeled), size)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	return expand("key", 32), expand("base_nonce", 12)
}
