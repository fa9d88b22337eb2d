package faultproxy

import (
	"net/http"
	"strconv"
	"strings"
)

// Op is the name of an S3 operation, as the API reference writes it.
type Op string

// The operations that the proxy tells apart.
const (
	GetObject               Op = "GetObject"
	HeadObject              Op = "HeadObject"
	PutObject               Op = "PutObject"
	CopyObject              Op = "CopyObject"
	DeleteObject            Op = "DeleteObject"
	CreateMultipartUpload   Op = "CreateMultipartUpload"
	UploadPart              Op = "UploadPart"
	UploadPartCopy          Op = "UploadPartCopy"
	CompleteMultipartUpload Op = "CompleteMultipartUpload"
	AbortMultipartUpload    Op = "AbortMultipartUpload"
	ListParts               Op = "ListParts"
	ListMultipartUploads    Op = "ListMultipartUploads"
	ListObjectsV2           Op = "ListObjectsV2"
	ObjectSubresource       Op = "ObjectSubresource" // tagging, ACL, attributes and the like of an object
	BucketOperation         Op = "BucketOperation"   // any other operation on a bucket, or on all buckets
)

// Request is what the log keeps of a request and its answer.
type Request struct {
	Op          Op
	Bucket, Key string
	Part        int    // part number, of UploadPart and UploadPartCopy
	Range       string // Range of the request, or the source range of an UploadPartCopy
	IfMatch     string

	Status   int    // of the answer; 0 when there was none
	BytesIn  int64  // bytes of the request's body that the proxy received
	BytesOut int64  // bytes of the answer's body that the proxy sent on
	Fault    string // the fault that the request got, if any
	Hit      bool   // that fault has happened: a body was long enough, and was read far enough, for it
}

// classify reads the operation from a path-style request.
func classify(r *http.Request) Request {
	bucket, key, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	q := Request{Bucket: bucket, Key: key, Range: r.Header.Get("Range"), IfMatch: r.Header.Get("If-Match")}
	query := r.URL.Query()
	if key == "" {
		q.Op = BucketOperation
		switch {
		case r.Method == http.MethodGet && query.Has("uploads"):
			q.Op = ListMultipartUploads
		case r.Method == http.MethodGet && query.Get("list-type") == "2":
			q.Op = ListObjectsV2
		}
		return q
	}
	for _, sub := range []string{"tagging", "acl", "attributes", "retention", "legal-hold", "restore", "select"} {
		if query.Has(sub) {
			q.Op = ObjectSubresource
			return q
		}
	}
	isCopy := r.Header.Get("X-Amz-Copy-Source") != ""
	upload := query.Has("uploadId")
	if isCopy {
		q.Range = r.Header.Get("X-Amz-Copy-Source-Range")
	}
	if upload {
		q.Part, _ = strconv.Atoi(query.Get("partNumber")) // absent, or for the server to refuse
	}
	switch {
	case r.Method == http.MethodPost && upload:
		q.Op = CompleteMultipartUpload
	case r.Method == http.MethodPost:
		q.Op = CreateMultipartUpload
	case r.Method == http.MethodDelete && upload:
		q.Op = AbortMultipartUpload
	case r.Method == http.MethodDelete:
		q.Op = DeleteObject
	case r.Method == http.MethodPut && upload && isCopy:
		q.Op = UploadPartCopy
	case r.Method == http.MethodPut && upload:
		q.Op = UploadPart
	case r.Method == http.MethodPut && isCopy:
		q.Op = CopyObject
	case r.Method == http.MethodPut:
		q.Op = PutObject
	case r.Method == http.MethodHead:
		q.Op = HeadObject
	case upload:
		q.Op = ListParts
	default:
		q.Op = GetObject
	}
	return q
}
