package kmstest

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"slices"
)

const (
	symmetric        = "SYMMETRIC_DEFAULT" // key spec and algorithm
	ignoreCiphertext = "IGNORE_CIPHERTEXT"

	maxGrantTokens    = 10
	maxGrantTokenSize = 8192

	// maxContextSize bounds the bytes of all keys and values of an encryption
	// context. It is this server's own bound.
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
	for _, m := range o.DryRunModifiers {
		if m != ignoreCiphertext {
			return invalid("dryRunModifiers", "Member must satisfy enum value set: [%s]", ignoreCiphertext)
		}
		if !o.DryRun {
			return fail("ValidationException", "DryRunModifiers are for a DryRun only.")
		}
	}
	if len(o.Recipient) > 0 {
		return fail("UnsupportedOperationException", "kmstest has no Recipient")
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

// checkUse returns the error of a use that the key is not made for. The error
// for a context is this server's choice: AWS says only that a context is for
// symmetric keys.
func (k *key) checkUse(algorithm string, context map[string]string) error {
	if !slices.Contains(k.algorithms(), algorithm) {
		return fail("InvalidKeyUsageException", "Algorithm %.64s is incompatible with key spec %s.", algorithm, k.spec)
	}
	if k.private != nil && len(context) > 0 {
		return fail("ValidationException", "An encryption context is for keys of spec %s only.", symmetric)
	}
	return nil
}

// algorithms returns the key's encryption algorithms.
func (k *key) algorithms() []string {
	if k.private != nil {
		return []string{oaepSHA1, oaepSHA256}
	}
	return []string{symmetric}
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
		"KeyMaterialId":  k.currentVersion().String(),
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
	if err := k.checkUse(symmetric, in.EncryptionContext); err != nil {
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
	algorithm := cmp.Or(in.EncryptionAlgorithm, symmetric)
	if err := k.checkUse(algorithm, in.EncryptionContext); err != nil {
		return nil, err
	}
	if err := k.checkPlaintext(algorithm, len(in.Plaintext)); err != nil {
		return nil, err
	}
	if err := in.dryRun(); err != nil {
		return nil, err
	}
	return map[string]any{
		"KeyId":               k.arn(),
		"CiphertextBlob":      k.wrap(in.Plaintext, algorithm, in.EncryptionContext),
		"EncryptionAlgorithm": algorithm,
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
	out := map[string]any{
		"KeyId":               k.arn(),
		"Plaintext":           plaintext,
		"EncryptionAlgorithm": cmp.Or(in.EncryptionAlgorithm, symmetric),
	}
	addMaterialID(out, "KeyMaterialId", v)
	return out, nil
}

// addMaterialID adds the id of key material, which RSA keys do not have.
func addMaterialID(out map[string]any, field string, v *version) {
	if v != nil {
		out[field] = v.String()
	}
}

// openBlob decrypts for Decrypt and ReEncrypt. A KeyId must be that of the
// blob's key; without one the blob's key is used. The version is nil for an
// RSA key.
func (r *region) openBlob(in *decryptInput) (*key, *version, []byte, error) {
	ignore := len(in.DryRunModifiers) > 0
	if err := checkBlob(in.CiphertextBlob); err != nil && !ignore {
		return nil, nil, nil, err
	}
	if err := checkContext("encryptionContext", in.EncryptionContext); err != nil {
		return nil, nil, nil, err
	}
	algorithm := cmp.Or(in.EncryptionAlgorithm, symmetric)
	if in.KeyId == nil && (ignore || algorithm != symmetric) {
		return nil, nil, nil, invalid("keyId", "Member must not be null")
	}
	var k *key
	if in.KeyId != nil {
		var err error
		if k, err = r.findEnabled("keyId", in.KeyId); err != nil {
			return nil, nil, nil, err
		}
		if err := k.checkUse(algorithm, in.EncryptionContext); err != nil {
			return nil, nil, nil, err
		}
		switch {
		case ignore:
			return k, nil, nil, nil
		case k.private != nil:
			plaintext, ok := k.openRSA(in.CiphertextBlob, algorithm)
			if !ok {
				return nil, nil, nil, fail("InvalidCiphertextException", "")
			}
			return k, nil, plaintext, nil
		}
	}
	return r.openSymmetric(in, k)
}

// openSymmetric decrypts a blob that names its key, which is k unless k is nil.
func (r *region) openSymmetric(in *decryptInput, k *key) (*key, *version, []byte, error) {
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
	algorithm := cmp.Or(in.DestinationEncryptionAlgorithm, symmetric)
	if err := to.checkUse(algorithm, in.DestinationEncryptionContext); err != nil {
		return nil, err
	}
	from, v, plaintext, err := r.openBlob(&decryptInput{
		requestOptions: in.requestOptions, KeyId: in.SourceKeyId, CiphertextBlob: in.CiphertextBlob,
		EncryptionAlgorithm: in.SourceEncryptionAlgorithm, EncryptionContext: in.SourceEncryptionContext,
	})
	if err != nil {
		return nil, err
	}
	if err := to.checkPlaintext(algorithm, len(plaintext)); err != nil {
		return nil, err
	}
	if err := in.dryRun(); err != nil {
		return nil, err
	}
	out := map[string]any{
		"CiphertextBlob":                 to.wrap(plaintext, algorithm, in.DestinationEncryptionContext),
		"KeyId":                          to.arn(),
		"DestinationEncryptionAlgorithm": algorithm,
		"SourceKeyId":                    from.arn(),
		"SourceEncryptionAlgorithm":      cmp.Or(in.SourceEncryptionAlgorithm, symmetric),
	}
	addMaterialID(out, "DestinationKeyMaterialId", to.currentVersion())
	addMaterialID(out, "SourceKeyMaterialId", v)
	return out, nil
}
