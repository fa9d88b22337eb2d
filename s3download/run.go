package s3download

import (
	"context"

	"github.com/bulla-format/bulla/format"
)

// A run opens the segments index to end-1, one after the other: those in the
// cache from there, and each row of others from one request, or from as many
// as it takes. It is not safe for concurrent use.
type run struct {
	object     *Object
	ctx        context.Context
	index, end int64
	answer     *answer // nil when no request is under way
	until      int64   // the request is for the segments up to until-1
	stored     []byte  // a buffer of the object's, until close
}

func (o *Object) newRun(ctx context.Context, first, end int64) *run {
	return &run{object: o, ctx: ctx, index: first, end: end}
}

// next appends the plaintext of the next segment to dst, which is empty and
// has room for it. After an error it can be called again, and tries the same
// segment again.
func (r *run) next(dst []byte) ([]byte, error) {
	o := r.object
	if err := o.begin(); err != nil {
		r.close()
		return nil, err
	}
	defer o.calls.Done()
	if r.answer == nil {
		room := dst[:o.plainSize(r.index)]
		n, ok, err := o.cached(room, r.index, 0)
		if err != nil {
			r.close()
			return nil, err
		}
		if ok {
			r.index++
			return room[:n], nil
		}
		r.until = o.cache.before(r.index+1, r.end)
	}
	stored := r.buffer(o.plainSize(r.index) + format.SegmentOverhead)
	if err := o.source.retry(r.ctx, func() error { return r.fill(stored) }); err != nil {
		return nil, o.source.explain(err)
	}
	if r.index+1 == r.until {
		r.leave()
	}
	plain, err := o.stream.OpenSegment(dst, stored, r.index)
	if err != nil {
		r.close()
		return nil, o.source.named(err)
	}
	r.index++
	return plain, nil
}

// fill reads the next stored segment, from the request that is under way or
// from a new one.
func (r *run) fill(stored []byte) (err error) {
	if r.answer == nil {
		start, end := r.object.layout.StoredRange(r.index, r.until, r.object.Size())
		if r.answer, err = r.object.source.get(r.ctx, start, end); err != nil {
			return err
		}
	}
	if err := r.answer.fill(stored); err != nil {
		r.leave()
		return err
	}
	return nil
}

// readAhead reads the segments that are left, as long as the request under way
// gives them, into the cache. A failure is for those who will want them.
func (r *run) readAhead() {
	o := r.object
	if o.begin() != nil {
		return
	}
	defer o.calls.Done()
	for r.answer != nil && r.index < r.until {
		stored := o.cache.sealed.get()[:o.plainSize(r.index)+format.SegmentOverhead]
		if r.answer.fill(stored) != nil {
			o.cache.sealed.put(stored)
			return
		}
		o.cache.putSealed(r.index, stored)
		r.index++
	}
}

// leave ends the request that is under way.
func (r *run) leave() {
	if r.answer != nil {
		r.answer.Close()
		r.answer = nil
	}
}

// close ends the request that is under way and gives the buffer back.
func (r *run) close() {
	r.leave()
	if r.stored != nil {
		r.object.stored.put(r.stored)
		r.stored = nil
	}
}

func (r *run) buffer(size int) []byte {
	if r.stored == nil {
		r.stored = r.object.stored.get()
	}
	return r.stored[:size]
}

// each calls use with each of the segments that are left, in order. The
// plaintext is in what buffer returned.
func (r *run) each(buffer func() []byte, use func(index int64, plain []byte) error) error {
	defer r.close()
	for r.index < r.end {
		index := r.index
		plain, err := r.next(buffer())
		if err != nil {
			return err
		}
		if err := use(index, plain); err != nil {
			return err
		}
	}
	return nil
}
