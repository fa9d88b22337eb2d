package awskms_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
)

// TestAliasMoves has an alias that is pointed to another key.
func TestAliasMoves(t *testing.T) {
	s, client := start(t)
	first, second := s.CreateKey("alias/a"), s.CreateKey()
	k := newKeyring(t, client, "alias/a")
	reader := newKeyring(t, client, "alias/a")
	_, old := generate(t, k, nil)
	both := newKeyring(t, client, "alias/a")
	_, its := generate(t, both, nil)
	if _, err := reader.UnwrapKey(t.Context(), old, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := client.UpdateAlias(t.Context(), &kms.UpdateAliasInput{AliasName: new("alias/a"), TargetKeyId: &second}); err != nil {
		t.Fatal(err)
	}
	_, young := generate(t, k, nil)
	if old.Name != first || young.Name != second {
		t.Fatalf("wrapped with %s, then %s", old.Name, young.Name)
	}
	for _, w := range []format.WrappedKey{old, young} {
		if _, err := k.UnwrapKey(t.Context(), w, nil); err != nil {
			t.Errorf("what the keyring wrapped: %v", err)
		}
	}
	if _, err := reader.UnwrapKey(t.Context(), young, nil); !errors.Is(err, keywrap.ErrNoMatch) {
		t.Errorf("an alias was looked up twice: %v", err)
	}
	for _, w := range []format.WrappedKey{its, young} { // it has wrapped, and looks up only now
		if _, err := both.UnwrapKey(t.Context(), w, nil); err != nil {
			t.Errorf("with %s: %v", w.Name, err)
		}
	}
	late := newKeyring(t, client, "alias/a", first)
	for _, w := range []format.WrappedKey{old, young} {
		if _, err := late.UnwrapKey(t.Context(), w, nil); err != nil {
			t.Errorf("with the former key as an old key: %v", err)
		}
	}
}

// TestAliasLookUp counts the look-ups: failed ones are not kept, good ones are.
func TestAliasLookUp(t *testing.T) {
	s, client := start(t)
	arn := s.CreateKey("alias/a")
	_, wrapped := generate(t, newKeyring(t, client, arn), nil)
	k := newKeyring(t, client, "alias/none", "alias/a")
	s.Inject(kmstest.Fault{Operation: "DescribeKey", Code: "AccessDeniedException", After: 1})
	for i, want := range []error{new(awskms.Error), nil, nil} {
		_, err := k.UnwrapKey(t.Context(), wrapped, nil)
		if (err == nil) != (want == nil) || err != nil && !errors.As(err, new(*awskms.Error)) || errors.Is(err, keywrap.ErrNoMatch) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	wantOperations(t, s, "GenerateDataKey",
		"DescribeKey", "DescribeKey", // the first alias is not there, the second is denied
		"DescribeKey", "DescribeKey", "Decrypt",
		"Decrypt")

	// A blob of impossible size is no reason to look.
	before := len(s.Calls())
	wrapped.Data = nil
	if _, err := newKeyring(t, client, "alias/a").UnwrapKey(t.Context(), wrapped, nil); !errors.Is(err, keywrap.ErrUnwrap) {
		t.Errorf("empty blob: %v", err)
	}
	if n := len(s.Calls()) - before; n != 0 {
		t.Errorf("%d calls", n)
	}
}

// hangingClient never has an answer to its first DescribeKey.
type hangingClient struct {
	*kms.Client
	asked chan struct{} // closed by the first DescribeKey
	once  sync.Once
}

func (c *hangingClient) DescribeKey(ctx context.Context, in *kms.DescribeKeyInput, o ...func(*kms.Options)) (*kms.DescribeKeyOutput, error) {
	hang := false
	c.once.Do(func() { hang = true })
	if !hang {
		return c.Client.DescribeKey(ctx, in, o...)
	}
	close(c.asked)
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestWaitingForALookUp cancels callers that wait for another's look-up, and
// then that one.
func TestWaitingForALookUp(t *testing.T) {
	s, client := start(t)
	arn := s.CreateKey("alias/a")
	_, wrapped := generate(t, newKeyring(t, client, arn), nil)
	hanging := &hangingClient{Client: client, asked: make(chan struct{})}
	k := newKeyring(t, hanging, "alias/a")

	first, cancelFirst := context.WithCancel(t.Context())
	defer cancelFirst()
	done := make(chan error)
	go func() {
		_, err := k.UnwrapKey(first, wrapped, nil)
		done <- err
	}()
	<-hanging.asked
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := k.UnwrapKey(canceled, wrapped, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	late, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := k.UnwrapKey(late, wrapped, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	wantOperations(t, s, "GenerateDataKey")
	cancelFirst()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the first caller: %v", err)
	}
	if _, err := k.UnwrapKey(t.Context(), wrapped, nil); err != nil {
		t.Errorf("after a canceled look-up: %v", err)
	}
}
