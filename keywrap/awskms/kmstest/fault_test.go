package kmstest_test

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kms"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
)

// outcomes makes n calls without retries and returns the names of their errors.
func outcomes(t *testing.T, client *kms.Client, n int) []string {
	t.Helper()
	var names []string
	for range n {
		_, err := client.ListAliases(t.Context(), nil, func(o *kms.Options) { o.RetryMaxAttempts = 1 })
		name, _ := code(t, err)
		names = append(names, name)
	}
	return names
}

func TestFaultCounts(t *testing.T) {
	s, client := start(t, nil)
	const e, f = "ThrottlingException", "KMSInternalException"
	for _, c := range []struct {
		faults []kmstest.Fault
		want   []string
	}{
		{nil, []string{"", "", ""}},
		{[]kmstest.Fault{{Code: e}}, []string{e, "", "", ""}},
		{[]kmstest.Fault{{Code: e, Operation: "ListAliases", After: 2}}, []string{"", "", e, ""}},
		{[]kmstest.Fault{{Code: e, After: 1, Times: 2}}, []string{"", e, e, ""}},
		{[]kmstest.Fault{{Code: e, After: 1, Times: -1}}, []string{"", e, e, e}},
		{[]kmstest.Fault{{Code: e, Operation: "Decrypt", Times: -1}}, []string{"", "", ""}},
		{[]kmstest.Fault{{Code: e, Times: 2}, {Code: f, Times: 3}}, []string{e, e, f, ""}},
		{[]kmstest.Fault{{Delay: time.Nanosecond, Times: -1}}, []string{"", ""}},
	} {
		s.ClearFaults()
		for _, fault := range c.faults {
			s.Inject(fault)
		}
		if got := outcomes(t, client, len(c.want)); !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %q, want %q", c.faults, got, c.want)
		}
	}
}

func TestFaultStatus(t *testing.T) {
	s, client := start(t, nil)
	s.Inject(kmstest.Fault{Code: "SomethingNew", Status: 418})
	_, err := client.ListAliases(t.Context(), nil)
	if name, status := code(t, err); name != "SomethingNew" || status != 418 {
		t.Errorf("got %s, status %d", name, status)
	}
}

// TestRetry shows that the configuration keeps the SDK's three attempts.
func TestRetry(t *testing.T) {
	s, client := start(t, nil)
	for name, fault := range map[string]kmstest.Fault{
		"throttled": {Code: "ThrottlingException"}, "internal": {Code: "KMSInternalException"}, "reset": {Reset: true},
	} {
		for times, want := range map[int]int{1: 2, 2: 3, 3: 3} {
			fault.Times = times
			before := len(s.Calls())
			s.Inject(fault)
			_, err := client.ListAliases(t.Context(), nil)
			if calls := len(s.Calls()) - before; calls != want || (err == nil) != (times < 3) {
				t.Errorf("%s %d times: %d calls, want %d, error %v", name, times, calls, want, err)
			}
			s.ClearFaults()
		}
	}
}

func TestReset(t *testing.T) {
	s, client := start(t, nil)
	arn := s.CreateKey()
	s.Inject(kmstest.Fault{Operation: "DisableKey", Reset: true, Times: -1})
	_, err := client.DisableKey(t.Context(), &kms.DisableKeyInput{KeyId: &arn})
	if _, ok := errors.AsType[*smithyhttp.RequestSendError](err); !ok { // writing may meet the reset before reading does
		t.Errorf("got %v, want a connection reset", err)
	}
	if out := must(client.DescribeKey(t.Context(), &kms.DescribeKeyInput{KeyId: &arn}))(t); !out.KeyMetadata.Enabled {
		t.Error("a reset call took effect")
	}
	if c := s.Calls()[0]; c.Error != "reset" {
		t.Errorf("log: %+v", c)
	}
}

func TestDelayEndsWithTheClient(t *testing.T) {
	s, client := start(t, nil)
	s.Inject(kmstest.Fault{Delay: time.Hour, Times: -1})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := client.ListAliases(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

func TestDelayEndsWithTheServer(t *testing.T) {
	s := kmstest.New(nil)
	client := kms.NewFromConfig(s.Config())
	s.Inject(kmstest.Fault{Delay: time.Hour, Times: -1})
	done := make(chan error)
	go func() {
		_, err := client.ListAliases(context.Background(), nil, func(o *kms.Options) { o.RetryMaxAttempts = 1 })
		done <- err
	}()
	for len(s.Calls()) == 0 {
		select {
		case err := <-done:
			t.Fatalf("not delayed: %v", err)
		default:
			runtime.Gosched()
		}
	}
	s.Close()
	if err := <-done; err == nil {
		t.Error("a delayed call succeeded on a closed server")
	}
}

func TestCalls(t *testing.T) {
	s, client := start(t, nil)
	arn := s.CreateKey("alias/a")
	ec := map[string]string{"purpose": "test"}
	in := &kms.EncryptInput{KeyId: new("alias/a"), Plaintext: []byte("x"), EncryptionContext: ec, GrantTokens: []string{"one", "two"}}
	must(client.Encrypt(t.Context(), in))(t)
	in.DryRun = new(true)
	if _, err := client.Encrypt(t.Context(), in); err == nil {
		t.Fatal("dry run without error")
	}
	must(client.CreateAlias(t.Context(), &kms.CreateAliasInput{AliasName: new("alias/b"), TargetKeyId: &arn}))(t)
	want := []kmstest.Call{
		{Region: "us-east-1", Operation: "Encrypt", KeyID: "alias/a", Context: ec, GrantTokens: []string{"one", "two"}},
		{
			Region: "us-east-1", Operation: "Encrypt", KeyID: "alias/a", Context: ec, GrantTokens: []string{"one", "two"},
			DryRun: true, Error: "DryRunOperationException",
		},
		{Region: "us-east-1", Operation: "CreateAlias", KeyID: arn},
	}
	equal := func(a, b kmstest.Call) bool {
		return a.Region == b.Region && a.Operation == b.Operation && a.KeyID == b.KeyID && a.DryRun == b.DryRun && a.Error == b.Error &&
			maps.Equal(a.Context, b.Context) && slices.Equal(a.GrantTokens, b.GrantTokens)
	}
	got := s.Calls()
	if !slices.EqualFunc(got, want, equal) {
		t.Errorf("got %+v", got)
	}
	got[0].Context["purpose"], got[0].GrantTokens[0] = "changed", "changed"
	if !equal(s.Calls()[0], want[0]) {
		t.Error("the log shares memory with its copies")
	}
}

func TestConcurrentUse(t *testing.T) {
	s, client := start(t, nil)
	arn := s.CreateKey("alias/a")
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 20 {
				out, err := client.Encrypt(t.Context(), &kms.EncryptInput{KeyId: new("alias/a"), Plaintext: []byte("x")})
				if err == nil {
					_, err = client.Decrypt(t.Context(), &kms.DecryptInput{KeyId: &arn, CiphertextBlob: out.CiphertextBlob})
				}
				if err == nil {
					_, err = client.RotateKeyOnDemand(t.Context(), &kms.RotateKeyOnDemandInput{KeyId: new(s.CreateKey())})
				}
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := len(s.Calls()); n != 240 {
		t.Errorf("%d calls in the log, want 240", n)
	}
}
