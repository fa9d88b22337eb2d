package s3upload

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// A sender uploads what the SDK's uploader cannot: in parts that grow, with the
// header last, within a Budget, and with a journal. It seals each segment as it
// reads it, and keeps it until the store has it.
type sender struct {
	t       *transfer
	sealer  *stream.Sealer
	src     io.Reader // of the plaintext
	ladder  *ladder
	budget  *Budget
	journal *journal             // nil without one
	stored  map[int32]types.Part // what the store has of the journal's upload

	header   []byte // the latest
	declared int64  // plaintext bytes, or format.UnknownSize
	reserve  int64  // buffers for a part that nobody else has the memory of

	count int64 // plaintext bytes read
	index int64 // of the next segment
	taken int64 // buffers in the parts so far

	slots chan struct{} // has one element for each part in flight
	freed chan struct{} // has one after a part's end, until somebody looked
	wg    sync.WaitGroup

	mu       sync.Mutex
	memory   int64 // bytes of the budget that parts have
	inFlight int
	done     []types.CompletedPart
}

// newSender returns what uploads p in sealer's stream.
func (u *Uploader) newSender(ctx context.Context, p *prepared, sealer *stream.Sealer) (*sender, error) {
	s := &sender{
		sealer: sealer, budget: u.options.Budget, declared: format.UnknownSize,
		slots: make(chan struct{}, u.options.Concurrency), freed: make(chan struct{}, 1),
	}
	if p.encrypt.PlaintextSize != nil {
		s.declared = *p.encrypt.PlaintextSize
	}
	var err error
	if s.header, err = sealer.Header(s.declared); err != nil {
		return nil, fmt.Errorf("s3upload: %w", err)
	}
	memory := int64(defaultBudget)
	if s.budget != nil {
		memory = s.budget.size
	}
	if s.ladder, err = newLadder(newGeometry(sealer.Layout()), s.declared, u.options.PartSize, memory, u.maxParts); err != nil {
		return nil, err
	}
	s.reserve = s.ladder.first
	total, err := p.storedSize(sealer.Layout())
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	s.t = &transfer{client: u.client, options: &u.options, in: p.put, ctx: ctx, stop: stop, total: total}
	s.src = newSource(ctx, p.put.Body, p.sums)
	p.put.Body = nil
	if err := s.t.place(s.header); err != nil {
		stop()
		return nil, err
	}
	return s, nil
}

// send runs s.
func (u *Uploader) send(ctx context.Context, s *sender) (*Result, error) {
	if s.budget == nil {
		s.budget = NewBudget(max(defaultBudget, 2*s.least()))
	}
	if least := s.least(); least > s.budget.size {
		return nil, invalid("Options.Budget has %d bytes, this upload takes at least %d", s.budget.size, least)
	}
	etag, version, err := s.run(s.t.ctx)
	if err != nil {
		return nil, s.t.abandon(ctx, err)
	}
	return s.result(etag, version)
}

// result returns what a finished upload is.
func (s *sender) result(etag, version *string) (*Result, error) {
	info, err := stream.Inspect(s.header)
	if err != nil {
		return nil, fmt.Errorf("s3upload: the stream's own header: %w", err)
	}
	res := s.t.result(etag, version)
	res.PlaintextSize, res.Info = s.count, info
	return res, nil
}

// run uploads the object, and returns its ETag and version. When it returns,
// nothing goes on any more.
func (s *sender) run(ctx context.Context) (etag, version *string, err error) {
	if err := s.budget.acquire(ctx, s.least()); err != nil {
		return nil, nil, s.t.fail(err)
	}
	defer s.budget.release(s.least())
	etag, version, err = s.upload(ctx)
	if err != nil {
		s.t.fail(err)
	}
	s.wg.Wait()
	s.budget.release(s.memory) // of parts that were not sent
	return etag, version, err
}

func (s *sender) upload(ctx context.Context) (etag, version *string, err error) {
	first, err := s.next(ctx, 1)
	if err != nil {
		return nil, nil, err
	}
	if s.t.ended && s.t.uploadID == "" {
		return s.put(ctx, first)
	}
	if err := s.begin(ctx); err != nil {
		return nil, nil, err
	}
	p := first
	if s.headerLast() {
		p = nil
	}
	for n := int32(1); ; n++ {
		if p != nil {
			if err := s.send(ctx, p); err != nil {
				return nil, nil, err
			}
		}
		if s.t.ended {
			break
		}
		if p, err = s.next(ctx, n+1); err != nil {
			return nil, nil, err
		}
	}
	if !s.t.options.HeaderInMetadata {
		if err := s.setHeader(); err != nil {
			return nil, nil, err
		}
	}
	if s.headerLast() && first != nil {
		first.front = s.front()
		if err := s.send(ctx, first); err != nil {
			return nil, nil, err
		}
	}
	s.wg.Wait()
	return s.complete(ctx)
}

// headerLast tells whether part 1, which has the header, waits for the size of
// the plaintext.
func (s *sender) headerLast() bool {
	return s.declared == format.UnknownSize && !s.t.options.apart()
}

// front returns what stands in front of segment 0.
func (s *sender) front() []byte { return s.header[:s.ladder.layout.Start()] }

// setHeader makes the header one that says the size of the plaintext, all of
// which was read.
func (s *sender) setHeader() (err error) {
	if s.header, err = s.sealer.Header(s.count); err != nil {
		return err
	}
	return s.t.place(s.header)
}

// put sends an object that one part holds.
func (s *sender) put(ctx context.Context, p *part) (etag, version *string, err error) {
	if err := s.setHeader(); err != nil {
		return nil, nil, err
	}
	p.front = s.front()
	in := *s.t.in
	in.Body = p.body()
	out, err := s.t.PutObject(ctx, &in)
	if err != nil {
		return nil, nil, err
	}
	return out.ETag, out.VersionId, nil
}

// begin creates the multipart upload, unless an earlier run has.
func (s *sender) begin(ctx context.Context) error {
	t := s.t
	if t.uploadID != "" {
		return nil
	}
	if t.in.ChecksumAlgorithm == "" && checksumCalculation(t.client) == aws.RequestChecksumCalculationWhenSupported {
		t.in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32 // what the client sends with a part
	}
	in := new(s3.CreateMultipartUploadInput)
	carry(in, t.in)
	if _, err := t.CreateMultipartUpload(ctx, in); err != nil || s.journal == nil {
		return err
	}
	err := s.journal.begin(heading{
		Bucket: *t.in.Bucket, Key: *t.in.Key, UploadID: t.uploadID, Header: s.header,
		HeaderSuffix: t.options.HeaderSuffix, HeaderInMetadata: t.options.HeaderInMetadata,
		ExpectedBucketOwner: t.in.ExpectedBucketOwner, RequestPayer: t.in.RequestPayer,
	})
	if err == nil {
		t.journal = s.journal.name
	}
	return err
}

// next returns part n, or nil if the store has it.
func (s *sender) next(ctx context.Context, n int32) (*part, error) {
	if s.journal != nil && int(n) <= len(s.journal.parts) {
		return s.again(ctx, n, s.journal.parts[n-1])
	}
	if int64(n) > s.ladder.parts {
		return nil, fmt.Errorf("%w: %d parts hold %d plaintext bytes, and there are more: give the upload a larger Options.Budget, or tell the plaintext's size beforehand",
			stream.ErrTooLarge, s.ladder.parts, s.count)
	}
	p, buffers, err := s.room(ctx, n, s.ladder.buffersOf(n, s.taken))
	if err != nil {
		return nil, err
	}
	record, err := s.fill(ctx, p, buffers)
	if err == nil && s.journal != nil {
		err = s.journal.add(record)
	}
	if err != nil {
		s.drop(p)
		return nil, err
	}
	return p, nil
}

// send sends a part as soon as it may. Part 1 then has its header.
func (s *sender) send(ctx context.Context, p *part) error {
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	s.inFlight++
	s.mu.Unlock()
	s.wg.Go(func() {
		defer func() { <-s.slots }()
		in := &s3.UploadPartInput{UploadId: &s.t.uploadID, PartNumber: &p.number}
		carry(in, s.t.in)
		in.Body = p.body()
		out, err := s.t.UploadPart(ctx, in)
		s.drop(p)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.inFlight--
		if err == nil { // or else it has failed the transfer
			completed := types.CompletedPart{PartNumber: &p.number}
			carry(&completed, out)
			s.done = append(s.done, completed)
		}
		select {
		case s.freed <- struct{}{}:
		default:
		}
	})
	return nil
}

// complete makes the object visible.
func (s *sender) complete(ctx context.Context) (etag, version *string, err error) {
	slices.SortFunc(s.done, func(a, b types.CompletedPart) int { return cmp.Compare(*a.PartNumber, *b.PartNumber) })
	in := &s3.CompleteMultipartUploadInput{UploadId: &s.t.uploadID, MultipartUpload: &types.CompletedMultipartUpload{Parts: s.done}}
	carry(in, s.t.in)
	out, err := s.t.CompleteMultipartUpload(ctx, in)
	if err != nil {
		return nil, nil, err
	}
	return out.ETag, out.VersionId, nil
}
