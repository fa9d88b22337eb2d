package s3download

import (
	"context"
	"fmt"
	"io"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/bulla-format/bulla/stream"
)

// WriteTo writes the plaintext from the offset on to dst, in order, a segment
// at a time. It fetches Options.Concurrency windows at the same time and holds
// no more than these in memory. dst must not keep what it is given. For a
// [stream.EncryptWriter], whose stream must not be completed when this one
// fails, it reads as Read does.
func (o *Object) WriteTo(dst io.Writer) (total int64, err error) {
	if w, ok := dst.(*stream.EncryptWriter); ok {
		return w.ReadFrom(struct{ io.Reader }{o})
	}
	offset, err := o.leaveForWriting()
	if err != nil || offset >= o.Size() {
		return 0, err
	}
	index, skip := o.locate(offset)
	err = o.inOrder(index, func(plain []byte) error {
		if len(plain) == 0 {
			return nil // an empty final segment
		}
		n, err := dst.Write(plain[skip:])
		total += int64(n)
		err = writeError(n, len(plain)-skip, err)
		skip = 0
		return err
	})
	o.sequence.Lock()
	defer o.sequence.Unlock()
	o.offset = offset + total
	o.ended = o.ended || err == nil
	return total, err
}

// leaveForWriting ends what Read was at, and returns the offset. At the
// plaintext's end it does for WriteTo what Read does there.
func (o *Object) leaveForWriting() (offset int64, err error) {
	o.sequence.Lock()
	defer o.sequence.Unlock()
	o.leave()
	if err := o.check(); err != nil {
		return 0, err
	}
	if o.offset >= o.Size() {
		err = o.proveEnd()
	}
	return o.offset, err
}

func writeError(n, asked int, err error) error {
	if err == nil && n != asked {
		err = io.ErrShortWrite
	}
	if err != nil {
		return fmt.Errorf("s3download: writing to the destination: %w", err)
	}
	return nil
}

// A window is a row of segments that is fetched by a goroutine of its own. The
// channel has room for all of them: the goroutine waits for the network alone.
// It sets err before it closes the channel.
type window struct {
	segments chan []byte
	err      error
}

// inOrder calls use with the segments from first on. If they fit into one
// window, it starts no goroutine.
func (o *Object) inOrder(first int64, use func(plain []byte) error) error {
	end, size := o.final()+1, o.segments(o.options.WindowSize)
	if end-first <= size {
		buf := make([]byte, 0, o.plainSize(first))
		return o.newRun(o.ctx, first, end).each(
			func() []byte { return buf },
			func(_ int64, plain []byte) error { return use(plain) })
	}
	ctx, cancel := context.WithCancel(o.ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	free := newBuffers(int(min(size*int64(o.options.Concurrency), end-first)), o.plainSize(0))
	var windows []*window
	for first < end || len(windows) > 0 {
		for ; first < end && len(windows) < o.options.Concurrency; first += size {
			r := o.newRun(ctx, first, min(first+size, end))
			windows = append(windows, start(&wg, r, free))
		}
		w := windows[0]
		windows = windows[1:]
		for plain := range w.segments {
			if err := use(plain); err != nil {
				return err
			}
			free.put(plain)
		}
		if w.err != nil {
			return w.err
		}
	}
	return nil
}

// start fetches the segments of r in a goroutine.
func start(wg *sync.WaitGroup, r *run, free *buffers) *window {
	w := &window{segments: make(chan []byte, r.end-r.index)}
	wg.Go(func() {
		defer close(w.segments)
		w.err = r.each(free.get, func(_ int64, plain []byte) error {
			w.segments <- plain
			return nil
		})
	})
	return w
}

// DownloadTo writes the whole plaintext to dst, each segment at its offset, in
// any order, fetching Options.Concurrency windows at the same time. Nothing is
// written that is not authenticated; but only when the error is nil has all of
// it been, and dst is to be discarded otherwise. The first error ends the
// other requests, as do the ends of ctx and of the Object.
func (o *Object) DownloadTo(ctx context.Context, dst io.WriterAt) error {
	if err := o.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(o.ctx, func() { cancel(stream.ErrClosed) })()
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(o.options.Concurrency)
	first, end, size := int64(0), o.final()+1, o.segments(o.options.WindowSize)
	for ; first < end && groupCtx.Err() == nil; first += size {
		r := o.newRun(groupCtx, first, min(first+size, end))
		group.Go(func() error { return o.downloadRun(r, dst) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if first < end {
		return o.source.named(context.Cause(ctx))
	}
	return nil
}

func (o *Object) downloadRun(r *run, dst io.WriterAt) error {
	buf := o.cache.buffers.get()
	defer func() {
		clear(buf[:cap(buf)])
		o.cache.buffers.put(buf)
	}()
	return r.each(
		func() []byte { return buf },
		func(index int64, plain []byte) error {
			if len(plain) == 0 {
				return nil // an empty final segment
			}
			n, err := dst.WriteAt(plain, index*int64(o.layout.SegmentSize()))
			return writeError(n, len(plain), err)
		})
}
