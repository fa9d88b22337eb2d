package s3fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"strings"
	"sync/atomic"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/internal/s3header"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/stream"
)

// A Client is what a file system needs of an *s3.Client. One of the caller's own
// can add to each request what the bucket asks for, such as RequestPayer or the
// key of SSE-C.
type Client = s3download.ListClient

// Options say how to show objects as files. The zero value of each field is its
// default, and nil options are all defaults.
type Options struct {
	// Download says how to read objects, and which to accept. Its Prefetch is
	// not used.
	Download *s3download.Options

	// SkipOthers leaves objects that are not streams out of directories. It
	// takes a request for each object of a directory that is read. By default
	// they are there, and opening them is format.ErrNotStream.
	SkipOthers bool

	// TrustSizes lets Info of a directory's entries compute the size from the
	// stored size that the store tells, as if the object had a header and
	// segments of the default size, and takes no request where that is
	// possible. The size is wrong where they have not, and not authenticated.
	// By default Info reads and authenticates the header; so do Stat and Open,
	// always.
	TrustSizes bool
}

// An FS is a file system. It implements [fs.StatFS], [fs.ReadDirFS],
// [fs.ReadFileFS] and [fs.SubFS], and is safe for concurrent use.
//
// Files implement [io.ReaderAt], [io.Seeker] and [io.WriterTo] as
// [s3download.Object] does, and are, like it, for one version of the object. A
// file's FileInfo has a [*Object] as its Sys.
//
// Errors are [*fs.PathError]: fs.ErrNotExist if the store has no such object,
// fs.ErrPermission if it, or the key service, denies access, fs.ErrClosed, and
// those of [s3download.Open] and of the SDK.
type FS struct {
	client  Client
	bucket  string
	prefix  string // of keys; empty or with a slash at its end
	keys    keywrap.Unwrapper
	options Options
	ctx     context.Context // the methods of io/fs have none
}

// New returns the file system of the objects whose keys begin with prefix and a
// slash; an empty prefix stands for all of the bucket. It makes no request.
//
// ctx governs all that is done with the file system and its files: when it ends,
// they fail. [FS.WithContext] gives the same file system another one.
func New(ctx context.Context, client Client, bucket, prefix string, keys keywrap.Unwrapper, o *Options) *FS {
	f := &FS{client: client, bucket: bucket, prefix: prefix, keys: keys, ctx: ctx}
	if prefix != "" && !strings.HasSuffix(prefix, "/") {
		f.prefix += "/"
	}
	if o != nil {
		f.options = *o
	}
	return f
}

// WithContext returns f for use under ctx.
func (f *FS) WithContext(ctx context.Context) *FS {
	g := *f
	g.ctx = ctx
	return &g
}

// Sub returns the file system of the directory dir. Whether there is such a
// directory shows when it is used.
func (f *FS) Sub(dir string) (fs.FS, error) {
	if !fs.ValidPath(dir) {
		return nil, pathError("sub", dir, fs.ErrInvalid)
	}
	g := *f
	g.prefix = f.within(dir)
	return &g, nil
}

// within returns what the keys in the directory called name begin with.
func (f *FS) within(name string) string {
	if name == "." {
		return f.prefix
	}
	return f.prefix + name + "/"
}

// Open opens a file, with one request that brings its first segment along, or a
// directory, for which there is another. Close must be called, also by the end
// of the context.
func (f *FS) Open(name string) (fs.File, error) {
	file, err := f.open(name, firstSegment)
	if err == nil {
		return file, nil
	}
	if f.isDir(name, &err) {
		return &dir{fsys: f, name: name}, nil
	}
	return nil, pathError("open", name, err)
}

// What to ask for together with the header.
var (
	firstSegment = s3download.Range{}
	headerAlone  = s3download.Range{Offset: 1}
)

// Stat returns what is known of a file once its header is authenticated, or of a
// directory.
func (f *FS) Stat(name string) (fs.FileInfo, error) {
	file, err := f.open(name, headerAlone)
	if err == nil {
		defer file.Close()
		return file.info, nil
	}
	if f.isDir(name, &err) {
		return dirInfo(name), nil
	}
	return nil, pathError("stat", name, err)
}

// ReadFile returns all of a file, fetched concurrently.
func (f *FS) ReadFile(name string) ([]byte, error) {
	file, err := f.open(name, firstSegment)
	if err != nil {
		if f.isDir(name, &err) {
			err = errIsDir
		}
		return nil, pathError("open", name, err)
	}
	defer file.Close()
	if file.info.size > math.MaxInt {
		return nil, pathError("read", name, fmt.Errorf("%w: %d bytes do not fit into memory: use Open", stream.ErrTooLarge, file.info.size))
	}
	b := make([]byte, file.info.size)
	if err := file.object.DownloadTo(f.ctx, writerAt(b)); err != nil {
		return nil, file.failed("read", err)
	}
	return b, nil
}

// A writerAt is written within its bounds.
type writerAt []byte

func (b writerAt) WriteAt(p []byte, off int64) (int, error) { return copy(b[off:], p), nil }

// isHeader tells whether name is that of a header beside its object, which is no
// file.
func (f *FS) isHeader(name string) bool { return strings.HasSuffix(name, f.headerSuffix()) }

func (f *FS) headerSuffix() string {
	if o := f.options.Download; o != nil && o.HeaderSuffix != "" {
		return o.HeaderSuffix
	}
	return s3header.DefaultSuffix
}

// open opens the object that name stands for.
func (f *FS) open(name string, prefetch s3download.Range) (*file, error) {
	switch {
	case !fs.ValidPath(name):
		return nil, fs.ErrInvalid
	case name == "." || f.isHeader(name):
		return nil, fs.ErrNotExist
	}
	var o s3download.Options
	if f.options.Download != nil {
		o = *f.options.Download
	}
	o.Prefetch = prefetch
	key := f.prefix + name
	client := &witness{Client: f.client, key: key}
	object, err := s3download.Open(f.ctx, client, &s3.GetObjectInput{Bucket: &f.bucket, Key: &key}, f.keys, &o)
	if err != nil {
		return nil, err
	}
	file := &file{object: object, info: fileInfo(path.Base(name), key, object, client.answer.Load()), name: name, ctx: f.ctx}
	file.stop = context.AfterFunc(f.ctx, func() { object.Close() })
	return file, nil
}

// isDir tells whether name is a directory, after opening it as an object failed
// with *err. It replaces *err if it cannot tell.
func (f *FS) isDir(name string, err *error) bool {
	if name == "." {
		return true
	}
	if !isMissing(*err) {
		return false
	}
	in := f.listing(name)
	in.MaxKeys = new(int32(1))
	out, listErr := f.client.ListObjectsV2(f.ctx, in)
	if listErr != nil {
		*err = errors.Join(*err, fmt.Errorf("s3fs: whether it is a directory: %w", listErr))
		return false
	}
	return len(out.Contents)+len(out.CommonPrefixes) > 0
}

// A witness keeps what the store said of the object with the header: the answer
// that all others must be of the same version as. Until the object is open,
// requests for the header follow one another, and the one after a failure counts.
type witness struct {
	Client
	key    string
	answer atomic.Pointer[s3.GetObjectOutput] // without the body
}

func (w *witness) GetObject(ctx context.Context, in *s3.GetObjectInput, opts ...func(*s3.Options)) (*s3.GetObjectOutput, error) {
	out, err := w.Client.GetObject(ctx, in, opts...)
	if err == nil && *in.Key == w.key && strings.HasPrefix(*in.Range, "bytes=0-") {
		kept := *out
		kept.Body = nil
		w.answer.Store(&kept)
	}
	return out, err
}
