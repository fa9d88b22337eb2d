package aesgcm_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/bulla-format/bulla/internal/aesgcm"
)

// A vector is a case that others computed. Where it must not open, the
// plaintext is nil.
type vector struct {
	name                                   string
	key, nonce, aad, plaintext, ciphertext []byte
	tag                                    []byte
	opens, seals                           bool
}

// run opens and seals v, apart and in place.
func (v *vector) run(t *testing.T, impl aesgcm.Implementation) {
	t.Helper()
	a := newAEAD(t, impl, v.key)
	sealed := append(bytes.Clone(v.ciphertext), v.tag...)
	if v.seals {
		if err := same(a.Seal(nil, v.nonce, v.plaintext, v.aad), sealed); err != nil {
			t.Errorf("%s: Seal: %v", v.name, err)
		}
		in := append(make([]byte, 0, len(sealed)), v.plaintext...)
		if err := same(a.Seal(in[:0], v.nonce, in, v.aad), sealed); err != nil {
			t.Errorf("%s: Seal in place: %v", v.name, err)
		}
	}
	got, err := a.Open(nil, v.nonce, sealed, v.aad)
	if (err == nil) != v.opens || !bytes.Equal(got, v.plaintext) {
		t.Errorf("%s: Open: %x, %v", v.name, got, err)
	}
	got, err = a.Open(sealed[:0], v.nonce, sealed, v.aad)
	if (err == nil) != v.opens || !bytes.Equal(got, v.plaintext) {
		t.Errorf("%s: Open in place: %x, %v", v.name, got, err)
	}
}

// TestCAVP runs the cases of NIST's validation program with an IV of 96 bits
// and a tag of 128 bits.
func TestCAVP(t *testing.T) {
	for _, file := range []struct {
		name             string
		seals            bool
		cases, forgeries int
	}{
		{"gcmEncryptExtIV256.rsp", true, 375, 0},
		{"gcmDecrypt256.rsp", false, 375, 191},
	} {
		t.Run(file.name, func(t *testing.T) {
			vectors := readCAVP(t, "testdata/"+file.name)
			forgeries := 0
			for i := range vectors {
				if !vectors[i].opens {
					forgeries++
				}
				vectors[i].seals = file.seals
			}
			if len(vectors) != file.cases || forgeries != file.forgeries {
				t.Fatalf("%d cases, %d of them forgeries", len(vectors), forgeries)
			}
			each(t, func(t *testing.T, impl aesgcm.Implementation) {
				for _, v := range vectors {
					v.run(t, impl)
				}
			})
		})
	}
}

// readCAVP reads a response file: sections of [name = bits], cases of
// name = hex, which "Count" begins.
func readCAVP(t *testing.T, name string) (vectors []vector) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	section := map[string]string{}
	lines := bufio.NewScanner(f)
	for n := 1; lines.Scan(); n++ {
		line := strings.TrimSpace(lines.Text())
		field, value, _ := strings.Cut(line, " =")
		value = strings.TrimSpace(value)
		switch {
		case line == "" || line[0] == '#':
			continue
		case line[0] == '[':
			section[field[1:]] = strings.TrimSuffix(value, "]")
			continue
		case field == "Count":
			if section["Keylen"] != "256" || section["IVlen"] != "96" || section["Taglen"] != "128" {
				t.Fatalf("%s:%d: a case of other sizes: %v", name, n, section)
			}
			vectors = append(vectors, vector{name: fmt.Sprintf("%s:%d", name, n), opens: true})
			continue
		case len(vectors) == 0:
			t.Fatalf("%s:%d: %q before the first case", name, n, line)
		}
		v := &vectors[len(vectors)-1]
		if field == "FAIL" {
			v.opens = false
			continue
		}
		to, ok := map[string]*[]byte{"Key": &v.key, "IV": &v.nonce, "AAD": &v.aad, "PT": &v.plaintext, "CT": &v.ciphertext, "Tag": &v.tag}[field]
		if !ok {
			t.Fatalf("%s:%d: %q", name, n, line)
		}
		if *to, err = hex.DecodeString(value); err != nil {
			t.Fatalf("%s:%d: %v", name, n, err)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return vectors
}

// hexBytes are hexadecimal in JSON.
type hexBytes []byte

func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// TestWycheproof runs the cases of Project Wycheproof with an IV of 96 bits
// and a tag of 128 bits.
func TestWycheproof(t *testing.T) {
	b, err := os.ReadFile("testdata/wycheproof_aes_gcm.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			KeySize, IVSize, TagSize int
			Tests                    []struct {
				TcID                       int
				Comment, Result            string
				Key, IV, AAD, Msg, Ct, Tag hexBytes
			}
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	valid := 0
	for _, g := range file.TestGroups {
		if g.KeySize != 256 || g.IVSize != 96 || g.TagSize != 128 {
			t.Fatalf("a group of other sizes: %d, %d, %d", g.KeySize, g.IVSize, g.TagSize)
		}
		for _, c := range g.Tests {
			v := vector{name: fmt.Sprintf("case %d %q", c.TcID, c.Comment), key: c.Key, nonce: c.IV, aad: c.AAD, ciphertext: c.Ct, tag: c.Tag}
			if c.Result == "valid" {
				v.plaintext, v.opens, v.seals = c.Msg, true, true
				valid++
			}
			vectors = append(vectors, v)
		}
	}
	if len(vectors) != 66 || valid != 39 || file.NumberOfTests != 66 {
		t.Fatalf("%d cases, %d of them valid", len(vectors), valid)
	}
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		for _, v := range vectors {
			v.run(t, impl)
		}
	})
}
