package s3upload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/format"
)

// A stored is one version of an object, as the store first answered for it.
type stored struct {
	client   RewrapClient
	in       s3.GetObjectInput // pinned: it asks for no other version
	size     int64
	etag     string
	version  string
	metadata map[string]string
	front    []byte // its first bytes: all, or format.MaxHeaderSize
}

// find asks for the object that in names, and for its front, in one request.
func find(ctx context.Context, client RewrapClient, in *s3.GetObjectInput) (*stored, error) {
	switch {
	case in == nil || aws.ToString(in.Bucket) == "" || aws.ToString(in.Key) == "":
		return nil, invalid("Bucket or Key is empty")
	case *in != s3.GetObjectInput{
		Bucket: in.Bucket, Key: in.Key, VersionId: in.VersionId, IfMatch: in.IfMatch,
		ExpectedBucketOwner: in.ExpectedBucketOwner, RequestPayer: in.RequestPayer,
		SSECustomerAlgorithm: in.SSECustomerAlgorithm, SSECustomerKey: in.SSECustomerKey, SSECustomerKeyMD5: in.SSECustomerKeyMD5,
	}:
		return nil, invalid("only Bucket, Key, VersionId, IfMatch, ExpectedBucketOwner, RequestPayer and the fields of SSE-C may be set")
	}
	s := &stored{client: client, in: *in}
	var err error
	for range readAttempts {
		if err = s.first(ctx); err == nil {
			break
		}
		if _, broken := err.(*brokenError); !broken {
			break
		}
	}
	if err != nil {
		if statusOf(err) == http.StatusRequestedRangeNotSatisfiable {
			err = fmt.Errorf("%w: the object is empty: %w", format.ErrNotStream, err)
		}
		return nil, s.named(err)
	}
	s.in.IfMatch = &s.etag
	if s.version != "" {
		s.in.VersionId = &s.version
	}
	return s, nil
}

// first asks for the front of an object of which nothing is known.
func (s *stored) first(ctx context.Context) error {
	out, err := s.get(ctx, 0, format.MaxHeaderSize)
	if err != nil {
		return err
	}
	defer out.Body.Close()
	s.etag, s.version, s.metadata = aws.ToString(out.ETag), aws.ToString(out.VersionId), out.Metadata
	if s.etag == "" {
		return errors.New("the answer has no ETag, without which nothing can be replaced safely")
	}
	s.size = aws.ToInt64(out.ContentLength)
	if out.ContentRange != nil {
		_, total, _ := strings.Cut(*out.ContentRange, "/")
		if s.size, err = strconv.ParseInt(total, 10, 64); err != nil || s.size < 0 {
			return fmt.Errorf("the answer's Content-Range %.64q does not tell the object's size", *out.ContentRange)
		}
	}
	s.front = make([]byte, min(s.size, format.MaxHeaderSize))
	if _, err := io.ReadFull(out.Body, s.front); err != nil {
		return &brokenError{err}
	}
	return nil
}

// readAttempts is how often the bytes of an answer are asked for that breaks
// off, which the SDK does not.
const readAttempts = 3

// A brokenError is the failure of an answer's body.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return "the answer broke off: " + e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// get asks for n bytes of the object from offset off on.
func (s *stored) get(ctx context.Context, off, n int64) (*s3.GetObjectOutput, error) {
	in := s.in
	in.Range = aws.String(byteRange(off, off+n))
	out, err := s.client.GetObject(ctx, &in)
	if err != nil {
		return nil, s.advise(err, "s3:GetObject (s3:GetObjectVersion for a version) on the object, and the use of its KMS key")
	}
	if off > 0 && !strings.HasPrefix(aws.ToString(out.ContentRange), fmt.Sprintf("bytes %d-", off)) {
		out.Body.Close()
		return nil, fmt.Errorf("the answer is not to the request: Content-Range %.64q for %s", aws.ToString(out.ContentRange), *in.Range)
	}
	return out, nil
}

// read returns the stored bytes start to end-1.
func (s *stored) read(ctx context.Context, start, end int64) ([]byte, error) {
	b := make([]byte, end-start)
	at := int64(0)
	if start < int64(len(s.front)) {
		at = int64(copy(b, s.front[start:]))
	}
	var err error
	for try := 0; at < int64(len(b)) && try < readAttempts; try++ {
		var out *s3.GetObjectOutput
		if out, err = s.get(ctx, start+at, int64(len(b))-at); err != nil {
			return nil, err
		}
		var n int
		n, err = io.ReadFull(out.Body, b[at:])
		out.Body.Close()
		at += int64(n)
	}
	if at < int64(len(b)) {
		return nil, &brokenError{err}
	}
	return b, nil
}

// head asks for what belongs to the object, and makes sure that it still is
// there, as the current version if that is to be replaced.
func (s *stored) head(ctx context.Context, current bool) (*s3.HeadObjectOutput, error) {
	in := &s3.HeadObjectInput{ChecksumMode: types.ChecksumModeEnabled}
	carry(in, &s.in)
	if current {
		in.VersionId = nil
	}
	out, err := s.client.HeadObject(ctx, in)
	if err != nil {
		return nil, s.advise(err, "s3:GetObject on the object")
	}
	if aws.ToString(out.ETag) != s.etag || aws.ToString(out.VersionId) != s.version || !maps.Equal(out.Metadata, s.metadata) {
		return nil, ErrChanged
	}
	return out, nil
}

// properties returns what the object has beside its bytes, and where it is.
// current is as in head.
func (s *stored) properties(ctx context.Context, current bool) (*s3.CreateMultipartUploadInput, error) {
	head, err := s.head(ctx, current)
	if err != nil {
		return nil, s.named(err)
	}
	p := &s3.CreateMultipartUploadInput{}
	carry(p, head)
	carry(p, &s.in)
	p.ChecksumAlgorithm, p.ChecksumType = checksumOf(head)
	if p.ObjectLockRetainUntilDate != nil && p.ObjectLockRetainUntilDate.Before(time.Now()) {
		p.ObjectLockMode, p.ObjectLockRetainUntilDate = "", nil // S3 takes no date that has passed
	}
	if p.ObjectLockLegalHoldStatus == types.ObjectLockLegalHoldStatusOff {
		p.ObjectLockLegalHoldStatus = "" // the same, and needs no permission
	}
	switch {
	case aws.ToInt32(head.MissingMeta) > 0:
		err = fmt.Errorf("%d entries of the object's user metadata cannot be sent in a request's header, and would be lost: remove them first", *head.MissingMeta)
	case p.Expires == nil && aws.ToString(head.ExpiresString) != "":
		err = fmt.Errorf("the object's Expires, %.64q, is not a date, and would be lost: remove it first", *head.ExpiresString)
	default:
		p.Tagging, err = s.tags(ctx)
	}
	if err != nil {
		return nil, s.named(err)
	}
	return p, nil
}

// checksumOf returns the algorithm of the object's checksum, and its type where
// that is not what a multipart upload has by default.
func checksumOf(head *s3.HeadObjectOutput) (types.ChecksumAlgorithm, types.ChecksumType) {
	fields := reflect.ValueOf(head).Elem()
	for _, algorithm := range types.ChecksumAlgorithm("").Values() {
		if sum := fields.FieldByName("Checksum" + string(algorithm)); !sum.IsValid() || sum.IsZero() {
			continue
		}
		crc := algorithm == types.ChecksumAlgorithmCrc32 || algorithm == types.ChecksumAlgorithmCrc32c
		if crc && head.ChecksumType == types.ChecksumTypeFullObject {
			return algorithm, head.ChecksumType
		}
		return algorithm, ""
	}
	return "", ""
}

// tags returns the object's tags, encoded for a request's header.
func (s *stored) tags(ctx context.Context) (*string, error) {
	in := &s3.GetObjectTaggingInput{}
	carry(in, &s.in)
	out, err := s.client.GetObjectTagging(ctx, in)
	switch status := statusOf(err); {
	case status == http.StatusNotImplemented || status == http.StatusMethodNotAllowed:
		return nil, nil // a store without tags
	case err != nil:
		return nil, fmt.Errorf("reading the object's tags, which are to stay: %w", s.advise(err, "s3:GetObjectTagging (s3:GetObjectVersionTagging for a version)"))
	case len(out.TagSet) == 0:
		return nil, nil
	}
	tags := url.Values{}
	for _, tag := range out.TagSet {
		tags.Set(aws.ToString(tag.Key), aws.ToString(tag.Value))
	}
	return aws.String(strings.ReplaceAll(tags.Encode(), "+", "%20")), nil
}

// copySource names the object in a request to copy it.
func (s *stored) copySource() *string {
	name := *s.in.Bucket + "/" + *s.in.Key
	if strings.HasPrefix(*s.in.Bucket, "arn:") { // of an access point
		name = *s.in.Bucket + "/object/" + *s.in.Key
	}
	name = strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape(name))
	if s.version != "" {
		name += "?versionId=" + url.QueryEscape(s.version)
	}
	return &name
}

func (s *stored) location() string { return "s3://" + *s.in.Bucket + "/" + *s.in.Key }

func (s *stored) String() string { return fmt.Sprintf("%.1100q", s.location()) }

// named says which object err is about.
func (s *stored) named(err error) error { return fmt.Errorf("s3upload: %s: %w", s, err) }

// byteRange is the half-open range as HTTP writes it.
func byteRange(start, end int64) string { return fmt.Sprintf("bytes=%d-%d", start, end-1) }

// carry sets each field of dst that src has too, with the same name and type
// and not empty. Both are pointers to requests or answers of the SDK, where one
// name always means one thing; a test looks at each.
func carry(dst, src any) {
	to := reflect.ValueOf(dst).Elem()
	for field, value := range reflect.ValueOf(src).Elem().Fields() {
		if f := to.FieldByName(field.Name); field.IsExported() && f.IsValid() && f.Type() == value.Type() && !value.IsZero() {
			f.Set(value)
		}
	}
}
