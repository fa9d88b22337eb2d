package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// readSize is the plaintext of the objects that are read, in segments of readSegment.
const (
	readSize    = 300_001
	readSegment = 4096
	readWindow  = 64 << 10
)

// A reading is the deed of reading an object.
type reading struct {
	name   string
	object string // where the header is
	suffix string // Options.HeaderSuffix
	tls    bool
	open   func(ctx context.Context, s *stage, o *s3download.Options) (*s3download.Object, error)
	read   func(ctx context.Context, o *s3download.Object) error
	kinds  map[string]int
}

// The objects that are read; their keys say where the header is.
const (
	inObject   = "key"
	noSize     = "key-of-no-declared-size"
	inMetadata = "key-with-metadata"
	inPair     = "key-of-a-pair"
)

func downloadDeeds(t *testing.T) (deeds []*deed) {
	bucket := readBucket(t)
	const (
		start  = string(faultproxy.GetObject) + " from the start"
		get    = string(faultproxy.GetObject)
		header = string(faultproxy.GetObject) + " of a header"
	)
	for _, r := range []*reading{
		{name: "read a range", object: inObject, read: middle, kinds: map[string]int{start: 1, get: 1}},
		{name: "read where no size is declared", object: noSize, read: middle, kinds: map[string]int{start: 1, get: 2}},
		{name: "read with the header in the metadata", object: inMetadata, read: middle, kinds: map[string]int{start: 1}},
		{name: "read a pair", object: inPair, read: middle, kinds: map[string]int{start: 1, header: 1}},
		{name: "read an expected pair", object: inPair, suffix: s3upload.DefaultHeaderSuffix, read: middle, kinds: map[string]int{start: 1, header: 1}},
		{name: "read ranges", object: inObject, read: ranges, kinds: map[string]int{get: 3}},
		{name: "read in order", object: inObject, read: inOrder, kinds: map[string]int{get: 5}},
		{name: "read with WriteTo", object: inObject, read: writeTo, kinds: map[string]int{get: 5}},
		{name: "read with DownloadTo", object: inObject, read: downloadTo, kinds: map[string]int{get: 5}},
		{name: "read over TLS", object: inPair, tls: true, read: inOrder, kinds: map[string]int{start: 1, header: 1}},
		{name: "read by URL", object: inObject, open: openURL, read: inOrder, kinds: map[string]int{start: 1, get: 5}},
	} {
		deeds = append(deeds, &deed{name: r.name, verb: reads, tls: r.tls, kinds: r.kinds, bucket: func(*testing.T) string { return bucket }, do: r.do, check: r.check})
	}
	return deeds
}

// readBucket creates the bucket of all readings, with the objects that they read.
func readBucket(t *testing.T) string {
	t.Helper()
	s := &stage{place: place{bucket: "faults-" + strings.ToLower(rand.Text()), direct: server.Client()}}
	s.create(t)
	keys, err := faultKey()
	if err != nil {
		t.Fatal(err)
	}
	encrypt := &stream.EncryptOptions{SegmentSize: readSegment}
	for key, o := range map[string]s3upload.Options{
		inObject: {}, inMetadata: {HeaderInMetadata: true}, inPair: {HeaderSuffix: s3upload.DefaultHeaderSuffix},
	} {
		o.Encrypt = encrypt
		if _, err := s3upload.New(s.direct, keys, &o).Upload(t.Context(), s.put(key, text(readSize).Reader())); err != nil {
			t.Fatal(err)
		}
	}
	r, err := stream.NewEncryptReader(t.Context(), struct{ io.Reader }{text(readSize).Reader()}, keys, encrypt)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stored, err := io.ReadAll(r)
	if err == nil {
		_, err = s.direct.PutObject(t.Context(), s.put(noSize, bytes.NewReader(stored)))
	}
	if err != nil {
		t.Fatal(err)
	}
	return s.bucket
}

func (r *reading) do(ctx context.Context, s *stage) (err error) {
	o := &s3download.Options{
		HeaderSuffix: r.suffix,
		Prefetch:     s3download.Range{Offset: 1}, // none
		WindowSize:   readWindow, Concurrency: 2,
		Retries: 2, StallTimeout: s.stall,
	}
	if r.open != nil {
		s.object, err = r.open(ctx, s, o)
	} else {
		s.object, err = s3download.Open(ctx, s.client, s.get(r.object), s.keys, o)
	}
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { s.object.Close() })() // what hangs is ended
	return r.read(ctx, s.object)
}

// openURL opens the object by a presigned URL.
func openURL(ctx context.Context, s *stage, o *s3download.Options) (*s3download.Object, error) {
	signed, err := s3.NewPresignClient(s.client).PresignGetObject(ctx, s.get(inObject))
	if err != nil {
		return nil, err
	}
	return s3download.OpenURL(ctx, s.client.Options().HTTPClient.(*http.Client), signed.URL, s.keys, o)
}

// readAt reads n bytes and compares them.
func readAt(o *s3download.Object, off, n int64) error {
	p := make([]byte, n)
	got, err := o.ReadAt(p, off)
	_, diff := text(readSize).CheckFrom(off).Write(p[:got])
	return errors.Join(diff, err)
}

func middle(_ context.Context, o *s3download.Object) error { return readAt(o, readSize/2, 10_000) }

func ranges(_ context.Context, o *s3download.Object) error {
	for _, off := range []int64{200_000, 50_000, 120_000} {
		if err := readAt(o, off, 10_000); err != nil {
			return err
		}
	}
	return nil
}

func inOrder(_ context.Context, o *s3download.Object) error {
	return allOf(func(w io.Writer) error { _, err := io.Copy(w, struct{ io.Reader }{o}); return err })
}

func writeTo(_ context.Context, o *s3download.Object) error {
	return allOf(func(w io.Writer) error { _, err := o.WriteTo(w); return err })
}

// allOf compares what copying writes with the text: without an error it is all of it, else a beginning.
func allOf(copying func(io.Writer) error) error {
	check := text(readSize).CheckFrom(0)
	if err := copying(check); err != nil {
		return err
	}
	if check.Offset() != readSize {
		return errors.New("not all of the plaintext came, without an error")
	}
	return nil
}

func downloadTo(ctx context.Context, o *s3download.Object) error {
	written := &countAt{}
	if err := o.DownloadTo(ctx, written); err != nil {
		return err
	}
	if n := written.n.Load(); n != readSize {
		return errors.New("not all of the plaintext came, without an error")
	}
	return nil
}

// countAt compares what is written to it with the text, and counts it.
type countAt struct{ n atomic.Int64 }

func (c *countAt) WriteAt(p []byte, off int64) (int, error) {
	n, err := text(readSize).CheckFrom(off).Write(p)
	c.n.Add(int64(n))
	return n, err
}

func (r *reading) check(t *testing.T, s *stage, c *trial, err error) string {
	noWrongBytes(t, err)
	want := succeeds
	if c != nil {
		want = r.want(c)
	}
	outcome := outcomeOf(err)
	switch {
	case want == succeeds && err != nil:
		t.Errorf("the fault passes, and is an error: %v", err)
	case want == fails && err == nil:
		t.Error("the fault was not noticed")
	case err != nil && !c.fault.typed(c, err):
		t.Errorf("the error does not tell what failed: %v", err)
	case outcome == "":
		t.Errorf("not a typed error: %v", err)
	}
	if s.object == nil {
		return outcome
	}
	defer s.object.Close()
	// When the faults are over, the same Object reads on, unless what it learnt was wrong.
	s.proxy.Reset()
	again := readAt(s.object, 0, readSize)
	noWrongBytes(t, again)
	lasting := errors.Is(err, stream.ErrAuth) || errors.Is(err, s3download.ErrChanged)
	if again != nil && !(lasting && outcomeOf(again) == outcome) {
		t.Errorf("without faults: %v", again)
	}
	if errors.Is(err, stream.ErrAuth) && again == nil {
		t.Error("an object that was not authentic is read on")
	}
	return outcome
}

// want is what has to become of the reading. It is not always what becomes of other deeds.
func (r *reading) want(c *trial) expectation {
	if c.fault.name == "stale ETag" && c.beside() {
		return succeeds // a header object is asked for once
	}
	return c.fault.want(c)
}
