package e2e_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/bulla-format/bulla/e2e/faultproxy"
	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
)

// A fault is something that can happen to a request.
type fault struct {
	name string
	make func(t *testing.T, s *stage, c *trial) faultproxy.Fault

	inRequest, inAnswer bool                // needs the body of the one or the other
	of                  func(c *trial) bool // if set, says which requests can have it

	alike  bool // another fault has the same effect, most likely
	want   func(c *trial) expectation
	typed  func(c *trial, err error) bool // tells whether err is what the failure has to be
	stalls bool                           // the client has to lose patience
}

// An expectation is what has to become of a deed.
type expectation int

const (
	succeeds expectation = iota
	fails
	either
)

// passes is wanted of a fault that another attempt need not meet.
func passes(c *trial) expectation {
	if c.onward {
		return fails
	}
	return succeeds
}

func stays(*trial) expectation    { return fails }
func harmless(*trial) expectation { return succeeds }

// static makes the same fault for every trial.
func static(f faultproxy.Fault) func(*testing.T, *stage, *trial) faultproxy.Fault {
	return func(*testing.T, *stage, *trial) faultproxy.Fault { return f }
}

// answers is the fault of an error answer.
//
// To HEAD the store sends no code: the SDK then makes one of the status.
func answers(name string, want func(*trial) expectation, status int, code string, header ...string) fault {
	return fault{
		name: name, make: static(faultproxy.Error(status, code, header...)), want: want,
		typed: func(c *trial, err error) bool {
			return hasCode(code)(err) || c.request.Op == faultproxy.HeadObject && hasCode(strings.ReplaceAll(http.StatusText(status), " ", ""))(err)
		},
	}
}

// likeIt tells that the fault is like another one.
func likeIt(f fault) fault {
	f.alike = true
	return f
}

func brokenOff(_ *trial, err error) bool { return broken(err) }
func gaveUp(_ *trial, err error) bool    { return timedOut(err) }

// xml tells whether the answer to the request is a document that the SDK parses.
func (c *trial) xml() bool {
	switch c.request.Op {
	case faultproxy.CreateMultipartUpload, faultproxy.CompleteMultipartUpload, faultproxy.UploadPartCopy, faultproxy.CopyObject,
		faultproxy.ObjectSubresource, faultproxy.ListObjectsV2:
		return true
	}
	return false
}

var faults = []fault{
	answers("503 SlowDown", passes, 503, "SlowDown"),
	likeIt(answers("500 InternalError", passes, 500, "InternalError")),
	likeIt(answers("429 with Retry-After", passes, 429, "TooManyRequestsException", "Retry-After", "1")),
	answers("403 ExpiredToken", stays, 403, "ExpiredToken"),
	likeIt(answers("403 RequestTimeTooSkewed", stays, 403, "RequestTimeTooSkewed")),
	{
		name: "412 PreconditionFailed", make: static(faultproxy.Error(412, "PreconditionFailed")), want: stays,
		typed: func(c *trial, err error) bool {
			return code(err) == "PreconditionFailed" && (!c.reads() || c.request.Op != faultproxy.GetObject || c.first() || errors.Is(err, s3download.ErrChanged))
		},
	},
	{
		name: "404 NoSuchKey", make: static(faultproxy.Error(404, "NoSuchKey")), want: stays,
		of: func(c *trial) bool { return c.reads() },
		typed: func(c *trial, err error) bool {
			return code(err) == "NoSuchKey" && (!c.beside() || errors.Is(err, s3download.ErrNoHeader))
		},
	},
	{
		// The upload really is gone, as a lifecycle rule removes it; aborting it is then done.
		name: "404 NoSuchUpload", make: uploadVanishes,
		of: func(c *trial) bool {
			switch faultproxy.Op(c.kind) {
			case faultproxy.UploadPart, faultproxy.AbortMultipartUpload:
				return true
			case faultproxy.CompleteMultipartUpload:
				// Where there is another object the gateway takes it for the upload's, and says that all is well.
				return !c.deed.replaces
			}
			return false
		},
		want: func(c *trial) expectation {
			if c.kind == string(faultproxy.AbortMultipartUpload) {
				return succeeds
			}
			return fails
		},
		// The gateway answers a part, and hangs up, while its body is still on the way.
		typed: func(c *trial, err error) bool {
			return code(err) == "NoSuchUpload" || c.kind == string(faultproxy.UploadPart) && broken(err)
		},
	},
	{name: "reset", make: static(faultproxy.Reset()), want: passes, typed: brokenOff},
	{name: "answer lost", make: static(faultproxy.ResetAfter()), want: passes, typed: brokenOff},
	{name: "request cut", make: static(faultproxy.CutRequest(faultproxy.Middle)), inRequest: true, want: passes, typed: brokenOff},
	{
		name: "request changed", make: static(faultproxy.FlipRequest(faultproxy.Middle)), inRequest: true, want: stays,
		typed: func(c *trial, err error) bool {
			return code(err) == "XAmzContentSHA256Mismatch" || c.deed.tls && code(err) == "BadDigest"
		},
	},
	{name: "answer cut", make: static(faultproxy.CutBody(faultproxy.Middle)), inAnswer: true, want: passes, typed: brokenOff},
	{name: "answer slow", make: static(faultproxy.Slow(16<<10, 5*time.Millisecond)), inAnswer: true, want: harmless},
	{name: "no answer", alike: true, make: static(faultproxy.Stall()), want: passes, typed: gaveUp, stalls: true},
	{name: "answer stalls", make: static(faultproxy.StallBody(faultproxy.Middle)), inAnswer: true, want: passes, typed: gaveUp, stalls: true},
	{name: "answer changed", make: answerChanges, inAnswer: true, want: stays, typed: wrongAnswer},
	{name: "answer short", make: static(faultproxy.ShortBody(1)), inAnswer: true, want: stays, typed: wrongAnswer},
	{name: "answer long", make: static(faultproxy.LongBody(100)), inAnswer: true, want: stays, typed: wrongAnswer},
	{
		name: "stale ETag", make: static(faultproxy.Header("ETag", `"0123456789abcdef0123456789abcdef"`)), want: stays,
		of: func(c *trial) bool {
			return !c.xml() && c.kind != string(faultproxy.AbortMultipartUpload) && c.request.Op != faultproxy.DeleteObject
		},
		typed: func(c *trial, err error) bool {
			if c.reads() {
				return errors.Is(err, s3download.ErrChanged)
			}
			return code(err) == "InvalidPart" || code(err) == "PreconditionFailed" || errors.Is(err, s3upload.ErrChanged)
		},
	},
}

// first tells whether the request is the one that pins the object.
func (c *trial) first() bool { return c.kind == "GetObject from the start" && c.nth == 1 }

// beside tells whether the request is about a header object.
func (c *trial) beside() bool { return strings.HasSuffix(c.kind, " of a header") }

// wrongAnswer tells whether err is of an answer that is not right.
func wrongAnswer(c *trial, err error) bool {
	switch outcomeOf(err) {
	case "ErrAnswer", "ErrAuth", "ErrMalformed":
		return c.deed.verb != writes
	case "unreadable answer", "connection", "wrong checksum":
		return !c.reads()
	}
	return false
}

// unreadable tells whether err is of an answer that the SDK cannot parse.
func unreadable(err error) bool {
	_, ok := errors.AsType[*smithy.DeserializationError](err)
	return ok
}

// answerChanges flips a bit of the answer, in a byte that matters: what stands behind the prelude of a stream whose
// header is elsewhere is only read if it is wanted.
func answerChanges(_ *testing.T, _ *stage, c *trial) faultproxy.Fault {
	if c.first() {
		return faultproxy.FlipAnswer(format.PreludeSize - 1)
	}
	return faultproxy.FlipAnswer(faultproxy.Middle)
}

// uploadVanishes aborts the bucket's multipart uploads before the store sees the request.
func uploadVanishes(t *testing.T, s *stage, _ *trial) faultproxy.Fault {
	return faultproxy.Before(func(q faultproxy.Request) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), faultTime)
		defer cancel()
		out, err := s.direct.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &s.bucket})
		if err != nil {
			t.Error(err)
			return
		}
		for _, u := range out.Uploads {
			if _, err := s.direct.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.bucket, Key: aws.String(q.Key), UploadId: u.UploadId}); err != nil {
				t.Error(err)
			}
		}
	})
}
