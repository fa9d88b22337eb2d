package main

import (
	"bytes"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/sha512"
	"encoding/hex"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// requireGCM skips a test where the FIPS 140-3 module refuses what only this
// generator does, AES-GCM with nonces from outside, and suite 02.
func requireGCM(t *testing.T) {
	t.Helper()
	if fips140.Enforced() {
		t.Skip("GODEBUG=fips140=only refuses chosen nonces")
	}
}

func TestUpToDate(t *testing.T) {
	requireGCM(t)
	if err := compare(filepath.Join("../../..", dir), files()); err != nil {
		t.Error(err)
	}
}

func TestFilesNeverVary(t *testing.T) {
	requireGCM(t)
	first, second := files(), files()
	if len(first) != len(second) {
		t.Fatalf("%d files, then %d", len(first), len(second))
	}
	for name := range first {
		if !bytes.Equal(first[name], second[name]) {
			t.Errorf("%s differs from run to run", name)
		}
	}
}

func TestWriteCompare(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "vectors")
	want := map[string][]byte{"a.vec": []byte("a"), "b.json": []byte("b")}
	at := func(name string) string { return filepath.Join(dir, name) }
	check := func(what string, equal bool) {
		t.Helper()
		if err := compare(dir, want); (err == nil) != equal {
			t.Errorf("%s: compare returns %v", what, err)
		}
	}
	rewrite := func() {
		t.Helper()
		if err := write(dir, want); err != nil {
			t.Fatal(err)
		}
	}
	put := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(at(name), []byte(content), 0o666); err != nil {
			t.Fatal(err)
		}
	}

	check("no directory", false)
	rewrite()
	check("written", true)
	put("a.vec", "x")
	check("changed", false)
	rewrite()
	put("old.vec", "x")
	check("left over", false)
	rewrite()
	check("removed by writing", true)
	put("README", "x")
	check("other files", true)
	rewrite()
	if _, err := os.Stat(at("README")); err != nil {
		t.Errorf("writing removed a file that is no vector: %v", err)
	}
	if err := os.Remove(at("b.json")); err != nil {
		t.Fatal(err)
	}
	check("missing", false)
}

// TestIndependent keeps the reference writer from sharing code, and so faults,
// with what it tests.
func TestIndependent(t *testing.T) {
	names, err := filepath.Glob("*.go")
	if err != nil || len(names) == 0 {
		t.Fatalf("no source files (%v)", err)
	}
	for _, name := range names {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			if strings.Contains(i.Path.Value, "bulla-format") {
				t.Errorf("%s imports %s", name, i.Path.Value)
			}
		}
	}
}

// TestWrapAES checks AES key wrap with RFC 3394 §4.6, 256 bits of key data
// under a 256-bit key.
func TestWrapAES(t *testing.T) {
	key := must(hex.DecodeString("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"))
	data := must(hex.DecodeString("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f"))
	const want = "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21"
	if got := hex.EncodeToString(wrapAES(key, data)); got != want {
		t.Errorf("wrapped key %s, want %s", got, want)
	}
}

// TestExpand checks SPEC §2.3: up to 64 bytes, HKDF-Expand is one HMAC.
func TestExpand(t *testing.T) {
	r := &source{seed: t.Name()}
	for _, keySize := range []int{32, 64} {
		for size := 1; size <= 64; size++ {
			key, info := r.bytes(keySize), r.bytes(size)
			want, err := hkdf.Expand(sha512.New, key, string(info), size)
			if err != nil {
				t.Fatal(err)
			}
			if got := expand(key, info, size); !bytes.Equal(got, want) {
				t.Errorf("key of %d bytes, %d bytes: %x, want %x", keySize, size, got, want)
			}
		}
	}
}
