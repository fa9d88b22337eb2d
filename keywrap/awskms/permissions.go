package awskms

import (
	"context"
	"errors"
	"fmt"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/bulla-format/bulla/keywrap"
)

// CheckPermissions asks KMS whether the keyring's keys can be used with this
// context, by dry runs: policies, grants, and the keys' existence, state and
// kind are checked, and no data key is made. The operations are
// "GenerateDataKey", "Encrypt", "Decrypt" and "ReEncrypt", what a program needs
// of them; none stands for GenerateDataKey and Decrypt. GenerateDataKey and
// Encrypt are tried with the first key, Decrypt with each, and ReEncrypt from
// each to the first. Aliases are looked up for the last two, as for reading.
//
// The error joins one [*Error] for each key and operation that KMS refused. A
// dry run counts as a request in KMS's quotas and price.
func (k *Keyring) CheckPermissions(ctx context.Context, ec keywrap.Context, operations ...string) error {
	if len(operations) == 0 {
		operations = []string{"GenerateDataKey", "Decrypt"}
	}
	var errs []error
	for _, operation := range operations {
		switch operation {
		case "GenerateDataKey", "Encrypt":
			id := k.keys[0].id
			if err := k.dryRun(ctx, operation, id, ec); !allowed(err) {
				errs = append(errs, newError(operation, id, ec, err))
			}
		case "Decrypt", "ReEncrypt":
			for _, key := range k.keys {
				errs = append(errs, k.checkReading(ctx, operation, key, ec)...)
			}
		default:
			return fmt.Errorf("awskms: %.64q is not an operation whose permission can be checked: "+
				"use GenerateDataKey, Encrypt, Decrypt or ReEncrypt", operation)
		}
	}
	return errors.Join(errs...)
}

// checkReading checks an operation that decrypts, with every key that key
// stands for.
func (k *Keyring) checkReading(ctx context.Context, operation string, key *wrappingKey, ec keywrap.Context) (errs []error) {
	if err := key.resolve(ctx, k.client, k.tokens); err != nil {
		return []error{err}
	}
	for _, pinned := range key.pins() {
		err := k.dryRun(ctx, operation, pinned, ec)
		switch {
		case allowed(err):
		case operation == "ReEncrypt":
			errs = append(errs, newReEncryptError(pinned, k.keys[0].id, ec, ec, err))
		default:
			errs = append(errs, newError(operation, pinned, ec, err))
		}
	}
	return errs
}

var ignoreCiphertext = []types.DryRunModifierType{types.DryRunModifierTypeIgnoreCiphertext}

// dryRun returns the error that KMS answers a dry run with.
func (k *Keyring) dryRun(ctx context.Context, operation, id string, ec keywrap.Context) (err error) {
	switch operation {
	case "GenerateDataKey":
		var out *kms.GenerateDataKeyOutput
		out, err = k.client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{
			DryRun: new(true), KeyId: &id, KeySpec: types.DataKeySpecAes256, EncryptionContext: ec, GrantTokens: k.tokens,
		})
		if err == nil {
			clear(out.Plaintext)
		}
	case "Encrypt":
		_, err = k.client.Encrypt(ctx, &kms.EncryptInput{
			DryRun: new(true), KeyId: &id, Plaintext: make([]byte, keywrap.DataKeySize), EncryptionContext: ec, GrantTokens: k.tokens,
		})
	case "Decrypt":
		_, err = k.client.Decrypt(ctx, &kms.DecryptInput{
			DryRun: new(true), DryRunModifiers: ignoreCiphertext, KeyId: &id, EncryptionContext: ec, GrantTokens: k.tokens,
		})
	case "ReEncrypt":
		_, err = k.client.ReEncrypt(ctx, &kms.ReEncryptInput{
			DryRun: new(true), DryRunModifiers: ignoreCiphertext, SourceKeyId: &id, SourceEncryptionContext: ec,
			DestinationKeyId: &k.keys[0].id, DestinationEncryptionContext: ec, GrantTokens: k.tokens,
		})
	}
	return err
}

// allowed reports whether a dry run says that the call would have succeeded. A
// service that does not know dry runs has made the call.
func allowed(err error) bool { return err == nil || code(err) == "DryRunOperationException" }
