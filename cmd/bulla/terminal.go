package main

import (
	"errors"
	"io"
	"os"
	"runtime"

	"golang.org/x/term"
)

// terminalName is the terminal of the process, whatever standard input is.
// Tests change it.
var terminalName = map[bool]string{false: "/dev/tty", true: "CONIN$"}[runtime.GOOS == "windows"]

// isTerminal reports whether a stream is a terminal.
func isTerminal(stream any) bool {
	file, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// A textWriter passes text on to a terminal, and refuses what would garble it.
type textWriter struct{ w io.Writer }

func (t textWriter) Write(p []byte) (int, error) {
	for _, c := range p {
		if c < ' ' && (c < '\a' || c > '\r') && c != '\x1b' {
			return 0, errors.New("the plaintext is not text, so it is not written to the terminal: use -o FILE or a pipe")
		}
	}
	return t.w.Write(p)
}
