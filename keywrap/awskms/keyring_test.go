package awskms_test

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
)

var contexts = []keywrap.Context{nil, {}, {"purpose": "test"}, {"a": "b", "c": "ü", "d": ""}}

// TestRoundTrip wraps and unwraps with every form of a key's name on both
// sides.
func TestRoundTrip(t *testing.T) {
	s, client := start(t)
	arn := s.CreateKey("alias/a")
	forms := []string{arn, keyID(arn), "alias/a", strings.Replace(arn, "key/"+keyID(arn), "alias/a", 1)}
	for _, writer := range forms {
		for _, reader := range forms {
			for _, ec := range contexts {
				w, r := newKeyring(t, client, writer), newKeyring(t, client, reader)
				generated, first := generate(t, w, ec)
				given := bytes.Repeat([]byte{7}, keywrap.DataKeySize)
				keys, err := w.WrapKey(t.Context(), given, ec)
				if err != nil || len(keys) != 1 {
					t.Fatalf("WrapKey: %v, %d keys", err, len(keys))
				}
				for _, c := range []struct {
					want []byte
					key  format.WrappedKey
				}{{generated, first}, {given, keys[0]}} {
					if c.key.Name != arn || c.key.Type != format.KeyTypeKMS {
						t.Errorf("wrapped key %d %q, want the key ARN", c.key.Type, c.key.Name)
					}
					got, err := r.UnwrapKey(t.Context(), c.key, ec)
					if err != nil || !bytes.Equal(got, c.want) {
						t.Fatalf("wrapped as %s, unwrapped as %s: %v", writer, reader, err)
					}
				}
			}
		}
	}
	for _, c := range s.Calls() {
		if c.Operation == "Decrypt" && c.KeyID != arn && c.KeyID != keyID(arn) {
			t.Fatalf("Decrypt is not pinned to a key: %q", c.KeyID)
		}
	}
}

func TestWhatIsSent(t *testing.T) {
	s, client := start(t)
	arn := s.CreateKey("alias/a")
	tokens := []string{"one", "two"}
	k, err := awskms.New(client, "alias/a", &awskms.Options{GrantTokens: tokens})
	if err != nil {
		t.Fatal(err)
	}
	tokens[0] = "changed" // the keyring has its own copy
	ec := keywrap.Context{"purpose": "test"}
	_, wrapped := generate(t, k, ec)
	if _, err := k.WrapKey(t.Context(), make([]byte, keywrap.DataKeySize), ec); err != nil {
		t.Fatal(err)
	}
	reader, err := awskms.New(client, "alias/a", &awskms.Options{GrantTokens: []string{"one", "two"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reader.UnwrapKey(t.Context(), wrapped, ec); err != nil {
		t.Fatal(err)
	}
	want := []kmstest.Call{
		{Operation: "GenerateDataKey", KeyID: "alias/a", Context: ec},
		{Operation: "Encrypt", KeyID: "alias/a", Context: ec},
		{Operation: "DescribeKey", KeyID: "alias/a"},
		{Operation: "Decrypt", KeyID: arn, Context: ec},
	}
	if !slices.EqualFunc(s.Calls(), want, func(got, want kmstest.Call) bool {
		return got.Operation == want.Operation && got.KeyID == want.KeyID && maps.Equal(got.Context, want.Context) &&
			slices.Equal(got.GrantTokens, []string{"one", "two"}) && got.Error == ""
	}) {
		t.Errorf("calls %+v", s.Calls())
	}
}

func TestNewRefusesNames(t *testing.T) {
	_, client := start(t)
	const arn = "arn:aws:kms:us-east-1:111122223333:key/mrk-1234"
	for _, good := range []string{
		arn, "mrk-1234", "1234abcd-12ab-34cd-56ef-1234567890ab", "alias/a", "alias/aws/s3", "alias/" + strings.Repeat("x", 250),
		"arn:aws-us-gov:kms:us-gov-west-1:111122223333:key/1234", "arn:aws:kms:us-east-1:111122223333:alias/a/b_C-9",
	} {
		if _, err := awskms.New(client, good, nil); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []string{
		"", "alias/", "alias/ä", "alias/a:b", "a/b", "key/1234", "a b", "12\n", "alias/" + strings.Repeat("x", 251),
		"arn:aws:kms:us-east-1:111122223333:key/", "arn:aws:kms:us-east-1:111122223333:1234",
		"arn:aws:kms:us-east-1:11112222333:key/1234", "arn:aws:kms:us-east-1:11112222333x:key/1234",
		"arn:aws:kms::111122223333:key/1234", "arn::kms:us-east-1:111122223333:key/1234",
		"arn:aws:s3:us-east-1:111122223333:key/1234", "xrn:aws:kms:us-east-1:111122223333:key/1234",
		"arn:aws:kms:US-EAST-1:111122223333:key/1234", "arn:aws:kms:us-east-1:111122223333:key/12/34",
		"arn:aws:kms:us-east-1:111122223333:alias/", "arn:aws:kms:us-east-1:111122223333:key/" + strings.Repeat("1", 1024),
		strings.Repeat("~", 1<<20),
	} {
		if _, err := awskms.New(client, bad, nil); err == nil || len(err.Error()) > 600 {
			t.Errorf("%.100q as the key: %v", bad, err)
		}
		if _, err := awskms.New(client, arn, &awskms.Options{OldKeys: []string{bad}}); err == nil {
			t.Errorf("%.100q was taken as an old key", bad)
		}
	}
	if _, err := awskms.New(nil, arn, nil); err == nil {
		t.Error("no client was taken")
	}
}

func TestDataKeySize(t *testing.T) {
	s, client := start(t)
	k := newKeyring(t, client, s.CreateKey())
	for _, n := range []int{0, 16, 31, 33, 4096} {
		if _, err := k.WrapKey(t.Context(), make([]byte, n), nil); err == nil {
			t.Errorf("a data key of %d bytes was wrapped", n)
		}
	}
	wantOperations(t, s)
}

func TestWrongContext(t *testing.T) {
	s, client := start(t)
	k := newKeyring(t, client, s.CreateKey())
	contexts := append(slices.Clone(contexts), keywrap.Context{"purpose": "other"}, keywrap.Context{"Purpose": "test"}, keywrap.Context{"purpose": "test", "x": "y"})
	for i, sealed := range contexts {
		dataKey, wrapped := generate(t, k, sealed)
		for j, given := range contexts {
			got, err := k.UnwrapKey(t.Context(), wrapped, given)
			if maps.Equal(sealed, given) {
				if err != nil || !bytes.Equal(got, dataKey) {
					t.Errorf("contexts %d, %d: %v", i, j, err)
				}
			} else if got != nil || !errors.Is(err, keywrap.ErrUnwrap) || errors.Is(err, keywrap.ErrNoMatch) {
				t.Errorf("contexts %d, %d: %v", i, j, err)
			}
		}
	}
}

func TestDamagedBlob(t *testing.T) {
	s, client := start(t)
	k := newKeyring(t, client, s.CreateKey())
	_, wrapped := generate(t, k, nil)
	check := func(what string, blob []byte) {
		t.Helper()
		w := wrapped
		w.Data = blob
		if got, err := k.UnwrapKey(t.Context(), w, nil); got != nil || !errors.Is(err, keywrap.ErrUnwrap) {
			t.Errorf("%s: %v", what, err)
		}
	}
	blob := wrapped.Data
	for i := range blob {
		b := bytes.Clone(blob)
		b[i] ^= 1 << (i % 8)
		check(fmt.Sprint("byte ", i), b)
	}
	for n := 1; n < len(blob); n++ {
		check(fmt.Sprint("first ", n), blob[:n])
	}
	check("one more", append(bytes.Clone(blob), 0))
	check("6144 bytes", append(bytes.Clone(blob), make([]byte, 6144-len(blob))...))
	before := len(s.Calls())
	check("none", nil)
	check("6145 bytes", append(bytes.Clone(blob), make([]byte, 6145-len(blob))...))
	if n := len(s.Calls()) - before; n != 0 {
		t.Errorf("%d calls for sizes that KMS does not take", n)
	}
}

// TestNoCallForOthers sweeps the names that select no configured key.
func TestNoCallForOthers(t *testing.T) {
	s, client := start(t)
	mine, other := s.CreateKey("alias/mine"), s.CreateKey("alias/other")
	_, wrapped := generate(t, newKeyring(t, client, other), nil)
	k := newKeyring(t, client, mine, keyID(mine))
	before := len(s.Calls())
	check := func(w format.WrappedKey) {
		t.Helper()
		if got, err := k.UnwrapKey(t.Context(), w, nil); got != nil || !errors.Is(err, keywrap.ErrNoMatch) || len(err.Error()) > 1200 {
			t.Errorf("%q: %v", w.Name, err)
		}
	}
	check(wrapped)
	for _, name := range []string{
		"", "x", keyID(mine), "alias/mine", strings.Replace(mine, "key/"+keyID(mine), "alias/mine", 1),
		mine + "0", mine[:len(mine)-1], mine + "\n", " " + mine, strings.ToUpper(mine), mine + strings.Repeat("0", 1000),
		"arn:aws:kms:us-east-1:111122223333:key/mrk-1234",
	} {
		check(format.WrappedKey{Type: format.KeyTypeKMS, Name: name, Data: wrapped.Data})
	}
	for _, size := range []int{0, 6145} { // not ours, so that its size is no concern
		check(format.WrappedKey{Type: format.KeyTypeKMS, Name: other, Data: make([]byte, size)})
	}
	for _, kind := range []format.KeyType{format.KeyTypeAES, format.KeyTypeRSA, format.KeyTypeHPKE, format.KeyTypePassphrase, 99} {
		check(format.WrappedKey{Type: kind, Name: mine, Data: wrapped.Data})
	}
	if n := len(s.Calls()) - before; n != 0 {
		t.Errorf("%d calls", n)
	}

	// With an alias there is one call, for the alias.
	k = newKeyring(t, client, "alias/mine")
	for range 3 {
		check(wrapped)
	}
	if calls := s.Calls()[before:]; len(calls) != 1 || calls[0].Operation != "DescribeKey" || calls[0].KeyID != "alias/mine" {
		t.Errorf("calls %+v", calls)
	}
}

// TestOtherAccount has single-Region keys that differ from the configured one
// in one part of the ARN.
func TestOtherAccount(t *testing.T) {
	s, client := start(t)
	mine := s.CreateKey()
	k := newKeyring(t, client, mine)
	for old, new := range map[string]string{"arn:aws:": "arn:aws-cn:", "us-east-1": "eu-west-1", "111122223333": "444455556666"} {
		name := strings.Replace(mine, old, new, 1)
		if _, err := k.UnwrapKey(t.Context(), format.WrappedKey{Type: format.KeyTypeKMS, Name: name, Data: []byte{1}}, nil); !errors.Is(err, keywrap.ErrNoMatch) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantOperations(t, s)
}

func TestOldKeys(t *testing.T) {
	s, client := start(t)
	first, second, third := s.CreateKey("alias/first"), s.CreateKey("alias/second"), s.CreateKey()
	k := newKeyring(t, client, first, "alias/second", keyID(third))
	if _, wrapped := generate(t, k, nil); wrapped.Name != first {
		t.Errorf("wrapped with %s, want the first key", wrapped.Name)
	}
	for _, arn := range []string{first, second, third} {
		dataKey, wrapped := generate(t, newKeyring(t, client, arn), nil)
		got, err := k.UnwrapKey(t.Context(), wrapped, nil)
		if err != nil || !bytes.Equal(got, dataKey) {
			t.Errorf("%s: %v", arn, err)
		}
	}
}

func TestMultiRegion(t *testing.T) {
	s, east := start(t)
	primary, replica, west := multiRegionKey(t, s, east)
	createAlias(t, west, "alias/replica", replica)
	dataKey, wrapped := generate(t, newKeyring(t, east, primary), nil)
	for _, id := range []string{replica, keyID(replica), "alias/replica"} {
		got, err := newKeyring(t, west, id).UnwrapKey(t.Context(), wrapped, nil)
		if err != nil || !bytes.Equal(got, dataKey) {
			t.Errorf("%s: %v", id, err)
		}
		calls := s.Calls()
		if call := calls[len(calls)-1]; call.Operation != "Decrypt" || call.Region != "eu-west-1" || call.KeyID == primary {
			t.Errorf("%s: call %+v", id, call)
		}
	}

	before := len(s.Calls())
	k := newKeyring(t, west, replica)
	for old, new := range map[string]string{"arn:aws:": "arn:aws-cn:", "111122223333": "444455556666", "mrk-": "mrk-0"} {
		w := wrapped
		w.Name = strings.Replace(wrapped.Name, old, new, 1)
		if _, err := k.UnwrapKey(t.Context(), w, nil); !errors.Is(err, keywrap.ErrNoMatch) {
			t.Errorf("%s: %v", w.Name, err)
		}
	}
	if n := len(s.Calls()) - before; n != 0 {
		t.Errorf("%d calls", n)
	}
}

func TestConcurrentUse(t *testing.T) {
	s, client := start(t)
	arn := s.CreateKey("alias/a")
	dataKey, wrapped := generate(t, newKeyring(t, client, arn), nil)
	k := newKeyring(t, client, "alias/a")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				got, err := k.UnwrapKey(t.Context(), wrapped, nil)
				if err != nil || !bytes.Equal(got, dataKey) {
					t.Error(err)
				}
				clear(got) // each caller has its own
				if _, _, err := k.GenerateKey(t.Context(), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	count := 0
	for _, name := range operations(s) {
		if name == "DescribeKey" {
			count++
		}
	}
	if count > 1 {
		t.Errorf("the alias was looked up %d times", count)
	}
}
