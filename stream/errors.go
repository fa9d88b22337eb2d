package stream

import (
	"errors"
	"fmt"
	"io"
)

// What can go wrong beside the errors of packages format and keywrap, and
// those of sources, destinations and key services, which pass through wrapped.
// Test for them with [errors.Is]. All but [ErrClosed] and [ErrAborted] mean
// that the stream was refused or could not be made.
var (
	// ErrAuth means that stored bytes are not those that were written, or not
	// where they were written. Restore the object from a good copy. Inside a
	// segment the error is a [*SegmentError].
	ErrAuth = errors.New("authentication failed")

	// ErrTruncated means that the stream ends too early; it is also
	// io.ErrUnexpectedEOF. Fetch it again, or restore it from a good copy.
	ErrTruncated = fmt.Errorf("the stream is truncated: %w", io.ErrUnexpectedEOF)

	// ErrSizeMismatch means that a size is not the one that was declared: of
	// the plaintext while encrypting, of the stored stream, which then has
	// bytes too many, while decrypting.
	ErrSizeMismatch = errors.New("size mismatch")

	// ErrTooLarge means that the stream is beyond a limit of the options, or
	// the plaintext beyond what a stream can hold.
	ErrTooLarge = errors.New("too large")

	// ErrPolicy means that the options do not allow this stream: its suite,
	// its location, or associated data that is missing on one side.
	ErrPolicy = errors.New("refused by policy")

	// ErrContext means that the stream's context lacks a required pair.
	ErrContext = errors.New("context mismatch")

	// ErrClosed is returned by calls after Close.
	ErrClosed = errors.New("already closed")

	// ErrAborted is returned by calls after Abort.
	ErrAborted = errors.New("aborted")
)

// A SegmentError says which segment is not authentic. It is [ErrAuth].
type SegmentError struct {
	Index  int64 // of the segment, from zero
	Offset int64 // of its first plaintext byte
	Err    error
}

func (e *SegmentError) Error() string {
	return fmt.Sprintf("segment %d (plaintext offset %d): %v", e.Index, e.Offset, e.Err)
}

// Unwrap returns Err.
func (e *SegmentError) Unwrap() error { return e.Err }
