package s3fs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"

	"github.com/aws/smithy-go"

	"github.com/bulla-format/bulla/s3download"
)

var (
	errIsDir  = errors.New("it is a directory")
	errNotDir = errors.New("it is not a directory")
)

// pathError returns err as a *fs.PathError. Of a store that knows no such
// object, it is also fs.ErrNotExist; of one that denies access, or a key service
// that does, fs.ErrPermission. io.EOF and nil stay what they are.
func pathError(op, name string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission):
	case isMissing(err):
		err = fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	case isDenied(err):
		err = fmt.Errorf("%w: %w", fs.ErrPermission, err)
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// isMissing tells whether there is no such object, rather than no header of it.
func isMissing(err error) bool {
	if errors.Is(err, s3download.ErrNoHeader) {
		return false
	}
	switch code(err) {
	case "NoSuchKey", "NoSuchBucket", "NoSuchVersion", "NotFound":
		return true
	}
	return false
}

// isDenied goes by the status, for the codes are many. An archived object has
// the same one.
func isDenied(err error) bool {
	var response interface{ HTTPStatusCode() int }
	return code(err) == "AccessDenied" || code(err) != "InvalidObjectState" &&
		errors.As(err, &response) && response.HTTPStatusCode() == http.StatusForbidden
}

// code returns the code of the API error in err's tree, or "".
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}
