package main

import (
	"crypto/sha256"
	"os"
	"runtime"
	"strings"
	"testing"
)

// payloadSum is the SHA-256 of everything behind the header.
func payloadSum(t *testing.T, name string) [sha256.Size]byte {
	t.Helper()
	return sha256.Sum256([]byte(read(t, name)[info(t, name).HeaderSize:]))
}

func TestRewrap(t *testing.T) {
	inKeyDir(t)
	text := plaintextOf(200_000)
	write(t, "f", text)
	write(t, "other", "another passphrase")
	write(t, "ad", "associated data")
	for _, c := range []struct {
		old     string   // of encrypt, and what opens the file
		args    string   // of rewrap
		holders string   // afterwards
		opens   []string // each alone
		not     []string
	}{
		{"-k aes.key", "-k aes.key --new-key hpke.key", "hpke", []string{"-k hpke.key"}, []string{"-k aes.key"}},
		{"-k aes.key", "-k aes.key --new-key stranger=rsa.key", "stranger", []string{"-k stranger=rsa.key"}, []string{"-k aes.key"}},
		{"-k aes.key", "-k aes.key -r hpke.pub --new-recipient mlkem768-p256.pub", "hpke mlkem768-p256", []string{"-k hpke.key", "-k mlkem768-p256.key"}, []string{"-k aes.key"}},
		{"-k hpke.key", "-k stranger.key -k hpke.key --new-passphrase-file other", "", []string{"--passphrase-file other"}, []string{"-k hpke.key", "--passphrase-file phrase"}},
		{"--passphrase-file phrase", "--passphrase-file phrase --new-passphrase-file other", "", []string{"--passphrase-file other"}, []string{"--passphrase-file phrase"}},
		{"-k aes.key -r hpke.pub", "-k aes.key --keep hpke --new-key stranger.key", "hpke STRANGER", []string{"-k hpke.key", "-k stranger.key"}, []string{"-k aes.key"}},
		{"-k aes.key -r hpke.pub", "-k hpke.key --keep aes", "aes", []string{"-k aes.key"}, []string{"-k hpke.key"}},
		{"-k aes.key -r hpke.pub", "-k hpke.key --keep-all --new-passphrase-file other", " aes hpke", []string{"-k aes.key", "-k hpke.key", "--passphrase-file other"}, []string{"--passphrase-file phrase"}},
		{"-k hpke.key", "-k hpke.key --keep-all -r rsa.pub --classical rsa", "hpke rsa", []string{"-k hpke.key", "-k rsa.key"}, nil},
		{"-k aes.key --associated-data-file ad", "-k aes.key --new-key hpke.key --associated-data-file ad", "hpke", []string{"-k hpke.key --associated-data-file ad"}, []string{"-k aes.key --associated-data-file ad"}},
		{"-k aes.key --compact-header", "-k aes.key --new-key hpke.key", "hpke", []string{"-k hpke.key"}, []string{"-k aes.key"}}, // the header grows
	} {
		want(t, 0, strings.Fields("encrypt f -f "+c.old)...)
		sum, before := payloadSum(t, "f.bulla"), info(t, "f.bulla")
		r := want(t, 0, strings.Fields("rewrap f.bulla "+c.args)...)
		after := info(t, "f.bulla")
		if payloadSum(t, "f.bulla") != sum {
			t.Errorf("rewrap %s: the payload changed", c.args)
		}
		compact := strings.Contains(c.old, "--compact-header")
		if after.Generation != 1 || after.IV != before.IV || compact == (after.HeaderSize == 4096) {
			t.Errorf("rewrap %s: %+v", c.args, after)
		}
		holder := strings.ReplaceAll(c.holders, "STRANGER", strings.Fields(read(t, "stranger.key"))[2])
		if got := holders(t, "f.bulla"); got != holder {
			t.Errorf("rewrap %s: for %q, want %q", c.args, got, holder)
		}
		for _, says := range []string{"f.bulla: generation 1, was 0\n", "\n  for:     " + keyList(after.Keys) + "\n", "\n  was for: " + keyList(before.Keys) + "\n", "revokes nothing"} {
			if !strings.Contains(r.stderr, says) {
				t.Errorf("rewrap %s lacks %q: %s", c.args, says, r.stderr)
			}
		}
		for _, keys := range c.opens {
			if r := want(t, 0, strings.Fields("decrypt f.bulla -o - "+keys)...); r.stdout != text {
				t.Errorf("rewrap %s: another plaintext for %s", c.args, keys)
			}
		}
		for _, keys := range c.not {
			want(t, exitKey, strings.Fields("decrypt f.bulla -o - "+keys)...)
		}
	}
	if r := want(t, 0, "rewrap", "f.bulla", "-q", "-k", "hpke.key", "--new-key", "aes.key"); r.stdout+r.stderr != "" {
		t.Errorf("with --quiet rewrap prints %+v", r)
	}
	if got := info(t, "f.bulla").Generation; got != 2 {
		t.Errorf("generation %d", got)
	}
}

func TestRewrapKeyring(t *testing.T) {
	inKeyDir(t)
	write(t, "ring", read(t, "x25519.key")+read(t, "aes.key"))
	for args, holder := range map[string]string{"": "x25519", " --new-active aes": "aes"} {
		want(t, 0, "encrypt", "f", "-f", "-k", "p256.key")
		want(t, 0, strings.Fields("rewrap f.bulla -k p256.key --new-key ring"+args)...)
		if got := holders(t, "f.bulla"); got != holder {
			t.Errorf("%s: for %q, want %q", args, got, holder)
		}
	}
	// The environment has the old key, never the new one.
	t.Setenv(keyFileEnv, "ring")
	want(t, 0, "rewrap", "f.bulla", "-r", "hpke.pub")
	wantText(t, "f.bulla -k hpke.key")
	want(t, exitUsage, "rewrap", "f.bulla", "-k", "hpke.key")
}

func TestRewrapContextAndLocation(t *testing.T) {
	inKeyDir(t)
	want(t, 0, "encrypt", "f", "-k", "aes.key", "--context", "a=1", "--context", "b=2")
	for _, c := range []struct{ args, context, location string }{
		{"", "a=1 b=2", ""},
		{"--context a=3", "a=3", ""},
		{"--location s3://b/k", "a=3", "s3://b/k"},
		{"--no-context", "", "s3://b/k"},
		{"--context c=4 --context d=5 --location=", "c=4 d=5", ""},
	} {
		want(t, 0, strings.Fields("rewrap f.bulla -k aes.key --keep-all "+c.args)...)
		got := info(t, "f.bulla")
		var pairs []string
		for _, key := range []string{"a", "b", "c", "d"} {
			if value, ok := got.Context[key]; ok {
				pairs = append(pairs, key+"="+value)
			}
		}
		if joined := strings.Join(pairs, " "); joined != c.context || got.Location != c.location {
			t.Errorf("%s: context %q, location %q", c.args, joined, got.Location)
		}
		wantText(t, "f.bulla -k aes.key --ignore-location")
	}
}

// What is refused leaves the file as it was, and no other behind.
func TestRewrapRefused(t *testing.T) {
	inKeyDir(t)
	write(t, "ad", "associated data")
	want(t, 0, "encrypt", "f", "-k", "aes.key", "-r", "hpke.pub", "-o", "good")
	good := read(t, "good")
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	for _, c := range []struct {
		code int
		args string
		says string
	}{
		{exitKey, "good -k stranger.key --new-key x25519.key", "the stream is for"},
		{exitKey, "good --passphrase-file phrase --new-key x25519.key", "the stream is for"},
		{exitKey, "good -k aes.key --new-key x25519.pub", ""},
		{exitKey, "good -k aes.key --new-recipient x25519.key", "bulla pubkey"},
		{exitKey, "good -k missing --new-key x25519.key", "no such file"},
		{exitUsage, "good -k aes.key --new-active x --keep-all", "--new-active"},
		{exitUsage, "good -k aes.key --new-key x25519.key --new-active x", "--new-active"},
		{exitUsage, "good -k aes.key", "nobody could read"},
		{exitUsage, "good --new-key aes.key", "no key"},
		{exitUsage, "good -k aes.key --keep typo --new-key x25519.key", "typo"},
		{exitUsage, "good -k aes.key --keep aes --keep-all", "one of them"},
		{exitUsage, "good -k aes.key --keep-all --context a=b --no-context", "one of them"},
		{exitUsage, "good -k aes.key --keep-all --new-key hpke.key", "another name"},
		{exitUsage, "good -k aes.key --keep hpke --new-recipient hpke=rsa.pub", "another name"},
		{exitUsage, "good -k aes.key --keep-all --new-key x25519.key", "--classical NAME"},
		{exitUsage, "good -k aes.key --new-recipient hpke.pub --new-recipient x25519.pub", "--classical NAME"},
		{exitUsage, "good -k aes.key --new-key x25519.key --new-key p256.key", "once"},
		{exitUsage, "good -k aes.key --new-kms a --new-kms b", "once"},
		{exitUsage, "good -k aes.key --new-passphrase --new-passphrase-file phrase", "--new-passphrase"},
		{exitUsage, "- -k aes.key --new-key x25519.key", "takes a file"},
		{exitUsage, "s3://b/k good -k aes.key --new-key x25519.key", "takes one file"},
		{exitUsage, "good -k aes.key --keep-all --context a=" + strings.Repeat("x", 65_000), "cannot hold"},
		{exitFailure, "good -k aes.key --new-key x25519.key --associated-data-file ad", "refused by policy"},
		{exitFailure, "f -k aes.key --new-key x25519.key", "not a Bulla stream"},
		{exitFailure, "missing -k aes.key --new-key x25519.key", "no such file"},
	} {
		r := want(t, c.code, append([]string{"rewrap"}, strings.Fields(c.args)...)...)
		if !strings.Contains(r.stderr, c.says) && runtime.GOOS != "windows" {
			t.Errorf("rewrap %.100s: stderr %.500q lacks %q", c.args, r.stderr, c.says)
		}
		if read(t, "good") != good {
			t.Fatalf("rewrap %.100s changed the file", c.args)
		}
		wantFiles(t, names...)
	}
	write(t, "good", good[:8]+"\x02"+good[9:])
	want(t, exitFailure, "rewrap", "good", "-k", "aes.key", "--new-key", "x25519.key")
	for _, at := range []int{20, 50, 81, 4090} { // IV, commitment, generation, header MAC
		bad := []byte(good)
		bad[at] ^= 1
		write(t, "good", string(bad))
		want(t, exitUntrusted, "rewrap", "good", "-k", "aes.key", "--new-key", "x25519.key")
	}
	write(t, "good", good[:4000])
	want(t, exitUntrusted, "rewrap", "good", "-k", "aes.key", "--new-key", "x25519.key")
	wantFiles(t, names...)
}

func TestRewrapKMS(t *testing.T) {
	inKeyDir(t)
	server := newKMS(t)
	server.CreateKey("alias/backups")
	server.CreateKey("alias/new")
	bullaKMS := func(code int, args string) result {
		t.Helper()
		return want(t, code, append(strings.Fields(args), "--kms-endpoint-url", server.URL)...)
	}
	bullaKMS(0, "encrypt f --kms alias/backups -k aes.key --context tenant=acme")
	sum := payloadSum(t, "f.bulla")
	bullaKMS(exitFailure, "rewrap f.bulla -k aes.key --keep-all --context tenant=other") // KMS has bound the context
	bullaKMS(0, "rewrap f.bulla --kms alias/backups --new-kms alias/new --new-recipient hpke.pub --context tenant=other")
	if payloadSum(t, "f.bulla") != sum {
		t.Error("the payload changed")
	}
	for args, code := range map[string]int{"--kms alias/new": 0, "-k hpke.key": 0, "--kms alias/backups": exitKey, "-k aes.key": exitKey} {
		if r := bullaKMS(code, "decrypt f.bulla -o - --require-context tenant=other "+args); code == 0 && r.stdout != "text" {
			t.Errorf("%s: %+v", args, r)
		}
	}
}
