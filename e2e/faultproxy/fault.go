package faultproxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Middle, as an offset in a body, is half of the body's size. Bodies are then of a size that is known beforehand.
const Middle = -1

// Fault is what happens to a request. The zero Fault forwards it untouched.
type Fault struct {
	name   string
	late   bool                                                                    // says itself when it has happened
	before func(w http.ResponseWriter, r *http.Request, q Request) (answered bool) // before the server sees the request
	modify func(res *http.Response, x *exchange) error                             // the server's answer
	after  func(q Request)                                                         // when the answer has been sent
}

// Error answers with an S3 error, for example Error(503, "SlowDown"). The server does not see the request; its body
// is read, because a client may miss an answer that comes while it still writes. header holds pairs, for example "Retry-After", "1".
func Error(status int, code string, header ...string) Fault {
	return Fault{
		name: fmt.Sprintf("%d %s", status, code),
		before: func(w http.ResponseWriter, r *http.Request, _ Request) bool {
			if _, err := io.Copy(io.Discard, r.Body); err != nil {
				reset(w)
				return true
			}
			for i := 0; i+1 < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.Header().Set("Content-Type", "application/xml")
			w.WriteHeader(status)
			if r.Method != http.MethodHead {
				// A client that is gone needs no answer.
				_, _ = fmt.Fprintf(w, `<?xml version="1.0" encoding="UTF-8"?>`+"\n"+
					`<Error><Code>%s</Code><Message>made by faultproxy</Message><RequestId>0</RequestId></Error>`, code)
			}
			return true
		},
	}
}

// Reset breaks the connection before the server sees the request.
func Reset() Fault {
	return Fault{name: "reset", before: func(w http.ResponseWriter, _ *http.Request, _ Request) bool {
		reset(w)
		return true
	}}
}

// ResetAfter hands the request to the server, drops its answer and breaks the connection: the operation was done, and
// the client cannot know.
func ResetAfter() Fault {
	return Fault{name: "reset after", modify: func(*http.Response, *exchange) error {
		return errors.New("faultproxy: answer dropped")
	}}
}

// CutRequest lets the server have n bytes of the request's body, then breaks the connection on both sides.
func CutRequest(n int64) Fault {
	return Fault{name: "request cut" + after(n), late: true, before: func(_ http.ResponseWriter, r *http.Request, _ Request) bool {
		x := exchangeOf(r)
		r.Body = body{io.MultiReader(io.LimitReader(r.Body, offset(n, r.ContentLength)), ending(func() error {
			x.hit()
			return io.ErrUnexpectedEOF
		})), r.Body}
		return false
	}}
}

// FlipRequest inverts the lowest bit of the byte at offset n of the request's body.
func FlipRequest(n int64) Fault {
	return Fault{name: fmt.Sprintf("byte %d of the request flipped", n), late: true, before: func(_ http.ResponseWriter, r *http.Request, _ Request) bool {
		r.Body = body{&flipper{src: r.Body, at: offset(n, r.ContentLength), mask: 1, hit: exchangeOf(r).hit}, r.Body}
		return false
	}}
}

// CutBody sends the answer's header with its true length and n bytes of its body, then breaks the connection.
func CutBody(n int64) Fault {
	return Fault{name: "cut" + after(n), late: true, modify: func(res *http.Response, x *exchange) error {
		res.Body = body{io.MultiReader(io.LimitReader(res.Body, offset(n, res.ContentLength)), ending(func() error {
			x.hit()
			return errors.Join(io.ErrUnexpectedEOF, x.flush())
		})), res.Body}
		return nil
	}}
}

// Stall hands the request to the server and keeps its answer until the client gives up.
func Stall() Fault {
	return Fault{name: "stall", modify: func(res *http.Response, _ *exchange) error {
		<-res.Request.Context().Done()
		return errors.New("faultproxy: answer kept")
	}}
}

// StallBody sends the answer's header and n bytes of its body, and no more until the client gives up.
func StallBody(n int64) Fault {
	return Fault{name: "stall" + after(n), late: true, modify: func(res *http.Response, x *exchange) error {
		res.Body = body{io.MultiReader(io.LimitReader(res.Body, offset(n, res.ContentLength)), ending(func() error {
			x.hit()
			err := x.flush()
			<-res.Request.Context().Done()
			return errors.Join(io.ErrUnexpectedEOF, err)
		})), res.Body}
		return nil
	}}
}

// ShortBody makes the answer's body n bytes shorter, and its Content-Length with it: a complete answer that holds less
// than was asked for.
func ShortBody(n int64) Fault {
	return Fault{name: fmt.Sprintf("short by %d", n), modify: func(res *http.Response, _ *exchange) error {
		keep := max(res.ContentLength-n, 0)
		setLength(res, keep)
		res.Body = body{io.LimitReader(res.Body, keep), res.Body}
		return nil
	}}
}

// LongBody adds n zero bytes to the answer's body, and to its Content-Length.
func LongBody(n int64) Fault {
	return Fault{name: fmt.Sprintf("long by %d", n), modify: func(res *http.Response, _ *exchange) error {
		setLength(res, res.ContentLength+n)
		res.Body = body{io.MultiReader(res.Body, io.LimitReader(zeros{}, n)), res.Body}
		return nil
	}}
}

// FlipBit inverts one bit of the byte at offset off of the object in every answer that holds that byte.
func FlipBit(off int64, bit uint) Fault {
	return Fault{name: fmt.Sprintf("bit %d of byte %d flipped", bit, off), late: true, modify: func(res *http.Response, x *exchange) error {
		if at := off - rangeStart(res); at >= 0 {
			res.Body = body{&flipper{src: res.Body, at: at, mask: 1 << (bit & 7), hit: x.hit}, res.Body}
		}
		return nil
	}}
}

// FlipAnswer inverts the lowest bit of the byte at offset n of the answer's body.
func FlipAnswer(n int64) Fault {
	return Fault{name: fmt.Sprintf("byte %d of the answer flipped", n), late: true, modify: func(res *http.Response, x *exchange) error {
		res.Body = body{&flipper{src: res.Body, at: offset(n, res.ContentLength), mask: 1, hit: x.hit}, res.Body}
		return nil
	}}
}

// Slow sends the answer's body in steps of the given size with a pause before each.
func Slow(step int, pause time.Duration) Fault {
	return Fault{name: "slow", modify: func(res *http.Response, _ *exchange) error {
		res.Body = body{&slowReader{src: res.Body, step: step, pause: pause, done: res.Request.Context().Done()}, res.Body}
		return nil
	}}
}

// Header replaces a header field of the answer, for example Header("ETag", `"0"`); an empty value removes it.
func Header(name, value string) Fault {
	return Fault{name: "header " + name, modify: func(res *http.Response, _ *exchange) error {
		if value == "" {
			res.Header.Del(name)
		} else {
			res.Header.Set(name, value)
		}
		return nil
	}}
}

// Before calls f before the server sees the request.
func Before(f func(Request)) Fault {
	return Fault{name: "before", before: func(_ http.ResponseWriter, _ *http.Request, q Request) bool {
		f(q)
		return false
	}}
}

// After calls f when the answer has been sent. The client may have read all of it before f returns, or begins.
func After(f func(Request)) Fault {
	return Fault{name: "after", after: f}
}

// Hold stops requests until they are released or the client gives up.
type Hold struct {
	reached  chan struct{}
	released chan struct{}
	once     [2]sync.Once
}

// NewHold returns a Hold to use in one or several rules.
func NewHold() *Hold { return &Hold{reached: make(chan struct{}), released: make(chan struct{})} }

// Reached is closed when the first request has arrived and waits.
func (h *Hold) Reached() <-chan struct{} { return h.reached }

// Release lets the requests continue, those to come as well. It may be called more than once.
func (h *Hold) Release() { h.once[1].Do(func() { close(h.released) }) }

// Fault holds a request, its body in memory, before the server sees it. A client that gives up sees its connection broken, and the server
// never sees the request.
func (h *Hold) Fault() Fault {
	return Fault{name: "hold", before: func(w http.ResponseWriter, r *http.Request, _ Request) bool {
		// Only when the body has been read does the HTTP server look whether the client is still there.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			reset(w)
			return true
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		h.once[0].Do(func() { close(h.reached) })
		select {
		case <-h.released:
			return false
		case <-r.Context().Done():
			reset(w)
			return true
		}
	}}
}

// body reads from one thing and closes another.
type body struct {
	io.Reader
	io.Closer
}

// ending is what a body ends with: it returns why.
type ending func() error

func (f ending) Read([]byte) (int, error) { return 0, f() }

// offset is where in a body of the given size n is.
func offset(n, size int64) int64 {
	if n == Middle {
		return size / 2
	}
	return n
}

// after names an offset.
func after(n int64) string {
	if n == Middle {
		return " in the middle"
	}
	return fmt.Sprintf(" after %d", n)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// flipper inverts the bits of mask in the byte at offset at of src.
type flipper struct {
	src  io.Reader
	at   int64 // still to come; negative: done
	mask byte
	hit  func() // called when it is done
}

func (f *flipper) Read(p []byte) (int, error) {
	n, err := f.src.Read(p)
	if f.at >= 0 && f.at < int64(n) {
		p[f.at] ^= f.mask
		f.hit()
	}
	f.at -= int64(n)
	return n, err
}

type slowReader struct {
	src   io.Reader
	step  int
	pause time.Duration
	done  <-chan struct{}
}

func (s *slowReader) Read(p []byte) (int, error) {
	select {
	case <-time.After(s.pause):
	case <-s.done:
	}
	return s.src.Read(p[:min(len(p), s.step)])
}

func setLength(res *http.Response, n int64) {
	res.ContentLength = n
	res.Header.Set("Content-Length", strconv.FormatInt(n, 10))
}

// rangeStart is the offset in the object of the answer's first byte.
func rangeStart(res *http.Response) int64 {
	r, ok := strings.CutPrefix(res.Header.Get("Content-Range"), "bytes ")
	if !ok {
		return 0
	}
	first, _, _ := strings.Cut(r, "-")
	n, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
