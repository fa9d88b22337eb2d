package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/kms/types"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// forever hits every call from the first on.
const forever = -1

func (p *place) disableKey(t *testing.T) {
	t.Helper()
	if _, err := p.kmsClient.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &p.keyARN}); err != nil {
		t.Fatal(err)
	}
}

func (p *place) deleteKey(t *testing.T) {
	t.Helper()
	if _, err := p.kmsClient.ScheduleKeyDeletion(t.Context(), &kms.ScheduleKeyDeletionInput{KeyId: &p.keyARN, PendingWindowInDays: aws.Int32(7)}); err != nil {
		t.Fatal(err)
	}
}

// What the key service refuses is an *awskms.Error with KMS's own error inside, on either way; the store is not asked
// for anything when writing, and gives no plaintext when reading.
func TestKeyServiceFails(t *testing.T) {
	for _, tc := range []struct {
		name    string
		prepare func(*testing.T, *place)
		is      func(error) bool // finds KMS's own error
	}{
		{"throttled", inject("ThrottlingException"), hasCode("ThrottlingException")},
		{"down", inject("KMSInternalException"), has[*types.KMSInternalException]},
		{"no permission", inject("AccessDeniedException"), hasCode("AccessDeniedException")},
		{"connection reset", func(_ *testing.T, p *place) { p.kms.Inject(kmstest.Fault{Times: forever, Reset: true}) }, func(err error) bool { _, ok := errors.AsType[*smithyhttp.RequestSendError](err); return ok }},
		{"key disabled", func(t *testing.T, p *place) { p.disableKey(t) }, has[*types.DisabledException]},
		{"key to be deleted", func(t *testing.T, p *place) { p.deleteKey(t) }, has[*types.KMSInvalidStateException]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newPlace(t)
			p.store(t, "key", small, nil)
			tc.prepare(t, p)

			_, err := s3upload.New(p.client, p.keys, nil).Upload(t.Context(), p.put("other", text(small).Reader()))
			if kmsErr, ok := errors.AsType[*awskms.Error](err); !ok || !tc.is(err) || kmsErr.Operation != "GenerateDataKey" {
				t.Errorf("upload: %v", err)
			}
			if log := p.proxy.Log(); len(log) != 0 {
				t.Errorf("upload: %d requests to the store", len(log))
			}
			p.nothingLeft(t, "other")

			object, err := s3download.Open(t.Context(), p.client, p.get("key"), p.keys, nil)
			if err == nil {
				object.Close()
			}
			if kmsErr, ok := errors.AsType[*awskms.Error](err); !ok || !tc.is(err) || !slices.Contains([]string{"Decrypt", "DescribeKey"}, kmsErr.Operation) {
				t.Errorf("open: %v", err)
			}
			if errors.Is(err, stream.ErrAuth) || errors.Is(err, keywrap.ErrUnwrap) {
				t.Errorf("open: a service that fails is not a wrong key: %v", err)
			}
		})
	}
}

func inject(code string) func(*testing.T, *place) {
	return func(_ *testing.T, p *place) { p.kms.Inject(kmstest.Fault{Times: forever, Code: code}) }
}

func hasCode(want string) func(error) bool {
	return func(err error) bool { return code(err) == want }
}

func has[E error](err error) bool {
	_, ok := errors.AsType[E](err)
	return ok
}

// A key service that is slow to serve once is asked again.
func TestKeyServiceThrottlesOnce(t *testing.T) {
	p := newPlace(t)
	p.kms.Inject(kmstest.Fault{Operation: "GenerateDataKey", Code: "ThrottlingException"})
	p.kms.Inject(kmstest.Fault{Operation: "Decrypt", Code: "ThrottlingException"})
	p.store(t, "key", small, nil)
	readAllWays(t, p.open(t, "key", nil), small)
	var refused int
	for _, call := range p.kms.Calls() {
		if call.Error == "ThrottlingException" {
			refused++
		}
	}
	if refused != 2 {
		t.Errorf("%d calls were throttled, want 2", refused)
	}
}

// One call of the key service for an upload, one for an open and none for what is read then.
func TestKeyServiceCalls(t *testing.T) {
	p := newPlace(t)
	ec := keywrap.Context{"tenant": "seven"}
	p.store(t, "key", three, &s3upload.Options{Encrypt: &stream.EncryptOptions{Context: ec}})
	readAllWays(t, p.open(t, "key", nil), three)
	var got []string
	for _, call := range p.kms.Calls() {
		got = append(got, call.Operation)
		if call.Operation != "DescribeKey" && call.Context["tenant"] != "seven" {
			t.Errorf("%s with the context %v", call.Operation, call.Context)
		}
	}
	if want := []string{"GenerateDataKey", "Decrypt"}; !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
}

// A reader that another key is configured for finds no key, and asks nobody.
func TestAnotherKey(t *testing.T) {
	p := newPlace(t)
	p.store(t, "key", small, nil)
	other, err := awskms.New(p.kmsClient, p.kms.CreateKey(), nil)
	if err != nil {
		t.Fatal(err)
	}
	local, err := keywrap.GenerateAESKey("local")
	if err != nil {
		t.Fatal(err)
	}
	before := len(p.kms.Calls())
	for name, keys := range map[string]keywrap.Unwrapper{"KMS": other, "local": local} {
		object, err := s3download.Open(t.Context(), p.client, p.get("key"), keys, nil)
		if err == nil {
			object.Close()
		}
		if !errors.Is(err, keywrap.ErrNoMatch) {
			t.Errorf("%s: %v, want ErrNoMatch", name, err)
		}
	}
	if calls := p.kms.Calls()[before:]; len(calls) != 0 {
		t.Errorf("%d calls of the key service", len(calls))
	}
}

// A context that was changed in the store, or is not the one that the reader requires, opens nothing. Values of the
// context are in no message.
func TestWrongContext(t *testing.T) {
	p := newPlace(t)
	ec := keywrap.Context{"tenant": "number-seven"}
	p.store(t, "key", small, &s3upload.Options{Encrypt: &stream.EncryptOptions{Context: ec}})

	open := func(required keywrap.Context) error {
		object, err := s3download.Open(t.Context(), p.client, p.get("key"), p.keys,
			&s3download.Options{Decrypt: &stream.DecryptOptions{RequiredContext: required}})
		if err == nil {
			object.Close()
		}
		return err
	}
	if err := open(ec); err != nil {
		t.Errorf("the right context: %v", err)
	}
	calls := len(p.kms.Calls())
	for _, required := range []keywrap.Context{{"tenant": "number-eight"}, {"tenant": ""}, {"table": "orders"}} {
		if err := open(required); !errors.Is(err, stream.ErrContext) || strings.Contains(err.Error(), "number-") {
			t.Errorf("required %v: %v, want ErrContext", required, err)
		}
	}
	if now := len(p.kms.Calls()); now != calls {
		t.Errorf("%d calls of the key service for streams that are refused anyway", now-calls)
	}

	stored := p.stored(t, "key")
	changed := bytes.Replace(stored, []byte("number-seven"), []byte("number-eight"), 1)
	if bytes.Equal(changed, stored) {
		t.Fatal("the context is not in the header")
	}
	if err := os.WriteFile(server.PathOnDisk(p.bucket, "key"), changed, 0o600); err != nil {
		t.Fatal(err)
	}
	err := open(nil)
	kmsErr, ok := errors.AsType[*awskms.Error](err)
	if !errors.Is(err, keywrap.ErrUnwrap) || !ok || !has[*types.InvalidCiphertextException](err) {
		t.Fatalf("a context that was changed in the store: %v, want ErrUnwrap", err)
	}
	if !slices.Equal(kmsErr.ContextKeys, []string{"tenant"}) || strings.Contains(err.Error(), "number-") {
		t.Errorf("context keys %q in %v", kmsErr.ContextKeys, err)
	}
}

// A cancelled context ends a call of a key service that does not answer.
func TestKeyServiceDoesNotAnswer(t *testing.T) {
	p := newPlace(t)
	p.store(t, "key", small, nil)
	p.kms.Inject(kmstest.Fault{Times: forever, Delay: 1 << 40})
	ctx, cancel := context.WithCancel(t.Context())
	before := len(p.kms.Calls())
	go func() {
		for len(p.kms.Calls()) == before && t.Context().Err() == nil {
			runtime.Gosched() // a call is in the log while it waits
		}
		cancel()
	}()
	_, err := s3download.Open(ctx, p.client, p.get("key"), p.keys, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v, want context.Canceled", err)
	}
	_, err = s3upload.New(p.client, p.keys, nil).Upload(ctx, p.put("other", text(small).Reader()))
	if !errors.Is(err, context.Canceled) {
		t.Errorf("upload: %v, want context.Canceled", err)
	}
	if sum := faultproxy.Sum(p.proxy.Log(), faultproxy.PutObject); sum.Requests != 0 {
		t.Errorf("%d requests to store", sum.Requests)
	}
}
