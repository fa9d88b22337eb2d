package s3server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/versity/versitygw/auth"
	"github.com/versity/versitygw/backend/meta"
	"github.com/versity/versitygw/backend/posix"
	"github.com/versity/versitygw/embedgw"
	"github.com/versity/versitygw/s3api"
)

// config is what a gateway needs; [StartProcess] hands it to the child as JSON.
type config struct {
	URL               string // filled in by serve
	Dir               string // buckets
	VersionDir        string // old versions; empty: no versioning
	SideDir           string // attributes, where the file system of Dir has no extended ones, or if Aside
	Aside             bool
	CertFile, KeyFile string // both empty: http
	Owner, Stranger   account
}

// gateway is a versitygw that runs in this process.
type gateway struct {
	cancel  context.CancelFunc
	done    chan error // what RunVersityGW returned
	workDir string
}

// ErrRunning reports that this process already runs a server.
var ErrRunning = errors.New("s3server: this process already runs a server, and versitygw allows one; close it, or use StartProcess")

var slot = make(chan struct{}, 1)

// serve starts a gateway and returns when it accepts connections.
func serve(c *config) (*gateway, error) {
	select {
	case slot <- struct{}{}:
	default:
		return nil, ErrRunning
	}
	workDir, err := os.Getwd()
	if err != nil {
		<-slot
		return nil, fmt.Errorf("s3server: %w", err)
	}
	// The gateway binds the port itself, so that another process can take it between the choice and the bind.
	for range 5 {
		var g *gateway
		if g, err = serveOnce(c, workDir); err == nil {
			return g, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			break
		}
	}
	err = errors.Join(err, os.Chdir(workDir))
	<-slot
	return nil, err
}

func serveOnce(c *config, workDir string) (*gateway, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, fmt.Errorf("s3server: %w", err)
	}
	store, err := backend(c)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	g := &gateway{cancel: cancel, done: make(chan error, 1), workDir: workDir}
	listening := make(chan struct{})
	go func() {
		g.done <- embedgw.RunVersityGW(ctx, store, &embedgw.Config{
			RootUserAccess: c.Owner.AccessKey,
			RootUserSecret: c.Owner.SecretKey,
			Region:         Region,
			Ports:          []string{addr},
			CertFile:       c.CertFile,
			KeyFile:        c.KeyFile,
			IAMService:     newAccounts(c.Owner, c.Stranger),
			KeepAlive:      true,
			Quiet:          true,
			// Limits of S3 where S3 has one; the gateway's zero values refuse everything.
			MultipartMaxParts: 10_000,
			MaxConnections:    4096,
			MaxRequests:       4096,
			S3Options:         []s3api.Option{s3api.WithOnListen(func() { close(listening) })},
		})
	}()
	select {
	case <-listening:
	case err := <-g.done:
		cancel()
		return nil, fmt.Errorf("s3server: start: %w", err)
	case <-time.After(30 * time.Second):
		cancel()
		return nil, errors.Join(errors.New("s3server: not listening after 30 s"), <-g.done)
	}
	c.URL = "http://" + addr
	if c.CertFile != "" {
		c.URL = "https://" + addr
	}
	if err := answers(c.URL); err != nil {
		return nil, errors.Join(fmt.Errorf("s3server: start: %w", err), g.stop())
	}
	return g, nil
}

// answers waits for the answer to a request, whatever it is. The gateway says that it listens before its HTTP library
// knows of that: closed in between, it would listen for ever.
func answers(url string) error {
	transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
	client := http.Client{Transport: transport, Timeout: 30 * time.Second}
	res, err := client.Get(url)
	if err != nil {
		return err
	}
	return res.Body.Close()
}

// backend opens the directory as a store. It changes the working directory: the store's paths are relative.
func backend(c *config) (*posix.Posix, error) {
	// In its unset state the copy threshold refuses every CopyObject and UploadPartCopy; 5 GiB is S3's.
	o := posix.PosixOpts{CopyObjectThreshold: 5 << 30, VersioningDir: c.VersionDir}
	var m meta.MetadataStorer = meta.XattrMeta{}
	if c.Aside || (meta.XattrMeta{}).Test(c.Dir) != nil {
		side, err := meta.NewSideCar(c.SideDir)
		if err != nil {
			return nil, fmt.Errorf("s3server: attributes: %w", err)
		}
		m, o.SideCarDir = side, c.SideDir
	}
	b, err := posix.New(c.Dir, m, o)
	if err != nil {
		return nil, fmt.Errorf("s3server: open %s: %w", c.Dir, err)
	}
	return b, nil
}

func (g *gateway) close() error {
	err := errors.Join(g.stop(), os.Chdir(g.workDir))
	<-slot
	return err
}

func (g *gateway) stop() error {
	g.cancel()
	if err := <-g.done; !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// freeAddr returns a loopback address with a port that was free a moment ago.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// accounts is the gateway's own single-account service with a second account that owns nothing.
type accounts struct {
	auth.IAMService
	stranger auth.Account
}

func newAccounts(owner, stranger account) accounts {
	return accounts{
		IAMService: auth.NewIAMServiceSingle(auth.Account{Access: owner.AccessKey, Secret: owner.SecretKey, Role: auth.RoleAdmin}),
		stranger:   auth.Account{Access: stranger.AccessKey, Secret: stranger.SecretKey, Role: auth.RoleUser},
	}
}

func (a accounts) GetUserAccount(access string) (auth.Account, error) {
	if access == a.stranger.Access {
		return a.stranger, nil
	}
	return a.IAMService.GetUserAccount(access)
}
