package kmstest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"go.uber.org/goleak"

	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, o *kmstest.Options) (*kmstest.Server, *kms.Client) {
	t.Helper()
	s := kmstest.New(o)
	t.Cleanup(s.Close)
	return s, kms.NewFromConfig(s.Config())
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// code returns the name and HTTP status of a KMS error, "" and 0 for nil.
func code(t *testing.T, err error) (string, int) {
	t.Helper()
	if err == nil {
		return "", 0
	}
	api, ok := errors.AsType[interface {
		error
		ErrorCode() string
	}](err)
	if !ok {
		t.Fatalf("not an error of the service: %v", err)
	}
	response, ok := errors.AsType[interface {
		error
		HTTPStatusCode() int
	}](err)
	if !ok {
		t.Fatalf("an error without a response: %v", err)
	}
	return api.ErrorCode(), response.HTTPStatusCode()
}

func wantCode(t *testing.T, err error, want string) {
	t.Helper()
	got, status := code(t, err)
	if got != want {
		t.Errorf("got error %q (%v), want %q", got, err, want)
	}
	if want != "" && status != http.StatusBadRequest {
		t.Errorf("%s has status %d, want 400", got, status)
	}
}

// A request is signed and sent without the SDK's client, so that each of its
// parts can be wrong.
type request struct {
	method, operation, body   string
	key, secret, token        string
	service, region           string
	at                        time.Time
	contentType               string
	beforeSigning, afterwards func(*http.Request)
}

func newRequest(operation, body string) *request {
	return &request{
		method: http.MethodPost, operation: operation, body: body,
		key: kmstest.AccessKeyID, secret: kmstest.SecretAccessKey,
		service: "kms", region: "us-east-1", at: time.Now(),
		contentType: "application/x-amz-json-1.1",
	}
}

// send returns the answer's status, the error's name and the body.
func (q *request) send(t *testing.T, s *kmstest.Server) (int, string, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), q.method, s.URL+"/", bytes.NewReader([]byte(q.body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", q.contentType)
	r.Header.Set("X-Amz-Target", "TrentService."+q.operation)
	if q.beforeSigning != nil {
		q.beforeSigning(r)
	}
	hash := sha256.Sum256([]byte(q.body))
	credentials := aws.Credentials{AccessKeyID: q.key, SecretAccessKey: q.secret, SessionToken: q.token}
	if err := v4.NewSigner().SignHTTP(t.Context(), credentials, r, hex.EncodeToString(hash[:]), q.service, q.region, q.at); err != nil {
		t.Fatal(err)
	}
	if q.afterwards != nil {
		q.afterwards(r)
	}
	response, err := s.Config().HTTPClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var e struct {
		Type string `json:"__type"`
	}
	if len(body) > 0 {
		if err := json.Unmarshal(body, &e); err != nil {
			t.Fatalf("answer %q: %v", body, err)
		}
	}
	return response.StatusCode, e.Type, body
}
