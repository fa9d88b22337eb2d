package s3upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

var errCall = errors.New("the call fails")

// sourceSegment is large, so that a source is read a few times only.
const sourceSegment = 1 << 20

func faultOptions(concurrency int) *Options {
	o := &Options{
		PartSize: minPartSize, Concurrency: concurrency, Encrypt: &stream.EncryptOptions{SegmentSize: sourceSegment},
		AbortTimeout: 3 * time.Second, // a shorter pause after an abort
	}
	if withBudget {
		o.Budget = NewBudget(64 << 20)
	}
	return o
}

// withBudget and asPipe are for all that faultOptions and putInput make:
// TestSenderFaults runs the sweeps again with them.
var withBudget, asPipe bool

// TestSenderFaults runs the sweeps over faults with the uploads that do without
// the SDK's uploader, of known and of unknown size.
func TestSenderFaults(t *testing.T) {
	withBudget = true
	defer func() { withBudget, asPipe = false, false }()
	ways := []bool{true, false}
	if testing.Short() {
		ways = ways[:1]
	}
	for _, asPipe = range ways {
		for name, sweep := range map[string]func(*testing.T){
			"calls": TestCallFaults, "source": TestSourceFaults, "source stops": TestFailureStopsSource, "cancel": TestCancel,
			"cancel in source": TestCancelInSource, "hang": TestCallsThatHang, "part after abort": TestPartAfterAbort,
		} {
			t.Run(fmt.Sprintf("%s/pipe %v", name, asPipe), sweep)
		}
	}
}

// uploadFails runs an upload that fails, and returns its error.
func uploadFails(t *testing.T, ctx context.Context, f *fake, o *Options, in *s3.PutObjectInput) *UploadError {
	t.Helper()
	res, err := New(f, testKey, o).Upload(ctx, in)
	if err == nil || res != nil {
		t.Fatalf("the upload succeeded: %+v after %v", res, f.calls)
	}
	if o != nil && o.Budget != nil {
		o.Budget.whole(t)
	}
	e, ok := errors.AsType[*UploadError](err)
	if !ok || e.Bucket != "bucket" || e.Key != "dir/key" {
		t.Fatalf("error %T: %v", err, err)
	}
	if began := len(f.uploads) > 0 || f.count(opAbort) > 0; began != (e.UploadID != "") {
		t.Errorf("upload id %q after %v", e.UploadID, f.calls)
	}
	return e
}

// TestCallFaults lets the k-th request fail, for every k.
func TestCallFaults(t *testing.T) {
	for _, c := range []struct{ size, calls int }{{1000, 1}, {minPartSize, 4}, {3*minPartSize + 1000, 6}} {
		for _, concurrency := range []int{1, 3} {
			for k := 1; k <= c.calls+1; k++ {
				t.Run(fmt.Sprintf("%d/%d/%d", c.size, concurrency, k), func(t *testing.T) {
					f := newFake()
					var failed string
					f.before = func(_ context.Context, call int, op string) error {
						if call == k {
							failed = op
							return errCall
						}
						return nil
					}
					in := putInput(bytes.NewReader(pattern(c.size)))
					if k > c.calls { // the fault is not reached: the calls are as many as expected
						if _, err := New(f, testKey, faultOptions(concurrency)).Upload(t.Context(), in); err != nil || len(f.calls) != c.calls {
							t.Fatalf("%v after %v", err, f.calls)
						}
						f.decrypts(t, pattern(c.size), nil)
						return
					}
					e := uploadFails(t, t.Context(), f, faultOptions(concurrency), in)
					if !errors.Is(e, errCall) || e.AbortErr != nil {
						t.Errorf("error %v", e)
					}
					if e.MayBeStored != (failed == opPut || failed == opComplete) {
						t.Errorf("MayBeStored is %v after %s", e.MayBeStored, failed)
					}
					f.empty(t)
				})
			}
		}
	}
}

// faultySource fails at the k-th read of it, from 1.
type faultySource struct {
	io.Reader
	k     int
	fault func(r io.Reader, p []byte) (int, error)
}

func (s *faultySource) Read(p []byte) (int, error) {
	if s.k--; s.k == 0 {
		return s.fault(s.Reader, p)
	}
	return s.Reader.Read(p)
}

// TestSourceFaults lets the k-th read of the source fail, for every k, and in
// several ways.
func TestSourceFaults(t *testing.T) {
	errSource := errors.New("the source fails")
	fail := func(err error) func(io.Reader, []byte) (int, error) {
		return func(io.Reader, []byte) (int, error) { return 0, err }
	}
	for _, c := range []struct {
		name     string
		declared bool
		fault    func(io.Reader, []byte) (int, error)
		want     error
	}{
		{"error", false, fail(errSource), errSource},
		{"error with data", false, func(r io.Reader, p []byte) (int, error) {
			n, _ := r.Read(p)
			return n, errSource
		}, errSource},
		{"cut body", false, fail(io.ErrUnexpectedEOF), io.ErrUnexpectedEOF},
		{"no progress", false, nil, io.ErrNoProgress},
		{"early end", true, fail(io.EOF), stream.ErrSizeMismatch},
		{"too much", true, func(r io.Reader, p []byte) (int, error) {
			return len(p), nil
		}, stream.ErrSizeMismatch},
	} {
		for _, size := range []int{0, 1000, minPartSize + 1000} {
			reads := size/sourceSegment + 1
			for k := 1; k <= reads; k++ {
				t.Run(fmt.Sprintf("%s/%d/%d", c.name, size, k), func(t *testing.T) {
					src := &faultySource{Reader: bytes.NewReader(pattern(size)), k: k, fault: c.fault}
					if c.fault == nil {
						src.Reader = &stuck{src.Reader, k}
						src.k = -1
					}
					in := putInput(src)
					if c.declared {
						in.ContentLength = new(int64(size))
						if c.name == "early end" && size == 0 {
							in.ContentLength = new(int64(1))
						}
					}
					f := newFake()
					e := uploadFails(t, t.Context(), f, faultOptions(2), in)
					if !errors.Is(e, c.want) || e.AbortErr != nil || e.MayBeStored {
						t.Errorf("error %v, expected %v", e, c.want)
					}
					if f.count(opPut)+f.count(opComplete) != 0 {
						t.Errorf("calls %v", f.calls)
					}
					f.empty(t)
				})
			}
		}
	}
}

// stuck gives nothing from its k-th read on.
type stuck struct {
	io.Reader
	k int
}

func (s *stuck) Read(p []byte) (int, error) {
	if s.k--; s.k <= 0 {
		return 0, nil
	}
	return s.Reader.Read(p)
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestFailureStopsSource checks that a source that never ends is not read on
// after a part failed: the next part would take as long as it takes to fill.
func TestFailureStopsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.before = func(_ context.Context, _ int, op string) error {
			if op == opPart {
				return errCall
			}
			return nil
		}
		read, sent := 0, minPartSize
		if withBudget { // the first part to be sent is part 2
			sent = 2 * minPartSize
		}
		src := readerFunc(func(p []byte) (int, error) {
			if read += len(p); read > sent+sourceSegment { // in the middle of the part after it
				synctest.Wait() // until the first has failed
			}
			return len(p), nil
		})
		if e := uploadFails(t, t.Context(), f, faultOptions(1), putInput(src)); !errors.Is(e, errCall) {
			t.Errorf("error %v", e)
		}
		if read > sent+3*sourceSegment {
			t.Errorf("%d bytes were read of the source", read)
		}
		f.empty(t)
	})
}

// TestCancel cancels the context in the middle of the k-th request, for every k.
func TestCancel(t *testing.T) {
	const size, calls = 2*minPartSize + 1000, 5
	for k := 1; k <= calls; k++ {
		f := newFake()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var during string
		f.before = func(_ context.Context, call int, op string) error {
			if call == k {
				during = op
				cancel()
			}
			return nil
		}
		in := putInput(bytes.NewReader(pattern(size)))
		if k == calls { // the request to complete is carried out
			res, err := New(f, testKey, faultOptions(1)).Upload(ctx, in)
			if err != nil || during != opComplete || res.Parts != 3 {
				t.Fatalf("cancelled during %s: %+v, %v", during, res, err)
			}
			f.decrypts(t, pattern(size), nil)
			continue
		}
		e := uploadFails(t, ctx, f, faultOptions(1), in)
		if !errors.Is(e, context.Canceled) || e.AbortErr != nil || e.MayBeStored || e.UploadID == "" {
			t.Errorf("cancelled during %s: %v", during, e)
		}
		f.empty(t)
	}
	// In one request, and before any.
	f := newFake()
	ctx, cancel := context.WithCancel(t.Context())
	f.before = func(context.Context, int, string) error { cancel(); return nil }
	if e := uploadFails(t, ctx, f, nil, putInput(strings.NewReader("text"))); !errors.Is(e, context.Canceled) || !e.MayBeStored {
		t.Errorf("cancelled during PutObject: %v", e)
	}
	f.empty(t)
	f = newFake()
	if e := uploadFails(t, ctx, f, nil, putInput(strings.NewReader("text"))); !errors.Is(e, context.Canceled) || e.MayBeStored || len(f.calls) != 0 {
		t.Errorf("cancelled before: %v after %v", e, f.calls)
	}
}

// TestCancelInSource cancels the context in the k-th read of the source.
func TestCancelInSource(t *testing.T) {
	const size = 2*minPartSize + 1000
	for k := 1; k <= size/sourceSegment+1; k++ {
		ctx, cancel := context.WithCancel(t.Context())
		src := &faultySource{Reader: bytes.NewReader(pattern(size)), k: k, fault: func(r io.Reader, p []byte) (int, error) {
			cancel()
			return r.Read(p)
		}}
		f := newFake()
		e := uploadFails(t, ctx, f, faultOptions(1), putInput(src))
		if !errors.Is(e, context.Canceled) || e.AbortErr != nil || e.MayBeStored {
			t.Errorf("cancelled in read %d: %v", k, e)
		}
		f.empty(t)
	}
}

// TestCallsThatHang has requests that end only with their context.
func TestCallsThatHang(t *testing.T) {
	for _, hanging := range []string{opCreate, opPart, opComplete, opAbort} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			f.before = func(ctx context.Context, _ int, op string) error {
				if op == hanging || op == opPart && hanging == opAbort {
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			o := faultOptions(2)
			o.AbortTimeout = time.Minute
			start := time.Now()
			e := uploadFails(t, ctx, f, o, putInput(bytes.NewReader(pattern(2*minPartSize))))
			want := map[string]time.Duration{opCreate: time.Hour + time.Minute, opPart: time.Hour + o.AbortTimeout/abortPause, opComplete: time.Hour + time.Minute + o.AbortTimeout/abortPause, opAbort: time.Hour + time.Minute}[hanging]
			if took := time.Since(start); took != want {
				t.Errorf("%s hangs: took %v, expected %v", hanging, took, want)
			}
			if hanging == opAbort {
				if e.AbortErr == nil || !strings.Contains(e.Error(), e.UploadID) || len(f.uploads) != 1 {
					t.Errorf("abort hangs: %v", e)
				}
				return
			}
			if e.AbortErr != nil || e.MayBeStored != (hanging == opComplete) || (e.UploadID == "") != (hanging == opCreate) {
				t.Errorf("%s hangs: %+v", hanging, e)
			}
			f.empty(t)
		})
	}
}

// TestPartAfterAbort has a store that finishes a part after the upload was
// aborted, so that the upload is there again.
func TestPartAfterAbort(t *testing.T) {
	for late := range maxAborts + 1 {
		synctest.Test(t, func(t *testing.T) {
			f := newFake()
			left := late
			f.before = func(_ context.Context, _ int, op string) error {
				if op == opComplete {
					return errCall
				}
				return nil
			}
			f.after = func(_ context.Context, _ int, op string) error {
				if op == opAbort && left > 0 {
					left--
					f.uploads["upload-1"] = map[int32][]byte{1: {}}
				}
				return nil
			}
			e := uploadFails(t, t.Context(), f, faultOptions(2), putInput(bytes.NewReader(pattern(2*minPartSize))))
			if e.AbortErr != nil || e.UploadID != "upload-1" {
				t.Errorf("%d late parts: %+v", late, e)
			}
			if want := min(late+2, maxAborts); f.count(opAbort) != want {
				t.Errorf("%d late parts: aborted %d times, expected %d", late, f.count(opAbort), want)
			}
			if late < maxAborts {
				f.empty(t)
			}
		})
	}
}

// TestAbortFails checks that both errors are told, and what to do.
func TestAbortFails(t *testing.T) {
	errAbort := errors.New("access denied to abort")
	f := newFake()
	f.before = func(_ context.Context, k int, op string) error {
		switch {
		case op == opAbort:
			return errAbort
		case k == 3:
			return errCall
		}
		return nil
	}
	e := uploadFails(t, t.Context(), f, faultOptions(1), putInput(bytes.NewReader(pattern(3*minPartSize))))
	if !errors.Is(e, errCall) || e.AbortErr != errAbort {
		t.Errorf("error %+v", e)
	}
	for _, says := range []string{"s3://bucket/dir/key", errCall.Error(), errAbort.Error(), `abort the multipart upload "` + e.UploadID + `"`} {
		if !strings.Contains(e.Error(), says) {
			t.Errorf("%q does not say %q", e, says)
		}
	}
	if _, ok := f.uploads[e.UploadID]; !ok || len(f.objects) != 0 {
		t.Errorf("upload %q is not the one that is left", e.UploadID)
	}
}

// TestAbortLooksInVain lets the abort succeed and each look whether that lasts
// fail: the upload is aborted all the same.
func TestAbortLooksInVain(t *testing.T) {
	f := newFake()
	f.before = func(_ context.Context, k int, op string) error {
		if op == opAbort && f.count(opAbort) > 1 || k == 3 {
			return errCall
		}
		return nil
	}
	e := uploadFails(t, t.Context(), f, faultOptions(1), putInput(bytes.NewReader(pattern(3*minPartSize))))
	if !errors.Is(e, errCall) || e.AbortErr != nil || f.count(opAbort) != maxAborts {
		t.Errorf("%+v after %v", e, f.calls)
	}
	f.empty(t)
}

// TestAbortOfNothing checks that an upload that is already gone is no failure
// of the abort.
func TestAbortOfNothing(t *testing.T) {
	f := newFake()
	f.before = func(_ context.Context, _ int, op string) error {
		if op == opPart {
			clear(f.uploads)
		}
		return nil
	}
	e := uploadFails(t, t.Context(), f, faultOptions(1), putInput(bytes.NewReader(pattern(2*minPartSize))))
	if !errors.Is(e, errNoSuchUpload) || e.AbortErr != nil {
		t.Errorf("error %+v", e)
	}
}

// TestLostAnswers has requests that are carried out and whose answer is lost:
// what is visible is whole, and the error says that it may be there.
func TestLostAnswers(t *testing.T) {
	for _, size := range []int{1000, 2 * minPartSize} {
		for k := 1; k <= 5; k++ {
			f := newFake()
			var lost string
			f.after = func(_ context.Context, call int, op string) error {
				if call == k {
					lost = op
					return errCall
				}
				return nil
			}
			_, err := New(f, testKey, faultOptions(1)).Upload(t.Context(), putInput(bytes.NewReader(pattern(size))))
			if lost == "" {
				continue
			}
			e, ok := errors.AsType[*UploadError](err)
			if !ok || !errors.Is(err, errCall) {
				t.Fatalf("%s lost: %v", lost, err)
			}
			switch lost {
			case opPut, opComplete:
				if !e.MayBeStored || !strings.Contains(e.Error(), "check whether the object is stored") || e.AbortErr != nil {
					t.Errorf("%s lost: %+v", lost, e)
				}
				f.calls = nil
				f.decrypts(t, pattern(size), nil)
			case opCreate: // nobody knows the id
				if e.MayBeStored || e.UploadID != "" || len(f.objects) != 0 {
					t.Errorf("%s lost: %+v", lost, e)
				}
			default:
				if e.MayBeStored || e.AbortErr != nil {
					t.Errorf("%s lost: %+v", lost, e)
				}
				f.empty(t)
			}
		}
	}
}

// answer is an error of S3's with an HTTP status.
func answer(status int, code string) error {
	return &smithy.OperationError{Err: &smithyhttp.ResponseError{
		Response: &smithyhttp.Response{Response: &http.Response{StatusCode: status}},
		Err:      &smithy.GenericAPIError{Code: code},
	}}
}

// TestMayBeStored checks which answers to the final request settle it.
func TestMayBeStored(t *testing.T) {
	for _, c := range []struct {
		err  error
		want bool
	}{
		{answer(412, "PreconditionFailed"), false},
		{answer(403, "AccessDenied"), false},
		{answer(404, "NoSuchBucket"), false},
		{answerTo("attempt=1; max=3", 412, "PreconditionFailed"), false},
		{answerTo("attempt=2; max=3", 412, "PreconditionFailed"), true},
		{answerTo("attempt=2; max=3", 403, "ExpiredToken"), true},
		{answer(404, "NoSuchUpload"), true},
		{answer(500, "InternalError"), true},
		{answer(503, "SlowDown"), true},
		{io.ErrUnexpectedEOF, true},
	} {
		for _, size := range []int{1000, 2 * minPartSize} {
			f := newFake()
			f.before = func(_ context.Context, _ int, op string) error {
				if op == opPut || op == opComplete {
					return c.err
				}
				return nil
			}
			e := uploadFails(t, t.Context(), f, faultOptions(1), putInput(bytes.NewReader(pattern(size))))
			if e.MayBeStored != c.want || !errors.Is(e, c.err) {
				t.Errorf("%v: %+v", c.err, e)
			}
			f.empty(t)
		}
	}
}

// noID answers CreateMultipartUpload without an upload id.
type noID struct{ *fake }

func (c noID) CreateMultipartUpload(context.Context, *s3.CreateMultipartUploadInput, ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error) {
	return &s3.CreateMultipartUploadOutput{}, nil
}

func TestNoUploadID(t *testing.T) {
	f := newFake()
	_, err := New(noID{f}, testKey, faultOptions(1)).Upload(t.Context(), putInput(bytes.NewReader(pattern(2*minPartSize))))
	if err == nil || !strings.Contains(err.Error(), "no upload id") {
		t.Errorf("error %v", err)
	}
	if len(f.calls) != 0 {
		t.Errorf("calls %v", f.calls)
	}
}

// TestCompleteOfLess checks the guard in front of the final requests: it holds
// even if the SDK's uploader should lose a part or stop before the end.
func TestCompleteOfLess(t *testing.T) {
	ended := transfer{produced: 10, ended: true, total: 10}
	for _, c := range []struct {
		size int64
		t    *transfer
		want error
	}{
		{10, &transfer{produced: 10, ended: true}, nil},
		{9, &transfer{produced: 10, ended: true}, stream.ErrSizeMismatch},
		{10, &transfer{produced: 10, total: format.UnknownSize}, stream.ErrSizeMismatch},
		{10, &transfer{produced: 10, ended: true, err: errCall}, errCall},
	} {
		if err := c.t.complete(t.Context(), c.size); !errors.Is(err, c.want) || c.t.completing != (c.want == nil) {
			t.Errorf("complete(%d) of %+v: %v", c.size, c.t, err)
		}
	}
	f := newFake()
	ended.client, ended.options, ended.stop, ended.sent = f, &Options{}, func() {}, 9
	if _, err := ended.CompleteMultipartUpload(t.Context(), &s3.CompleteMultipartUploadInput{}); !errors.Is(err, stream.ErrSizeMismatch) || len(f.calls) != 0 {
		t.Errorf("%v after %v", err, f.calls)
	}
}
