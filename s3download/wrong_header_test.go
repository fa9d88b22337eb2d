package s3download

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/s3header"
	"github.com/bulla-format/bulla/stream"
)

// What is found in a header's place and is not the payload's header: an error
// of the right class, and no request for more of the payload.
func TestWrongHeaders(t *testing.T) {
	const n = 60 * S
	plain := plaintext(n)
	eo := known(n)
	eo.Detached = true
	stored, header := encryptApart(t, plain, eo)
	_, another := encryptApart(t, plain, eo)
	older := encrypt(t, plain, known(n))[:format.DefaultHeaderSize]
	eo.CompactHeader = true
	_, compact := encryptApart(t, plain, eo)
	otherSuite := bytes.Clone(header)
	otherSuite[9] ^= 3
	wrong := map[string]struct {
		header []byte
		want   error
		says   string
	}{
		"of another object":             {another, stream.ErrAuth, "open it again"},
		"compact, of another object":    {compact, stream.ErrAuth, "open it again"},
		"of a stream that has it":       {older, stream.ErrAuth, "open it again"},
		"of another suite":              {otherSuite, stream.ErrAuth, "open it again"},
		"a byte longer":                 {append(bytes.Clone(header), 0), format.ErrMalformed, ""},
		"as long as no header":          {append(bytes.Clone(header), make([]byte, format.MaxHeaderSize)...), format.ErrMalformed, ""},
		"followed by the payload":       {append(bytes.Clone(header), stored...), format.ErrMalformed, ""},
		"the payload":                   {stored, nil, ""},
		"empty":                         {[]byte{}, format.ErrNotStream, ""},
		"text":                          {[]byte("a file of another kind, which has nothing to do with it, and is long enough for a prelude"), format.ErrNotStream, ""},
		"with another commitment":       {flipped(header, 50), stream.ErrAuth, "open it again"},
		"with another plaintext size":   {flipped(header, 91), stream.ErrAuth, ""},
		"with another generation":       {flipped(header, 83), stream.ErrAuth, ""},
		"with another MAC":              {flipped(header, len(header)-1), stream.ErrAuth, ""},
		"with another padding":          {flipped(header, len(header)-40), format.ErrMalformed, ""},
		"said to be longer than it is":  {flipped(header, 78), nil, ""},
		"said to be shorter than it is": {replaced(header, 76, []byte{0, 0, 8, 0}), format.ErrMalformed, ""},
	}
	for _, at := range places[1:] {
		for name, c := range wrong {
			f := at.fake(stored, c.header)
			object, err := Open(t.Context(), f, f.input(), key, at.options(nil))
			if object != nil || !refused(err) || c.want != nil && !errors.Is(err, c.want) || !strings.Contains(fmt.Sprint(err), c.says) {
				t.Errorf("%s, header %s: %v", at.name, name, err)
			}
			checkHeaderOnly(t, f)
		}
		for size := range len(header) {
			if size > 300 && size%61 != 0 && size < len(header)-40 {
				continue
			}
			f := at.fake(stored, header[:size])
			if _, err := Open(t.Context(), f, f.input(), key, at.options(nil)); !errors.Is(err, stream.ErrTruncated) && !(size < 76 && errors.Is(err, format.ErrNotStream)) {
				t.Errorf("%s, header cut to %d bytes: %v", at.name, size, err)
			}
			checkHeaderOnly(t, f)
		}
	}
}

func flipped(b []byte, off int) []byte {
	b = bytes.Clone(b)
	b[off] ^= 1
	return b
}

func replaced(b []byte, off int, by []byte) []byte {
	b = bytes.Clone(b)
	copy(b[off:], by)
	return b
}

// checkHeaderOnly checks that the object was asked for once, from its beginning.
func checkHeaderOnly(t *testing.T, f *fakeS3) {
	t.Helper()
	payload := slices.DeleteFunc(slices.Clone(f.requests), func(in s3.GetObjectInput) bool { return *in.Key != *f.input().Key })
	if len(payload) != 1 || !strings.HasPrefix(*payload[0].Range, "bytes=0-") {
		t.Errorf("%d requests for the payload", len(payload))
	}
	if f.open != 0 {
		t.Errorf("%d bodies were left open", f.open)
	}
}

// Metadata that are no header are an error, and not passed over for a header
// beside.
func TestWrongMetadata(t *testing.T) {
	const n = 3 * S
	eo := known(n)
	eo.Detached = true
	stored, header := encryptApart(t, plaintext(n), eo)
	_, another := encryptApart(t, plaintext(n), eo)
	right := base64.RawURLEncoding.EncodeToString(header)
	for name, c := range map[string]struct {
		value string
		want  error
	}{
		"right":              {right, nil},
		"of another":         {base64.RawURLEncoding.EncodeToString(another), stream.ErrAuth},
		"empty":              {"", format.ErrNotStream},
		"cut":                {right[:len(right)-6], stream.ErrTruncated},
		"cut in a group":     {right[:len(right)-1], format.ErrMalformed},
		"padded":             {base64.URLEncoding.EncodeToString(header), format.ErrMalformed},
		"standard alphabet":  {"/+" + right[2:], format.ErrMalformed},
		"a line break":       {right[:76] + "\n" + right[76:], format.ErrMalformed},
		"loose ends":         {right[:len(right)-1] + string(right[len(right)-1]+1), format.ErrMalformed},
		"not base64":         {"what is this?", format.ErrMalformed},
		"too long":           {strings.Repeat("A", 100_000), format.ErrMalformed},
		"behind white space": {" " + right, format.ErrMalformed},
	} {
		for _, beside := range []map[string][]byte{nil, {*newFake(nil).input().Key + s3header.DefaultSuffix: header}} {
			f := newFake(stored)
			f.metadata, f.others = map[string]string{s3header.Metadata: c.value}, beside
			object, err := Open(t.Context(), f, f.input(), key, nil)
			if c.want == nil && err == nil {
				closeFake(t, f, object)
				continue
			}
			if !errors.Is(err, c.want) || len(fmt.Sprint(err)) > 1000 {
				t.Errorf("%s, with %d others: %v", name, len(beside), err)
			}
			if f.count() != 1 {
				t.Errorf("%s: %d requests", name, f.count())
			}
		}
	}
	// A right one counts, whatever is beside; and a stream with its own header
	// has no use for either.
	for _, at := range places[:2] {
		f := at.store(t, plaintext(n), known(n))
		f.others = map[string][]byte{*f.input().Key + s3header.DefaultSuffix: another}
		if at.put == nil {
			f.metadata = map[string]string{s3header.Metadata: "what is this?"}
		}
		for _, o := range []*Options{nil, {HeaderSuffix: s3header.DefaultSuffix}} {
			if got, err := openAndRead(t, f, "Read", o); err != nil || !bytes.Equal(got, plaintext(n)) {
				t.Errorf("%s: %v", at.name, err)
			}
		}
	}
}

// A header that is not there, and one that may not be read.
func TestNoHeader(t *testing.T) {
	const n = 3 * S
	eo := known(n)
	eo.Detached = true
	stored, header := encryptApart(t, plaintext(n), eo)
	for _, suffix := range []string{"", s3header.DefaultSuffix, ".other"} {
		where := "s3://bucket/a/key" + suffix
		if suffix == "" {
			where += s3header.DefaultSuffix
		}
		f := newFake(stored)
		f.metadata = map[string]string{"color": "blue"}
		_, err := Open(t.Context(), f, f.input(), key, &Options{HeaderSuffix: suffix})
		if !errors.Is(err, ErrNoHeader) || !isA[*types.NoSuchKey](err) || !strings.Contains(err.Error(), `"`+where+`"`) || !strings.Contains(err.Error(), s3header.Metadata) {
			t.Errorf("suffix %q: %v", suffix, err)
		}
		checkHeaderOnly(t, f)
		f.others = map[string][]byte{"a/key" + strings.TrimPrefix(where, "s3://bucket/a/key"): header}
		for name, c := range map[string]struct {
			err   error
			check func(error) bool
			says  string
		}{
			"denied":   {statusError(http.StatusForbidden, "AccessDenied"), hasStatus(http.StatusForbidden), "s3:GetObject"},
			"archived": {&types.InvalidObjectState{}, isA[*types.InvalidObjectState], "restore it"},
			"broken":   {errors.New("a broken client"), func(err error) bool { return strings.Contains(err.Error(), "a broken client") }, ""},
		} {
			f.requests = nil
			f.fault = func(_ int, in *s3.GetObjectInput) fault {
				if *in.Key != "a/key" {
					return fault{err: c.err}
				}
				return fault{}
			}
			_, err := Open(t.Context(), f, f.input(), key, &Options{HeaderSuffix: suffix})
			if !c.check(err) || errors.Is(err, ErrNoHeader) || !strings.Contains(err.Error(), where) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("suffix %q, %s: %v", suffix, name, err)
			}
			checkHeaderOnly(t, f)
		}
	}
}
