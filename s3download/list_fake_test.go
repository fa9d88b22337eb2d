package s3download

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// A fakeBucket is the bucket "bucket", which lists and encodes keys as S3 does.
type fakeBucket struct {
	objects   map[string][]byte
	metadata  map[string]map[string]string // by key
	page      int                          // keys of a page
	plainKeys bool                         // like stores that do not know the encoding
	delay     time.Duration                // of a GetObject

	mu       sync.Mutex
	lists    []s3.ListObjectsV2Input
	gets     []s3.GetObjectInput
	open     int // GetObjects that are under way, and the most there ever were
	mostOpen int
	fail     func(op, key string) error        // instead of an answer
	edit     func(out *s3.ListObjectsV2Output) // a listing
}

func newBucket(objects map[string][]byte) *fakeBucket {
	return &fakeBucket{objects: objects, page: 1000, metadata: map[string]map[string]string{}}
}

// keysOf returns the objects of these keys, each of one byte.
func keysOf(keys ...string) map[string][]byte {
	objects := map[string][]byte{}
	for _, key := range keys {
		objects[key] = []byte{0}
	}
	return objects
}

// ListObjectsV2 counts keys and common prefixes together, as S3 does, and goes
// on behind the one that ended a page.
func (f *fakeBucket) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input, _ ...func(*s3.Options)) (*s3.ListObjectsV2Output, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists = append(f.lists, *in)
	if f.fail != nil {
		if err := f.fail("list", aws.ToString(in.Prefix)); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	out := &s3.ListObjectsV2Output{IsTruncated: new(false)}
	encode := func(key string) *string { return &key }
	if in.EncodingType == types.EncodingTypeUrl && !f.plainKeys {
		out.EncodingType = in.EncodingType
		encode = func(key string) *string {
			return aws.String(strings.ReplaceAll(url.QueryEscape(key), "%2F", "/"))
		}
	}
	page := min(f.page, int(cmp.Or(aws.ToInt32(in.MaxKeys), 1000)))
	n, done := 0, cmp.Or(aws.ToString(in.ContinuationToken), aws.ToString(in.StartAfter))
	for _, key := range slices.Sorted(maps.Keys(f.objects)) {
		rest, ok := strings.CutPrefix(key, aws.ToString(in.Prefix))
		if !ok {
			continue
		}
		item, isPrefix := key, false
		if delimiter := aws.ToString(in.Delimiter); delimiter != "" {
			if first, _, found := strings.Cut(rest, delimiter); found {
				item, isPrefix = aws.ToString(in.Prefix)+first+delimiter, true
			}
		}
		if item <= done {
			continue
		}
		if n == page {
			out.IsTruncated, out.NextContinuationToken = new(true), &done
			break
		}
		n, done = n+1, item
		if isPrefix {
			out.CommonPrefixes = append(out.CommonPrefixes, types.CommonPrefix{Prefix: encode(item)})
		} else {
			out.Contents = append(out.Contents, types.Object{Key: encode(item), Size: new(int64(len(f.objects[key]))), ETag: aws.String(key)})
		}
	}
	if f.edit != nil {
		f.edit(out)
	}
	return out, nil
}

func (f *fakeBucket) GetObject(ctx context.Context, in *s3.GetObjectInput, _ ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	f.mu.Lock()
	f.gets = append(f.gets, *in)
	f.open++
	f.mostOpen = max(f.mostOpen, f.open)
	f.mu.Unlock()
	if f.delay > 0 {
		time.Sleep(f.delay)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open--
	if f.fail != nil {
		if err := f.fail("get", *in.Key); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	data, ok := f.objects[*in.Key]
	if !ok {
		return nil, statusError(http.StatusNotFound, "NoSuchKey")
	}
	var start, end int
	if _, err := fmt.Sscanf(*in.Range, "bytes=%d-%d", &start, &end); err != nil {
		return nil, err
	}
	if start >= len(data) {
		return nil, statusError(http.StatusRequestedRangeNotSatisfiable, "InvalidRange")
	}
	part := data[start:min(end+1, len(data))]
	return &s3.GetObjectOutput{
		Body: io.NopCloser(bytes.NewReader(part)), ETag: in.Key, ContentLength: new(int64(len(part))), Metadata: f.metadata[*in.Key],
		ContentRange: aws.String(fmt.Sprintf("bytes %d-%d/%d", start, start+len(part)-1, len(data))),
	}, nil
}

// A line is what a test compares of an Entry.
type line struct {
	key            string
	object, header bool
}

// listAll returns what List finds, by Entry.Key, and fails the test if that is not in order
// or says something else of a key than the store.
func (f *fakeBucket) listAll(t testing.TB, in *s3.ListObjectsV2Input, o *ListOptions) []line {
	t.Helper()
	var lines []line
	at := "" // the key that the list has come to
	in.Bucket = aws.String("bucket")
	for e, err := range List(t.Context(), f, in, o) {
		if err != nil {
			t.Fatal(err)
		}
		before := at
		if at = e.Key; e.Object == nil && e.Header != nil {
			at = *e.Header.Key
		}
		if at <= before {
			t.Errorf("%q comes behind %q", at, before)
		}
		if e.Object != nil && (*e.Object.Key != e.Key || *e.Object.ETag != e.Key) {
			t.Errorf("%q: object %q", e.Key, *e.Object.Key)
		}
		if e.Header != nil && (!strings.HasPrefix(*e.Header.Key, e.Key) || *e.Header.ETag != *e.Header.Key) {
			t.Errorf("%q: header %q", e.Key, *e.Header.Key)
		}
		lines = append(lines, line{e.Key, e.Object != nil, e.Header != nil})
	}
	slices.SortFunc(lines, func(a, b line) int { return cmp.Compare(a.key, b.key) })
	return lines
}
