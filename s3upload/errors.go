package s3upload

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

var (
	// ErrInput means that the PutObjectInput or the options cannot be used as
	// they are. The message names the field to change; nothing was sent.
	ErrInput = errors.New("invalid upload")

	// ErrChecksum means that the plaintext is not what a checksum of the
	// caller's says: the source or the checksum is wrong. Nothing is visible.
	ErrChecksum = errors.New("checksum mismatch")

	// ErrJournal means that the journal is not one, is damaged, or is of
	// another upload. Nothing was sent.
	ErrJournal = errors.New("not the journal of this upload")

	// ErrSourceChanged means that the plaintext is not what it was when the
	// upload began that is being resumed. The upload and its journal stay.
	ErrSourceChanged = errors.New("the source changed")

	// ErrUploadGone means that the store does not know the multipart upload
	// that is to be resumed, and that its object is not there either: it was
	// aborted, by someone or by a lifecycle rule.
	ErrUploadGone = errors.New("the multipart upload is gone")
)

// An UploadError is a failure after the upload began. The object of an earlier
// upload to the same key, if there is one, is untouched unless MayBeStored is
// set.
type UploadError struct {
	Bucket, Key string

	// UploadID is the multipart upload, empty if none was begun.
	UploadID string

	// Err is what failed first.
	Err error

	// AbortErr is why the multipart upload could not be aborted. Its parts
	// are then stored and billed until UploadID is aborted. nil: there is
	// nothing left to abort.
	AbortErr error

	// Journal is the file to resume the upload from, empty if it cannot be:
	// call UploadResumable again. The multipart upload then was not aborted.
	Journal string

	// MayBeStored means that the request that makes the object visible was
	// sent, and no answer came that settles it: the object may be stored, and
	// is then whole.
	MayBeStored bool

	// HeaderKey is the header object that was sent, empty if none was.
	// HeaderErr is why it could not be taken back: a payload that stood there
	// before may then be without its header. nil: the pair is as it was, or
	// MayBeStored.
	HeaderKey string
	HeaderErr error
}

func (e *UploadError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "s3upload: uploading to s3://%.64s/%.1024s: %v", e.Bucket, e.Key, e.Err)
	if e.MayBeStored && e.Journal == "" {
		b.WriteString("; the final request has no clear answer: check whether the object is stored before uploading again")
	}
	if e.Journal != "" {
		fmt.Fprintf(&b, "; to go on, upload the same again with the journal %.512q", e.Journal)
	}
	if e.AbortErr != nil {
		fmt.Fprintf(&b, "; its parts stay and are billed, because aborting failed too: abort the multipart upload %q: %v", e.UploadID, e.AbortErr)
	}
	if e.HeaderErr != nil {
		fmt.Fprintf(&b, "; its header object %.1024q could not be taken back: upload again, or restore that object, for a payload from before cannot be read without: %v", e.HeaderKey, e.HeaderErr)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *UploadError) Unwrap() error { return e.Err }

func invalid(format string, args ...any) error {
	return fmt.Errorf("s3upload: %w: "+format, append([]any{ErrInput}, args...)...)
}

// noSuchUpload tells whether S3 says that an upload id is gone: completed,
// aborted, or removed by a lifecycle rule.
func noSuchUpload(err error) bool {
	apiErr, ok := errors.AsType[smithy.APIError](err)
	return ok && apiErr.ErrorCode() == "NoSuchUpload"
}

// refused tells whether err is the store's clear no to a request. A server's
// own failure is not, nor an unknown upload id, nor the answer to a second
// attempt of the SDK's: an earlier one may have been carried out.
func refused(err error) bool {
	code := statusOf(err)
	return code >= http.StatusBadRequest && code < http.StatusInternalServerError && !noSuchUpload(err) && !retried(err)
}

// statusOf returns the HTTP status of the store's answer that err is, 0 if it
// is none.
func statusOf(err error) int {
	if resp, ok := errors.AsType[*smithyhttp.ResponseError](err); ok {
		return resp.HTTPStatusCode()
	}
	return 0
}
