package kmstest

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

const (
	contentType  = "application/x-amz-json-1.1"
	targetPrefix = "TrentService."

	// maxBody bounds a request. The largest that AWS documents is CreateKey's,
	// with a policy of 131072 characters.
	maxBody = 1 << 20
)

// apiError is an error as KMS names it.
type apiError struct {
	code, message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

func fail(code, format string, args ...any) error {
	return &apiError{code, fmt.Sprintf(format, args...)}
}

// invalid is a failed constraint of the service model, in the words of AWS's
// front end. It names the field and never repeats the value.
func invalid(field, constraint string, args ...any) error {
	return fail("ValidationException", "1 validation error detected: Value at '%s' failed to satisfy constraint: %s",
		field, fmt.Sprintf(constraint, args...))
}

// status returns the HTTP status that goes with an error's name, from the AWS
// KMS API Reference. The service model of the SDKs has other numbers for a few
// names (404, 409, 412), which the JSON protocol does not use.
func status(code string) int {
	switch code {
	case "DependencyTimeoutException", "KMSInternalException", "KeyUnavailableException", "InternalFailure":
		return http.StatusInternalServerError
	case "ServiceUnavailableException":
		return http.StatusServiceUnavailable
	case "RequestEntityTooLargeException":
		return http.StatusRequestEntityTooLarge
	default:
		return http.StatusBadRequest
	}
}

// operation decodes a request body and does what it asks, with s.mu held.
type operation func(r *region, body []byte) (any, error)

func handle[In any](f func(*region, *In) (any, error)) operation {
	return func(r *region, body []byte) (any, error) {
		in := new(In)
		if err := json.Unmarshal(body, in); err != nil {
			return nil, fail("SerializationException", "the request body is not the JSON that the operation takes")
		}
		return f(r, in)
	}
}

var operations = map[string]operation{
	"CancelKeyDeletion":               handle((*region).cancelKeyDeletion),
	"CreateAlias":                     handle((*region).createAlias),
	"CreateKey":                       handle((*region).createKey),
	"Decrypt":                         handle((*region).decrypt),
	"DeleteAlias":                     handle((*region).deleteAlias),
	"DescribeKey":                     handle((*region).describeKey),
	"DisableKey":                      handle((*region).disableKey),
	"EnableKey":                       handle((*region).enableKey),
	"Encrypt":                         handle((*region).encrypt),
	"GenerateDataKey":                 handle((*region).generateDataKey),
	"GenerateDataKeyWithoutPlaintext": handle((*region).generateDataKeyWithoutPlaintext),
	"GetPublicKey":                    handle((*region).getPublicKey),
	"ListAliases":                     handle((*region).listAliases),
	"ReEncrypt":                       handle((*region).reEncrypt),
	"ReplicateKey":                    handle((*region).replicateKey),
	"RotateKeyOnDemand":               handle((*region).rotateKeyOnDemand),
	"ScheduleKeyDeletion":             handle((*region).scheduleKeyDeletion),
	"UpdateAlias":                     handle((*region).updateAlias),
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Amzn-Requestid", uuid())
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			answer(w, 0, nil, fail("RequestEntityTooLargeException", "the request body has more than %d bytes", maxBody))
			return
		}
		panic(http.ErrAbortHandler) // the client went away
	}
	name, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), targetPrefix)
	if !ok {
		name = ""
	}
	call := newCall(name, body)
	reg, err := s.authenticate(r, body)

	s.mu.Lock()
	s.calls = append(s.calls, call)
	var f *Fault
	if err == nil {
		call.Region = reg.name
		f = s.nextFault(name)
	}
	s.mu.Unlock()

	status := 0
	if f != nil {
		if !s.wait(r, f.Delay) {
			panic(http.ErrAbortHandler)
		}
		if f.Reset {
			s.finish(call, "reset")
			reset(w)
			return
		}
		if f.Code != "" {
			status, err = f.Status, &apiError{f.Code, f.Message}
		}
	}
	var out any
	if err == nil {
		out, err = s.do(reg, r, name, body)
	}
	if e, ok := errors.AsType[*apiError](err); ok {
		s.finish(call, e.code)
	}
	answer(w, status, out, err)
}

func (s *Server) do(reg *region, r *http.Request, name string, body []byte) (any, error) {
	op, ok := operations[name]
	if !ok || r.Method != http.MethodPost || r.URL.Path != "/" || r.Header.Get("Content-Type") != contentType {
		return nil, fail("UnknownOperationException", "")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deleteExpired()
	return op(reg, body)
}

// newCall reads from a request what the log keeps. A body that is not valid
// leaves the rest of its fields empty.
func newCall(name string, body []byte) *Call {
	var in struct {
		KeyId, TargetKeyId, DestinationKeyId            string
		SourceKeyId                                     string
		EncryptionContext, DestinationEncryptionContext map[string]string
		SourceEncryptionContext                         map[string]string
		GrantTokens                                     []string
		DryRun                                          bool
	}
	_ = json.Unmarshal(body, &in)
	c := &Call{Operation: name, KeyID: in.KeyId, Context: in.EncryptionContext, GrantTokens: in.GrantTokens, DryRun: in.DryRun}
	switch name {
	case "CreateAlias", "UpdateAlias":
		c.KeyID = in.TargetKeyId
	case "ReEncrypt":
		c.KeyID, c.Context = in.DestinationKeyId, in.DestinationEncryptionContext
		c.SourceKeyID, c.SourceContext = in.SourceKeyId, in.SourceEncryptionContext
	}
	return c
}

func (s *Server) finish(c *Call, outcome string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.Error = outcome
}

// answer writes a result or an error. A status of zero is the error's own.
func answer(w http.ResponseWriter, code int, out any, err error) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	if err == nil {
		code = http.StatusOK
	} else {
		e, ok := errors.AsType[*apiError](err)
		if !ok {
			e = &apiError{"KMSInternalException", "kmstest failed"}
		}
		if code == 0 {
			code = status(e.code)
		}
		fields := map[string]string{"__type": e.code}
		if e.message != "" {
			fields["message"] = e.message
		}
		out = fields
	}
	body, err := json.Marshal(out)
	if err != nil {
		panic(err) // every answer is made of strings, numbers and maps of them
	}
	if out == nil {
		body = nil // operations without a result answer with an empty body
	}
	w.WriteHeader(code)
	_, _ = w.Write(body) // a client that has gone away needs no answer
}

// uuid returns a random UUID, version 4 (RFC 9562 §5.4).
func uuid() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0F|0x40, b[8]&0x3F|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
