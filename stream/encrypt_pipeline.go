package stream

import "github.com/bulla-format/bulla/format"

// sealBatch seals the segments of b, in place or from where they were lent.
func (e *encryption) sealBatch(b *batch) {
	for i, plaintext := range b.in {
		b.out = e.sealer.Seal(b.out, plaintext, b.index+int64(i), b.final && i == len(b.in)-1)
	}
}

// begin makes buf the room of an empty batch.
func (w *EncryptWriter) begin() {
	w.batch = w.pipeline.take()
	w.batch.index = w.enc.index
	w.limit = segmentsPerBatch(w.enc.layout.SegmentSize()) * w.enc.layout.StoredSegmentSize()
	if w.batch.out == nil {
		w.batch.out = make([]byte, 0, w.limit)
	}
	w.buf, w.ready = w.batch.out[:w.limit], 0
}

// lend gives the workers as much of p as makes a whole batch, if the current one
// is empty, and returns how much that is. Write waits until they are done.
func (w *EncryptWriter) lend(p []byte) int {
	size := w.enc.layout.SegmentSize()
	n := w.limit / (size + format.SegmentOverhead) * size
	if w.pipeline == nil || w.ready+w.partial > 0 || len(p) < n {
		return 0
	}
	for i := 0; i < n; i += size {
		w.batch.in = append(w.batch.in, p[i:i+size])
	}
	w.ready, w.lent = w.limit, true
	return n
}

// submit starts the batch and writes out those that are finished. After the
// final segment that is all of them.
func (w *EncryptWriter) submit() error {
	final := w.batch.final
	w.enc.index += int64(len(w.batch.in))
	w.pipeline.start(w.batch)
	for final || w.pipeline.due() {
		b := w.pipeline.next()
		if b == nil {
			break
		}
		if err := w.write(b.out); err != nil {
			return err
		}
		w.pipeline.recycle(b)
	}
	w.begin()
	return nil
}
