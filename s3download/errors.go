package s3download

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"

	"github.com/bulla-format/bulla/format"
)

// What can go wrong beside the errors of packages stream, format and keywrap
// and those of the SDK, which pass through wrapped. Test for them with
// [errors.Is].
var (
	// ErrChanged means that the object is not the one that was opened, nor
	// the one that the caller's IfMatch names: it was replaced. Open it again.
	ErrChanged = errors.New("the object has changed: open it again")

	// ErrAnswer means that the store answered with other bytes than those that
	// were asked for. What stands between here and the object, such as a
	// proxy, may not support ranges.
	ErrAnswer = errors.New("the answer is not to the request")

	// ErrNoHeader means that the stream's header is stored apart from its
	// payload, and was not found: the message says where it was looked for.
	// Without it the payload cannot be read.
	ErrNoHeader = errors.New("the header is missing")

	// ErrStalled means that the store gave no byte for as long as
	// Options.StallTimeout allows, at each attempt. The call can be made again.
	ErrStalled = errors.New("no byte came within Options.StallTimeout")
)

// A bodyError is the failure of an answer's body, or of a wait for one: worth
// another request.
type bodyError struct{ err error }

func (e *bodyError) Error() string { return "the answer broke off: " + e.err.Error() }
func (e *bodyError) Unwrap() error { return e.err }

// failures that a further request may not see, as the SDK classifies them.
var transient = retry.IsErrorRetryables(retry.DefaultRetryables)

func retryable(err error) bool {
	var broken *bodyError
	return errors.As(err, &broken) || transient.IsErrorRetryable(err) == aws.TrueTernary
}

// status returns the HTTP status that err stands for, 0 if none is known.
func status(err error) int {
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "NoSuchKey", "NoSuchBucket", "NoSuchVersion", "NotFound":
			return http.StatusNotFound
		case "AccessDenied":
			return http.StatusForbidden
		case "PreconditionFailed":
			return http.StatusPreconditionFailed
		case "InvalidRange":
			return http.StatusRequestedRangeNotSatisfiable
		}
	}
	var response interface{ HTTPStatusCode() int }
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// explain says which object err is about, and what to do about it.
func (s *source) explain(err error) error { return s.named(advice(err)) }

// advice says what to do about an error of the store.
func advice(err error) error {
	for _, said := range []error{context.Canceled, context.DeadlineExceeded, format.ErrNotStream, ErrExpired} {
		if errors.Is(err, said) {
			return err
		}
	}
	var api smithy.APIError
	if errors.As(err, &api) && api.ErrorCode() == "InvalidObjectState" {
		return fmt.Errorf("the object is archived: restore it before reading it: %w", err)
	}
	switch status(err) {
	case http.StatusNotFound:
		err = fmt.Errorf("there is no such object: check bucket, key and version: %w", err)
	case http.StatusForbidden:
		err = fmt.Errorf("access was denied: check the credentials, and that they allow s3:GetObject (s3:GetObjectVersion for a version) and the use of the object's own KMS key: %w", err)
	case http.StatusPreconditionFailed:
		err = fmt.Errorf("%w: %w", ErrChanged, err)
	case http.StatusNotModified:
		err = fmt.Errorf("the object does not meet IfNoneMatch or IfModifiedSince: %w", err)
	case http.StatusRequestedRangeNotSatisfiable:
		err = fmt.Errorf("the object is shorter than it was said to be: %w", err)
	}
	return err
}

// named says which object err is about.
func (s *source) named(err error) error {
	return fmt.Errorf("s3download: %.300q: %w", s.location, err)
}
