package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/stream"
)

// catBuffer is how much plaintext cat asks for at a time, if a segment is not
// larger.
const catBuffer = 1 << 20

// A catJob is what cat was asked to do.
type catJob struct {
	keys   keyFlags
	stream streamFlags
	store  s3Flags
	src    string
	wanted byteRange
}

func (a *app) catCommand() *cobra.Command {
	j := catJob{wanted: allBytes}
	cmd := &cobra.Command{
		Use:   "cat {FILE.bulla | s3://BUCKET/KEY | https://URL} [--range FIRST-LAST]",
		Short: "Write the plaintext, or any range of it, to standard output",
		Long: `Write the plaintext of a file or an object, or any range of it, to standard
output. Only the segments of that range are read, and every byte is authenticated
before it is written. The size of the whole is proved first.

Ranges are those of HTTP: 0-99 are the first hundred bytes, 100- all after them,
-500 the final five hundred.

A presigned URL needs no credentials of AWS. The place that it stands for is not
known: a stream that is bound to its location needs --ignore-location.`,
		Example: `  bulla cat --key backup.key photos.tar.bulla | tar t
  bulla cat --key backup.key --range 0-511 s3://bucket/photos.tar
  bulla cat --key backup.key --range=-22 s3://bucket/archive.zip | xxd
  bulla cat --key backup.key "$(aws s3 presign s3://bucket/photos.tar)" | tar x`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			j.src = args[0]
			return a.cat(cmd.Context(), &j)
		},
	}
	j.keys.registerRead(cmd.Flags())
	cmd.Flags().Var(&j.wanted, "range", "plaintext bytes to write: FIRST-LAST, FIRST- or -COUNT")
	j.stream.registerBoth(cmd.Flags())
	j.stream.registerDecrypt(cmd.Flags())
	j.store.register(cmd.Flags())
	j.keys.access.register(cmd.Flags())
	return cmd
}

// A plaintext is a stream of known size, opened for reading.
type plaintext interface {
	io.ReadSeekCloser
	Size() int64
	Info() stream.Info
}

func (a *app) cat(ctx context.Context, j *catJob) error {
	if j.src == "-" {
		return usagef(`cat needs a file or an object: use "bulla decrypt" for standard input`)
	}
	options, err := j.stream.decryptOptions()
	if err != nil {
		return err
	}
	keys, err := a.unwrapper(ctx, &j.keys)
	if err != nil {
		return err
	}
	var src plaintext
	name := j.src
	switch {
	case isS3(j.src):
		src, err = j.openObject(ctx, keys, options)
	case isURL(j.src):
		name, _, _ = strings.Cut(j.src, "?") // behind that it is secret
		src, err = closeWith(ctx)(s3download.OpenURL(ctx, nil, j.src, keys, j.options(options)))
	default:
		src, err = openFile(ctx, j.src, keys, options)
	}
	if err != nil {
		return err
	}
	defer src.Close()
	offset, n, err := j.wanted.resolve(src.Size())
	if err != nil {
		return named(name, err)
	}
	if _, err := src.Seek(offset, io.SeekStart); err != nil {
		return named(name, err)
	}
	dst := a.stdout
	if isTerminal(dst) {
		dst = textWriter{dst}
	}
	buffer := make([]byte, max(catBuffer, src.Info().SegmentSize))
	// Only the Write of dst: a ReadFrom would bring a smaller buffer.
	if _, err := io.CopyBuffer(struct{ io.Writer }{dst}, io.LimitReader(contextReader{ctx, src}, n), buffer); err != nil {
		return named(name, err)
	}
	return nil
}

// isURL reports whether an argument is one of the web.
func isURL(arg string) bool {
	return strings.HasPrefix(arg, "https://") || strings.HasPrefix(arg, "http://")
}

// options say how to open an object: together with the header it asks for the
// range, as far as the range tells where it begins.
func (j *catJob) options(decrypt *stream.DecryptOptions) *s3download.Options {
	o := &s3download.Options{Decrypt: decrypt, HeaderSuffix: j.store.headerSuffix}
	if r := j.wanted; r != allBytes && r.first >= 0 {
		o.Prefetch = s3download.Range{Offset: r.first, Length: min(r.last-r.first, catBuffer) + 1}
	}
	return o
}

// closeWith makes the requests of an object that was opened end with ctx.
func closeWith(ctx context.Context) func(*s3download.Object, error) (plaintext, error) {
	return func(object *s3download.Object, err error) (plaintext, error) {
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { object.Close() })
		return object, nil
	}
}

func (j *catJob) openObject(ctx context.Context, keys keywrap.Unwrapper, options *stream.DecryptOptions) (plaintext, error) {
	at, err := parseS3(j.src)
	if err != nil {
		return nil, err
	}
	client, err := j.store.client(ctx, &j.keys.access.aws)
	if err != nil {
		return nil, err
	}
	return closeWith(ctx)(s3download.Open(ctx, client, at.get(), keys, j.options(options)))
}

// A fileReader is the plaintext of an encrypted file.
type fileReader struct {
	*io.SectionReader
	file *os.File
	info stream.Info
}

// Read ends at the edge of a segment if it can, so that none is opened twice.
func (r *fileReader) Read(p []byte) (int, error) {
	offset, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	if beyond := (offset + int64(len(p))) % int64(r.info.SegmentSize); beyond < int64(len(p)) {
		p = p[:int64(len(p))-beyond]
	}
	return r.SectionReader.Read(p)
}

func (r *fileReader) Info() stream.Info { return r.info }

func (r *fileReader) Close() error { return r.file.Close() }

func openFile(ctx context.Context, name string, keys keywrap.Unwrapper, options *stream.DecryptOptions) (*fileReader, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	size, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("%s: %w; cat needs a regular file, decrypt does not", name, err)
	}
	r, err := stream.NewDecryptReaderAt(ctx, file, size, keys, options)
	if err != nil {
		file.Close()
		return nil, named(name, err)
	}
	return &fileReader{io.NewSectionReader(r, 0, r.Size()), file, r.Info()}, nil
}
