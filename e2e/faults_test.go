package e2e_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"go.uber.org/goleak"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/e2e/measure"
	"github.com/bulla-format/bulla/e2e/s3server"
	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// The fault table: what an upload, a download or a change in the store asks of the store, times what can happen to a
// request, times the first and the last request of its kind, times once and from then on.
const (
	faultTime    = 45 * time.Second // of a trial; one that takes longer hangs
	stallWorkers = 48               // trials at a time that wait for a timeout
	faultWorkers = 12               // other trials at a time
)

// A deed is an upload, a download or a change in the store, whose requests fail in turn.
type deed struct {
	name     string
	verb     string         // writes, reads or keeps
	tls      bool           // the store is reached by https
	kinds    map[string]int // of requests that are to fail, with how many of them there are when nothing fails
	replaces bool           // there is an object in the place of the upload's
	refused  bool           // the store refuses it, whatever happens

	bucket func(t *testing.T) string // with what is in it beforehand
	do     func(ctx context.Context, s *stage) error
	check  func(t *testing.T, s *stage, c *trial, err error) (outcome string) // of the trial, nil when nothing was to fail
}

// The verbs of deeds.
const (
	writes = "write"
	reads  = "read"
	keeps  = "change"
)

// A trial is a deed of which one request fails, or that request and all later ones of its kind.
type trial struct {
	deed    *deed
	kind    string
	nth     int
	onward  bool
	fault   *fault
	request faultproxy.Request // as it is when it does not fail
}

func (c *trial) name() string {
	times := "once"
	if c.onward {
		times = "from then on"
	}
	return fmt.Sprintf("%s/%s %d/%s/%s", c.deed.name, c.kind, c.nth, c.fault.name, times)
}

// kindOf is what the table knows a request as.
func kindOf(q faultproxy.Request) string {
	kind := string(q.Op)
	switch {
	case strings.HasSuffix(q.Key, s3upload.DefaultHeaderSuffix):
		kind += " of a header"
	case q.Op == faultproxy.GetObject && strings.HasPrefix(q.Range, "bytes=0-"):
		kind += " from the start"
	}
	return kind
}

// A stage is where a deed is done.
type stage struct {
	place
	keys   *keywrap.AESKey
	stall  time.Duration      // s3download.Options.StallTimeout
	object *s3download.Object // that was opened
	result *s3upload.Result
	copied *s3upload.RewrapResult
	harm   bool // bytes of the payload were changed on their way through this host, where nothing can tell
}

var faultKey = sync.OnceValues(func() (*keywrap.AESKey, error) { return keywrap.GenerateAESKey("faults") })

// newStage returns a stage whose client gives up a request after the given time, if that is not zero.
func newStage(t *testing.T, bucket string, https bool, timeout time.Duration) *stage {
	t.Helper()
	s := &stage{place: place{bucket: bucket}}
	s.direct = server.Client(func(o *s3.Options) { o.Retryer = retryer() })
	s.connect(t)
	if https {
		s.secure(t)
	}
	s.client = s3.New(s.client.Options(), func(o *s3.Options) {
		o.HTTPClient = &http.Client{Transport: o.HTTPClient.(*http.Client).Transport, Timeout: timeout}
	})
	var err error
	if s.keys, err = faultKey(); err != nil {
		t.Fatal(err)
	}
	return s
}

// secure gives the stage another proxy, which is reached by https: the SDK then sends checksums in trailers.
func (s *stage) secure(t *testing.T) {
	t.Helper()
	proxy, err := faultproxy.NewTLS(server.URL(), server.HTTPClient())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Close)
	s.proxy = proxy
	transport := s.client.Options().HTTPClient.(*http.Client).Transport.(*http.Transport).Clone()
	transport.TLSClientConfig = proxy.TLS()
	t.Cleanup(transport.CloseIdleConnections)
	s.client = s3.New(s.client.Options(), func(o *s3.Options) {
		o.BaseEndpoint = aws.String(proxy.URL())
		o.HTTPClient = &http.Client{Transport: transport}
	})
}

func TestFaults(t *testing.T) {
	before := goleak.IgnoreCurrent()
	deeds := slices.Concat(uploadDeeds(), downloadDeeds(t), fileDeeds(t), storeDeeds(t))
	trials, skipped, spared := plan(t, deeds)
	if testing.Short() {
		all := trials
		trials = nil
		for i := 0; i < len(all); i += 5 {
			trials = append(trials, all[i])
		}
	}
	outcomes := make([]string, len(trials))
	run := func(i int) { t.Run(trials[i].name(), func(t *testing.T) { outcomes[i] = trials[i].run(t) }) }
	var stalling, others []int
	for i, c := range trials {
		if c.fault.stalls {
			stalling = append(stalling, i)
		} else {
			others = append(others, i)
		}
	}
	// Those that wait for longest begin first.
	slices.SortStableFunc(stalling, func(i, j int) int { return cmp.Compare(trials[j].patience(), trials[i].patience()) })
	var wg sync.WaitGroup
	wg.Go(func() { inParallel(stallWorkers, stalling, run) })
	wg.Go(func() { inParallel(faultWorkers, others, run) })
	wg.Wait()
	if onlySome() {
		return
	}
	tally(t, trials, outcomes, skipped, spared)
	server.HTTPClient().CloseIdleConnections()
	// The gateway's HTTP library keeps its workers for a while, too.
	ignore := []goleak.Option{before, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).workerFunc")}
	for _, f := range s3server.LeftRunning() {
		ignore = append(ignore, goleak.IgnoreAnyFunction(f))
	}
	if err := goleak.Find(ignore...); err != nil {
		t.Error(err)
	}
}

// inParallel calls f with all of the numbers, with so many at a time.
func inParallel(workers int, numbers []int, f func(int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for _, i := range numbers {
		next <- i
	}
	close(next)
	wg.Wait()
}

// plan does each deed without a fault, to learn its requests, and returns the trials; skipped counts the
// combinations that cannot be, spared those that need not.
func plan(t *testing.T, deeds []*deed) (trials []*trial, skipped, spared int) {
	combinations, made, tried, familiar := 0, map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, d := range deeds {
		t.Run(d.name, func(t *testing.T) {
			s := newStage(t, d.bucket(t), d.tls, 0)
			ctx, cancel := context.WithTimeout(t.Context(), faultTime)
			defer cancel()
			err := d.do(ctx, s)
			log := s.proxy.Log()
			d.check(t, s, nil, err)
			requests := map[string][]faultproxy.Request{}
			for _, q := range log {
				made[kindOf(q)] = true
				requests[kindOf(q)] = append(requests[kindOf(q)], q)
			}
			for _, kind := range slices.Sorted(maps.Keys(d.kinds)) {
				want := d.kinds[kind]
				tried[kind] = true
				n := len(requests[kind])
				if n != want {
					t.Fatalf("%d requests %s, want %d of the log %+v", n, kind, want, log)
				}
				first := !familiar[d.verb+kind]
				familiar[d.verb+kind] = true
				positions := slices.Compact([]int{1, n})
				if d.tls {
					positions = positions[:1]
				}
				for _, nth := range positions {
					for i := range faults {
						for _, onward := range []bool{false, true} {
							combinations++
							c := &trial{d, kind, nth, onward, &faults[i], requests[kind][nth-1]}
							switch {
							case !c.possible():
								skipped++
							case c.redundant(first && nth == 1):
								spared++
							default:
								trials = append(trials, c)
							}
						}
					}
				}
			}
		})
	}
	for kind := range made {
		if !tried[kind] && !onlySome() {
			t.Errorf("the deeds make requests %s, and none of them fails", kind)
		}
	}
	if t.Failed() || len(trials)+skipped+spared != combinations {
		t.Fatalf("%d trials, %d skipped and %d spared of %d", len(trials), skipped, spared, combinations)
	}
	// The order of a map is not that of two runs, and -short takes every fifth.
	slices.SortStableFunc(trials, func(a, b *trial) int { return cmp.Compare(a.name(), b.name()) })
	return trials, skipped, spared
}

// onlySome tells whether -run picks some of the trials: there is then no whole to look at.
func onlySome() bool { return strings.Contains(flag.Lookup("test.run").Value.String(), "/") }

// possible is the rule of which faults a request can have.
func (c *trial) possible() bool {
	f := c.fault
	return (!f.inRequest || c.request.BytesIn > 0) && (!f.inAnswer || c.request.BytesOut > 0) && (f.of == nil || f.of(c))
}

// redundant is the rule of which trials are not made because another one tells the same. Of faults that are alike, all
// happen only where the verb's deeds first make a request of the kind. And what fails a deed once need not do so for
// good, unless the deed goes on with such requests.
func (c *trial) redundant(first bool) bool {
	once := *c
	once.onward = false
	goesOn := c.deed.refused || !c.reads() && c.request.Op == faultproxy.GetObject
	return !first && c.fault.alike || c.onward && !goesOn && c.fault.want(&once) == fails
}

// patience is how long the client, or the reader, waits for the store; 0 is as long as it is used to.
func (c *trial) patience() time.Duration {
	switch {
	case !c.fault.stalls:
		return 0
	case c.reads():
		return 1500 * time.Millisecond
	case c.deed.kinds[string(faultproxy.UploadPart)] > 0:
		return 4 * time.Second // 5 MiB take their time on a busy machine
	}
	return 2 * time.Second
}

// reads tells whether the deed is a download.
func (c *trial) reads() bool { return c.deed.verb == reads }

// run does the deed with the fault.
func (c *trial) run(t *testing.T) (outcome string) {
	timeout := c.patience()
	if c.reads() && c.kind != string(faultproxy.ListObjectsV2) {
		timeout = 0 // of a client it is for all of a body, which a reader takes its time with
	}
	s := newStage(t, c.deed.bucket(t), c.deed.tls, timeout)
	s.stall = c.patience()
	s.proxy.Add(faultproxy.Rule{
		Match: func(q faultproxy.Request) bool { return kindOf(q) == c.kind },
		Nth:   c.nth, Onward: c.onward, Fault: c.fault.make(t, s, c),
	})
	ctx, cancel := context.WithTimeout(t.Context(), faultTime)
	defer cancel()
	err := c.deed.do(ctx, s)
	if ctx.Err() != nil {
		t.Errorf("it hangs: after %v it was ended: %v", faultTime, err)
	}
	hits := 0
	for _, q := range s.proxy.Log() {
		if q.Hit && kindOf(q) == c.kind {
			hits++
		}
	}
	if hits == 0 || !c.onward && hits != 1 {
		t.Errorf("the fault happened %d times", hits)
	}
	outcome = c.deed.check(t, s, c, err)
	if t.Failed() {
		t.Logf("%s: %v", outcome, err)
	}
	return outcome
}

// tally prints what became of the trials, by kind of request and by fault.
func tally(t *testing.T, trials []*trial, outcomes []string, skipped, spared int) {
	by := [2]map[string]map[string]int{{}, {}}
	for i, c := range trials {
		if outcomes[i] == "" {
			t.Errorf("%s: no outcome", c.name())
		}
		for j, key := range []string{c.deed.verb + ": " + c.kind, c.fault.name} {
			if by[j][key] == nil {
				by[j][key] = map[string]int{}
			}
			by[j][key][outcomes[i]]++
		}
	}
	t.Logf("%d trials; %d combinations cannot be, and %d are like others", len(trials), skipped, spared)
	for j, title := range []string{"by kind of request", "by fault"} {
		counted := 0
		t.Log(title)
		for _, key := range slices.Sorted(maps.Keys(by[j])) {
			var line strings.Builder
			sum := 0
			for _, outcome := range slices.Sorted(maps.Keys(by[j][key])) {
				n := by[j][key][outcome]
				sum += n
				fmt.Fprintf(&line, "; %d %s", n, outcome)
			}
			counted += sum
			t.Logf("  %4d %-38s %s", sum, key, line.String()[2:])
		}
		if counted != len(trials) {
			t.Errorf("%s: %d trials are counted, of %d", title, counted, len(trials))
		}
	}
}

// outcomeOf names a typed error; empty for any other.
func outcomeOf(err error) string {
	for _, known := range []struct {
		name string
		is   error
	}{
		{"ErrChanged", s3download.ErrChanged},
		{"ErrChanged", s3upload.ErrChanged},
		{"ErrExists", s3upload.ErrExists},
		{"ErrAnswer", s3download.ErrAnswer},
		{"ErrNoHeader", s3download.ErrNoHeader},
		{"ErrAuth", stream.ErrAuth},
		{"ErrMalformed", format.ErrMalformed},
		{"ErrNotStream", format.ErrNotStream},
	} {
		if errors.Is(err, known.is) {
			return known.name
		}
	}
	switch {
	case err == nil:
		return "right"
	case code(err) != "":
		return code(err)
	case timedOut(err):
		return "timeout"
	case broken(err):
		return "connection"
	case unreadable(err):
		return "unreadable answer"
	case strings.Contains(err.Error(), "checksum did not match"): // the SDK's, which has no type
		return "wrong checksum"
	}
	return ""
}

// broken tells whether err is of a connection that broke.
func broken(err error) bool {
	_, send := errors.AsType[*smithyhttp.RequestSendError](err)
	_, network := errors.AsType[*net.OpError](err)
	return send || network || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// timedOut tells whether err is of a wait that was too long.
func timedOut(err error) bool {
	wait, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	return ok && wait.Timeout() || errors.Is(err, s3download.ErrStalled)
}

// noWrongBytes fails the test if an err is of plaintext that is not the original's.
func noWrongBytes(t *testing.T, err error) {
	t.Helper()
	if diff, ok := errors.AsType[*measure.DiffError](err); ok {
		t.Errorf("wrong plaintext at offset %d", diff.Offset)
	}
}

// openUploads returns the ids of the bucket's multipart uploads, and how many parts each has.
func (s *stage) openUploads(t *testing.T) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, id := range s.uploads(t) {
		out, err := s.direct.ListParts(t.Context(), &s3.ListPartsInput{Bucket: &s.bucket, Key: aws.String("key"), UploadId: &id})
		if err != nil {
			t.Fatal(err)
		}
		found[id] = len(out.Parts)
	}
	return found
}
