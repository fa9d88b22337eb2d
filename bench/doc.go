// Package bench measures Bulla beside its peers, in one suite and one process.
// All of it is in the package's tests:
//
//	go run -C bench ./report          everything, with a report and plots
//	go test -C bench                  only checks that what is measured is right
//	go test -C bench -bench ReadAt    some of it, in the form that benchstat reads
//
// # What is timed
//
// BenchmarkEncrypt and BenchmarkDecrypt time one whole stream: what the
// implementation does for a new stream (keys, nonces, header, buffers), all the
// plaintext, and its end. What an application does once is set up before:
// wrapping keys, recipients, clients, primitives. The exception is impl=raw,
// the AEAD alone in pieces of 64 KiB under one key that is set up before: no
// format, no random numbers, no writer. It is what the others are measured by.
//
// The source is a bytes.Reader, from which an implementation may take its bytes
// without copying them, and the destination a writer that throws away what it
// gets and has no method but Write. Implementations that only read are drained
// with a buffer of 64 KiB. With src=reader the source has no method but Read,
// as a pipe has none: it copies. An implementation that takes or returns whole
// messages is given the source's memory, and its result counts as written.
// Plaintext is random bytes in memory; every operation reads the same ones, and
// what does not fit in a cache comes from memory each time.
//
// BenchmarkReadAt times one read of 64 KiB from a stream of 64 MiB that is open
// already, at random offsets: multiples of 64 KiB, which every segment size
// here divides (offsets=aligned), and any (offsets=any).
//
// BenchmarkSegmentSize is Bulla alone, 64 MiB with segments of each size.
// BenchmarkWorkers is Bulla alone with and without parallel workers; it is
// meant for -cpu 2.
//
// Before anything is timed, the stream that the implementation makes is
// decrypted and compared with the plaintext, in the same size.
//
// Throughput is plaintext bytes, in MB/s of 10^6 bytes. BULLA_AESGCM, which
// package aesgcm reads, changes the name impl=bulla to, for example,
// impl=bulla-std.
package bench
