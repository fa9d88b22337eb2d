package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/bulla-format/bulla/e2e/measure"
	"github.com/bulla-format/bulla/e2e/s3server"
)

const demoEnv = "BULLA_E2E_DEMO_MAIN"

func TestMain(m *testing.M) {
	s3server.RunChild()
	if os.Getenv(demoEnv) != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

// tempDir makes a directory for temporary files that must be empty again at the end.
func tempDir(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	t.Cleanup(func() {
		if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
			t.Errorf("%d temporary files are left: %v %v", len(left), left, err)
		}
	})
}

// writeText writes a file of text.
func writeText(t *testing.T, size int64) string {
	t.Helper()
	p, err := io.ReadAll(measure.Text{Size: size, Seed: 9}.Reader())
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, p, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestDemo(t *testing.T) {
	for _, size := range []int64{0, 1, 65_536, 200_000, 17 << 20} {
		for _, own := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d bytes, own file %v", size, own), func(t *testing.T) {
				tempDir(t)
				name := ""
				if own {
					name = writeText(t, size)
				}
				var out bytes.Buffer
				if err := run(t.Context(), &out, io.Discard, name, size); err != nil {
					t.Errorf("%v\n%s", err, &out)
				}
				for _, want := range []string{"1. ", "2. ", "3. ", "4. ", "5. ", "6. ", "7. ", "throughput", "bytes fetched", "disabled"} {
					if !strings.Contains(out.String(), want) {
						t.Errorf("no %q in\n%s", want, &out)
					}
				}
				for line := range strings.Lines(out.String()) {
					if len(line) > 121 && !strings.Contains(line, os.TempDir()) || strings.TrimRight(line, " \n") != strings.TrimRight(line, "\n") {
						t.Errorf("a line of %d bytes, or with spaces at its end: %q", len(line), line)
					}
				}
				if own {
					if got, err := os.Stat(name); err != nil || got.Size() != size {
						t.Errorf("the user's file: %v", err)
					}
				}
			})
		}
	}
}

// tripwire calls do once, before the text that contains mark is written.
type tripwire struct {
	bytes.Buffer
	mark string
	do   func()
}

func (w *tripwire) Write(p []byte) (int, error) {
	if w.do != nil && bytes.Contains(p, []byte(w.mark)) {
		w.do()
		w.do = nil
	}
	return w.Buffer.Write(p)
}

// A demo that ends well although something is wrong would show nothing.
func TestDemoNoticesWhatIsWrong(t *testing.T) {
	tempDir(t)
	name := writeText(t, 300_000)
	out := &tripwire{mark: "Read ranges", do: func() {
		if err := os.WriteFile(name, make([]byte, 300_000), 0o600); err != nil {
			t.Error(err)
		}
	}}
	err := run(t.Context(), out, io.Discard, name, 0)
	if !errors.Is(err, errChecks) {
		t.Errorf("error %v, want errChecks", err)
	}
	if n := strings.Count(out.String(), "FAILED"); n != 4 { // three ranges and the download
		t.Errorf("%d checks failed, want 4\n%s", n, out)
	}
}

func TestDemoOfABadFile(t *testing.T) {
	tempDir(t)
	if err := run(t.Context(), io.Discard, io.Discard, filepath.Join(t.TempDir(), "none"), 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	if err := run(t.Context(), io.Discard, io.Discard, t.TempDir(), 0); err == nil {
		t.Error("a directory: no error")
	}
}

// Wherever it is interrupted, it removes what it wrote and says so in its exit status.
func TestDemoInterrupted(t *testing.T) {
	for _, mark := range []string{"S3 server", "Encrypt and upload", "Download and compare"} {
		t.Run(mark, func(t *testing.T) {
			tempDir(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			cmd := exec.CommandContext(ctx, os.Args[0], "-size", "100000000")
			cmd.Env = append(os.Environ(), demoEnv+"=1")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				if strings.Contains(lines.Text(), mark) {
					if err := cmd.Process.Signal(os.Interrupt); err != nil {
						t.Error(err)
					}
				}
			}
			err = cmd.Wait()
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok || exit.ExitCode() != 130 || !strings.Contains(stderr.String(), "interrupted") {
				t.Errorf("%v, stderr:\n%s", err, &stderr)
			}
		})
	}
}

func TestNumbers(t *testing.T) {
	for n, want := range map[int64]string{0: "0 bytes", 1: "1 byte", 1023: "1,023 bytes", 1024: "1 KiB", 1536: "1.5 KiB", 1 << 20: "1 MiB", 5 << 29: "2.5 GiB", 3 << 50: "3072 TiB"} {
		if got := sizeText(n); got != want {
			t.Errorf("sizeText(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := commas(n); got != want {
			t.Errorf("commas(%d) = %q, want %q", n, got, want)
		}
	}
}
