package kmstest

import (
	"crypto/rand"
	"encoding/json"
)

const (
	symmetric = "SYMMETRIC_DEFAULT"

	maxGrantTokens    = 10
	maxGrantTokenSize = 8192

	// maxContextSize bounds the bytes of all keys and values of an encryption
	// context. AWS documents no figure; the AWS Encryption SDK is held to this
	// one when it uses KMS.
	maxContextSize = 8192
)

// requestOptions are the parameters that all cryptographic operations share.
type requestOptions struct {
	GrantTokens     []string
	DryRun          bool
	DryRunModifiers []string
	Recipient       json.RawMessage
}

func (o *requestOptions) check() error {
	if len(o.GrantTokens) > maxGrantTokens {
		return invalid("grantTokens", "Member must have length less than or equal to %d", maxGrantTokens)
	}
	for _, t := range o.GrantTokens {
		if err := checkSize("grantTokens", &t, 1, maxGrantTokenSize); err != nil {
			return err
		}
	}
	if len(o.DryRunModifiers) > 0 || len(o.Recipient) > 0 {
		return fail("UnsupportedOperationException", "kmstest has neither DryRunModifiers nor Recipient")
	}
	return nil
}

// dryRun returns the error that ends a dry run: every check has passed.
func (o *requestOptions) dryRun() error {
	if !o.DryRun {
		return nil
	}
	return fail("DryRunOperationException", "The request would have succeeded, but the DryRun option is set.")
}

func checkContext(field string, context map[string]string) error {
	size := 0
	for k, v := range context {
		size += len(k) + len(v)
	}
	if size > maxContextSize {
		return invalid(field, "Member must have at most %d bytes of keys and values", maxContextSize)
	}
	return nil
}

func checkAlgorithm(name string) error {
	if name != "" && name != symmetric {
		return fail("InvalidKeyUsageException", "The key is of type %s and cannot be used with another algorithm.", symmetric)
	}
	return nil
}

func checkBlob(b []byte) error {
	if len(b) == 0 {
		return invalid("ciphertextBlob", "Member must have length greater than or equal to 1")
	}
	if len(b) > maxBlobSize {
		return invalid("ciphertextBlob", "Member must have length less than or equal to %d", maxBlobSize)
	}
	return nil
}

type generateInput struct {
	requestOptions
	KeyId             *string
	KeySpec           string
	NumberOfBytes     *int32
	EncryptionContext map[string]string
}

// generateDataKey answers with a data key in plaintext and as a blob.
func (r *region) generateDataKey(in *generateInput) (any, error) {
	k, size, err := r.checkGenerate(in)
	if err != nil {
		return nil, err
	}
	plaintext := make([]byte, size)
	rand.Read(plaintext)
	return map[string]any{
		"KeyId":          k.arn(),
		"Plaintext":      plaintext,
		"CiphertextBlob": k.seal(plaintext, in.EncryptionContext),
		"KeyMaterialId":  k.material.current().String(),
	}, nil
}

func (r *region) generateDataKeyWithoutPlaintext(in *generateInput) (any, error) {
	if len(in.Recipient) > 0 {
		return nil, fail("SerializationException", "the operation takes no Recipient")
	}
	out, err := r.generateDataKey(in)
	if err != nil {
		return nil, err
	}
	delete(out.(map[string]any), "Plaintext")
	return out, nil
}

func (r *region) checkGenerate(in *generateInput) (*key, int, error) {
	if err := in.check(); err != nil {
		return nil, 0, err
	}
	size := 0
	switch {
	case (in.KeySpec == "") == (in.NumberOfBytes == nil):
		return nil, 0, fail("ValidationException", "Please specify either number of bytes or key spec.")
	case in.NumberOfBytes != nil:
		size = int(*in.NumberOfBytes)
		if size < 1 {
			return nil, 0, invalid("numberOfBytes", "Member must have value greater than or equal to 1")
		}
		if size > 1024 {
			return nil, 0, invalid("numberOfBytes", "Member must have value less than or equal to 1024")
		}
	case in.KeySpec == "AES_128":
		size = 16
	case in.KeySpec == "AES_256":
		size = 32
	default:
		return nil, 0, invalid("keySpec", "Member must satisfy enum value set: [AES_256, AES_128]")
	}
	if err := checkContext("encryptionContext", in.EncryptionContext); err != nil {
		return nil, 0, err
	}
	k, err := r.findEnabled("keyId", in.KeyId)
	if err != nil {
		return nil, 0, err
	}
	return k, size, in.dryRun()
}

func (r *region) findEnabled(field string, id *string) (*key, error) {
	k, err := r.find(field, id)
	if err != nil {
		return nil, err
	}
	return k, k.enabled()
}

type encryptInput struct {
	requestOptions
	KeyId               *string
	Plaintext           []byte
	EncryptionAlgorithm string
	EncryptionContext   map[string]string
}

func (r *region) encrypt(in *encryptInput) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if len(in.Plaintext) == 0 {
		return nil, invalid("plaintext", "Member must have length greater than or equal to 1")
	}
	if len(in.Plaintext) > maxPlaintext {
		return nil, invalid("plaintext", "Member must have length less than or equal to %d", maxPlaintext)
	}
	if err := checkContext("encryptionContext", in.EncryptionContext); err != nil {
		return nil, err
	}
	k, err := r.findEnabled("keyId", in.KeyId)
	if err != nil {
		return nil, err
	}
	if err := checkAlgorithm(in.EncryptionAlgorithm); err != nil {
		return nil, err
	}
	if err := in.dryRun(); err != nil {
		return nil, err
	}
	return map[string]any{
		"KeyId":               k.arn(),
		"CiphertextBlob":      k.seal(in.Plaintext, in.EncryptionContext),
		"EncryptionAlgorithm": symmetric,
	}, nil
}

type decryptInput struct {
	requestOptions
	KeyId               *string
	CiphertextBlob      []byte
	EncryptionAlgorithm string
	EncryptionContext   map[string]string
}

func (r *region) decrypt(in *decryptInput) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	k, v, plaintext, err := r.openBlob(in)
	if err != nil {
		return nil, err
	}
	if err := in.dryRun(); err != nil {
		return nil, err
	}
	return map[string]any{
		"KeyId":               k.arn(),
		"Plaintext":           plaintext,
		"EncryptionAlgorithm": symmetric,
		"KeyMaterialId":       v.String(),
	}, nil
}

// openBlob decrypts for Decrypt and ReEncrypt. A KeyId must be that of the
// blob's key; without one the blob's key is used.
func (r *region) openBlob(in *decryptInput) (*key, *version, []byte, error) {
	if err := checkBlob(in.CiphertextBlob); err != nil {
		return nil, nil, nil, err
	}
	if err := checkContext("encryptionContext", in.EncryptionContext); err != nil {
		return nil, nil, nil, err
	}
	if err := checkAlgorithm(in.EncryptionAlgorithm); err != nil {
		return nil, nil, nil, err
	}
	var k *key
	if in.KeyId != nil {
		var err error
		if k, err = r.findEnabled("keyId", in.KeyId); err != nil {
			return nil, nil, nil, err
		}
	}
	b, ok := parseBlob(in.CiphertextBlob)
	if !ok {
		return nil, nil, nil, fail("InvalidCiphertextException", "")
	}
	switch {
	case k == nil:
		if k = r.keys[b.keyID]; k == nil {
			return nil, nil, nil, fail("AccessDeniedException", "The ciphertext refers to a key that does not exist, "+
				"does not exist in this Region, or you are not allowed to access.")
		}
		if err := k.enabled(); err != nil {
			return nil, nil, nil, err
		}
	case k.id != b.keyID:
		return nil, nil, nil, fail("IncorrectKeyException", "The key ID in the request does not identify a key that can perform this operation.")
	}
	plaintext, v, ok := k.open(&b, in.EncryptionContext)
	if !ok {
		return nil, nil, nil, fail("InvalidCiphertextException", "")
	}
	return k, v, plaintext, nil
}

type reEncryptInput struct {
	requestOptions
	CiphertextBlob                 []byte
	SourceKeyId                    *string
	SourceEncryptionAlgorithm      string
	SourceEncryptionContext        map[string]string
	DestinationKeyId               *string
	DestinationEncryptionAlgorithm string
	DestinationEncryptionContext   map[string]string
}

func (r *region) reEncrypt(in *reEncryptInput) (any, error) {
	if err := in.check(); err != nil {
		return nil, err
	}
	if err := checkContext("destinationEncryptionContext", in.DestinationEncryptionContext); err != nil {
		return nil, err
	}
	to, err := r.findEnabled("destinationKeyId", in.DestinationKeyId)
	if err != nil {
		return nil, err
	}
	if err := checkAlgorithm(in.DestinationEncryptionAlgorithm); err != nil {
		return nil, err
	}
	from, v, plaintext, err := r.openBlob(&decryptInput{
		KeyId: in.SourceKeyId, CiphertextBlob: in.CiphertextBlob,
		EncryptionAlgorithm: in.SourceEncryptionAlgorithm, EncryptionContext: in.SourceEncryptionContext,
	})
	if err != nil {
		return nil, err
	}
	if err := in.dryRun(); err != nil {
		return nil, err
	}
	return map[string]any{
		"CiphertextBlob":                 to.seal(plaintext, in.DestinationEncryptionContext),
		"KeyId":                          to.arn(),
		"DestinationEncryptionAlgorithm": symmetric,
		"DestinationKeyMaterialId":       to.material.current().String(),
		"SourceKeyId":                    from.arn(),
		"SourceEncryptionAlgorithm":      symmetric,
		"SourceKeyMaterialId":            v.String(),
	}, nil
}
