package awskms_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
)

// TestReWrapKey goes from each form of an old key's name, and from the first
// key itself, to each form of the first key's name and to each context.
func TestReWrapKey(t *testing.T) {
	s, client := start(t)
	old, first := s.CreateKey("alias/old"), s.CreateKey("alias/first")
	for _, to := range []string{first, keyID(first), "alias/first"} {
		for _, from := range []string{old, keyID(old), "alias/old"} {
			k, err := awskms.New(client, to, &awskms.Options{OldKeys: []string{from}, GrantTokens: []string{"one"}})
			if err != nil {
				t.Fatal(err)
			}
			for i, oldContext := range contexts {
				for _, source := range []string{old, first} {
					newContext := contexts[(i+1)%len(contexts)]
					dataKey, wrapped := generate(t, newKeyring(t, client, source), oldContext)
					keys, err := k.ReWrapKey(t.Context(), wrapped, oldContext, newContext)
					if err != nil || len(keys) != 1 || keys[0].Name != first || keys[0].Type != format.KeyTypeKMS || bytes.Equal(keys[0].Data, wrapped.Data) {
						t.Fatalf("from %s to %s: %v, %v", from, to, keys, err)
					}
					calls := s.Calls()
					c := calls[len(calls)-1]
					if c.Operation != "ReEncrypt" || c.KeyID != to || c.SourceKeyID != source && c.SourceKeyID != keyID(source) ||
						!maps.Equal(c.SourceContext, oldContext) || !maps.Equal(c.Context, newContext) || !slices.Equal(c.GrantTokens, []string{"one"}) {
						t.Errorf("call %+v", c)
					}
					got, err := newKeyring(t, client, first).UnwrapKey(t.Context(), keys[0], newContext)
					if err != nil || !bytes.Equal(got, dataKey) {
						t.Errorf("after the re-wrap: %v", err)
					}
				}
			}
		}
	}
	if slices.Contains(operations(s), "Encrypt") {
		t.Error("a data key was sent")
	}
}

func TestReWrapKeyNoMatch(t *testing.T) {
	s, client := start(t)
	mine, other := s.CreateKey(), s.CreateKey()
	_, wrapped := generate(t, newKeyring(t, client, other), nil)
	k := newKeyring(t, client, mine)
	for _, w := range []format.WrappedKey{
		wrapped,
		{Type: format.KeyTypeKMS, Name: "alias/a", Data: wrapped.Data},
		{Type: format.KeyTypeAES, Name: mine, Data: wrapped.Data},
	} {
		if keys, err := k.ReWrapKey(t.Context(), w, nil, nil); keys != nil || !errors.Is(err, keywrap.ErrNoMatch) {
			t.Errorf("%v %q: %v", w.Type, w.Name, err)
		}
	}
	wrapped.Name = mine
	for _, size := range []int{0, 6145} {
		wrapped.Data = make([]byte, size)
		if keys, err := k.ReWrapKey(t.Context(), wrapped, nil, nil); keys != nil || !errors.Is(err, keywrap.ErrUnwrap) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	wantOperations(t, s, "GenerateDataKey")
}

func checkReEncryptError(t *testing.T, err error, from, to string, unwrap bool, parts ...string) {
	t.Helper()
	e := checkError(t, err, "ReEncrypt", from, unwrap, append(parts, "ReEncrypt with key "+from+" to key "+to+": ")...)
	if e.NewKey != to {
		t.Errorf("NewKey %q", e.NewKey)
	}
	if strings.Contains(err.Error(), "new-value") {
		t.Errorf("a context value in %v", err)
	}
}

func TestReWrapKeyErrors(t *testing.T) {
	s, client := start(t)
	old, first := s.CreateKey(), s.CreateKey("alias/first")
	_, wrapped := generate(t, newKeyring(t, client, old), errorContext)
	newContext := keywrap.Context{"new": "new-value"}
	k := newKeyring(t, client, "alias/first", old)
	rewrap := func(ctx context.Context, w format.WrappedKey) error {
		keys, err := k.ReWrapKey(ctx, w, errorContext, newContext)
		if keys != nil {
			t.Error("keys beside an error")
		}
		return err
	}
	damaged := wrapped
	damaged.Data = append(bytes.Clone(wrapped.Data[:len(wrapped.Data)-1]), 0xAA^wrapped.Data[len(wrapped.Data)-1])
	checkReEncryptError(t, rewrap(t.Context(), damaged), old, "alias/first", true, `context keys sent: "purpose", "tenant"`)
	renamed := wrapped
	renamed.Name = first
	reader := newKeyring(t, client, first)
	_, err := reader.ReWrapKey(t.Context(), renamed, errorContext, newContext)
	checkReEncryptError(t, err, first, first, true, "another key")

	for code, hint := range map[string]string{
		"AccessDeniedException": "allow kms:ReEncryptFrom on the first key and kms:ReEncryptTo on the second",
		"NotFoundException":     "the client is for us-east-1",
		"ThrottlingException":   "try again later",
	} {
		s.Inject(kmstest.Fault{Operation: "ReEncrypt", Code: code, Message: "as told, new-value and " + secretValue, Times: -1})
		checkReEncryptError(t, rewrap(t.Context(), wrapped), old, "alias/first", false, hint, "as told, [context value] and [context value]")
		s.ClearFaults()
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	checkReEncryptError(t, rewrap(canceled, wrapped), old, "alias/first", false, "canceled by the caller")

	for name, change := range map[string]func(*kms.ReEncryptOutput){
		"no source":    func(o *kms.ReEncryptOutput) { o.SourceKeyId = nil },
		"other source": func(o *kms.ReEncryptOutput) { o.SourceKeyId = &first },
		"no key":       func(o *kms.ReEncryptOutput) { o.KeyId = nil },
		"alias":        func(o *kms.ReEncryptOutput) { o.KeyId = new("alias/first") },
		"no blob":      func(o *kms.ReEncryptOutput) { o.CiphertextBlob = nil },
		"long blob":    func(o *kms.ReEncryptOutput) { o.CiphertextBlob = make([]byte, 6145) },
	} {
		k := newKeyring(t, clientFuncs{Client: client, rewrap: change}, "alias/first", old)
		keys, err := k.ReWrapKey(t.Context(), wrapped, errorContext, newContext)
		if err == nil || keys != nil {
			t.Errorf("%s was taken", name)
			continue
		}
		checkReEncryptError(t, err, old, "alias/first", false, "KMS")
	}
}

// TestReWrapKeyRegions re-wraps in one Region what a related key wrapped in
// another.
func TestReWrapKeyRegions(t *testing.T) {
	s, east := start(t)
	primary, replica, west := multiRegionKey(t, s, east)
	dataKey, wrapped := generate(t, newKeyring(t, east, primary), nil)
	keys, err := newKeyring(t, west, replica).ReWrapKey(t.Context(), wrapped, nil, nil)
	if err != nil || keys[0].Name != replica {
		t.Fatalf("%v, %v", keys, err)
	}
	calls := s.Calls()
	if c := calls[len(calls)-1]; c.Region != "eu-west-1" || c.SourceKeyID != replica {
		t.Errorf("call %+v", c)
	}
	got, err := newKeyring(t, east, primary).UnwrapKey(t.Context(), keys[0], nil)
	if err != nil || !bytes.Equal(got, dataKey) {
		t.Errorf("back in the first Region: %v", err)
	}
}
