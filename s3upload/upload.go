package s3upload

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// A Client is what an upload needs of S3; [*s3.Client] is one. It is used
// concurrently.
//
// The client's own setting of RequestChecksumCalculation decides whether S3
// gets checksums of the parts. It is learnt from the method Options() s3.Options
// that *s3.Client has; a Client without it is taken for one with the SDK's
// default, which is to send them.
//
// With Options.HeaderSuffix a Client needs the methods GetObject and
// DeleteObject too, as *s3.Client has them.
type Client interface {
	PutObject(context.Context, *s3.PutObjectInput, ...func(*s3.Options)) (*s3.PutObjectOutput, error)
	CreateMultipartUpload(context.Context, *s3.CreateMultipartUploadInput, ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error)
	UploadPart(context.Context, *s3.UploadPartInput, ...func(*s3.Options)) (*s3.UploadPartOutput, error)
	CompleteMultipartUpload(context.Context, *s3.CompleteMultipartUploadInput, ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error)
	AbortMultipartUpload(context.Context, *s3.AbortMultipartUploadInput, ...func(*s3.Options)) (*s3.AbortMultipartUploadOutput, error)
}

// Options say how to upload. The zero value of each field is its default, and
// nil options are all defaults.
type Options struct {
	// Encrypt says how to encrypt; nil means the defaults. Its PlaintextSize
	// is needed only where neither Body nor ContentLength tells the size, and
	// its Detached not at all: HeaderSuffix and HeaderInMetadata say that.
	Encrypt *stream.EncryptOptions

	// HeaderSuffix, if set, stores each header beside its payload: in the
	// object whose key is the payload's with this suffix. DefaultHeaderSuffix
	// is the one that readers look for by themselves. The package
	// documentation says what that means for an object that is replaced.
	HeaderSuffix string

	// HeaderInMetadata stores each header in the user metadata of its payload,
	// under the name "bulla-header". Headers are then compact, and those that
	// do not fit into the 2048 bytes that S3 allows for an object's user
	// metadata, names and values together, are stream.ErrTooLarge.
	HeaderInMetadata bool

	// BindLocation binds each stream to "s3://bucket/key": it is refused by
	// readers who find it in another place. Encrypt.Location then stays empty.
	BindLocation bool

	// PartSize is the size of the parts of a multipart upload, in bytes, 5 MiB
	// to 5 GiB. S3 allows 10,000 of them. The default is 8 MiB, or as many MiB
	// as the size of the object needs, if that is known. If it is not, each
	// part is as large as all before it together, from 8 MiB up to a quarter
	// of the Budget, and the header goes last, so that it too tells the size;
	// stores that take only equal parts need a PartSize then. What fits into
	// less than one part is uploaded in one request.
	PartSize int64

	// Concurrency is how many parts are sent at a time, if the memory allows
	// as many; the default is 5. Without a Budget an upload of known size
	// holds about Concurrency+2 parts in memory.
	Concurrency int

	// Budget, if set, bounds the memory for parts, of all uploads that are
	// given it. Parts then hold whole segments: all but the first and the
	// final one are equal, and about PartSize; Encrypt.Workers are not used.
	// nil means 128 MiB for each upload of unknown size, whose parts grow: that
	// is enough for 312 GiB, and a Budget of n bytes for 2,500 times as much.
	Budget *Budget

	// Limiter, if set, slows down the sending of parts. Uploads that share it
	// share its rate. Over plain http, where the SDK reads each part twice,
	// both times count.
	Limiter Limiter

	// Progress, if set, is called after each part that S3 acknowledged, after
	// an upload in one request, and when a size that was unknown becomes known.
	// Calls do not overlap, and the upload waits for them.
	Progress func(Progress)

	// AbortTimeout is how long aborting a failed upload may take, how long
	// taking back its header object may take, and how long the requests that
	// create and complete an upload may go on after the context ended, because
	// giving them up leaves it open whether they were carried out. The default
	// is 30 seconds.
	AbortTimeout time.Duration
}

// Defaults of Options.
const (
	defaultConcurrency  = 5
	defaultBudget       = 128 << 20
	defaultAbortTimeout = 30 * time.Second
)

// Progress is how far an upload has come.
type Progress struct {
	Stored int64 // bytes of the object that S3 acknowledged
	Total  int64 // bytes the object will have, -1 as long as that is unknown
	Parts  int   // parts acknowledged; 1 after an upload in one request
}

// An Uploader encrypts and uploads objects. It is safe for concurrent use, and
// costs nothing to make: uploads with different options take different ones.
type Uploader struct {
	client   Client
	keys     keywrap.Wrapper
	options  Options
	maxParts int64 // lowered by tests
}

// New returns an Uploader that uploads with client what only keys can read.
// It copies the options.
func New(client Client, keys keywrap.Wrapper, o *Options) *Uploader {
	u := &Uploader{client: client, keys: keys, maxParts: maxParts}
	if o != nil {
		u.options = *o
	}
	if u.options.Concurrency == 0 {
		u.options.Concurrency = defaultConcurrency
	}
	if u.options.AbortTimeout == 0 {
		u.options.AbortTimeout = defaultAbortTimeout
	}
	return u
}

// A Result is a finished upload.
type Result struct {
	Bucket, Key string
	ETag        string
	VersionID   string // empty in a bucket without versions

	UploadID string // empty if one request was enough
	Parts    int    // 1 if one request was enough

	PlaintextSize int64       // bytes
	StoredSize    int64       // bytes of the object, a header that is apart not counted
	Info          stream.Info // what the stream's header says

	// HeaderKey is the object that holds the header, empty if there is none
	// beside the payload; HeaderVersionID is its version, empty in a bucket
	// without versions.
	HeaderKey, HeaderVersionID string
}

// Upload encrypts in.Body and stores it as the object in.Key of in.Bucket.
//
// Body is the plaintext, read once to its io.EOF, and not closed; nil is
// empty. Its size is what a Body that can seek has from where it stands,
// ContentLength, or the option; where several tell it they must agree, and the
// size then stands in the stream's header. The package documentation says
// which fields are about the plaintext. in is not changed.
//
// ctx governs the key service and the requests, and is looked at before each
// read of Body; a Read that blocks is not interrupted. Once the request that
// completes a multipart upload is sent, its answer decides.
//
// Errors before the first request are [ErrInput], stream.ErrSizeMismatch,
// stream.ErrTooLarge and those of the keys; afterwards they are an
// [*UploadError] around [ErrChecksum], stream.ErrSizeMismatch,
// stream.ErrTooLarge, or an error of Body, ctx or the client.
func (u *Uploader) Upload(ctx context.Context, in *s3.PutObjectInput) (*Result, error) {
	p, err := u.prepare(in)
	if err != nil {
		return nil, err
	}
	if u.options.Budget == nil && (p.encrypt.PlaintextSize != nil || u.options.PartSize != 0) {
		return u.manage(ctx, p)
	}
	sealer, err := stream.NewSealer(ctx, u.keys, p.encrypt)
	if err != nil {
		return nil, fmt.Errorf("s3upload: %w", err)
	}
	defer sealer.Close()
	s, err := u.newSender(ctx, p, sealer)
	if err != nil {
		return nil, err
	}
	defer s.t.stop()
	return u.send(ctx, s)
}

// A prepared is an input that was checked.
type prepared struct {
	put     *s3.PutObjectInput
	sums    []checksum
	encrypt *stream.EncryptOptions
}

func (u *Uploader) prepare(in *s3.PutObjectInput) (*prepared, error) {
	put, sums, err := u.check(in)
	if err != nil {
		return nil, err
	}
	encrypt, err := u.encryptOptions(put)
	if err != nil {
		return nil, err
	}
	put.ContentLength = nil
	return &prepared{put, sums, encrypt}, nil
}

// storedSize returns the size of the object, or format.UnknownSize.
func (p *prepared) storedSize(l format.Layout) (int64, error) {
	if p.encrypt.PlaintextSize == nil {
		return format.UnknownSize, nil
	}
	size, err := l.StoredSize(*p.encrypt.PlaintextSize)
	if err != nil {
		return 0, fmt.Errorf("s3upload: %w", err)
	}
	return size, nil
}

// manage uploads with the SDK's uploader.
func (u *Uploader) manage(ctx context.Context, p *prepared) (*Result, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	r, err := stream.NewEncryptReader(ctx, newSource(ctx, p.put.Body, p.sums), u.keys, p.encrypt)
	if err != nil {
		return nil, fmt.Errorf("s3upload: %w", err)
	}
	defer r.Close()
	info, err := stream.Inspect(r.Header())
	if err != nil {
		return nil, fmt.Errorf("s3upload: the stream's own header: %w", err)
	}
	total, err := p.storedSize(info.Layout)
	if err != nil {
		return nil, err
	}
	t := &transfer{client: u.client, options: &u.options, in: p.put, ctx: ctx, stop: stop, src: r, total: total}
	if t.partSize, err = planParts(t.total, u.options.PartSize); err != nil {
		return nil, err
	}
	t.capacity = t.partSize * u.maxParts
	if err := t.place(r.Header()); err != nil {
		return nil, err
	}
	out, err := t.run(ctx)
	if err != nil {
		return nil, t.abandon(ctx, err)
	}
	res := t.result(out.ETag, out.VersionID)
	res.PlaintextSize, res.Info = r.PlaintextCount(), info
	return res, nil
}

// result returns what a finished upload is, but for what only its stream knows.
func (t *transfer) result(etag, version *string) *Result {
	res := &Result{
		Bucket: *t.in.Bucket, Key: *t.in.Key, ETag: aws.ToString(etag), VersionID: aws.ToString(version),
		UploadID: t.uploadID, Parts: t.parts, StoredSize: t.produced,
	}
	if t.header != nil {
		res.HeaderKey, res.HeaderVersionID = *t.header.put.Key, t.header.version
	}
	return res
}

// check returns a copy of in that is without the checksums of the plaintext.
func (u *Uploader) check(in *s3.PutObjectInput) (*s3.PutObjectInput, []checksum, error) {
	switch {
	case in == nil:
		return nil, nil, invalid("no PutObjectInput")
	case aws.ToString(in.Bucket) == "":
		return nil, nil, invalid("Bucket is empty")
	case aws.ToString(in.Key) == "":
		return nil, nil, invalid("Key is empty")
	case in.WriteOffsetBytes != nil:
		return nil, nil, invalid("WriteOffsetBytes: nothing can be appended to a stream")
	case u.options.Concurrency < 0:
		return nil, nil, invalid("Options.Concurrency is negative")
	case u.options.AbortTimeout < 0:
		return nil, nil, invalid("Options.AbortTimeout is negative")
	case u.options.HeaderSuffix != "" && u.options.HeaderInMetadata:
		return nil, nil, invalid("both Options.HeaderSuffix and Options.HeaderInMetadata are set")
	}
	if err := u.checkPlacement(in); err != nil {
		return nil, nil, err
	}
	put := *in
	if put.Body == nil {
		put.Body = strings.NewReader("")
	}
	sums, err := takeChecksums(&put)
	return &put, sums, err
}

// encryptOptions returns the options of the stream for one object.
func (u *Uploader) encryptOptions(in *s3.PutObjectInput) (*stream.EncryptOptions, error) {
	var o stream.EncryptOptions
	if u.options.Encrypt != nil {
		o = *u.options.Encrypt
	}
	if o.Detached && !u.options.apart() {
		return nil, invalid("Options.Encrypt.Detached: say where headers go with Options.HeaderSuffix or Options.HeaderInMetadata")
	}
	o.Detached = u.options.apart()
	o.CompactHeader = o.CompactHeader || u.options.HeaderInMetadata
	if u.options.BindLocation {
		if o.Location != "" {
			return nil, invalid("both Options.BindLocation and Options.Encrypt.Location are set")
		}
		o.Location = "s3://" + *in.Bucket + "/" + *in.Key
	}
	var err error
	o.PlaintextSize, err = plaintextSize(in.Body, in, o.PlaintextSize)
	return &o, err
}
