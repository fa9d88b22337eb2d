package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// programsEnv names the programs, with spaces between them, without which tests must fail. Without others they are
// skipped.
const programsEnv = "BULLA_E2E_PROGRAMS"

// need skips the test if one of the programs is missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, name := range programs {
		if _, err := exec.LookPath(name); err != nil {
			without(t, name, err)
		}
	}
}

// without ends a test that cannot have a program that it needs.
func without(t *testing.T, name string, err error) {
	t.Helper()
	if slices.Contains(strings.Fields(os.Getenv(programsEnv)), name) {
		t.Fatalf("%v: install %s, or take it out of %s", err, name, programsEnv)
	}
	t.Skipf("%v: this test needs %s", err, name)
}

// programTime is how long a program may run.
const programTime = 3 * time.Minute

// run is try of what must succeed.
func run(t *testing.T, settings []string, program string, args ...string) string {
	t.Helper()
	out, err := try(t, settings, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// try runs a program, with settings in its environment beside its PATH, and returns what it wrote to its standard
// output. Its temporary files and what it keeps in its home directory are removed with the test's. Neither it nor a process
// that it started is left when try returns.
func try(t *testing.T, settings []string, program string, args ...string) (string, error) {
	t.Helper()
	home := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), programTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = home
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + home}, settings...)
	// Wait ends when all processes have closed the outputs.
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problems
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrWaitDelay) {
			err = errors.Join(err, cmd.Cancel())
		}
		return "", fmt.Errorf("%s %q: %w\n%s", program, args, err, problems.String())
	}
	return out.String(), nil
}
