package s3upload

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/aws/smithy-go"
)

// ErrChanged means that the object is not, or not any more, the one that was
// asked for: another writer came first, and what it wrote stays. Look at the
// object again, and repeat the call if it is still wanted.
var ErrChanged = errors.New("the object has changed meanwhile")

// ErrExists means that another object stands where a copy would go. It was left
// alone: delete it first, or choose another place.
var ErrExists = errors.New("there is an object already")

// advise is advise, and knows that the object was there.
func (s *stored) advise(err error, permissions string) error {
	switch status := statusOf(err); {
	case s.etag == "" || noSuchUpload(err):
	case status == http.StatusNotFound:
		return fmt.Errorf("%w: it is gone: %w", ErrChanged, err)
	case status == http.StatusRequestedRangeNotSatisfiable:
		return fmt.Errorf("%w: it has become shorter: %w", ErrChanged, err)
	}
	return advise(err, permissions)
}

// advise says what to do about the store's refusal of a request that needs the
// given permissions.
func advise(err error, permissions string) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		switch api.ErrorCode() {
		case "InvalidObjectState":
			return fmt.Errorf("the object is archived: restore it first: %w", err)
		case "ConditionalRequestConflict":
			return fmt.Errorf("%w: %w", ErrChanged, err)
		}
	}
	switch status := statusOf(err); {
	case noSuchUpload(err):
	case status == http.StatusForbidden:
		return fmt.Errorf("access was denied: check the credentials, and that they allow %s: %w", permissions, err)
	case status == http.StatusNotFound:
		return fmt.Errorf("there is no such object: check bucket, key and version: %w", err)
	case status == http.StatusPreconditionFailed:
		return fmt.Errorf("%w: %w", ErrChanged, err)
	}
	return err
}
