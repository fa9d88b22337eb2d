// Package measure has what tests and demonstrations need to talk about cost: the peak memory of a function or of a
// process, and plaintext of any size that is made as fast as it is read.
package measure

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

// ErrNotLinux reports that this system has no /proc/self/status to read the peak memory from.
var ErrNotLinux = errors.New("measure: peak memory needs Linux's /proc/self/status")

// PeakRSS returns the largest resident size, in bytes, that this process has had since it began or since
// [ResetPeakRSS]: VmHWM of proc(5). To measure a function apart from what surrounds it, run it in a child process and
// let the child report its own PeakRSS; the resource usage that wait(2) reports for a child begins with its parent's.
func PeakRSS() (int64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, errors.Join(ErrNotLinux, err)
	}
	for line := range strings.Lines(string(status)) {
		value, ok := strings.CutPrefix(line, "VmHWM:")
		if !ok {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("measure: VmHWM: %w", err)
		}
		return kib << 10, nil
	}
	return 0, fmt.Errorf("%w: no VmHWM in it", ErrNotLinux)
}

// ResetPeakRSS sets the peak to the resident size of this moment: clear_refs of proc(5).
func ResetPeakRSS() error {
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		return errors.Join(ErrNotLinux, err)
	}
	return nil
}

// Heap is the memory of the Go heap while a function ran, in bytes.
type Heap struct {
	Before      int64 // live objects before, after a garbage collection
	PeakObjects int64 // most memory taken by objects, live or not yet collected (HeapAlloc)
	PeakInuse   int64 // the same with the unused room beside them (HeapInuse)
}

// PeakHeap runs f and returns the peaks of the heap of the whole process meanwhile. It looks once a millisecond, so it
// misses what lives shorter, and works on every system.
func PeakHeap(f func() error) (Heap, error) {
	runtime.GC()
	s := newSampler()
	s.look()
	h := Heap{Before: s.objects}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				s.look()
			case <-stop:
				return
			}
		}
	}()
	err := f()
	close(stop)
	<-stopped
	s.look()
	h.PeakObjects, h.PeakInuse = s.objects, s.inuse
	return h, err
}

// sampler keeps the largest values seen. runtime/metrics does not stop the world, runtime.ReadMemStats does.
type sampler struct {
	samples        []metrics.Sample
	objects, inuse int64
}

func newSampler() *sampler {
	return &sampler{samples: []metrics.Sample{
		{Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"},
	}}
}

func (s *sampler) look() {
	metrics.Read(s.samples)
	objects, unused := int64(s.samples[0].Value.Uint64()), int64(s.samples[1].Value.Uint64())
	s.objects = max(s.objects, objects)
	s.inuse = max(s.inuse, objects+unused)
}
