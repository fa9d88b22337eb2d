package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// TestInterrupt ends the context in the middle of a source that then gives
// nothing more and does not end.
func TestInterrupt(t *testing.T) {
	inTempDir(t)
	t.Setenv(keyFileEnv, "key")
	text := plaintextOf(1 << 20)
	sealed := bullaWith(t.Context(), t, text, "encrypt")
	write(t, "old", "old")
	for _, c := range []struct{ args, source string }{
		{"encrypt", text},
		{"encrypt -o new", text},
		{"encrypt --force -o old", text},
		{"decrypt -o new", sealed.stdout},
		{"decrypt --force -o old", sealed.stdout},
		{"inspect -", ""},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		r, w := io.Pipe()
		go func() {
			io.WriteString(w, c.source[:len(c.source)/2]) // returns when all of it is read
			cancel()
		}()
		var stdout, stderr bytes.Buffer
		if code := run(ctx, strings.Fields(c.args), r, &stdout, &stderr); code != exitInterrupted {
			t.Errorf("%s: exit code %d, %s", c.args, code, &stderr)
		}
		w.Close()
		wantFiles(t, "key", "old")
		if read(t, "old") != "old" {
			t.Errorf("%s replaced a file", c.args)
		}
	}
}

// Regular files are read without a goroutine between; the context counts all
// the same.
func TestInterruptFile(t *testing.T) {
	inTempDir(t)
	write(t, "f", "text")
	want(t, 0, "encrypt", "-k", "key", "f")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, args := range []string{"encrypt -k key f -o new", "decrypt -k key f.bulla -o new", "cat -k key f.bulla", "inspect f.bulla"} {
		if r := bullaWith(ctx, t, "", strings.Fields(args)...); r.code != exitInterrupted || r.stdout != "" {
			t.Errorf("%s: %+v", args, r)
		}
	}
	wantFiles(t, "f", "f.bulla", "key")
}

// TestSignal sends a signal to the real command.
func TestSignal(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no signals to send")
	}
	inTempDir(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "encrypt", "-k", "key", "-o", "new")
	cmd.Env = append(os.Environ(), asCommand+"=1")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// More than a pipe holds: when it is written, the command is at work.
	if _, err := io.WriteString(stdin, plaintextOf(4<<20)); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	err = cmd.Wait()
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != exitInterrupted || stderr.String() != "bulla: interrupted\n" {
		t.Errorf("%v, stderr %q", err, &stderr)
	}
	wantFiles(t, "key")
}
