package main

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A fakeStore has what the command needs of S3: single and multipart uploads,
// copies, ranges, conditions, lists. Signatures and checksums are tested against
// a real server.
type fakeStore struct {
	mu      sync.Mutex
	objects map[string]fakeObject     // by path
	uploads map[string]map[int][]byte // by id
	ids     int                       // of uploads, up to now
	before  func(*http.Request)       // called with each request
	refuse  func(*http.Request) bool  // with 403, if not nil
	log     []string
}

type fakeObject struct {
	body        []byte
	contentType string
	metadata    map[string]string // header fields
}

func (o *fakeObject) etag() string {
	return fmt.Sprintf(`"%x"`, sha256.Sum256(fmt.Appendf(bytes.Clone(o.body), "%q", o.metadata)))
}

// newFakeStore starts a store and makes it the environment's.
func newFakeStore(t *testing.T) *fakeStore {
	f := &fakeStore{objects: map[string]fakeObject{}, uploads: map[string]map[int][]byte{}, before: func(*http.Request) {}}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "", "AWS_REGION": "us-east-1", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": "none", "AWS_SHARED_CREDENTIALS_FILE": "none", "AWS_ENDPOINT_URL_S3": server.URL,
		"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
	} {
		t.Setenv(name, value)
	}
	return f
}

func (f *fakeStore) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	query := r.URL.Query()
	f.before(r)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = append(f.log, r.Method+" "+r.URL.Path)
	if source := r.Header.Get("X-Amz-Copy-Source"); source != "" {
		if body = f.copied(r, source); body == nil {
			fail(w, http.StatusNotFound, "NoSuchKey")
			return
		}
	}
	switch {
	case f.refuse != nil && f.refuse(r):
		fail(w, http.StatusForbidden, "AccessDenied")
	case query.Has("uploads") || query.Has("uploadId"):
		f.multipart(w, r, body)
	case query.Has("tagging"):
		fmt.Fprint(w, "<Tagging><TagSet></TagSet></Tagging>")
	case query.Has("list-type"):
		f.list(w, strings.Trim(r.URL.Path, "/"), query)
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		f.get(w, r)
	case r.Method == http.MethodPut:
		f.put(w, r, body, true)
	case r.Method == http.MethodDelete:
		if f.meets(w, r) {
			delete(f.objects, r.URL.Path)
			w.WriteHeader(http.StatusNoContent)
		}
	default:
		w.WriteHeader(http.StatusNotImplemented)
	}
}

func fail(w http.ResponseWriter, status int, code string) {
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code></Error>", code)
}

func (f *fakeStore) get(w http.ResponseWriter, r *http.Request) {
	object, ok := f.objects[r.URL.Path]
	if !ok {
		fail(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	w.Header().Set("ETag", object.etag())
	w.Header().Set("Content-Type", cmp.Or(object.contentType, "binary/octet-stream"))
	for name, value := range object.metadata {
		w.Header().Set(name, value)
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(object.body))
}

// copied returns what a request is to copy.
func (f *fakeStore) copied(r *http.Request, source string) []byte {
	source, err := url.PathUnescape(source)
	object, ok := f.objects["/"+strings.TrimPrefix(source, "/")]
	if err != nil || !ok {
		return nil
	}
	body := bytes.Clone(object.body)
	var start, end int
	if _, err := fmt.Sscanf(r.Header.Get("X-Amz-Copy-Source-Range"), "bytes=%d-%d", &start, &end); err == nil {
		body = body[start : end+1]
	}
	return body
}

// meets answers if a condition of the request is not met.
func (f *fakeStore) meets(w http.ResponseWriter, r *http.Request) bool {
	object, ok := f.objects[r.URL.Path]
	want := r.Header.Get("If-Match")
	if ok && r.Header.Get("If-None-Match") != "" || want != "" && (!ok || want != object.etag()) {
		fail(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return false
	}
	return true
}

// put stores an object, or completes one that is stored in parts.
func (f *fakeStore) put(w http.ResponseWriter, r *http.Request, body []byte, answer bool) {
	if !f.meets(w, r) {
		return
	}
	object := fakeObject{body, r.Header.Get("Content-Type"), map[string]string{}}
	for name := range r.Header {
		if strings.HasPrefix(name, "X-Amz-Meta-") {
			object.metadata[name] = r.Header.Get(name)
		}
	}
	f.objects[r.URL.Path] = object
	w.Header().Set("ETag", object.etag())
	if answer && r.Header.Get("X-Amz-Copy-Source") != "" {
		fmt.Fprintf(w, "<CopyObjectResult><ETag>%s</ETag></CopyObjectResult>", object.etag())
	}
}

func (f *fakeStore) multipart(w http.ResponseWriter, r *http.Request, body []byte) {
	query := r.URL.Query()
	id := query.Get("uploadId")
	parts := f.uploads[id]
	switch {
	case id == "":
		f.ids++
		id = strconv.Itoa(f.ids)
		f.uploads[id] = map[int][]byte{}
		fmt.Fprintf(w, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id)
	case r.Method == http.MethodDelete:
		delete(f.uploads, id)
		w.WriteHeader(http.StatusNoContent)
	case parts == nil: // aborted meanwhile
		fail(w, http.StatusNotFound, "NoSuchUpload")
	case r.Method == http.MethodGet:
		fmt.Fprint(w, "<ListPartsResult>")
		for _, number := range slices.Sorted(maps.Keys(parts)) {
			fmt.Fprintf(w, `<Part><PartNumber>%d</PartNumber><ETag>"%[1]d"</ETag><Size>%d</Size></Part>`, number, len(parts[number]))
		}
		fmt.Fprint(w, "</ListPartsResult>")
	case r.Method == http.MethodPut:
		number, _ := strconv.Atoi(query.Get("partNumber"))
		parts[number] = body
		w.Header().Set("ETag", strconv.Quote(strconv.Itoa(number)))
		if r.Header.Get("X-Amz-Copy-Source") != "" {
			fmt.Fprintf(w, `<CopyPartResult><ETag>"%d"</ETag></CopyPartResult>`, number)
		}
	default:
		var whole []byte
		for number := range len(parts) {
			whole = append(whole, parts[number+1]...)
		}
		delete(f.uploads, id)
		f.put(w, r, whole, false)
		fmt.Fprint(w, `<CompleteMultipartUploadResult><ETag>"done"</ETag></CompleteMultipartUploadResult>`)
	}
}

// list has two keys on a page.
func (f *fakeStore) list(w http.ResponseWriter, bucket string, query url.Values) {
	prefix, delimiter := query.Get("prefix"), query.Get("delimiter")
	done, err := url.QueryUnescape(query.Get("continuation-token"))
	if err != nil {
		fail(w, http.StatusBadRequest, "InvalidArgument")
		return
	}
	var entries []string
	for _, path := range slices.Sorted(maps.Keys(f.objects)) {
		key, ok := strings.CutPrefix(path, "/"+bucket+"/"+prefix)
		item := prefix + key
		first, _, cut := strings.Cut(key, delimiter)
		if cut = cut && delimiter != ""; cut {
			item = prefix + first + delimiter
		}
		switch encoded := url.QueryEscape(item); {
		case !ok || item <= done:
		case len(entries) == 2:
			fmt.Fprintf(w, "<ListBucketResult><EncodingType>url</EncodingType>%s<IsTruncated>true</IsTruncated><NextContinuationToken>%s</NextContinuationToken></ListBucketResult>",
				strings.Join(entries, ""), url.QueryEscape(done))
			return
		case cut:
			entries, done = append(entries, "<CommonPrefixes><Prefix>"+encoded+"</Prefix></CommonPrefixes>"), item
		default:
			entries, done = append(entries, fmt.Sprintf("<Contents><Key>%s</Key><LastModified>2026-02-03T04:05:06.000Z</LastModified><Size>%d</Size></Contents>",
				encoded, len(f.objects[path].body))), item
		}
	}
	fmt.Fprintf(w, "<ListBucketResult><EncodingType>url</EncodingType>%s<IsTruncated>false</IsTruncated></ListBucketResult>", strings.Join(entries, ""))
}
