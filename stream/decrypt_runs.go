package stream

import "sync"

// readInRuns is read by several goroutines.
func (r *DecryptReaderAt) readInRuns(p []byte, off int64) (int, error) {
	first, end, _ := r.info.Layout.SegmentRange(off, int64(len(p))) // as in read
	size := int64(r.info.SegmentSize)
	begin := func(segment int64) int64 { return max(0, segment*size-off) } // in p
	at, n, err := r.inRuns(first, end, func(first, end int64) (int, error) {
		from := begin(first)
		return r.read(p[from:min(int64(len(p)), begin(end))], off+from)
	})
	if err != nil {
		return int(begin(at)) + n, err
	}
	return len(p), nil
}

// inRuns calls do for all of the segments first to end-1, a batch at a time, in
// up to r.workers goroutines, of which the caller's is one. After an error it
// begins no more of them. It returns the first error in the order of the
// segments, with the first segment of its batch and the count that do gave;
// everything before that batch was done.
func (r *DecryptReaderAt) inRuns(first, end int64, do func(first, end int64) (int, error)) (at int64, n int, err error) {
	var mu sync.Mutex // for what follows, and for first
	batch := int64(segmentsPerBatch(r.info.SegmentSize))
	next := func() (int64, bool) {
		mu.Lock()
		defer mu.Unlock()
		run := first
		first = min(end, first+batch)
		return run, run < end
	}
	failed := func(run int64, count int, cause error) {
		mu.Lock()
		defer mu.Unlock()
		first = end
		if err == nil || run < at {
			at, n, err = run, count, cause
		}
	}
	work := func() {
		for run, ok := next(); ok; run, ok = next() {
			if n, err := do(run, min(end, run+batch)); err != nil {
				failed(run, n, err)
			}
		}
	}
	var others sync.WaitGroup
	for range min(int64(min(r.workers, maxWorkers)), (end-first+batch-1)/batch) - 1 {
		others.Go(work)
	}
	work()
	others.Wait()
	return at, n, err
}
