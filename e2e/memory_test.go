package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
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

// buildProgram builds one of the programs below internal, without the race detector whatever this test was built with:
// its shadow memory is not what is measured.
func buildProgram(t testing.TB, name string) string {
	t.Helper()
	exe := filepath.Join(t.TempDir(), name)
	build := exec.CommandContext(t.Context(), "go", "build", "-o", exe, "./internal/"+name)
	build.Dir = sourceDir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return exe
}

// limit is a setting of Go's memory limit at which the collector begins, and not before: by its default pace it lets
// garbage grow to the size of what is alive, here the buffers of the parts, and the peak is a matter of luck. What is
// alive does not fit below the limit if the library holds more than it promises, or more for a larger object.
func limit(memory int64) []string { return []string{"GOGC=off", fmt.Sprintf("GOMEMLIMIT=%d", memory)} }

// transfer runs the program of that name in a process of its own.
func transfer(t testing.TB, exe string, env []string, args ...string) report {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), env...)
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

// pipe runs program pipe, one process that encrypts and, if that is what is asked for, one that decrypts what comes from
// it, and returns the peak of the latter one in bytes. The settings of Go's collector are the defaults.
func pipe(t testing.TB, exe string, decrypt bool, size int64) int64 {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	command := func(op string) (*exec.Cmd, *bytes.Buffer) {
		cmd := exec.CommandContext(ctx, exe, fmt.Sprintf("-size=%d", size), op)
		cmd.Env = append(os.Environ(), "GOGC=", "GOMEMLIMIT=")
		var out bytes.Buffer
		cmd.Stderr = &out
		return cmd, &out
	}
	last, out := command("encrypt")
	if decrypt {
		encrypt, errors := command("encrypt")
		stored, err := encrypt.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		last, out = command("decrypt")
		last.Stdin = stored
		if err := encrypt.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := encrypt.Wait(); err != nil && !t.Failed() {
				t.Fatalf("pipe encrypt: %v\n%s", err, errors)
			}
		}()
	}
	if err := last.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", last.Args, err, out)
	}
	peak, err := strconv.ParseInt(strings.TrimSpace(out.String()), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return peak
}

// A pipe through an EncryptWriter, or a DecryptReader, of any size is a process of less than 24 MiB, all of Go's runtime
// and the program itself included.
func TestMemoryOfAPipe(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("peak memory is read from Linux's /proc")
	}
	size := int64(1024 * mib)
	if testing.Short() {
		size = 64 * mib
	}
	exe := buildProgram(t, "pipe")
	for name, decrypt := range map[string]bool{"encrypt": false, "decrypt": true} {
		peak := pipe(t, exe, decrypt, size)
		t.Logf("%s: peak %.1f MiB", name, float64(peak)/mib)
		if peak < 1*mib || peak >= 24*mib {
			t.Errorf("%s: a peak of %d bytes", name, peak)
		}
	}
}

// BenchmarkMemory reports the peak memory of processes that do nothing else: pipes, at the collector's default settings,
// and transfers over https with parts of 8 MiB, 5 at a time, at those and with a limit of 64 MiB.
//
//	go test -C e2e -run '^$' -bench Memory -benchtime 1x
func BenchmarkMemory(b *testing.B) {
	if runtime.GOOS != "linux" {
		b.Skip("peak memory is read from Linux's /proc")
	}
	pipes, transfers := buildProgram(b, "pipe"), buildProgram(b, "transfer")
	const part, concurrency = 8 * mib, 5
	through := func(env ...string) func(b *testing.B, size int64) report {
		return func(b *testing.B, size int64) report {
			return transfer(b, transfers, env, "-tls", fmt.Sprintf("-size=%d", size), fmt.Sprintf("-part=%d", part), fmt.Sprintf("-concurrency=%d", concurrency))
		}
	}
	byDefault, limited := through("GOGC=", "GOMEMLIMIT="), through(limit((concurrency+2)*part+8*mib)...)
	for _, size := range []int64{256 * mib, 1024 * mib, 10240 * mib} {
		for _, m := range []struct {
			op   string
			peak func(b *testing.B) int64
		}{
			{"encrypt", func(b *testing.B) int64 { return pipe(b, pipes, false, size) }},
			{"decrypt", func(b *testing.B) int64 { return pipe(b, pipes, true, size) }},
			{"upload/gc=default", func(b *testing.B) int64 { return byDefault(b, size).Upload.PeakRSS }},
			{"upload/gc=limit", func(b *testing.B) int64 { return limited(b, size).Upload.PeakRSS }},
			{"download/gc=default", func(b *testing.B) int64 { return byDefault(b, size).Download.PeakRSS }},
			{"download/gc=limit", func(b *testing.B) int64 { return limited(b, size).Download.PeakRSS }},
		} {
			b.Run(fmt.Sprintf("op=%s/size=%dMiB", m.op, size/mib), func(b *testing.B) {
				var peak int64
				for b.Loop() {
					peak = max(peak, m.peak(b))
				}
				b.ReportMetric(float64(peak)/mib, "peak-RSS-MiB")
			})
		}
	}
}

// An upload of unknown size, whose parts grow, is a process of its Budget and at most 40 MiB, those of the program and of
// the runtime included, when the collector is told to begin 16 MiB above the Budget. 20 GiB with BULLA_E2E_LARGE.
func TestMemoryOfABudget(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("peak memory is read from Linux's /proc")
	}
	size, budget := int64(512*mib), int64(32*mib)
	if largeRuns() {
		size, budget = 20480*mib, 64*mib
	}
	if testing.Short() {
		size = 128 * mib
	}
	r := transfer(t, buildProgram(t, "transfer"), limit(budget+16*mib), "-tls", "-unknown", "-part=0", fmt.Sprint("-size=", size), fmt.Sprint("-budget=", budget))
	t.Logf("%d MiB with a budget of %d MiB: %d parts, upload %.1f s, peak %.1f MiB", size/mib, budget/mib, r.Parts, r.Upload.Seconds, float64(r.Upload.PeakRSS)/mib)
	if r.Upload.PeakRSS > budget+40*mib || r.Upload.PeakRSS < budget/2 {
		t.Errorf("a peak of %d bytes", r.Upload.PeakRSS)
	}
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
	exe := buildProgram(t, "transfer")
	run := func(size int64) report {
		r := transfer(t, exe, limit(bound-24*mib), "-tls",
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
