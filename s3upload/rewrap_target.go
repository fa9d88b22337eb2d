package s3upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// What one request can copy, in bytes.
const (
	maxCopySize = int64(5 << 30) // S3's limit, for CopyObject and for a part
	minCopyPart = int64(1 << 30) // less only to be the final part: five at a time are faster than one of 5 GiB
)

// A rewrite makes an object of front and of what is in src from the offset on.
// An object that it replaces is src itself.
type rewrite struct {
	src        *stored
	front      []byte
	from       int64
	properties *s3.CreateMultipartUploadInput // of the new object, and where it will be
	replaces   bool                           // src; otherwise the new object must not exist yet
	options    *RewrapOptions
}

// rewrite returns what copies s to a place, or rewrites it where it is.
func (s *stored) rewrite(ctx context.Context, bucket, key string, o *RewrapOptions) (*rewrite, error) {
	replaces := bucket == *s.in.Bucket && key == *s.in.Key
	p, err := s.properties(ctx, replaces)
	if err != nil {
		return nil, err
	}
	w := &rewrite{src: s, properties: p, replaces: replaces, options: o}
	if bucket != *s.in.Bucket {
		p.ExpectedBucketOwner = nil // who that is of the other bucket, Change can say
	}
	p.Bucket, p.Key = &bucket, &key
	if o.Change != nil {
		o.Change(p)
	}
	if p.ChecksumAlgorithm == "" && checksumCalculation(s.client) == aws.RequestChecksumCalculationWhenSupported {
		p.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32 // what the client sends with a part
	}
	return w, nil
}

// replaceHeader makes the new object one with another header. The error is
// stream.ErrTooLarge.
func (w *rewrite) replaceHeader(h *header, replacement []byte) (err error) {
	if h.size > 0 {
		w.front, w.from = replacement, h.size
		return nil
	}
	w.properties.Metadata, err = withHeader(w.properties.Metadata, replacement)
	return err
}

// size returns the size of the new object.
func (w *rewrite) size() int64 { return int64(len(w.front)) + w.src.size - w.from }

// run writes the new object, and says in result what has become of it.
func (w *rewrite) run(ctx context.Context, result *RewrapResult) error {
	p := w.properties
	if !w.replaces {
		switch now, same, err := w.standing(ctx); {
		case same:
			*result = RewrapResult{Unchanged: true, Key: *p.Key, ETag: now.etag, VersionID: now.version, StoredSize: now.size, Info: result.Info}
			return nil
		case err == nil || errors.Is(err, format.ErrNotStream):
			return fmt.Errorf("s3upload: s3://%.64s/%.1024s: %w", *p.Bucket, *p.Key, ErrExists)
		case statusOf(err) != http.StatusNotFound && !unreadable(err): // who may only write, writes under the condition
			return err
		}
	}
	outer := ctx
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	t := &transfer{
		client: w.src.client, ctx: ctx, stop: stop, total: w.size(), produced: w.size(), ended: true,
		options: &Options{Progress: w.options.Progress, AbortTimeout: w.options.AbortTimeout},
		in:      &s3.PutObjectInput{Bucket: p.Bucket, Key: p.Key, ExpectedBucketOwner: p.ExpectedBucketOwner, RequestPayer: p.RequestPayer},
	}
	write := w.multipart
	switch {
	case len(w.front) == 0 && w.size() <= maxCopySize:
		write = w.copy
	case len(w.front) > 0 && min(w.size(), w.src.size) <= minPartSize:
		write = w.put
	}
	etag, version, err := write(ctx, t)
	if err != nil {
		if etag, version, err = w.settle(outer, t, err); err != nil {
			return t.abandon(outer, err)
		}
	}
	result.Key, result.ETag, result.VersionID = *p.Key, aws.ToString(etag), aws.ToString(version)
	result.UploadID, result.StoredSize = t.uploadID, w.size()
	return nil
}

// conditions returns the values of If-Match and If-None-Match of the request
// that makes the new object visible.
func (w *rewrite) conditions() (ifMatch, ifNoneMatch *string) {
	if w.replaces {
		return &w.src.etag, nil
	}
	return nil, aws.String("*")
}

// put sends the new object in one request.
func (w *rewrite) put(ctx context.Context, t *transfer) (etag, version *string, err error) {
	rest, err := w.src.read(ctx, w.from, w.src.size)
	if err != nil {
		return nil, nil, t.fail(err)
	}
	in := &s3.PutObjectInput{Body: bytes.NewReader(append(bytes.Clone(w.front), rest...))}
	carry(in, w.properties)
	in.IfMatch, in.IfNoneMatch = w.conditions()
	out, err := t.PutObject(ctx, in)
	if err != nil {
		return nil, nil, err
	}
	return out.ETag, out.VersionId, nil
}

// copy lets the store copy src as a whole.
func (w *rewrite) copy(ctx context.Context, t *transfer) (etag, version *string, err error) {
	in := &s3.CopyObjectInput{
		CopySource: w.src.copySource(), CopySourceIfMatch: &w.src.etag,
		MetadataDirective: types.MetadataDirectiveReplace, TaggingDirective: types.TaggingDirectiveReplace,
		CopySourceSSECustomerAlgorithm: w.src.in.SSECustomerAlgorithm, CopySourceSSECustomerKey: w.src.in.SSECustomerKey,
		CopySourceSSECustomerKeyMD5: w.src.in.SSECustomerKeyMD5, ExpectedSourceBucketOwner: w.src.in.ExpectedBucketOwner,
	}
	carry(in, w.properties)
	in.IfMatch, in.IfNoneMatch = w.conditions()
	if err = t.complete(ctx, w.size()); err != nil {
		return nil, nil, t.fail(err)
	}
	late, done := outlive(ctx, w.options.AbortTimeout)
	defer done()
	out, err := w.src.client.CopyObject(late, in)
	if err != nil {
		return nil, nil, t.fail(fmt.Errorf("copying the object: %w", err))
	}
	t.acknowledge(w.size())
	if out.CopyObjectResult != nil {
		etag = out.CopyObjectResult.ETag
	}
	return etag, out.VersionId, nil
}

// multipart sends the front with as much of src as a part must have, and lets
// the store copy the rest.
func (w *rewrite) multipart(ctx context.Context, t *transfer) (etag, version *string, err error) {
	plan, err := planCopies(w.from, w.src.size, int64(len(w.front)))
	if err != nil {
		return nil, nil, t.fail(err)
	}
	if _, err := t.CreateMultipartUpload(ctx, w.properties); err != nil {
		t.err = advise(err, writePermissions)
		return nil, nil, t.err
	}
	parts := make([]types.CompletedPart, plan.parts())
	var wg sync.WaitGroup
	var next atomic.Int32
	for range min(w.options.Concurrency, len(parts)) {
		wg.Go(func() {
			for number := next.Add(1); int(number) <= len(parts) && ctx.Err() == nil; number = next.Add(1) {
				parts[number-1].PartNumber = &number
				w.part(ctx, t, plan, &parts[number-1]) // a failure ends ctx
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return nil, nil, t.fail(err)
	}
	if w.replaces { // for stores that ignore If-Match
		if _, err := w.src.head(ctx, true); err != nil {
			return nil, nil, t.fail(err)
		}
	}
	in := &s3.CompleteMultipartUploadInput{
		UploadId: &t.uploadID, MpuObjectSize: new(w.size()), MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	}
	carry(in, w.properties)
	in.IfMatch, in.IfNoneMatch = w.conditions()
	out, err := t.CompleteMultipartUpload(ctx, in)
	if err != nil {
		return nil, nil, err
	}
	return out.ETag, out.VersionId, nil
}

// part sends the part or lets the store copy it.
func (w *rewrite) part(ctx context.Context, t *transfer, plan *copyPlan, part *types.CompletedPart) error {
	if *part.PartNumber == 1 && plan.first > 0 {
		return w.sendPart(ctx, t, plan.first, part)
	}
	return w.copyPart(ctx, t, plan, part)
}

// sendPart sends part 1: the front, and what follows it up to end in src.
func (w *rewrite) sendPart(ctx context.Context, t *transfer, end int64, part *types.CompletedPart) error {
	rest, err := w.src.read(ctx, w.from, end)
	if err != nil {
		return t.fail(err)
	}
	in := &s3.UploadPartInput{UploadId: &t.uploadID, PartNumber: part.PartNumber, Body: bytes.NewReader(append(bytes.Clone(w.front), rest...))}
	carry(in, w.properties)
	out, err := t.UploadPart(ctx, in)
	if err != nil {
		return err
	}
	carry(part, out)
	return nil
}

// copyPart lets the store copy the part.
func (w *rewrite) copyPart(ctx context.Context, t *transfer, plan *copyPlan, part *types.CompletedPart) error {
	start, end := plan.part(int(*part.PartNumber))
	in := &s3.UploadPartCopyInput{
		UploadId: &t.uploadID, PartNumber: part.PartNumber,
		CopySource: w.src.copySource(), CopySourceRange: aws.String(byteRange(start, end)), CopySourceIfMatch: &w.src.etag,
		CopySourceSSECustomerAlgorithm: w.src.in.SSECustomerAlgorithm, CopySourceSSECustomerKey: w.src.in.SSECustomerKey,
		CopySourceSSECustomerKeyMD5: w.src.in.SSECustomerKeyMD5, ExpectedSourceBucketOwner: w.src.in.ExpectedBucketOwner,
	}
	carry(in, w.properties)
	out, err := w.src.client.UploadPartCopy(ctx, in)
	if err == nil && out.CopyPartResult == nil {
		err = errors.New("the answer has no result")
	}
	if err != nil {
		err = w.src.advise(err, writePermissions)
		if statusOf(err) == http.StatusBadRequest { // such as a range that is beyond a smaller object
			if _, changed := w.src.head(ctx, w.replaces); errors.Is(changed, ErrChanged) {
				err = fmt.Errorf("%w: %w", ErrChanged, err)
			}
		}
		return t.fail(fmt.Errorf("copying bytes %d to %d as part %d: %w", start, end-1, *part.PartNumber, err))
	}
	carry(part, out.CopyPartResult)
	t.acknowledge(end - start)
	return nil
}

// writePermissions are what making the new object needs.
const writePermissions = "s3:GetObject (s3:GetObjectVersion for a version) on the object, s3:PutObject on where it goes, s3:PutObjectTagging and those of object lock if it has such, and the use of their KMS keys"

// settle finds out what became of the request that makes the new object
// visible, which has failed: a first attempt of the SDK's may have succeeded,
// and the condition may have failed a second one. It returns the error,
// explained, or what is known of the new object.
func (w *rewrite) settle(ctx context.Context, t *transfer, err error) (etag, version *string, _ error) {
	if !t.completing {
		return nil, nil, err
	}
	met := statusOf(t.err) == http.StatusPreconditionFailed
	if !refused(t.err) || met {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), w.options.AbortTimeout)
		defer cancel()
		now, same, err := w.standing(ctx)
		if same {
			return &now.etag, &now.version, nil
		}
		if met && !w.replaces && statusOf(err) != http.StatusNotFound {
			t.err = fmt.Errorf("%w: %w", ErrExists, t.err)
			return nil, nil, t.err
		}
	}
	t.err = w.src.advise(t.err, writePermissions)
	return nil, nil, t.err
}

// standing returns what stands where the new object goes, and whether that is
// the new one.
func (w *rewrite) standing(ctx context.Context) (now *stored, same bool, err error) {
	var in s3.GetObjectInput
	carry(&in, w.properties)
	if now, err = find(ctx, w.src.client, &in); err != nil {
		return nil, false, err
	}
	front := w.front
	if len(front) == 0 {
		front = w.src.front
	}
	same = now.size == w.size() && bytes.HasPrefix(now.front, front) && now.metadata[headerMetadata] == w.properties.Metadata[headerMetadata]
	return now, same, nil
}

// A copyPlan says which parts an object is copied in.
type copyPlan struct {
	from, size int64 // what is copied of the source
	first      int64 // where in the source part 1 ends, which is sent; 0 if it is copied too
	partSize   int64 // of the other parts but the final one
}

// planCopies plans the parts of an object that consists of front bytes and of
// those of the source from an offset to its size.
func planCopies(from, size, front int64) (*copyPlan, error) {
	p := &copyPlan{from: from, size: size}
	parts := int64(maxParts)
	if front > 0 {
		p.first = from + minPartSize - front
		p.from = p.first
		parts--
	}
	if most := parts * maxCopySize; size-p.from > most {
		return nil, fmt.Errorf("%w: %d parts of %d bytes can be copied behind the header, the object has %d bytes more", stream.ErrTooLarge, parts, maxCopySize, size-p.from-most)
	}
	least := (size - p.from + parts - 1) / parts
	p.partSize = max(minCopyPart, (least+partUnit-1)/partUnit*partUnit)
	return p, nil
}

// parts returns how many parts there are.
func (p *copyPlan) parts() int {
	n := int((p.size - p.from + p.partSize - 1) / p.partSize)
	if p.first > 0 {
		n++
	}
	return n
}

// part returns which bytes of the source become the part of the given number,
// which is not one that is sent.
func (p *copyPlan) part(number int) (start, end int64) {
	index := int64(number - 1)
	if p.first > 0 {
		index--
	}
	start = p.from + index*p.partSize
	return start, min(start+p.partSize, p.size)
}
