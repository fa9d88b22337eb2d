// Package faultproxy is a reverse proxy for tests that stands between an S3 client and a real S3 server. It logs every
// request, and makes chosen requests fail as networks and stores do: an error answer, a connection that breaks, a body
// that is cut, slow or wrong, an ETag that changes, an answer that does not come.
package faultproxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"sync"
)

// Rule says which requests get which fault. Its zero fields match everything.
type Rule struct {
	Op   Op     // operation
	Key  string // object key
	Part int    // part number, of UploadPart and UploadPartCopy

	// Match, if set, tells whether a request matches, from what is known of it before it is forwarded. It must not use
	// the Proxy.
	Match func(Request) bool

	// Nth picks one of the requests that match the fields above, counted from one and from the moment the rule was
	// added, whichever rule they fell to; a retry is a request of its own. Zero: all of them.
	Nth int

	// Onward picks all requests after the Nth, too.
	Onward bool

	Fault Fault
}

// Proxy is a running proxy. Its methods are safe for concurrent use.
type Proxy struct {
	srv       *httptest.Server
	transport *http.Transport

	mu       sync.Mutex
	rules    []*rule
	requests []*exchange
}

type rule struct {
	Rule
	seen int // requests that matched, Nth apart
}

// exchange is one request on its way through the proxy. The proxy's mutex guards its record.
type exchange struct {
	record Request
	fault  Fault
	flush  func() error // sends what has been written of the answer
	hit    func()       // records that the fault has happened
}

// New starts a proxy in front of the server at target, for example "http://127.0.0.1:9000". client supplies the
// transport, and with it the certificates to trust; nil means http.DefaultTransport. Close stops the proxy.
func New(target string, client *http.Client) (*Proxy, error) {
	p, err := newProxy(target, client)
	if err == nil {
		p.srv.Start()
	}
	return p, err
}

// NewTLS is New with https in front, whatever the server has: HTTP/1.1, with a certificate that [Proxy.TLS] trusts.
func NewTLS(target string, client *http.Client) (*Proxy, error) {
	p, err := newProxy(target, client)
	if err == nil {
		p.srv.StartTLS()
	}
	return p, err
}

func newProxy(target string, client *http.Client) (*Proxy, error) {
	to, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("faultproxy: target: %w", err)
	}
	base := http.DefaultTransport.(*http.Transport)
	if client != nil {
		t, ok := client.Transport.(*http.Transport)
		if !ok {
			return nil, fmt.Errorf("faultproxy: the client's transport is a %T, not a *http.Transport", client.Transport)
		}
		base = t
	}
	p := &Proxy{transport: base.Clone()}
	p.transport.DisableCompression = true // bytes go through as they are
	p.transport.MaxIdleConnsPerHost = 32
	forward := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host // SigV4 signs it
		},
		Transport:      p.transport,
		ModifyResponse: p.modify,
		ErrorHandler:   p.failed,
		ErrorLog:       log.New(io.Discard, "", 0), // cut bodies are what this proxy is for
	}
	p.srv = httptest.NewUnstartedServer(p.handler(forward))
	p.srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	return p, nil
}

// URL is the endpoint that a client uses instead of the server's own.
func (p *Proxy) URL() string { return p.srv.URL }

// TLS is the configuration of clients that trust the proxy's certificate; nil if it serves http.
func (p *Proxy) TLS() *tls.Config {
	if p.srv.TLS == nil {
		return nil
	}
	return p.srv.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
}

// Close breaks the connections, waits for requests in progress and stops the proxy. Release every [Hold] first.
func (p *Proxy) Close() {
	p.srv.CloseClientConnections()
	p.srv.Close()
	p.transport.CloseIdleConnections()
}

// Add appends rules. A request gets the fault of the first rule that picks it.
func (p *Proxy) Add(rules ...Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range rules {
		p.rules = append(p.rules, &rule{Rule: r})
	}
}

// Reset removes all rules and empties the log.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rules, p.requests = nil, nil
}

// Log returns the requests seen so far, oldest first; those in progress with what is known of them.
func (p *Proxy) Log() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Request
	for _, x := range p.requests {
		all = append(all, x.record)
	}
	return all
}

type exchangeKey struct{}

// handler logs a request, picks its fault, lets the fault answer it or forwards it.
func (p *Proxy) handler(forward http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := p.begin(r)
		r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
		r.Body = counted{r.Body, func(n int) { p.update(x, func(q *Request) { q.BytesIn += int64(n) }) }}
		sw := &statusWriter{ResponseWriter: w, status: func(code int) { p.update(x, func(q *Request) { q.Status = code }) }}
		x.flush = http.NewResponseController(w).Flush
		x.hit = func() { p.update(x, func(q *Request) { q.Hit = true }) }
		if x.fault.before != nil {
			x.happens()
			if x.fault.before(sw, r, p.snapshot(x)) {
				return
			}
		}
		forward.ServeHTTP(sw, r)
		if x.fault.after != nil {
			x.happens()
			x.fault.after(p.snapshot(x))
		}
	})
}

// begin logs a request and finds its fault.
func (p *Proxy) begin(r *http.Request) *exchange {
	x := &exchange{record: classify(r)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, x)
	for _, rule := range p.rules {
		if !rule.matches(x.record) {
			continue
		}
		rule.seen++
		if x.record.Fault == "" && rule.picks(rule.seen) {
			x.fault, x.record.Fault = rule.Fault, rule.Fault.name
		}
	}
	return x
}

func (r *rule) matches(q Request) bool {
	return (r.Op == "" || r.Op == q.Op) && (r.Key == "" || r.Key == q.Key) && (r.Part == 0 || r.Part == q.Part) &&
		(r.Match == nil || r.Match(q))
}

func (r *rule) picks(n int) bool { return r.Nth == 0 || n == r.Nth || r.Onward && n > r.Nth }

// happens records that the fault happens, unless that is yet to be seen.
func (x *exchange) happens() {
	if !x.fault.late {
		x.hit()
	}
}

func exchangeOf(r *http.Request) *exchange { return r.Context().Value(exchangeKey{}).(*exchange) }

func (p *Proxy) update(x *exchange, f func(*Request)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&x.record)
}

func (p *Proxy) snapshot(x *exchange) Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return x.record
}

// modify applies the fault to the server's answer and counts its body. After an error the reverse proxy calls failed.
func (p *Proxy) modify(res *http.Response) error {
	x := exchangeOf(res.Request)
	if x.fault.modify != nil {
		x.happens()
		if err := x.fault.modify(res, x); err != nil {
			return err
		}
	}
	res.Body = counted{res.Body, func(n int) { p.update(x, func(q *Request) { q.BytesOut += int64(n) }) }}
	return nil
}

// failed ends a request that the server did not answer as a broken network does.
func (p *Proxy) failed(w http.ResponseWriter, _ *http.Request, _ error) { reset(w) }

// reset breaks the connection: the client sees "connection reset by peer".
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

// counted reports each read's size before its reader sees the bytes, so that a client never has bytes that the log
// does not have.
type counted struct {
	io.ReadCloser
	add func(int)
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.add(n)
	return n, err
}

// statusWriter reports the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status func(int)
}

func (w *statusWriter) WriteHeader(code int) {
	w.status(code)
	w.ResponseWriter.WriteHeader(code)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Totals are sums over requests.
type Totals struct {
	Requests int
	BytesIn  int64 // bytes of request bodies
	BytesOut int64 // bytes of answers' bodies
}

// Sum adds up the requests of the given operations, of all operations when none is given.
func Sum(requests []Request, ops ...Op) Totals {
	var t Totals
	for _, q := range requests {
		if len(ops) == 0 || slices.Contains(ops, q.Op) {
			t.Requests++
			t.BytesIn += q.BytesIn
			t.BytesOut += q.BytesOut
		}
	}
	return t
}
