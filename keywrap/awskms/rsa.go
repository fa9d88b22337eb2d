package awskms

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
)

const oaepSHA256 = types.EncryptionAlgorithmSpecRsaesOaepSha256

// RSAClient is what an [RSAKey] uses of [*kms.Client].
type RSAClient interface {
	Decrypt(context.Context, *kms.DecryptInput, ...func(*kms.Options)) (*kms.DecryptOutput, error)
	GetPublicKey(context.Context, *kms.GetPublicKeyInput, ...func(*kms.Options)) (*kms.GetPublicKeyOutput, error)
}

// RSAOptions configure an [RSAKey]. The zero value is ready for use.
type RSAOptions struct {
	// PublicKey is the key's public half, from a source that is trusted: what
	// is wrapped with another key is lost, or another's to read. Default: the
	// one that KMS gives when it is first needed.
	PublicKey *rsa.PublicKey

	// GrantTokens go with every call, for grants so new that not all of KMS
	// knows them.
	GrantTokens []string
}

// An RSAKey is an RSA key in KMS, of spec RSA_2048, RSA_3072 or RSA_4096 and
// usage ENCRYPT_DECRYPT. It wraps data keys on this machine with the public
// half, and has KMS unwrap them (RSAES_OAEP_SHA_256). Its wrapped keys are
// those of a keywrap.RSAPublicKey of the same name (SPEC §12.6), which a writer
// without access to KMS can be given; several keys make a keywrap.Keyring.
//
// KMS takes no encryption context with RSA keys: nothing binds the context to
// the wrapped key, and KMS neither checks nor logs it. The header MAC binds it
// to the stream. Whoever has the public key can make wrapped keys.
//
// The permissions needed are kms:Decrypt to read and, unless the public key is
// given, kms:GetPublicKey to write. Use is safe concurrently.
type RSAKey struct {
	client RSAClient
	name   string
	id     string
	tokens []string

	fetching chan struct{} // holds one token while the public key is fetched
	public   atomic.Pointer[publicKey]
}

type publicKey struct {
	*keywrap.RSAPublicKey
	size int // of the modulus, in bytes
}

// NewRSAKey returns the KMS key keyID under the name that headers give it, 1 to
// format.MaxKeyNameSize bytes of UTF-8 without control characters; nil options
// are the defaults. It makes no call.
//
// The KMS key is named by its key ARN or its key id and not by an alias, which
// can move: then streams would be written that the readers' key does not open.
func NewRSAKey(client RSAClient, name, keyID string, o *RSAOptions) (*RSAKey, error) {
	if client == nil {
		return nil, errors.New("awskms: no client")
	}
	if o == nil {
		o = &RSAOptions{}
	}
	if name == "" || !format.ValidKeyName(name) {
		return nil, fmt.Errorf("awskms: %w: a key's name is 1 to %d bytes of UTF-8 without control characters", keywrap.ErrKeyFormat, maxKeyNameSize)
	}
	if _, ok := parseKeyARN(keyID); !ok && !validKeyID(keyID) {
		return nil, fmt.Errorf("awskms: %.100q is not an RSA key: use a key ARN or a key id", keyID)
	}
	k := &RSAKey{client: client, name: name, id: keyID, tokens: slices.Clone(o.GrantTokens), fetching: make(chan struct{}, 1)}
	if o.PublicKey != nil {
		public, err := newPublicKey(name, o.PublicKey)
		if err != nil {
			return nil, fmt.Errorf("awskms: %w", err)
		}
		k.public.Store(public)
	}
	return k, nil
}

// newPublicKey checks that the key is of a size that KMS has.
func newPublicKey(name string, key *rsa.PublicKey) (*publicKey, error) {
	public, err := keywrap.NewRSAPublicKey(name, key)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(rsaSizes, key.Size()) {
		return nil, fmt.Errorf("%w: RSA keys in KMS have 2048, 3072 or 4096 bits, this one has %d", keywrap.ErrKeyFormat, key.N.BitLen())
	}
	return &publicKey{public, key.Size()}, nil
}

// rsaSizes are the sizes of the moduli, in bytes.
var rsaSizes = []int{2048 / 8, 3072 / 8, 4096 / 8}

// KeyName returns the name that headers give the key.
func (k *RSAKey) KeyName() string { return k.name }

// PublicKey returns the half of the key that wraps: the one given, or the one
// that KMS's GetPublicKey gives, asked once and kept for the life of k. Errors
// of KMS are of type [*Error].
func (k *RSAKey) PublicKey(ctx context.Context) (*keywrap.RSAPublicKey, error) {
	if p := k.public.Load(); p != nil {
		return p.RSAPublicKey, nil
	}
	select {
	case k.fetching <- struct{}{}:
		defer func() { <-k.fetching }()
	case <-ctx.Done():
		return nil, k.newError("GetPublicKey", ctx.Err())
	}
	if p := k.public.Load(); p != nil {
		return p.RSAPublicKey, nil
	}
	out, err := k.client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: &k.id, GrantTokens: k.tokens})
	if err != nil {
		return nil, k.newError("GetPublicKey", err)
	}
	p, err := k.parse(out)
	if err != nil {
		return nil, k.newAnswerError("GetPublicKey", err)
	}
	k.public.Store(p)
	return p.RSAPublicKey, nil
}

func (k *RSAKey) parse(out *kms.GetPublicKeyOutput) (*publicKey, error) {
	if err := checkAnswer(k.id, out.KeyId); err != nil {
		return nil, err
	}
	if out.KeyUsage != types.KeyUsageTypeEncryptDecrypt || !slices.Contains(out.EncryptionAlgorithms, oaepSHA256) {
		return nil, fmt.Errorf("it is a key of spec %.32q and usage %.32q: configure an RSA key with usage ENCRYPT_DECRYPT", out.KeySpec, out.KeyUsage)
	}
	parsed, err := x509.ParsePKIXPublicKey(out.PublicKey)
	if err != nil {
		return nil, errors.New("KMS answered with what is not a public key")
	}
	key, ok := parsed.(*rsa.PublicKey)
	if !ok {
		return nil, fmt.Errorf("KMS answered with a public key of type %T, expected RSA", parsed)
	}
	return newPublicKey(k.name, key)
}

// WrapKey implements [keywrap.Wrapper] on this machine, after the one call for
// the public key that [RSAKey.PublicKey] makes. The context is not used.
func (k *RSAKey) WrapKey(ctx context.Context, dataKey []byte, ec keywrap.Context) ([]format.WrappedKey, error) {
	if len(dataKey) != keywrap.DataKeySize {
		return nil, fmt.Errorf("awskms: data key of %d bytes, expected %d", len(dataKey), keywrap.DataKeySize)
	}
	p, err := k.PublicKey(ctx)
	if err != nil {
		return nil, err
	}
	return p.WrapKey(ctx, dataKey, ec)
}

// UnwrapKey implements [keywrap.Unwrapper] by KMS's Decrypt with the configured
// key, which KMS must answer that it used. The context is not used. A wrapped
// key of another type or name is [keywrap.ErrNoMatch], without any call. Errors
// of KMS are of type [*Error]; those that mean that w does not unwrap are
// [keywrap.ErrUnwrap] as well.
func (k *RSAKey) UnwrapKey(ctx context.Context, w format.WrappedKey, _ keywrap.Context) ([]byte, error) {
	if w.Type != format.KeyTypeRSA || w.Name != k.name {
		return nil, keywrap.ErrNoMatch
	}
	sizes := rsaSizes
	if p := k.public.Load(); p != nil {
		sizes = []int{p.size}
	}
	if !slices.Contains(sizes, len(w.Data)) {
		return nil, fmt.Errorf("awskms: %w: the wrapped key for RSA key %.128q has %d bytes, its modulus %d: another key of this name wrapped it, or the header is damaged",
			keywrap.ErrUnwrap, k.name, len(w.Data), sizes)
	}
	out, err := k.client.Decrypt(ctx, &kms.DecryptInput{
		KeyId: &k.id, CiphertextBlob: w.Data, EncryptionAlgorithm: oaepSHA256, GrantTokens: k.tokens,
	})
	if err != nil {
		return nil, k.newError("Decrypt", err)
	}
	if err = checkAnswer(k.id, out.KeyId); err == nil && len(out.Plaintext) != keywrap.DataKeySize {
		err = fmt.Errorf("%w: the wrapped key holds %d bytes, expected %d: it was not made for a stream",
			keywrap.ErrUnwrap, len(out.Plaintext), keywrap.DataKeySize)
	}
	if err != nil {
		clear(out.Plaintext)
		return nil, k.newAnswerError("Decrypt", err)
	}
	return out.Plaintext, nil
}

// CheckPermissions asks KMS, by a dry run, whether the key can be used to
// unwrap; see [Keyring.CheckPermissions]. Whether it can wrap, [RSAKey.PublicKey]
// shows.
func (k *RSAKey) CheckPermissions(ctx context.Context) error {
	_, err := k.client.Decrypt(ctx, &kms.DecryptInput{
		DryRun: new(true), DryRunModifiers: ignoreCiphertext, KeyId: &k.id, EncryptionAlgorithm: oaepSHA256, GrantTokens: k.tokens,
	})
	if !allowed(err) {
		return k.newError("Decrypt", err)
	}
	return nil
}

func (k *RSAKey) newError(operation string, err error) *Error {
	e := newError(operation, k.id, nil, err)
	e.rsa = true
	return e
}

func (k *RSAKey) newAnswerError(operation string, err error) *Error {
	e := k.newError(operation, err)
	e.answered = true
	return e
}
