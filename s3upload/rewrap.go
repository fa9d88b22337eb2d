package s3upload

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/s3header"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// A RewrapClient is what [Rewrap], [Copy], [Move] and [Delete] need of S3;
// [*s3.Client] is one.
// It is used concurrently.
type RewrapClient interface {
	Client
	GetObject(context.Context, *s3.GetObjectInput, ...func(*s3.Options)) (*s3.GetObjectOutput, error)
	HeadObject(context.Context, *s3.HeadObjectInput, ...func(*s3.Options)) (*s3.HeadObjectOutput, error)
	GetObjectTagging(context.Context, *s3.GetObjectTaggingInput, ...func(*s3.Options)) (*s3.GetObjectTaggingOutput, error)
	CopyObject(context.Context, *s3.CopyObjectInput, ...func(*s3.Options)) (*s3.CopyObjectOutput, error)
	UploadPartCopy(context.Context, *s3.UploadPartCopyInput, ...func(*s3.Options)) (*s3.UploadPartCopyOutput, error)
	DeleteObject(context.Context, *s3.DeleteObjectInput, ...func(*s3.Options)) (*s3.DeleteObjectOutput, error)
}

// RewrapOptions say how to re-wrap or copy an object. The zero value of each field is
// its default, and nil options are all defaults.
type RewrapOptions struct {
	// Stream says what changes in the header beside the keys; nil means
	// nothing.
	Stream *stream.RewrapOptions

	// HeaderSuffix is what a header beside its payload has behind the
	// payload's key; the default is [DefaultHeaderSuffix]. It is looked for
	// only where the payload says that its header is elsewhere and its
	// metadata has none.
	HeaderSuffix string

	// Always makes a new header even if the stream is already for the new
	// keys. By default that is left alone: if the types and names of its
	// wrapped keys are those that the new one would have, the options change
	// nothing else, and the new keys, if they can also unwrap, open it. The
	// name of a key thus stands for the key, but a passphrase's never does.
	Always bool

	// Change, if set, is called with what each new object is written with
	// beside its bytes, in whatever request, as it was found at the old one.
	// It is the place for what the store does not tell, and so is not carried
	// over: ACLs, grants, the encryption context of SSE-KMS; for what another
	// bucket has otherwise; and for another ChecksumAlgorithm where a store
	// fails to compute this one for copied parts. Bucket and Key stay.
	Change func(*s3.CreateMultipartUploadInput)

	// Concurrency is how many parts the store copies at a time; the default
	// is 5. They cost this host nothing.
	Concurrency int

	// Progress, if set, is called after each part that is in its place. Calls
	// do not overlap, and the re-wrap waits for them.
	Progress func(Progress)

	// AbortTimeout is as in [Options].
	AbortTimeout time.Duration
}

// A RewrapResult is a finished re-wrap or copy, or one that was not needed.
type RewrapResult struct {
	// Unchanged means that nothing was written. After Rewrap the stream was
	// already for the new keys, and of the other fields only Info is set;
	// after Copy they are those of the copy, which was there already.
	Unchanged bool

	Key       string // of the object that was written: of the header's, where that stands beside the payload
	ETag      string
	VersionID string // empty in a bucket without versions

	UploadID   string // empty if one request was enough
	StoredSize int64  // bytes of the object that was written

	Info stream.Info // what the header says now; its Metadata is nil
}

// Rewrap replaces the header of the encrypted object that in names, as
// [stream.Rewrap] does, and leaves the payload in the store: of an object of any
// size, at most 5 MiB and 64 KiB are read, and as much is sent. What of that is
// payload is passed on unopened: over https nothing changes it on its way, over
// http readers would find out. The header may stand in the object, beside it or
// in its metadata, and stays there.
//
// The new object takes the old one's place in one step, under the condition
// that the old one is still there: a writer that came first keeps what it
// wrote, and the error is [ErrChanged]. After any error but an [*UploadError]
// with MayBeStored, the old object is as it was. A store that ignores
// conditions is asked again just before that step, which leaves a moment. So
// does a header in the metadata of a bucket without versions, because ETags say
// nothing of metadata: there, two re-wraps at the same time can both succeed,
// the later one for good.
//
// What S3 tells of the object goes over to the new one: metadata, content type
// and its like, tags, storage class, encryption, retention that has not ended,
// the algorithm of its checksum. Its ETag, version and time of change become
// new ones. A compact header that grows moves the payload; who reads the object
// at that time sees it replaced, as after every re-wrap.
//
// The fields of in that may be set are Bucket, Key, VersionId, IfMatch,
// ExpectedBucketOwner, RequestPayer and those of SSE-C. A version that is not
// the current one is [ErrChanged]. A stream that is bound to another location
// than "s3://bucket/key" is refused with stream.ErrPolicy unless
// RewrapOptions.Stream sets its location. With no key of old that opens the
// header, but the types and names of the new keys in it, the re-wrap is taken
// for done; if the new keys cannot unwrap, nothing then authenticates the
// header.
//
// S3 has no way to replace the front of an object within 5 GiB of its largest
// size, 48.8 TiB: that is stream.ErrTooLarge. Needed are the permissions
// s3:GetObject, s3:GetObjectTagging and s3:PutObject, and s3:PutObjectTagging
// and those of object lock where the object has such.
//
// Errors before the first change are [ErrInput], [ErrChanged],
// format.ErrNotStream and those of stream.Rewrap and the SDK; then they are an
// [*UploadError] around one of these.
func Rewrap(ctx context.Context, client RewrapClient, in *s3.GetObjectInput, old keywrap.Unwrapper, new keywrap.Wrapper, o *RewrapOptions) (*RewrapResult, error) {
	options, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	h, err := options.original(ctx, client, in)
	if err != nil {
		return nil, err
	}
	if err := options.checkLocation(h.bytes, h.payload.location()); err != nil {
		return nil, h.payload.named(err)
	}
	replacement, err := options.replace(ctx, h.bytes, old, new)
	if err != nil {
		return nil, h.payload.named(err)
	}
	result := &RewrapResult{Unchanged: replacement == nil}
	if result.Unchanged {
		if result.Info, err = stream.Inspect(h.bytes); err != nil {
			return nil, err
		}
		return result, nil
	}
	if result.Info, err = stream.Inspect(replacement); err != nil {
		return nil, err
	}
	w, err := h.in.rewrite(ctx, *h.in.in.Bucket, *h.in.in.Key, options)
	if err != nil {
		return nil, err
	}
	if err := w.replaceHeader(h, replacement); err != nil {
		return nil, err
	}
	if err := w.run(ctx, result); err != nil {
		return nil, err
	}
	return result, nil
}

// withDefaults returns a copy of o in which every field has its value.
func (o *RewrapOptions) withDefaults() (*RewrapOptions, error) {
	var c RewrapOptions
	if o != nil {
		c = *o
	}
	if c.Concurrency < 0 || c.AbortTimeout < 0 {
		return nil, invalid("RewrapOptions: Concurrency and AbortTimeout cannot be negative")
	}
	if c.Stream == nil {
		c.Stream = &stream.RewrapOptions{}
	}
	if c.HeaderSuffix == "" {
		c.HeaderSuffix = DefaultHeaderSuffix
	}
	if c.Concurrency == 0 {
		c.Concurrency = defaultConcurrency
	}
	if c.AbortTimeout == 0 {
		c.AbortTimeout = defaultAbortTimeout
	}
	return &c, nil
}

// checkLocation refuses a stream that was bound to another place: the store
// may have put it here so that it is wrapped for keys that are not to read it.
func (o *RewrapOptions) checkLocation(header []byte, found string) error {
	info, err := stream.Inspect(header)
	if err != nil {
		return err
	}
	if info.Location != "" && info.Location != found && o.Stream.Location == nil {
		return fmt.Errorf("%w: the stream is bound to %.256q: set RewrapOptions.Stream.Location if it may be here", stream.ErrPolicy, info.Location)
	}
	return nil
}

// replace returns the header that takes the place of the given one, nil if
// that can stay.
func (o *RewrapOptions) replace(ctx context.Context, header []byte, old keywrap.Unwrapper, new keywrap.Wrapper) ([]byte, error) {
	replacement, err := stream.Rewrap(ctx, header, old, new, o.Stream)
	if o.Always || err != nil && (new == nil || !errors.Is(err, keywrap.ErrNoMatch)) {
		return replacement, err
	}
	before, inspectErr := stream.Inspect(header)
	if inspectErr != nil {
		return nil, inspectErr
	}
	if o.changesMore(&before) {
		return replacement, err
	}
	var keys []format.WrappedKey
	if err == nil {
		after, inspectErr := stream.Inspect(replacement)
		if inspectErr != nil {
			return nil, inspectErr
		}
		keys = after.Keys
	} else if keys, inspectErr = o.wouldBe(ctx, &before, new); inspectErr != nil {
		return nil, errors.Join(err, inspectErr)
	}
	if sameKeys(before.Keys, keys) && o.opens(ctx, header, new) {
		return nil, nil
	}
	return replacement, err
}

// changesMore tells whether the options change the header beside its keys, as
// far as that can be seen.
func (o *RewrapOptions) changesMore(info *stream.Info) bool {
	s := o.Stream
	return s.Metadata != nil || s.Context != nil && !maps.Equal(s.Context, info.Context) || s.Location != nil && *s.Location != info.Location
}

// wouldBe returns wrapped keys of the types and names that the re-wrapped
// stream would have. It wraps a key that nothing uses.
func (o *RewrapOptions) wouldBe(ctx context.Context, info *stream.Info, new keywrap.Wrapper) ([]format.WrappedKey, error) {
	var unused [keywrap.DataKeySize]byte
	rand.Read(unused[:])
	keys, err := new.WrapKey(ctx, unused[:], info.Context)
	for _, k := range info.Keys {
		if o.Stream.Keep != nil && o.Stream.Keep(k) {
			keys = append(keys, k)
		}
	}
	return keys, err
}

// sameKeys tells whether two headers are for the same keys, as types and names
// say. A passphrase has no name that could tell.
func sameKeys(a, b []format.WrappedKey) bool {
	type name struct {
		t    format.KeyType
		name string
	}
	set := func(keys []format.WrappedKey) map[name]bool {
		names := map[name]bool{}
		for _, k := range keys {
			names[name{k.Type, k.Name}] = true
		}
		return names
	}
	for _, k := range a {
		if k.Type == format.KeyTypePassphrase {
			return false
		}
	}
	return maps.Equal(set(a), set(b))
}

// opens tells whether the new keys open the header, if they are of a kind that
// can.
func (o *RewrapOptions) opens(ctx context.Context, header []byte, new keywrap.Wrapper) bool {
	keys, ok := new.(keywrap.Unwrapper)
	if !ok {
		return true
	}
	_, err := stream.Rewrap(ctx, header, keys, nil, keepKeys(&stream.RewrapOptions{AssociatedData: o.Stream.AssociatedData}))
	return err == nil
}

// keepKeys makes o keep all wrapped keys, none of which is then refused.
func keepKeys(o *stream.RewrapOptions) *stream.RewrapOptions {
	o.ClassicalKeys = slices.Clip(o.ClassicalKeys) // the caller's
	o.Keep = func(k format.WrappedKey) bool {
		o.ClassicalKeys = append(o.ClassicalKeys, k.Name) // it was let in when the stream was made
		return true
	}
	return o
}

// A header is the encoded header of a payload, and where it was found.
type header struct {
	bytes   []byte
	in      *stored // the object that holds it
	size    int64   // of it in that object's bytes, 0 if it is in the metadata
	payload *stored
}

// original finds the object that in names, and its header.
func (o *RewrapOptions) original(ctx context.Context, client RewrapClient, in *s3.GetObjectInput) (*header, error) {
	payload, err := find(ctx, client, in)
	if err != nil {
		return nil, err
	}
	return payload.header(ctx, o.HeaderSuffix)
}

// header finds the header of a payload: in it, in its metadata, or in the
// object beside it.
func (s *stored) header(ctx context.Context, suffix string) (*header, error) {
	prelude, err := format.ParsePrelude(s.front)
	if err != nil {
		return nil, s.named(err)
	}
	if !prelude.Detached() {
		info, err := stream.Inspect(s.front)
		if err != nil {
			return nil, s.named(err)
		}
		return &header{s.front[:info.HeaderSize], s, int64(info.HeaderSize), s}, nil
	}
	h := &header{in: s, payload: s}
	if value, ok := s.metadata[headerMetadata]; ok {
		h.bytes, err = s3header.Decode(value)
	} else {
		beside := s.in
		beside.Key = aws.String(*s.in.Key + suffix)
		beside.VersionId, beside.IfMatch = nil, nil
		if h.in, err = find(ctx, s.client, &beside); err != nil {
			return nil, fmt.Errorf("the header of %s, looked for beside it: %w", s, err)
		}
		h.bytes, h.size = h.in.front, h.in.size
		if h.size > format.MaxHeaderSize {
			err = fmt.Errorf("%w: %d bytes are more than a header has", format.ErrMalformed, h.size)
		}
	}
	if err == nil {
		_, err = format.ParseHeader(h.bytes)
	}
	if err != nil {
		return nil, h.in.named(fmt.Errorf("the detached header: %w", err))
	}
	if !bytes.Equal(h.bytes[:format.PreludeSize], s.front[:format.PreludeSize]) {
		return nil, h.in.named(fmt.Errorf("%w: the header belongs to another payload than %s: if they are being replaced, try again when that is done, else restore both from a good copy", stream.ErrAuth, s))
	}
	return h, nil
}
