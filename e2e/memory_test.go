package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// Program transfer's answer; see there.
type report struct {
	Stored, Parts    int64
	Upload, Download struct {
		Seconds float64
		PeakRSS int64
	}
	Reads []struct {
		Offset, Length int64
		Prefetched     bool
		Requests       int
		Bytes          int64
	}
}

// buildTransfer builds program transfer, without the race detector whatever this test was built with: its shadow
// memory is not what is measured.
func buildTransfer(t *testing.T) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), "transfer")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", exe, "./internal/transfer")
	build.Dir = sourceDir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return exe
}

// transfer runs the program in a process of its own, with a limit for Go's memory at which the collector begins, and
// not before: by its default pace it lets garbage grow to the size of what is alive, here the buffers of the parts, and
// the peak is a matter of luck. What is alive does not fit below the limit if the library holds more than it promises,
// or more for a larger object.
func transfer(t *testing.T, exe string, memoryLimit int64, args ...string) report {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), "GOGC=off", fmt.Sprintf("GOMEMLIMIT=%d", memoryLimit))
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("transfer %v: %v", args, err)
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("transfer %v: %v\n%s", args, err, out.Bytes())
	}
	return r
}

// Memory does not grow with the object, and is below (concurrency + 2) parts and 32 MiB. The S3 server is another
// process, reached over TLS. A read of 64 KiB in a large object takes two requests at most from a cold start, and
// fetches the header and at most three segments.
func TestMemoryAndRequestsOfALargeObject(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("peak memory is read from Linux's /proc")
	}
	if testing.Short() {
		t.Skip("writes 2 GiB")
	}
	const (
		part, concurrency = 8 * mib, 5
		bound             = (concurrency+2)*part + 32*mib
		stored            = 64<<10 + 28 // of a segment
		header            = 4096
	)
	exe := buildTransfer(t)
	run := func(size int64) report {
		r := transfer(t, exe, bound-24*mib, "-tls",
			fmt.Sprintf("-size=%d", size), fmt.Sprintf("-part=%d", part), fmt.Sprintf("-concurrency=%d", concurrency))
		t.Logf("%4d MiB: upload %.1f s, peak %.1f MiB; download %.1f s, peak %.1f MiB", size/mib,
			r.Upload.Seconds, float64(r.Upload.PeakRSS)/mib, r.Download.Seconds, float64(r.Download.PeakRSS)/mib)
		if r.Upload.PeakRSS >= bound || r.Download.PeakRSS >= bound {
			t.Errorf("%d bytes: peak of %d up and %d down, the bound is %d", size, r.Upload.PeakRSS, r.Download.PeakRSS, bound)
		}
		if want := (r.Stored + part - 1) / part; r.Parts != want {
			t.Errorf("%d bytes: %d parts, want %d", size, r.Parts, want)
		}
		return r
	}
	// How full the windows of a download get depends on which side is faster; an upload always has all its parts full.
	small, large := run(256*mib), run(2048*mib)
	if float64(large.Upload.PeakRSS) > 1.1*float64(small.Upload.PeakRSS) {
		t.Errorf("peak of an upload of 2 GiB: %d, of 256 MiB: %d", large.Upload.PeakRSS, small.Upload.PeakRSS)
	}
	if len(large.Reads) < 10 {
		t.Fatalf("%d reads", len(large.Reads))
	}
	for _, read := range large.Reads {
		if read.Length != 64<<10 || read.Requests < 1 || read.Requests > 2 || read.Bytes < read.Length || read.Bytes > header+3*stored {
			t.Errorf("%d bytes at %d (prefetched %v): %d requests, %d bytes", read.Length, read.Offset, read.Prefetched, read.Requests, read.Bytes)
		}
	}
}
