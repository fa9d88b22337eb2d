// Package s3server runs a real S3 server on the loopback interface, for tests and demonstrations: the versitygw gateway
// over a directory. It checks signatures, checksums, part sizes and conditions as strictly as S3 does, and keeps each
// object as a plain file, so that a test can look at, or damage, exactly what the store holds.
//
// [Start] serves from this process, [StartProcess] from a child process.
package s3server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Region is the only Region that a Server knows.
const Region = "us-east-1"

// Options configures a [Server]. A nil *Options and the zero value are the defaults.
type Options struct {
	// Dir is where the buckets are kept, one directory each. It must exist. Empty: a temporary directory, which Close
	// removes.
	Dir string

	// TLS serves https with a certificate of a CA that exists only in this process; [Server.HTTPClient] trusts it.
	TLS bool

	// Versioning lets buckets keep the old versions of an object. A bucket starts without versions, as in S3, until
	// PutBucketVersioning.
	Versioning bool

	// ManyParts is for uploads of a thousand parts and more: what the gateway keeps about them does not fit into the
	// extended attributes of every file system, and is kept in files beside.
	ManyParts bool
}

// Server is a running S3 server. Its methods are safe for concurrent use.
type Server struct {
	url      string
	owner    account
	stranger account
	client   *http.Client

	root  string // holds everything the server writes, apart from a directory given by the caller
	dir   string // buckets
	stop  func() error
	close func() error
}

// account is one pair of access key and secret key.
type account struct{ AccessKey, SecretKey string }

// newAccount returns an account with random keys: nothing else on this machine can be signed in by accident.
func newAccount(name string) account {
	return account{AccessKey: name + rand.Text()[:8], SecretKey: rand.Text()}
}

func (a account) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: a.AccessKey, SecretAccessKey: a.SecretKey, Source: "s3server"}, nil
}

// Start serves from this process until Close. versitygw imposes two rules on it: a process runs one such server at a
// time (Start reports an error for a second), and while it runs, the working directory of the process is the directory
// of the buckets. Open files by absolute path; Close restores the working directory.
func Start(o *Options) (*Server, error) {
	return start(o, func(c *config) (func() error, error) {
		g, err := serve(c)
		if err != nil {
			return nil, err
		}
		return g.close, nil
	})
}

// start prepares the directories, accounts and certificate, and lets run start the gateway. run fills in c.URL and
// returns what stops the gateway again.
func start(o *Options, run func(c *config) (stop func() error, err error)) (_ *Server, err error) {
	if o == nil {
		o = &Options{}
	}
	s := &Server{owner: newAccount("owner"), stranger: newAccount("stranger")}
	s.close = sync.OnceValue(s.shutdown)
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()

	if s.root, err = os.MkdirTemp("", "bulla-s3server-"); err != nil {
		return nil, fmt.Errorf("s3server: %w", err)
	}
	c := &config{
		Owner: s.owner, Stranger: s.stranger,
		Dir:     filepath.Join(s.root, "buckets"),
		SideDir: filepath.Join(s.root, "attributes"),
		Aside:   o.ManyParts,
	}
	dirs := []string{c.Dir, c.SideDir}
	if o.Versioning {
		c.VersionDir = filepath.Join(s.root, "versions")
		dirs = append(dirs, c.VersionDir)
	}
	for _, dir := range dirs {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return nil, fmt.Errorf("s3server: %w", err)
		}
	}
	if o.Dir != "" {
		if c.Dir, err = filepath.Abs(o.Dir); err != nil {
			return nil, fmt.Errorf("s3server: %w", err)
		}
	}
	s.dir = c.Dir

	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.Proxy = nil // loopback needs none, and must not be sent to one
	transport.DisableCompression = true
	transport.MaxIdleConnsPerHost = 32
	transport.ResponseHeaderTimeout = 10 * time.Minute // to complete an upload, the gateway copies all of its parts
	if o.TLS {
		if transport.TLSClientConfig, err = certificate(s.root, c); err != nil {
			return nil, fmt.Errorf("s3server: certificate: %w", err)
		}
	}
	s.client = &http.Client{Transport: transport}

	if s.stop, err = run(c); err != nil {
		return nil, err
	}
	s.url = c.URL
	return s, nil
}

// Close stops the server, drops the idle connections of its [Server.HTTPClient] and removes what it stored, unless the
// caller gave the directory. Later calls return what the first one returned.
func (s *Server) Close() error { return s.close() }

func (s *Server) shutdown() error {
	var errs []error
	if s.client != nil {
		s.client.CloseIdleConnections()
	}
	if s.stop != nil {
		errs = append(errs, s.stop())
	}
	if s.root != "" {
		errs = append(errs, os.RemoveAll(s.root))
	}
	return errors.Join(errs...)
}

// URL is the endpoint of the server: scheme, loopback address and port.
func (s *Server) URL() string { return s.url }

// HTTPClient is a client that trusts the server's certificate. It is shared, and Close closes its idle connections.
func (s *Server) HTTPClient() *http.Client { return s.client }

// Credentials are those of the account that may do everything.
func (s *Server) Credentials() aws.CredentialsProvider { return s.owner }

// Stranger is an account that the server knows and that owns nothing: S3 answers it with AccessDenied.
func (s *Server) Stranger() aws.CredentialsProvider { return s.stranger }

// Config is an [aws.Config] for the server with the owner's credentials. It holds what config.LoadDefaultConfig would
// set for this Region, default checksums included.
func (s *Server) Config() aws.Config {
	return aws.Config{
		Region:                     Region,
		Credentials:                s.owner,
		HTTPClient:                 s.client,
		BaseEndpoint:               aws.String(s.url),
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenSupported,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenSupported,
	}
}

// Client returns a new S3 client of the server. The functions given change its options, for example the credentials or
// the endpoint.
func (s *Server) Client(optFns ...func(*s3.Options)) *s3.Client {
	return s3.NewFromConfig(s.Config(), append([]func(*s3.Options){func(o *s3.Options) { o.UsePathStyle = true }}, optFns...)...)
}

// PathOnDisk is the absolute path of the file that holds an object's newest version, which is the stored bytes and
// nothing else. It does not look whether the file exists.
func (s *Server) PathOnDisk(bucket, key string) string {
	return filepath.Join(s.dir, bucket, filepath.FromSlash(key))
}

// LeftRunning names the functions of goroutines that versitygw's HTTP library leaves behind after Close, for tests that
// look for leaked goroutines: a clock that never ends and a cleaner that notices the end within ten seconds.
func LeftRunning() []string {
	return []string{
		"github.com/valyala/fasthttp.updateServerDate.func1",
		"github.com/valyala/fasthttp.(*workerPool).Start.func2",
	}
}
