package s3fs

import (
	"io/fs"
	"path"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/stream"
)

// An Object is what stands behind a file: Sys of its FileInfo.
type Object struct {
	Key        string // of the object, the prefix included
	ETag       string // of the object, as it is stored
	StoredSize int64  // bytes; 0 if the store did not tell

	// ContentType is that of the object. The store can say what it likes;
	// what the writer said is in the sealed metadata of Header.
	ContentType string

	// Header is what the authenticated header says: nil where the size was
	// computed (Options.TrustSizes).
	Header *stream.Info
}

// An info is the fs.FileInfo of a file or a directory.
type info struct {
	name     string
	size     int64
	modified time.Time
	object   *Object // nil of a directory
}

func (i *info) Name() string       { return i.name }
func (i *info) Size() int64        { return i.size }
func (i *info) ModTime() time.Time { return i.modified }
func (i *info) IsDir() bool        { return i.object == nil }
func (i *info) String() string     { return fs.FormatFileInfo(i) }

func (i *info) Mode() fs.FileMode {
	if i.IsDir() {
		return fs.ModeDir | 0o555
	}
	return 0o444
}

func (i *info) Sys() any {
	if i.IsDir() {
		return nil
	}
	return i.object
}

func dirInfo(name string) *info { return &info{name: path.Base(name)} }

// fileInfo is about an object that was opened with the given answer.
func fileInfo(name, key string, object *s3download.Object, answer *s3.GetObjectOutput) *info {
	header := object.Info()
	stored, err := header.Layout.StoredSize(object.Size())
	if err != nil {
		panic("s3fs: an object's authenticated size cannot be stored") // it is
	}
	return &info{name: name, size: object.Size(), modified: modified(answer.LastModified), object: &Object{
		Key: key, ETag: aws.ToString(answer.ETag), StoredSize: stored,
		ContentType: aws.ToString(answer.ContentType), Header: &header,
	}}
}

// modified is in whole seconds, which is all that an answer to GetObject has:
// one that a listing tells is to be the same.
func modified(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Second)
}
