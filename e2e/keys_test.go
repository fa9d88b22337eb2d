package e2e_test

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
	"github.com/bulla-format/bulla/stream"
)

// A stream for KMS, RSA, a post-quantum key and a passphrase opens with each of the four alone. Re-wrapped for one of
// them, it opens with that one only, and its payload is the same.
func TestEveryKindOfKeyAndRewrap(t *testing.T) {
	server := kmstest.New(nil)
	t.Cleanup(server.Close)
	kmsKey, err := awskms.New(kms.NewFromConfig(server.Config()), server.CreateKey("alias/backups"), nil)
	if err != nil {
		t.Fatal(err)
	}
	rsa, err := keywrap.GenerateRSAKey("rsa", 3072)
	if err != nil {
		t.Fatal(err)
	}
	hpke, err := keywrap.GenerateHPKEKey("hpke", keywrap.MLKEM768X25519)
	if err != nil {
		t.Fatal(err)
	}
	passphrase, err := keywrap.NewPassphrase([]byte("correct horse battery staple"), nil)
	if err != nil {
		t.Fatal(err)
	}
	type kind struct {
		wrapper   keywrap.Wrapper
		unwrapper keywrap.Unwrapper
	}
	kinds := map[string]kind{
		"kms": {kmsKey, kmsKey}, "rsa": {rsa.PublicKey(), rsa}, "hpke": {hpke.PublicKey(), hpke}, "passphrase": {passphrase, passphrase},
	}
	open := func(stored []byte, u keywrap.Unwrapper) ([]byte, error) {
		r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(stored), u, nil)
		if err != nil {
			return nil, err
		}
		return io.ReadAll(r)
	}
	plaintext := bytes.Repeat([]byte("for all of them "), 10_000)
	r, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(plaintext),
		keywrap.Multi(kmsKey, rsa.PublicKey(), hpke.PublicKey(), passphrase),
		&stream.EncryptOptions{Context: keywrap.Context{"tenant": "a"}, ClassicalKeys: []string{"rsa"}})
	if err != nil {
		t.Fatal(err)
	}
	stored, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	for name, k := range kinds {
		if got, err := open(stored, k.unwrapper); err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("%s: %v", name, err)
		}
	}
	size := len(r.Header())
	for to, k := range kinds {
		header, err := stream.Rewrap(t.Context(), stored, rsa, k.wrapper, nil)
		if err != nil {
			t.Fatalf("for %s: %v", to, err)
		}
		if len(header) > size {
			t.Fatalf("for %s: a header of %d bytes for one of %d", to, len(header), size)
		}
		next := append(header, stored[size:]...)
		for name, k := range kinds {
			got, err := open(next, k.unwrapper)
			switch {
			case name == to && (err != nil || !bytes.Equal(got, plaintext)):
				t.Errorf("re-wrapped for %s: %v", to, err)
			case name != to && !errors.Is(err, keywrap.ErrNoMatch):
				t.Errorf("re-wrapped for %s, opened with %s: %v", to, name, err)
			}
		}
	}
}
