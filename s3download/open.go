package s3download

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// maxGap is how many stored bytes between the header and the wanted range are
// fetched along, to save a request: a segment of the default size.
const maxGap = 1<<format.DefaultSegmentExp + format.SegmentOverhead

// An Object is the plaintext of one version of an encrypted object. ReadAt,
// DownloadTo, Size, Info and Stats are safe for concurrent use; Read, Seek and
// WriteTo are not, for they share an offset. Close may come at any time.
//
// A segment that is not authentic fails an Object for good: no more segments
// are opened. Other errors may pass, and a call that failed can be made again.
type Object struct {
	source  *source
	stream  *stream.DecryptReaderAt
	layout  format.Layout
	options Options
	cache   *cache
	pace    pace            // of ReadAt
	stored  *buffers        // for segments as they are stored
	ctx     context.Context // of requests after Open; Close cancels it
	cancel  context.CancelCauseFunc

	mu    sync.Mutex
	calls sync.WaitGroup // uses of the network; Add only under mu

	sequence sync.Mutex // Close may come during Read
	offset   int64      // of Read, Seek and WriteTo
	ahead    *run       // where Read is
	window   int64      // plaintext bytes that ahead was made for
	after    int64      // the segment behind the one that Read used last
	ended    bool       // the final segment has been opened
}

// Open asks client for the header of the encrypted object that in names, and
// at the same time for Options.Prefetch, in one request if they are close
// together, else in two. It authenticates the header, unwrapping the data key
// with keys, and proves the plaintext's size (SPEC §9.1, §9.3); a header that
// does not declare the size costs a request for the final segment.
//
// A header that is not in the object is the one that Options.Decrypt gives, else
// the one in the object's user metadata, else the one in the object beside it,
// which costs another request, at the same time if Options.HeaderSuffix is set.
//
// The fields of in go into every request, but Range and PartNumber, which must
// be nil. Open neither changes nor keeps in. ctx governs Open alone: later
// requests end with Close. Its values are kept.
//
// Errors: format.ErrNotStream, also for an empty object; those of
// [stream.NewDecryptReaderAt], of which stream.ErrAuth may mean a header of
// another payload; [ErrNoHeader], [ErrChanged], [ErrAnswer], [ErrStalled];
// those of the SDK.
func Open(ctx context.Context, client Client, in *s3.GetObjectInput, keys keywrap.Unwrapper, o *Options) (*Object, error) {
	options, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	src, err := newSource(client, in, &options)
	if err != nil {
		return nil, err
	}
	header, wanted, err := options.guess()
	if err != nil {
		return nil, err
	}
	beside, err := src.headerObject(ctx, &options)
	if err != nil {
		return nil, err
	}
	defer beside.stop()
	if options.HeaderSuffix != "" && options.Decrypt.DetachedHeader == nil {
		beside.begin()
	}
	fetched, err := src.open(ctx, header, wanted)
	if err != nil {
		return nil, src.explain(err)
	}
	decrypt := *options.Decrypt
	if decrypt.Location == "" {
		decrypt.Location = src.location
	}
	front := fetched[0].data
	var found []byte
	if decrypt.DetachedHeader == nil {
		if found, err = src.findHeader(front, beside); err != nil {
			return nil, src.named(err)
		}
		decrypt.DetachedHeader = found
	}
	opening := &opening{ctx: ctx, source: src, extents: fetched}
	r, err := stream.NewDecryptReaderAt(ctx, opening, src.size, keys, &decrypt)
	if opening.err != nil {
		return nil, opening.err
	}
	if err != nil {
		return nil, src.named(mixed(err, front, found))
	}
	object := &Object{source: src, stream: r, layout: r.Info().Layout, options: options}
	object.ended = r.Info().PlaintextSize == format.UnknownSize
	object.ctx, object.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	object.cache = newCache(options.CacheSize, object.layout.SegmentSize(), object.plainSize(0))
	object.stored = newBuffers(options.Concurrency, object.plainSize(0)+format.SegmentOverhead)
	if err := object.keep(opening.extents); err != nil {
		object.Close()
		return nil, src.named(err)
	}
	return object, nil
}

// open fetches the header and the wanted range and pins the source.
func (s *source) open(ctx context.Context, header, wanted extent) ([]extent, error) {
	if wanted.start < wanted.end && wanted.start-header.end <= maxGap {
		header.end = max(header.end, wanted.end)
		wanted = extent{}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var second *answer
	var data []byte
	var wg sync.WaitGroup
	if wanted.start < wanted.end {
		wg.Go(func() { second, data, _ = s.front(ctx, wanted.start, wanted.end) })
	}
	var first *answer
	var front []byte
	err := s.retry(ctx, func() (err error) {
		first, front, err = s.front(ctx, header.start, header.end)
		return err
	})
	if err != nil {
		cancel()
	}
	wg.Wait()
	switch {
	case status(err) == http.StatusRequestedRangeNotSatisfiable:
		return nil, fmt.Errorf("%w: the object is empty: %w", format.ErrNotStream, err)
	case err != nil:
		return nil, err
	case first.total == 0:
		return nil, fmt.Errorf("%w: the object is empty", format.ErrNotStream)
	}
	s.pin(first)
	extents := []extent{{first.start, first.end, front}}
	// A second request that failed is nothing lost: the range may not exist,
	// and if it does, it is asked for again when it is needed.
	if second != nil {
		if err := s.check(second); err != nil {
			return nil, err
		}
		extents = append(extents, extent{second.start, second.end, data})
	}
	return extents, nil
}

// front returns the stored bytes start to end-1 of an object that is not yet
// pinned, or what of them there is.
func (s *source) front(ctx context.Context, start, end int64) (*answer, []byte, error) {
	a, err := s.request(ctx, start, end, s.in.VersionId)
	if err != nil {
		return nil, nil, err
	}
	data, err := a.all()
	if err != nil {
		return nil, nil, err
	}
	return a, data, nil
}

// An extent is a half-open range of stored bytes, and what stands there once
// it was fetched.
type extent struct {
	start, end int64
	data       []byte
}

// An opening is the io.ReaderAt from which an object is opened. It keeps what
// was fetched.
type opening struct {
	ctx     context.Context
	source  *source
	extents []extent
	err     error // of the source, as the caller is to see it
}

func (o *opening) ReadAt(p []byte, off int64) (int, error) {
	if off >= o.source.size {
		return 0, io.EOF
	}
	end := min(off+int64(len(p)), o.source.size)
	for _, e := range o.extents {
		if e.start <= off && end <= e.end {
			return readResult(copy(p, e.data[off-e.start:end-e.start]), len(p))
		}
	}
	data, err := o.source.fetch(o.ctx, off, end)
	if err != nil {
		o.err = o.source.explain(err)
		return 0, o.err
	}
	o.extents = append(o.extents, extent{off, end, data})
	return readResult(copy(p, data), len(p))
}

func readResult(n, asked int) (int, error) {
	if n < asked {
		return n, io.EOF
	}
	return n, nil
}

// keep opens the segments that were fetched whole, into the cache. The wanted
// ones come after those that were merely needed, so that they stay in it.
func (o *Object) keep(extents []extent) error {
	for _, e := range slices.Backward(extents) {
		stored := int64(o.layout.StoredSegmentSize())
		first := max(0, e.start-o.layout.Start()+stored-1) / stored
		for index := first; index <= o.final(); index++ {
			start, end := o.layout.StoredRange(index, index+1, o.Size())
			if start < e.start || end > e.end {
				break
			}
			plain, err := o.stream.OpenSegment(o.cache.buffers.get(), e.data[start-e.start:end-e.start], index)
			if err != nil {
				return err
			}
			o.cache.put(index, plain)
			o.ended = o.ended || index == o.final()
		}
	}
	return nil
}

// Size returns the plaintext size in bytes. It is authenticated.
func (o *Object) Size() int64 { return o.stream.Size() }

// Info returns what the authenticated header says.
func (o *Object) Info() stream.Info { return o.stream.Info() }

// Stats count what an Object has asked of the store.
type Stats struct {
	Requests int64 // calls of the Client, whatever became of them
	Bytes    int64 // of the bodies, as far as they were read
}

// Stats returns the counts up to now.
func (o *Object) Stats() Stats {
	return Stats{o.source.requests.Load(), o.source.bytes.Load()}
}

// Close cancels the requests that are under way, waits for their end, and
// clears the plaintext that was kept. Calls that were under way, and later
// ones, return stream.ErrClosed. It always returns nil.
func (o *Object) Close() error {
	o.mu.Lock()
	o.cancel(stream.ErrClosed)
	o.mu.Unlock()
	o.calls.Wait()
	o.sequence.Lock()
	defer o.sequence.Unlock()
	o.leave()
	o.cache.close()
	return o.stream.Close()
}

// begin keeps Close waiting until calls.Done.
func (o *Object) begin() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if err := o.check(); err != nil {
		return err
	}
	o.calls.Add(1)
	return nil
}

// check returns stream.ErrClosed after Close.
func (o *Object) check() error { return context.Cause(o.ctx) }

// final returns the index of the final segment.
func (o *Object) final() int64 { return o.layout.FinalSegment(o.Size()) }

// plainSize returns the plaintext bytes of segment index.
func (o *Object) plainSize(index int64) int {
	segment := int64(o.layout.SegmentSize())
	return int(min(segment, o.Size()-index*segment))
}
