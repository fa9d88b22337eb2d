//go:build unix

package e2e_test

//lint:file-ignore SA1019 what package s3upload runs on is compared with it: docs/decisions/0003

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/bulla-format/bulla/e2e/measure"
	"github.com/bulla-format/bulla/e2e/s3server"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
)

// BenchmarkTransfer compares the processor time of a client that moves an object encrypted (mode=bulla, and with a Budget
// mode=bulla-budget) with that of one that moves it in plain, over https on the loopback interface; the server is a process of its own. Both have the same
// part sizes, concurrency and source, and downloads the same ranges. For a comparison the modes must take turns, which
// -count does not make them do:
//
//	for i in $(seq 10); do go test -C e2e -run '^$' -bench Transfer -benchtime 1x; done | tee out; benchstat -col /mode out
func BenchmarkTransfer(b *testing.B) {
	place := newBenchPlace(b)
	for _, size := range []int64{256 * mib, 1024 * mib} {
		for _, source := range []string{"memory", "file", "stream"} {
			for _, mode := range []struct {
				name   string
				upload func(io.Reader) error
			}{{"plain", place.uploadPlain}, {"bulla", place.upload}, {"bulla-budget", place.uploadInBudget}} {
				b.Run(fmt.Sprintf("op=upload/source=%s/size=%dMiB/mode=%s", source, size/mib, mode.name), func(b *testing.B) {
					place.prepare(b, size)
					measureCPU(b, size, func() error {
						body, err := place.source(source)
						if err != nil {
							return err
						}
						return mode.upload(body)
					})
				})
			}
		}
		for _, mode := range []struct {
			op, name string
			download func(size int64) error
		}{
			{"download", "plain", place.inOrderPlain},
			{"download", "bulla", place.inOrder},
			{"download-at", "plain", place.downloadPlain},
			{"download-at", "bulla", place.download},
		} {
			b.Run(fmt.Sprintf("op=%s/size=%dMiB/mode=%s", mode.op, size/mib, mode.name), func(b *testing.B) {
				place.prepare(b, size)
				place.store(b)
				measureCPU(b, size, func() error { return mode.download(size) })
			})
		}
	}
}

// What both sides of the comparison use: the defaults of packages s3upload and s3download.
const (
	benchPart       = 8 * mib
	benchParts      = 5 // at a time
	benchWindow     = 8 * mib
	benchWindows    = 4 // at a time
	plainObject     = "plain"
	encryptedObject = "encrypted"
	benchBucket     = "bench"
	benchSegment    = 64 << 10
)

type onlyReader struct{ io.Reader }

// A benchPlace is a server in a process of its own, and what is stored there.
type benchPlace struct {
	client *s3.Client
	key    *keywrap.AESKey
	data   []byte   // the plaintext
	file   *os.File // the same
	stored bool
}

func newBenchPlace(b *testing.B) *benchPlace {
	b.Helper()
	s, err := s3server.StartProcess(context.Background(), &s3server.Options{TLS: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := s.Close(); err != nil {
			b.Error(err)
		}
	})
	p := &benchPlace{client: s.Client()}
	if p.key, err = keywrap.GenerateAESKey("bench"); err != nil {
		b.Fatal(err)
	}
	if _, err := p.client.CreateBucket(b.Context(), &s3.CreateBucketInput{Bucket: aws.String(benchBucket)}); err != nil {
		b.Fatal(err)
	}
	if p.file, err = os.Create(filepath.Join(b.TempDir(), "plaintext")); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.file.Close() })
	return p
}

// prepare makes the plaintext.
func (p *benchPlace) prepare(b *testing.B, size int64) {
	b.Helper()
	if int64(len(p.data)) == size {
		return
	}
	p.data, p.stored = make([]byte, size), false
	rand.NewChaCha8([32]byte{1}).Read(p.data)
	if err := p.file.Truncate(0); err != nil {
		b.Fatal(err)
	}
	if _, err := p.file.WriteAt(p.data, 0); err != nil {
		b.Fatal(err)
	}
}

// store uploads the plaintext, in plain and encrypted.
func (p *benchPlace) store(b *testing.B) {
	b.Helper()
	if p.stored {
		return
	}
	if err := errors.Join(p.uploadPlain(bytes.NewReader(p.data)), p.upload(bytes.NewReader(p.data))); err != nil {
		b.Fatal(err)
	}
	p.stored = true
}

// source returns the plaintext as what can seek in memory, what can seek and is not in memory, or what is read once.
func (p *benchPlace) source(name string) (io.Reader, error) {
	switch name {
	case "memory":
		return bytes.NewReader(p.data), nil
	case "file":
		_, err := p.file.Seek(0, io.SeekStart)
		return p.file, err
	case "stream":
		return onlyReader{bytes.NewReader(p.data)}, nil
	}
	return nil, fmt.Errorf("source %q", name)
}

// measureCPU runs transfer, of size bytes, and reports what it cost this process.
func measureCPU(b *testing.B, size int64, transfer func() error) {
	b.Helper()
	b.ReportAllocs()
	b.SetBytes(size)
	runtime.GC() // what came before is not to be counted
	before, err := measure.CPUTime()
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := transfer(); err != nil {
			b.Fatal(err)
		}
	}
	after, err := measure.CPUTime()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64((after-before).Nanoseconds())/float64(size)/float64(b.N), "cpu-ns/B")
}

func benchPut(key string, body io.Reader) *s3.PutObjectInput {
	return &s3.PutObjectInput{Bucket: aws.String(benchBucket), Key: &key, Body: body}
}

func benchGet(key string) *s3.GetObjectInput {
	return &s3.GetObjectInput{Bucket: aws.String(benchBucket), Key: &key}
}

func (p *benchPlace) upload(body io.Reader) error {
	_, err := s3upload.New(p.client, p.key, &s3upload.Options{PartSize: benchPart, Concurrency: benchParts}).
		Upload(context.Background(), benchPut(encryptedObject, body))
	return err
}

func (p *benchPlace) uploadPlain(body io.Reader) error {
	_, err := manager.NewUploader(p.client, func(u *manager.Uploader) {
		u.PartSize, u.Concurrency = benchPart, benchParts
	}).Upload(context.Background(), benchPut(plainObject, body))
	return err
}

func (p *benchPlace) open() (*s3download.Object, error) {
	return s3download.Open(context.Background(), p.client, benchGet(encryptedObject), p.key,
		&s3download.Options{WindowSize: benchWindow, Concurrency: benchWindows})
}

func (p *benchPlace) inOrder(size int64) error {
	o, err := p.open()
	if err != nil {
		return err
	}
	defer o.Close()
	n, err := o.WriteTo(onlyWriter{io.Discard})
	return whole(n, size, err)
}

func (p *benchPlace) download(size int64) error {
	o, err := p.open()
	if err != nil {
		return err
	}
	defer o.Close()
	return whole(o.Size(), size, o.DownloadTo(context.Background(), discardAt{}))
}

// inOrderPlain makes the requests that Object.WriteTo makes, and holds as much of what comes too early.
func (p *benchPlace) inOrderPlain(size int64) error {
	group, ctx := errgroup.WithContext(context.Background())
	free := make(chan []byte, benchWindows)
	for range benchWindows {
		free <- make([]byte, benchWindow)
	}
	written := int64(0)
	var queue []chan []byte
	write := func() error {
		window, ok := <-queue[0]
		queue = queue[1:]
		if !ok {
			return group.Wait()
		}
		n, err := io.Discard.Write(window)
		free <- window[:benchWindow]
		written += int64(n)
		return err
	}
	for start := int64(0); start < size; start += benchWindow {
		if len(queue) == benchWindows {
			if err := write(); err != nil {
				return err
			}
		}
		window := (<-free)[:min(benchWindow, size-start)]
		done := make(chan []byte, 1)
		queue = append(queue, done)
		group.Go(func() error {
			defer close(done)
			body, err := p.window(ctx, start, int64(len(window)))
			if err != nil {
				return err
			}
			defer body.Close()
			if _, err := io.ReadFull(body, window); err != nil {
				return err
			}
			done <- window
			return nil
		})
	}
	for len(queue) > 0 {
		if err := write(); err != nil {
			return err
		}
	}
	return whole(written, size, nil)
}

// downloadPlain makes the requests that Object.DownloadTo makes, and reads a segment at a time as it does.
func (p *benchPlace) downloadPlain(size int64) error {
	group, ctx := errgroup.WithContext(context.Background())
	group.SetLimit(benchWindows)
	for start := int64(0); start < size; start += benchWindow {
		group.Go(func() error {
			length := min(benchWindow, size-start)
			body, err := p.window(ctx, start, length)
			if err != nil {
				return err
			}
			defer body.Close()
			n, err := io.CopyBuffer(onlyWriter{io.Discard}, body, make([]byte, benchSegment))
			return whole(n, length, err)
		})
	}
	return group.Wait()
}

func (p *benchPlace) window(ctx context.Context, start, length int64) (io.ReadCloser, error) {
	in := benchGet(plainObject)
	in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", start, start+length-1))
	out, err := p.client.GetObject(ctx, in)
	if err != nil {
		return nil, err
	}
	return out.Body, nil
}

func whole(n, size int64, err error) error {
	if err == nil && n != size {
		err = fmt.Errorf("%d bytes of %d", n, size)
	}
	return err
}

type onlyWriter struct{ io.Writer }

type discardAt struct{}

func (discardAt) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }

func (p *benchPlace) uploadInBudget(body io.Reader) error {
	_, err := s3upload.New(p.client, p.key, &s3upload.Options{PartSize: benchPart, Concurrency: benchParts, Budget: benchBudget}).
		Upload(context.Background(), benchPut(encryptedObject, body))
	return err
}

// benchBudget is as much as an upload without one holds.
var benchBudget = s3upload.NewBudget((benchParts + 2) * benchPart)
