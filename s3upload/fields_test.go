package s3upload

import (
	"bytes"
	"context"
	"crypto/fips140"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// handled are the fields of PutObjectInput that no request has as the caller
// set them: they are about the plaintext, or refused.
var handled = map[string]bool{
	"Body": true, "ContentLength": true, "ContentMD5": true, "WriteOffsetBytes": true,
	"ChecksumCRC32": true, "ChecksumCRC32C": true, "ChecksumCRC64NVME": true, "ChecksumMD5": true,
	"ChecksumSHA1": true, "ChecksumSHA256": true, "ChecksumSHA512": true,
	"ChecksumXXHASH128": true, "ChecksumXXHASH3": true, "ChecksumXXHASH64": true,
}

// filledInput returns an input with a value of its own in every field that is
// not refused.
func filledInput(t *testing.T, plaintext []byte) *s3.PutObjectInput {
	t.Helper()
	in := putInput(bytes.NewReader(plaintext))
	for field, v := range reflect.ValueOf(in).Elem().Fields() {
		name := field.Name
		if !field.IsExported() || name == "Bucket" || name == "Key" || name == "Body" {
			continue
		}
		if handled[name] {
			if checksums[name] != nil && !(notInFIPS[name] && fips140.Enforced()) {
				setField(in, name, sumOf(name, plaintext))
			}
			continue
		}
		value := "value-of-" + name
		switch v.Interface().(type) {
		case *string:
			v.Set(reflect.ValueOf(&value))
		case *bool:
			v.Set(reflect.ValueOf(new(true)))
		case *int32:
			v.Set(reflect.ValueOf(new(int32(len(name)))))
		case *int64:
			v.Set(reflect.ValueOf(new(int64(len(name)))))
		case *time.Time:
			v.Set(reflect.ValueOf(new(time.Unix(int64(len(name)), 0))))
		case map[string]string:
			v.Set(reflect.ValueOf(map[string]string{"key": value}))
		default:
			if v.Kind() != reflect.String {
				t.Fatalf("the SDK's field %s has a new type, %v", name, v.Type())
			}
			v.SetString(value)
		}
	}
	in.ContentLength = new(int64(len(plaintext)))
	return in
}

// TestEveryFieldIsSent checks that each field of PutObjectInput is sent with
// every request that has a field of that name, and with one at least; what is
// about the plaintext, with none. It fails when the SDK gets a field that is
// not sent.
func TestEveryFieldIsSent(t *testing.T) {
	for _, c := range []struct {
		size int
		fail string // the operation that fails
		want []string
	}{
		{1000, "", []string{opPut}},
		{minPartSize, "", []string{opCreate, opPart, opPart, opComplete}},
		{1000 + minPartSize, opComplete, []string{opCreate, opPart, opPart, opComplete, opAbort, opAbort}},
	} {
		plaintext := pattern(c.size)
		in := filledInput(t, plaintext)
		f := newFake()
		f.before = func(_ context.Context, _ int, op string) error {
			if op == c.fail {
				return errCall
			}
			return nil
		}
		_, err := New(f, testKey, &Options{PartSize: minPartSize}).Upload(t.Context(), in)
		if (err != nil) != (c.fail != "") {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(f.calls, c.want) {
			t.Fatalf("calls %v, expected %v", f.calls, c.want)
		}
		sent := map[string]bool{}
		for i, request := range f.inputs {
			for field, got := range reflect.ValueOf(request).Elem().Fields() {
				want := reflect.ValueOf(in).Elem().FieldByName(field.Name)
				switch {
				case !field.IsExported() || field.Name == "Body" || !want.IsValid():
				case handled[field.Name]:
					if !got.IsZero() {
						t.Errorf("%s has the plaintext's %s", f.calls[i], field.Name)
					}
				case !reflect.DeepEqual(got.Interface(), want.Interface()):
					t.Errorf("%s has %s = %v, expected %v", f.calls[i], field.Name, got, want)
				default:
					sent[field.Name] = true
				}
			}
		}
		for field := range reflect.TypeFor[s3.PutObjectInput]().Fields() {
			if field.IsExported() && !handled[field.Name] && !sent[field.Name] {
				t.Errorf("%s is sent with none of %v", field.Name, f.calls)
			}
		}
		if len(sent) < 30 {
			t.Errorf("only %d fields were checked", len(sent))
		}
	}
}

// TestHandledFields checks that each field that is not sent is verified or
// refused.
func TestHandledFields(t *testing.T) {
	for name := range handled {
		field, ok := reflect.TypeFor[s3.PutObjectInput]().FieldByName(name)
		if !ok {
			t.Errorf("the SDK has no field %s", name)
			continue
		}
		f := newFake()
		in := putInput(plainReader{strings.NewReader("text")})
		switch v := reflect.ValueOf(in).Elem().FieldByIndex(field.Index); v.Interface().(type) {
		case *string:
			value := "AAAAAAAAAAA="
			if checksums[name] != nil && !(notInFIPS[name] && fips140.Enforced()) {
				value = sumOf(name, []byte("another text"))
			}
			v.Set(reflect.ValueOf(&value))
		case *int64:
			v.Set(reflect.ValueOf(new(int64(100))))
		case io.Reader:
			continue
		default:
			t.Fatalf("%s is of type %v", name, v.Type())
		}
		if _, err := New(f, testKey, nil).Upload(t.Context(), in); err == nil || errors.Is(err, errCall) {
			t.Errorf("%s is not looked at", name)
		}
		f.empty(t)
	}
}
