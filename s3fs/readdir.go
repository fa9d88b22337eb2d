package s3fs

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"golang.org/x/sync/errgroup"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/s3download"
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

// listing asks for all keys in the directory called name.
func (f *FS) listing(name string) *s3.ListObjectsV2Input {
	return &s3.ListObjectsV2Input{Bucket: &f.bucket, Prefix: aws.String(f.within(name)), Delimiter: aws.String("/")}
}

// list returns what is in a directory, by name, and whether the store has any
// key in it at all.
func (f *FS) list(name string) (found map[string]*entry, exists bool, err error) {
	found = make(map[string]*entry)
	in := f.listing(name)
	for e, err := range s3download.List(f.ctx, f.client, in, &s3download.ListOptions{HeaderSuffix: f.headerSuffix()}) {
		if err != nil {
			return nil, false, err
		}
		exists = true
		f.add(found, name, strings.TrimPrefix(e.Key, *in.Prefix), &e)
	}
	return found, exists, nil
}

// add adds the entry of the directory dir that key, relative to it, is of. An
// object comes before a directory of the same name.
func (f *FS) add(found map[string]*entry, dir, key string, listed *s3download.Entry) {
	name, _, isDir := strings.Cut(key, "/")
	switch {
	case !fs.ValidPath(name) || name == ".":
	case isDir:
		if found[name] == nil {
			found[name] = &entry{fsys: f, path: path.Join(dir, name)}
		}
	case listed.Object != nil: // not a header alone, nor an object that a store calls a prefix
		found[name] = &entry{fsys: f, path: path.Join(dir, name), listed: listed}
	}
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
	path   string            // in fsys
	listed *s3download.Entry // nil of a directory
	known  *info             // nil if the header was not read
}

func (e *entry) Name() string   { return path.Base(e.path) }
func (e *entry) IsDir() bool    { return e.listed == nil }
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

// computed returns what TrustSizes makes of the listing, or nil: also where a
// header stands beside, which may be one that another upload has left.
func (e *entry) computed() *info {
	if !e.fsys.options.TrustSizes || e.listed.Header != nil || e.listed.PlaintextSize == format.UnknownSize {
		return nil
	}
	o := e.listed.Object
	return &info{name: e.Name(), size: e.listed.PlaintextSize, modified: modified(o.LastModified), object: &Object{
		Key: e.listed.Key, ETag: aws.ToString(o.ETag), StoredSize: aws.ToInt64(o.Size),
	}}
}
