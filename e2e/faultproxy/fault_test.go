package faultproxy_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/e2e/faultproxy"
)

// A request whose body is cut or changed on its way is not carried out.
func TestWrongRequests(t *testing.T) {
	p, c, bucket := setup(t)
	body := bytes.Repeat([]byte("abcdefgh"), 100_000)
	for _, tc := range []struct {
		name  string
		fault faultproxy.Fault
		code  string // of the API error; empty: the connection breaks
	}{
		{"cut at once", faultproxy.CutRequest(0), ""},
		{"cut", faultproxy.CutRequest(12_345), ""},
		{"cut in the middle", faultproxy.CutRequest(faultproxy.Middle), ""},
		{"cut before the last byte", faultproxy.CutRequest(int64(len(body)) - 1), ""},
		{"first byte changed", faultproxy.FlipRequest(0), "XAmzContentSHA256Mismatch"},
		{"middle changed", faultproxy.FlipRequest(faultproxy.Middle), "XAmzContentSHA256Mismatch"},
		{"last byte changed", faultproxy.FlipRequest(int64(len(body)) - 1), "XAmzContentSHA256Mismatch"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p.Reset()
			p.Add(faultproxy.Rule{Op: faultproxy.PutObject, Fault: tc.fault})
			_, err := c.PutObject(t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: aws.String("new"), Body: bytes.NewReader(body)})
			if code, _ := apiError(err); err == nil || code != tc.code {
				t.Errorf("%v, want %q", err, tc.code)
			}
			if q := p.Log()[0]; !q.Hit || q.Fault == "" {
				t.Errorf("log %+v", q)
			}
			if _, err := os.Stat(server.PathOnDisk(bucket, "new")); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the object is stored: %v", err)
			}
		})
	}
}

// Faults whose offset is the middle of an answer.
func TestMiddle(t *testing.T) {
	p, c, bucket := setup(t)
	p.Add(
		faultproxy.Rule{Op: faultproxy.GetObject, Nth: 1, Fault: faultproxy.CutBody(faultproxy.Middle)},
		faultproxy.Rule{Op: faultproxy.GetObject, Nth: 2, Fault: faultproxy.FlipAnswer(faultproxy.Middle)},
	)
	byteRange := "bytes=1000-1099"
	got, _, err := get(t.Context(), c, bucket, byteRange)
	if !errors.Is(err, io.ErrUnexpectedEOF) || !bytes.Equal(got, content[1000:1050]) {
		t.Errorf("cut: %q, %v", got, err)
	}
	got, _, err = get(t.Context(), c, bucket, byteRange)
	if err != nil || !bytes.Equal(got, flipped(content, 1050, 1)[1000:1100]) {
		t.Errorf("changed: %q, %v", got, err)
	}
	for i, q := range p.Log() {
		if !q.Hit {
			t.Errorf("request %d: log %+v", i, q)
		}
	}
}

// An answer that stalls comes to the client up to where it does, and ends when the client gives up.
func TestStalls(t *testing.T) {
	p, c, bucket := setup(t)
	for _, tc := range []struct {
		name   string
		fault  faultproxy.Fault
		answer bool // begins
		n      int64
	}{
		{"no answer", faultproxy.Stall(), false, 0},
		{"no body", faultproxy.StallBody(0), true, 0},
		{"after some bytes", faultproxy.StallBody(1000), true, 1000},
		{"in the middle", faultproxy.StallBody(faultproxy.Middle), true, size / 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p.Reset()
			p.Add(faultproxy.Rule{Op: faultproxy.GetObject, Fault: tc.fault})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if !tc.answer {
				ctx, cancel = context.WithTimeout(ctx, 200*time.Millisecond)
				defer cancel()
			}
			out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: aws.String(key)})
			if !tc.answer {
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("%v, want the deadline", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer out.Body.Close()
			p0 := make([]byte, tc.n)
			if _, err := io.ReadFull(out.Body, p0); err != nil || !bytes.Equal(p0, content[:tc.n]) {
				t.Errorf("the bytes before: %v", err)
			}
			time.AfterFunc(50*time.Millisecond, cancel)
			if n, err := out.Body.Read(make([]byte, 1)); n != 0 || !errors.Is(err, context.Canceled) {
				t.Errorf("%d bytes more, %v", n, err)
			}
			if q := p.Log()[0]; !q.Hit || q.BytesOut != tc.n {
				t.Errorf("log %+v", q)
			}
		})
	}
}

// A fault that finds nothing to spoil is in the log as one that has not happened.
func TestHit(t *testing.T) {
	p, c, bucket := setup(t)
	for _, tc := range []struct {
		fault faultproxy.Fault
		hit   bool
	}{
		{faultproxy.CutBody(9), true},
		{faultproxy.CutRequest(0), false},
		{faultproxy.FlipBit(1005, 0), true},
		{faultproxy.FlipBit(999, 0), false},
		{faultproxy.FlipBit(1010, 0), false},
		{faultproxy.FlipAnswer(9), true},
		{faultproxy.FlipAnswer(10), false},
		{faultproxy.FlipRequest(0), false},
		{faultproxy.Reset(), true},
		{faultproxy.ResetAfter(), true},
		{faultproxy.ShortBody(1), true},
		{faultproxy.Header("ETag", `"0"`), true},
		{faultproxy.Error(http.StatusServiceUnavailable, "SlowDown"), true},
		{faultproxy.Fault{}, false},
	} {
		p.Reset()
		p.Add(faultproxy.Rule{Op: faultproxy.GetObject, Fault: tc.fault})
		_, _, _ = get(t.Context(), c, bucket, "bytes=1000-1009") // what it returns is for other tests
		if q := p.Log()[0]; q.Hit != tc.hit {
			t.Errorf("%q: hit %v, want %v", q.Fault, q.Hit, tc.hit)
		}
	}
}

// Which requests a rule picks.
func TestRulePicks(t *testing.T) {
	p, c, bucket := setup(t)
	down := faultproxy.Error(http.StatusServiceUnavailable, "SlowDown")
	ofRange := func(q faultproxy.Request) bool { return q.Range == "bytes=5-9" }
	for _, tc := range []struct {
		name string
		rule faultproxy.Rule
		want string // of five requests, every other with the range, those that fail
	}{
		{"all", faultproxy.Rule{}, "xxxxx"},
		{"the third", faultproxy.Rule{Nth: 3}, "..x.."},
		{"from the third on", faultproxy.Rule{Nth: 3, Onward: true}, "..xxx"},
		{"matching", faultproxy.Rule{Match: ofRange}, ".x.x."},
		{"the second that matches", faultproxy.Rule{Match: ofRange, Nth: 2}, "...x."},
		{"from the first that matches on", faultproxy.Rule{Match: ofRange, Nth: 1, Onward: true}, ".x.x."},
		{"another key", faultproxy.Rule{Match: ofRange, Key: "other"}, "....."},
	} {
		p.Reset()
		tc.rule.Fault = down
		p.Add(tc.rule)
		got := ""
		for i := range 5 {
			byteRange := ""
			if i%2 == 1 {
				byteRange = "bytes=5-9"
			}
			if _, _, err := get(t.Context(), c, bucket, byteRange); err != nil {
				got += "x"
			} else {
				got += "."
			}
		}
		if got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
}
