package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A terminal is a pseudo-terminal: what the command writes to tty, and nothing
// else, comes out of screen, which ends when tty is closed.
type terminal struct {
	tty    *os.File
	screen *os.File
}

func newTerminal(t *testing.T) *terminal {
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals: %v", err)
	}
	t.Cleanup(func() { screen.Close() })
	if err := unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(int(screen.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80}); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return &terminal{tty, screen}
}

// shown closes the terminal and returns what was written to it.
func (x *terminal) shown() string {
	x.tty.Close()
	var b bytes.Buffer
	io.Copy(&b, x.screen) // ends with EIO
	return b.String()
}

func TestTerminalOutput(t *testing.T) {
	inTempDir(t)
	t.Setenv(keyFileEnv, "key")
	write(t, "f", "some text\n")
	write(t, "binary", "\x00\x01\x02")
	want(t, 0, "encrypt", "f")
	want(t, 0, "encrypt", "binary")
	text, binary := read(t, "f.bulla"), read(t, "binary.bulla")
	for _, c := range []struct {
		args  string
		stdin string
		code  int
		shown string // a part of it; empty: nothing
	}{
		{"keygen", "", exitUsage, ""},
		{"keygen -o -", "", 0, "BULLA-AES-256-KEY"},
		{"encrypt", "text", exitUsage, ""},
		{"encrypt -o -", "text", 0, "BUL"},
		{"decrypt", text, 0, "some text"},
		{"decrypt", binary, exitFailure, ""},
		{"decrypt -o -", binary, 0, "\x00\x01\x02"},
		{"cat f.bulla", "", 0, "some text"},
		{"cat binary.bulla", "", exitFailure, ""},
		{"inspect f.bulla", "", 0, "aes-256-gcm"},
	} {
		x := newTerminal(t)
		var stderr bytes.Buffer
		code := run(t.Context(), strings.Fields(c.args), strings.NewReader(c.stdin), x.tty, &stderr)
		shown := x.shown()
		if code != c.code || !strings.Contains(shown, c.shown) || c.shown == "" && shown != "" {
			t.Errorf("%s: exit code %d, want %d; shown %q; %s", c.args, code, c.code, shown, &stderr)
		}
	}
}

func TestTerminalInput(t *testing.T) {
	inTempDir(t)
	x := newTerminal(t)
	for _, args := range []string{"decrypt -k key", "decrypt -k key -o f", "inspect -"} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), strings.Fields(args), x.tty, &stdout, &stderr); code != exitUsage {
			t.Errorf("%s: exit code %d, %s", args, code, &stderr)
		}
	}
	wantFiles(t, "key")
}

// TestProgress gives work that lasts until its progress is shown.
func TestProgress(t *testing.T) {
	inTempDir(t)
	x := newTerminal(t)
	r, w := io.Pipe()
	done := make(chan int)
	go func() {
		done <- run(t.Context(), []string{"encrypt", "-k", "key", "-o", "f"}, r, io.Discard, x.tty)
	}()
	if _, err := w.Write([]byte("text")); err != nil {
		t.Fatal(err)
	}
	var shown []byte
	for !strings.Contains(string(shown), "standard input   4.0 b") {
		b := make([]byte, 1000)
		n, err := x.screen.Read(b)
		if err != nil {
			t.Fatalf("%v after %q", err, shown)
		}
		shown = append(shown, b[:n]...)
	}
	w.Close()
	if code := <-done; code != 0 {
		t.Errorf("exit code %d", code)
	}
	if rest := x.shown(); !strings.HasSuffix(rest, "\x1b[1A\x1b[J") {
		t.Errorf("the progress stays on the terminal: %q", rest)
	}
}

func TestNoProgress(t *testing.T) {
	inStore(t)
	upload(t, "a", "text")
	write(t, "f", plaintextOf(1<<20))
	defer func(delay time.Duration) { meterDelay = delay }(meterDelay)
	for _, c := range []struct {
		delay time.Duration
		args  string
	}{
		{time.Hour, "encrypt -k key f"},
		{time.Hour, "decrypt -k key f.bulla -o g"},
		{0, "encrypt -k key f -f -q"},
		{time.Hour, "cp --path-style s3://bucket/a s3://bucket/b"},
		{time.Hour, "mv --path-style s3://bucket/a s3://bucket/c"},
		{0, "mv --path-style s3://bucket/c s3://bucket/d -q"},
	} {
		meterDelay = c.delay
		x := newTerminal(t)
		if code := run(t.Context(), strings.Fields(c.args), strings.NewReader(""), io.Discard, x.tty); code != 0 {
			t.Errorf("%s: exit code %d", c.args, code)
		}
		if shown := x.shown(); shown != "" {
			t.Errorf("%s shows %q", c.args, shown)
		}
	}
}

// echoes tells whether what is typed is shown.
func (x *terminal) echoes(t *testing.T) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(x.tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// say types lines, each when the prompt for it is shown and the terminal shows
// nothing typed, and returns what was shown until then.
func (x *terminal) say(t *testing.T, lines ...string) string {
	t.Helper()
	var shown []byte
	for i, line := range lines {
		for strings.Count(string(shown), ": ") <= i {
			b := make([]byte, 1000)
			n, err := x.screen.Read(b)
			if err != nil {
				t.Fatalf("%v after %q", err, shown)
			}
			shown = append(shown, b[:n]...)
		}
		for x.echoes(t) {
			runtime.Gosched()
		}
		if _, err := io.WriteString(x.screen, line+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	return string(shown)
}

func TestAskPassphrase(t *testing.T) {
	inTempDir(t)
	write(t, "f", "text")
	defer func(name string) { terminalName = name }(terminalName)
	for _, c := range []struct {
		args    string
		typed   []string
		code    int
		prompts string
	}{
		{"encrypt f --passphrase", []string{"secret", "secret"}, 0, "Passphrase: \r\nPassphrase, once more: "},
		{"encrypt f --passphrase -o g", []string{"secret", "other"}, exitKey, "Passphrase: \r\nPassphrase, once more: "},
		{"encrypt f --passphrase -o g", []string{"", ""}, exitKey, "Passphrase: \r\nPassphrase, once more: "},
		{"decrypt f.bulla --passphrase -o g", []string{"other"}, exitKey, "Passphrase: "},
		{"decrypt f.bulla --passphrase -o g", []string{"secret"}, 0, "Passphrase: "},
		{"rewrap f.bulla -q --passphrase --new-passphrase", []string{"secret", "new", "new"}, 0, "Passphrase: \r\nNew passphrase: \r\nNew passphrase, once more: "},
		{"cat f.bulla --passphrase", []string{"secret"}, exitKey, "Passphrase: "},
		{"cat f.bulla --passphrase", []string{"new"}, 0, "Passphrase: "},
	} {
		for _, piped := range []bool{false, true} { // standard input is the terminal, or something else
			if piped && c.code == 0 && !strings.HasPrefix(c.args, "cat") {
				continue // done already
			}
			x := newTerminal(t)
			stdin := io.Reader(x.tty)
			if terminalName = "/missing"; piped {
				stdin, terminalName = strings.NewReader(""), x.tty.Name()
			}
			var stderr bytes.Buffer
			done := make(chan int)
			go func() { done <- run(t.Context(), strings.Fields(c.args), stdin, io.Discard, &stderr) }()
			shown := x.say(t, c.typed...)
			if code := <-done; code != c.code {
				t.Errorf("%s: exit code %d, want %d; %s", c.args, code, c.code, &stderr)
			}
			if shown += x.shown(); shown != c.prompts+"\r\n" {
				t.Errorf("%s: shown %q, want %q", c.args, shown, c.prompts)
			}
		}
	}
	wantFiles(t, "f", "f.bulla", "g", "key")
	terminalName = "/missing"
	if r := want(t, exitUsage, "cat", "f.bulla", "--passphrase"); !strings.Contains(r.stderr, "--passphrase-file") {
		t.Errorf("without a terminal: %+v", r)
	}
}

// An interrupted question gives the terminal its echo back.
func TestAskPassphraseInterrupted(t *testing.T) {
	inTempDir(t)
	write(t, "f", "text")
	x := newTerminal(t)
	if !x.echoes(t) {
		t.Fatal("a new terminal shows nothing that is typed")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var stderr bytes.Buffer
	done := make(chan int)
	go func() {
		done <- run(ctx, []string{"encrypt", "f", "--passphrase"}, x.tty, io.Discard, &stderr)
	}()
	for x.echoes(t) {
		runtime.Gosched()
	}
	cancel()
	if code := <-done; code != exitInterrupted || stderr.String() != "bulla: interrupted\n" {
		t.Errorf("exit code %d, %s", code, &stderr)
	}
	if !x.echoes(t) {
		t.Error("the terminal shows nothing any more")
	}
	io.WriteString(x.screen, "\n") // ends the goroutine
	wantFiles(t, "f", "key")
}
