package main

import (
	"context"
	"io"
	"os"
)

// An input is a file or standard input, read from front to back.
type input struct {
	io.Reader
	name  string // for messages
	size  int64  // bytes to come, or -1 when that is not known
	close func()
}

// open opens a file, or standard input for -. When ctx ends, reading fails.
func (a *app) open(ctx context.Context, name string) (*input, error) {
	in := &input{Reader: a.stdin, name: "standard input", size: -1, close: func() {}}
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		in.Reader, in.name, in.close = file, name, func() { file.Close() }
	}
	if file, ok := in.Reader.(*os.File); ok {
		if in.size = sizeOf(file); in.size >= 0 {
			in.Reader = contextReader{ctx, file}
			return in, nil
		}
	}
	in.pump(ctx)
	return in, nil
}

// sizeOf returns how many bytes a regular file has from its offset on, and -1
// for pipes, terminals and empty files, as which the kernel's own files pose.
func sizeOf(file *os.File) int64 {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return -1
	}
	offset, err := file.Seek(0, io.SeekCurrent)
	if err != nil || offset >= info.Size() {
		return -1
	}
	return info.Size() - offset
}

// pump lets reads from what may block for ever end with ctx. The goroutine
// itself ends with the source, or with the process.
func (in *input) pump(ctx context.Context) {
	src, closeSrc := in.Reader, in.close
	r, w := io.Pipe()
	stop := context.AfterFunc(ctx, func() { w.CloseWithError(context.Cause(ctx)) })
	go func() {
		_, err := io.CopyBuffer(w, struct{ io.Reader }{src}, make([]byte, 64<<10))
		w.CloseWithError(err)
	}()
	in.Reader = r
	in.close = func() {
		stop()
		r.Close()
		closeSrc()
	}
}

// A contextReader reads until its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}
