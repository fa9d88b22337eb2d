package keywrap

import (
	"bytes"
	"crypto/aes"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestRFC3394 runs the test vectors of RFC 3394 §4.
func TestRFC3394(t *testing.T) {
	const kek = "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F"
	const data = "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F"
	for _, c := range []struct{ kek, data, wrapped string }{
		{kek[:32], data[:32], "1FA68B0A8112B447AEF34BD8FB5A7B829D3E862371D2CFE5"},
		{kek[:48], data[:32], "96778B25AE6CA435F92B5B97C050AED2468AB8A17AD84E5D"},
		{kek, data[:32], "64E8C3F9CE0F5BA263E9777905818A2A93C8191E7D6E8AE7"},
		{kek[:48], data[:48], "031D33264E15D33268F24EC260743EDCE1C6C7DDEE725A936BA814915C6762D2"},
		{kek, data[:48], "A8F9BC1612C68B3FF6E6F4FBE30E71E4769C8B80A32CB8958CD5D17D6B254DA1"},
		{kek, data, "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21"},
	} {
		block, err := aes.NewCipher(unhex(t, c.kek))
		if err != nil {
			t.Fatal(err)
		}
		if got := kwWrap(block, unhex(t, c.data)); !bytes.Equal(got, unhex(t, c.wrapped)) {
			t.Errorf("%d-bit key, %d bytes: wrapped %X", 4*len(c.kek), len(c.data)/2, got)
		}
		if got, ok := kwUnwrap(block, unhex(t, c.wrapped)); !ok || !bytes.Equal(got, unhex(t, c.data)) {
			t.Errorf("%d-bit key, %d bytes: unwrapped %X, %v", 4*len(c.kek), len(c.data)/2, got, ok)
		}
	}
}

func TestWycheproof(t *testing.T) {
	b, err := os.ReadFile("testdata/wycheproof_aes_wrap.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			Tests []struct {
				TcID                          int
				Comment, Key, Msg, Ct, Result string
			}
		}
	}
	if err := json.Unmarshal(b, &file); err != nil {
		t.Fatal(err)
	}
	ran, valid := 0, 0
	for _, g := range file.TestGroups {
		for _, c := range g.Tests {
			ran++
			block, err := aes.NewCipher(unhex(t, c.Key))
			if err != nil {
				t.Fatal(err)
			}
			msg, ct := unhex(t, c.Msg), unhex(t, c.Ct)
			got, ok := kwUnwrap(block, ct)
			// RFC 3394 §2 wants two registers at least; "acceptable" cases wrap one.
			if want := c.Result == "valid"; ok != want || ok && !bytes.Equal(got, msg) {
				t.Errorf("case %d (%s, %s): unwrapped %x, %v", c.TcID, c.Result, c.Comment, got, ok)
			}
			if c.Result == "valid" {
				valid++
				if got := kwWrap(block, msg); !bytes.Equal(got, ct) {
					t.Errorf("case %d (%s): wrapped %x", c.TcID, c.Comment, got)
				}
			}
		}
	}
	if ran == 0 || ran != file.NumberOfTests || valid == 0 {
		t.Errorf("ran %d cases, %d of them valid; the file has %d", ran, valid, file.NumberOfTests)
	}
}

func TestUnwrapClearsOnFailure(t *testing.T) {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	wrapped := kwWrap(block, bytes.Repeat([]byte{7}, 32))
	for i := range wrapped {
		for bit := range 8 {
			wrapped[i] ^= 1 << bit
			if got, ok := kwUnwrap(block, wrapped); ok || got != nil {
				t.Fatalf("byte %d bit %d: unwraps", i, bit)
			}
			wrapped[i] ^= 1 << bit
		}
	}
	for n := range len(wrapped) {
		if _, ok := kwUnwrap(block, wrapped[:n]); ok {
			t.Errorf("%d bytes unwrap", n)
		}
	}
}
