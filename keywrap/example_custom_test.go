package keywrap_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"fmt"
	"io"
	"log"
	"strings"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// A vault stands for a key service of one's own: it encrypts and decrypts
// under keys that it does not give away.
type vault struct{ aead cipher.AEAD }

func (v vault) Encrypt(_ context.Context, key string, plaintext []byte) ([]byte, error) {
	return v.aead.Seal(nil, nil, plaintext, []byte(key)), nil
}

func (v vault) Decrypt(_ context.Context, key string, ciphertext []byte) ([]byte, error) {
	return v.aead.Open(nil, nil, ciphertext, []byte(key))
}

// A vaultKey wraps data keys with a key in a vault. Its type is one of those
// for private use (SPEC §12.3).
type vaultKey struct {
	vault vault
	name  string
}

const vaultKeyType format.KeyType = 0xF000

func (k vaultKey) WrapKey(ctx context.Context, dataKey []byte, _ keywrap.Context) ([]format.WrappedKey, error) {
	if len(dataKey) != keywrap.DataKeySize {
		return nil, fmt.Errorf("vault: data key of %d bytes", len(dataKey))
	}
	wrapped, err := k.vault.Encrypt(ctx, k.name, dataKey)
	if err != nil {
		return nil, fmt.Errorf("vault: key %q: %w", k.name, err)
	}
	return []format.WrappedKey{{Type: vaultKeyType, Name: k.name, Data: wrapped}}, nil
}

func (k vaultKey) UnwrapKey(ctx context.Context, w format.WrappedKey, _ keywrap.Context) ([]byte, error) {
	if w.Type != vaultKeyType || w.Name != k.name {
		return nil, keywrap.ErrNoMatch // before the vault is asked
	}
	dataKey, err := k.vault.Decrypt(ctx, k.name, w.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: vault: key %q: %w", keywrap.ErrUnwrap, k.name, err)
	}
	return dataKey, nil
}

// Keys in a service of one's own take the two methods of vaultKey;
// keywraptest.Run tests them.
func Example_customKey() {
	key := vaultKey{newVault(), "backups"}

	r, err := stream.NewEncryptReader(context.Background(), strings.NewReader("hello, world"), key, nil)
	if err != nil {
		log.Fatal(err)
	}
	stored, err := io.ReadAll(r)
	if err != nil {
		log.Fatal(err)
	}
	d, err := stream.NewDecryptReader(context.Background(), bytes.NewReader(stored), key, nil)
	if err != nil {
		log.Fatal(err)
	}
	plaintext, err := io.ReadAll(d)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", plaintext)
	// Output: hello, world
}

func newVault() vault {
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		log.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		log.Fatal(err)
	}
	return vault{aead}
}
