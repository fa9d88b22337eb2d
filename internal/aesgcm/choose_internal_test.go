package aesgcm

import (
	"crypto/fips140"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// TestChoose gives every name. One that cannot be used means the standard
// library, never another kernel; none means the fastest.
func TestChoose(t *testing.T) {
	available := Available()
	if available[0] != Standard || !slices.IsSorted(available) || len(slices.Compact(slices.Clone(available))) != len(available) {
		t.Fatalf("available: %v", available)
	}
	for i := range AVX512 + 1 {
		want := Standard
		if slices.Contains(available, i) {
			want = i
		}
		if got := choose(i.String()); got != want {
			t.Errorf("%v is named, %v chosen of %v", i, got, available)
		}
	}
	for _, name := range []string{"AVX2", "avx", "avx2 ", "avx1024", "implementation 1"} {
		if got := choose(name); got != Standard {
			t.Errorf("%q is named, %v chosen", name, got)
		}
	}
	if got := choose(""); got != available[len(available)-1] {
		t.Errorf("nothing is named, %v chosen of %v", got, available)
	}
	if fips140.Enabled() && len(available) > 1 {
		t.Errorf("%v are available although the FIPS 140-3 module is in force", available)
	}
}

// TestNew gives what is chosen.
func TestNew(t *testing.T) {
	if fips140.Enforced() {
		t.Skip("the FIPS 140-3 module refuses AES-GCM under nonces of the caller's choice")
	}
	got, err := New(make([]byte, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	want, err := NewWith(Chosen(), make([]byte, KeySize))
	if err != nil {
		t.Fatal(err)
	}
	if reflect.TypeOf(got) != reflect.TypeOf(want) {
		t.Errorf("New gives a %T, Chosen is %v", got, Chosen())
	}
}

// TestEnvironment looks at what processes choose that start with BULLA_AESGCM,
// and with the FIPS 140-3 module in force, where there is nothing to choose.
func TestEnvironment(t *testing.T) {
	if os.Getenv("AESGCM_TEST_PRINT") != "" {
		fmt.Println(Available(), Chosen())
		os.Exit(0)
	}
	test, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := func(want string, env ...string) {
		t.Helper()
		c := exec.CommandContext(t.Context(), test, "-test.run=^TestEnvironment$")
		// The race detector would sleep a second at each child's end.
		c.Env = append(append(os.Environ(), "AESGCM_TEST_PRINT=1", "GORACE=atexit_sleep_ms=0"), env...)
		out, err := c.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%v: %q, %v, expected %q", env, got, err, want)
		}
	}
	for _, name := range []string{"std", "avx2", "avx512", "another", ""} {
		child(fmt.Sprint(Available(), choose(name)), "BULLA_AESGCM="+name)
		if HasKernels {
			child("[std] std", "GODEBUG=fips140=on", "BULLA_AESGCM="+name)
		}
	}
}
