package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

// asCommand makes the test binary be the command.
const asCommand = "BULLA_TEST_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
	}
	passphraseCost.Memory, passphraseCost.Passes = 32, 1
	os.Exit(m.Run())
}

// A result is how a command line ended.
type result struct {
	code           int
	stdout, stderr string
}

// bulla runs a command line without standard input.
func bulla(t *testing.T, args ...string) result {
	t.Helper()
	return bullaWith(t.Context(), t, "", args...)
}

func bullaWith(ctx context.Context, t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, strings.NewReader(stdin), &stdout, &stderr)
	r := result{code, stdout.String(), stderr.String()}
	if code != 0 && (!strings.HasPrefix(r.stderr, "bulla: ") || strings.Count(r.stderr, "\n") != 1) {
		t.Errorf("bulla %q: the error is not one line: %q", args, r.stderr)
	}
	return r
}

// want runs a command line that must end with the given code.
func want(t *testing.T, code int, args ...string) result {
	t.Helper()
	r := bulla(t, args...)
	if r.code != code {
		t.Fatalf("bulla %q: exit code %d, want %d; stderr: %s", args, r.code, code, r.stderr)
	}
	return r
}

// inTempDir moves to an empty directory that has the key file "key".
func inTempDir(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	t.Setenv(keyFileEnv, "")
	want(t, 0, "keygen", "--quiet", "-o", "key")
}

// plaintextOf returns n bytes that are the same for the same n.
func plaintextOf(n int) string {
	b := make([]byte, n)
	seed := [32]byte{byte(n), byte(n >> 8), byte(n >> 16)}
	rand.NewChaCha8(seed).Read(b)
	return string(b)
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// wantFiles checks that the directory has these files and no others.
func wantFiles(t *testing.T, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if g, w := strings.Join(got, " "), strings.Join(names, " "); g != w {
		t.Fatalf("the directory has %q, want %q", g, w)
	}
}
