package awskms_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
)

// TestCheckPermissions looks at the calls: dry runs all, with the key that the
// operation itself would name.
func TestCheckPermissions(t *testing.T) {
	s, client := start(t)
	first, second, third := s.CreateKey("alias/first"), s.CreateKey("alias/second"), s.CreateKey()
	for _, c := range []struct {
		operations []string
		want       []kmstest.Call
	}{
		{nil, []kmstest.Call{
			{Operation: "GenerateDataKey", KeyID: "alias/first"},
			{Operation: "DescribeKey", KeyID: "alias/first"},
			{Operation: "Decrypt", KeyID: first},
			{Operation: "DescribeKey", KeyID: "alias/second"},
			{Operation: "Decrypt", KeyID: second},
			{Operation: "Decrypt", KeyID: keyID(third)},
		}},
		{[]string{"GenerateDataKey"}, []kmstest.Call{{Operation: "GenerateDataKey", KeyID: "alias/first"}}},
		{[]string{"Encrypt"}, []kmstest.Call{{Operation: "Encrypt", KeyID: "alias/first"}}},
		{[]string{"Encrypt", "ReEncrypt"}, []kmstest.Call{
			{Operation: "Encrypt", KeyID: "alias/first"},
			{Operation: "DescribeKey", KeyID: "alias/first"},
			{Operation: "ReEncrypt", KeyID: "alias/first", SourceKeyID: first},
			{Operation: "DescribeKey", KeyID: "alias/second"},
			{Operation: "ReEncrypt", KeyID: "alias/first", SourceKeyID: second},
			{Operation: "ReEncrypt", KeyID: "alias/first", SourceKeyID: keyID(third)},
		}},
	} {
		k, err := awskms.New(client, "alias/first", &awskms.Options{OldKeys: []string{"alias/second", keyID(third)}, GrantTokens: []string{"one"}})
		if err != nil {
			t.Fatal(err)
		}
		before := len(s.Calls())
		if err := k.CheckPermissions(t.Context(), errorContext, c.operations...); err != nil {
			t.Errorf("%v: %v", c.operations, err)
		}
		if !slices.EqualFunc(s.Calls()[before:], c.want, func(got, want kmstest.Call) bool {
			describes := got.Operation == "DescribeKey"
			return got.Operation == want.Operation && got.KeyID == want.KeyID && got.SourceKeyID == want.SourceKeyID &&
				slices.Equal(got.GrantTokens, []string{"one"}) &&
				(describes || got.DryRun && got.Error == "DryRunOperationException" && maps.Equal(got.Context, errorContext)) &&
				(got.Operation != "ReEncrypt" || maps.Equal(got.SourceContext, errorContext))
		}) {
			t.Errorf("%v: calls %+v", c.operations, s.Calls()[before:])
		}
	}
}

// TestCheckPermissionsRefused has each call refused in turn, and then all: one
// error for each.
func TestCheckPermissionsRefused(t *testing.T) {
	s, client := start(t)
	first, second := s.CreateKey(), s.CreateKey()
	all := []string{"GenerateDataKey", "Encrypt", "Decrypt", "ReEncrypt"}
	calls := []struct{ operation, key, newKey string }{
		{"GenerateDataKey", first, ""},
		{"Encrypt", first, ""},
		{"Decrypt", first, ""},
		{"Decrypt", second, ""},
		{"ReEncrypt", first, first},
		{"ReEncrypt", second, first},
	}
	k := newKeyring(t, client, first, second)
	errorsOf := func() []error {
		err := k.CheckPermissions(t.Context(), errorContext, all...)
		joined, ok := err.(interface{ Unwrap() []error })
		if !ok {
			t.Fatalf("not joined: %v", err)
		}
		return joined.Unwrap()
	}
	check := func(err error, i int) {
		t.Helper()
		e := checkError(t, err, calls[i].operation, calls[i].key, false, "access denied: allow kms:"+calls[i].operation, `"purpose", "tenant"`)
		if e.NewKey != calls[i].newKey {
			t.Errorf("%+v", e)
		}
	}
	for i := range calls {
		s.Inject(kmstest.Fault{Code: "AccessDeniedException", After: i})
		errs := errorsOf()
		if len(errs) != 1 {
			t.Fatalf("call %d: %v", i, errs)
		}
		check(errs[0], i)
		s.ClearFaults()
	}
	s.Inject(kmstest.Fault{Code: "AccessDeniedException", Times: -1})
	errs := errorsOf()
	if len(errs) != len(calls) {
		t.Fatalf("%d errors, want %d", len(errs), len(calls))
	}
	for i, err := range errs {
		check(err, i)
	}
	s.ClearFaults()

	if _, err := client.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &second}); err != nil {
		t.Fatal(err)
	}
	errs = errorsOf()
	if len(errs) != 2 {
		t.Fatalf("%v", errs)
	}
	checkError(t, errs[0], "Decrypt", second, false, "enable it")
	checkError(t, errs[1], "ReEncrypt", second, false, "enable it")
}

// TestCheckPermissionsAlias has an alias that does not exist, and one that has
// wrapped under two keys.
func TestCheckPermissionsAlias(t *testing.T) {
	s, client := start(t)
	err := newKeyring(t, client, "alias/none").CheckPermissions(t.Context(), nil)
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 2 {
		t.Fatalf("%v", err)
	}
	for i, operation := range []string{"GenerateDataKey", "DescribeKey"} {
		e, ok := errors.AsType[*awskms.Error](joined.Unwrap()[i])
		if !ok || e.Operation != operation || e.Key != "alias/none" {
			t.Errorf("error %d: %v", i, joined.Unwrap()[i])
		}
	}

	first, second := s.CreateKey("alias/a"), s.CreateKey()
	k := newKeyring(t, client, "alias/a")
	generate(t, k, nil)
	if _, err := client.UpdateAlias(t.Context(), &kms.UpdateAliasInput{AliasName: new("alias/a"), TargetKeyId: &second}); err != nil {
		t.Fatal(err)
	}
	before := len(s.Calls())
	if err := k.CheckPermissions(t.Context(), nil, "Decrypt"); err != nil {
		t.Error(err)
	}
	var keys []string
	for _, c := range s.Calls()[before:] {
		keys = append(keys, c.KeyID)
	}
	if !slices.Equal(keys, []string{"alias/a", first, second}) {
		t.Errorf("calls with %q", keys)
	}
}

func TestCheckPermissionsOfWhat(t *testing.T) {
	s, client := start(t)
	k := newKeyring(t, client, s.CreateKey())
	for _, name := range []string{"", "decrypt", "kms:Decrypt", "DescribeKey"} {
		if err := k.CheckPermissions(t.Context(), nil, name); err == nil {
			t.Errorf("%q was checked", name)
		}
	}
	wantOperations(t, s)
}

// TestCheckPermissionsWithoutDryRun has a service that does what it is asked
// in place of a dry run.
func TestCheckPermissionsWithoutDryRun(t *testing.T) {
	s, client := start(t)
	c := &noDryRun{Client: client}
	if err := newKeyring(t, c, s.CreateKey()).CheckPermissions(t.Context(), nil, "GenerateDataKey", "Encrypt"); err != nil {
		t.Error(err)
	}
	if fmt.Sprintf("%x", c.plaintext) != fmt.Sprintf("%064d", 0) {
		t.Error("the data key is not cleared")
	}
}
