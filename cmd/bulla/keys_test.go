package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/bulla-format/bulla/keywrap"
)

func TestKeygen(t *testing.T) {
	t.Chdir(t.TempDir())
	r := want(t, 0, "keygen", "-o", "a")
	key, err := keywrap.ParseAESKey([]byte(read(t, "a")))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.stderr, key.KeyName()) || r.stdout != "" {
		t.Errorf("keygen -o a prints %+v", r)
	}
	if info, err := os.Stat("a"); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	before := read(t, "a")
	want(t, exitFailure, "keygen", "-o", "a")
	if read(t, "a") != before {
		t.Error("keygen replaced a key")
	}
	want(t, exitFailure, "keygen", "-o", filepath.Join("missing", "a"))

	names := map[string]bool{key.KeyName(): true}
	for _, args := range [][]string{{"keygen"}, {"keygen", "-o", "-"}} {
		r := want(t, 0, args...)
		key, err := keywrap.ParseAESKey([]byte(r.stdout))
		if err != nil || r.stderr != "" || names[key.KeyName()] {
			t.Errorf("%q: %v, name %q, stderr %q", args, err, key.KeyName(), r.stderr)
		}
		names[key.KeyName()] = true
	}
	named, err := keywrap.ParseAESKey([]byte(want(t, 0, "keygen", "--name", "für 2027").stdout))
	if err != nil || named.KeyName() != "für 2027" {
		t.Errorf("name %q, %v", named.KeyName(), err)
	}
	want(t, exitUsage, "keygen", "--name", "two\nlines")
	want(t, exitUsage, "keygen", "--name", strings.Repeat("x", 1025))
	wantFiles(t, "a")
}

func TestKeys(t *testing.T) {
	inTempDir(t)
	want(t, 0, "keygen", "--name", "twin", "-o", "twin1")
	want(t, 0, "keygen", "--name", "twin", "-o", "twin2")
	want(t, 0, "keygen", "--name", strings.Repeat("x", 1024), "-o", "long")
	write(t, "f", "text")
	write(t, "empty", "")
	write(t, "damaged", strings.Replace(read(t, "key"), "KEY ", "KEY A", 1))
	write(t, "huge", read(t, "key")+strings.Repeat("\n", 1<<20))
	write(t, "crlf", strings.TrimSpace(read(t, "key"))+"\r\n")
	want(t, 0, "encrypt", "f", "-k", "key", "-o", "key.bulla")
	want(t, 0, "encrypt", "f", "-k", "twin1", "-k", "key", "-o", "twin1.bulla")
	want(t, 0, "encrypt", "f", "-k", "long", "-o", "long.bulla")
	for _, c := range []struct {
		code int
		args string
	}{
		{0, "-k key key.bulla"},
		{0, "-k crlf key.bulla"},
		{0, "-k twin1 -k long -k key key.bulla"},
		{0, "-k long long.bulla"},
		{0, "-k key -k twin1 twin1.bulla"},
		{exitKey, "-k key twin1.bulla"}, // the first key alone is for writing
		{exitKey, "-k twin2 twin1.bulla"},
		{exitKey, "-k twin1 -k twin2 twin1.bulla"},
		{exitKey, "-k twin1 key.bulla"},
		{exitKey, "-k missing key.bulla"},
		{exitKey, "-k empty key.bulla"},
		{exitKey, "-k damaged key.bulla"},
		{exitKey, "-k huge key.bulla"},
		{exitKey, "-k f key.bulla"},
		{exitKey, "-k . key.bulla --insecure-key-file"},
		{exitUsage, "key.bulla"},
	} {
		r := want(t, c.code, append([]string{"decrypt", "-o", "-"}, strings.Fields(c.args)...)...)
		if strings.Contains(r.stderr, read(t, "key")[20:40]) {
			t.Errorf("%s: the message holds a key", c.args)
		}
	}
}

func TestKeyFileMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no mode bits")
	}
	inTempDir(t)
	write(t, "f", "text")
	for mode, code := range map[os.FileMode]int{0o600: 0, 0o400: 0, 0o700: 0, 0o640: 4, 0o604: 4, 0o620: 4, 0o644: 4, 0o601: 4} {
		if err := os.Chmod("key", mode); err != nil {
			t.Fatal(err)
		}
		r := want(t, code, "encrypt", "-k", "key", "f", "-o", "-")
		if code != 0 && (!strings.Contains(r.stderr, "chmod 600 key") || r.stdout != "") {
			t.Errorf("mode %o: %+v", mode, r)
		}
		want(t, 0, "encrypt", "-k", "key", "f", "-o", "-", "--insecure-key-file")
	}
}

func TestKeyFromEnvironment(t *testing.T) {
	inTempDir(t)
	want(t, 0, "keygen", "-o", "other")
	write(t, "f", "text")
	want(t, 0, "encrypt", "-k", "key", "f")
	t.Setenv(keyFileEnv, "key")
	want(t, 0, "decrypt", "f.bulla", "-o", "-")
	want(t, exitKey, "decrypt", "-k", "other", "f.bulla", "-o", "-") // --key stands alone
	t.Setenv(keyFileEnv, "missing")
	want(t, exitKey, "decrypt", "f.bulla", "-o", "-")
}
