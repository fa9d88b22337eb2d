// Command transfer uploads and downloads one object through a real S3 server and says what that cost. It is a process
// of its own, and the S3 server is another, so that the peak memory it reports is that of the library and the SDK, without
// the race detector that the test which starts it may be built with.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/e2e/measure"
	"github.com/bulla-format/bulla/e2e/s3server"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
)

// Report is what is written to standard output, as JSON.
type Report struct {
	Stored, Parts    int64
	Upload, Download Cost
	Reads            []Read
}

// Cost is that of one direction.
type Cost struct {
	Seconds float64
	PeakRSS int64 // bytes
}

// Read is one read of a freshly opened object.
type Read struct {
	Offset, Length int64
	Prefetched     bool
	Requests       int
	Bytes          int64 // of the answers' bodies
}

func main() {
	s3server.RunChild()
	var c config
	flag.Int64Var(&c.size, "size", 256<<20, "plaintext size in bytes")
	flag.Int64Var(&c.part, "part", 8<<20, "part size in bytes; 0: by the size, or growing")
	flag.Int64Var(&c.budget, "budget", 0, "bytes of memory for parts; 0: no budget")
	flag.IntVar(&c.concurrency, "concurrency", 5, "parts sent at a time")
	flag.BoolVar(&c.tls, "tls", false, "https")
	flag.BoolVar(&c.unknown, "unknown", false, "do not tell the size beforehand")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	report, err := run(ctx, &c)
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(report)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "transfer:", err)
		os.Exit(1)
	}
}

type config struct {
	size, part   int64
	budget       int64
	concurrency  int
	tls, unknown bool

	server *s3server.Server
	key    *keywrap.AESKey
	text   measure.Text
}

const bucket, object = "bucket", "object"

func run(ctx context.Context, c *config) (_ *Report, err error) {
	if c.server, err = s3server.StartProcess(ctx, &s3server.Options{TLS: c.tls, ManyParts: true}); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.server.Close()) }()
	if c.key, err = keywrap.GenerateAESKey("e2e"); err != nil {
		return nil, err
	}
	c.text = measure.Text{Size: c.size, Seed: 1}
	client := c.server.Client()
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		return nil, err
	}
	r := &Report{}
	if r.Upload, err = cost(func() error { return c.upload(ctx, client, r) }); err != nil {
		return nil, fmt.Errorf("upload: %w", err)
	}
	if r.Download, err = cost(func() error { return c.download(ctx, client) }); err != nil {
		return nil, fmt.Errorf("download: %w", err)
	}
	if r.Reads, err = c.reads(ctx); err != nil {
		return nil, fmt.Errorf("reads: %w", err)
	}
	return r, nil
}

// cost measures f, from as little memory as this process has with nothing to do.
func cost(f func() error) (Cost, error) {
	debug.FreeOSMemory()
	if err := measure.ResetPeakRSS(); err != nil {
		return Cost{}, err
	}
	began := time.Now()
	if err := f(); err != nil {
		return Cost{}, err
	}
	seconds := time.Since(began).Seconds()
	peak, err := measure.PeakRSS()
	return Cost{Seconds: seconds, PeakRSS: peak}, err
}

func (c *config) upload(ctx context.Context, client *s3.Client, r *Report) error {
	var body io.Reader = c.text.Reader()
	if c.unknown {
		body = struct{ io.Reader }{body}
	}
	o := &s3upload.Options{PartSize: c.part, Concurrency: c.concurrency}
	if c.budget > 0 {
		o.Budget = s3upload.NewBudget(c.budget)
	}
	res, err := s3upload.New(client, c.key, o).
		Upload(ctx, &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(object), Body: body})
	if err != nil {
		return err
	}
	r.Stored, r.Parts = res.StoredSize, int64(res.Parts)
	return nil
}

func (c *config) download(ctx context.Context, client *s3.Client) error {
	o, err := c.open(ctx, client, nil)
	if err != nil {
		return err
	}
	defer o.Close()
	check := c.text.CheckFrom(0)
	if _, err := o.WriteTo(check); err != nil {
		return err
	}
	if check.Offset() != c.size {
		return fmt.Errorf("%d bytes came back, not %d", check.Offset(), c.size)
	}
	return nil
}

func (c *config) open(ctx context.Context, client *s3.Client, o *s3download.Options) (*s3download.Object, error) {
	return s3download.Open(ctx, client, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(object)}, c.key, o)
}

// reads opens the object anew for each of some reads of 64 KiB and counts what each costs.
func (c *config) reads(ctx context.Context) ([]Read, error) {
	const length = 64 << 10
	proxy, err := faultproxy.New(c.server.URL(), c.server.HTTPClient())
	if err != nil {
		return nil, err
	}
	defer proxy.Close()
	client := c.server.Client(func(o *s3.Options) { o.BaseEndpoint = aws.String(proxy.URL()) })
	var all []Read
	for _, offset := range []int64{0, 1, length, c.size/2 - 1, c.size / 2, c.size/2 + 12345, max(c.part, 8<<20) - 30_000, c.size - length} {
		for _, prefetched := range []bool{false, true} {
			proxy.Reset()
			if err := c.read(ctx, client, offset, length, prefetched); err != nil {
				return nil, fmt.Errorf("offset %d: %w", offset, err)
			}
			sum := faultproxy.Sum(proxy.Log())
			all = append(all, Read{offset, length, prefetched, sum.Requests, sum.BytesOut})
		}
	}
	return all, nil
}

func (c *config) read(ctx context.Context, client *s3.Client, offset, length int64, prefetch bool) error {
	var options s3download.Options
	if prefetch {
		options.Prefetch = s3download.Range{Offset: offset, Length: length}
	}
	o, err := c.open(ctx, client, &options)
	if err != nil {
		return err
	}
	defer o.Close()
	p := make([]byte, length)
	if n, err := o.ReadAt(p, offset); n < len(p) {
		return fmt.Errorf("%d bytes: %w", n, err)
	}
	_, err = c.text.CheckFrom(offset).Write(p)
	return err
}
