package s3fs

import (
	"context"
	"errors"
	"io"
	"io/fs"

	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/stream"
)

// A file is an object that is open.
type file struct {
	object *s3download.Object
	info   *info
	name   string
	ctx    context.Context
	stop   func() bool // forgets to close the object when ctx ends
}

var (
	_ io.ReaderAt = (*file)(nil)
	_ io.Seeker   = (*file)(nil)
	_ io.WriterTo = (*file)(nil)
)

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }

func (f *file) Read(p []byte) (int, error) {
	n, err := f.object.Read(p)
	return n, f.failed("read", err)
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.object.ReadAt(p, off)
	return n, f.failed("read", err)
}

func (f *file) WriteTo(dst io.Writer) (int64, error) {
	n, err := f.object.WriteTo(dst)
	return n, f.failed("read", err)
}

func (f *file) Seek(offset int64, whence int) (int64, error) {
	n, err := f.object.Seek(offset, whence)
	return n, f.failed("seek", err)
}

func (f *file) Close() error {
	f.stop()
	return f.object.Close()
}

// failed returns the error of a method. What the end of the context closed has
// the context's error.
func (f *file) failed(op string, err error) error {
	if errors.Is(err, stream.ErrClosed) {
		if err = context.Cause(f.ctx); err == nil {
			err = fs.ErrClosed
		}
	}
	return pathError(op, f.name, err)
}

// A dir is a directory that is open. It is read when ReadDir is first called.
type dir struct {
	fsys   *FS
	name   string
	read   bool
	rest   []fs.DirEntry
	closed bool
}

func (d *dir) Stat() (fs.FileInfo, error) { return dirInfo(d.name), nil }

func (d *dir) Read([]byte) (int, error) { return 0, pathError("read", d.name, errIsDir) }

func (d *dir) Close() error {
	d.closed = true
	return nil
}

func (d *dir) ReadDir(n int) ([]fs.DirEntry, error) {
	if d.closed {
		return nil, pathError("readdir", d.name, fs.ErrClosed)
	}
	if !d.read {
		entries, err := d.fsys.ReadDir(d.name)
		if err != nil {
			return nil, err
		}
		d.read, d.rest = true, entries
	}
	if n > 0 && len(d.rest) == 0 {
		return nil, io.EOF
	}
	if n <= 0 || n > len(d.rest) {
		n = len(d.rest)
	}
	entries := d.rest[:n:n]
	d.rest = d.rest[n:]
	return entries, nil
}
