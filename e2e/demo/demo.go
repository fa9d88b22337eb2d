package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kms"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/e2e/measure"
	"github.com/bulla-format/bulla/e2e/s3server"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/keywrap/awskms/kmstest"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// Where the object is stored.
const (
	bucket = "backups"
	object = "2026/orders.log"
	alias  = "alias/backups"
)

// demo is what the steps share.
type demo struct {
	screen
	closers []func() error

	file *os.File // the plaintext
	size int64

	server *s3server.Server
	proxy  *faultproxy.Proxy // counts the requests of the range reads
	kms    *kmstest.Server
	keyARN string
	keys   *awskms.Keyring

	result     *s3upload.Result
	up, down   transfer
	rangeReads []rangeRead
}

// transfer is what moving the whole object cost.
type transfer struct {
	time     time.Duration
	requests int64
	peak     int64 // bytes; 0: not known
}

// rangeRead is what reading a range cost.
type rangeRead struct {
	offset, length int64
	requests       int
	fetched        int64
}

// close undoes what start did, in the opposite order.
func (d *demo) close() error {
	var errs []error
	for i := len(d.closers) - 1; i >= 0; i-- {
		errs = append(errs, d.closers[i]())
	}
	d.closers = nil
	return errors.Join(errs...)
}

func (d *demo) onClose(f func() error) { d.closers = append(d.closers, f) }

// start makes or opens the plaintext and starts the servers.
func (d *demo) start(ctx context.Context, name string, size int64) error {
	d.printf("Bulla, from a file to S3 and back\n\n")
	var err error
	if d.server, err = s3server.StartProcess(ctx, nil); err != nil {
		return err
	}
	d.onClose(d.server.Close)
	if d.proxy, err = faultproxy.New(d.server.URL(), d.server.HTTPClient()); err != nil {
		return err
	}
	d.onClose(func() error { d.proxy.Close(); return nil })
	d.kms = kmstest.New(nil)
	d.onClose(func() error { d.kms.Close(); return nil })
	d.keyARN = d.kms.CreateKey(alias)
	if d.keys, err = awskms.New(kms.NewFromConfig(d.kms.Config()), alias, nil); err != nil {
		return err
	}
	if _, err := d.server.Client().CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(bucket)}); err != nil {
		return err
	}
	d.field("S3 server", "%s   versitygw, a real one, in a second process", d.server.URL())
	d.field("key service", "%s   speaks the protocol of AWS KMS", d.kms.URL)
	if name == "" {
		return d.makeFile(ctx, size)
	}
	if d.file, err = os.Open(name); err != nil {
		return err
	}
	d.onClose(d.file.Close)
	info, err := d.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", name)
	}
	d.size = info.Size()
	d.field("plaintext", "%s   %s", d.file.Name(), sizeText(d.size))
	return nil
}

// makeFile writes a file of text.
func (d *demo) makeFile(ctx context.Context, size int64) error {
	dir, err := os.MkdirTemp("", "bulla-demo-")
	if err != nil {
		return err
	}
	d.onClose(func() error { return os.RemoveAll(dir) })
	if d.file, err = os.Create(filepath.Join(dir, "orders.log")); err != nil {
		return err
	}
	d.onClose(d.file.Close)
	d.size = size
	d.field("plaintext", "%s   %s of text", d.file.Name(), sizeText(size))
	text := measure.Text{Size: size, Seed: 1}
	bar := d.bar("writing it", size)
	defer bar.done()
	_, err = io.CopyBuffer(struct{ io.Writer }{d.file}, contextReader{ctx, bar.reader(text.Reader())}, make([]byte, 1<<20))
	return err
}

// contextReader stops when ctx ends.
type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// measured runs f and measures its time and the peak memory of this process meanwhile.
func measured(f func() error) (t transfer, err error) {
	debug.FreeOSMemory() // what came before is not to be counted
	known := measure.ResetPeakRSS() == nil
	began := time.Now()
	err = f()
	t.time = time.Since(began)
	if known {
		t.peak, _ = measure.PeakRSS() // 0, "not known", if it fails
	}
	return t, err
}

func (d *demo) upload(ctx context.Context) error {
	d.step("Encrypt and upload")
	d.code(`s3upload.New(client, keys, nil).Upload(ctx, &s3.PutObjectInput{Bucket: ..., Key: ..., Body: file})`)
	bar := d.bar("uploading", d.size)
	uploader := s3upload.New(d.server.Client(), d.keys, &s3upload.Options{
		Encrypt:  &stream.EncryptOptions{Context: keywrap.Context{"table": "orders"}},
		Progress: func(p s3upload.Progress) { bar.set(min(p.Stored, d.size)) },
	})
	if _, err := d.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	var err error
	d.up, err = measured(func() (err error) {
		d.result, err = uploader.Upload(ctx, &s3.PutObjectInput{Bucket: aws.String(bucket), Key: aws.String(object), Body: d.file})
		return err
	})
	bar.done()
	if err != nil {
		return err
	}
	d.up.requests = int64(d.result.Parts)
	if d.result.UploadID != "" {
		d.up.requests += 2 // create and complete
	}
	d.check(d.result.PlaintextSize == d.size, "%s uploaded in %s, %s", sizeText(d.size), count(d.result.Parts, "part"), rate(d.size, d.up.time))
	extra := d.result.StoredSize - d.size
	d.note("stored: %s, which is %s more (%s)", commas(d.result.StoredSize), commas(extra), percent(extra, d.size))
	return nil
}

func (d *demo) lookAtStore(context.Context) error {
	d.step("What the store sees")
	path := d.server.PathOnDisk(bucket, object)
	d.field("object", "s3://%s/%s", bucket, object)
	d.field("on its disk", "%s", path)
	stored, err := os.Open(path)
	if err != nil {
		return err
	}
	defer stored.Close()
	d.printf("\n  The plaintext begins\n")
	if err := d.hex(d.file, 0, 48); err != nil {
		return err
	}
	d.printf("  the object begins\n")
	if err := d.hex(stored, 0, 48); err != nil {
		return err
	}
	d.printf("  and its first encrypted segment, at %d\n", d.result.Info.Layout.Start())
	if err := d.hex(stored, d.result.Info.Layout.Start(), 48); err != nil {
		return err
	}
	info := d.result.Info
	d.printf("\n  Everyone may read in its header\n")
	d.field("suite", "%v, segments of %s", info.Suite, sizeText(int64(info.SegmentSize)))
	d.field("wrapped for", "%s", info.Keys[0].Name)
	for key, value := range info.Context {
		d.field("context", "%s = %s", key, value)
	}

	sample := make([]byte, min(d.size, 32))
	if _, err := d.file.ReadAt(sample, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	front, err := io.ReadAll(io.NewSectionReader(stored, 0, 1<<20))
	if err != nil {
		return err
	}
	if len(sample) == 32 {
		d.check(!bytes.Contains(front, sample), "the plaintext's first bytes are nowhere in the object's first MiB")
	}
	return nil
}

// open opens the object through client.
func (d *demo) open(ctx context.Context, client *s3.Client, o *s3download.Options) (*s3download.Object, error) {
	return s3download.Open(ctx, client, &s3.GetObjectInput{Bucket: aws.String(bucket), Key: aws.String(object)}, d.keys, o)
}

func (d *demo) readRanges(ctx context.Context) error {
	d.step("Read ranges, each from a cold start")
	d.code(`object, err := s3download.Open(ctx, client, &s3.GetObjectInput{...}, keys, nil); object.ReadAt(p, offset)`)
	client := d.server.Client(func(o *s3.Options) { o.BaseEndpoint = aws.String(d.proxy.URL()) })
	for _, r := range []struct {
		what           string
		offset, length int64
	}{
		{"one byte in the middle", d.size / 2, 1},
		{"64 KiB across a segment's edge", d.size/4*3 + 12_345, 64 << 10},
		{"the final 1 MiB", d.size - 1<<20, 1 << 20},
	} {
		offset := max(min(r.offset, d.size-1), 0)
		length := min(r.length, d.size-offset)
		d.proxy.Reset()
		got, err := d.readRange(ctx, client, offset, length)
		if err != nil {
			return err
		}
		want := make([]byte, length)
		if _, err := d.file.ReadAt(want, offset); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		sum := faultproxy.Sum(d.proxy.Log())
		d.rangeReads = append(d.rangeReads, rangeRead{offset, length, sum.Requests, sum.BytesOut})
		d.check(bytes.Equal(got, want), "%s: bytes %s to %s are those of the file", r.what, commas(offset), commas(offset+length))
	}
	return nil
}

func (d *demo) readRange(ctx context.Context, client *s3.Client, offset, length int64) ([]byte, error) {
	o, err := d.open(ctx, client, &s3download.Options{Prefetch: s3download.Range{Offset: offset, Length: length}})
	if err != nil {
		return nil, err
	}
	defer o.Close()
	p := make([]byte, length)
	if n, err := o.ReadAt(p, offset); n < len(p) {
		return nil, err
	}
	return p, nil
}

func (d *demo) download(ctx context.Context) error {
	d.step("Download and compare everything")
	d.code(`object.WriteTo(w)`)
	bar := d.bar("downloading", d.size)
	got := sha256.New()
	var written, requests int64
	var err error
	d.down, err = measured(func() error {
		o, err := d.open(ctx, d.server.Client(), nil)
		if err != nil {
			return err
		}
		defer o.Close()
		defer context.AfterFunc(ctx, func() { o.Close() })()
		written, err = o.WriteTo(bar.writer(got))
		requests = o.Stats().Requests
		return err
	})
	bar.done()
	if err != nil {
		return err
	}
	d.down.requests = requests
	want := sha256.New()
	if _, err := io.Copy(want, contextReader{ctx, io.NewSectionReader(d.file, 0, d.size)}); err != nil {
		return err
	}
	d.field("SHA-256", "%x   of the file", want.Sum(nil))
	d.field("", "%x   of the download", got.Sum(nil))
	d.check(written == d.size && bytes.Equal(got.Sum(nil), want.Sum(nil)), "%s downloaded, every byte is that of the file", sizeText(written))
	return nil
}
