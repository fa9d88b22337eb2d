package s3upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/s3header"
	"github.com/bulla-format/bulla/stream"
)

// sent returns the part numbers of a fake's UploadPart requests, in their order.
func sent(f *fake) (numbers []int32) {
	for _, in := range f.inputs {
		if p, ok := in.(*s3.UploadPartInput); ok {
			numbers = append(numbers, *p.PartNumber)
		}
	}
	return numbers
}

// whole fails the test unless nobody has anything of the budget.
func (b *Budget) whole(t *testing.T) {
	t.Helper()
	if !b.tryAcquire(b.size) {
		t.Error("not all of the budget was given back")
		return
	}
	b.release(b.size)
}

// TestSenderSizes uploads sizes around the edges of segments, buffers and parts,
// of known and unknown size, in segments of several sizes. The header says the
// size, whether it was known or not.
func TestSenderSizes(t *testing.T) {
	const mib = 1 << 20
	segments := []int{4 << 10, 64 << 10, mib, 4 * mib}
	if testing.Short() {
		segments = segments[1:2]
	}
	for _, segment := range segments {
		for _, size := range []int{0, 1, segment - 1, segment, segment + 1, 5*mib - 1, 5 * mib, 5*mib + 1, 10*mib + segment, 20 * mib, 8*minPartSize - 1} {
			for _, known := range []bool{false, true} {
				f := newFake()
				in := putInput(bytes.NewReader(pattern(size)))
				if !known {
					in.Body = iotest.DataErrReader(plainReader{in.Body})
				}
				var progress []Progress
				budget := NewBudget(64 << 20)
				res, err := New(f, testKey, &Options{
					Encrypt: &stream.EncryptOptions{SegmentSize: segment}, PartSize: minPartSize, Concurrency: 1, Budget: budget,
					Progress: func(p Progress) { progress = append(progress, p) },
				}).Upload(t.Context(), in)
				budget.whole(t)
				if err != nil {
					t.Fatalf("%d bytes in segments of %d, known %v: %v", size, segment, known, err)
				}
				info := f.decrypts(t, pattern(size), nil)
				if info.PlaintextSize != int64(size) || res.PlaintextSize != int64(size) || res.Info.PlaintextSize != int64(size) {
					t.Fatalf("%d bytes, known %v: the header says %d, the result %d and %d", size, known, info.PlaintextSize, res.PlaintextSize, res.Info.PlaintextSize)
				}
				stored := int64(len(f.objects["bucket/dir/key"]))
				last := progress[len(progress)-1]
				if res.StoredSize != stored || last != (Progress{stored, stored, res.Parts}) || res.Parts != max(1, f.count(opPart)) || (res.UploadID == "") != (f.count(opPart) == 0) {
					t.Errorf("%d bytes: %+v after %+v and %v", size, res, last, f.calls)
				}
				if numbers := sent(f); len(numbers) > 0 && (numbers[0] == 1) != known && len(numbers) > 1 || !known && len(numbers) > 0 && numbers[len(numbers)-1] != 1 {
					t.Errorf("%d bytes, known %v: parts were sent in the order %v", size, known, numbers)
				}
			}
		}
	}
}

// TestSenderPlaces has the header in each of its places. Where it is not in the
// object, no part waits for it; in the metadata it cannot know the size.
func TestSenderPlaces(t *testing.T) {
	for _, size := range []int{1000, 12 << 20} {
		for _, known := range []bool{false, true} {
			for _, o := range []*Options{{HeaderSuffix: DefaultHeaderSuffix}, {HeaderInMetadata: true}} {
				f := newPairFake(false)
				in := putInput(bytes.NewReader(pattern(size)))
				if !known {
					in.Body = plainReader{in.Body}
				}
				o.Budget, o.PartSize, o.Concurrency = NewBudget(32<<20), minPartSize, 1
				res, err := New(f, testKey, o).Upload(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				header := f.objects[headerName]
				if o.HeaderInMetadata {
					var metadata map[string]string
					for _, in := range f.inputs {
						switch in := in.(type) {
						case *s3.CreateMultipartUploadInput:
							metadata = in.Metadata
						case *s3.PutObjectInput:
							metadata = in.Metadata
						}
					}
					if header, err = s3header.Decode(metadata[headerMetadata]); err != nil {
						t.Fatal(err)
					}
				}
				info := f.decrypts(t, pattern(size), &stream.DecryptOptions{DetachedHeader: header})
				want := int64(size)
				if !known && o.HeaderInMetadata && size > 1000 {
					want = format.UnknownSize
				}
				if info.PlaintextSize != want || res.Info.PlaintextSize != want || res.PlaintextSize != int64(size) {
					t.Errorf("%d bytes, known %v, %+v: the header says %d", size, known, o, info.PlaintextSize)
				}
				if numbers := sent(f.fake); size > 1000 && fmt.Sprint(numbers) != "[1 2 3]" {
					t.Errorf("parts were sent in the order %v", numbers)
				}
			}
		}
	}
}

// TestSenderGrows uploads a pipe by the ladder: 5, 10, 20 MiB.
func TestSenderGrows(t *testing.T) {
	f := newFake()
	sizes := map[int32]int64{}
	f.before = func(_ context.Context, k int, op string) error {
		if p, ok := f.inputs[k-1].(*s3.UploadPartInput); ok {
			sizes[*p.PartNumber], _ = bodySize(p.Body)
		}
		return nil
	}
	plaintext := pattern(8*minPartSize - 7)
	res, err := New(f, testKey, &Options{Budget: NewBudget(80 << 20), Concurrency: 1}).Upload(t.Context(), putInput(plainReader{bytes.NewReader(plaintext)}))
	if err != nil {
		t.Fatal(err)
	}
	f.decrypts(t, plaintext, nil)
	const buffer = 1<<20 + 16*format.SegmentOverhead
	if res.Parts != 3 || sizes[1] != 8*buffer+format.DefaultHeaderSize || sizes[2] != 16*buffer || sizes[3] != 16*buffer-7 {
		t.Errorf("%d parts of %v bytes", res.Parts, sizes)
	}
}

// TestSenderTooLarge has more plaintext than the parts hold.
func TestSenderTooLarge(t *testing.T) {
	f := newFake()
	u := New(f, testKey, &Options{Budget: NewBudget(16 << 20)})
	u.maxParts = 3
	_, err := u.Upload(t.Context(), putInput(plainReader{bytes.NewReader(pattern(21 << 20))}))
	if !errors.Is(err, stream.ErrTooLarge) || !strings.Contains(err.Error(), "Options.Budget") {
		t.Errorf("error %v", err)
	}
	f.empty(t)
	f = newFake()
	u.client = f
	if _, err := u.Upload(t.Context(), putInput(plainReader{bytes.NewReader(pattern(21<<20 - 1))})); err != nil {
		t.Fatal(err)
	}
	f.decrypts(t, pattern(21<<20-1), nil)
}

// TestSenderTooMuch has a source that does not end where it was declared to: it
// is not read on.
func TestSenderTooMuch(t *testing.T) {
	read := 0
	in := putInput(readerFunc(func(p []byte) (int, error) {
		read += len(p)
		return len(p), nil
	}))
	in.ContentLength = new(int64(100))
	f := newFake()
	e := uploadFails(t, t.Context(), f, &Options{Budget: NewBudget(16 << 20)}, in)
	if !errors.Is(e, stream.ErrSizeMismatch) || read > 64<<10 || len(f.calls) > 0 {
		t.Errorf("%v after %d bytes and %v", e, read, f.calls)
	}
}

// TestSenderTooLittle has one that ends before: no object appears, wherever its
// header is.
func TestSenderTooLittle(t *testing.T) {
	for _, size := range []int{99, 12 << 20} {
		for _, o := range []*Options{{}, {HeaderInMetadata: true}, {HeaderSuffix: DefaultHeaderSuffix}} {
			in := putInput(plainReader{bytes.NewReader(pattern(size))})
			in.ContentLength = new(int64(size + 1))
			f := newPairFake(false)
			o.Budget = NewBudget(16 << 20)
			if _, err := New(f, testKey, o).Upload(t.Context(), in); !errors.Is(err, stream.ErrSizeMismatch) {
				t.Errorf("%d bytes: %v", size, err)
			}
			f.empty(t)
		}
	}
}

// TestBudgetTooSmall refuses what could never begin.
func TestBudgetTooSmall(t *testing.T) {
	for _, body := range []io.Reader{strings.NewReader("text"), plainReader{strings.NewReader("text")}} {
		f := newFake()
		_, err := New(f, testKey, &Options{Budget: NewBudget(4 << 20)}).Upload(t.Context(), putInput(body))
		if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "Options.Budget") || len(f.calls) > 0 {
			t.Errorf("error %v after %v", err, f.calls)
		}
	}
}

// TestBudgetShared has uploads of all kinds share budgets that not all of them
// fit into at a time: each gets on, and the memory in use stays within.
func TestBudgetShared(t *testing.T) {
	budgets := []int64{17 << 20, 24 << 20, 40 << 20, 200 << 20}
	uploads := 8
	if testing.Short() {
		budgets, uploads = budgets[:1], 4
	}
	for _, size := range budgets {
		b := NewBudget(size)
		f := newFake()
		var most int64
		f.before = func(context.Context, int, string) error {
			for n := size; ; n -= 1 << 18 { // what is free is what can be had
				if n <= 0 || b.used.TryAcquire(n) {
					f.mu.Lock()
					most = max(most, size-n)
					f.mu.Unlock()
					if n > 0 {
						b.used.Release(n)
					}
					return nil
				}
			}
		}
		var wg sync.WaitGroup
		for i := range uploads {
			wg.Go(func() {
				in := putInput(bytes.NewReader(pattern(8*minPartSize - i)))
				in.Key = aws.String(fmt.Sprint("key-", i))
				o := &Options{Budget: b, Concurrency: 3}
				switch i % 4 {
				case 0:
					in.Body = plainReader{in.Body}
				case 1:
					o.PartSize = minPartSize
				case 2:
					in.Body, o.PartSize = plainReader{in.Body}, minPartSize
				}
				res, err := New(f, testKey, o).Upload(t.Context(), in)
				if err != nil || res.PlaintextSize != int64(8*minPartSize-i) {
					t.Errorf("upload %d: %+v, %v", i, res, err)
				}
			})
		}
		wg.Wait()
		if len(f.objects) != uploads || len(f.uploads) != 0 {
			t.Errorf("%d objects, %d uploads", len(f.objects), len(f.uploads))
		}
		b.whole(t)
		held := int64(0)
		for _, buf := range b.free {
			held += int64(len(buf))
		}
		if held > size || held < size/4 {
			t.Errorf("buffers of %d bytes were allocated, the budget has %d", held, size)
		}
		t.Logf("%d MiB: %d MiB at most were in use", size>>20, most>>20)
	}
}

// TestBudgetWaits cancels uploads that wait for memory, before they begin and in
// the middle.
func TestBudgetWaits(t *testing.T) {
	b := NewBudget(20 << 20)
	if !b.tryAcquire(15 << 20) {
		t.Fatal("the budget is not free")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := newFake()
	if _, err := New(f, testKey, &Options{Budget: b}).Upload(ctx, putInput(strings.NewReader("text"))); !errors.Is(err, context.Canceled) || len(f.calls) > 0 {
		t.Errorf("%v after %v", err, f.calls)
	}
	b.release(15 << 20)

	ctx, cancel = context.WithCancel(t.Context())
	f.before = func(ctx context.Context, _ int, op string) error {
		if op == opPart { // the part's memory comes back only when the context has ended
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	e := uploadFails(t, ctx, f, &Options{Budget: b, AbortTimeout: 1e9}, putInput(bytes.NewReader(pattern(8*minPartSize))))
	if !errors.Is(e, context.Canceled) {
		t.Error(e)
	}
	f.empty(t)
	b.whole(t)
}

// TestSenderMemory measures what is reachable while parts are in flight, of a
// pipe whose parts grow.
func TestSenderMemory(t *testing.T) {
	const budget = 32 << 20
	f, most := newWeighed()
	if _, err := New(f, testKey, &Options{Budget: NewBudget(budget)}).Upload(t.Context(), putInput(io.LimitReader(zeros{}, 200<<20))); err != nil {
		t.Fatal(err)
	}
	if *most > budget+1<<20 || *most < budget/2 {
		t.Errorf("%d bytes were reachable, the budget has %d", *most, budget)
	}
}

// countingLimiter grants everything, up to a burst, and counts.
type countingLimiter struct {
	mu    sync.Mutex
	burst int
	total int64
	fails error
}

func (l *countingLimiter) Burst() int { return l.burst }

func (l *countingLimiter) WaitN(_ context.Context, n int) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n > l.burst {
		return fmt.Errorf("%d bytes at once, the burst is %d", n, l.burst)
	}
	l.total += int64(n)
	return l.fails
}

// TestLimiter asks a limiter about every byte that is sent, in each way.
func TestLimiter(t *testing.T) {
	for _, size := range []int{10, 3 * minPartSize} {
		for _, budget := range []*Budget{nil, NewBudget(64 << 20)} {
			l := &countingLimiter{burst: 1000}
			f := newFake()
			o := &Options{PartSize: minPartSize, Budget: budget, Limiter: l}
			res, err := New(f, testKey, o).Upload(t.Context(), putInput(bytes.NewReader(pattern(size))))
			if err != nil || l.total != res.StoredSize {
				t.Errorf("%d bytes were asked for, %+v, %v", l.total, res, err)
			}
			l.fails = errors.New("the limiter fails")
			f = newFake()
			if e := uploadFails(t, t.Context(), f, o, putInput(bytes.NewReader(pattern(size)))); !errors.Is(e, l.fails) {
				t.Error(e)
			}
			f.empty(t)
		}
	}
}

// TestPartBody reads and seeks a body of several pieces, empty ones too, as a
// bytes.Reader of the same bytes does.
func TestPartBody(t *testing.T) {
	whole := pattern(1000)
	p := &part{front: whole[:7], pieces: [][]byte{whole[7:8], whole[8:500], whole[500:]}}
	if err := iotest.TestReader(p.body(), whole); err != nil {
		t.Error(err)
	}
	b := p.body()
	for at := range int64(len(whole) + 1) {
		if n, err := b.Seek(at, io.SeekStart); n != at || err != nil {
			t.Fatal(n, err)
		}
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, whole[at:]) {
			t.Fatalf("from %d: %d bytes, %v", at, len(got), err)
		}
	}
	if _, err := b.Seek(-1, io.SeekStart); err == nil {
		t.Error("sought to before the part")
	}
	if _, err := b.Seek(1, io.SeekEnd); err == nil {
		t.Error("sought to behind the part")
	}
}

// TestBodiesEnd has a client that goes on reading a body when its request has
// ended: it gets nothing of what is in that memory then.
func TestBodiesEnd(t *testing.T) {
	for _, o := range []*Options{{PartSize: minPartSize}, {Budget: NewBudget(16 << 20)}} {
		for _, size := range []int{100, 2 * minPartSize} {
			for _, failing := range []bool{false, true} {
				f := newFake()
				var bodies []io.Reader
				f.before = func(_ context.Context, k int, _ string) error {
					f.mu.Lock()
					defer f.mu.Unlock()
					switch in := f.inputs[k-1].(type) {
					case *s3.PutObjectInput:
						bodies = append(bodies, in.Body)
					case *s3.UploadPartInput:
						bodies = append(bodies, in.Body)
					default:
						return nil
					}
					bodies[len(bodies)-1].(io.Seeker).Seek(0, io.SeekStart)
					if failing {
						return errCall
					}
					return nil
				}
				if _, err := New(f, testKey, o).Upload(t.Context(), putInput(bytes.NewReader(pattern(size)))); (err != nil) != failing {
					t.Fatal(err)
				}
				if len(bodies) == 0 {
					t.Fatal("no body was sent")
				}
				for _, body := range bodies {
					if n, err := body.Read(make([]byte, 10)); n != 0 || err != errRequestEnded {
						t.Errorf("%d bytes after the end of the request: %v", n, err)
					}
					if _, err := body.(io.Seeker).Seek(0, io.SeekStart); err != errRequestEnded {
						t.Errorf("sought after the end of the request: %v", err)
					}
				}
			}
		}
	}
}
