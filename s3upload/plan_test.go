package s3upload

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

const (
	mib = int64(1 << 20)
	gib = int64(1 << 30)
)

func TestPlanParts(t *testing.T) {
	for _, c := range []struct {
		name              string
		stored, requested int64
		want              int64
		err               error
	}{
		{"unknown", format.UnknownSize, 0, 16 * mib, nil},
		{"unknown, requested", format.UnknownSize, 5 * mib, 5 * mib, nil},
		{"empty", 4124, 0, 8 * mib, nil},
		{"fits 8 MiB parts", 8 * mib * maxParts, 0, 8 * mib, nil},
		{"a byte more", 8*mib*maxParts + 1, 0, 9 * mib, nil},
		{"1 TiB", 1 << 40, 0, 105 * mib, nil},
		{"limit of S3", 5 * gib * maxParts, 0, 5 * gib, nil},
		{"a byte more than S3", 5*gib*maxParts + 1, 0, 0, stream.ErrTooLarge},
		{"limit, requested", 5 * gib * maxParts, 5 * gib, 5 * gib, nil},
		{"odd part size", 5*mib + 1, 5*mib + 1, 5*mib + 1, nil},
		{"requested is enough", 5 * mib * maxParts, 5 * mib, 5 * mib, nil},
		{"requested is too small", 5*mib*maxParts + 1, 5 * mib, 0, stream.ErrTooLarge},
		{"below the bounds", 1, 5*mib - 1, 0, ErrInput},
		{"above the bounds", 1, 5*gib + 1, 0, ErrInput},
		{"negative", 1, -1, 0, ErrInput},
	} {
		t.Run(c.name, func(t *testing.T) {
			if int64(int(c.want)) != c.want {
				c.want, c.err = 0, stream.ErrTooLarge // parts beyond a 32-bit address space
			}
			got, err := planParts(c.stored, c.requested)
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("planParts(%d, %d) = %d, %v; expected %d, %v", c.stored, c.requested, got, err, c.want, c.err)
			}
		})
	}
	_, err := planParts(5*mib*maxParts+1, 5*mib)
	if want := "at least 6291456"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("error %v does not say %q", err, want)
	}
}

// TestPlanPartsSweep checks the arithmetic up to the limit of S3, around each
// size where one more MiB is needed.
func TestPlanPartsSweep(t *testing.T) {
	checked := 0
	for size := int64(1); size <= 5*1024; size++ {
		edge := size * mib * maxParts
		for stored := edge - 1; stored <= min(edge+1, 5*gib*maxParts); stored++ {
			got, err := planParts(stored, 0)
			if err != nil {
				if int64(int(size*mib)) == size*mib && int64(int((size+1)*mib)) == (size+1)*mib {
					t.Fatal(err)
				}
				continue
			}
			if got%mib != 0 || got < minPartSize || got > maxPartSize {
				t.Fatalf("parts of %d bytes for %d", got, stored)
			}
			if parts := (stored + got - 1) / got; parts > maxParts {
				t.Fatalf("%d parts of %d bytes for %d", parts, got, stored)
			}
			if got > 8*mib && (stored+got-mib-1)/(got-mib) <= maxParts {
				t.Fatalf("parts of %d bytes for %d, a MiB less would do", got, stored)
			}
			checked++
		}
	}
	if checked < 3*2047-1 {
		t.Fatalf("only %d sizes checked", checked)
	}
}

// seekless has a Seek method that fails, as a pipe has.
type seekless struct{ io.Reader }

func (seekless) Seek(int64, int) (int64, error) { return 0, errors.New("illegal seek") }

// endless can tell where it stands, and not where it ends.
type endless struct{ *strings.Reader }

func (e endless) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekEnd {
		return 0, errors.New("no end")
	}
	return e.Reader.Seek(offset, whence)
}

// lost cannot return to where it stood.
type lost struct{ *strings.Reader }

func (l lost) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekStart {
		return 0, errors.New("lost")
	}
	return l.Reader.Seek(offset, whence)
}

func TestPlaintextSize(t *testing.T) {
	half := strings.NewReader("0123456789")
	half.Seek(5, io.SeekStart)
	beyond := strings.NewReader("0123456789")
	beyond.Seek(20, io.SeekStart)
	pipe, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	defer w.Close()
	for _, c := range []struct {
		name             string
		body             io.Reader
		length, declared *int64
		want             *int64
		err              string
	}{
		{"nothing tells", plainReader{half}, nil, nil, nil, ""},
		{"length", plainReader{half}, new(int64(3)), nil, new(int64(3)), ""},
		{"option", plainReader{half}, nil, new(int64(3)), new(int64(3)), ""},
		{"both agree", plainReader{half}, new(int64(3)), new(int64(3)), new(int64(3)), ""},
		{"they differ", plainReader{half}, new(int64(3)), new(int64(4)), nil, "ContentLength: 3, Options.Encrypt.PlaintextSize: 4"},
		{"seeker from the middle", half, nil, nil, new(int64(5)), ""},
		{"seeker beyond its end", beyond, nil, nil, new(int64(0)), ""},
		{"seeker and length agree", half, new(int64(5)), nil, new(int64(5)), ""},
		{"seeker and length differ", half, new(int64(10)), nil, nil, "Body has left: 5, ContentLength: 10"},
		{"seeker and option differ", half, nil, new(int64(0)), nil, "Body has left: 5, Options.Encrypt.PlaintextSize: 0"},
		{"seek fails", seekless{half}, nil, nil, nil, ""},
		{"no end", endless{half}, nil, nil, nil, ""},
		{"no way back", lost{strings.NewReader("x")}, nil, nil, nil, "seeking Body back"},
		{"pipe", pipe, nil, nil, nil, ""},
		{"negative length", plainReader{half}, new(int64(-1)), nil, nil, "ContentLength is negative"},
		{"negative option", plainReader{half}, nil, new(int64(-1)), nil, "PlaintextSize is negative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := plaintextSize(c.body, &s3.PutObjectInput{ContentLength: c.length}, c.declared)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, expected %q", err, c.err)
				}
				if strings.Contains(c.name, "differ") != errors.Is(err, stream.ErrSizeMismatch) || strings.Contains(c.name, "negative") != errors.Is(err, ErrInput) {
					t.Errorf("%v is of another class", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if (got == nil) != (c.want == nil) || aws.ToInt64(got) != aws.ToInt64(c.want) {
				t.Errorf("size %v, expected %v", got, c.want)
			}
		})
	}
	if at, _ := half.Seek(0, io.SeekCurrent); at != 5 {
		t.Errorf("the body stands at %d, it stood at 5", at)
	}
}
