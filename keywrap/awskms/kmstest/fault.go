package kmstest

import (
	"net"
	"net/http"
	"time"
)

// A Fault makes calls fail or wait. The calls that it counts are those of its
// operation, with a good signature, since [Server.Inject]; each attempt of a
// client that retries is a call.
type Fault struct {
	Operation string // such as "Decrypt"; empty: all
	After     int    // calls to let through first: n-1 hits the n-th call
	Times     int    // calls to hit; zero is one, negative is all from then on

	// Delay is how long to wait before anything else is done. The wait ends
	// early when the client goes away or the server closes.
	Delay time.Duration

	// Code is the error to send, by AWS's name, such as
	// "ThrottlingException". The call then does nothing. Empty: after the
	// delay the call proceeds.
	Code    string
	Message string // of the error; empty: none
	Status  int    // HTTP status of the error; zero is the one that AWS uses with Code

	// Reset closes the connection with a TCP reset in place of an answer. The
	// call then does nothing.
	Reset bool
}

type fault struct {
	Fault
	seen int
}

// Inject adds a fault. If several hit the same call, the one injected first
// takes effect.
func (s *Server) Inject(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, &fault{Fault: f})
}

// ClearFaults removes all faults. A call that is already being delayed is not
// affected.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// nextFault counts the call and returns the fault that it hits, or nil. It is
// called with s.mu held.
func (s *Server) nextFault(operation string) *Fault {
	var hit *Fault
	for _, f := range s.faults {
		if f.Operation != "" && f.Operation != operation {
			continue
		}
		f.seen++
		due := f.seen > f.After && (f.Times < 0 || f.seen <= f.After+max(f.Times, 1))
		if due && hit == nil {
			hit = &f.Fault
		}
	}
	return hit
}

// wait sleeps for the fault's delay. It returns false if nobody waits for the
// answer any more.
func (s *Server) wait(r *http.Request, delay time.Duration) bool {
	if delay <= 0 {
		return true
	}
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
	case <-s.closed:
	}
	return false
}

// reset closes the connection under w so that the peer sees a TCP reset.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // closes the connection all the same
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
