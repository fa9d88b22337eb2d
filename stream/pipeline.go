package stream

// batchSize is about how many plaintext bytes a goroutine seals or opens at a
// time, whatever the segment size: enough to make its start cheap. Tests lower
// it.
var batchSize = 512 << 10

// maxWorkers bounds the options named Workers.
const maxWorkers = 1024

// segmentsPerBatch returns how many segments of size plaintext bytes make a
// batch.
func segmentsPerBatch(size int) int { return max(1, batchSize/size) }

// A batch is a run of segments that one goroutine seals or opens.
type batch struct {
	in    [][]byte // the segments
	out   []byte   // what they become, one after the other
	index int64    // of the first
	final bool     // whether the stream's final segment is among them
	err   error    // of the segment that would come after out
	room  []byte   // what in refers to, unless that is in out or lent
	done  chan struct{}
}

// A pipeline works on batches in goroutines, several at a time, and returns
// them in order. Its own methods are called from one goroutine. No goroutine
// lives longer than its batch is worked on: one that is given up leaves
// nothing behind.
type pipeline struct {
	work    func(*batch)
	workers chan struct{} // has an element for each one that is at work
	depth   int           // how many batches there are at most
	queue   []*batch      // those that were started, in order
	spare   []*batch
}

func newPipeline(workers int, work func(*batch)) *pipeline {
	workers = min(workers, maxWorkers)
	return &pipeline{work: work, workers: make(chan struct{}, workers), depth: 2 * workers}
}

// take returns an empty batch.
func (p *pipeline) take() *batch {
	b := new(batch)
	if n := len(p.spare); n > 0 {
		b, p.spare = p.spare[n-1], p.spare[:n-1]
	}
	*b = batch{in: b.in[:0], out: b.out[:0], room: b.room}
	return b
}

// start hands b to a goroutine.
func (p *pipeline) start(b *batch) {
	b.done = make(chan struct{})
	p.queue = append(p.queue, b)
	go func() {
		p.workers <- struct{}{}
		p.work(b)
		clear(b.in) // it may refer to a caller's memory
		<-p.workers
		close(b.done)
	}()
}

// due reports whether next is to be called before another batch is started:
// because a batch is finished, or because there may be no more of them.
func (p *pipeline) due() bool {
	if len(p.queue) == 0 || len(p.queue) == p.depth {
		return len(p.queue) > 0
	}
	select {
	case <-p.queue[0].done:
		return true
	default:
		return false
	}
}

// next waits for the oldest batch and returns it, to be given back with recycle;
// nil if there is none.
func (p *pipeline) next() *batch {
	if len(p.queue) == 0 {
		return nil
	}
	b := p.queue[0]
	<-b.done
	p.queue = append(p.queue[:0], p.queue[1:]...)
	return b
}

func (p *pipeline) recycle(b *batch) { p.spare = append(p.spare, b) }

// wait returns when no goroutine is at work.
func (p *pipeline) wait() {
	for _, b := range p.queue {
		<-b.done
	}
}

// discard waits, and clears what has not been asked for.
func (p *pipeline) discard() {
	p.wait()
	for _, b := range p.queue {
		clear(b.out)
	}
	p.queue, p.spare = nil, nil
}

// A readAhead reads a source in batches, ahead of its caller, and has them
// worked on.
type readAhead struct {
	*pipeline
	fill func(*batch) error // reads a batch; the error is what follows it, io.EOF after the final segment
	err  error              // what follows the queue
}

// next returns the next batch, valid until the following call, or nil and what
// follows the batches.
func (a *readAhead) next() (*batch, error) {
	for a.err == nil {
		b := a.take()
		if a.err = a.fill(b); len(b.in) > 0 {
			a.start(b)
		}
		if a.due() {
			break
		}
	}
	b := a.pipeline.next()
	if b == nil {
		return nil, a.err
	}
	a.recycle(b) // to be filled by the following call
	return b, nil
}
