package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/stream"
)

// large is more than one window of a reader, so that several requests are made.
const large = 12*mib + 5

// segment sizes and the header size of the defaults.
const (
	segment       = 64 << 10
	storedSegment = segment + 28
	header        = 4096
)

// ways are the ways to read a whole object. Each returns how much of the text came, all of it right.
var ways = map[string]func(context.Context, *s3download.Object) (int64, error){
	"WriteTo": func(_ context.Context, o *s3download.Object) (int64, error) {
		check := text(large).CheckFrom(0)
		_, err := o.WriteTo(check)
		return check.Offset(), err
	},
	"Read": func(_ context.Context, o *s3download.Object) (int64, error) {
		check := text(large).CheckFrom(0)
		_, err := io.Copy(check, struct{ io.Reader }{o})
		return check.Offset(), err
	},
	"ReadAt": func(_ context.Context, o *s3download.Object) (int64, error) {
		check := text(large).CheckFrom(0)
		_, err := io.CopyBuffer(check, struct{ io.Reader }{io.NewSectionReader(o, 0, o.Size())}, make([]byte, 3*mib))
		return check.Offset(), err
	},
	"DownloadTo": func(ctx context.Context, o *s3download.Object) (int64, error) {
		if err := o.DownloadTo(ctx, checkAt{}); err != nil {
			return 0, err
		}
		return large, nil
	},
}

// checkAt is an io.WriterAt that compares what it is given with the text.
type checkAt struct{}

func (checkAt) WriteAt(p []byte, off int64) (int, error) { return text(large).CheckFrom(off).Write(p) }

// readEachWay reads the object "key" in each way, each time through a new proxy with the given rules.
func readEachWay(t *testing.T, p *place, rules []faultproxy.Rule, o *s3download.Options, check func(t *testing.T, n int64, err error)) {
	for name, read := range ways {
		t.Run(name, func(t *testing.T) {
			p.connect(t)
			p.proxy.Add(rules...)
			object, err := s3download.Open(t.Context(), p.client, p.get("key"), p.keys, o)
			if err != nil {
				t.Fatalf("open: %v", err)
			}
			defer object.Close()
			n, err := read(t.Context(), object)
			check(t, n, err)
		})
	}
}

// Faults that pass: every byte comes.
func TestDownloadOutlivesPassingFaults(t *testing.T) {
	get := func(nth int, f faultproxy.Fault) faultproxy.Rule {
		return faultproxy.Rule{Op: faultproxy.GetObject, Nth: nth, Fault: f}
	}
	for name, rules := range map[string][]faultproxy.Rule{
		"503 on the first request":  {get(1, faultproxy.Error(503, "SlowDown"))},
		"500 twice":                 {get(2, faultproxy.Error(500, "InternalError")), get(3, faultproxy.Error(500, "InternalError"))},
		"reset":                     {get(2, faultproxy.Reset())},
		"answer lost":               {get(2, faultproxy.ResetAfter())},
		"cut before the first byte": {get(2, faultproxy.CutBody(0))},
		"cut in the header":         {get(1, faultproxy.CutBody(100))},
		"cut in a segment":          {get(2, faultproxy.CutBody(storedSegment+1000))},
		"cut at a segment's edge":   {get(2, faultproxy.CutBody(storedSegment))},
		"cut again and again":       {get(2, faultproxy.CutBody(10_000)), get(3, faultproxy.CutBody(20_000)), get(4, faultproxy.CutBody(storedSegment)), get(5, faultproxy.CutBody(1))},
		"slow":                      {get(2, faultproxy.Slow(256<<10, time.Millisecond))},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of the time goes into the pauses before retries
			p := newPlace(t)
			p.store(t, "key", large, parts5)
			readEachWay(t, p, rules, nil, func(t *testing.T, n int64, err error) {
				if err != nil || n != large {
					t.Errorf("%d of %d bytes, %v", n, large, err)
				}
				faults := 0
				for _, q := range p.proxy.Log() {
					if q.Fault != "" {
						faults++
					}
				}
				if faults != len(rules) {
					t.Errorf("%d faults happened, want %d", faults, len(rules))
				}
			})
		})
	}
}

// Faults that stay are what they are: a store that fails is not a stream that is wrong.
func TestDownloadFails(t *testing.T) {
	p := newPlace(t)
	p.store(t, "key", large, parts5)
	for _, tc := range []struct {
		name  string
		fault faultproxy.Fault
		is    func(error) bool
	}{
		{"503", faultproxy.Error(503, "SlowDown"), hasCode("SlowDown")},
		{"403", faultproxy.Error(403, "AccessDenied"), hasCode("AccessDenied")},
		{"404", faultproxy.Error(404, "NoSuchKey"), has[*types.NoSuchKey]},
		{"archived", faultproxy.Error(403, "InvalidObjectState"), has[*types.InvalidObjectState]},
		{"cut", faultproxy.CutBody(1000), is(io.ErrUnexpectedEOF)},
		{"412", faultproxy.Error(412, "PreconditionFailed"), is(s3download.ErrChanged)},
		{"another ETag", faultproxy.Header("ETag", `"0123456789abcdef0123456789abcdef"`), is(s3download.ErrChanged)},
		{"no ETag", faultproxy.Header("ETag", ""), is(s3download.ErrChanged)},
		{"another size", faultproxy.Header("Content-Range", fmt.Sprintf("bytes %d-%d/%d", header+storedSegment, header+2*storedSegment-1, 1<<40)), is(s3download.ErrAnswer, s3download.ErrChanged)},
		{"less than was asked for", faultproxy.ShortBody(5000), is(s3download.ErrAnswer)},
		{"more than was asked for", faultproxy.LongBody(5000), is(s3download.ErrAnswer)},
		{"another range", faultproxy.Header("Content-Range", "bytes 0-99/100"), is(s3download.ErrAnswer)},
		{"no range", faultproxy.Header("Content-Range", ""), is(s3download.ErrAnswer)},
		{"a range that is none", faultproxy.Header("Content-Range", "bytes here and there"), is(s3download.ErrAnswer)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			// The first request is the one of Open. All after it fail, and so do their retries.
			rules := []faultproxy.Rule{
				{Op: faultproxy.GetObject, Nth: 1, Fault: faultproxy.Before(func(faultproxy.Request) {})},
				{Op: faultproxy.GetObject, Fault: tc.fault},
			}
			readEachWay(t, p, rules, &s3download.Options{Retries: 1}, func(t *testing.T, n int64, err error) {
				if !tc.is(err) {
					t.Errorf("error %v (%T)", err, err)
				}
				if errors.Is(err, stream.ErrAuth) || errors.Is(err, stream.ErrTruncated) {
					t.Errorf("a store that fails is not a stream that is wrong: %v", err)
				}
				if n >= large {
					t.Errorf("all %d bytes came", n)
				}
			})
		})
	}
}

// is finds any of the given errors.
func is(want ...error) func(error) bool {
	return func(err error) bool {
		for _, w := range want {
			if errors.Is(err, w) {
				return true
			}
		}
		return false
	}
}

// Faults of Open.
func TestOpenFails(t *testing.T) {
	p := newPlace(t)
	p.store(t, "key", small, nil)
	stranger := server.Client(func(o *s3.Options) { o.Credentials = server.Stranger() })
	for _, tc := range []struct {
		name   string
		client *s3.Client
		in     *s3.GetObjectInput
		is     func(error) bool
	}{
		{"missing key", p.direct, p.get("none"), has[*types.NoSuchKey]},
		{"wrong bucket", p.direct, &s3.GetObjectInput{Bucket: aws.String("no-such-bucket"), Key: aws.String("key")}, hasCode("NoSuchBucket")},
		{"no permission", stranger, p.get("key"), hasCode("AccessDenied")},
		{"If-Match of another object", p.direct, &s3.GetObjectInput{Bucket: &p.bucket, Key: aws.String("key"), IfMatch: aws.String(`"0"`)}, is(s3download.ErrChanged)},
	} {
		object, err := s3download.Open(t.Context(), tc.client, tc.in, p.keys, nil)
		if err == nil {
			object.Close()
		}
		if !tc.is(err) || errors.Is(err, stream.ErrAuth) {
			t.Errorf("%s: %v (%T)", tc.name, err, err)
		}
	}
	if calls := p.kms.Calls(); len(calls) != 1 { // that of store
		t.Errorf("%d calls of the key service", len(calls))
	}
}

// An object that is replaced while it is read: an error, never a mixture.
func TestReplacedWhileReading(t *testing.T) {
	for name, read := range ways {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			p.store(t, "key", large, parts5)
			p.proxy.Add(faultproxy.Rule{Op: faultproxy.GetObject, Nth: 2, Fault: faultproxy.Before(func(faultproxy.Request) {
				p.store(t, "key", large, parts5) // the same plaintext, other stored bytes
			})})
			object, err := s3download.Open(t.Context(), p.client, p.get("key"), p.keys, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer object.Close()
			if _, err := read(t.Context(), object); !errors.Is(err, s3download.ErrChanged) || errors.Is(err, stream.ErrAuth) {
				t.Errorf("%v, want ErrChanged", err)
			}
		})
	}
}

// Where the bucket keeps versions, the reader goes on with the one it opened.
func TestReplacedWhileReadingInAVersionedBucket(t *testing.T) {
	for name, read := range ways {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			if _, err := p.direct.PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{
				Bucket: &p.bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
			}); err != nil {
				t.Fatal(err)
			}
			res := p.store(t, "key", large, parts5)
			if res.VersionID == "" {
				t.Error("the upload's result has no version")
			}
			p.proxy.Add(faultproxy.Rule{Op: faultproxy.GetObject, Nth: 2, Fault: faultproxy.Before(func(faultproxy.Request) {
				p.store(t, "key", small, nil)
			})})
			object, err := s3download.Open(t.Context(), p.client, p.get("key"), p.keys, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer object.Close()
			if n, err := read(t.Context(), object); err != nil || n != large {
				t.Errorf("%d of %d bytes, %v", n, large, err)
			}
		})
	}
}

// Close, and the context of DownloadTo, end requests that wait.
func TestDownloadCancelled(t *testing.T) {
	p := newPlace(t)
	p.store(t, "key", large, parts5)
	for name, read := range ways {
		for _, by := range []string{"Close", "context"} {
			if by == "context" && name != "DownloadTo" {
				continue // the others have none
			}
			t.Run(name+", "+by, func(t *testing.T) {
				hold := faultproxy.NewHold()
				t.Cleanup(hold.Release)
				p.connect(t)
				object, err := s3download.Open(t.Context(), p.client, p.get("key"), p.keys, nil)
				if err != nil {
					t.Fatal(err)
				}
				defer object.Close()
				p.proxy.Add(faultproxy.Rule{Op: faultproxy.GetObject, Nth: 2, Fault: hold.Fault()})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				go func() {
					<-hold.Reached()
					if by == "Close" {
						object.Close()
					} else {
						cancel()
					}
				}()
				want := stream.ErrClosed
				if by == "context" {
					want = context.Canceled
				}
				if _, err := read(ctx, object); !errors.Is(err, want) {
					t.Errorf("%v, want %v", err, want)
				}
			})
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s3download.Open(ctx, p.client, p.get("key"), p.keys, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v, want context.Canceled", err)
	}
}

// An object bound to its location opens nowhere else.
func TestLocation(t *testing.T) {
	p := newPlace(t)
	bound := *parts5
	bound.BindLocation = true
	p.store(t, "key", small, &bound)
	if err := os.WriteFile(server.PathOnDisk(p.bucket, "elsewhere"), p.stored(t, "key"), 0o600); err != nil {
		t.Fatal(err)
	}
	readAllWays(t, p.open(t, "key", nil), small)
	object, err := s3download.Open(t.Context(), p.client, p.get("elsewhere"), p.keys, nil)
	if err == nil {
		object.Close()
	}
	if !errors.Is(err, stream.ErrPolicy) {
		t.Errorf("found elsewhere: %v, want ErrPolicy", err)
	}
	readAllWays(t, p.open(t, "elsewhere", &s3download.Options{Decrypt: &stream.DecryptOptions{IgnoreLocation: true}}), small)
}
