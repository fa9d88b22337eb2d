// Package awskms wraps data keys with AWS KMS.
//
// The wrapping keys never leave KMS. A writer's data key comes from KMS's
// GenerateDataKey, together with its wrapped form, and a reader sends the
// wrapped form to Decrypt. The stream's context is the KMS encryption context
// in both, so that KMS refuses a data key whose context was changed, key
// policies can demand context keys, and CloudTrail shows them:
//
//	keys, err := awskms.New(kms.NewFromConfig(cfg), "alias/backups", nil)
//
// A [Keyring] decrypts with the keys that it was made with and no others. The
// key ARN in a header is public and can be anything: it selects one of the
// configured keys, or none, and never reaches KMS.
//
// The keys of a Keyring are symmetric encryption keys (SYMMETRIC_DEFAULT). The
// permissions needed are kms:GenerateDataKey to write, kms:Decrypt to read,
// kms:DescribeKey to read by alias, and kms:Encrypt to write streams for several
// wrapping keys at once; [Keyring.ReWrapKey] has its own. A grant may give them
// in place of a policy. [Keyring.CheckPermissions] asks KMS whether they are
// there.
//
// An [RSAKey] is for writers that must not be able to read, or that have no way
// to KMS: they wrap with a public key, and KMS keeps the private one.
//
// Each stream costs a call of KMS, unless a keywrap.WrapperCache in front of the
// keyring gives a data key to several.
//
// Retries, timeouts, credentials, logging and metrics are the SDK client's; the
// example of logging shows how.
//
// Package kmstest has a server for tests.
package awskms

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
)

const (
	maxBlobSize    = 6144 // bytes of a CiphertextBlob (AWS KMS API Reference, Decrypt)
	maxKeyNameSize = format.MaxKeyNameSize
)

// Client is what a [Keyring] uses of [*kms.Client]. The client is for one
// Region; retries, timeouts and credentials are its own.
type Client interface {
	GenerateDataKey(context.Context, *kms.GenerateDataKeyInput, ...func(*kms.Options)) (*kms.GenerateDataKeyOutput, error)
	Encrypt(context.Context, *kms.EncryptInput, ...func(*kms.Options)) (*kms.EncryptOutput, error)
	Decrypt(context.Context, *kms.DecryptInput, ...func(*kms.Options)) (*kms.DecryptOutput, error)
	ReEncrypt(context.Context, *kms.ReEncryptInput, ...func(*kms.Options)) (*kms.ReEncryptOutput, error)
	DescribeKey(context.Context, *kms.DescribeKeyInput, ...func(*kms.Options)) (*kms.DescribeKeyOutput, error)
}

// Options configure a [Keyring]. The zero value is ready for use.
type Options struct {
	// OldKeys are further keys that streams may have been written with, named
	// as for [New]. They unwrap and never wrap.
	OldKeys []string

	// GrantTokens go with every call, for grants so new that not all of KMS
	// knows them.
	GrantTokens []string
}

// A Keyring wraps data keys with one KMS key and unwraps those of several. It
// is safe for concurrent use.
type Keyring struct {
	client Client
	keys   []*wrappingKey // the first one wraps
	tokens []string
}

var (
	_ keywrap.Generator = (*Keyring)(nil)
	_ keywrap.Unwrapper = (*Keyring)(nil)
	_ Client            = (*kms.Client)(nil)
)

// New returns a keyring that wraps with the key keyID and unwraps what that
// key or an old one wrapped; nil options are the defaults. One key is all that
// most programs have, so it is an argument of its own.
//
// A key is named in one of the forms that KMS knows: a key ARN, a key id, an
// alias ("alias/backups"), or an alias ARN. New makes no call; a name of
// another form is an error.
//
//   - A key ARN names one key. If its id begins with "mrk-", it also stands for
//     the related multi-Region keys: what one of them wrapped in another Region
//     is unwrapped by the configured one.
//   - A key id names the key of that id in the client's account and Region.
//   - An alias names, for new streams, the key that it points to at the time. To
//     unwrap, it stands for the key that DescribeKey says it points to, asked
//     once and kept for the life of the keyring, and for the keys that this
//     keyring has wrapped with. When an alias moves to another key, name the
//     former one in OldKeys.
//
// Keys of other Regions need clients of those Regions: make one keyring for
// each client.
func New(client Client, keyID string, o *Options) (*Keyring, error) {
	if client == nil {
		return nil, errors.New("awskms: no client")
	}
	if o == nil {
		o = &Options{}
	}
	k := &Keyring{client: client, tokens: slices.Clone(o.GrantTokens)}
	for _, id := range append([]string{keyID}, o.OldKeys...) {
		key, err := newWrappingKey(id)
		if err != nil {
			return nil, err
		}
		k.keys = append(k.keys, key)
	}
	return k, nil
}

// GenerateKey returns a new data key from KMS's GenerateDataKey, which the
// caller owns and clears, and the same key wrapped: its name is the key ARN
// that KMS answered with, its data the CiphertextBlob. Errors of KMS are of
// type [*Error].
func (k *Keyring) GenerateKey(ctx context.Context, ec keywrap.Context) ([]byte, []format.WrappedKey, error) {
	key := k.keys[0]
	out, err := k.client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
		KeyId: &key.id, KeySpec: types.DataKeySpecAes256, EncryptionContext: ec, GrantTokens: k.tokens,
	})
	if err != nil {
		return nil, nil, newError("GenerateDataKey", key.id, ec, err)
	}
	wrapped, err := key.wrapped(out.KeyId, out.CiphertextBlob)
	if n := len(out.Plaintext); err == nil && n != keywrap.DataKeySize {
		err = fmt.Errorf("KMS answered with a data key of %d bytes, expected %d", n, keywrap.DataKeySize)
	}
	if err != nil {
		clear(out.Plaintext)
		return nil, nil, newAnswerError("GenerateDataKey", key.id, ec, err)
	}
	return out.Plaintext, []format.WrappedKey{wrapped}, nil
}

// WrapKey wraps a data key of [keywrap.DataKeySize] bytes with KMS's Encrypt.
// It serves streams for several wrapping keys, where the data key comes from
// elsewhere. Errors of KMS are of type [*Error].
func (k *Keyring) WrapKey(ctx context.Context, dataKey []byte, ec keywrap.Context) ([]format.WrappedKey, error) {
	if len(dataKey) != keywrap.DataKeySize {
		return nil, fmt.Errorf("awskms: data key of %d bytes, expected %d", len(dataKey), keywrap.DataKeySize)
	}
	key := k.keys[0]
	out, err := k.client.Encrypt(ctx, &kms.EncryptInput{
		KeyId: &key.id, Plaintext: dataKey, EncryptionContext: ec, GrantTokens: k.tokens,
	})
	if err != nil {
		return nil, newError("Encrypt", key.id, ec, err)
	}
	wrapped, err := key.wrapped(out.KeyId, out.CiphertextBlob)
	if err != nil {
		return nil, newAnswerError("Encrypt", key.id, ec, err)
	}
	return []format.WrappedKey{wrapped}, nil
}

// UnwrapKey returns the data key of w, which the caller owns and clears, from
// KMS's Decrypt. The call names the configured key that w.Name selects, and KMS
// must answer that it used this key.
//
// The error is [keywrap.ErrNoMatch], without any call for w.Name, if w is of
// another type or names no configured key. Errors of KMS are of type [*Error];
// those that mean that w does not unwrap with the key and the context are
// [keywrap.ErrUnwrap] as well.
func (k *Keyring) UnwrapKey(ctx context.Context, w format.WrappedKey, ec keywrap.Context) ([]byte, error) {
	pinned, err := k.find(ctx, w)
	if err != nil {
		return nil, err
	}
	out, err := k.client.Decrypt(ctx, &kms.DecryptInput{
		KeyId: &pinned, CiphertextBlob: w.Data, EncryptionContext: ec, GrantTokens: k.tokens,
	})
	if err != nil {
		return nil, newError("Decrypt", pinned, ec, err)
	}
	if err = checkAnswer(pinned, out.KeyId); err == nil && len(out.Plaintext) != keywrap.DataKeySize {
		err = fmt.Errorf("%w: the wrapped key holds %d bytes, expected %d: it was not made for a stream",
			keywrap.ErrUnwrap, len(out.Plaintext), keywrap.DataKeySize)
	}
	if err != nil {
		clear(out.Plaintext)
		return nil, newAnswerError("Decrypt", pinned, ec, err)
	}
	return out.Plaintext, nil
}

// find returns the KeyId for a call that decrypts w. Only aliases that were
// never looked up cost a call, and only if the blob's size is one that KMS
// takes.
func (k *Keyring) find(ctx context.Context, w format.WrappedKey) (pinned string, err error) {
	if w.Type != format.KeyTypeKMS {
		return "", keywrap.ErrNoMatch
	}
	name, ok := parseKeyARN(w.Name)
	if !ok {
		return "", fmt.Errorf("awskms: %w: the wrapped key's name is not the ARN of a KMS key", keywrap.ErrNoMatch)
	}
	unknown := false
	for _, key := range k.keys {
		if pinned = key.match(name); pinned != "" {
			break
		}
		unknown = unknown || !key.resolved()
	}
	switch size := len(w.Data); {
	case pinned == "" && !unknown:
		return "", k.noMatch(name)
	case size < 1 || size > maxBlobSize:
		return "", fmt.Errorf("awskms: %w: the wrapped key for %s has %d bytes, KMS makes 1 to %d: the header is damaged or was changed",
			keywrap.ErrUnwrap, name, size, maxBlobSize)
	case pinned != "":
		return pinned, nil
	}
	var errs []error
	for _, key := range k.keys {
		if err := key.resolve(ctx, k.client, k.tokens); err != nil {
			errs = append(errs, err)
		} else if pinned = key.match(name); pinned != "" {
			return pinned, nil
		}
	}
	if len(errs) > 0 {
		return "", errors.Join(errs...)
	}
	return "", k.noMatch(name)
}

// noMatch is the error for a key that nobody configured. An alias that moved
// is its likeliest cause.
func (k *Keyring) noMatch(name keyARN) error {
	moved := ""
	if slices.ContainsFunc(k.keys, func(key *wrappingKey) bool { return key.alias }) {
		moved = ", in OldKeys if an alias pointed to it and has moved to another key"
	}
	return fmt.Errorf("awskms: %w: configure %s if the stream is yours to read%s", keywrap.ErrNoMatch, name, moved)
}
