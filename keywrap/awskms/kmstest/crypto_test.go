package kmstest_test

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
)

func TestEncryptDecrypt(t *testing.T) {
	s, client := start(t, nil)
	arn := s.CreateKey("alias/a")
	id := arn[strings.LastIndexByte(arn, '/')+1:]
	aliasARN := strings.Replace(arn, "key/"+id, "alias/a", 1)
	contexts := []map[string]string{nil, {}, {"purpose": "test"}, {"a": "b", "c": "ü", "": ""}}
	for _, size := range []int{1, 31, 32, 4095, 4096} {
		plaintext := bytes.Repeat([]byte{byte(size)}, size)
		for _, ec := range contexts {
			for _, keyID := range []string{id, arn, "alias/a", aliasARN} {
				out := must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &keyID, Plaintext: plaintext, EncryptionContext: ec}))(t)
				if *out.KeyId != arn || out.EncryptionAlgorithm != types.EncryptionAlgorithmSpecSymmetricDefault || len(out.CiphertextBlob) > 6144 {
					t.Fatalf("Encrypt: %+v", out)
				}
				for _, with := range []*string{nil, &id, &arn, new("alias/a"), &aliasARN} {
					back := must(client.Decrypt(t.Context(), &kms.DecryptInput{KeyId: with, CiphertextBlob: out.CiphertextBlob, EncryptionContext: ec}))(t)
					if !bytes.Equal(back.Plaintext, plaintext) || *back.KeyId != arn || len(*back.KeyMaterialId) != 64 {
						t.Fatalf("Decrypt: %+v", back)
					}
				}
			}
		}
	}
}

func TestGenerateDataKey(t *testing.T) {
	s, client := start(t, nil)
	arn := s.CreateKey()
	seen := make(map[string]bool)
	check := func(size int, keyID string, plaintext, blob []byte) {
		t.Helper()
		back := must(client.Decrypt(t.Context(), &kms.DecryptInput{KeyId: &arn, CiphertextBlob: blob, EncryptionContext: map[string]string{"k": "v"}}))(t)
		if len(back.Plaintext) != size || keyID != arn || plaintext != nil && !bytes.Equal(plaintext, back.Plaintext) {
			t.Errorf("size %d: got %d bytes of %s", size, len(back.Plaintext), keyID)
		}
		if size >= 16 && seen[string(back.Plaintext)] {
			t.Error("the same data key twice")
		}
		seen[string(back.Plaintext)] = true
	}
	for _, c := range []struct {
		spec  types.DataKeySpec
		bytes *int32
		size  int
	}{
		{types.DataKeySpecAes128, nil, 16},
		{types.DataKeySpecAes256, nil, 32},
		{"", new(int32(1)), 1},
		{"", new(int32(1024)), 1024},
	} {
		out := must(client.GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{
			KeyId: &arn, KeySpec: c.spec, NumberOfBytes: c.bytes, EncryptionContext: map[string]string{"k": "v"},
		}))(t)
		check(c.size, *out.KeyId, out.Plaintext, out.CiphertextBlob)
		without := must(client.GenerateDataKeyWithoutPlaintext(t.Context(), &kms.GenerateDataKeyWithoutPlaintextInput{
			KeyId: &arn, KeySpec: c.spec, NumberOfBytes: c.bytes, EncryptionContext: map[string]string{"k": "v"},
		}))(t)
		check(c.size, *without.KeyId, nil, without.CiphertextBlob)
	}
	_, _, body := newRequest("GenerateDataKeyWithoutPlaintext", fmt.Sprintf(`{"KeyId":%q,"KeySpec":"AES_256"}`, arn)).send(t, s)
	if bytes.Contains(body, []byte("Plaintext")) || !bytes.Contains(body, []byte("CiphertextBlob")) {
		t.Errorf("answer without plaintext: %s", body)
	}
}

func TestContextIsBound(t *testing.T) {
	s, client := start(t, nil)
	arn := s.CreateKey()
	contexts := []map[string]string{
		nil,
		{"": ""},
		{"a": ""},
		{"": "a"},
		{"a": "bc"},
		{"ab": "c"},
		{"abc": ""},
		{"a": "b"},
		{"A": "b"},
		{"a": "B"},
		{"a": "b", "c": "d"},
		{"a": "d", "c": "b"},
		{"a": "b", "c": ""},
		{"a": "b\x00\x00\x00\x01c\x00\x00\x00\x01d"},
		{"a": "b\x00\x00\x00\x01cd"},
		{"": "\x00\x00\x00\x01x"},
		{"\x00\x00\x00\x05": "x"},
	}
	for i, sealed := range contexts {
		out := must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &arn, Plaintext: []byte("x"), EncryptionContext: sealed}))(t)
		for j, opened := range contexts {
			_, err := client.Decrypt(t.Context(), &kms.DecryptInput{KeyId: &arn, CiphertextBlob: out.CiphertextBlob, EncryptionContext: opened})
			want := ""
			if i != j {
				want = "InvalidCiphertextException"
			}
			if got, _ := code(t, err); got != want {
				t.Errorf("sealed with %v, opened with %v: %q, want %q", sealed, opened, got, want)
			}
		}
	}
}

func TestDamagedBlob(t *testing.T) {
	s, client := start(t, nil)
	arn := s.CreateKey()
	out := must(client.GenerateDataKey(t.Context(), &kms.GenerateDataKeyInput{KeyId: &arn, KeySpec: types.DataKeySpecAes256}))(t)
	blob := out.CiphertextBlob
	check := func(what string, b []byte, keyID *string, want ...string) {
		t.Helper()
		_, err := client.Decrypt(t.Context(), &kms.DecryptInput{KeyId: keyID, CiphertextBlob: b})
		if got, _ := code(t, err); !slices.Contains(want, got) {
			t.Errorf("%s: got %q, want one of %q", what, got, want)
		}
	}
	check("whole", blob, &arn, "")
	keyIDEnd := 2 + 36
	for i := range len(blob) * 8 {
		b := bytes.Clone(blob)
		b[i/8] ^= 1 << (i % 8)
		named, unnamed := "InvalidCiphertextException", "InvalidCiphertextException"
		if 2 <= i/8 && i/8 < keyIDEnd {
			named, unnamed = "IncorrectKeyException", "AccessDeniedException"
		}
		if i/8 == 1 { // the size of the key id: a shorter one is another id
			check(fmt.Sprint("bit ", i), b, &arn, named, "IncorrectKeyException")
			continue
		}
		check(fmt.Sprint("bit ", i), b, &arn, named)
		if i%8 == 0 {
			check(fmt.Sprint("bit ", i, " without KeyId"), b, nil, unnamed)
		}
	}
	for n := 1; n < len(blob); n++ {
		check(fmt.Sprint("first ", n, " bytes"), blob[:n], &arn, "InvalidCiphertextException")
	}
	check("a byte more", append(bytes.Clone(blob), 0), &arn, "InvalidCiphertextException")
	check("of full size", append(bytes.Clone(blob), make([]byte, 6144-len(blob))...), &arn, "InvalidCiphertextException")
	check("beyond it", append(bytes.Clone(blob), make([]byte, 6145-len(blob))...), &arn, "ValidationException")
	check("empty", []byte{}, &arn, "ValidationException")
}

func TestReEncrypt(t *testing.T) {
	s, client := start(t, nil)
	from, to := s.CreateKey("alias/from"), s.CreateKey("alias/to")
	old := must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &from, Plaintext: []byte("secret"), EncryptionContext: map[string]string{"old": "1"}}))(t)
	in := kms.ReEncryptInput{
		CiphertextBlob: old.CiphertextBlob, SourceEncryptionContext: map[string]string{"old": "1"},
		DestinationKeyId: new("alias/to"), DestinationEncryptionContext: map[string]string{"new": "2"},
	}
	for _, source := range []*string{nil, &from, new("alias/from")} {
		good := in
		good.SourceKeyId = source
		out := must(client.ReEncrypt(t.Context(), &good))(t)
		if *out.KeyId != to || *out.SourceKeyId != from {
			t.Errorf("from %s to %s", *out.SourceKeyId, *out.KeyId)
		}
		back := must(client.Decrypt(t.Context(), &kms.DecryptInput{KeyId: &to, CiphertextBlob: out.CiphertextBlob, EncryptionContext: map[string]string{"new": "2"}}))(t)
		if string(back.Plaintext) != "secret" {
			t.Errorf("got %q", back.Plaintext)
		}
	}
	for want, change := range map[string]func(*kms.ReEncryptInput){
		"IncorrectKeyException":      func(in *kms.ReEncryptInput) { in.SourceKeyId = &to },
		"InvalidCiphertextException": func(in *kms.ReEncryptInput) { in.SourceEncryptionContext = nil },
		"NotFoundException":          func(in *kms.ReEncryptInput) { in.DestinationKeyId = new("alias/none") },
		"DryRunOperationException":   func(in *kms.ReEncryptInput) { in.DryRun = new(true) },
		"ValidationException": func(in *kms.ReEncryptInput) {
			in.DestinationEncryptionContext = map[string]string{"k": strings.Repeat("v", 8192)}
		},
	} {
		bad := in
		change(&bad)
		_, err := client.ReEncrypt(t.Context(), &bad)
		wantCode(t, err, want)
	}
	log := s.Calls()[1]
	if log.Operation != "ReEncrypt" || log.KeyID != "alias/to" || !maps.Equal(log.Context, map[string]string{"new": "2"}) ||
		log.SourceKeyID != "" || !maps.Equal(log.SourceContext, map[string]string{"old": "1"}) || s.Calls()[3].SourceKeyID != from {
		t.Errorf("log: %+v", log)
	}
}

// TestErrors sweeps what the cryptographic operations refuse.
func TestErrors(t *testing.T) {
	s, client := start(t, nil)
	key, other := s.CreateKey(), s.CreateKey()
	id := key[strings.LastIndexByte(key, '/')+1:]
	blob := must(client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &key, Plaintext: []byte("x")}))(t).CiphertextBlob
	elsewhere := s.Config()
	elsewhere.Region = "eu-west-1"

	generate := func(change func(*kms.GenerateDataKeyInput)) error {
		in := kms.GenerateDataKeyInput{KeyId: &key, KeySpec: types.DataKeySpecAes256}
		change(&in)
		_, err := client.GenerateDataKey(t.Context(), &in)
		return err
	}
	encrypt := func(change func(*kms.EncryptInput)) error {
		in := kms.EncryptInput{KeyId: &key, Plaintext: []byte("x")}
		change(&in)
		_, err := client.Encrypt(t.Context(), &in)
		return err
	}
	decrypt := func(client *kms.Client, change func(*kms.DecryptInput)) error {
		in := kms.DecryptInput{KeyId: &key, CiphertextBlob: blob}
		change(&in)
		_, err := client.Decrypt(t.Context(), &in)
		return err
	}
	tokens := slices.Repeat([]string{"t"}, 11)
	ignore := []types.DryRunModifierType{types.DryRunModifierTypeIgnoreCiphertext}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"both sizes":   {generate(func(in *kms.GenerateDataKeyInput) { in.NumberOfBytes = new(int32(32)) }), "ValidationException"},
		"no size":      {generate(func(in *kms.GenerateDataKeyInput) { in.KeySpec = "" }), "ValidationException"},
		"unknown spec": {generate(func(in *kms.GenerateDataKeyInput) { in.KeySpec = "AES_192" }), "ValidationException"},
		"0 bytes":      {generate(func(in *kms.GenerateDataKeyInput) { in.KeySpec, in.NumberOfBytes = "", new(int32(0)) }), "ValidationException"},
		"1025 bytes":   {generate(func(in *kms.GenerateDataKeyInput) { in.KeySpec, in.NumberOfBytes = "", new(int32(1025)) }), "ValidationException"},
		"recipient":    {generate(func(in *kms.GenerateDataKeyInput) { in.Recipient = &types.RecipientInfo{} }), "UnsupportedOperationException"},
		"dry run":      {generate(func(in *kms.GenerateDataKeyInput) { in.DryRun = new(true) }), "DryRunOperationException"},
		"bad dry run":  {generate(func(in *kms.GenerateDataKeyInput) { in.DryRun, in.KeyId = new(true), new("alias/none") }), "NotFoundException"},
		"11 tokens":    {generate(func(in *kms.GenerateDataKeyInput) { in.GrantTokens = tokens }), "ValidationException"},
		"10 tokens":    {generate(func(in *kms.GenerateDataKeyInput) { in.GrantTokens = tokens[1:] }), ""},
		"empty token":  {generate(func(in *kms.GenerateDataKeyInput) { in.GrantTokens = []string{""} }), "ValidationException"},
		"long token":   {generate(func(in *kms.GenerateDataKeyInput) { in.GrantTokens = []string{strings.Repeat("t", 8193)} }), "ValidationException"},
		"long context": {generate(func(in *kms.GenerateDataKeyInput) {
			in.EncryptionContext = map[string]string{"k": strings.Repeat("v", 8192)}
		}), "ValidationException"},
		"full context": {generate(func(in *kms.GenerateDataKeyInput) {
			in.EncryptionContext = map[string]string{"k": strings.Repeat("v", 8191)}
		}), ""},
		"empty key id":   {generate(func(in *kms.GenerateDataKeyInput) { in.KeyId = new("") }), "ValidationException"},
		"long key id":    {generate(func(in *kms.GenerateDataKeyInput) { in.KeyId = new(strings.Repeat("k", 2049)) }), "ValidationException"},
		"odd key id":     {generate(func(in *kms.GenerateDataKeyInput) { in.KeyId = new("key") }), "NotFoundException"},
		"unknown key id": {generate(func(in *kms.GenerateDataKeyInput) { in.KeyId = new("00000000-0000-0000-0000-000000000000") }), "NotFoundException"},
		"unknown alias":  {generate(func(in *kms.GenerateDataKeyInput) { in.KeyId = new("alias/none") }), "NotFoundException"},
		"other region":   {generate(func(in *kms.GenerateDataKeyInput) { in.KeyId = new(strings.Replace(key, "us-east-1", "eu-west-1", 1)) }), "NotFoundException"},
		"other account":  {generate(func(in *kms.GenerateDataKeyInput) { in.KeyId = new(strings.Replace(key, "1111", "4444", 1)) }), "AccessDeniedException"},
		"other service":  {generate(func(in *kms.GenerateDataKeyInput) { in.KeyId = new(strings.Replace(key, "kms", "s3", 1)) }), "InvalidArnException"},
		"short arn":      {generate(func(in *kms.GenerateDataKeyInput) { in.KeyId = new("arn:aws:kms:us-east-1") }), "InvalidArnException"},
		"other resource": {generate(func(in *kms.GenerateDataKeyInput) { in.KeyId = new(strings.Replace(key, "key/", "keys/", 1)) }), "InvalidArnException"},

		"no plaintext":    {encrypt(func(in *kms.EncryptInput) { in.Plaintext = []byte{} }), "ValidationException"},
		"long plaintext":  {encrypt(func(in *kms.EncryptInput) { in.Plaintext = make([]byte, 4097) }), "ValidationException"},
		"RSA":             {encrypt(func(in *kms.EncryptInput) { in.EncryptionAlgorithm = types.EncryptionAlgorithmSpecRsaesOaepSha256 }), "InvalidKeyUsageException"},
		"symmetric":       {encrypt(func(in *kms.EncryptInput) { in.EncryptionAlgorithm = types.EncryptionAlgorithmSpecSymmetricDefault }), ""},
		"encrypt dry run": {encrypt(func(in *kms.EncryptInput) { in.DryRun = new(true) }), "DryRunOperationException"},

		"other key":             {decrypt(client, func(in *kms.DecryptInput) { in.KeyId = &other }), "IncorrectKeyException"},
		"decrypt with RSA":      {decrypt(client, func(in *kms.DecryptInput) { in.EncryptionAlgorithm = types.EncryptionAlgorithmSpecRsaesOaepSha1 }), "InvalidKeyUsageException"},
		"decrypt dry run":       {decrypt(client, func(in *kms.DecryptInput) { in.DryRun = new(true) }), "DryRunOperationException"},
		"dry run, bad blob":     {decrypt(client, func(in *kms.DecryptInput) { in.DryRun, in.EncryptionContext = new(true), map[string]string{"a": "b"} }), "InvalidCiphertextException"},
		"modifiers, no dry run": {decrypt(client, func(in *kms.DecryptInput) { in.DryRunModifiers = ignore }), "ValidationException"},
		"unknown modifier": {decrypt(client, func(in *kms.DecryptInput) {
			in.DryRun, in.DryRunModifiers = new(true), []types.DryRunModifierType{"OTHER"}
		}), "ValidationException"},
		"no ciphertext":              {decrypt(client, func(in *kms.DecryptInput) { in.CiphertextBlob, in.DryRun = nil, new(true) }), "ValidationException"},
		"ciphertext ignored":         {decrypt(client, func(in *kms.DecryptInput) { in.CiphertextBlob, in.DryRun, in.DryRunModifiers = nil, new(true), ignore }), "DryRunOperationException"},
		"ciphertext ignored, no key": {decrypt(client, func(in *kms.DecryptInput) { in.KeyId, in.DryRun, in.DryRunModifiers = nil, new(true), ignore }), "ValidationException"},
		"ciphertext ignored, bad key": {decrypt(client, func(in *kms.DecryptInput) {
			in.KeyId, in.DryRun, in.DryRunModifiers = new("alias/none"), new(true), ignore
		}), "NotFoundException"},
		"elsewhere":          {decrypt(kms.NewFromConfig(elsewhere), func(in *kms.DecryptInput) { in.KeyId = nil }), "AccessDeniedException"},
		"elsewhere, with id": {decrypt(kms.NewFromConfig(elsewhere), func(in *kms.DecryptInput) { in.KeyId = &id }), "NotFoundException"},
	} {
		t.Run(name, func(t *testing.T) { wantCode(t, c.err, c.want) })
	}
	for _, operation := range []string{"GenerateDataKey", "Encrypt", "Decrypt", "ReEncrypt", "DescribeKey", "CreateAlias", "EnableKey", "ReplicateKey"} {
		if _, got, body := newRequest(operation, "{}").send(t, s); got != "ValidationException" {
			t.Errorf("%s without parameters: %s", operation, body)
		}
	}
}

// TestErrorsAreTyped shows that a client sees the SDK's own types.
func TestErrorsAreTyped(t *testing.T) {
	s, client := start(t, nil)
	arn := s.CreateKey()
	for name, status := range map[string]int{
		"AccessDeniedException": 400, "ThrottlingException": 400, "DisabledException": 400, "NotFoundException": 400,
		"DependencyTimeoutException": 500, "KMSInternalException": 500, "KeyUnavailableException": 500, "ServiceUnavailableException": 503,
	} {
		s.Inject(kmstest.Fault{Operation: "Encrypt", Code: name, Message: "as told", Times: -1})
		_, err := client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &arn, Plaintext: []byte("x")})
		s.ClearFaults()
		if got, at := code(t, err); got != name || at != status || !strings.Contains(err.Error(), "as told") {
			t.Errorf("%s: got %s, status %d, want %d", name, got, at, status)
		}
	}
}
