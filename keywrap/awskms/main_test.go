package awskms_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	"go.uber.org/goleak"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t testing.TB) (*kmstest.Server, *kms.Client) {
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

func createAlias(t testing.TB, client *kms.Client, name, arn string) {
	t.Helper()
	if _, err := client.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: &name, TargetKeyId: &arn}); err != nil {
		t.Fatal(err)
	}
}

// multiRegionKey returns the ARNs of related keys in us-east-1 and eu-west-1,
// and a client for the latter.
func multiRegionKey(t *testing.T, s *kmstest.Server, east *kms.Client) (primary, replica string, west *kms.Client) {
	t.Helper()
	created, err := east.CreateKey(t.Context(), &kms.CreateKeyInput{MultiRegion: new(true)})
	if err != nil {
		t.Fatal(err)
	}
	replicated, err := east.ReplicateKey(t.Context(), &kms.ReplicateKeyInput{KeyId: created.KeyMetadata.Arn, ReplicaRegion: new("eu-west-1")})
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.Config()
	cfg.Region = "eu-west-1"
	return *created.KeyMetadata.Arn, *replicated.ReplicaKeyMetadata.Arn, kms.NewFromConfig(cfg)
}

// createRSAKey returns the ARN of a new RSA key.
func createRSAKey(t testing.TB, client *kms.Client, spec types.KeySpec) string {
	t.Helper()
	out, err := client.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: spec, KeyUsage: types.KeyUsageTypeEncryptDecrypt})
	if err != nil {
		t.Fatal(err)
	}
	return *out.KeyMetadata.Arn
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
	rewrap   func(*kms.ReEncryptOutput)
	public   func(*kms.GetPublicKeyOutput)
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

func (c clientFuncs) ReEncrypt(ctx context.Context, in *kms.ReEncryptInput, o ...func(*kms.Options)) (*kms.ReEncryptOutput, error) {
	return changed(c.rewrap)(c.Client.ReEncrypt(ctx, in, o...))
}

func (c clientFuncs) GetPublicKey(ctx context.Context, in *kms.GetPublicKeyInput, o ...func(*kms.Options)) (*kms.GetPublicKeyOutput, error) {
	return changed(c.public)(c.Client.GetPublicKey(ctx, in, o...))
}

func changed[T any](f func(*T)) func(*T, error) (*T, error) {
	return func(out *T, err error) (*T, error) {
		if err == nil && f != nil {
			f(out)
		}
		return out, err
	}
}

// noDryRun is a client of a service that does not know dry runs.
type noDryRun struct {
	*kms.Client
	plaintext []byte // of the last data key
}

func (c *noDryRun) GenerateDataKey(ctx context.Context, in *kms.GenerateDataKeyInput, o ...func(*kms.Options)) (*kms.GenerateDataKeyOutput, error) {
	in.DryRun = nil
	out, err := c.Client.GenerateDataKey(ctx, in, o...)
	if err == nil {
		c.plaintext = out.Plaintext
	}
	return out, err
}

func (c *noDryRun) Encrypt(ctx context.Context, in *kms.EncryptInput, o ...func(*kms.Options)) (*kms.EncryptOutput, error) {
	in.DryRun = nil
	return c.Client.Encrypt(ctx, in, o...)
}
