package awskms_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"go.uber.org/goleak"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) (*kmstest.Server, *kms.Client) {
	t.Helper()
	s := kmstest.New(nil)
	t.Cleanup(s.Close)
	return s, kms.NewFromConfig(s.Config())
}

func newKeyring(t *testing.T, client awskms.Client, keyID string, old ...string) *awskms.Keyring {
	t.Helper()
	k, err := awskms.New(client, keyID, &awskms.Options{OldKeys: old})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// generate returns a new data key and its one wrapped key.
func generate(t *testing.T, k *awskms.Keyring, ec keywrap.Context) ([]byte, format.WrappedKey) {
	t.Helper()
	dataKey, keys, err := k.GenerateKey(t.Context(), ec)
	if err != nil {
		t.Fatal(err)
	}
	if len(dataKey) != keywrap.DataKeySize || len(keys) != 1 || keys[0].Type != format.KeyTypeKMS {
		t.Fatalf("data key of %d bytes, %d wrapped keys", len(dataKey), len(keys))
	}
	return dataKey, keys[0]
}

// operations returns the operations that the server has been asked for.
func operations(s *kmstest.Server) (names []string) {
	for _, c := range s.Calls() {
		names = append(names, c.Operation)
	}
	return names
}

func wantOperations(t *testing.T, s *kmstest.Server, want ...string) {
	t.Helper()
	if got := operations(s); !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
}

func keyID(arn string) string { return arn[strings.LastIndexByte(arn, '/')+1:] }

// clientFuncs is a client whose answers a test can change.
type clientFuncs struct {
	*kms.Client
	generate func(*kms.GenerateDataKeyOutput)
	encrypt  func(*kms.EncryptOutput)
	decrypt  func(*kms.DecryptOutput)
	describe func(*kms.DescribeKeyOutput)
}

func (c clientFuncs) GenerateDataKey(ctx context.Context, in *kms.GenerateDataKeyInput, o ...func(*kms.Options)) (*kms.GenerateDataKeyOutput, error) {
	return changed(c.generate)(c.Client.GenerateDataKey(ctx, in, o...))
}

func (c clientFuncs) Encrypt(ctx context.Context, in *kms.EncryptInput, o ...func(*kms.Options)) (*kms.EncryptOutput, error) {
	return changed(c.encrypt)(c.Client.Encrypt(ctx, in, o...))
}

func (c clientFuncs) Decrypt(ctx context.Context, in *kms.DecryptInput, o ...func(*kms.Options)) (*kms.DecryptOutput, error) {
	return changed(c.decrypt)(c.Client.Decrypt(ctx, in, o...))
}

func (c clientFuncs) DescribeKey(ctx context.Context, in *kms.DescribeKeyInput, o ...func(*kms.Options)) (*kms.DescribeKeyOutput, error) {
	return changed(c.describe)(c.Client.DescribeKey(ctx, in, o...))
}

func changed[T any](f func(*T)) func(*T, error) (*T, error) {
	return func(out *T, err error) (*T, error) {
		if err == nil && f != nil {
			f(out)
		}
		return out, err
	}
}
