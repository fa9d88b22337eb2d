package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

func TestInspect(t *testing.T) {
	inTempDir(t)
	t.Setenv(keyFileEnv, "")
	want(t, 0, "keygen", "--name", "backup", "-o", "backup")
	write(t, "f", "0123456789")
	write(t, "ad", "ad")
	want(t, 0, "encrypt", "-k", "backup", "f", "--context", "tenant=acme", "--associated-data-file=ad", "--segment-size=1MiB", "--suite=chacha20-poly1305")
	text := want(t, 0, "inspect", "f.bulla").stdout
	for _, line := range []string{
		"Nothing of this is authenticated",
		"suite            chacha20-poly1305",
		"segment size     1048576 bytes (1MiB)",
		"header size      4096 bytes",
		"generation       0",
		"plaintext size   10 bytes, declared",
		"stored size      4134 bytes",
		`key              aes "backup", 40 bytes`,
		`context          "tenant" = "acme"`,
		"associated data  needed",
	} {
		if !strings.Contains(text, line+"\n") && !strings.HasPrefix(text, line) {
			t.Errorf("no line %q in\n%s", line, text)
		}
	}
	var s summary
	if err := json.Unmarshal([]byte(want(t, 0, "inspect", "--json", "f.bulla").stdout), &s); err != nil {
		t.Fatal(err)
	}
	if s.Authenticated || s.Suite != "chacha20-poly1305" || s.SegmentSize != 1<<20 || s.HeaderSize != 4096 || !s.Declared ||
		*s.PlaintextSize != 10 || *s.StoredSize != 4134 || s.SizeProblem != "" || len(s.Keys) != 1 ||
		s.Keys[0] != (summaryKey{Type: "aes", Name: "backup", Size: 40}) || s.Context["tenant"] != "acme" || !s.AssociatedData || len(s.IV) != 64 {
		t.Errorf("%+v", s)
	}
}

func TestInspectSizes(t *testing.T) {
	inTempDir(t)
	t.Setenv(keyFileEnv, "key")
	text := plaintextOf(70_000)
	write(t, "f", text)
	want(t, 0, "encrypt", "f", "-o", "declared")
	if r := bullaWith(t.Context(), t, text, "encrypt", "-o", "unknown"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	for _, c := range []struct {
		name, change, plaintext, stored string
	}{
		{"declared", "", "70000 bytes, declared", "74152 bytes"},
		{"unknown", "", "70000 bytes, by the stored size", "74152 bytes"},
		{"declared", "cut", "70000 bytes, declared", "74151 bytes, truncated: expected 74152"},
		{"unknown", "edge", "not known", "69660 bytes, truncated: no stream has this size"},
		{"declared", "more", "70000 bytes, declared", "74153 bytes, bytes follow the stream: expected 74152"},
	} {
		b := read(t, c.name)
		switch c.change {
		case "cut":
			b = b[:len(b)-1]
		case "edge":
			b = b[:4096+65536+28]
		case "more":
			b += "x"
		}
		write(t, "changed", b)
		got := want(t, 0, "inspect", "changed").stdout
		if !strings.Contains(got, "plaintext size  "+c.plaintext+"\n") || !strings.Contains(got, "stored size     "+c.stored+"\n") {
			t.Errorf("%s %s: %s", c.name, c.change, got)
		}
	}
	// From a pipe the stored size is not known, and only the header is needed.
	b := read(t, "unknown")
	r := bullaWith(t.Context(), t, b[:4096], "inspect", "-")
	if !strings.Contains(r.stdout, "plaintext size  not known\n") || strings.Contains(r.stdout, "stored size") {
		t.Errorf("from a pipe: %+v", r)
	}
	for code, part := range map[int]string{exitFailure: b[:7], exitUntrusted: b[:4095]} {
		if r := bullaWith(t.Context(), t, part, "inspect", "-"); r.code != code || r.stdout != "" {
			t.Errorf("%d bytes: %+v", len(part), r)
		}
	}
}

// What a header says may be made to deceive whoever looks at it.
func TestInspectHostile(t *testing.T) {
	inTempDir(t)
	const escape = "\x1b]0;title\a\u202e"
	key, err := keywrap.GenerateAESKey("k\u009b31m\u202e")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	w, err := stream.NewEncryptWriter(t.Context(), &b, key, &stream.EncryptOptions{
		Context: keywrap.Context{escape: escape}, Location: "s3://" + escape, Metadata: map[string]string{"a": "b"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	write(t, "f.bulla", b.String())
	r := want(t, 0, "inspect", "f.bulla")
	if strings.ContainsAny(r.stdout, "\x1b\a\u202e\u009b") {
		t.Errorf("the terminal gets %q", r.stdout)
	}
	for _, name := range []string{"key ", "context ", "location ", "metadata "} {
		if !strings.Contains(r.stdout, "\n"+name) {
			t.Errorf("no %s in %s", name, r.stdout)
		}
	}
	for _, args := range [][]string{{"decrypt", "-k", "key", "f.bulla"}, {"cat", "-k", "key", "f.bulla"}} {
		if r := bulla(t, args...); r.code == 0 || strings.ContainsAny(r.stderr, "\x1b\a\u202e\u009b") {
			t.Errorf("%q: %+v", args, r)
		}
	}
	var s summary
	if err := json.Unmarshal([]byte(want(t, 0, "inspect", "--json", "f.bulla").stdout), &s); err != nil || s.Context[escape] != escape || !s.SealedMetadata {
		t.Errorf("%v, %+v", err, s)
	}
}
