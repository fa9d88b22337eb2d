package format

import (
	"errors"
	"fmt"
)

// The classes of errors of this package. Test for them with [errors.Is].
var (
	// ErrNotStream means that the bytes do not begin as a stream does: this
	// is some other kind of file, or text-mode transfer damaged it.
	ErrNotStream = errors.New("not a Bulla stream")

	// ErrUnsupported means a well-formed header that asks for something this
	// version does not know: a later version, another suite or a critical
	// extension. A newer release may be able to read it.
	ErrUnsupported = errors.New("unsupported")

	// ErrMalformed means bytes that no writer produces: the header is damaged
	// or was changed.
	ErrMalformed = errors.New("malformed header")

	// ErrSize means a size or an offset that no stream has: negative, beyond
	// 2^63-1 once stored, or cut where no stream can end (SPEC §7).
	ErrSize = errors.New("impossible size")
)

// An Error says what is wrong with a header and where. Its class is one of
// [ErrNotStream], [ErrUnsupported] and [ErrMalformed].
type Error struct {
	Class  error
	Offset int    // of the offending field, in bytes from the start of the header
	Reason string // what was found there and what was expected
}

func (e *Error) Error() string {
	return fmt.Sprintf("%v: %s (at byte %d)", e.Class, e.Reason, e.Offset)
}

// Unwrap returns the error's class.
func (e *Error) Unwrap() error { return e.Class }

func malformed(offset int, format string, args ...any) error {
	return &Error{Class: ErrMalformed, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

func unsupported(offset int, format string, args ...any) error {
	return &Error{Class: ErrUnsupported, Offset: offset, Reason: fmt.Sprintf(format, args...)}
}

func sizeError(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrSize}, args...)...)
}
