package awskms_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
)

const secretValue = "context-value"

var errorContext = keywrap.Context{"tenant": secretValue, "purpose": "1"}

// checkError checks what every error of KMS has.
func checkError(t *testing.T, err error, operation, key string, unwrap bool, parts ...string) *awskms.Error {
	t.Helper()
	e, ok := errors.AsType[*awskms.Error](err)
	if !ok {
		t.Fatalf("not an Error: %v", err)
	}
	keys := []string{"purpose", "tenant"}
	if operation == "DescribeKey" {
		keys = nil
	}
	if e.Operation != operation || e.Key != key || !slices.Equal(e.ContextKeys, keys) {
		t.Errorf("fields of %+v", e)
	}
	if errors.Is(err, keywrap.ErrUnwrap) != unwrap || errors.Is(err, keywrap.ErrNoMatch) {
		t.Errorf("class of %v", err)
	}
	for _, part := range append(parts, "awskms: "+operation, key) {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the message lacks %q: %v", part, err)
		}
	}
	if s := err.Error(); strings.Contains(s, secretValue) || len(s) > 1500 || strings.Contains(s, "%!") {
		t.Errorf("message: %s", s)
	}
	return e
}

// TestErrorClasses has the server refuse each operation with each of AWS's
// errors.
func TestErrorClasses(t *testing.T) {
	s, client := start(t)
	arn := s.CreateKey("alias/a")
	_, wrapped := generate(t, newKeyring(t, client, arn), errorContext)
	dataKey := make([]byte, keywrap.DataKeySize)
	for name, c := range map[string]struct {
		hint   string
		unwrap bool
	}{
		"NotFoundException":             {"client is for us-east-1", false},
		"InvalidArnException":           {"client is for us-east-1", false},
		"DisabledException":             {"enable it", false},
		"KMSInvalidStateException":      {"deletion is pending", false},
		"AccessDeniedException":         {"access denied: allow kms:", false},
		"InvalidGrantTokenException":    {"grant token", false},
		"IncorrectKeyException":         {"another key", true},
		"InvalidCiphertextException":    {`context keys sent: "purpose", "tenant"`, true},
		"ThrottlingException":           {"try again later", false},
		"LimitExceededException":        {"try again later", false},
		"KMSInternalException":          {"not available: try again later", false},
		"KeyUnavailableException":       {"not available: try again later", false},
		"DependencyTimeoutException":    {"not available: try again later", false},
		"ServiceUnavailableException":   {"not available: try again later", false},
		"InvalidKeyUsageException":      {"symmetric encryption key", false},
		"UnrecognizedClientException":   {"credentials", false},
		"InvalidSignatureException":     {"clock", false},
		"ExpiredTokenException":         {"credentials", false},
		"ValidationException":           {"size of the context", false},
		"SomethingNewException":         {"refused", false},
		"UnsupportedOperationException": {"refused", false},
	} {
		t.Run(name, func(t *testing.T) {
			message := "as told, " + secretValue
			s.Inject(kmstest.Fault{Code: name, Message: message, Times: -1})
			defer s.ClearFaults()
			parts := []string{c.hint, name, "request "}
			if name != "ValidationException" {
				parts = append(parts, "as told, [context value]")
			}
			check := func(operation, key string, err error) {
				t.Helper()
				e := checkError(t, err, operation, key, c.unwrap, parts...)
				api, ok := errors.AsType[interface {
					error
					ErrorCode() string
					ErrorMessage() string
				}](err)
				if !ok || api.ErrorCode() != name || api.ErrorMessage() != message {
					t.Errorf("the SDK's error is out of reach: %v", e.Err)
				}
				if name == "ValidationException" && strings.Contains(err.Error(), "as told") {
					t.Errorf("KMS's message may repeat the context: %v", err)
				}
			}
			k := newKeyring(t, client, arn)
			got, keys, err := k.GenerateKey(t.Context(), errorContext)
			if got != nil || keys != nil {
				t.Error("GenerateKey: results beside an error")
			}
			check("GenerateDataKey", arn, err)
			keys, err = k.WrapKey(t.Context(), dataKey, errorContext)
			if keys != nil {
				t.Error("WrapKey: results beside an error")
			}
			check("Encrypt", arn, err)
			got, err = k.UnwrapKey(t.Context(), wrapped, errorContext)
			if got != nil {
				t.Error("UnwrapKey: results beside an error")
			}
			check("Decrypt", arn, err)
		})
	}
}

// TestStates has the errors come from the server's own rules.
func TestStates(t *testing.T) {
	s, client := start(t)
	arn := s.CreateKey("alias/a")
	k := newKeyring(t, client, arn)
	_, wrapped := generate(t, k, errorContext)
	unwrap := func() error {
		_, err := k.UnwrapKey(t.Context(), wrapped, errorContext)
		return err
	}
	if _, err := client.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &arn}); err != nil {
		t.Fatal(err)
	}
	err := unwrap()
	checkError(t, err, "Decrypt", arn, false, "enable it", arn+" is disabled")
	if !errors.As(err, new(*types.DisabledException)) {
		t.Errorf("the SDK's type is out of reach: %v", err)
	}
	if _, err := client.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &arn}); err != nil {
		t.Fatal(err)
	}
	checkError(t, unwrap(), "Decrypt", arn, false, "cancel that", "is pending deletion")

	// The client is for another Region.
	cfg := s.Config()
	cfg.Region = "eu-west-1"
	k = newKeyring(t, kms.NewFromConfig(cfg), arn)
	checkError(t, unwrap(), "Decrypt", arn, false, "the client is for us-east-1")
	k = newKeyring(t, kms.NewFromConfig(cfg), "alias/a")
	checkError(t, unwrap(), "DescribeKey", "alias/a", false, "account and Region")

	// A header that names one key over the blob of another.
	other := s.CreateKey()
	k = newKeyring(t, client, other)
	wrapped.Name = other
	checkError(t, unwrap(), "Decrypt", other, true, "another key")
}

// TestGone has a key whose waiting period is over: KMS knows it no more.
func TestGone(t *testing.T) {
	now := time.Now()
	s := kmstest.New(&kmstest.Options{Now: func() time.Time { return now }})
	t.Cleanup(s.Close)
	client := kms.NewFromConfig(s.Config())
	arn := s.CreateKey()
	k := newKeyring(t, client, arn)
	_, wrapped := generate(t, k, errorContext)
	if _, err := client.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &arn}); err != nil {
		t.Fatal(err)
	}
	now = now.AddDate(0, 0, 31)
	_, err := k.UnwrapKey(t.Context(), wrapped, errorContext)
	checkError(t, err, "Decrypt", arn, false, "no such key", "does not come back")
	if !errors.As(err, new(*types.NotFoundException)) {
		t.Errorf("the SDK's type is out of reach: %v", err)
	}
}

// TestNextStep looks at what keys of other Regions and accounts, and keys that
// nobody configured, are reported with. Only configured keys reach KMS.
func TestNextStep(t *testing.T) {
	s, east := start(t)
	primary, replica, west := multiRegionKey(t, s, east)
	_, wrapped := generate(t, newKeyring(t, east, primary), errorContext)
	foreign := strings.Replace(primary, "111122223333", "444455556666", 1)

	// The configured key is of another Region than the client, or account.
	unwrap := func(k *awskms.Keyring) error {
		t.Helper()
		got, err := k.UnwrapKey(t.Context(), wrapped, errorContext)
		if got != nil {
			t.Error("a data key beside an error")
		}
		return err
	}
	checkError(t, unwrap(newKeyring(t, west, primary)), "Decrypt", primary, false, "no such key where the client looked", "the client is for us-east-1")
	checkError(t, unwrap(newKeyring(t, east, replica)), "Decrypt", replica, false, "no such key where the client looked", "the client is for eu-west-1")
	wrapped.Name = foreign
	checkError(t, unwrap(newKeyring(t, east, foreign)), "Decrypt", foreign, false, "access denied: allow kms:Decrypt on this key", "grant")
	wrapped.Name = primary

	// The header's key is not configured, or no more.
	before := len(s.Calls())
	for _, k := range []*awskms.Keyring{newKeyring(t, east, foreign), newKeyring(t, east, s.CreateKey())} {
		err := unwrap(k)
		if !errors.Is(err, keywrap.ErrNoMatch) || !strings.Contains(err.Error(), "configure "+primary) || strings.Contains(err.Error(), "alias") {
			t.Errorf("got %v", err)
		}
	}
	if n := len(s.Calls()) - before; n != 0 {
		t.Errorf("%d calls", n)
	}
	s.CreateKey("alias/moved")
	err := unwrap(newKeyring(t, east, "alias/moved"))
	if !errors.Is(err, keywrap.ErrNoMatch) || !strings.Contains(err.Error(), "configure "+primary) || !strings.Contains(err.Error(), "OldKeys if an alias pointed to it and has moved") {
		t.Errorf("got %v", err)
	}
	if calls := s.Calls()[before:]; len(calls) != 1 || calls[0].Operation != "DescribeKey" || calls[0].KeyID != "alias/moved" {
		t.Errorf("calls %+v", calls)
	}
}

func TestNoContext(t *testing.T) {
	s, client := start(t)
	k := newKeyring(t, client, s.CreateKey())
	_, wrapped := generate(t, k, errorContext)
	_, err := k.UnwrapKey(t.Context(), wrapped, nil)
	if !errors.Is(err, keywrap.ErrUnwrap) || !strings.Contains(err.Error(), "no context was sent") {
		t.Errorf("got %v", err)
	}
}

// TestLongMessages has everything that a message repeats be as long as it can.
func TestLongMessages(t *testing.T) {
	s, client := start(t)
	arn := s.CreateKey()
	k := newKeyring(t, client, arn)
	ec := keywrap.Context{}
	for i := range 50 {
		ec[fmt.Sprintf("%02d", i)+strings.Repeat("ü", 60)] = "value of a pair"
	}
	s.Inject(kmstest.Fault{Code: "AccessDeniedException", Message: strings.Repeat("ü", 10000)})
	_, _, err := k.GenerateKey(t.Context(), ec)
	if err == nil || len(err.Error()) > 3000 || !strings.Contains(err.Error(), "34 more") || strings.Contains(err.Error(), "value of") {
		t.Errorf("got %v", err)
	}
}

func TestNoAnswer(t *testing.T) {
	s, client := start(t)
	arn := s.CreateKey()
	k := newKeyring(t, client, arn)
	_, wrapped := generate(t, k, errorContext)

	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	before := len(s.Calls())
	_, err := k.UnwrapKey(canceled, wrapped, errorContext)
	checkError(t, err, "Decrypt", arn, false, "canceled by the caller")
	if !errors.Is(err, context.Canceled) || len(s.Calls()) != before {
		t.Errorf("%d calls, error %v", len(s.Calls())-before, err)
	}
	_, _, err = k.GenerateKey(canceled, errorContext)
	checkError(t, err, "GenerateDataKey", arn, false, "canceled by the caller")
	_, err = k.WrapKey(canceled, make([]byte, keywrap.DataKeySize), errorContext)
	checkError(t, err, "Encrypt", arn, false, "canceled by the caller")

	s.Inject(kmstest.Fault{Reset: true, Times: -1})
	_, err = k.UnwrapKey(t.Context(), wrapped, errorContext)
	checkError(t, err, "Decrypt", arn, false, "no answer from KMS", "network")
}

// TestWrongAnswers has KMS, or something in its place, answer what it must not.
func TestWrongAnswers(t *testing.T) {
	s, client := start(t)
	arn, other := s.CreateKey("alias/a"), s.CreateKey()
	_, wrapped := generate(t, newKeyring(t, client, arn), errorContext)
	names := map[string]*string{"no name": nil, "empty name": new(""), "alias": new("alias/a"), "bare id": new(keyID(arn)), "other key": &other}
	sizes := []int{0, 16, 31, 33}

	for form, configured := range map[string]string{"ARN": arn, "id": keyID(arn), "alias": "alias/a"} {
		for name, answer := range names {
			if form == "alias" && name == "other key" {
				continue // it is KMS that knows what the alias names
			}
			c := clientFuncs{Client: client}
			c.generate = func(o *kms.GenerateDataKeyOutput) { o.KeyId = answer }
			c.encrypt = func(o *kms.EncryptOutput) { o.KeyId = answer }
			k := newKeyring(t, c, configured)
			_, _, err := k.GenerateKey(t.Context(), errorContext)
			checkError(t, err, "GenerateDataKey", configured, false, "KMS")
			_, err = k.WrapKey(t.Context(), make([]byte, keywrap.DataKeySize), errorContext)
			checkError(t, err, "Encrypt", configured, false, "KMS")
		}
		for name, answer := range names {
			c := clientFuncs{Client: client, decrypt: func(o *kms.DecryptOutput) { o.KeyId = answer }}
			pinned := configured
			if form == "alias" {
				pinned = arn
			}
			got, err := newKeyring(t, c, configured).UnwrapKey(t.Context(), wrapped, errorContext)
			checkError(t, err, "Decrypt", pinned, false, "KMS")
			if got != nil {
				t.Errorf("%s, %s: a data key beside an error", form, name)
			}
		}
	}

	for _, n := range sizes {
		var seen []byte
		c := clientFuncs{Client: client}
		c.generate = func(o *kms.GenerateDataKeyOutput) { o.Plaintext = bytes.Repeat([]byte{1}, n); seen = o.Plaintext }
		c.decrypt = func(o *kms.DecryptOutput) { o.Plaintext = bytes.Repeat([]byte{1}, n); seen = o.Plaintext }
		k := newKeyring(t, c, arn)
		_, _, err := k.GenerateKey(t.Context(), errorContext)
		checkError(t, err, "GenerateDataKey", arn, false, fmt.Sprint(n, " bytes"))
		if bytes.ContainsRune(seen, 1) {
			t.Error("the answer's plaintext is not cleared")
		}
		_, err = k.UnwrapKey(t.Context(), wrapped, errorContext)
		checkError(t, err, "Decrypt", arn, true, fmt.Sprint(n, " bytes"))
		if bytes.ContainsRune(seen, 1) {
			t.Error("the answer's plaintext is not cleared")
		}
	}
	for _, n := range []int{0, 6145} {
		c := clientFuncs{Client: client}
		c.generate = func(o *kms.GenerateDataKeyOutput) { o.CiphertextBlob = make([]byte, n) }
		c.encrypt = func(o *kms.EncryptOutput) { o.CiphertextBlob = make([]byte, n) }
		k := newKeyring(t, c, arn)
		_, _, err := k.GenerateKey(t.Context(), errorContext)
		checkError(t, err, "GenerateDataKey", arn, false, fmt.Sprint(n, " bytes"))
		_, err = k.WrapKey(t.Context(), make([]byte, keywrap.DataKeySize), errorContext)
		checkError(t, err, "Encrypt", arn, false, fmt.Sprint(n, " bytes"))
	}
	for _, change := range []func(*kms.DescribeKeyOutput){
		func(o *kms.DescribeKeyOutput) { o.KeyMetadata = nil },
		func(o *kms.DescribeKeyOutput) { o.KeyMetadata.Arn = nil },
		func(o *kms.DescribeKeyOutput) { o.KeyMetadata.Arn = new("alias/a") },
	} {
		_, err := newKeyring(t, clientFuncs{Client: client, describe: change}, "alias/a").UnwrapKey(t.Context(), wrapped, errorContext)
		checkError(t, err, "DescribeKey", "alias/a", false, "without the ARN")
	}
}

// TestOtherPlaintext unwraps a blob of the right key and context that holds
// something else than a data key.
func TestOtherPlaintext(t *testing.T) {
	s, client := start(t)
	arn := s.CreateKey()
	out, err := client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: &arn, Plaintext: []byte("a password"), EncryptionContext: errorContext})
	if err != nil {
		t.Fatal(err)
	}
	_, err = newKeyring(t, client, arn).UnwrapKey(t.Context(), format.WrappedKey{Type: format.KeyTypeKMS, Name: arn, Data: out.CiphertextBlob}, errorContext)
	checkError(t, err, "Decrypt", arn, true, "not made for a stream")
	if strings.Contains(err.Error(), "password") {
		t.Errorf("message: %v", err)
	}
}
