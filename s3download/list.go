package s3download

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/s3header"
	"github.com/bulla-format/bulla/stream"
)

// A ListClient is what [List] needs of an *s3.Client.
type ListClient interface {
	Client
	ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input, opts ...func(*s3.Options)) (*s3.ListObjectsV2Output, error)
}

// ListOptions say how to list. The zero value of each field is its default, and
// nil options are all defaults.
type ListOptions struct {
	// HeaderSuffix is the suffix of the keys of header objects. The default is
	// s3upload.DefaultHeaderSuffix.
	HeaderSuffix string

	// Headers reads the header of each object as [Inspect] does, with one
	// request, or two. By default only the listing is asked for.
	Headers bool

	// Concurrency is how many headers are read at the same time. The default
	// is 16.
	Concurrency int
}

// An Entry is what [List] finds. It is one of three:
//
//   - An object, with the header beside it, if there is one.
//   - A header object without a payload: Object is nil. Nothing can be read
//     with it; s3upload.Delete of Key deletes it.
//   - Where the ListObjectsV2Input has a Delimiter, what keys have in common
//     up to it: Object and Header are nil.
type Entry struct {
	// Key is that of the object, also where there is only the header of it, or
	// the common prefix.
	Key string

	// Object and Header are what the store lists. Their keys are not encoded.
	Object, Header *types.Object

	// PlaintextSize is how many bytes the plaintext has, or
	// format.UnknownSize. If the header was not read, it is a guess that is
	// right of a stream with segments of the default size, and a header of the
	// default size or one beside. It is never authenticated.
	PlaintextSize int64

	// Info is what the header says, and Err why nothing is known of it: among
	// others format.ErrNotStream of an object that is none of ours, ErrNoHeader
	// of a payload without its header, stream.ErrAuth of one beside the header
	// of another. Both are nil if no header was to be read. Nothing is
	// authenticated.
	Info *stream.Info
	Err  error
}

const (
	defaultListConcurrency = 16

	// listAhead is how many entries may wait for one whose header has not come
	// yet, until that is looked for.
	listAhead = 1000
)

// List returns what is stored under a prefix, in the order of keys: a header
// alone stands where its own key does. An object and the header beside it are
// one entry, though other keys can stand between theirs.
//
// in says what to list: Bucket, and perhaps Prefix, Delimiter, StartAfter and
// the others, but no ContinuationToken. An error ends the list, which is then
// not complete; what is wrong with one object is in its Entry. Only one page is
// held in memory, with as many entries again that wait for the header of one
// before them. Headers are read while the caller waits, and nothing goes on in
// the background. Needed are the permissions s3:ListBucket, and s3:GetObject to
// read headers.
//
// A store that does not list keys in order, such as a directory bucket of S3,
// may have a payload and its header as two entries.
func List(ctx context.Context, client ListClient, in *s3.ListObjectsV2Input, o *ListOptions) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		l, err := newLister(client, in, o)
		if err == nil {
			err = l.run(ctx, func(e *listed) bool { return yield(e.Entry, nil) })
		}
		if err != nil && err != errListEnded {
			yield(Entry{}, err)
		}
	}
}

// errListEnded means that the caller wants no more entries.
var errListEnded = errors.New("the list was ended")

// A lister makes pairs of what a store lists.
type lister struct {
	client  ListClient
	in      s3.ListObjectsV2Input
	options ListOptions
	queue   []*listed // not yet given out, in order

	// waiting are those whose header can still come: all keys from theirs to
	// that of their header begin with theirs, so each is the beginning of the
	// key that was listed last, which has at most 1,024.
	waiting []*listed
}

// A listed entry is settled when it is known whether there is a header beside it.
type listed struct {
	Entry
	settled bool
}

func newLister(client ListClient, in *s3.ListObjectsV2Input, o *ListOptions) (*lister, error) {
	switch {
	case in == nil || aws.ToString(in.Bucket) == "":
		return nil, errors.New("s3download: a bucket is required")
	case in.ContinuationToken != nil:
		return nil, errors.New("s3download: ContinuationToken: a list begins at its beginning, or at StartAfter")
	}
	l := &lister{client: client, in: *in}
	if o != nil {
		l.options = *o
	}
	if l.options.Concurrency < 0 {
		return nil, errors.New("s3download: ListOptions.Concurrency cannot be negative")
	}
	setDefault(&l.options.Concurrency, defaultListConcurrency)
	l.options.HeaderSuffix = cmp.Or(l.options.HeaderSuffix, s3header.DefaultSuffix)
	l.in.EncodingType = types.EncodingTypeUrl // XML cannot write some of the characters that keys may have
	return l, nil
}

func (l *lister) run(ctx context.Context, yield func(*listed) bool) error {
	for more := true; more; {
		out, err := l.request(ctx, &l.in)
		if err != nil {
			return err
		}
		for _, e := range entries(out, aws.ToString(l.in.Prefix)) {
			l.add(e)
		}
		next := aws.ToString(out.NextContinuationToken)
		if more = aws.ToBool(out.IsTruncated); !more {
			l.settle(func(*listed) bool { return true })
		} else if next == "" || next == aws.ToString(l.in.ContinuationToken) {
			return fmt.Errorf("s3download: %s: the listing goes on and does not say where: it is incomplete", l.place())
		}
		l.in.ContinuationToken = &next
		if err := l.release(ctx, yield); err != nil {
			return err
		}
		for len(l.queue) > listAhead {
			if err := l.probe(ctx, l.queue[0]); err != nil {
				return err
			}
			if err := l.release(ctx, yield); err != nil {
				return err
			}
		}
	}
	return nil
}

// request asks for a page.
func (l *lister) request(ctx context.Context, in *s3.ListObjectsV2Input) (*s3.ListObjectsV2Output, error) {
	out, err := l.client.ListObjectsV2(ctx, in)
	switch status(err) {
	case http.StatusNotFound:
		err = fmt.Errorf("there is no such bucket: %w", err)
	case http.StatusForbidden:
		err = fmt.Errorf("access was denied: check the credentials, and that they allow s3:ListBucket: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("s3download: listing %s: %w", l.place(), err)
	}
	return out, nil
}

func (l *lister) place() string {
	return fmt.Sprintf("%.300q", "s3://"+*l.in.Bucket+"/"+aws.ToString(l.in.Prefix))
}

// entries returns what stands on a page, in order: objects and common prefixes
// are listed apart. What does not begin with the prefix was not asked for.
func entries(out *s3.ListObjectsV2Output, prefix string) []*listed {
	all := make([]*listed, 0, len(out.Contents)+len(out.CommonPrefixes))
	for _, o := range out.Contents {
		if key, ok := decodeKey(out, o.Key); ok && strings.HasPrefix(key, prefix) {
			o.Key = &key
			all = append(all, &listed{Entry: Entry{Key: key, Object: &o}})
		}
	}
	for _, p := range out.CommonPrefixes {
		if key, ok := decodeKey(out, p.Prefix); ok && strings.HasPrefix(key, prefix) {
			all = append(all, &listed{Entry: Entry{Key: key}, settled: true})
		}
	}
	slices.SortFunc(all, func(a, b *listed) int { return cmp.Compare(a.Key, b.Key) })
	return all
}

// decodeKey returns a listed key, or false if it is none. A store that does not
// know the encoding does not name it in its answer.
func decodeKey(out *s3.ListObjectsV2Output, key *string) (string, bool) {
	k := aws.ToString(key)
	if out.EncodingType == types.EncodingTypeUrl {
		var err error
		if k, err = url.QueryUnescape(k); err != nil {
			return "", false
		}
	}
	return k, k != ""
}

// add takes what was listed next.
func (l *lister) add(e *listed) {
	suffix := l.options.HeaderSuffix
	l.settle(func(w *listed) bool { return !strings.HasPrefix(e.Key, w.Key) || e.Key > w.Key+suffix })
	payload, isHeader := strings.CutSuffix(e.Key, suffix)
	switch {
	case e.settled:
	case !isHeader || payload == "":
		l.waiting = append(l.waiting, e)
	case l.pair(payload, e.Object):
		return
	case payload <= aws.ToString(l.in.StartAfter) || !strings.HasPrefix(payload, aws.ToString(l.in.Prefix)):
		return // of something that was not to be listed
	default:
		*e = listed{Entry: Entry{Key: payload, Header: e.Object}, settled: true}
	}
	l.queue = append(l.queue, e)
}

// pair gives the object whose key is payload, if it waits, its header.
func (l *lister) pair(payload string, header *types.Object) bool {
	found := false
	l.settle(func(w *listed) bool {
		if w.Key != payload {
			return false
		}
		found, w.Header = true, header
		return true
	})
	return found
}

// settle settles those that wait and meet a condition.
func (l *lister) settle(when func(*listed) bool) {
	l.waiting = slices.DeleteFunc(l.waiting, func(w *listed) bool {
		if !when(w) {
			return false
		}
		w.settled = true
		return true
	})
}

// probe looks for the header of an entry that too many others wait for. It goes
// on waiting, so that the header is known for its own when it comes.
func (l *lister) probe(ctx context.Context, e *listed) error {
	in := s3.ListObjectsV2Input{
		Bucket: l.in.Bucket, Prefix: aws.String(e.Key + l.options.HeaderSuffix), MaxKeys: aws.Int32(1), EncodingType: l.in.EncodingType,
		ExpectedBucketOwner: l.in.ExpectedBucketOwner, RequestPayer: l.in.RequestPayer,
	}
	out, err := l.request(ctx, &in)
	if err != nil {
		return err
	}
	if found := entries(out, *in.Prefix); len(found) > 0 && found[0].Key == *in.Prefix {
		e.Header = found[0].Object
	}
	e.settled = true
	return nil
}

// release gives out what is settled, up to the first that is not.
func (l *lister) release(ctx context.Context, yield func(*listed) bool) error {
	n := slices.IndexFunc(l.queue, func(e *listed) bool { return !e.settled })
	if n < 0 {
		n = len(l.queue)
	}
	ready := l.queue[:n]
	l.queue = slices.Clone(l.queue[n:]) // the page can go
	for some := range slices.Chunk(ready, 4*l.options.Concurrency) {
		l.learn(ctx, some)
		for _, e := range some {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if !yield(e) {
				return errListEnded
			}
		}
	}
	return nil
}

// learn fills in what is known of the plaintext.
func (l *lister) learn(ctx context.Context, some []*listed) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, l.options.Concurrency)
	for _, e := range some {
		switch {
		case e.Object == nil:
			e.PlaintextSize = format.UnknownSize
		case !l.options.Headers:
			e.PlaintextSize = guessSize(&e.Entry)
		default:
			slots <- struct{}{}
			wg.Go(func() {
				l.inspect(ctx, &e.Entry)
				<-slots
			})
		}
	}
	wg.Wait()
}

// guessSize returns the size of the plaintext if the stream is as most are.
func guessSize(e *Entry) int64 {
	start := int64(format.DefaultHeaderSize)
	if e.Header != nil {
		start = format.PreludeSize
	}
	layout, err := format.NewLayout(start, format.DefaultSegmentExp)
	if err != nil {
		panic("s3download: the default layout is none") // it is one
	}
	size, err := layout.PlaintextSize(aws.ToInt64(e.Object.Size))
	if err != nil {
		return format.UnknownSize
	}
	return size
}

// inspect reads the header of an object.
func (l *lister) inspect(ctx context.Context, e *Entry) {
	options, err := (&Options{HeaderSuffix: l.options.HeaderSuffix}).withDefaults()
	if err != nil {
		panic("s3download: the default options are refused") // they are not
	}
	e.PlaintextSize = format.UnknownSize
	info, stored, err := inspect(ctx, l.client, &s3.GetObjectInput{
		Bucket: l.in.Bucket, Key: &e.Key, ExpectedBucketOwner: l.in.ExpectedBucketOwner, RequestPayer: l.in.RequestPayer,
	}, &options, e.Header != nil)
	if err != nil {
		e.Err = err
		return
	}
	e.Info, e.PlaintextSize = &info, info.PlaintextSize
	if info.PlaintextSize != format.UnknownSize {
		return
	}
	if size, err := info.Layout.PlaintextSize(stored); err == nil {
		e.PlaintextSize = size
	}
}
