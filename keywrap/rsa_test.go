package keywrap_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/bulla-format/bulla/keywrap"
)

func pemText(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestRSABadKeys(t *testing.T) {
	good := rsaPrivate(t, 0).PublicKey
	n := func(bits uint) *big.Int { return new(big.Int).SetBit(new(big.Int).Lsh(big.NewInt(1), bits-1), 0, 1) }
	for what, key := range map[string]*rsa.PublicKey{
		"nil":                       nil,
		"no modulus":                {E: 65537},
		"1024 bits":                 {N: n(1024), E: 65537},
		"2040 bits":                 {N: n(2040), E: 65537},
		"2049 bits":                 {N: n(2049), E: 65537},
		"8200 bits":                 {N: n(8200), E: 65537},
		"an even modulus":           {N: new(big.Int).Lsh(big.NewInt(1), 2047), E: 65537},
		"exponent 1":                {N: good.N, E: 1},
		"an even exponent":          {N: good.N, E: 65536},
		"a negative exponent":       {N: good.N, E: -3},
		"an exponent of 2^31 or so": {N: good.N, E: -1 << 31},
	} {
		if _, err := keywrap.NewRSAPublicKey("k", key); !errors.Is(err, keywrap.ErrKeyFormat) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, name := range []string{"", "a\nb", "\xff"} {
		if _, err := keywrap.NewRSAPublicKey(name, &good); !errors.Is(err, keywrap.ErrKeyFormat) {
			t.Errorf("name %q: %v", name, err)
		}
	}
	for _, bits := range []int{0, 1024, 2047, 2052, 8200} {
		if _, err := keywrap.GenerateRSAKey("k", bits); !errors.Is(err, keywrap.ErrKeyFormat) {
			t.Errorf("%d bits: %v", bits, err)
		}
	}
	if _, err := keywrap.NewRSAKey("k", nil); !errors.Is(err, keywrap.ErrKeyFormat) {
		t.Errorf("no private key: %v", err)
	}
	if _, err := keywrap.NewRSAKey("k", notRSA{}); !errors.Is(err, keywrap.ErrKeyFormat) {
		t.Errorf("a key of another kind: %v", err)
	}
	damaged := *rsaPrivate(t, 0)
	damaged.D = new(big.Int).Add(damaged.D, big.NewInt(2))
	damaged.Precomputed = rsa.PrecomputedValues{}
	if _, err := keywrap.NewRSAKey("k", &damaged); !errors.Is(err, keywrap.ErrKeyFormat) {
		t.Errorf("a damaged private key: %v", err)
	}
}

type notRSA struct{}

func (notRSA) Public() crypto.PublicKey { return ed25519.PublicKey{} }

func (notRSA) Decrypt(io.Reader, []byte, crypto.DecrypterOpts) ([]byte, error) { return nil, nil }

func TestRSAPEM(t *testing.T) {
	private := rsaPrivate(t, 0)
	pkcs8 := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(private))
	pkix := must[[]byte](t)(x509.MarshalPKIXPublicKey(&private.PublicKey))
	certificate := selfSigned(t, private)
	k := must[*keywrap.RSAKey](t)(keywrap.NewRSAKey("k", private))
	dataKey, keys := wrap(t, k)

	for what, text := range map[string][]byte{
		"PKCS #8":             pemText("PRIVATE KEY", pkcs8),
		"PKCS #1":             pemText("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(private)),
		"with text around":    []byte("a comment\n" + string(pemText("PRIVATE KEY", pkcs8)) + "more"),
		"with CR LF":          []byte(strings.ReplaceAll(string(pemText("PRIVATE KEY", pkcs8)), "\n", "\r\n")),
		"followed by another": append(pemText("PRIVATE KEY", pkcs8), pemText("PUBLIC KEY", pkix)...),
	} {
		parsed, err := keywrap.ParseRSAKey("k", text)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got, err := parsed.UnwrapKey(t.Context(), keys[0], nil); err != nil || string(got) != string(dataKey) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, text := range map[string][]byte{
		"PKIX":        pemText("PUBLIC KEY", pkix),
		"PKCS #1":     pemText("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(&private.PublicKey)),
		"certificate": pemText("CERTIFICATE", certificate),
	} {
		public, err := keywrap.ParseRSAPublicKey("k", text)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		dataKey, keys := wrap(t, public)
		if got, err := k.UnwrapKey(t.Context(), keys[0], nil); err != nil || string(got) != string(dataKey) {
			t.Errorf("%s: %v", what, err)
		}
		if public.KeyName() != "k" {
			t.Errorf("%s: name %q", what, public.KeyName())
		}
	}
}

// TestRSAPEMRefused checks that the errors say what was found, and nothing of
// a key.
func TestRSAPEMRefused(t *testing.T) {
	private := rsaPrivate(t, 0)
	pkcs8 := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(private))
	pkix := must[[]byte](t)(x509.MarshalPKIXPublicKey(&private.PublicKey))
	ec := must[*ecdsa.PrivateKey](t)(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	ecPrivate := must[[]byte](t)(x509.MarshalPKCS8PrivateKey(ec))
	ecPublic := must[[]byte](t)(x509.MarshalPKIXPublicKey(&ec.PublicKey))
	legacy := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-256-CBC,00"}, Bytes: []byte("x")})
	for what, c := range map[string]struct {
		text            []byte
		private, public string // what the message says
	}{
		"nothing":           {nil, "no PEM block", "no PEM block"},
		"text":              {[]byte("hello"), "no PEM block", "no PEM block"},
		"encrypted PKCS #8": {pemText("ENCRYPTED PRIVATE KEY", []byte("x")), "openssl pkey", "ENCRYPTED PRIVATE KEY"},
		"encrypted PKCS #1": {legacy, "openssl pkey", "private key"},
		"public key":        {pemText("PUBLIC KEY", pkix), "public key", ""},
		"private key":       {pemText("PRIVATE KEY", pkcs8), "", "-pubout"},
		"damaged":           {pemText("PRIVATE KEY", pkcs8[:100]), "does not parse", "-pubout"},
		"damaged public":    {pemText("PUBLIC KEY", pkix[:100]), "public key", "does not parse"},
		"another kind":      {pemText("PRIVATE KEY", ecPrivate), "another kind", "-pubout"},
		"another public":    {pemText("PUBLIC KEY", ecPublic), "public key", "another kind"},
		"another block":     {pemText("EC PARAMETERS", []byte("x")), "EC PARAMETERS", "EC PARAMETERS"},
	} {
		_, privateErr := keywrap.ParseRSAKey("k", c.text)
		_, publicErr := keywrap.ParseRSAPublicKey("k", c.text)
		for _, v := range []struct {
			kind, want string
			err        error
		}{{"private", c.private, privateErr}, {"public", c.public, publicErr}} {
			if v.want == "" {
				if v.err != nil {
					t.Errorf("%s as %s key: %v", what, v.kind, v.err)
				}
				continue
			}
			if !errors.Is(v.err, keywrap.ErrKeyFormat) || !strings.Contains(v.err.Error(), v.want) {
				t.Errorf("%s as %s key: %v", what, v.kind, v.err)
			}
		}
	}
}

func selfSigned(t *testing.T, private *rsa.PrivateKey) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour)}
	return must[[]byte](t)(x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private))
}

// TestModuleFailure keeps the error of a module, and calls it a failed unwrap.
func TestModuleFailure(t *testing.T) {
	down := errors.New("token removed")
	k := must[*keywrap.RSAKey](t)(keywrap.NewRSAKey("k", failingModule{module{rsaPrivate(t, 0)}, down}))
	_, keys := wrap(t, k)
	if _, err := k.UnwrapKey(t.Context(), keys[0], nil); !errors.Is(err, keywrap.ErrUnwrap) || !errors.Is(err, down) {
		t.Errorf("%v", err)
	}
	if got := fmt.Sprintf("%v %d %x", k, k, k); strings.Count(got, `RSA wrapping key "k"`) != 3 {
		t.Errorf("it prints as %s", got)
	}
}

type failingModule struct {
	module
	err error
}

func (m failingModule) Decrypt(io.Reader, []byte, crypto.DecrypterOpts) ([]byte, error) {
	return nil, m.err
}
