package s3fs

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"

	"github.com/bulla-format/bulla/s3download"
)

// HandlerOptions say how to answer requests. The zero value of each field is its
// default, and nil options are all defaults.
type HandlerOptions struct {
	// CacheControl is the field of that name in the answers that carry a file.
	// The default is "no-store", so that no plaintext stays where it passes.
	CacheControl string

	// StoredContentType takes the content type from the object where the
	// stream's sealed metadata has none. It is not authenticated: the store can
	// have a browser run as a script what was meant as a text. By default it
	// goes by the name's extension.
	StoredContentType bool

	// OnError, if set, is called with what kept a file from being sent, unless
	// there is no such file or the client has gone. It may be called
	// concurrently. The client learns nothing of it but the status.
	OnError func(r *http.Request, err error)
}

// NewHandler returns a handler that answers GET and HEAD with the file whose
// name is the URL's path without the slash in front. It has no pages for
// directories.
//
// Ranges and conditions are those of [http.ServeContent]. The ETag is strong and
// made of the header's authenticated IV and generation: no other plaintext ever
// has the same. The content type is "content-type" of the stream's sealed
// metadata (SPEC §12.4), or goes by the extension, and browsers are told not to
// guess another.
//
// Status 404 means that there is no such file, 403 that the store or the key
// service denies access, 502 any other failure. One that comes after the first
// byte was sent breaks the connection, so that no client takes a part for the
// whole. Each request opens its file under its own context: keywrap.UnwrapperCache
// spares the key service.
func NewHandler(fsys *FS, o *HandlerOptions) http.Handler {
	h := &handler{fsys: fsys}
	if o != nil {
		h.options = *o
	}
	if h.options.CacheControl == "" {
		h.options.CacheControl = "no-store"
	}
	return h
}

type handler struct {
	fsys    *FS
	options HandlerOptions
}

func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		refuse(w, http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/")
	file, err := h.fsys.WithContext(r.Context()).open(name, wanted(r))
	if err != nil {
		h.fail(w, r, pathError("open", name, err))
		return
	}
	defer file.Close()
	header.Set("Cache-Control", h.options.CacheControl)
	header.Set("Content-Type", h.contentType(file.info))
	header.Set("ETag", etag(file.info.object))
	content := &content{file: file}
	http.ServeContent(w, r, "", file.info.modified, content)
	if err := content.failure(); err != nil {
		h.report(r, err)
		panic(http.ErrAbortHandler)
	}
}

// maxPrefetch is how much of a range is asked for together with the header, in
// bytes: as much as the first request of a read in order.
const maxPrefetch = 256 << 10

// wanted returns what to ask for together with the header: the beginning of the
// first range. It decides over the cost alone.
func wanted(r *http.Request) s3download.Range {
	field := r.Header.Get("Range")
	switch {
	case r.Method == http.MethodHead:
		return headerAlone
	case field == "":
		return firstSegment
	}
	spec, _ := strings.CutPrefix(field, "bytes=")
	from, to, _ := strings.Cut(spec, "-")
	first, err := strconv.ParseInt(from, 10, 64)
	if err != nil || first < 0 || first > math.MaxInt64/2 {
		return headerAlone // of a range from the end, the size has to be known
	}
	length := int64(maxPrefetch)
	if final, err := strconv.ParseInt(to, 10, 64); err == nil && final >= first {
		length = min(length, final-first+1)
	}
	return s3download.Range{Offset: first, Length: length}
}

func (h *handler) contentType(i *info) string {
	kind := i.object.Header.Metadata["content-type"]
	if kind == "" && h.options.StoredContentType {
		kind = i.object.ContentType
	}
	if kind == "" {
		kind = mime.TypeByExtension(path.Ext(i.name))
	}
	if kind == "" {
		kind = "application/octet-stream"
	}
	return kind
}

// etag is that of the plaintext: the IV stands for it, the generation for what
// a re-wrap may have changed of the metadata.
func etag(o *Object) string {
	return fmt.Sprintf("%q", fmt.Sprintf("%s.%d", base64.RawURLEncoding.EncodeToString(o.Header.IV[:]), o.Header.Generation))
}

func (h *handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid):
		refuse(w, http.StatusNotFound)
		return
	case errors.Is(err, fs.ErrPermission):
		refuse(w, http.StatusForbidden)
	default:
		refuse(w, http.StatusBadGateway)
	}
	h.report(r, err)
}

func (h *handler) report(r *http.Request, err error) {
	if h.options.OnError != nil && r.Context().Err() == nil {
		h.options.OnError(r, err)
	}
}

// refuse answers with a status and nothing else to learn.
func refuse(w http.ResponseWriter, status int) {
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, http.StatusText(status), status)
}

// A content is what is sent of a file, and remembers what went wrong, which
// http.ServeContent does not tell. That may read in a goroutine which outlives
// it, until the file is closed.
type content struct {
	file *file

	mu  sync.Mutex
	err error
}

func (c *content) Read(p []byte) (int, error) {
	n, err := c.file.Read(p)
	if err != nil && err != io.EOF {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.err = err
	}
	return n, err
}

func (c *content) Seek(offset int64, whence int) (int64, error) { return c.file.Seek(offset, whence) }

func (c *content) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
