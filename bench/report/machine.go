package main

import (
	"fmt"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/bulla-format/bulla/internal/aesgcm"
	"github.com/klauspost/cpuid/v2"
)

// A machine is what results depend on, beside the code.
type machine struct {
	cpu      string
	features []string
	kernels  []string // of package aesgcm, the one that it chooses first
	commit   string
	date     time.Time
	pin      func(cores int) []string // a command that binds another to some cores, or nothing
}

func thisMachine() *machine {
	m := &machine{
		cpu:    fmt.Sprintf("%s family %d model %d", cpuid.CPU.BrandName, cpuid.CPU.Family, cpuid.CPU.Model),
		commit: commit(),
		date:   time.Now().UTC(),
		pin:    pin(),
	}
	for _, f := range []cpuid.FeatureID{
		cpuid.AESNI, cpuid.CLMUL, cpuid.AVX2, cpuid.VAES, cpuid.VPCLMULQDQ,
		cpuid.AVX512F, cpuid.AVX512BW, cpuid.AVX512VL, cpuid.AESARM, cpuid.PMULL,
	} {
		if cpuid.CPU.Has(f) {
			m.features = append(m.features, f.String())
		}
	}
	available := aesgcm.Available()
	for i := range available {
		m.kernels = append(m.kernels, available[len(available)-1-i].String())
	}
	return m
}

// slug is a name for a directory.
func (m *machine) slug() string {
	s := strings.NewReplacer("(r)", "", "(tm)", "", "family ", "", "model ", "").Replace(strings.ToLower(m.cpu))
	return strings.Trim(regexp.MustCompile(`[^a-z0-9]+`).ReplaceAllString(s, "-"), "-")
}

// header is the head of raw results: configuration lines of the benchmark
// format.
func (m *machine) header(rounds int, peers string) string {
	pinned := "no"
	if m.pin(1) != nil {
		pinned = strings.Join(m.pin(1), " ")
	}
	var b strings.Builder
	for _, line := range [][2]string{
		{"machine", m.cpu},
		{"features", strings.Join(m.features, " ")},
		{"kernel", m.kernels[0]},
		{"go", runtime.Version()},
		{"commit", m.commit},
		{"date", m.date.Format(time.DateOnly)},
		{"pinned", pinned},
		{"peers", peers},
		{"rounds", fmt.Sprint(rounds)},
	} {
		fmt.Fprintf(&b, "%s: %s\n", line[0], line[1])
	}
	return b.String()
}

// peers are the modules that are compared, with their versions.
func peers() (string, error) {
	out, err := exec.Command("go", "list", "-m", "github.com/minio/sio", "github.com/secure-io/sio-go",
		"github.com/tink-crypto/tink-go/v2", "filippo.io/age", "github.com/rclone/rclone",
		"github.com/aws/aws-encryption-sdk/releases/go/encryption-sdk", "golang.org/x/crypto").Output()
	if err != nil {
		return "", fmt.Errorf("versions of the peers: %w", err)
	}
	return strings.Join(strings.Split(strings.TrimSpace(string(out)), "\n"), ", "), nil
}

// commit is the state of the working tree, but for results.
func commit() string {
	git := func(args ...string) (string, error) {
		out, err := exec.Command("git", append([]string{"--no-optional-locks"}, args...)...).Output()
		return strings.TrimSpace(string(out)), err
	}
	hash, err := git("rev-parse", "--short=12", "HEAD")
	if err != nil {
		return "unknown"
	}
	if changed, err := git("status", "--porcelain", "--", ":/", ":(exclude,top)bench/results"); err != nil || changed != "" {
		hash += "-dirty"
	}
	return hash
}

// pin uses taskset where it exists and can have its way.
func pin() func(cores int) []string {
	bound := map[int][]string{}
	for cores, list := range map[int]string{1: "0", 2: "0,1"} {
		if exec.Command("taskset", "-c", list, "true").Run() == nil {
			bound[cores] = []string{"taskset", "-c", list}
		}
	}
	return func(cores int) []string { return bound[cores] }
}
