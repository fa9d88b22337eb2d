package fuzz

import (
	"bytes"
	"crypto/hpke"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"math"
	"math/big"
	"runtime"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/vectors"
	"github.com/bulla-format/bulla/keywrap"
)

// vectorKeys returns the wrapping key of the test vector of a name, and every
// wrapped key of its type in the test vectors.
func vectorKeys(f *testing.F, name string) (key vectors.Key, wrapped []format.WrappedKey) {
	f.Helper()
	cases := vectors.Load(f)
	for _, c := range cases {
		if c.Name == name {
			key = c.Keys[0]
		}
	}
	for _, c := range cases {
		size, err := format.HeaderSize(c.Payload)
		if err != nil || size > len(c.Payload) {
			continue
		}
		h, err := format.ParseHeader(c.Payload[:size])
		if err != nil {
			continue
		}
		for _, k := range h.Keys {
			if uint16(k.Type) == key.Type {
				wrapped = append(wrapped, k)
			}
		}
	}
	if len(wrapped) == 0 {
		f.Fatalf("no wrapped keys like those of %s", name)
	}
	return key, wrapped
}

// unwrap unwraps anything. What does not unwrap is an ErrUnwrap or ErrKeyCost
// without a data key; what unwraps is a data key that unwraps again.
func unwrap(t *testing.T, u keywrap.Unwrapper, w format.WrappedKey) []byte {
	before := bytes.Clone(w.Data)
	dataKey, err := u.UnwrapKey(t.Context(), w, nil)
	if !bytes.Equal(w.Data, before) {
		t.Fatal("the wrapped key was changed")
	}
	if err != nil {
		if dataKey != nil || !errors.Is(err, keywrap.ErrUnwrap) && !errors.Is(err, keywrap.ErrKeyCost) || len(err.Error()) > 1024 {
			t.Fatalf("data key of %d bytes, %v", len(dataKey), err)
		}
		return nil
	}
	if again, err := u.UnwrapKey(t.Context(), w, nil); err != nil || len(dataKey) != keywrap.DataKeySize || !bytes.Equal(again, dataKey) {
		t.Fatalf("data key of %d bytes, then one of %d, %v", len(dataKey), len(again), err)
	}
	return dataKey
}

// FuzzUnwrapAES unwraps anything with an AES key. What unwraps must be what
// wrapping the data key gives: AES key wrap is one to one.
func FuzzUnwrapAES(f *testing.F) {
	key, wrapped := vectorKeys(f, "stream_aes_0")
	u, err := keywrap.NewAESKey(key.Name, key.Key)
	if err != nil {
		f.Fatal(err)
	}
	for _, w := range wrapped {
		f.Add(w.Data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		dataKey := unwrap(t, u, format.WrappedKey{Type: format.KeyTypeAES, Name: key.Name, Data: b})
		if dataKey == nil {
			return
		}
		if again, err := u.WrapKey(t.Context(), dataKey, nil); err != nil || !bytes.Equal(again[0].Data, b) {
			t.Fatalf("the data key wraps to something else: %v", err)
		}
	})
}

// FuzzUnwrapRSA unwraps anything with an RSA key.
func FuzzUnwrapRSA(f *testing.F) {
	key, wrapped := vectorKeys(f, "rsa_2048")
	u, err := keywrap.ParseRSAKey(key.Name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key.Key}))
	if err != nil {
		f.Fatal(err)
	}
	for _, w := range wrapped {
		f.Add(w.Data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		unwrap(t, u, format.WrappedKey{Type: format.KeyTypeRSA, Name: key.Name, Data: b})
	})
}

// FuzzUnwrapHPKE unwraps anything with an HPKE key of each KEM.
func FuzzUnwrapHPKE(f *testing.F) {
	var keys []*keywrap.HPKEKey
	for i, name := range []string{"hpke_mlkem768_x25519", "hpke_mlkem1024_p384", "hpke_mlkem768_p256", "hpke_x25519", "hpke_p256"} {
		key, wrapped := vectorKeys(f, name)
		k, err := hpkeKey("fuzz", key.Key)
		if err != nil {
			f.Fatal(err)
		}
		keys = append(keys, k)
		for _, w := range wrapped[:min(len(wrapped), 40)] {
			f.Add(uint8(i), w.Data)
		}
		mine, err := k.WrapKey(f.Context(), make([]byte, keywrap.DataKeySize), nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), mine[0].Data)
	}
	f.Fuzz(func(t *testing.T, i uint8, b []byte) {
		unwrap(t, keys[int(i)%len(keys)], format.WrappedKey{Type: format.KeyTypeHPKE, Name: "fuzz", Data: b})
	})
}

// hpkeKey returns the wrapping key of a test vector's bytes: the KEM's id and
// the private key.
func hpkeKey(name string, b []byte) (*keywrap.HPKEKey, error) {
	kem, err := hpke.NewKEM(binary.BigEndian.Uint16(b))
	if err != nil {
		return nil, err
	}
	private, err := kem.NewPrivateKey(b[2:])
	if err != nil {
		return nil, err
	}
	return keywrap.NewHPKEKey(name, private)
}

// FuzzUnwrapPassphrase unwraps anything with a passphrase, whose limits keep
// each try below 256 KiB and 4 passes.
func FuzzUnwrapPassphrase(f *testing.F) {
	key, wrapped := vectorKeys(f, "passphrase_lanes_4")
	u, err := keywrap.NewPassphrase(key.Key, &keywrap.PassphraseOptions{Memory: 32, Passes: 1, MaxMemory: 256, MaxPasses: 4})
	if err != nil {
		f.Fatal(err)
	}
	for _, w := range wrapped {
		f.Add(w.Data)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		w := format.WrappedKey{Type: format.KeyTypePassphrase, Data: b}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		unwrap(t, u, w)
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 2<<20 {
			t.Fatalf("%d bytes were allocated", used)
		}
	})
}

// FuzzRSAText parses anything as the PEM of an RSA key, private and public.
// What parses has a size within the bounds, and wraps.
func FuzzRSAText(f *testing.F) {
	key, _ := vectorKeys(f, "rsa_2048")
	parsed, err := x509.ParsePKCS8PrivateKey(key.Key)
	if err != nil {
		f.Fatal(err)
	}
	private := parsed.(*rsa.PrivateKey)
	public, err := x509.MarshalPKIXPublicKey(private.Public())
	if err != nil {
		f.Fatal(err)
	}
	for name, der := range map[string][]byte{
		"PRIVATE KEY": key.Key, "RSA PRIVATE KEY": x509.MarshalPKCS1PrivateKey(private), "ENCRYPTED PRIVATE KEY": nil,
		"PUBLIC KEY": public, "RSA PUBLIC KEY": x509.MarshalPKCS1PublicKey(&private.PublicKey), "CERTIFICATE": nil,
	} {
		f.Add(pem.EncodeToMemory(&pem.Block{Type: name, Bytes: der}))
	}
	for _, edit := range []func(k *rsa.PublicKey){
		func(k *rsa.PublicKey) { k.N = new(big.Int).Sub(k.N, big.NewInt(1)) }, // even
		func(k *rsa.PublicKey) { k.N = new(big.Int).Rsh(k.N, 1) },             // 2047 bits
		func(k *rsa.PublicKey) { k.E = 1 },
		func(k *rsa.PublicKey) { k.E = 65536 },
		func(k *rsa.PublicKey) { k.E = math.MaxInt },
	} {
		k := private.PublicKey
		edit(&k)
		f.Add(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&k)}))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		k, err := keywrap.ParseRSAKey("fuzz", text)
		public, publicErr := keywrap.ParseRSAPublicKey("fuzz", text)
		for _, err := range []error{err, publicErr} {
			if err != nil && (!errors.Is(err, keywrap.ErrKeyFormat) || len(err.Error()) > 1024) {
				t.Fatal(err)
			}
		}
		if err == nil {
			public = k.PublicKey()
		} else if publicErr != nil {
			return
		}
		wrapped, err := public.WrapKey(t.Context(), make([]byte, keywrap.DataKeySize), nil)
		if err != nil {
			t.Fatalf("a key that parses does not wrap: %v", err)
		}
		if n := 8 * len(wrapped[0].Data); n < keywrap.MinRSABits || n > keywrap.MaxRSABits {
			t.Fatalf("a modulus of %d bits", n)
		}
	})
}

// FuzzHPKEText parses texts of HPKE keys, private and public, with any key and
// name behind a right checksum. What parses must print as it was, but for the
// bits that X25519 ignores in a private key (RFC 9180 §7.1.2).
func FuzzHPKEText(f *testing.F) {
	for _, name := range []string{"hpke_mlkem768_x25519", "hpke_mlkem1024_p384", "hpke_mlkem768_p256", "hpke_x25519", "hpke_p256"} {
		key, _ := vectorKeys(f, name)
		k, err := hpkeKey("partner 2026", key.Key)
		if err != nil {
			f.Fatal(err)
		}
		text, err := k.PublicKey().MarshalText()
		if err != nil {
			f.Fatal(err)
		}
		public, err := base64.RawURLEncoding.DecodeString(string(bytes.Fields(text)[1]))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(false, key.Key, "partner 2026")
		f.Add(true, public[:len(public)-4], "partner 2026")
	}
	f.Fuzz(func(t *testing.T, public bool, key []byte, name string) {
		kind, parse := "BULLA-HPKE-KEY", printPrivate
		if public {
			kind, parse = "bulla-hpke-public", printPublic
		}
		sum := sha256.Sum256(append(append([]byte(kind+" "), key...), name...))
		text := []byte(kind + " " + base64.RawURLEncoding.EncodeToString(append(bytes.Clone(key), sum[:4]...)) + " " + name)
		again, err := parse(t, text)
		if err != nil {
			if !errors.Is(err, keywrap.ErrKeyFormat) || len(err.Error()) > 1024 {
				t.Fatal(err)
			}
			return
		}
		x25519 := !public && keywrap.KEM(binary.BigEndian.Uint16(key)) == keywrap.DHKEMX25519
		line := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
		if !x25519 && !bytes.Equal(again, line) {
			t.Fatal("parse then print is not the identity")
		}
		if third, err := parse(t, again); err != nil || !bytes.Equal(third, again) {
			t.Fatalf("what was printed does not parse and print as it is: %v", err)
		}
	})
}

func printPrivate(t *testing.T, text []byte) ([]byte, error) {
	k, err := keywrap.ParseHPKEKey(text)
	if err != nil {
		return nil, err
	}
	if _, err := keywrap.ParseHPKEPublicKey(text); err == nil {
		t.Fatal("a private key and a public one")
	}
	return k.SecretText()
}

func printPublic(t *testing.T, text []byte) ([]byte, error) {
	k, err := keywrap.ParseHPKEPublicKey(text)
	if err != nil {
		return nil, err
	}
	// A point of small order is a key that parses and does not wrap.
	if w, err := k.WrapKey(t.Context(), make([]byte, keywrap.DataKeySize), nil); err == nil && len(w) != 1 {
		t.Fatalf("%d wrapped keys", len(w))
	}
	return k.MarshalText()
}
