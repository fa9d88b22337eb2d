package s3download

import (
	"errors"
	"fmt"
	"io"
)

// firstWindow is how much plaintext, in bytes, Read asks for at first, and
// after Seek went elsewhere. Each request in sequence is for twice as much.
const firstWindow = 256 << 10

// ReadAt implements io.ReaderAt over the plaintext. Every byte that it returns
// is authenticated, those before an error included; what p holds beyond them
// is undefined, though never plaintext that is not authentic. At the end of
// the plaintext the error is io.EOF itself.
//
// Segments that are not in the cache are fetched with one request for each row
// of them. A read of up to half the cache goes through the cache, and shares
// what others are fetching; a larger one is opened straight into p. Reads that
// follow one another, in up to eight places at a time, fetch ahead: a quarter of
// what they have fetched, and a quarter of the cache at most.
func (o *Object) ReadAt(p []byte, off int64) (int, error) {
	if err := o.check(); err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, fmt.Errorf("s3download: reading at negative offset %d", off)
	}
	if off >= o.Size() {
		return 0, io.EOF
	}
	wanted := p[:min(int64(len(p)), o.Size()-off)]
	first, end, err := o.layout.SegmentRange(off, int64(len(wanted)))
	if err != nil {
		return 0, err
	}
	direct := end-first > int64(max(1, o.cache.limit/2))
	for done := 0; done < len(wanted); {
		n, err := o.readSome(wanted[done:], off+int64(done), end, direct)
		done += n
		if err != nil {
			return done, err
		}
	}
	return readResult(len(wanted), len(p))
}

// readSome reads the beginning of p, which ends in segment end-1: what is
// cached, or else what a single request gives. It may return nothing, without
// an error, when another call is at it.
func (o *Object) readSome(p []byte, off, end int64, direct bool) (int, error) {
	index, skip := o.locate(off)
	if n, ok, err := o.cached(p, index, skip); ok || err != nil {
		return n, err
	}
	if direct {
		r := o.newRun(o.ctx, index, end)
		defer r.close()
		return o.fetch(p, skip, r, end, true)
	}
	ahead := min(o.pace.ahead(index), int64(o.cache.aheadLimit()), o.segments(o.options.WindowSize))
	stop, busy := o.cache.claim(index, min(end+ahead, o.final()+1))
	if busy != nil {
		<-busy.landed
		return 0, busy.err
	}
	o.pace.moved(index, stop)
	r := o.newRun(o.ctx, index, stop)
	defer r.close()
	n, err := o.fetch(p, skip, r, min(end, stop), false)
	if err == nil {
		r.readAhead()
	}
	o.cache.forfeit(r.index, stop, err)
	return n, err
}

// cached reads what the cache has of a segment. One that was read ahead is
// opened now, not before: a segment that nobody wants cannot fail an Object.
func (o *Object) cached(p []byte, index int64, skip int) (n int, ok bool, err error) {
	stored := o.cache.unseal(index)
	if stored == nil {
		n, ok = o.cache.read(p, index, skip)
		return n, ok, nil
	}
	defer o.cache.sealed.put(stored)
	plain, err := o.open(stored, index)
	if err != nil {
		o.cache.forfeit(index, index+1, err)
		return 0, false, err
	}
	n = copy(p, plain[skip:])
	o.cache.put(index, plain)
	return n, true, nil
}

// open opens a stored segment into a buffer of the cache.
func (o *Object) open(stored []byte, index int64) ([]byte, error) {
	if err := o.begin(); err != nil {
		return nil, err
	}
	defer o.calls.Done()
	plain, err := o.stream.OpenSegment(o.cache.buffers.get(), stored, index)
	if err != nil {
		return nil, o.source.named(err)
	}
	return plain, nil
}

// fetch reads the segments of r up to end-1 into p, the first from skip on. They
// go through the cache; if direct, only those that p does not take whole.
func (o *Object) fetch(p []byte, skip int, r *run, end int64, direct bool) (done int, err error) {
	for r.index < end {
		index := r.index
		if size := o.plainSize(index); direct && skip == 0 && len(p)-done >= size {
			plain, err := r.next(p[done : done : done+size])
			if err != nil {
				return done, err
			}
			done += len(plain)
			continue
		}
		plain, err := r.next(o.cache.buffers.get())
		if err != nil {
			return done, err
		}
		done += copy(p[done:], plain[skip:])
		o.cache.put(index, plain)
		skip = 0
	}
	return done, nil
}

// locate returns the segment of a plaintext offset, and the offset in it.
func (o *Object) locate(off int64) (index int64, skip int) {
	size := int64(o.layout.SegmentSize())
	return off / size, int(off % size)
}

// Read reads on from the offset, up to the end of a segment. io.EOF follows
// only when the final segment has been opened or holds no byte behind the
// offset.
//
// While reads follow one another, their segments come from one request for
// each window (Options.WindowSize).
func (o *Object) Read(p []byte) (int, error) {
	o.sequence.Lock()
	defer o.sequence.Unlock()
	if err := o.check(); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if o.offset >= o.Size() {
		if err := o.proveEnd(); err != nil {
			return 0, err
		}
		return 0, io.EOF
	}
	n, err := o.readOn(p, o.offset)
	o.offset += int64(n)
	return n, err
}

// readOn reads from one segment, the one that off is in.
func (o *Object) readOn(p []byte, off int64) (int, error) {
	index, skip := o.locate(off)
	if o.ahead == nil || o.ahead.index != index || index == o.ahead.end {
		n, ok, err := o.cached(p, index, skip)
		if err != nil {
			return 0, err
		}
		if ok {
			o.after = index + 1
			return n, nil
		}
		o.lookAhead(index)
	}
	o.after = index + 1
	if size := o.plainSize(index); skip == 0 && len(p) >= size {
		plain, err := o.ahead.next(p[:0:size])
		return len(plain), err
	}
	plain, err := o.ahead.next(o.cache.buffers.get())
	if err != nil {
		return 0, err
	}
	n := copy(p, plain[skip:])
	o.cache.put(index, plain)
	return n, nil
}

// lookAhead makes ahead begin with segment index.
func (o *Object) lookAhead(index int64) {
	if index != o.after {
		o.window = 0
	}
	o.window = min(max(2*o.window, firstWindow, int64(o.layout.SegmentSize())), o.options.WindowSize)
	o.leave()
	o.ahead = o.newRun(o.ctx, index, min(index+o.segments(o.window), o.final()+1))
}

// leave ends the request that Read goes on with.
func (o *Object) leave() {
	if o.ahead != nil {
		o.ahead.close()
		o.ahead = nil
	}
}

// segments returns how many segments hold about n plaintext bytes, at least 1.
func (o *Object) segments(n int64) int64 {
	return max(1, n/int64(o.layout.SegmentSize()))
}

// proveEnd opens an empty final segment. Nothing is learnt from it, for the
// size is authentic, but a stream whose end was damaged is not read to io.EOF.
func (o *Object) proveEnd() error {
	if o.ended || o.plainSize(o.final()) > 0 {
		return nil
	}
	if _, err := o.readOn(nil, o.Size()); err != nil {
		return err
	}
	o.ended = true
	return nil
}

// Seek implements io.Seeker. It makes no request. Offsets beyond the end are
// allowed, and read as io.EOF.
func (o *Object) Seek(offset int64, whence int) (int64, error) {
	o.sequence.Lock()
	defer o.sequence.Unlock()
	if err := o.check(); err != nil {
		return 0, err
	}
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += o.offset
	case io.SeekEnd:
		offset += o.Size()
	default:
		return 0, fmt.Errorf("s3download: unknown whence %d", whence)
	}
	if offset < 0 {
		return 0, errors.New("s3download: seeking to a negative offset")
	}
	o.offset = offset
	return offset, nil
}
