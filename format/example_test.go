package format_test

import (
	"fmt"
	"log"

	"github.com/bulla-format/bulla/format"
)

// Plan the ranged request for 100 bytes at offset 1 GB of a stream with the
// default header and segment size.
func ExampleLayout() {
	l, err := format.NewLayout(format.DefaultHeaderSize, format.DefaultSegmentExp)
	if err != nil {
		log.Fatal(err)
	}
	stored := int64(5_001_140_000)
	size, err := l.PlaintextSize(stored)
	if err != nil {
		log.Fatal(err)
	}
	first, end, err := l.SegmentRange(1_000_000_000, 100)
	if err != nil {
		log.Fatal(err)
	}
	from, to := l.StoredRange(first, end, size)
	fmt.Printf("Range: bytes=%d-%d of %d plaintext bytes\n", from, to-1, size)
	// Output: Range: bytes=1000379608-1000445171 of 4999000092 plaintext bytes
}
