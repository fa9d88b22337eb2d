package awskms

import (
	"context"
	"maps"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
)

// ReWrapKey wraps the data key of w anew, with the keyring's first key and for
// newContext, by KMS's ReEncrypt: the data key never leaves KMS. oldContext is
// the one that w was wrapped with. The call names the configured key that
// w.Name selects, and KMS must answer that it used this key.
//
// It serves whoever replaces wrapped keys without being trusted with data keys.
// The header that holds them has a MAC under a key derived from the data key
// (SPEC §10.2), so that a whole re-wrap of a stream needs that as well.
//
// The permissions needed are kms:ReEncryptFrom on the key of w and
// kms:ReEncryptTo on the first key, and kms:DescribeKey where the former is
// configured by alias. Errors are those of [Keyring.UnwrapKey].
func (k *Keyring) ReWrapKey(ctx context.Context, w format.WrappedKey, oldContext, newContext keywrap.Context) ([]format.WrappedKey, error) {
	pinned, err := k.find(ctx, w)
	if err != nil {
		return nil, err
	}
	key := k.keys[0]
	out, err := k.client.ReEncrypt(ctx, &kms.ReEncryptInput{
		CiphertextBlob: w.Data, SourceKeyId: &pinned, SourceEncryptionContext: oldContext,
		DestinationKeyId: &key.id, DestinationEncryptionContext: newContext, GrantTokens: k.tokens,
	})
	if err != nil {
		return nil, newReEncryptError(pinned, key.id, oldContext, newContext, err)
	}
	wrapped, err := key.wrapped(out.KeyId, out.CiphertextBlob)
	if err == nil {
		err = checkAnswer(pinned, out.SourceKeyId)
	}
	if err != nil {
		e := newReEncryptError(pinned, key.id, oldContext, newContext, err)
		e.answered = true
		return nil, e
	}
	return []format.WrappedKey{wrapped}, nil
}

func newReEncryptError(from, to string, oldContext, newContext keywrap.Context, err error) *Error {
	values := slices.AppendSeq(slices.Collect(maps.Values(oldContext)), maps.Values(newContext))
	return &Error{
		Operation: "ReEncrypt", Key: from, NewKey: to, ContextKeys: slices.Sorted(maps.Keys(oldContext)), Err: err,
		reason: reason(err, slices.Values(values)),
	}
}
