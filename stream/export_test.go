package stream

// SetBatchSize makes batches, and writes, so small that small streams have many
// of them, until restore is called.
func SetBatchSize(n int) (restore func()) {
	batch, write := batchSize, writeSize
	batchSize, writeSize = n, n
	return func() { batchSize, writeSize = batch, write }
}
