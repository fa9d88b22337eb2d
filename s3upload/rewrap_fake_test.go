package s3upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/keywrap"
)

// The operations of a shelf's calls, beside those of fakes.
const (
	opHead     = "HeadObject"
	opTags     = "GetObjectTagging"
	opCopy     = "CopyObject"
	opPartCopy = "UploadPartCopy"
	opList     = "ListParts"
)

// A shelf is S3 in memory for what copies within the store: conditions, ranges,
// properties, tags and versions.
type shelf struct {
	before func(k int, op string) error // the k-th call, from 1: an error keeps it from having an effect
	after  func(k int, op string) error // an error: the effect is there, the answer is lost

	lax  bool            // conditions are ignored
	keys keywrap.Wrapper // that store encrypts for; nil: testKey

	mu        sync.Mutex
	calls     []string
	inputs    []any
	objects   map[string]*shelved
	old       map[string]*shelved // versions, the current ones too, by name@version
	uploads   map[string]*shelvedUpload
	read      int64 // bytes of answers' bodies
	sent      int64 // bytes of requests' bodies
	versioned bool
	count     int // of ETags and upload ids given out
}

// A shelved is an object. Behind data are more bytes up to size, which nobody
// can read, but the store can copy.
type shelved struct {
	data          []byte
	size          int64
	copied        [][2]int64 // source ranges of its parts beyond the data
	etag, version string
	head          s3.HeadObjectOutput
	tags          []types.Tag
}

type shelvedUpload struct {
	in    *s3.CreateMultipartUploadInput
	parts map[int32]*shelved
}

func newShelf() *shelf {
	return &shelf{objects: map[string]*shelved{}, old: map[string]*shelved{}, uploads: map[string]*shelvedUpload{}}
}

// put places an object on the shelf.
func (f *shelf) put(name string, o *shelved) *shelved {
	f.count++
	o.etag = fmt.Sprintf(`"etag-%d"`, f.count)
	if f.versioned {
		o.version = fmt.Sprint("version-", f.count)
	}
	o.size = max(o.size, int64(len(o.data)))
	f.objects[name] = o
	f.old[name+"@"+o.version] = o
	return o
}

// call runs effect between the hooks.
func (f *shelf) call(ctx context.Context, op string, in any, effect func() error) error {
	f.mu.Lock()
	f.calls = append(f.calls, op)
	f.inputs = append(f.inputs, in)
	k := len(f.calls)
	f.mu.Unlock()
	if f.before != nil {
		if err := f.before(k, op); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	f.mu.Lock()
	err := effect()
	f.mu.Unlock()
	if err == nil && f.after != nil {
		err = f.after(k, op)
	}
	return err
}

// lookup returns the object of a request that reads, under its conditions.
func (f *shelf) lookup(name string, version, ifMatch *string) (*shelved, error) {
	o := f.objects[name]
	if version != nil {
		o = f.old[name+"@"+*version]
	}
	switch {
	case o == nil:
		return nil, answer(404, "NoSuchKey")
	case ifMatch != nil && *ifMatch != o.etag && !f.lax:
		return nil, answer(412, "PreconditionFailed")
	}
	return o, nil
}

// writable checks the conditions of a request that writes.
func (f *shelf) writable(name string, ifMatch, ifNoneMatch *string) error {
	o := f.objects[name]
	switch {
	case f.lax:
	case ifMatch != nil && o == nil:
		return answer(404, "NoSuchKey")
	case ifMatch != nil && *ifMatch != o.etag, ifNoneMatch != nil && o != nil:
		return answer(412, "PreconditionFailed")
	}
	return nil
}

func (f *shelf) GetObject(ctx context.Context, in *s3.GetObjectInput, _ ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	out := &s3.GetObjectOutput{}
	return out, f.call(ctx, opGet, in, func() error {
		o, err := f.lookup(*in.Bucket+"/"+*in.Key, in.VersionId, in.IfMatch)
		if err != nil {
			return err
		}
		start, end := int64(0), o.size-1
		if in.Range != nil {
			if _, err := fmt.Sscanf(*in.Range, "bytes=%d-%d", &start, &end); err != nil {
				return err
			}
		}
		end = min(end+1, o.size)
		if start >= o.size {
			return answer(416, "InvalidRange")
		}
		if end > int64(len(o.data)) {
			return errors.New("the test reads bytes that do not exist")
		}
		carry(out, &o.head)
		out.ETag, out.VersionId = &o.etag, version(o)
		out.ContentLength = new(end - start)
		out.ContentRange = aws.String(fmt.Sprintf("bytes %d-%d/%d", start, end-1, o.size))
		out.Body = io.NopCloser(bytes.NewReader(o.data[start:end]))
		f.read += end - start
		return nil
	})
}

func version(o *shelved) *string {
	if o.version == "" {
		return nil
	}
	return &o.version
}

func (f *shelf) HeadObject(ctx context.Context, in *s3.HeadObjectInput, _ ...func(*s3.Options)) (*s3.HeadObjectOutput, error) {
	var out s3.HeadObjectOutput
	return &out, f.call(ctx, opHead, in, func() error {
		o, err := f.lookup(*in.Bucket+"/"+*in.Key, in.VersionId, in.IfMatch)
		if err != nil {
			return err
		}
		out = o.head
		out.ETag, out.VersionId = &o.etag, version(o)
		return nil
	})
}

func (f *shelf) GetObjectTagging(ctx context.Context, in *s3.GetObjectTaggingInput, _ ...func(*s3.Options)) (*s3.GetObjectTaggingOutput, error) {
	out := &s3.GetObjectTaggingOutput{}
	return out, f.call(ctx, opTags, in, func() error {
		o, err := f.lookup(*in.Bucket+"/"+*in.Key, in.VersionId, nil)
		if err == nil {
			out.TagSet = o.tags
		}
		return err
	})
}

func (f *shelf) PutObject(ctx context.Context, in *s3.PutObjectInput, _ ...func(*s3.Options)) (*s3.PutObjectOutput, error) {
	b, err := readBody(in.Body)
	if err != nil {
		return nil, err
	}
	out := &s3.PutObjectOutput{}
	return out, f.call(ctx, opPut, in, func() error {
		f.sent += int64(len(b))
		name := *in.Bucket + "/" + *in.Key
		if err := f.writable(name, in.IfMatch, in.IfNoneMatch); err != nil {
			return err
		}
		o := &shelved{data: b, tags: parseTags(in.Tagging)}
		carry(&o.head, in)
		f.put(name, o)
		out.ETag, out.VersionId = &o.etag, version(o)
		return nil
	})
}

// source returns the source of a copy.
func (f *shelf) source(name, ifMatch *string) (*shelved, error) {
	path, versionID, found := strings.Cut(*name, "?versionId=")
	path, err := url.PathUnescape(path)
	if err != nil {
		return nil, err
	}
	if !found {
		return f.lookup(path, nil, ifMatch)
	}
	return f.lookup(path, &versionID, ifMatch)
}

func (f *shelf) CopyObject(ctx context.Context, in *s3.CopyObjectInput, _ ...func(*s3.Options)) (*s3.CopyObjectOutput, error) {
	out := &s3.CopyObjectOutput{}
	return out, f.call(ctx, opCopy, in, func() error {
		src, err := f.source(in.CopySource, in.CopySourceIfMatch)
		if err != nil {
			return err
		}
		if src.size > maxCopySize {
			return answer(400, "InvalidRequest")
		}
		name := *in.Bucket + "/" + *in.Key
		if err := f.writable(name, in.IfMatch, in.IfNoneMatch); err != nil {
			return err
		}
		o := &shelved{data: src.data, size: src.size, tags: parseTags(in.Tagging)}
		carry(&o.head, in)
		if in.MetadataDirective != types.MetadataDirectiveReplace {
			o.head = src.head
		}
		if in.TaggingDirective != types.TaggingDirectiveReplace {
			o.tags = src.tags
		}
		f.put(name, o)
		out.CopyObjectResult, out.VersionId = &types.CopyObjectResult{ETag: &o.etag}, version(o)
		return nil
	})
}

func (f *shelf) CreateMultipartUpload(ctx context.Context, in *s3.CreateMultipartUploadInput, _ ...func(*s3.Options)) (*s3.CreateMultipartUploadOutput, error) {
	var id string
	err := f.call(ctx, opCreate, in, func() error {
		f.count++
		id = fmt.Sprint("upload-", f.count)
		f.uploads[id] = &shelvedUpload{in, map[int32]*shelved{}}
		return nil
	})
	return &s3.CreateMultipartUploadOutput{UploadId: &id}, err
}

// addPart stores a part and returns its ETag.
func (f *shelf) addPart(id string, number int32, part *shelved) (*string, error) {
	u, ok := f.uploads[id]
	if !ok {
		return nil, answer(404, "NoSuchUpload")
	}
	if part.size < 1 || part.size > maxCopySize || number < 1 || number > maxParts {
		return nil, answer(400, "InvalidRequest")
	}
	part.etag = fmt.Sprintf("part-%d", number)
	u.parts[number] = part
	return &part.etag, nil
}

func (f *shelf) UploadPart(ctx context.Context, in *s3.UploadPartInput, _ ...func(*s3.Options)) (*s3.UploadPartOutput, error) {
	b, err := readBody(in.Body)
	if err == nil {
		_, err = in.Body.(io.Seeker).Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, err
	}
	out := &s3.UploadPartOutput{ChecksumCRC32C: aws.String("sum of a sent part")}
	return out, f.call(ctx, opPart, in, func() (err error) {
		f.sent += int64(len(b))
		out.ETag, err = f.addPart(*in.UploadId, *in.PartNumber, &shelved{data: b, size: int64(len(b))})
		return err
	})
}

func (f *shelf) UploadPartCopy(ctx context.Context, in *s3.UploadPartCopyInput, _ ...func(*s3.Options)) (*s3.UploadPartCopyOutput, error) {
	out := &s3.UploadPartCopyOutput{CopyPartResult: &types.CopyPartResult{ChecksumCRC32C: aws.String("sum of a copied part")}}
	return out, f.call(ctx, opPartCopy, in, func() error {
		src, err := f.source(in.CopySource, in.CopySourceIfMatch)
		if err != nil {
			return err
		}
		var start, end int64
		if _, err := fmt.Sscanf(*in.CopySourceRange, "bytes=%d-%d", &start, &end); err != nil {
			return err
		}
		end++
		if src.size <= minPartSize || start < 0 || end > src.size {
			return answer(400, "InvalidArgument")
		}
		part := &shelved{size: end - start}
		if end <= int64(len(src.data)) {
			part.data = src.data[start:end]
		} else {
			part.copied = [][2]int64{{start, end}}
		}
		out.CopyPartResult.ETag, err = f.addPart(*in.UploadId, *in.PartNumber, part)
		return err
	})
}

func (f *shelf) CompleteMultipartUpload(ctx context.Context, in *s3.CompleteMultipartUploadInput, _ ...func(*s3.Options)) (*s3.CompleteMultipartUploadOutput, error) {
	out := &s3.CompleteMultipartUploadOutput{}
	return out, f.call(ctx, opComplete, in, func() error {
		u, ok := f.uploads[*in.UploadId]
		if !ok {
			return answer(404, "NoSuchUpload")
		}
		name := *in.Bucket + "/" + *in.Key
		if err := f.writable(name, in.IfMatch, in.IfNoneMatch); err != nil {
			return err
		}
		o := &shelved{tags: parseTags(u.in.Tagging)}
		size := 0
		for _, part := range u.parts {
			size += len(part.data)
		}
		o.data = make([]byte, 0, size)
		for i, p := range in.MultipartUpload.Parts {
			part := u.parts[*p.PartNumber]
			switch {
			case part == nil || int(*p.PartNumber) != i+1 || *p.ETag != part.etag || p.ChecksumCRC32C == nil:
				return answer(400, "InvalidPart")
			case i < len(in.MultipartUpload.Parts)-1 && part.size < minPartSize:
				return answer(400, "EntityTooSmall")
			}
			o.data = append(o.data, part.data...)
			o.copied = append(o.copied, part.copied...)
			o.size += part.size
		}
		if in.MpuObjectSize != nil && o.size != *in.MpuObjectSize || len(in.MultipartUpload.Parts) != len(u.parts) {
			return answer(400, "InvalidRequest")
		}
		carry(&o.head, u.in)
		f.put(name, o)
		delete(f.uploads, *in.UploadId)
		out.ETag, out.VersionId = &o.etag, version(o)
		return nil
	})
}

func (f *shelf) ListParts(ctx context.Context, in *s3.ListPartsInput, _ ...func(*s3.Options)) (*s3.ListPartsOutput, error) {
	out := &s3.ListPartsOutput{}
	return out, f.call(ctx, opList, in, func() error {
		u, ok := f.uploads[*in.UploadId]
		if !ok {
			return answer(404, "NoSuchUpload")
		}
		out.ChecksumAlgorithm = u.in.ChecksumAlgorithm
		marker := 0
		if in.PartNumberMarker != nil {
			fmt.Sscan(*in.PartNumberMarker, &marker)
		}
		for _, number := range slices.Sorted(maps.Keys(u.parts)) {
			if int(number) <= marker {
				continue
			}
			if len(out.Parts) == partsPerPage {
				out.IsTruncated, out.NextPartNumberMarker = aws.Bool(true), aws.String(fmt.Sprint(number-1))
				break
			}
			p := u.parts[number]
			out.Parts = append(out.Parts, types.Part{PartNumber: &number, Size: &p.size, ETag: &p.etag, ChecksumCRC32C: aws.String("sum of a sent part")})
		}
		return nil
	})
}

// partsPerPage makes listings of few parts have several pages.
const partsPerPage = 2

func (f *shelf) AbortMultipartUpload(ctx context.Context, in *s3.AbortMultipartUploadInput, _ ...func(*s3.Options)) (*s3.AbortMultipartUploadOutput, error) {
	return &s3.AbortMultipartUploadOutput{}, f.call(ctx, opAbort, in, func() error {
		if _, ok := f.uploads[*in.UploadId]; !ok {
			return answer(404, "NoSuchUpload")
		}
		delete(f.uploads, *in.UploadId)
		return nil
	})
}

func (f *shelf) DeleteObject(ctx context.Context, in *s3.DeleteObjectInput, _ ...func(*s3.Options)) (*s3.DeleteObjectOutput, error) {
	return &s3.DeleteObjectOutput{}, f.call(ctx, opDelete, in, func() error {
		name := *in.Bucket + "/" + *in.Key
		if err := f.writable(name, in.IfMatch, nil); err != nil {
			return err
		}
		if o := f.objects[name]; o != nil && (in.VersionId == nil || *in.VersionId == o.version) {
			delete(f.objects, name)
		}
		return nil
	})
}

func parseTags(text *string) (tags []types.Tag) {
	values, err := url.ParseQuery(strings.ReplaceAll(aws.ToString(text), "+", "%2B"))
	if err != nil {
		panic(err)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		tags = append(tags, types.Tag{Key: &name, Value: aws.String(values.Get(name))})
	}
	return tags
}

// clean fails the test if a multipart upload is open.
func (f *shelf) clean(t *testing.T) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, u := range f.uploads {
		t.Errorf("upload %s is left with %d parts after %v", id, len(u.parts), f.calls)
	}
}
