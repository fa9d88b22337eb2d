package awskms_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
)

var _ keywrap.Key = (*awskms.RSAKey)(nil)

func newRSAKey(t *testing.T, client awskms.RSAClient, id string, o *awskms.RSAOptions) *awskms.RSAKey {
	t.Helper()
	k, err := awskms.NewRSAKey(client, "rsa", id, o)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// publicKeyOf asks the server.
func publicKeyOf(t *testing.T, client *kms.Client, arn string) *rsa.PublicKey {
	t.Helper()
	out, err := client.GetPublicKey(t.Context(), &kms.GetPublicKeyInput{KeyId: &arn})
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKIXPublicKey(out.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*rsa.PublicKey)
}

// TestRSARoundTrip wraps with the KMS key, and with its public half alone.
func TestRSARoundTrip(t *testing.T) {
	s, client := start(t)
	for spec, size := range map[types.KeySpec]int{types.KeySpecRsa2048: 256, types.KeySpecRsa3072: 384, types.KeySpecRsa4096: 512} {
		arn := createRSAKey(t, client, spec)
		public := publicKeyOf(t, client, arn)
		alone, err := keywrap.NewRSAPublicKey("rsa", public)
		if err != nil {
			t.Fatal(err)
		}
		before := len(s.Calls())
		fetches, given := newRSAKey(t, client, arn, nil), newRSAKey(t, client, keyID(arn), &awskms.RSAOptions{PublicKey: public})
		fetched, err := fetches.PublicKey(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range []keywrap.Wrapper{alone, fetched, fetches, given} {
			for _, ec := range contexts {
				dataKey, keys, err := keywrap.GenerateKey(t.Context(), w, ec)
				if err != nil || len(keys) != 1 || keys[0].Name != "rsa" || keys[0].Type != format.KeyTypeRSA || len(keys[0].Data) != size {
					t.Fatalf("%v: %v", keys, err)
				}
				for _, u := range []keywrap.Unwrapper{fetches, given} {
					got, err := u.UnwrapKey(t.Context(), keys[0], keywrap.Context{"other": "context"}) // which is not bound
					if err != nil || !bytes.Equal(got, dataKey) {
						t.Errorf("%s: %v", spec, err)
					}
				}
			}
		}
		calls := s.Calls()[before:]
		if calls[0].Operation != "GetPublicKey" || calls[0].KeyID != arn {
			t.Errorf("first call %+v", calls[0])
		}
		for i, c := range calls[1:] {
			want := arn
			if i%2 == 1 {
				want = keyID(arn)
			}
			if c.Operation != "Decrypt" || c.KeyID != want || len(c.Context) != 0 {
				t.Errorf("call %+v, want Decrypt with %s", c, want)
			}
		}
		if len(calls) != 1+4*len(contexts)*2 {
			t.Errorf("%d calls", len(calls))
		}
	}
}

func TestNewRSAKeyRefuses(t *testing.T) {
	_, client := start(t)
	const arn = "arn:aws:kms:us-east-1:111122223333:key/1234"
	small, err := rsa.GenerateKey(rand.Reader, 2056) // good elsewhere; KMS has none of this size
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		client    awskms.RSAClient
		name, id  string
		public    *rsa.PublicKey
		keyFormat bool
	}{
		"no client":    {nil, "rsa", arn, nil, false},
		"no name":      {client, "", arn, nil, true},
		"long name":    {client, strings.Repeat("n", 1025), arn, nil, true},
		"control":      {client, "a\n", arn, nil, true},
		"no id":        {client, "rsa", "", nil, false},
		"alias":        {client, "rsa", "alias/a", nil, false},
		"alias ARN":    {client, "rsa", "arn:aws:kms:us-east-1:111122223333:alias/a", nil, false},
		"2056 bits":    {client, "rsa", arn, &small.PublicKey, true},
		"no modulus":   {client, "rsa", arn, &rsa.PublicKey{E: 65537}, true},
		"bad exponent": {client, "rsa", arn, &rsa.PublicKey{N: small.N, E: 2}, true},
	} {
		k, err := awskms.NewRSAKey(c.client, c.name, c.id, &awskms.RSAOptions{PublicKey: c.public})
		if err == nil || k != nil || errors.Is(err, keywrap.ErrKeyFormat) != c.keyFormat {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"n", strings.Repeat("n", 1024), "ü"} {
		k, err := awskms.NewRSAKey(client, name, "mrk-1234", nil)
		if err != nil || k.KeyName() != name {
			t.Errorf("%.10q: %v", name, err)
		}
	}
}

// TestRSANoCall has wrapped keys that are no reason to ask KMS.
func TestRSANoCall(t *testing.T) {
	s, client := start(t)
	arn := createRSAKey(t, client, types.KeySpecRsa2048)
	public := publicKeyOf(t, client, arn)
	before := len(s.Calls())
	k, given := newRSAKey(t, client, arn, nil), newRSAKey(t, client, arn, &awskms.RSAOptions{PublicKey: public})
	for _, c := range []struct {
		key  *awskms.RSAKey
		w    format.WrappedKey
		want error
	}{
		{k, format.WrappedKey{Type: format.KeyTypeKMS, Name: "rsa", Data: make([]byte, 256)}, keywrap.ErrNoMatch},
		{k, format.WrappedKey{Type: format.KeyTypeRSA, Name: "RSA", Data: make([]byte, 256)}, keywrap.ErrNoMatch},
		{k, format.WrappedKey{Type: format.KeyTypeRSA, Name: arn, Data: make([]byte, 256)}, keywrap.ErrNoMatch},
		{k, format.WrappedKey{Type: format.KeyTypeRSA, Name: "rsa", Data: make([]byte, 255)}, keywrap.ErrUnwrap},
		{k, format.WrappedKey{Type: format.KeyTypeRSA, Name: "rsa"}, keywrap.ErrUnwrap},
		{k, format.WrappedKey{Type: format.KeyTypeRSA, Name: "rsa", Data: make([]byte, 1024)}, keywrap.ErrUnwrap},
		{given, format.WrappedKey{Type: format.KeyTypeRSA, Name: "rsa", Data: make([]byte, 384)}, keywrap.ErrUnwrap},
	} {
		if got, err := c.key.UnwrapKey(t.Context(), c.w, nil); got != nil || !errors.Is(err, c.want) {
			t.Errorf("%v of %d bytes: %v", c.w.Type, len(c.w.Data), err)
		}
	}
	for _, n := range []int{0, 31, 33} {
		if _, err := k.WrapKey(t.Context(), make([]byte, n), nil); err == nil {
			t.Errorf("a data key of %d bytes was wrapped", n)
		}
	}
	if n := len(s.Calls()) - before; n != 0 {
		t.Errorf("%d calls", n)
	}
}

// TestRSAWhatIsSent has grant tokens go with each operation.
func TestRSAWhatIsSent(t *testing.T) {
	s, client := start(t)
	arn := createRSAKey(t, client, types.KeySpecRsa2048)
	k := newRSAKey(t, client, arn, &awskms.RSAOptions{GrantTokens: []string{"one"}})
	_, keys, err := keywrap.GenerateKey(t.Context(), k, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := k.UnwrapKey(t.Context(), keys[0], nil); err != nil {
		t.Fatal(err)
	}
	if err := k.CheckPermissions(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantOperations(t, s, "CreateKey", "GetPublicKey", "Decrypt", "Decrypt")
	for i, c := range s.Calls()[1:] {
		if !slices.Equal(c.GrantTokens, []string{"one"}) || c.KeyID != arn || c.DryRun != (i == 2) {
			t.Errorf("call %+v", c)
		}
	}
}

// checkRSAError checks an error of KMS.
func checkRSAError(t *testing.T, err error, operation, key string, unwrap bool, parts ...string) {
	t.Helper()
	e, ok := errors.AsType[*awskms.Error](err)
	if !ok {
		t.Fatalf("not an Error: %v", err)
	}
	if e.Operation != operation || e.Key != key || e.ContextKeys != nil || errors.Is(err, keywrap.ErrUnwrap) != unwrap || errors.Is(err, keywrap.ErrNoMatch) {
		t.Errorf("%+v", e)
	}
	for _, part := range append(parts, "awskms: "+operation+" with key "+key) {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the message lacks %q: %v", part, err)
		}
	}
}

func TestRSAErrors(t *testing.T) {
	s, client := start(t)
	arn, other := createRSAKey(t, client, types.KeySpecRsa2048), createRSAKey(t, client, types.KeySpecRsa2048)
	k := newRSAKey(t, client, arn, nil)
	_, keys, err := keywrap.GenerateKey(t.Context(), newRSAKey(t, client, other, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = k.UnwrapKey(t.Context(), keys[0], nil)
	checkRSAError(t, err, "Decrypt", arn, true, "another key of the same name")

	// A symmetric key.
	symmetric := s.CreateKey()
	wrong := newRSAKey(t, client, symmetric, nil)
	_, err = wrong.WrapKey(t.Context(), make([]byte, keywrap.DataKeySize), nil)
	checkRSAError(t, err, "GetPublicKey", symmetric, false, "no public key: configure an RSA key")
	_, err = wrong.UnwrapKey(t.Context(), keys[0], nil)
	checkRSAError(t, err, "Decrypt", symmetric, false, "configure an RSA key with usage ENCRYPT_DECRYPT")
	checkRSAError(t, wrong.CheckPermissions(t.Context()), "Decrypt", symmetric, false, "configure an RSA key")
	_, _, err = newKeyring(t, client, arn).GenerateKey(t.Context(), nil)
	if e, ok := errors.AsType[*awskms.Error](err); !ok || !strings.Contains(err.Error(), "RSAKey") {
		t.Errorf("an RSA key in a Keyring: %+v", e)
	}

	// States, refusals, no answer.
	s.Inject(kmstest.Fault{Code: "AccessDeniedException", Times: -1})
	_, err = k.PublicKey(t.Context())
	checkRSAError(t, err, "GetPublicKey", arn, false, "allow kms:GetPublicKey on this key", "with an RSA key there is none")
	_, err = k.UnwrapKey(t.Context(), keys[0], nil)
	checkRSAError(t, err, "Decrypt", arn, false, "allow kms:Decrypt on this key", "with an RSA key there is none")
	checkRSAError(t, k.CheckPermissions(t.Context()), "Decrypt", arn, false, "allow kms:Decrypt")
	s.ClearFaults()
	if _, err := k.WrapKey(t.Context(), make([]byte, keywrap.DataKeySize), nil); err != nil {
		t.Errorf("a failed look-up was kept: %v", err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = k.UnwrapKey(canceled, keys[0], nil)
	checkRSAError(t, err, "Decrypt", arn, false, "canceled by the caller")
	if _, err := client.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &arn}); err != nil {
		t.Fatal(err)
	}
	_, err = k.UnwrapKey(t.Context(), keys[0], nil)
	checkRSAError(t, err, "Decrypt", arn, false, "enable it")
	checkRSAError(t, k.CheckPermissions(t.Context()), "Decrypt", arn, false, "enable it")
}

// TestRSAWrongAnswers has KMS, or something in its place, answer what it must
// not.
func TestRSAWrongAnswers(t *testing.T) {
	_, client := start(t)
	arn, other := createRSAKey(t, client, types.KeySpecRsa2048), createRSAKey(t, client, types.KeySpecRsa2048)
	_, keys, err := keywrap.GenerateKey(t.Context(), newRSAKey(t, client, arn, nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curveDER, err := x509.MarshalPKIXPublicKey(&curve.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	odd, err := rsa.GenerateKey(rand.Reader, 2056)
	if err != nil {
		t.Fatal(err)
	}
	oddDER, err := x509.MarshalPKIXPublicKey(&odd.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*kms.GetPublicKeyOutput)
		want   string
	}{
		"no name":    {func(o *kms.GetPublicKeyOutput) { o.KeyId = nil }, "without the ARN"},
		"other key":  {func(o *kms.GetPublicKeyOutput) { o.KeyId = &other }, "not the one that it was asked for"},
		"signs":      {func(o *kms.GetPublicKeyOutput) { o.KeyUsage = types.KeyUsageTypeSignVerify }, "usage \"SIGN_VERIFY\""},
		"SHA-1 only": {func(o *kms.GetPublicKeyOutput) { o.EncryptionAlgorithms = o.EncryptionAlgorithms[:1] }, "configure an RSA key"},
		"no key":     {func(o *kms.GetPublicKeyOutput) { o.PublicKey = nil }, "not a public key"},
		"curve":      {func(o *kms.GetPublicKeyOutput) { o.PublicKey = curveDER }, "expected RSA"},
		"2056 bits":  {func(o *kms.GetPublicKeyOutput) { o.PublicKey = oddDER }, "this one has 2056"},
	} {
		_, err := newRSAKey(t, clientFuncs{Client: client, public: c.change}, arn, nil).WrapKey(t.Context(), make([]byte, keywrap.DataKeySize), nil)
		if err == nil {
			t.Errorf("%s was taken", name)
			continue
		}
		checkRSAError(t, err, "GetPublicKey", arn, false, c.want)
	}
	for name, answer := range map[string]*string{"no name": nil, "alias": new("alias/a"), "bare id": new(keyID(arn)), "other key": &other} {
		c := clientFuncs{Client: client, decrypt: func(o *kms.DecryptOutput) { o.KeyId = answer }}
		got, err := newRSAKey(t, c, arn, nil).UnwrapKey(t.Context(), keys[0], nil)
		if err == nil || got != nil {
			t.Errorf("%s was taken", name)
			continue
		}
		checkRSAError(t, err, "Decrypt", arn, false, "KMS")
	}
	for _, n := range []int{0, 16, 31, 33} {
		plaintext := bytes.Repeat([]byte{1}, n)
		c := clientFuncs{Client: client, decrypt: func(o *kms.DecryptOutput) { o.Plaintext = plaintext }}
		got, err := newRSAKey(t, c, arn, nil).UnwrapKey(t.Context(), keys[0], nil)
		checkRSAError(t, err, "Decrypt", arn, true, "not made for a stream")
		if got != nil || bytes.ContainsRune(plaintext, 1) {
			t.Error("the answer's plaintext is not cleared")
		}
	}
}

// hangingRSAClient never has an answer to its first GetPublicKey.
type hangingRSAClient struct {
	*kms.Client
	asked chan struct{} // closed by the first GetPublicKey
	once  sync.Once
}

func (c *hangingRSAClient) GetPublicKey(ctx context.Context, in *kms.GetPublicKeyInput, o ...func(*kms.Options)) (*kms.GetPublicKeyOutput, error) {
	hang := false
	c.once.Do(func() { hang = true })
	if !hang {
		return c.Client.GetPublicKey(ctx, in, o...)
	}
	close(c.asked)
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestRSAWaiting cancels one who waits for another's look-up, then that one;
// then many look up at once.
func TestRSAWaiting(t *testing.T) {
	s, client := start(t)
	arn := createRSAKey(t, client, types.KeySpecRsa2048)
	hanging := &hangingRSAClient{Client: client, asked: make(chan struct{})}
	k := newRSAKey(t, hanging, arn, nil)
	first, cancelFirst := context.WithCancel(t.Context())
	defer cancelFirst()
	done := make(chan error)
	go func() {
		_, err := k.PublicKey(first)
		done <- err
	}()
	<-hanging.asked
	late, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := k.PublicKey(late)
	checkRSAError(t, err, "GetPublicKey", arn, false, "no answer before the caller's deadline")
	cancelFirst()
	checkRSAError(t, <-done, "GetPublicKey", arn, false, "canceled by the caller")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := k.PublicKey(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	wantOperations(t, s, "CreateKey", "GetPublicKey")
}
