package s3fs

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"golang.org/x/sync/errgroup"

	"github.com/bulla-format/bulla/format"
)

// openAtOnce is how many headers ReadDir reads at a time for SkipOthers.
const openAtOnce = 16

// ReadDir returns all that is in a directory, sorted by name, with one request
// for each thousand keys. All entries are held in memory.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	if !fs.ValidPath(name) {
		return nil, pathError("readdir", name, fs.ErrInvalid)
	}
	found, exists, err := f.list(name)
	if err == nil && !exists {
		err = f.noDir(name)
	}
	if err == nil && f.options.SkipOthers {
		err = f.skipOthers(found)
	}
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	entries := make([]fs.DirEntry, 0, len(found))
	for _, e := range slices.SortedFunc(maps.Values(found), func(a, b *entry) int { return cmp.Compare(a.Name(), b.Name()) }) {
		entries = append(entries, e)
	}
	return entries, nil
}

// noDir says why there is nothing in a directory. One without a name always
// exists.
func (f *FS) noDir(name string) error {
	if name == "." {
		return nil
	}
	file, err := f.open(name, headerAlone)
	if err != nil {
		return err
	}
	file.Close()
	return errNotDir
}

// listing asks for all keys in the directory called name. They come encoded,
// for XML has no way to write some of the characters that keys may have.
func (f *FS) listing(name string) *s3.ListObjectsV2Input {
	return &s3.ListObjectsV2Input{
		Bucket:       &f.bucket,
		Prefix:       aws.String(f.within(name)),
		Delimiter:    aws.String("/"),
		EncodingType: types.EncodingTypeUrl,
	}
}

// list returns what is in a directory, by name, and whether the store has any
// key in it at all.
func (f *FS) list(name string) (found map[string]*entry, exists bool, err error) {
	found = make(map[string]*entry)
	in := f.listing(name)
	for {
		out, err := f.client.ListObjectsV2(f.ctx, in)
		if err != nil {
			return nil, false, fmt.Errorf("s3fs: listing %.300q: %w", "s3://"+f.bucket+"/"+*in.Prefix, err)
		}
		for _, o := range out.Contents {
			if key, ok := decode(out, o.Key, *in.Prefix); ok {
				exists = true
				f.add(found, name, key, &o)
			}
		}
		for _, p := range out.CommonPrefixes {
			if key, ok := decode(out, p.Prefix, *in.Prefix); ok {
				exists = true
				f.add(found, name, key, nil)
			}
		}
		if !aws.ToBool(out.IsTruncated) {
			return found, exists, nil
		}
		next := out.NextContinuationToken
		if aws.ToString(next) == "" || aws.ToString(next) == aws.ToString(in.ContinuationToken) {
			return nil, false, errors.New("s3fs: the store's listing goes on and does not say where: it is incomplete")
		}
		in.ContinuationToken = next
	}
}

// decode returns what of a listed key stands behind prefix. A store that does
// not know the encoding does not name it in its answer.
func decode(out *s3.ListObjectsV2Output, key *string, prefix string) (string, bool) {
	k := aws.ToString(key)
	if out.EncodingType == types.EncodingTypeUrl {
		var err error
		if k, err = url.QueryUnescape(k); err != nil {
			return "", false
		}
	}
	return strings.CutPrefix(k, prefix)
}

// add adds the entry of the directory dir that key, relative to it, is of. An
// object comes before a directory of the same name.
func (f *FS) add(found map[string]*entry, dir, key string, o *types.Object) {
	name, _, isDir := strings.Cut(key, "/")
	switch {
	case !fs.ValidPath(name) || name == ".":
		return
	case isDir && found[name] != nil:
		return
	case !isDir && o == nil:
		return // a store that calls an object a prefix
	case !isDir && f.isHeader(name):
		// Its object, which comes before it, has none of its own: see computed.
		if e := found[strings.TrimSuffix(name, f.headerSuffix())]; e != nil && !e.IsDir() {
			e.object.Size = nil
		}
		return
	}
	e := &entry{fsys: f, path: path.Join(dir, name)}
	if !isDir {
		e.object = &types.Object{ETag: o.ETag, LastModified: o.LastModified, Size: o.Size}
	}
	found[name] = e
}

// skipOthers deletes what is no stream, and keeps what it learns of the others.
func (f *FS) skipOthers(found map[string]*entry) error {
	group, ctx := errgroup.WithContext(f.ctx)
	group.SetLimit(openAtOnce)
	under := f.WithContext(ctx)
	names := slices.Collect(maps.Keys(found))
	skip := make([]bool, len(names))
	for i, name := range names {
		e := found[name]
		if e.IsDir() {
			continue
		}
		group.Go(func() error {
			file, err := under.open(e.path, headerAlone)
			switch {
			case err == nil:
				e.known = file.info
				return file.Close()
			case errors.Is(err, format.ErrNotStream) || isMissing(err):
				skip[i] = true
				return nil
			case ctx.Err() != nil:
				return err
			}
			return nil // it is a stream, or nobody knows; opening it will tell
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, name := range names {
		if skip[i] {
			delete(found, name)
		}
	}
	return nil
}

// An entry is an fs.DirEntry.
type entry struct {
	fsys   *FS
	path   string        // in fsys
	object *types.Object // as it was listed; nil of a directory
	known  *info         // nil if the header was not read
}

func (e *entry) Name() string   { return path.Base(e.path) }
func (e *entry) IsDir() bool    { return e.object == nil }
func (e *entry) String() string { return fs.FormatDirEntry(e) }

func (e *entry) Type() fs.FileMode {
	if e.IsDir() {
		return fs.ModeDir
	}
	return 0
}

// Info reads the header of a file, unless Options.TrustSizes spares it.
func (e *entry) Info() (fs.FileInfo, error) {
	if e.IsDir() {
		return dirInfo(e.path), nil
	}
	if e.known != nil {
		return e.known, nil
	}
	if i := e.computed(); i != nil {
		return i, nil
	}
	file, err := e.fsys.open(e.path, headerAlone)
	if err != nil {
		return nil, pathError("stat", e.path, err)
	}
	defer file.Close()
	return file.info, nil
}

// computed returns what TrustSizes makes of the listing, or nil.
func (e *entry) computed() *info {
	if !e.fsys.options.TrustSizes || e.object.Size == nil {
		return nil
	}
	layout, err := format.NewLayout(format.DefaultHeaderSize, format.DefaultSegmentExp)
	if err != nil {
		panic("s3fs: the default layout is none") // it is one
	}
	size, err := layout.PlaintextSize(*e.object.Size)
	if err != nil {
		return nil // no stream of that layout has this stored size
	}
	return &info{name: e.Name(), size: size, modified: modified(e.object.LastModified), object: &Object{
		Key: e.fsys.prefix + e.path, ETag: aws.ToString(e.object.ETag), StoredSize: *e.object.Size,
	}}
}
