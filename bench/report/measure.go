package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A step is one run of a test binary; what it measures, it measures once.
type step struct {
	name   string
	binary string // a directory of this module
	bench  string // -test.bench
	skip   string // -test.skip
	kernel string // for BULLA_AESGCM; "" leaves the choice to package aesgcm
	cores  int
	time   string        // -test.benchtime
	rounds int           // how often it is run
	guess  time.Duration // how long it takes
}

// plan is what to measure. Rounds go through all steps, so that what drifts on
// a machine meets all implementations alike.
func plan(m *machine, short bool) []step {
	const streams = `^Benchmark(Encrypt|Decrypt)$/./.`
	steps := []step{
		{name: "limits of the CPU", binary: "limits", bench: ".", time: "200x", rounds: 5, guess: time.Second},
		{name: "small streams", bench: streams + `/size=(1KiB|64KiB|1MiB)$`, time: "80ms", rounds: 10, guess: 13 * time.Second},
		{name: "64 MiB", bench: streams + `/size=64MiB`, time: "80ms", rounds: 10, guess: 20 * time.Second},
		{name: "1 GiB", bench: streams + `/size=1GiB`, time: "1x", rounds: 5, guess: 30 * time.Second},
		{name: "random reads", bench: `^BenchmarkReadAt$`, time: "80ms", rounds: 10, guess: 6 * time.Second},
		{name: "segment sizes", bench: `^BenchmarkSegmentSize$`, time: "80ms", rounds: 5, guess: 7 * time.Second},
	}
	for _, kernel := range m.kernels[1:] {
		steps = append(steps, step{
			name: "Bulla with kernel " + kernel, kernel: kernel, skip: `./././size=1GiB`,
			bench: `^Benchmark(Encrypt|Decrypt|ReadAt)$/impl=bulla/suite=aes256gcm`,
			time:  "80ms", rounds: 10, guess: 2 * time.Second,
		})
	}
	if runtime.NumCPU() > 1 {
		steps = append(steps, step{
			name: "workers on two cores", bench: `^BenchmarkWorkers$`, cores: 2,
			time: "80ms", rounds: 10, guess: 4 * time.Second,
		})
	}
	if short {
		steps = slices.DeleteFunc(steps, func(s step) bool { return s.name == "1 GiB" })
		for i := range steps {
			s := &steps[i]
			s.rounds, s.guess = 2, s.guess/2
			if s.time == "80ms" {
				s.time = "10ms"
			}
			if s.name == "64 MiB" {
				s.skip = `./impl=(aws-esdk|rclone)`
			}
		}
	}
	return steps
}

// measure runs the steps and returns what they print, behind a head.
func measure(ctx context.Context, progress io.Writer, m *machine, steps []step) ([]byte, error) {
	dir, err := os.MkdirTemp("", "bulla-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	binaries := map[string]string{}
	for _, s := range steps {
		if binaries[s.binary] == "" {
			fmt.Fprintf(progress, "building the benchmarks in ./%s\n", s.binary)
			if binaries[s.binary], err = build(ctx, s.binary, dir); err != nil {
				return nil, err
			}
		}
	}
	if m.pin(1) == nil {
		fmt.Fprintln(progress, "taskset is missing: nothing is bound to a core, expect more noise")
	}
	rounds := 0
	for _, s := range steps {
		rounds = max(rounds, s.rounds)
	}
	compared, err := peers()
	if err != nil {
		return nil, err
	}
	raw := bytes.NewBufferString(m.header(rounds, compared))
	for round := range rounds {
		for i := range steps {
			s := &steps[i]
			if round >= s.rounds {
				continue
			}
			fmt.Fprintf(progress, "round %d of %d, %s; %v left\n", round+1, rounds, s.name, left(steps, round, i).Round(time.Second))
			start := time.Now()
			out, err := s.run(ctx, binaries[s.binary], m.pin(max(1, s.cores)))
			if err != nil {
				return nil, err
			}
			s.guess = time.Since(start)
			raw.Write(out)
		}
	}
	return raw.Bytes(), nil
}

// left is how long the rest takes, from the given step of the given round on.
func left(steps []step, round, current int) time.Duration {
	var d time.Duration
	for i, s := range steps {
		done := round
		if i < current {
			done++
		}
		d += time.Duration(max(0, s.rounds-done)) * s.guess
	}
	return d
}

// build returns the path of a test binary, which it makes in dir.
func build(ctx context.Context, binary, dir string) (string, error) {
	path, err := filepath.Abs(filepath.Join(dir, "bench"+binary+".test"))
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, "go", "test", "-c", "-o", path, "./"+binary)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	return path, nil
}

func (s *step) run(ctx context.Context, binary string, pin []string) ([]byte, error) {
	cores := max(1, s.cores)
	args := slices.Concat(pin, []string{
		binary, "-test.run=^$", "-test.bench=" + s.bench, "-test.skip=" + s.skip,
		"-test.benchtime=" + s.time, fmt.Sprintf("-test.cpu=%d", cores),
	})
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "BULLA_AESGCM=") })
	if s.kernel != "" {
		cmd.Env = append(cmd.Env, "BULLA_AESGCM="+s.kernel)
	}
	out, err := cmd.CombinedOutput()
	if err == nil && !bytes.Contains(out, []byte("ns/op")) && !bytes.Contains(out, []byte("cycles/instr")) {
		err = errors.New("nothing was measured")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w\n%s", s.name, cmd, err, out)
	}
	return out, nil
}
