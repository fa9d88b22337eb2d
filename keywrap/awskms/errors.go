package awskms

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/bulla-format/bulla/keywrap"
)

// Bounds of what an error message repeats.
const (
	maxShownKeys    = 16  // context keys
	maxShownKeySize = 64  // bytes of a context key
	maxShownMessage = 400 // bytes of the service's message
	minHiddenValue  = 4   // bytes of a context value
)

// An Error is a failed use of KMS. Its message says what to do next; the SDK's
// own error is in its tree for [errors.As]. It is [keywrap.ErrUnwrap] if KMS
// says that the wrapped key is not of this key or does not open with this
// context. Neither the message nor the fields hold a key's bytes or a context
// value.
type Error struct {
	Operation   string   // of KMS, such as "Decrypt"
	Key         string   // as the call named it
	NewKey      string   // the key to wrap with, as ReEncrypt named it; else empty
	ContextKeys []string // of the encryption context that was sent, of ReEncrypt the old one, ascending
	Err         error    // the SDK's error, or what is wrong with KMS's answer

	reason   string // Err for the message
	answered bool   // Err is about the answer
	rsa      bool   // the key is to be an RSA key
}

// apiError is what the SDK's errors for the service's answers have in common.
type apiError interface {
	error
	ErrorCode() string
	ErrorMessage() string
}

func newError(operation, key string, ec keywrap.Context, err error) *Error {
	return &Error{
		Operation: operation, Key: key, ContextKeys: slices.Sorted(maps.Keys(ec)), Err: err,
		reason: reason(err, maps.Values(ec)),
	}
}

// newAnswerError is newError for what is wrong with an answer of KMS.
func newAnswerError(operation, key string, ec keywrap.Context, err error) *Error {
	e := newError(operation, key, ec, err)
	e.answered = true
	return e
}

// reason puts an error in words. KMS repeats parameters when it does not accept
// their form, so that message is left out; elsewhere context values of a size
// that can be recognized are replaced.
func reason(err error, contextValues iter.Seq[string]) string {
	text := err.Error()
	if api, ok := errors.AsType[apiError](err); ok {
		text = api.ErrorCode()
		if m := api.ErrorMessage(); m != "" && text != "ValidationException" {
			text += ": " + m
		}
		if id, ok := errors.AsType[interface {
			error
			ServiceRequestID() string
		}](err); ok && id.ServiceRequestID() != "" {
			text += ", request " + id.ServiceRequestID()
		}
	}
	values := slices.SortedFunc(contextValues, func(a, b string) int { return len(b) - len(a) }) // a value may hold another
	for _, v := range values {
		if len(v) >= minHiddenValue {
			text = strings.ReplaceAll(text, v, "[context value]")
		}
	}
	return shorten(text, maxShownMessage)
}

// code returns the name of a KMS error in the tree of err, or "".
func code(err error) string {
	if api, ok := errors.AsType[apiError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

func shorten(s string, size int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= size {
		return s
	}
	return strings.ToValidUTF8(s[:size], "") + "..."
}

func (e *Error) Error() string {
	s := fmt.Sprintf("awskms: %s with key %s", e.Operation, shorten(e.Key, maxShownMessage))
	if e.NewKey != "" {
		s += " to key " + shorten(e.NewKey, maxShownMessage)
	}
	s += ": "
	hint := e.hint()
	switch {
	case hint == "":
		return s + e.reason
	case e.reason == "":
		return s + hint
	default:
		return s + hint + " (" + e.reason + ")"
	}
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is [keywrap.ErrUnwrap] and KMS's answer has this
// meaning.
func (e *Error) Is(target error) bool {
	if target != keywrap.ErrUnwrap {
		return false
	}
	switch code(e.Err) {
	case "InvalidCiphertextException", "IncorrectKeyException":
		return true
	default:
		return false
	}
}

// hint says what to do about the error; "" if the error says it itself.
func (e *Error) hint() string {
	switch c := code(e.Err); c {
	case "":
		return e.transportHint()
	case "NotFoundException", "InvalidArnException":
		return "there is no such key where the client looked: check the key's name" + e.regionHint() +
			"; a key that was deleted does not come back"
	case "DisabledException":
		return "the key is disabled: enable it and try again"
	case "KMSInvalidStateException":
		return "the key's state does not allow its use: if its deletion is pending, cancel that and enable the key before the waiting period ends"
	case "AccessDeniedException", "NotAuthorizedException":
		return "access denied: allow " + e.permission() + " to the caller in the key policy, an IAM policy or a grant, " +
			"and check conditions of theirs on the context; " + e.contextHint()
	case "InvalidGrantTokenException":
		return "a grant token is not valid: ask for a new one"
	case "IncorrectKeyException":
		return "another key made the wrapped key than the header says: the header is damaged or was changed"
	case "InvalidCiphertextException":
		if e.rsa {
			return "another key of the same name wrapped the data key, or the wrapped key is damaged"
		}
		return "the context is not the one that the stream was written with, or the wrapped key is damaged, KMS does not tell which; " + e.contextHint()
	case "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "LimitExceededException":
		return "KMS throttles the account: try again later, or ask for a higher request quota"
	case "KMSInternalException", "KeyUnavailableException", "DependencyTimeoutException", "ServiceUnavailableException",
		"ServiceUnavailable", "InternalFailure", "InternalServerError":
		return "KMS is not available: try again later"
	case "InvalidKeyUsageException":
		if e.rsa {
			return "the key is of another kind: configure an RSA key with usage ENCRYPT_DECRYPT"
		}
		return "the key is of another kind: configure a symmetric encryption key (SYMMETRIC_DEFAULT), or use an RSAKey"
	case "UnsupportedOperationException":
		if e.Operation == "GetPublicKey" {
			return "the key has no public key: configure an RSA key with usage ENCRYPT_DECRYPT"
		}
		return "KMS refused"
	case "UnrecognizedClientException", "InvalidClientTokenId", "InvalidSignatureException", "IncompleteSignatureException",
		"IncompleteSignature", "MissingAuthenticationTokenException", "MissingAuthenticationToken", "ExpiredTokenException",
		"ExpiredToken", "RequestExpired":
		return "KMS does not accept the client's credentials: renew them, and check the client's Region and this machine's clock"
	case "ValidationException":
		return "KMS does not accept the request: check the key's name and the size of the context; " + e.contextHint()
	default:
		return "KMS refused"
	}
}

func (e *Error) transportHint() string {
	switch {
	case errors.Is(e.Err, context.Canceled):
		return "canceled by the caller before KMS answered"
	case errors.Is(e.Err, context.DeadlineExceeded):
		return "no answer before the caller's deadline"
	case e.answered:
		return "" // Err says it
	default:
		return "no answer from KMS: check the credentials, the network and the client's endpoint"
	}
}

// permission names what the call needs to be allowed.
func (e *Error) permission() string {
	if e.NewKey != "" {
		return "kms:ReEncryptFrom on the first key and kms:ReEncryptTo on the second"
	}
	return "kms:" + e.Operation + " on this key"
}

func (e *Error) regionHint() string {
	for _, key := range []string{e.Key, e.NewKey} {
		if arn, _, ok := parseARN(key); ok {
			return ", and that the client is for " + arn.region
		}
	}
	return ", and that the client is for its account and Region"
}

// contextHint lists the context keys that were sent.
func (e *Error) contextHint() string {
	if e.rsa {
		return "with an RSA key there is none"
	}
	if len(e.ContextKeys) == 0 {
		return "no context was sent"
	}
	var list []string
	for _, k := range e.ContextKeys[:min(len(e.ContextKeys), maxShownKeys)] {
		list = append(list, fmt.Sprintf("%q", shorten(k, maxShownKeySize)))
	}
	if n := len(e.ContextKeys) - len(list); n > 0 {
		list = append(list, fmt.Sprintf("%d more", n))
	}
	return "context keys sent: " + strings.Join(list, ", ")
}
