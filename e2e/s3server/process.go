package s3server

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"time"
)

const (
	childEnv = "BULLA_E2E_S3SERVER_CHILD"
	readyTag = "s3server ready "

	// childLifetime bounds a child whose parent hangs; a parent that ends closes the child's standard input, which ends
	// it at once.
	childLifetime = 15 * time.Minute
)

// StartProcess is Start in a child process: the running executable, started again. Its main, or TestMain, must begin
// with [RunChild]. The child ends with Close, with ctx, with this process however it dies, and after 15 minutes.
//
// With a child, this process keeps its working directory, may have any number of servers, and its memory and goroutines
// are its own: what a measurement of the client needs.
func StartProcess(ctx context.Context, o *Options) (*Server, error) {
	return start(o, func(c *config) (func() error, error) {
		exe, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("s3server: %w", err)
		}
		p := &process{cmd: exec.CommandContext(ctx, exe)}
		p.cmd.Env = append(os.Environ(), childEnv+"=1")
		p.cmd.Cancel = func() error {
			_ = p.stdin.Close()
			return os.ErrProcessDone // it ends by itself, or is killed after WaitDelay
		}
		p.cmd.Stderr = os.Stderr
		p.cmd.WaitDelay = 5 * time.Second
		if err := p.start(c); err != nil {
			return nil, fmt.Errorf("s3server: child process: %w", err)
		}
		return p.close, nil
	})
}

// process is the parent's side of a child.
type process struct {
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout io.ReadCloser
}

// start runs the child, writes its config and waits for its URL.
func (p *process) start(c *config) (err error) {
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	if p.stdout, err = p.cmd.StdoutPipe(); err != nil {
		return err
	}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	stuck := time.AfterFunc(30*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer stuck.Stop()
	url, err := p.handshake(c)
	if err != nil {
		return errors.Join(err, p.close())
	}
	c.URL = url
	return nil
}

func (p *process) handshake(c *config) (url string, err error) {
	if err := json.NewEncoder(p.stdin).Encode(c); err != nil {
		return "", err
	}
	lines := bufio.NewScanner(p.stdout)
	for lines.Scan() {
		if url, ok := strings.CutPrefix(lines.Text(), readyTag); ok {
			return url, nil
		}
	}
	return "", errors.Join(errors.New("ended before it was ready; does main begin with s3server.RunChild()?"), lines.Err())
}

// close ends the child by closing its standard input and waits for it, killing it after 20 s.
func (p *process) close() error {
	_ = p.stdin.Close() // already closed when the child is gone; Wait has the reason
	stuck := time.AfterFunc(20*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer stuck.Stop()
	if err := p.cmd.Wait(); err != nil {
		return fmt.Errorf("s3server: child process: %w", err)
	}
	return nil
}

// RunChild serves and never returns when this process is the child that [StartProcess] started; otherwise it returns at
// once. Call it first in main or TestMain.
func RunChild() {
	if os.Getenv(childEnv) == "" {
		return
	}
	if err := serveChild(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serveChild reads a config from in, writes the URL to out and serves until in ends.
func serveChild(in io.Reader, out io.Writer) error {
	time.AfterFunc(childLifetime, func() { os.Exit(3) })
	signal.Ignore(os.Interrupt) // from a terminal; the parent gets it too and decides when to close
	var c config
	dec := json.NewDecoder(in)
	if err := dec.Decode(&c); err != nil {
		return fmt.Errorf("s3server: config from parent: %w", err)
	}
	g, err := serve(&c)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, readyTag+c.URL); err != nil {
		return errors.Join(err, g.close())
	}
	_, err = io.Copy(io.Discard, in) // blocks until the parent closes its end, or is gone
	return errors.Join(err, g.close())
}
