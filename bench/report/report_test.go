package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func rendered(t *testing.T) map[string][]byte {
	t.Helper()
	raw, err := os.ReadFile("testdata/raw.txt")
	if err != nil {
		t.Fatal(err)
	}
	files, err := render(raw)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestReport compares with a report that was read by hand. To make it anew:
//
//	go run -C bench ./report -from report/testdata/raw.txt -out DIRECTORY
func TestReport(t *testing.T) {
	want, err := os.ReadFile("testdata/report.md")
	if err != nil {
		t.Fatal(err)
	}
	got := rendered(t)["report.md"]
	if !bytes.Equal(got, want) {
		t.Errorf("testdata/raw.txt renders to:\n%s", got)
	}
}

// TestPlots looks for the names of lines, and for Bulla's colours.
func TestPlots(t *testing.T) {
	files := rendered(t)
	for name, texts := range map[string][]string{
		"encrypt":     {"Bulla, AES-256-GCM", "minio/sio, AES-256-GCM", "1 KiB", "1 MiB", "kernel avx512"},
		"decrypt":     {"Bulla, AES-256-GCM", "minio/sio, AES-256-GCM", "1 KiB", "1 MiB", "kernel avx512"},
		"allocations": {"Bulla, AES-256-GCM", "minio/sio, AES-256-GCM", "none", "kernel avx512"},
		"segments":    {"encrypt, AES-256-GCM", "decrypt, AES-256-GCM", "4 KiB", "kernel avx512"},
	} {
		letters := textOf(t, files[name+".svg"])
		for _, s := range texts {
			if !strings.Contains(letters, s) {
				t.Errorf("%s.svg lacks %q", name, s)
			}
		}
		picture, err := png.Decode(bytes.NewReader(files[name+".png"]))
		if err != nil {
			t.Fatalf("%s.png: %v", name, err)
		}
		if n := blues(picture); n < 50 {
			t.Errorf("%s.png has %d blue pixels", name, n)
		}
	}
	if len(files) != 9 {
		t.Errorf("%d files", len(files))
	}
}

// textOf returns all texts of an SVG file.
func textOf(t *testing.T, svg []byte) string {
	t.Helper()
	var b strings.Builder
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		token, err := d.Token()
		if err == io.EOF {
			return b.String()
		}
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := token.(xml.CharData); ok {
			b.Write(s)
		}
	}
}

func blues(m image.Image) (n int) {
	r0, g0, b0, _ := blue.RGBA()
	for y := m.Bounds().Min.Y; y < m.Bounds().Max.Y; y++ {
		for x := m.Bounds().Min.X; x < m.Bounds().Max.X; x++ {
			if r, g, b, _ := m.At(x, y).RGBA(); r == r0 && g == g0 && b == b0 {
				n++
			}
		}
	}
	return n
}

// TestFrom renders from a file, which stays, into its directory.
func TestFrom(t *testing.T) {
	raw, err := os.ReadFile("testdata/raw.txt")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	from := filepath.Join(dir, "raw.txt")
	if err := os.WriteFile(from, raw, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := run(t.Context(), io.Discard, false, from, ""); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(left) != 10 {
		t.Errorf("%v, %v", left, err)
	}
	if now, err := os.ReadFile(from); err != nil || !bytes.Equal(now, raw) {
		t.Errorf("raw.txt was changed, %v", err)
	}
}

// TestSaveKeepsOldResults makes one of two files impossible to write.
func TestSaveKeepsOldResults(t *testing.T) {
	dir := t.TempDir()
	old := map[string][]byte{"a": []byte("old a"), "b": []byte("old b")}
	if err := save(dir, old); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "b.new", "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := save(dir, map[string][]byte{"a": []byte("new a"), "b": []byte("new b")}); err == nil {
		t.Fatal("no error")
	}
	for name, want := range old {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "a.new")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a.new is still there: %v", err)
	}
}

// TestStepFails runs commands that fail, or measure nothing, as test binaries.
func TestStepFails(t *testing.T) {
	for binary, want := range map[string]string{"false": "exit status 1", "true": "nothing was measured"} {
		s := step{name: "nothing", time: "1x"}
		if _, err := s.run(t.Context(), binary, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v", binary, err)
		}
	}
}

func TestLeft(t *testing.T) {
	steps := []step{
		{rounds: 3, guess: time.Second}, {rounds: 1, guess: 100 * time.Second}, {rounds: 3, guess: 10 * time.Second},
	}
	for _, c := range []struct {
		round, current int
		want           time.Duration
	}{{0, 0, 133}, {0, 1, 132}, {0, 2, 32}, {1, 0, 22}, {2, 2, 10}} {
		if got := left(steps, c.round, c.current); got != c.want*time.Second {
			t.Errorf("round %d, step %d: %v", c.round, c.current, got)
		}
	}
}

// TestPlanTimes holds the plans to what they promise.
func TestPlanTimes(t *testing.T) {
	m := &machine{kernels: []string{"avx512", "avx2", "std"}}
	if d := left(plan(m, false), 0, 0); d > 15*time.Minute {
		t.Errorf("the whole takes %v", d)
	}
	if d := left(plan(m, true), 0, 0); d > time.Minute {
		t.Errorf("the short run takes %v", d)
	}
	for _, s := range plan(m, false) {
		if s.rounds < 10 && strings.Contains(s.bench, "Encrypt") && !strings.Contains(s.bench, "1GiB") {
			t.Errorf("%s: only %d rounds", s.name, s.rounds)
		}
	}
}

func TestSlug(t *testing.T) {
	for cpu, want := range map[string]string{
		"AMD EPYC family 25 model 17":                           "amd-epyc-25-17",
		"Intel(R) Xeon(R) Platinum 8488C family 6 model 143":    "intel-xeon-platinum-8488c-6-143",
		"AMD Ryzen 9 7950X 16-Core Processor family 25 model 1": "amd-ryzen-9-7950x-16-core-processor-25-1",
	} {
		if got := (&machine{cpu: cpu}).slug(); got != want {
			t.Errorf("%s: %s", cpu, got)
		}
	}
}

func TestPeers(t *testing.T) {
	s, err := peers()
	if err != nil || len(strings.Split(s, ", ")) != 7 || strings.Count(s, " v") != 7 {
		t.Errorf("%q, %v", s, err)
	}
}
