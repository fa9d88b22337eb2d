package main

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestExistingOutput(t *testing.T) {
	inTempDir(t)
	t.Setenv(keyFileEnv, "key")
	write(t, "f", "text")
	want(t, 0, "encrypt", "f")
	write(t, "there", "old")
	for _, args := range []string{"encrypt f -o there", "decrypt f.bulla -o there", "decrypt f.bulla", "cp s3://bucket/key there"} {
		if r := want(t, exitFailure, strings.Fields(args)...); !strings.Contains(r.stderr, "--force") {
			t.Errorf("%s: %s", args, r.stderr)
		}
	}
	if read(t, "there") != "old" || read(t, "f") != "text" {
		t.Error("a file was replaced")
	}
	wantFiles(t, "f", "f.bulla", "key", "there")

	// A failure leaves the old file even with --force.
	write(t, "bad.bulla", read(t, "f.bulla")[:4100])
	want(t, exitUntrusted, "decrypt", "--force", "bad.bulla", "-o", "there")
	if read(t, "there") != "old" {
		t.Error("a failed command replaced a file")
	}
	want(t, 0, "decrypt", "--force", "f.bulla", "-o", "there")
	if read(t, "there") != "text" {
		t.Error("--force did not replace the file")
	}
	wantFiles(t, "bad.bulla", "f", "f.bulla", "key", "there")
}

func TestOutputMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no mode bits")
	}
	inTempDir(t)
	t.Setenv(keyFileEnv, "key")
	write(t, "f", "text")
	mode := func(name string) os.FileMode {
		info, err := os.Lstat(name)
		if err != nil {
			t.Fatal(err)
		}
		return info.Mode()
	}
	if err := os.WriteFile("usual", nil, 0o666); err != nil {
		t.Fatal(err)
	}
	want(t, 0, "encrypt", "f", "-o", "new")
	if mode("new") != mode("usual") {
		t.Errorf("a new file has mode %v, the umask says %v", mode("new"), mode("usual"))
	}
	for _, m := range []os.FileMode{0o600, 0o666} {
		if err := os.Chmod("new", m); err != nil {
			t.Fatal(err)
		}
		want(t, 0, "encrypt", "--force", "f", "-o", "new")
		if mode("new") != m {
			t.Errorf("--force changed mode %v to %v", m, mode("new"))
		}
	}
	// A link stays one, and what it points to is replaced.
	if err := os.Symlink("new", "link"); err != nil {
		t.Fatal(err)
	}
	want(t, exitFailure, "decrypt", "new", "-o", "link")
	want(t, 0, "decrypt", "--force", "new", "-o", "link")
	if mode("link").Type() != os.ModeSymlink || read(t, "new") != "text" {
		t.Errorf("link has mode %v, its target %q", mode("link"), read(t, "new"))
	}
	// Nothing is made through a link that points nowhere.
	if err := os.Symlink("nowhere", "dangling"); err != nil {
		t.Fatal(err)
	}
	want(t, exitFailure, "encrypt", "f", "-o", "dangling")
	want(t, 0, "encrypt", "f", "-o", os.DevNull)
	if m := mode(os.DevNull); m&os.ModeDevice == 0 {
		t.Fatalf("%s has mode %v", os.DevNull, m)
	}
	wantFiles(t, "dangling", "f", "key", "link", "new", "usual")
}

// TestPublish lets another process make the file while the command works.
func TestPublish(t *testing.T) {
	t.Chdir(t.TempDir())
	realLink := link
	defer func() { link = realLink }()
	for _, l := range []func(string, string) error{realLink, func(string, string) error { return errors.ErrUnsupported }} {
		link = l
		a := &app{}
		for _, raced := range []bool{false, true} {
			out, err := a.create("f", false)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := out.Write([]byte("new")); err != nil {
				t.Fatal(err)
			}
			wanted := "new"
			if raced {
				wanted = "raced"
				write(t, "f", wanted)
			}
			if err := out.commit(); (err != nil) != raced {
				t.Errorf("raced %v: %v", raced, err)
			}
			out.discard()
			wantFiles(t, "f")
			if read(t, "f") != wanted {
				t.Errorf("raced %v: the file holds %q", raced, read(t, "f"))
			}
			if err := os.Remove("f"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestOutputElsewhere(t *testing.T) {
	inTempDir(t)
	write(t, "f", "text")
	if err := os.Mkdir("dir", 0o700); err != nil {
		t.Fatal(err)
	}
	want(t, 0, "encrypt", "-k", "key", "f", "-o", filepath.Join("dir", "f"))
	want(t, exitFailure, "encrypt", "-k", "key", "f", "-o", filepath.Join("missing", "f"))
	want(t, 0, "decrypt", "-k", "key", filepath.Join("dir", "f"), "-o", "g")
	wantFiles(t, "dir", "f", "g", "key")
}
