package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

func TestRoundTripFiles(t *testing.T) {
	inTempDir(t)
	for _, n := range []int{0, 1, 4095, 4096, 4097, 65535, 65536, 65537, 300_000} {
		for _, flags := range []string{"", "--segment-size=4KiB", "--suite=chacha20-poly1305", "--compact-header"} {
			text := plaintextOf(n)
			write(t, "f", text)
			encrypt := []string{"encrypt", "--key", "key", "f"}
			if flags != "" {
				encrypt = append(encrypt, flags)
			}
			if r := want(t, 0, encrypt...); r.stdout+r.stderr != "" {
				t.Fatalf("%d %s: encrypt prints %+v", n, flags, r)
			}
			info, err := stream.Inspect([]byte(read(t, "f.bulla")))
			if err != nil {
				t.Fatal(err)
			}
			if size := info.PlaintextSize; n > 0 && size != int64(n) || n == 0 && size != format.UnknownSize {
				t.Errorf("%d %s: declared size %d", n, flags, size)
			}
			if compact := flags == "--compact-header"; compact != (info.HeaderSize < format.DefaultHeaderSize) {
				t.Errorf("%d %s: header of %d bytes", n, flags, info.HeaderSize)
			}
			if err := os.Remove("f"); err != nil {
				t.Fatal(err)
			}
			if r := want(t, 0, "decrypt", "-k", "key", "f.bulla"); r.stdout+r.stderr != "" {
				t.Fatalf("%d %s: decrypt prints %+v", n, flags, r)
			}
			if read(t, "f") != text {
				t.Fatalf("%d %s: another plaintext", n, flags)
			}
			wantFiles(t, "f", "f.bulla", "key")
			if err := os.Remove("f.bulla"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestRoundTripPipes(t *testing.T) {
	inTempDir(t)
	t.Setenv(keyFileEnv, "key")
	for _, n := range []int{0, 1, 65535, 65536, 300_000} {
		text := plaintextOf(n)
		sealed := bullaWith(t.Context(), t, text, "encrypt")
		if sealed.code != 0 {
			t.Fatal(sealed.stderr)
		}
		if info, err := stream.Inspect([]byte(sealed.stdout)); err != nil || info.PlaintextSize != format.UnknownSize {
			t.Fatalf("%d: inspecting: %v, declared size %d", n, err, info.PlaintextSize)
		}
		for _, args := range [][]string{{"decrypt"}, {"decrypt", "-"}, {"decrypt", "-o", "-", "-"}} {
			if opened := bullaWith(t.Context(), t, sealed.stdout, args...); opened.code != 0 || opened.stdout != text {
				t.Fatalf("%d %q: exit code %d, same plaintext: %v; %s", n, args, opened.code, opened.stdout == text, opened.stderr)
			}
		}
	}
	wantFiles(t, "key")
}

// A regular file as standard input has a size, from where it stands.
func TestEncryptRedirectedFile(t *testing.T) {
	inTempDir(t)
	write(t, "f", "0123456789")
	file, err := os.Open("f")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.Seek(4, 0); err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), []string{"encrypt", "-k", "key"}, file, &stdout, &stderr); code != 0 {
		t.Fatal(stderr.String())
	}
	info, err := stream.Inspect(stdout.Bytes())
	if err != nil || info.PlaintextSize != 6 {
		t.Errorf("declared size %d, %v", info.PlaintextSize, err)
	}
	if r := bullaWith(t.Context(), t, stdout.String(), "decrypt", "-k", "key"); r.stdout != "456789" {
		t.Errorf("decrypted %q, %s", r.stdout, r.stderr)
	}
}

// TestTamper changes every byte of a stream with a compact header, one at a
// time, and looks at what decrypt says and leaves.
func TestTamper(t *testing.T) {
	inTempDir(t)
	write(t, "f", plaintextOf(4096+100))
	want(t, 0, "encrypt", "-k", "key", "--segment-size=4KiB", "--compact-header", "--context", "a=b", "f", "-o", "good")
	good := []byte(read(t, "good"))
	info, err := stream.Inspect(good)
	if err != nil {
		t.Fatal(err)
	}
	// What a change can mean. The names, types and sizes between the plaintext
	// size and the MAC are looked at before anything can be authenticated.
	codes := func(at int) string {
		switch {
		case at < 10: // magic, version, suite
			return "1"
		case at >= format.PrefixSize+12 && at < info.HeaderSize-format.MACSize:
			return "134"
		}
		return "3"
	}
	seen := map[int]int{}
	for at := range good {
		if at > info.HeaderSize+50 && at < len(good)-50 && at%61 != 0 {
			continue
		}
		bad := bytes.Clone(good)
		bad[at] ^= 0x80
		write(t, "bad.bulla", string(bad))
		r := bulla(t, "decrypt", "-k", "key", "bad.bulla")
		if !strings.Contains(codes(at), fmt.Sprint(r.code)) {
			t.Errorf("byte %d: exit code %d, want one of %q; %s", at, r.code, codes(at), r.stderr)
		}
		seen[r.code]++
		wantFiles(t, "bad.bulla", "f", "good", "key")
	}
	if seen[exitFailure] < 10 || seen[exitUntrusted] < 200 || seen[exitKey] < 40 {
		t.Errorf("exit codes seen: %v", seen)
	}
}

// TestCut cuts a stream, and lengthens it, with and without a declared size.
func TestCut(t *testing.T) {
	inTempDir(t)
	text := plaintextOf(3*4096 + 5)
	write(t, "f", text)
	want(t, 0, "encrypt", "-k", "key", "--segment-size=4KiB", "f", "-o", "declared")
	piped := bullaWith(t.Context(), t, text, "encrypt", "-k", "key", "--segment-size=4KiB", "-o", "unknown")
	if piped.code != 0 {
		t.Fatal(piped.stderr)
	}
	for _, name := range []string{"declared", "unknown"} {
		good := read(t, name)
		var sizes []int
		for segments := range 4 {
			edge := 4096 + segments*(4096+format.SegmentOverhead)
			sizes = append(sizes, edge-1, edge, edge+1, edge+format.SegmentOverhead-1, edge+format.SegmentOverhead)
		}
		sizes = append(sizes, 8, 75, 76, 79, 80, 4000, len(good)-1, len(good)+1, len(good)+format.SegmentOverhead)
		for _, n := range sizes {
			write(t, "cut.bulla", (good + strings.Repeat("\x00", 100))[:n])
			want(t, exitUntrusted, "decrypt", "-k", "key", "cut.bulla")
			wantFiles(t, "cut.bulla", "declared", "f", "key", "unknown")
			r := want(t, exitUntrusted, "decrypt", "-k", "key", "cut.bulla", "-o", "-")
			if !strings.HasPrefix(text, r.stdout) {
				t.Errorf("%s cut to %d: standard output is no prefix of the plaintext", name, n)
			}
			if r := want(t, exitUntrusted, "cat", "-k", "key", "cut.bulla"); r.stdout != "" {
				t.Errorf("%s cut to %d: cat writes %d bytes", name, n, len(r.stdout))
			}
		}
		write(t, "cut.bulla", good[:7])
		want(t, exitFailure, "decrypt", "-k", "key", "cut.bulla")
		if err := os.Remove("cut.bulla"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestStreamOptions(t *testing.T) {
	inTempDir(t)
	t.Setenv(keyFileEnv, "key")
	write(t, "f", "text")
	write(t, "ad", "associated")
	write(t, "other", "other")
	write(t, "empty", "")
	want(t, 0, "encrypt", "f", "-o", "plain.bulla")
	want(t, 0, "encrypt", "f", "-o", "context.bulla", "--context", "tenant=acme", "--context", "x==")
	want(t, 0, "encrypt", "f", "-o", "ad.bulla", "--associated-data-file", "ad")
	want(t, 0, "encrypt", "f", "-o", "chacha.bulla", "--suite", "chacha20-poly1305")
	for _, c := range []struct {
		code int
		args string
	}{
		{0, "plain.bulla"},
		{0, "plain.bulla --suite aes-256-gcm"},
		{1, "plain.bulla --suite chacha20-poly1305"},
		{0, "chacha.bulla"},
		{1, "chacha.bulla --suite AES-256-GCM"},
		{2, "plain.bulla --suite rot13"},
		{1, "plain.bulla --require-context tenant=acme"},
		{0, "context.bulla"},
		{0, "context.bulla --require-context tenant=acme"},
		{0, "context.bulla --require-context tenant=acme --require-context x=="},
		{1, "context.bulla --require-context tenant=other"},
		{1, "context.bulla --require-context tenant=acme --require-context y=1"},
		{2, "context.bulla --require-context tenant"},
		{2, "context.bulla --require-context tenant=a --require-context tenant=b"},
		{1, "ad.bulla"},
		{0, "ad.bulla --associated-data-file ad"},
		{3, "ad.bulla --associated-data-file other"},
		{2, "ad.bulla --associated-data-file empty"},
		{1, "ad.bulla --associated-data-file missing"},
		{1, "plain.bulla --associated-data-file ad"},
		{1, "f"},
		{1, "missing.bulla"},
		{1, "."},
	} {
		for _, command := range []string{"decrypt -o -", "cat"} {
			r := want(t, c.code, append(strings.Fields(command), strings.Fields(c.args)...)...)
			if wanted := map[bool]string{true: "text"}[c.code == 0]; r.stdout != wanted {
				t.Errorf("%s %s: standard output is %q", command, c.args, r.stdout)
			}
		}
	}
}

func TestUsage(t *testing.T) {
	inTempDir(t)
	write(t, "f", "text")
	for _, args := range []string{
		"frobnicate", "encrypt --frobnicate", "encrypt a b", "decrypt a b", "inspect", "cat", "cp a", "keygen a",
		"encrypt f", "decrypt f.bulla -k", "encrypt -k key f --segment-size 5000", "encrypt -k key f --segment-size 2KiB",
		"encrypt -k key f --segment-size 32MiB", "encrypt -k key f --segment-size 4KB", "encrypt -k key f --segment-size 0",
		"encrypt -k key f --segment-size -1", "encrypt -k key f --segment-size 9223372036854775807GiB",
		"encrypt -k key f --context a", "encrypt -k key f --context =a", "encrypt -k key f --context a=b --context a=c",
		"decrypt -k key f", "decrypt -k key .bulla", "cat -k key -", "cat -k key f --range 5", "cat -k key f --range 5-4",
		"cat -k key f --range -", "cat -k key f --range -0", "cat -k key f --range 1-2-3", "cat -k key f --range +1-2",
		"cat -k key f --range 0-9223372036854775808", "cp -k key f g", "cp -k key f s3://a",
		"cp -k key f s3:///b", "cp -k key f s3://a/", "cp -k key f s3://a/b/", "cp -k key s3://a f", "inspect s3://a",
		"cat -k key s3://a", "cp -k key f s3://a/b --force", "cp -k key f s3://a/b --require-context a=b",
		"cp -k key s3://a/b f --content-type text/plain", "cp -k key s3://a/b f --segment-size 4KiB",
		"cp -k key s3://a/b f --concurrency -1", "encrypt --kms not/a/key f", "encrypt -k key f -o .",
		"cp -k key f s3://a/b --region x --part-size 1MiB", "cp -k key f s3://a/b --header-metadata --header-suffix .h --region x",
		"cp s3://a/b s3://a/c --force", "cp s3://a/b s3://a/c --context a=b", "cp s3://a/b s3://a/c --header-metadata", "cp s3://a/b s3://a/c/",
		"cp s3://a/b s3://a/b --region x", "cp s3://a/b s3://a/c --suite aes-256-gcm", "encrypt -k key f --workers -1", "decrypt -k key f.bulla --workers 1025",
		"cp -k key s3://a/b f --checksum crc32", "cp -k key f s3://a/b --checksum crc17", "mv s3://a/b", "mv f s3://a/b", "mv s3://a/b f", "mv s3://a/b s3://a/c --concurrency -1", "mv s3://a s3://b",
		"rm", "rm f", "rm s3://a", "rm s3://a/b/", "rm --recursive s3://a/b", "rm --recursive f", "rm s3://a/b s3://a/c --concurrency 0",
		"ls", "ls f", "ls s3://", "ls s3:///b", "ls s3://a s3://b",
		"rewrap s3://a/b f -k key --keep-all", "rewrap f g -k key --keep-all", "rewrap --recursive f -k key --keep-all", "rewrap --recursive s3://a/b -k key --keep-all",
		"rewrap s3://a/b s3://a/c -k key --keep-all --location s3://x/y", "rewrap --recursive s3://a -k key --keep-all --location s3://x/y", "rewrap s3://a/b -k key",
		"rewrap s3://a -k key --keep-all", "rewrap s3://a/b -k key --keep-all --concurrency -1",
	} {
		r := want(t, exitUsage, strings.Fields(args)...)
		if !strings.Contains(r.stderr, " --help") || r.stdout != "" {
			t.Errorf("bulla %s: stdout %q, stderr %q", args, r.stdout, r.stderr)
		}
	}
	wantFiles(t, "f", "key")
}

func TestHeaderTooLarge(t *testing.T) {
	inTempDir(t)
	write(t, "f", "text")
	r := want(t, exitUsage, "encrypt", "-k", "key", "f", "--context", "a="+strings.Repeat("x", 65535))
	if len(r.stderr) > 1000 {
		t.Errorf("the message has %d bytes", len(r.stderr))
	}
	wantFiles(t, "f", "key")
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{{}, {"--help"}, {"help"}} {
		r := want(t, 0, args...)
		for _, code := range []string{"Exit codes", "  3  ", "  4  ", "130  ", keyFileEnv} {
			if !strings.Contains(r.stdout, code) {
				t.Errorf("bulla %q does not tell %q", args, code)
			}
		}
	}
	for _, command := range []string{"keygen", "encrypt", "decrypt", "rewrap", "inspect", "cp", "cat", "ls", "mv", "rm"} {
		r := want(t, 0, command, "--help")
		if !strings.Contains(r.stdout, "Examples:\n  bulla ") && !strings.Contains(r.stdout, "| bulla "+command) {
			t.Errorf("%s --help has no example", command)
		}
		for line := range strings.Lines(r.stdout) {
			if len(line) > 101 {
				t.Errorf("%s --help: a line of %d columns: %s", command, len(line), line)
			}
		}
	}
	if r := want(t, 0, "--version"); !strings.HasPrefix(r.stdout, "bulla version ") || !strings.Contains(r.stdout, " (go1.") {
		t.Errorf("--version prints %q", r.stdout)
	}
	if r := want(t, 0, "completion", "bash"); !strings.Contains(r.stdout, "bash completion") {
		t.Error("no completion for bash")
	}
}
