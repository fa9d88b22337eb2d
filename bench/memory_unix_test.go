//go:build unix

package bench

import "syscall"

// offHeap returns n bytes that Go's collector does not count. On the heap they
// would let garbage pile up to their size before it is collected, which no
// program with less in memory does.
func offHeap(n int) []byte {
	b, err := syscall.Mmap(-1, 0, n, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		panic(err)
	}
	return b
}

func release(b []byte) {
	if b == nil {
		return
	}
	if err := syscall.Munmap(b); err != nil {
		panic(err)
	}
}
