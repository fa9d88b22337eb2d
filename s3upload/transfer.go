package s3upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// A transfer is one upload. It stands on both sides of the SDK's uploader: it
// is the source of the stored bytes and the client that they are sent with, and
// so sees every failure and every acknowledgement.
type transfer struct {
	client   Client
	options  *Options
	in       *s3.PutObjectInput // a copy: the SDK's uploader changes it
	ctx      context.Context    // of what is still going on
	stop     context.CancelFunc // ends it
	src      io.Reader          // of the stored bytes
	partSize int64
	capacity int64         // stored bytes that fit into the parts
	header   *headerObject // nil if the header is not beside the payload
	journal  string        // from which a failed upload can be resumed, empty if it cannot

	mu         sync.Mutex
	err        error // what failed first
	produced   int64 // bytes read from src
	ended      bool  // src is at its end
	total      int64 // bytes of the object, or format.UnknownSize
	sent       int64 // bytes acknowledged
	parts      int   // parts acknowledged
	uploadID   string
	completing bool // the request that makes the object visible was sent
}

// fail keeps the first failure, ends everything else and returns err.
func (t *transfer) fail(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err == nil {
		t.err = err
	}
	t.stop()
	return err
}

// A storedBody reads a transfer's stored bytes. It is nothing but an io.Reader:
// a body that can seek would be read twice, and encrypted to other bytes.
type storedBody struct{ t *transfer }

func (b storedBody) Read(p []byte) (int, error) {
	t := b.t
	if err := t.ctx.Err(); err != nil {
		return 0, t.fail(err)
	}
	// One byte too many tells a stream that fits exactly from one that does not.
	n, err := t.src.Read(p[:min(int64(len(p)), t.capacity-t.produced+1)])
	t.mu.Lock()
	t.produced += int64(n)
	if err == io.EOF && !t.ended {
		t.ended = true
		if t.total == format.UnknownSize {
			t.total = t.produced
			t.report()
		}
	}
	t.mu.Unlock()
	if t.produced > t.capacity {
		err = fmt.Errorf("%w: more than %d stored bytes do not fit into %d parts of %d: set Options.PartSize, or tell the plaintext's size beforehand",
			stream.ErrTooLarge, t.capacity, t.capacity/t.partSize, t.partSize)
		n = 0
	}
	if err != nil && err != io.EOF {
		return n, t.fail(err)
	}
	return n, err
}

// acknowledge counts a part that is stored.
func (t *transfer) acknowledge(size int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sent += size
	t.parts++
	t.report()
}

// report calls Options.Progress, under the lock.
func (t *transfer) report() {
	if t.options.Progress != nil {
		t.options.Progress(Progress{Stored: t.sent, Total: t.total, Parts: t.parts})
	}
}

// complete tells whether the object may become visible: the source ended as it
// should, size stored bytes are all there are, and a header beside them is
// stored. A cancelled ctx does not end the request for that.
func (t *transfer) complete(ctx context.Context, size int64) error {
	if err := t.whole(size); err != nil {
		return err
	}
	if t.header != nil {
		late, done := outlive(ctx, t.options.AbortTimeout)
		defer done()
		if err := t.header.write(late); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.completing = true
	return nil
}

func (t *transfer) whole(size int64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.err != nil {
		return t.err
	}
	if !t.ended || size != t.produced {
		return fmt.Errorf("%w: %d of %d stored bytes would become the object", stream.ErrSizeMismatch, size, t.produced)
	}
	return nil
}

// PutObject sends a whole object.
func (t *transfer) PutObject(ctx context.Context, in *s3.PutObjectInput, o ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	size, err := bodySize(in.Body)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = t.complete(ctx, size)
	}
	if err != nil {
		return nil, t.fail(err)
	}
	body := t.bodyOf(ctx, in.Body)
	defer body.end()
	request := *in
	request.Body = body
	out, err := t.client.PutObject(ctx, &request, o...)
	if err != nil {
		return nil, t.fail(err)
	}
	t.acknowledge(size)
	return out, nil
}

// CreateMultipartUpload keeps the upload id. A cancelled ctx does not end the
// request, which would leave an upload whose id nobody knows.
func (t *transfer) CreateMultipartUpload(ctx context.Context, in *s3.CreateMultipartUploadInput, o ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error) {
	if err := ctx.Err(); err != nil {
		return nil, t.fail(err)
	}
	late, done := outlive(ctx, t.options.AbortTimeout)
	defer done()
	out, err := t.client.CreateMultipartUpload(late, in, o...)
	if err != nil {
		return nil, t.fail(fmt.Errorf("creating the multipart upload: %w", err))
	}
	if t.uploadID = aws.ToString(out.UploadId); t.uploadID == "" {
		return nil, t.fail(errors.New("the answer to CreateMultipartUpload has no upload id"))
	}
	return out, nil
}

// UploadPart sends a part.
func (t *transfer) UploadPart(ctx context.Context, in *s3.UploadPartInput, o ...func(*s3.Options)) (*s3.UploadPartOutput, error) {
	size, err := bodySize(in.Body)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return nil, t.fail(err)
	}
	body := t.bodyOf(ctx, in.Body)
	defer body.end()
	request := *in
	request.Body = body
	out, err := t.client.UploadPart(ctx, &request, o...)
	if err != nil {
		return nil, t.fail(fmt.Errorf("part %d: %w", aws.ToInt32(in.PartNumber), err))
	}
	t.acknowledge(size)
	return out, nil
}

// CompleteMultipartUpload makes the object visible. A cancelled ctx does not
// end the request, which would leave it open whether it was carried out.
func (t *transfer) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput, o ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error) {
	err := ctx.Err()
	if err == nil {
		err = t.complete(ctx, t.sent)
	}
	if err != nil {
		return nil, t.fail(err)
	}
	late, done := outlive(ctx, t.options.AbortTimeout)
	defer done()
	out, err := t.client.CompleteMultipartUpload(late, in, o...)
	if err != nil {
		return nil, t.fail(fmt.Errorf("completing the multipart upload: %w", err))
	}
	return out, nil
}

// AbortMultipartUpload is for the SDK's uploader, which is told to leave that
// to abandon.
func (t *transfer) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput, o ...func(*s3.Options)) (*s3.AbortMultipartUploadOutput, error) {
	return t.client.AbortMultipartUpload(ctx, in, o...)
}

// abandon aborts what a failed upload has begun, and takes back what it has
// written. err is what the SDK's uploader says of it.
func (t *transfer) abandon(ctx context.Context, err error) *UploadError {
	if t.err == nil {
		t.err = err
	}
	e := &UploadError{
		Bucket: *t.in.Bucket, Key: *t.in.Key, UploadID: t.uploadID, Err: t.err,
		MayBeStored: t.completing && !refused(t.err),
	}
	ctx = context.WithoutCancel(ctx)
	e.Journal = t.journal
	if t.uploadID != "" && t.journal == "" {
		ctx, cancel := context.WithTimeout(ctx, t.options.AbortTimeout)
		defer cancel()
		e.AbortErr = t.abort(ctx)
	}
	if t.header != nil && t.header.sent {
		ctx, cancel := context.WithTimeout(ctx, t.options.AbortTimeout)
		defer cancel()
		e.HeaderKey = *t.header.put.Key
		t.header.settle(ctx, e)
	}
	return e
}

// abort aborts the multipart upload, and looks whether that lasts: a part that
// the store was still working on can arrive after the abort, and then stays
// (Amazon S3 API Reference, AbortMultipartUpload). It asks again until the
// store says that there is no such upload, or has been asked often enough.
func (t *transfer) abort(ctx context.Context) error {
	for try := range maxAborts {
		_, err := t.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{
			Bucket: t.in.Bucket, Key: t.in.Key, UploadId: &t.uploadID,
			ExpectedBucketOwner: t.in.ExpectedBucketOwner, RequestPayer: t.in.RequestPayer,
		})
		if noSuchUpload(err) {
			return nil
		}
		if err != nil && try == 0 { // a later look that fails undoes nothing
			return err
		}
		select {
		case <-time.After(t.options.AbortTimeout / abortPause << try):
		case <-ctx.Done():
			return nil // the latest abort succeeded
		}
	}
	return nil
}

// How often an upload is aborted, and what part of the time for it to wait
// after the first time, doubled after each: 200 ms of 30 s.
const (
	maxAborts  = 3
	abortPause = 150
)

// outlive returns a context with the values of ctx that ends the given time
// after ctx does. The function that it returns releases it.
func outlive(ctx context.Context, grace time.Duration) (context.Context, func()) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	unhook := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(grace, cancel)
		context.AfterFunc(late, func() { timer.Stop() })
	})
	return late, func() { unhook(); cancel() }
}

// bodyOf returns the body to send for body, which bodySize has looked at.
func (t *transfer) bodyOf(ctx context.Context, body io.Reader) *sentBody {
	return &sentBody{body: body.(io.ReadSeeker), limiter: t.options.Limiter, ctx: ctx}
}

// bodySize returns the size of a request's body, which stands at its start.
func bodySize(body io.Reader) (int64, error) {
	seeker, ok := body.(io.Seeker)
	if !ok {
		return 0, fmt.Errorf("a request's body is a %T, which cannot be sent again", body)
	}
	size, err := seeker.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, err
	}
	_, err = seeker.Seek(0, io.SeekStart)
	return size, err
}
