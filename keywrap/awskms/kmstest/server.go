// Package kmstest provides an HTTP server that speaks the protocol of AWS KMS,
// for tests and demonstrations without an AWS account.
//
// The server listens on the loopback interface and is used through the real
// SDK client:
//
//	server := kmstest.New(nil)
//	defer server.Close()
//	client := kms.NewFromConfig(server.Config())
//	key := server.CreateKey("alias/backups")
//
// It does what a program can observe of encryption keys, symmetric
// (SYMMETRIC_DEFAULT) and RSA: the operations that create, describe, alias,
// disable, rotate, replicate and delete keys, and those that encrypt and
// decrypt with them. Requests are checked as AWS checks them, signature
// (Signature Version 4) and limits included, and refused with AWS's error names
// and HTTP statuses, which are those of the AWS KMS API Reference.
//
// One server is one AWS account in several Regions. A request belongs to the
// Region that its signature names, so a client for another Region is made by
// changing the Region of the [Server.Config]; multi-Region keys are replicated
// between these Regions by ReplicateKey.
//
// What is not there: keys that sign, agree on secrets or authenticate, imported
// and custom-store keys, and attestation (all refused with
// UnsupportedOperationException); key policies, grants and tags (accepted, not
// evaluated: use a [Fault] for AccessDeniedException); scheduled rotation. Keys
// live in memory and are gone after Close.
package kmstest

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// The credentials that a [Server] accepts, and the only ones.
const (
	AccessKeyID     = "AKIAKMSTEST000000000"
	SecretAccessKey = "kmstest/secret/access/key/for/tests/only"
)

// Options configure a [Server]. The zero value is ready for use.
type Options struct {
	// Regions are the Regions that the server answers for; a request signed
	// for another is refused. The first is that of [Server.Config] and
	// [Server.CreateKey]. Default: us-east-1 and eu-west-1.
	Regions []string

	// Account is the 12-digit AWS account of every key. Default: 111122223333.
	Account string

	// Now is the clock of the keys' dates, so that a test can see a scheduled
	// deletion happen. Signatures are always checked against the system's
	// clock. Default: time.Now.
	Now func() time.Time
}

// A Server is a running key service. Its methods are safe for concurrent use.
type Server struct {
	// URL is the server's endpoint, http://127.0.0.1:port, as an SDK takes it
	// in BaseEndpoint or AWS_ENDPOINT_URL_KMS.
	URL string

	http    *httptest.Server
	signer  *v4.Signer
	account string
	home    string // the first Region
	now     func() time.Time
	closed  chan struct{} // ends delayed calls

	mu      sync.Mutex
	regions map[string]*region
	calls   []*Call
	faults  []*fault
}

// New starts a server; nil options are the defaults. Stop it with Close. Like
// httptest.NewServer, it panics if the loopback interface has no free port.
func New(o *Options) *Server {
	if o == nil {
		o = &Options{}
	}
	names := o.Regions
	if len(names) == 0 {
		names = []string{"us-east-1", "eu-west-1"}
	}
	s := &Server{
		signer:  v4.NewSigner(),
		account: cmp.Or(o.Account, "111122223333"),
		home:    names[0],
		now:     o.Now,
		closed:  make(chan struct{}),
		regions: make(map[string]*region),
	}
	if s.now == nil {
		s.now = time.Now
	}
	for _, name := range names {
		s.regions[name] = &region{
			server: s, name: name,
			keys: make(map[string]*key), aliases: make(map[string]*alias),
		}
	}
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.http.Config.ReadHeaderTimeout = 10 * time.Second
	s.http.Config.ReadTimeout = time.Minute
	s.http.Start()
	s.URL = s.http.URL
	return s
}

// Close ends delayed calls, waits for the others, closes the connections of
// clients made from [Server.Config], and frees the port. It may be called
// once.
func (s *Server) Close() {
	close(s.closed)
	s.http.Close()
}

// Config returns a configuration for SDK clients of this server: its endpoint,
// credentials and first Region. Its retryer makes the SDK's usual number of
// attempts without waiting between them. The caller may change the copy.
func (s *Server) Config() aws.Config {
	return aws.Config{
		Region:       s.home,
		BaseEndpoint: new(s.URL),
		HTTPClient:   s.http.Client(),
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: AccessKeyID, SecretAccessKey: SecretAccessKey}, nil
		}),
		Retryer: func() aws.Retryer {
			return retry.NewStandard(func(o *retry.StandardOptions) {
				o.RateLimiter = ratelimit.None
				o.Backoff = retry.BackoffDelayerFunc(func(int, error) (time.Duration, error) { return 0, nil })
			})
		},
	}
}

// CreateKey makes a symmetric key in the server's first Region, gives it the aliases
// ("alias/name"), and returns its ARN. It is the operations CreateKey and
// CreateAlias without a client, and is not in the call log. It panics if KMS
// would refuse an alias.
func (s *Server) CreateKey(aliases ...string) (arn string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.regions[s.home]
	k := r.newKey(symmetric, "", false)
	for _, name := range aliases {
		if _, err := r.createAlias(&aliasInput{AliasName: &name, TargetKeyId: &k.id}); err != nil {
			panic("kmstest: " + err.Error())
		}
	}
	return k.arn()
}

// A Call is one request that the server has received. Each attempt of a client
// that retries is a call.
type Call struct {
	Region      string            // empty if the signature was refused
	Operation   string            // such as "Decrypt"
	KeyID       string            // as the request names it: KeyId, TargetKeyId or DestinationKeyId
	Context     map[string]string // EncryptionContext or DestinationEncryptionContext
	GrantTokens []string
	DryRun      bool
	Error       string // the name of the error sent, "reset" for a connection reset, empty after success

	// Of ReEncrypt: SourceKeyId and SourceEncryptionContext.
	SourceKeyID   string
	SourceContext map[string]string
}

// Calls returns a copy of the log: every request so far, refused ones
// included, in the order of their arrival. A call is in the log before its
// client has the answer.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	calls := make([]Call, len(s.calls))
	for i, c := range s.calls {
		calls[i] = *c
		calls[i].Context = maps.Clone(c.Context)
		calls[i].SourceContext = maps.Clone(c.SourceContext)
		calls[i].GrantTokens = slices.Clone(c.GrantTokens)
	}
	return calls
}
