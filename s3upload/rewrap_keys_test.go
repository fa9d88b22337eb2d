package s3upload

import (
	"errors"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// TestRewrapTwice checks when a stream counts as being for the new keys
// already.
func TestRewrapTwice(t *testing.T) {
	hpke, err := keywrap.GenerateHPKEKey("public", 0)
	if err != nil {
		t.Fatal(err)
	}
	keepAll := &stream.RewrapOptions{Keep: func(format.WrappedKey) bool { return true }}
	aes := newKey(t, "new", 8)
	for _, c := range []struct {
		name      string
		old       keywrap.Unwrapper
		new       keywrap.Wrapper
		o         *RewrapOptions
		unchanged bool
		want      error // of the second time
	}{
		{"only the new key opens it", testKey, aes, nil, true, nil},
		{"both keys open it", keywrap.AnyOf(testKey, aes), aes, nil, true, nil},
		{"a wrapper alone", testKey, wrapperOnly{aes}, nil, true, nil},
		{"several keys", testKey, keywrap.Multi(hpke.PublicKey(), aes), nil, true, nil},
		{"kept and new", testKey, aes, &RewrapOptions{Stream: keepAll}, true, nil},
		{"always", keywrap.AnyOf(testKey, aes), aes, &RewrapOptions{Always: true}, false, nil},
		{"always, and the old key does not open it", testKey, aes, &RewrapOptions{Always: true}, false, keywrap.ErrNoMatch},
		{"a location as well", keywrap.AnyOf(testKey, aes), aes, &RewrapOptions{Stream: &stream.RewrapOptions{Location: aws.String("s3://bucket/dir/key")}}, true, nil},
		{"metadata as well", keywrap.AnyOf(testKey, aes), aes, &RewrapOptions{Stream: &stream.RewrapOptions{Metadata: map[string]string{"a": "b"}}}, false, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newShelf()
			f.store(t, inObject, []byte("text"), nil)
			var res *RewrapResult
			for _, want := range []error{nil, c.want} {
				f.calls = nil
				var err error
				if res, err = Rewrap(t.Context(), f, rewrapInput(), c.old, c.new, c.o); !errors.Is(err, want) {
					t.Fatalf("%v, expected %v", err, want)
				}
				if err == nil && slices.Contains(f.calls, opPut) == res.Unchanged {
					t.Errorf("%+v after %v", res, f.calls)
				}
			}
			if c.want == nil && (res.Unchanged != c.unchanged || res.Info.Generation != map[bool]uint32{true: 1, false: 2}[c.unchanged]) {
				t.Errorf("the second time: %+v", res)
			}
		})
	}
	f := newShelf()
	f.store(t, inObject, []byte("text"), nil)
	same := newKey(t, "test", 8) // another key of the same name
	if res, err := Rewrap(t.Context(), f, rewrapInput(), testKey, same, nil); err != nil || res.Unchanged {
		t.Errorf("another key of the same name: %+v, %v", res, err)
	}
	f.opens(t, same, []byte("text"))
	if _, err := Rewrap(t.Context(), f, rewrapInput(), testKey, testKey, nil); !errors.Is(err, keywrap.ErrUnwrap) {
		t.Errorf("a third key: %v", err)
	}
	if _, err := Rewrap(t.Context(), f, rewrapInput(), aes, nil, nil); !errors.Is(err, keywrap.ErrNoMatch) {
		t.Errorf("no new key and none that opens: %v", err)
	}
}

// wrapperOnly hides that a key can unwrap.
type wrapperOnly struct{ keywrap.Wrapper }

// TestPassphraseIsNeverTheSame checks that a passphrase is not known by its
// hint.
func TestPassphraseIsNeverTheSame(t *testing.T) {
	k := []format.WrappedKey{{Type: format.KeyTypePassphrase, Name: "hint"}}
	if sameKeys(k, k) {
		t.Error("two passphrases of one hint count as the same")
	}
	k[0].Type = format.KeyTypeAES
	if !sameKeys(k, []format.WrappedKey{k[0], k[0]}) || sameKeys(k, []format.WrappedKey{{Type: format.KeyTypeRSA, Name: "hint"}}) {
		t.Error("keys are not compared by type and name")
	}
}
