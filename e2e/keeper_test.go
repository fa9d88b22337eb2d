package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"strings"
	"testing"

	"gocloud.dev/secrets"
	"gocloud.dev/secrets/localsecrets"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/keywraptest"
	"github.com/bulla-format/bulla/stream"
)

// A keeperKey wraps data keys with a secrets.Keeper of the Go CDK, behind which stand Google Cloud KMS, Azure Key Vault,
// HashiCorp Vault and others. Its type is one of those for private use (SPEC §12.3).
type keeperKey struct {
	keeper *secrets.Keeper
	name   string
}

const keeperKeyType format.KeyType = 0xF001

func (k keeperKey) WrapKey(ctx context.Context, dataKey []byte, _ keywrap.Context) ([]format.WrappedKey, error) {
	if len(dataKey) != keywrap.DataKeySize {
		return nil, fmt.Errorf("keeper: data key of %d bytes", len(dataKey))
	}
	wrapped, err := k.keeper.Encrypt(ctx, dataKey)
	if err != nil {
		return nil, fmt.Errorf("keeper %q: %w", k.name, err)
	}
	return []format.WrappedKey{{Type: keeperKeyType, Name: k.name, Data: wrapped}}, nil
}

func (k keeperKey) UnwrapKey(ctx context.Context, w format.WrappedKey, _ keywrap.Context) ([]byte, error) {
	if w.Type != keeperKeyType || w.Name != k.name {
		return nil, keywrap.ErrNoMatch
	}
	dataKey, err := k.keeper.Decrypt(ctx, w.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: keeper %q: %w", keywrap.ErrUnwrap, k.name, err)
	}
	return dataKey, nil
}

func Example_keeper() {
	keeperKeyBytes, err := localsecrets.NewRandomKey()
	if err != nil {
		log.Fatal(err)
	}
	keeper := localsecrets.NewKeeper(keeperKeyBytes) // or secrets.OpenKeeper(ctx, "gcpkms://...")
	defer keeper.Close()
	key := keeperKey{keeper, "backups"}

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

func TestKeeperConformance(t *testing.T) {
	next := 0
	keywraptest.Run(t, keywraptest.Config{Type: keeperKeyType, New: func(t testing.TB) keywraptest.Pair {
		b, err := localsecrets.NewRandomKey()
		if err != nil {
			t.Fatal(err)
		}
		keeper := localsecrets.NewKeeper(b)
		t.Cleanup(func() { keeper.Close() })
		next++
		k := keeperKey{keeper, fmt.Sprint("keeper ", next)}
		return keywraptest.Pair{Wrapper: k, Unwrapper: k}
	}})
}
