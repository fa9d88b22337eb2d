package s3upload

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// What an answer to HeadObject says that is about the stored bytes, the version
// or the answer, and so is not carried over.
var ofTheVersion = map[string]bool{
	"AcceptRanges": true, "ArchiveStatus": true, "ContentLength": true, "ContentRange": true, "DeleteMarker": true, "ETag": true,
	"Expiration": true, "LastModified": true, "PartsCount": true, "ReplicationStatus": true, "RequestCharged": true, "Restore": true,
	"VersionId": true, "ResultMetadata": true,
	"ExpiresString": true, // Expires has it
	"TagCount":      true, // GetObjectTagging has them
	"MissingMeta":   true, // refused
	"ChecksumType":  true, // see TestRewrapChecksums
	"ChecksumCRC32": true, "ChecksumCRC32C": true, "ChecksumCRC64NVME": true, "ChecksumMD5": true, "ChecksumSHA1": true,
	"ChecksumSHA256": true, "ChecksumSHA512": true, "ChecksumXXHASH128": true, "ChecksumXXHASH3": true, "ChecksumXXHASH64": true,
}

// Which fields of the requests that write come from elsewhere: from the
// caller's input, from the tags, from the checksums, or from nowhere, because
// the store does not tell them.
var fromElsewhere = map[string]bool{
	"Bucket": true, "Key": true, "ExpectedBucketOwner": true, "RequestPayer": true, "SSECustomerKey": true,
	"Tagging": true, "ChecksumAlgorithm": true, "ChecksumType": true,
	"ACL": true, "GrantFullControl": true, "GrantRead": true, "GrantReadACP": true, "GrantWriteACP": true, "SSEKMSEncryptionContext": true,
}

// fill sets each field of the struct that p points to, and skip does not name,
// to a value of its own.
func fill(t *testing.T, p any, skip map[string]bool) {
	t.Helper()
	for field, v := range reflect.ValueOf(p).Elem().Fields() {
		if !field.IsExported() || skip[field.Name] || field.Name == "ResultMetadata" {
			continue
		}
		value := "value-of-" + field.Name
		switch v.Interface().(type) {
		case *string:
			v.Set(reflect.ValueOf(&value))
		case *bool:
			v.Set(reflect.ValueOf(new(true)))
		case *int32:
			v.Set(reflect.ValueOf(new(int32(len(value)))))
		case *time.Time:
			v.Set(reflect.ValueOf(new(time.Now().Add(time.Hour))))
		case map[string]string:
			v.Set(reflect.ValueOf(map[string]string{"key": value}))
		default:
			if v.Kind() != reflect.String {
				t.Fatalf("the SDK's field %s has a new type, %v", field.Name, v.Type())
			}
			v.SetString(value)
		}
	}
}

// TestRewrapCarriesEveryField checks, for each way of writing, that what the
// store tells of an object is told of the new one, and that the caller's fields
// are in every request. It fails when the SDK gets a field that nobody has
// thought of.
func TestRewrapCarriesEveryField(t *testing.T) {
	for _, c := range rewrapCases {
		f := newShelf()
		f.store(t, c.place, pattern(c.size), nil)
		o := f.objects[rewrapName]
		if c.place == besideIt {
			o = f.objects[besideName]
		}
		header := o.head.Metadata[headerMetadata]
		o.head = s3.HeadObjectOutput{ChecksumCRC32C: aws.String("sum"), ObjectLockLegalHoldStatus: types.ObjectLockLegalHoldStatusOn}
		fill(t, &o.head, ofTheVersion)
		if header != "" {
			o.head.Metadata[headerMetadata] = header
		}
		o.tags = []types.Tag{{Key: aws.String("a b+c&d"), Value: aws.String("é=/ +")}, {Key: aws.String("empty"), Value: aws.String("")}}
		in := rewrapInput()
		in.ExpectedBucketOwner, in.RequestPayer = aws.String("owner"), types.RequestPayerRequester
		in.SSECustomerAlgorithm, in.SSECustomerKey, in.SSECustomerKeyMD5 = o.head.SSECustomerAlgorithm, aws.String("secret"), o.head.SSECustomerKeyMD5
		failed := 0
		f.before = func(_ int, op string) error {
			if op == opComplete && failed == 0 { // so that the upload is aborted
				failed = 1
				return answer(403, "AccessDenied")
			}
			return nil
		}
		change := func(p *s3.CreateMultipartUploadInput) { p.ACL = "an ACL" }
		_, err := Rewrap(t.Context(), f, in, testKey, newKey(t, "new", 8), &RewrapOptions{Change: change, AbortTimeout: time.Second})
		if (err != nil) != (failed == 1) {
			t.Fatal(err)
		}
		writes := 0
		for i, request := range f.inputs {
			fields := reflect.ValueOf(request).Elem()
			checkCaller(t, f.calls[i], fields, in)
			if slices.Contains([]string{opPut, opCopy, opCreate}, f.calls[i]) {
				writes++
				checkCarried(t, f.calls[i], fields, o, header != "")
			}
		}
		if writes != 1 {
			t.Errorf("calls %v", f.calls)
		}
	}
}

// checkCarried compares the fields of a request that writes with what the store
// told of the object.
func checkCarried(t *testing.T, op string, request reflect.Value, o *shelved, changed bool) {
	t.Helper()
	checked := 0
	for field, want := range reflect.ValueOf(&o.head).Elem().Fields() {
		if !field.IsExported() || ofTheVersion[field.Name] || changed && field.Name == "Metadata" {
			continue
		}
		got := request.FieldByName(field.Name)
		if !got.IsValid() {
			t.Errorf("%s has no field %s", op, field.Name)
		} else if want.IsZero() || !reflect.DeepEqual(got.Interface(), want.Interface()) {
			t.Errorf("%s has %s = %v, expected %v", op, field.Name, got, want)
		}
		checked++
	}
	if checked < 18 {
		t.Errorf("only %d fields were checked", checked)
	}
	for field := range reflect.TypeFor[s3.CreateMultipartUploadInput]().Fields() {
		_, told := reflect.TypeFor[s3.HeadObjectOutput]().FieldByName(field.Name)
		if field.IsExported() && !fromElsewhere[field.Name] && (!told || ofTheVersion[field.Name]) {
			t.Errorf("%s of a new object comes from nowhere", field.Name)
		}
	}
	for _, directive := range []string{"MetadataDirective", "TaggingDirective"} { // or CopyObject ignores what it is told
		if got := request.FieldByName(directive); got.IsValid() && got.String() != "REPLACE" {
			t.Errorf("%s has %s %q", op, directive, got)
		}
	}
	if got := request.FieldByName("Tagging").Elem().String(); got != "a%20b%2Bc%26d=%C3%A9%3D%2F%20%2B&empty=" {
		t.Errorf("%s has the tags %s", op, got)
	}
	if got := request.FieldByName("ChecksumAlgorithm").String(); got != "CRC32C" {
		t.Errorf("%s announces %q", op, got)
	}
	if got := request.FieldByName("ACL").String(); got != "an ACL" {
		t.Errorf("%s has not what was changed, but %q", op, got)
	}
}

// checkCaller looks for the caller's fields in a request.
func checkCaller(t *testing.T, op string, request reflect.Value, in *s3.GetObjectInput) {
	t.Helper()
	for field, want := range reflect.ValueOf(in).Elem().Fields() {
		if want.IsZero() || !field.IsExported() || field.Name == "Key" {
			continue
		}
		names := []string{field.Name}
		switch {
		case strings.HasPrefix(field.Name, "SSECustomer"):
			names = append(names, "CopySource"+field.Name)
		case field.Name == "ExpectedBucketOwner":
			names = append(names, "ExpectedSourceBucketOwner")
		}
		for _, name := range names {
			if got := request.FieldByName(name); got.IsValid() && !reflect.DeepEqual(got.Interface(), want.Interface()) {
				t.Errorf("%s has %s = %v, expected %v", op, name, got, want)
			}
		}
	}
}

// TestRewrapChecksums checks the algorithm that is announced for each kind of
// checksum.
func TestRewrapChecksums(t *testing.T) {
	for _, algorithm := range types.ChecksumAlgorithm("").Values() {
		head := &s3.HeadObjectOutput{ChecksumType: types.ChecksumTypeFullObject}
		field := reflect.ValueOf(head).Elem().FieldByName("Checksum" + string(algorithm))
		if !field.IsValid() {
			t.Fatalf("no field for %s", algorithm)
		}
		field.Set(reflect.ValueOf(aws.String("sum")))
		want := types.ChecksumType("")
		if algorithm == types.ChecksumAlgorithmCrc32 || algorithm == types.ChecksumAlgorithmCrc32c {
			want = types.ChecksumTypeFullObject
		}
		if a, kind := checksumOf(head); a != algorithm || kind != want {
			t.Errorf("%s: %s, %s", algorithm, a, kind)
		}
	}
	f := newShelf() // no checksum, and a client that sends some
	f.store(t, inObject, pattern(minPartSize), nil)
	f.before = func(_ int, op string) error {
		if op == opComplete {
			return errCall
		}
		return nil
	}
	if _, err := Rewrap(t.Context(), f, rewrapInput(), testKey, newKey(t, "new", 8), &RewrapOptions{AbortTimeout: time.Second}); err == nil {
		t.Error("no error")
	}
	for _, request := range f.inputs {
		if a := reflect.ValueOf(request).Elem().FieldByName("ChecksumAlgorithm"); a.IsValid() && a.String() != "CRC32" {
			t.Errorf("%T announces %q", request, a)
		}
	}
}

// TestRewrapLocks checks what of object lock goes over.
func TestRewrapLocks(t *testing.T) {
	f := newShelf()
	f.store(t, inObject, []byte("text"), nil)
	head := &f.objects[rewrapName].head
	head.ObjectLockMode, head.ObjectLockRetainUntilDate = types.ObjectLockModeGovernance, new(time.Now().Add(-time.Hour))
	head.ObjectLockLegalHoldStatus = types.ObjectLockLegalHoldStatusOff
	if _, err := Rewrap(t.Context(), f, rewrapInput(), testKey, newKey(t, "new", 8), nil); err != nil {
		t.Fatal(err)
	}
	if h := f.objects[rewrapName].head; h.ObjectLockMode != "" || h.ObjectLockRetainUntilDate != nil || h.ObjectLockLegalHoldStatus != "" {
		t.Errorf("locks that are none were carried over: %+v", h)
	}
}

// TestRewrapRefusesLosses checks that what cannot be carried over is not lost.
func TestRewrapRefusesLosses(t *testing.T) {
	for name, set := range map[string]func(*s3.HeadObjectOutput){
		"user metadata": func(h *s3.HeadObjectOutput) { h.MissingMeta = new(int32(2)) },
		"Expires":       func(h *s3.HeadObjectOutput) { h.ExpiresString = aws.String("soon") },
	} {
		f := newShelf()
		f.store(t, inObject, []byte("text"), nil)
		set(&f.objects[rewrapName].head)
		if _, err := Rewrap(t.Context(), f, rewrapInput(), testKey, newKey(t, "new", 8), nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		f.opens(t, testKey, []byte("text"))
	}
	for status, want := range map[int]bool{501: true, 405: true, 403: false, 500: false} {
		f := newShelf()
		f.store(t, inObject, []byte("text"), nil)
		f.before = func(_ int, op string) error {
			if op == opTags {
				return answer(status, "Code")
			}
			return nil
		}
		if _, err := Rewrap(t.Context(), f, rewrapInput(), testKey, newKey(t, "new", 8), nil); (err == nil) != want {
			t.Errorf("tags answered with %d: %v", status, err)
		}
	}
}

// TestCopySource checks the names of objects in requests to copy.
func TestCopySource(t *testing.T) {
	for _, c := range []struct{ bucket, key, version, want string }{
		{"bucket", "a/b.txt", "", "bucket/a/b.txt"},
		{"bucket", "a b+c?d%e&f=é/../g", "v+1", "bucket/a%20b%2Bc%3Fd%25e%26f%3D%C3%A9/../g?versionId=v%2B1"},
		{"arn:aws:s3:r:1:accesspoint/p", "k", "", "arn%3Aaws%3As3%3Ar%3A1%3Aaccesspoint/p/object/k"},
	} {
		s := &stored{in: s3.GetObjectInput{Bucket: &c.bucket, Key: &c.key}, version: c.version}
		if got := *s.copySource(); got != c.want {
			t.Errorf("%s of %s: %s, expected %s", c.key, c.bucket, got, c.want)
		}
	}
}

// TestPlanCopies checks that the planned parts are the object, and within S3's
// limits.
func TestPlanCopies(t *testing.T) {
	const top = maxParts * maxCopySize
	for _, front := range []int64{0, format.MinHeaderSize, 4096, format.MaxHeaderSize} {
		for _, size := range []int64{minPartSize + format.MaxHeaderSize + 1, 1 << 30, 5<<30 - 1, 5 << 30, 9999 << 30, 10000<<30 + 1, 20 << 40, top - maxCopySize, top - maxCopySize + minPartSize, top - 1, top} {
			const from = 4096
			plan, err := planCopies(from, size, front)
			if most := (maxParts-1)*maxCopySize + from + minPartSize - front; front > 0 && size > most {
				if err == nil {
					t.Errorf("front of %d bytes, %d bytes: no error", front, size)
				}
				continue
			}
			if err != nil {
				t.Errorf("front of %d bytes, %d bytes: %v", front, size, err)
				continue
			}
			at, number := int64(from), 1
			if front > 0 {
				at, number = plan.first, 2
				if plan.first-from+front != minPartSize {
					t.Errorf("part 1 has %d bytes", plan.first-from+front)
				}
			}
			for ; number <= plan.parts(); number++ {
				start, end := plan.part(number)
				if start != at || end <= start || end-start > maxCopySize || number < plan.parts() && end-start < minPartSize {
					t.Fatalf("front of %d bytes, %d bytes: part %d is bytes %d to %d", front, size, number, start, end)
				}
				at = end
			}
			if at != size || plan.parts() > maxParts {
				t.Errorf("front of %d bytes, %d bytes: %d parts end at %d", front, size, plan.parts(), at)
			}
		}
	}
	if _, err := planCopies(0, top+1, 0); !strings.Contains(err.Error(), stream.ErrTooLarge.Error()) {
		t.Errorf("one byte too many: %v", err)
	}
}
