package s3upload

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

var beside = Options{HeaderSuffix: DefaultHeaderSuffix}

// pairOptions are options for a header beside and an upload that fails.
func pairOptions() *Options {
	o := faultOptions(1)
	o.HeaderSuffix = DefaultHeaderSuffix
	return o
}

func TestHeaderApart(t *testing.T) {
	for _, n := range edges(t, minPartSize) {
		plaintext := pattern(int(n))
		for name, o := range map[string]Options{"beside": beside, "metadata": {HeaderInMetadata: true}} {
			for _, known := range []bool{true, false} {
				t.Run(fmt.Sprintf("%d/%s/%t", n, name, known), func(t *testing.T) {
					f := newPairFake(false)
					in := putInput(bytes.NewReader(plaintext))
					if !known {
						in.Body = plainReader{in.Body}
					}
					in.Metadata = map[string]string{"color": "blue"}
					o.PartSize = minPartSize
					var last Progress
					o.Progress = func(p Progress) { last = p }
					res, err := New(f, testKey, &o).Upload(t.Context(), in)
					if err != nil {
						t.Fatal(err)
					}
					stored, header := f.objects[payloadName], f.objects[headerName]
					wantKey, extra := "dir/key"+DefaultHeaderSuffix, []string{opGet, opPut}
					if name == "metadata" {
						if header, err = base64.RawURLEncoding.DecodeString(f.metadata[headerMetadata]); err != nil {
							t.Fatal(err)
						}
						wantKey, extra = "", nil
						if len(f.objects) != 1 || len(header) >= format.DefaultHeaderSize {
							t.Errorf("%d objects, a header of %d bytes", len(f.objects), len(header))
						}
					}
					info := reads(t, stored, header, plaintext)
					if !info.Detached || (info.PlaintextSize == n) != known || res.Info.IV != info.IV || res.PlaintextSize != n {
						t.Errorf("header %+v, result %+v", info, res)
					}
					if res.StoredSize != int64(len(stored)) || res.HeaderKey != wantKey || last != (Progress{res.StoredSize, res.StoredSize, res.Parts}) {
						t.Errorf("result %+v, progress %+v of %d stored bytes", res, last, len(stored))
					}
					if f.metadata["color"] != "blue" || in.Metadata[headerMetadata] != "" {
						t.Errorf("metadata %v, the caller's %v", f.metadata, in.Metadata)
					}
					final := opPut
					if res.UploadID != "" {
						final = opComplete
					}
					if end := f.calls[len(f.calls)-1-len(extra):]; !slices.Equal(end, append(extra, final)) {
						t.Errorf("the final calls are %v", end)
					}
					if calls := f.count(opGet) + f.count(opDelete) + f.count(opAbort); calls != len(extra)/2 {
						t.Errorf("calls %v", f.calls)
					}
				})
			}
		}
	}
}

// The header's metadata count with the caller's own, to the byte.
func TestMetadataLimit(t *testing.T) {
	base, err := withHeader(nil, make([]byte, 300))
	if err != nil || len(base[headerMetadata]) != 400 {
		t.Fatalf("%v, %v", base, err)
	}
	for room := maxMetadata - 400 - len(headerMetadata); room >= 0; room -= 500 {
		for d := range 2 {
			own := map[string]string{strings.Repeat("n", min(room, 10)): strings.Repeat("v", max(0, room-10)+d)}
			m, err := withHeader(own, make([]byte, 300))
			fits := d == 0 || room < maxMetadata-400-len(headerMetadata)
			if fits != (err == nil) || fits && len(m) != 2 || len(own) != 1 {
				t.Errorf("%d bytes of own metadata: %v", room+d, err)
			}
			if !fits && (!errors.Is(err, stream.ErrTooLarge) || !strings.Contains(err.Error(), "300 bytes") || !strings.Contains(err.Error(), "2049") || !strings.Contains(err.Error(), "2048")) {
				t.Errorf("the error does not tell the sizes: %v", err)
			}
		}
	}
	f := newPairFake(false)
	o := &Options{HeaderInMetadata: true, Encrypt: &stream.EncryptOptions{Context: keywrap.Context{"k": strings.Repeat("v", 2000)}}}
	if _, err := New(f, testKey, o).Upload(t.Context(), putInput(strings.NewReader("text"))); !errors.Is(err, stream.ErrTooLarge) || len(f.calls) != 0 {
		t.Errorf("%v after %v", err, f.calls)
	}
}

func TestPlacementRefused(t *testing.T) {
	named := putInput(strings.NewReader("text"))
	named.Metadata = map[string]string{"Bulla-Header": "x"}
	long := putInput(strings.NewReader("text"))
	long.Key = aws.String(strings.Repeat("k", maxKey-len(DefaultHeaderSuffix)+1))
	text := putInput(strings.NewReader("text"))
	for _, c := range []struct {
		name   string
		client Client
		in     *s3.PutObjectInput
		o      *Options
		says   string
	}{
		{"both places", newPairFake(false), text, &Options{HeaderSuffix: "x", HeaderInMetadata: true}, "HeaderInMetadata"},
		{"no place", newPairFake(false), text, &Options{Encrypt: &stream.EncryptOptions{Detached: true}}, "HeaderSuffix"},
		{"a client that cannot", newFake(), text, &beside, "GetObject"},
		{"long key", newPairFake(false), long, &beside, "1025 bytes"},
		{"taken name", newPairFake(false), named, &Options{HeaderInMetadata: true}, headerMetadata},
		{"taken name, beside", newPairFake(false), named, &beside, headerMetadata},
		{"taken name, in the object", newPairFake(false), named, nil, headerMetadata},
	} {
		_, err := New(c.client, testKey, c.o).Upload(t.Context(), c.in)
		if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	long.Key = aws.String((*long.Key)[1:])
	if _, err := New(newPairFake(false), testKey, &beside).Upload(t.Context(), long); err != nil {
		t.Errorf("a key that just fits: %v", err)
	}
	if _, err := New(newFake(), testKey, &Options{HeaderInMetadata: true, Encrypt: &stream.EncryptOptions{Detached: true}}).Upload(t.Context(), text); err != nil {
		t.Errorf("a place, and Detached: %v", err)
	}
}

// onlyPayload are the fields that describe the payload, and are not the header
// object's.
var onlyPayload = map[string]bool{
	"CacheControl": true, "ContentDisposition": true, "ContentEncoding": true, "ContentLanguage": true, "ContentType": true, "Expires": true,
	"Metadata": true, "StorageClass": true, "WebsiteRedirectLocation": true, "IfMatch": true,
}

// TestHeaderFields checks of each field of PutObjectInput that the header object
// gets it too, unless it describes the payload, and that what it is read and
// deleted with has all that fits.
func TestHeaderFields(t *testing.T) {
	for _, versions := range []bool{false, true} {
		f := newPairFake(versions)
		for name := range onlyPayload {
			if _, ok := reflect.TypeFor[s3.PutObjectInput]().FieldByName(name); !ok {
				t.Errorf("the SDK has no field %s", name)
			}
		}
		plaintext := pattern(1000)
		in := filledInput(t, plaintext)
		in.IfMatch, in.IfNoneMatch = nil, nil
		f.before = func(_ context.Context, k int, op string) error {
			if k == 3 {
				return answer(http.StatusForbidden, "AccessDenied")
			}
			return nil
		}
		if _, err := New(f, testKey, &beside).Upload(t.Context(), in); err == nil {
			t.Fatal("the upload succeeded")
		}
		want := []string{opGet, opPut, opPut, opGet, opDelete}
		if versions {
			want = append(want, opGet) // to see whether there is another
		}
		if !slices.Equal(f.calls, want) {
			t.Fatalf("calls %v, expected %v", f.calls, want)
		}
		compared := 0
		for i, request := range f.inputs {
			if i == 2 {
				continue // the payload's own
			}
			for field, got := range reflect.ValueOf(request).Elem().Fields() {
				want := reflect.ValueOf(in).Elem().FieldByName(field.Name)
				switch {
				case !field.IsExported() || !want.IsValid() || field.Name == "Body":
				case field.Name == "Key":
					if *got.Interface().(*string) != "dir/key"+DefaultHeaderSuffix {
						t.Errorf("%s of %v", f.calls[i], got)
					}
				case field.Name == "ContentType":
					if *got.Interface().(*string) != "application/octet-stream" {
						t.Errorf("%s with content type %v", f.calls[i], got)
					}
				case onlyPayload[field.Name] || handled[field.Name] || f.calls[i] != opPut && noSecrets[field.Name]:
					if field.Name != "IfMatch" && !got.IsZero() {
						t.Errorf("%s has the payload's %s", f.calls[i], field.Name)
					}
				case !reflect.DeepEqual(got.Interface(), want.Interface()):
					t.Errorf("%s has %s = %v, expected %v", f.calls[i], field.Name, got, want)
				default:
					compared++
				}
			}
		}
		if compared < 30 {
			t.Errorf("only %d fields were compared", compared)
		}
		removed := f.inputs[4].(*s3.DeleteObjectInput)
		if versions != (removed.VersionId != nil) || versions != (removed.IfMatch == nil) {
			t.Errorf("versions %t: deleted with version %v, If-Match %v", versions, removed.VersionId, removed.IfMatch)
		}
	}
}

// noSecrets are fields that GetObject or DeleteObject has for another purpose.
var noSecrets = map[string]bool{"IfNoneMatch": true}
