package kmstest_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"hash"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
)

func createRSAKey(t *testing.T, client *kms.Client, spec types.KeySpec) *types.KeyMetadata {
	t.Helper()
	return must(client.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: spec, KeyUsage: types.KeyUsageTypeEncryptDecrypt}))(t).KeyMetadata
}

// TestRSA uses a key of each size with each algorithm: what is encrypted here
// or outside with the public key is decrypted, up to the sizes that AWS
// documents.
func TestRSA(t *testing.T) {
	_, client := start(t, nil)
	ctx := t.Context()
	both := []types.EncryptionAlgorithmSpec{types.EncryptionAlgorithmSpecRsaesOaepSha1, types.EncryptionAlgorithmSpecRsaesOaepSha256}
	for _, c := range []struct {
		spec         types.KeySpec
		bits         int
		sha1, sha256 int
	}{
		{types.KeySpecRsa2048, 2048, 214, 190},
		{types.KeySpecRsa3072, 3072, 342, 318},
		{types.KeySpecRsa4096, 4096, 470, 446},
	} {
		t.Run(string(c.spec), func(t *testing.T) {
			k := createRSAKey(t, client, c.spec)
			if k.KeySpec != c.spec || k.KeyUsage != types.KeyUsageTypeEncryptDecrypt || k.CurrentKeyMaterialId != nil || !slices.Equal(k.EncryptionAlgorithms, both) {
				t.Errorf("metadata: %+v", k)
			}
			out := must(client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: k.KeyId}))(t)
			if *out.KeyId != *k.Arn || out.KeySpec != c.spec || out.KeyUsage != k.KeyUsage || !slices.Equal(out.EncryptionAlgorithms, both) {
				t.Errorf("GetPublicKey: %+v", out)
			}
			parsed := must(x509.ParsePKIXPublicKey(out.PublicKey))(t)
			public, ok := parsed.(*rsa.PublicKey)
			if !ok || public.N.BitLen() != c.bits {
				t.Fatalf("public key: %T", parsed)
			}
			for _, a := range []struct {
				algorithm types.EncryptionAlgorithmSpec
				most      int
				hash      func() hash.Hash
			}{{both[0], c.sha1, sha1.New}, {both[1], c.sha256, sha256.New}} {
				plaintext := bytes.Repeat([]byte{1}, a.most)
				here := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: k.Arn, Plaintext: plaintext, EncryptionAlgorithm: a.algorithm}))(t)
				outside := must(rsa.EncryptOAEP(a.hash(), rand.Reader, public, plaintext, nil))(t)
				for _, blob := range [][]byte{here.CiphertextBlob, outside} {
					back := must(client.Decrypt(ctx, &kms.DecryptInput{KeyId: k.Arn, CiphertextBlob: blob, EncryptionAlgorithm: a.algorithm}))(t)
					if len(blob) != c.bits/8 || !bytes.Equal(back.Plaintext, plaintext) || *back.KeyId != *k.Arn || back.EncryptionAlgorithm != a.algorithm || back.KeyMaterialId != nil {
						t.Errorf("blob of %d bytes, Decrypt: %+v", len(blob), back)
					}
				}
				_, err := client.Encrypt(ctx, &kms.EncryptInput{KeyId: k.Arn, Plaintext: append(plaintext, 1), EncryptionAlgorithm: a.algorithm})
				wantCode(t, err, "ValidationException")
			}
		})
	}
}

// blobWithLeadingZero encrypts until the first byte is zero.
func blobWithLeadingZero(t *testing.T, client *kms.Client, arn *string) []byte {
	t.Helper()
	out := must(client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: arn}))(t)
	public := must(x509.ParsePKIXPublicKey(out.PublicKey))(t).(*rsa.PublicKey)
	for {
		if blob := must(rsa.EncryptOAEP(sha256.New(), rand.Reader, public, []byte("x"), nil))(t); blob[0] == 0 {
			return blob
		}
	}
}

func TestRSAErrors(t *testing.T) {
	s, client := start(t, nil)
	ctx := t.Context()
	key, other, symmetric := createRSAKey(t, client, types.KeySpecRsa2048).Arn, createRSAKey(t, client, types.KeySpecRsa2048).Arn, s.CreateKey()
	const oaep = types.EncryptionAlgorithmSpecRsaesOaepSha256
	blob := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: key, Plaintext: []byte("x"), EncryptionAlgorithm: oaep}))(t).CiphertextBlob
	some := map[string]string{"a": "b"}

	encrypt := func(change func(*kms.EncryptInput)) error {
		in := kms.EncryptInput{KeyId: key, Plaintext: []byte("x"), EncryptionAlgorithm: oaep}
		change(&in)
		_, err := client.Encrypt(ctx, &in)
		return err
	}
	decrypt := func(change func(*kms.DecryptInput)) error {
		in := kms.DecryptInput{KeyId: key, CiphertextBlob: blob, EncryptionAlgorithm: oaep}
		change(&in)
		_, err := client.Decrypt(ctx, &in)
		return err
	}
	reEncrypt := func(change func(*kms.ReEncryptInput)) error {
		in := kms.ReEncryptInput{SourceKeyId: key, CiphertextBlob: blob, SourceEncryptionAlgorithm: oaep, DestinationKeyId: &symmetric, DestinationEncryptionContext: some}
		change(&in)
		out, err := client.ReEncrypt(ctx, &in)
		if err == nil {
			back := must(client.Decrypt(ctx, &kms.DecryptInput{
				KeyId: in.DestinationKeyId, CiphertextBlob: out.CiphertextBlob,
				EncryptionContext: in.DestinationEncryptionContext, EncryptionAlgorithm: in.DestinationEncryptionAlgorithm,
			}))(t)
			if string(back.Plaintext) != "x" || *out.SourceKeyId != *key || out.SourceKeyMaterialId != nil {
				t.Errorf("re-encrypted %q: %+v", back.Plaintext, out)
			}
		}
		return err
	}
	large := must(client.Encrypt(ctx, &kms.EncryptInput{KeyId: &symmetric, Plaintext: make([]byte, 191)}))(t).CiphertextBlob
	zero := blobWithLeadingZero(t, client, key)
	_, generate := client.GenerateDataKey(ctx, &kms.GenerateDataKeyInput{KeyId: key, KeySpec: types.DataKeySpecAes256})
	_, rotate := client.RotateKeyOnDemand(ctx, &kms.RotateKeyOnDemandInput{KeyId: key})
	_, public := client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: &symmetric})
	_, noUsage := client.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: types.KeySpecRsa2048})
	_, signs := client.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: types.KeySpecRsa2048, KeyUsage: types.KeyUsageTypeSignVerify})
	_, curve := client.CreateKey(ctx, &kms.CreateKeyInput{KeySpec: types.KeySpecEccNistP256, KeyUsage: types.KeyUsageTypeKeyAgreement})
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"encrypt":                    {encrypt(func(*kms.EncryptInput) {}), ""},
		"encrypt, no algorithm":      {encrypt(func(in *kms.EncryptInput) { in.EncryptionAlgorithm = "" }), "InvalidKeyUsageException"},
		"encrypt, unknown algorithm": {encrypt(func(in *kms.EncryptInput) { in.EncryptionAlgorithm = "SM2PKE" }), "InvalidKeyUsageException"},
		"encrypt, context":           {encrypt(func(in *kms.EncryptInput) { in.EncryptionContext = some }), "ValidationException"},
		"encrypt, symmetric key":     {encrypt(func(in *kms.EncryptInput) { in.KeyId = &symmetric }), "InvalidKeyUsageException"},
		"encrypt, dry run":           {encrypt(func(in *kms.EncryptInput) { in.DryRun = new(true) }), "DryRunOperationException"},

		"decrypt":                {decrypt(func(*kms.DecryptInput) {}), ""},
		"decrypt, no algorithm":  {decrypt(func(in *kms.DecryptInput) { in.EncryptionAlgorithm = "" }), "InvalidKeyUsageException"},
		"decrypt, other hash":    {decrypt(func(in *kms.DecryptInput) { in.EncryptionAlgorithm = types.EncryptionAlgorithmSpecRsaesOaepSha1 }), "InvalidCiphertextException"},
		"decrypt, no key":        {decrypt(func(in *kms.DecryptInput) { in.KeyId = nil }), "ValidationException"},
		"decrypt, neither":       {decrypt(func(in *kms.DecryptInput) { in.KeyId, in.EncryptionAlgorithm = nil, "" }), "InvalidCiphertextException"},
		"decrypt, context":       {decrypt(func(in *kms.DecryptInput) { in.EncryptionContext = some }), "ValidationException"},
		"decrypt, other key":     {decrypt(func(in *kms.DecryptInput) { in.KeyId = other }), "InvalidCiphertextException"},
		"decrypt, symmetric key": {decrypt(func(in *kms.DecryptInput) { in.KeyId = &symmetric }), "InvalidKeyUsageException"},
		"decrypt, damaged":       {decrypt(func(in *kms.DecryptInput) { in.CiphertextBlob = append([]byte{blob[0] ^ 1}, blob[1:]...) }), "InvalidCiphertextException"},
		"decrypt, short":         {decrypt(func(in *kms.DecryptInput) { in.CiphertextBlob = blob[:255] }), "InvalidCiphertextException"},
		"decrypt, long":          {decrypt(func(in *kms.DecryptInput) { in.CiphertextBlob = append([]byte{0}, blob...) }), "InvalidCiphertextException"},
		"decrypt, leading zero":  {decrypt(func(in *kms.DecryptInput) { in.CiphertextBlob = zero }), ""},
		"decrypt, zero is cut":   {decrypt(func(in *kms.DecryptInput) { in.CiphertextBlob = zero[1:] }), "InvalidCiphertextException"},
		"decrypt, dry run":       {decrypt(func(in *kms.DecryptInput) { in.DryRun = new(true) }), "DryRunOperationException"},
		"decrypt, without blob": {decrypt(func(in *kms.DecryptInput) {
			in.CiphertextBlob, in.DryRun = nil, new(true)
		}), "ValidationException"},
		"decrypt, blob is ignored": {decrypt(func(in *kms.DecryptInput) {
			in.CiphertextBlob, in.DryRun, in.DryRunModifiers = nil, new(true), types.DryRunModifierType("").Values()
		}), "DryRunOperationException"},

		"re-encrypt to symmetric": {reEncrypt(func(*kms.ReEncryptInput) {}), ""},
		"re-encrypt to RSA": {reEncrypt(func(in *kms.ReEncryptInput) {
			in.DestinationKeyId, in.DestinationEncryptionAlgorithm, in.DestinationEncryptionContext = other, oaep, nil
		}), ""},
		"re-encrypt, no algorithm": {reEncrypt(func(in *kms.ReEncryptInput) { in.DestinationKeyId, in.DestinationEncryptionContext = other, nil }), "InvalidKeyUsageException"},
		"re-encrypt, context":      {reEncrypt(func(in *kms.ReEncryptInput) { in.DestinationKeyId, in.DestinationEncryptionAlgorithm = other, oaep }), "ValidationException"},
		"re-encrypt, too large": {reEncrypt(func(in *kms.ReEncryptInput) {
			in.SourceKeyId, in.CiphertextBlob, in.SourceEncryptionAlgorithm = &symmetric, large, ""
			in.DestinationKeyId, in.DestinationEncryptionAlgorithm, in.DestinationEncryptionContext = key, oaep, nil
		}), "ValidationException"},
		"re-encrypt, ignoring blob": {reEncrypt(func(in *kms.ReEncryptInput) {
			in.CiphertextBlob, in.DryRun, in.DryRunModifiers = nil, new(true), types.DryRunModifierType("").Values()
		}), "DryRunOperationException"},

		"generate":             {generate, "InvalidKeyUsageException"},
		"rotate":               {rotate, "UnsupportedOperationException"},
		"public key of AES":    {public, "UnsupportedOperationException"},
		"no usage":             {noUsage, "ValidationException"},
		"for signatures":       {signs, "UnsupportedOperationException"},
		"of an elliptic curve": {curve, "UnsupportedOperationException"},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, c.err, c.want) })
	}

	must(client.DisableKey(ctx, &kms.DisableKeyInput{KeyId: key}))(t)
	_, err := client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: key})
	wantCode(t, err, "DisabledException")
	wantCode(t, decrypt(func(*kms.DecryptInput) {}), "DisabledException")
	_, err = client.GetPublicKey(ctx, &kms.GetPublicKeyInput{KeyId: other, GrantTokens: slices.Repeat([]string{"t"}, 11)})
	wantCode(t, err, "ValidationException")
}

// TestRSAReplica decrypts in another Region.
func TestRSAReplica(t *testing.T) {
	s, east := start(t, nil)
	cfg := s.Config()
	cfg.Region = "eu-west-1"
	west := kms.NewFromConfig(cfg)
	created := must(east.CreateKey(t.Context(), &kms.CreateKeyInput{KeySpec: types.KeySpecRsa2048, KeyUsage: types.KeyUsageTypeEncryptDecrypt, MultiRegion: new(true)}))(t)
	id := created.KeyMetadata.KeyId
	replica := must(east.ReplicateKey(t.Context(), &kms.ReplicateKeyInput{KeyId: id, ReplicaRegion: new("eu-west-1")}))(t).ReplicaKeyMetadata
	if replica.KeySpec != types.KeySpecRsa2048 {
		t.Errorf("replica: %+v", replica)
	}
	const oaep = types.EncryptionAlgorithmSpecRsaesOaepSha256
	blob := must(east.Encrypt(t.Context(), &kms.EncryptInput{KeyId: id, Plaintext: []byte("x"), EncryptionAlgorithm: oaep}))(t).CiphertextBlob
	back := must(west.Decrypt(t.Context(), &kms.DecryptInput{KeyId: id, CiphertextBlob: blob, EncryptionAlgorithm: oaep}))(t)
	if string(back.Plaintext) != "x" || *back.KeyId != *replica.Arn {
		t.Errorf("Decrypt: %+v", back)
	}
}
