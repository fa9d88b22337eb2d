package keywrap_test

import (
	"context"
	"crypto"
	"crypto/fips140"
	"crypto/rsa"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/keywraptest"
)

// both is a pair of one key that wraps and unwraps.
func both[K interface {
	keywrap.Wrapper
	keywrap.Unwrapper
}](t testing.TB, k K, err error,
) keywraptest.Pair {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return keywraptest.Pair{Wrapper: k, Unwrapper: k}
}

// rsaKeys are made once: making one takes long.
var rsaKeys = sync.OnceValues(func() ([2]*keywrap.RSAKey, error) {
	one, err := keywrap.GenerateRSAKey("rsa", 2048)
	if err != nil {
		return [2]*keywrap.RSAKey{}, err
	}
	two, err := keywrap.GenerateRSAKey("rsa", 2048)
	return [2]*keywrap.RSAKey{one, two}, err
})

// A module is a crypto.Decrypter whose key stays inside.
type module struct{ key *rsa.PrivateKey }

func (m module) Public() crypto.PublicKey { return m.key.Public() }

func (m module) Decrypt(rand io.Reader, msg []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	return m.key.Decrypt(rand, msg, opts)
}

func TestConformance(t *testing.T) {
	t.Run("AES", func(t *testing.T) {
		keywraptest.Run(t, keywraptest.Config{Type: format.KeyTypeAES, Size: 40, New: func(t testing.TB) keywraptest.Pair {
			k, err := keywrap.GenerateAESKey("aes")
			return both(t, k, err)
		}})
	})
	t.Run("RSA", func(t *testing.T) {
		next := 0
		keywraptest.Run(t, keywraptest.Config{Type: format.KeyTypeRSA, Size: 256, Stride: 16, New: func(t testing.TB) keywraptest.Pair {
			keys, err := rsaKeys()
			next++
			return keywraptest.Pair{Wrapper: keys[next%2].PublicKey(), Unwrapper: both(t, keys[next%2], err).Unwrapper}
		}})
	})
	t.Run("RSA in a module", func(t *testing.T) {
		next := 0
		keywraptest.Run(t, keywraptest.Config{Type: format.KeyTypeRSA, Size: 256, Stride: 64, New: func(t testing.TB) keywraptest.Pair {
			next++
			k, err := keywrap.NewRSAKey("rsa", module{rsaPrivate(t, next%2)})
			return both(t, k, err)
		}})
	})
	for kem, size := range map[keywrap.KEM]int{
		keywrap.MLKEM768X25519: 1174, keywrap.MLKEM1024P384: 1719, keywrap.MLKEM768P256: 1207,
		keywrap.DHKEMX25519: 86, keywrap.DHKEMP256: 119,
	} {
		if fips140.Enforced() && (kem == keywrap.DHKEMX25519 || kem == keywrap.MLKEM768X25519) {
			continue // X25519 is not approved
		}
		t.Run(fmt.Sprint("HPKE ", kem), func(t *testing.T) {
			keywraptest.Run(t, keywraptest.Config{Type: format.KeyTypeHPKE, Size: size, Stride: 29, New: func(t testing.TB) keywraptest.Pair {
				k, err := keywrap.GenerateHPKEKey("hpke", kem)
				return keywraptest.Pair{Wrapper: k.PublicKey(), Unwrapper: both(t, k, err).Unwrapper}
			}})
		})
	}
	if !fips140.Enforced() {
		t.Run("passphrase", func(t *testing.T) {
			next := 0
			keywraptest.Run(t, keywraptest.Config{Type: format.KeyTypePassphrase, Size: 66, AnyName: true, New: func(t testing.TB) keywraptest.Pair {
				next++
				k, err := keywrap.NewPassphrase(fmt.Append(nil, "correct horse ", next), &keywrap.PassphraseOptions{
					Hint: "battery staple", Memory: 32, Passes: 1, MaxMemory: 128, MaxPasses: 4,
				})
				return both(t, k, err)
			}})
		})
	}
	t.Run("keyring", func(t *testing.T) {
		keywraptest.Run(t, keywraptest.Config{Type: format.KeyTypeAES, Size: 40, New: func(t testing.TB) keywraptest.Pair {
			active, err := keywrap.GenerateAESKey("active")
			if err != nil {
				t.Fatal(err)
			}
			old, err := keywrap.GenerateAESKey("old")
			if err != nil {
				t.Fatal(err)
			}
			r, err := keywrap.NewKeyring(active, old)
			return both(t, r, err)
		}})
	})
	t.Run("a key of one's own", func(t *testing.T) {
		next := 0
		keywraptest.Run(t, keywraptest.Config{Type: vaultKeyType, New: func(t testing.TB) keywraptest.Pair {
			next++
			return both(t, vaultKey{newVault(), fmt.Sprint("key ", next)}, nil)
		}})
	})
	t.Run("by context", func(t *testing.T) {
		keywraptest.Run(t, keywraptest.Config{Type: format.KeyTypeAES, Size: 40, New: func(t testing.TB) keywraptest.Pair {
			k, err := keywrap.GenerateAESKey("chosen")
			return both(t, keywrap.ByContext(func(context.Context, keywrap.Context) (keywrap.WrapUnwrapper, error) { return k, err }), nil)
		}})
	})
	t.Run("Multi and AnyOf", func(t *testing.T) {
		keywraptest.Run(t, keywraptest.Config{New: func(t testing.TB) keywraptest.Pair {
			a, err := keywrap.GenerateAESKey("a")
			if err != nil {
				t.Fatal(err)
			}
			b, err := keywrap.GenerateAESKey("b")
			if err != nil {
				t.Fatal(err)
			}
			return keywraptest.Pair{Wrapper: keywrap.Multi(a, b), Unwrapper: keywrap.AnyOf(a, b)}
		}})
	})
}

// rsaPrivate returns the private key of one of rsaKeys.
func rsaPrivate(t testing.TB, i int) *rsa.PrivateKey {
	t.Helper()
	keys, err := rsaPrivates()
	if err != nil {
		t.Fatal(err)
	}
	return keys[i]
}

var rsaPrivates = sync.OnceValues(func() (keys [2]*rsa.PrivateKey, err error) {
	for i := range keys {
		if keys[i], err = rsa.GenerateKey(nil, 2048); err != nil {
			return keys, err
		}
	}
	return keys, nil
})
