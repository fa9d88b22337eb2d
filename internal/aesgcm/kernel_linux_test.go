package aesgcm_test

import (
	"crypto/fips140"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/bulla-format/bulla/internal/aesgcm"
)

// TestKernelForThisCPU fails where the kernel that is meant for this CPU does
// not take part: every other test would pass without it. What the CPU has is
// read from the operating system, not by the package's own detection.
func TestKernelForThisCPU(t *testing.T) {
	want := []aesgcm.Implementation{aesgcm.Standard}
	if aesgcm.HasKernels && !fips140.Enabled() {
		flags := cpuFlags(t)
		has := func(names string) bool {
			return !slices.ContainsFunc(strings.Fields(names), func(name string) bool { return !flags[name] })
		}
		if has("aes avx2 vaes vpclmulqdq") {
			want = append(want, aesgcm.AVX2)
			if has("avx512f avx512bw avx512vl avx512dq") {
				want = append(want, aesgcm.AVX512)
			}
		}
	}
	if got := aesgcm.Available(); !slices.Equal(got, want) {
		t.Fatalf("%v are available, %v are meant for this CPU", got, want)
	}
	fastest := want[len(want)-1]
	if name, named := os.LookupEnv("BULLA_AESGCM"); (!named || name == fastest.String()) && aesgcm.Chosen() != fastest {
		t.Fatalf("%v is chosen, %v is the fastest for this CPU", aesgcm.Chosen(), fastest)
	}
}

// cpuFlags returns the features that the CPU has and the operating system has
// enabled.
func cpuFlags(t *testing.T) map[string]bool {
	t.Helper()
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		t.Fatal(err)
	}
	flags := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "flags" {
			for _, flag := range strings.Fields(value) {
				flags[flag] = true
			}
			return flags
		}
	}
	t.Fatal("/proc/cpuinfo has no flags")
	return nil
}
