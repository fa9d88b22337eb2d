package s3fs

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/s3upload"
	"github.com/bulla-format/bulla/stream"
)

// Info asks for each header unless TrustSizes spares it; then it is right for
// default headers, and asks where no stream of the default layout has the size.
func TestInfo(t *testing.T) {
	compact := encrypt(t, plaintext(9), stream.EncryptOptions{CompactHeader: true})
	for trust, gets := range map[bool]int{false: 2, true: 1} {
		f := newFake(map[string][]byte{"default": encrypt(t, plaintext(S), known(S)), "compact": compact})
		if len(compact) >= format.DefaultHeaderSize {
			t.Fatal("the compact stream could be a default one")
		}
		entries, err := f.newFS(t, "", &Options{TrustSizes: trust}).ReadDir(".")
		if err != nil || len(entries) != 2 {
			t.Fatal(entries, err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			o := info.Sys().(*Object)
			if want := map[string]int64{"default": S, "compact": 9}[e.Name()]; info.Size() != want || o.StoredSize != int64(len(f.objects[e.Name()])) {
				t.Errorf("%s: size %d, stored %d", e.Name(), info.Size(), o.StoredSize)
			}
			if !info.ModTime().Equal(changed) || o.Key != e.Name() {
				t.Errorf("%s: modified %v, key %q", e.Name(), info.ModTime(), o.Key)
			}
			if (o.Header == nil) != (trust && e.Name() == "default") {
				t.Errorf("trust %t, %s: header %v", trust, e.Name(), o.Header)
			}
		}
		if got, _ := f.counts(); got != gets {
			t.Errorf("trust %t: %d gets, expected %d", trust, got, gets)
		}
	}
}

func known(n int) stream.EncryptOptions { return stream.EncryptOptions{PlaintextSize: new(int64(n))} }

// A header beside its object is not a file, and neither is its size a guess.
func TestHeaderBeside(t *testing.T) {
	for _, suffix := range []string{"", ".hdr"} {
		r, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(plaintext(3*S)), key, &stream.EncryptOptions{Detached: true})
		if err != nil {
			t.Fatal(err)
		}
		stored, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		f := newFake(map[string][]byte{"a": stored, "lost": stored})
		f.objects["a"+cmp.Or(suffix, s3upload.DefaultHeaderSuffix)] = r.Header()
		fsys := f.newFS(t, "", &Options{TrustSizes: true, Download: &s3download.Options{HeaderSuffix: suffix}})
		entries, err := fsys.ReadDir(".")
		if err != nil || len(entries) != 2 {
			t.Fatal(entries, err)
		}
		if info, err := entries[0].Info(); err != nil || info.Size() != 3*S {
			t.Errorf("%v, %v", info, err)
		}
		if b, err := fsys.ReadFile("a"); err != nil || !bytes.Equal(b, plaintext(3*S)) {
			t.Errorf("%d bytes, %v", len(b), err)
		}
		if _, err := fsys.Open("lost"); !errors.Is(err, s3download.ErrNoHeader) || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("without its header: %v", err)
		}
		if _, err := fsys.Open("a" + cmp.Or(suffix, s3upload.DefaultHeaderSuffix)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the header itself: %v", err)
		}
	}
}

func TestOthers(t *testing.T) {
	f := newTree(t, "")
	f.objects["dir/plain"] = []byte("no stream at all")
	f.objects["dir/nothing"] = nil
	shown := f.newFS(t, "", nil)
	if entries, err := shown.ReadDir("dir"); err != nil || len(entries) != 4 {
		t.Errorf("%v, %v", entries, err)
	}
	for _, name := range []string{"dir/plain", "dir/nothing"} {
		var pathErr *fs.PathError
		if _, err := shown.Open(name); !errors.Is(err, format.ErrNotStream) || !errors.As(err, &pathErr) || pathErr.Path != name {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := shown.ReadDir(name); !errors.Is(err, format.ErrNotStream) {
			t.Errorf("ReadDir of %s: %v", name, err)
		}
	}
	entries, err := f.newFS(t, "", &Options{SkipOthers: true}).ReadDir("dir")
	if err != nil || len(entries) != 2 || entries[0].Name() != "a" || entries[1].Name() != "sub" {
		t.Errorf("%v, %v", entries, err)
	}
	before, _ := f.counts()
	if info, err := entries[0].Info(); err != nil || info.Size() != 10 {
		t.Errorf("%v, %v", info, err)
	}
	if after, _ := f.counts(); after != before {
		t.Error("what ReadDir had learnt was asked for again")
	}
}

// A listing that is cut short or leads in a circle is no directory.
func TestBadListings(t *testing.T) {
	for name, spoil := range map[string]func(*s3.ListObjectsV2Output){
		"no token": func(out *s3.ListObjectsV2Output) { out.IsTruncated = new(true) },
		"the same token": func(out *s3.ListObjectsV2Output) {
			out.IsTruncated, out.NextContinuationToken = new(true), aws.String("t")
		},
	} {
		f := newTree(t, "")
		f.list = spoil
		if entries, err := f.newFS(t, "", nil).ReadDir("dir"); err == nil {
			t.Errorf("%s: %v", name, entries)
		}
	}
	// Keys of elsewhere, of no name, and without a value are nobody's.
	f := newTree(t, "")
	f.list = func(out *s3.ListObjectsV2Output) {
		out.Contents = append(out.Contents, types.Object{Key: aws.String("elsewhere/x")}, types.Object{}, types.Object{Key: aws.String("dir/%zz")})
		out.CommonPrefixes = append(out.CommonPrefixes, types.CommonPrefix{Prefix: aws.String("dir/a")}, types.CommonPrefix{})
	}
	entries, err := f.newFS(t, "", nil).ReadDir("dir")
	if err != nil || len(entries) != 2 {
		t.Errorf("%v, %v", entries, err)
	}
}

// A store that ignores the delimiter shows the same directories.
func TestListingWithoutDelimiter(t *testing.T) {
	f := newTree(t, "")
	fsys := New(t.Context(), flat{f}, "bucket", "", key, nil)
	entries, err := fsys.ReadDir(".")
	var found []string
	for _, e := range entries {
		found = append(found, fmt.Sprint(e))
	}
	want := []string{"d dir/", "- dir-b", "- dir.c", "- empty", "- exact", "- large", "- one", "d other/", "- outside"}
	if err != nil || !slices.Equal(found, want) {
		t.Errorf("%q, %v", found, err)
	}
}

type flat struct{ *fakeS3 }

func (f flat) ListObjectsV2(ctx context.Context, in *s3.ListObjectsV2Input, opts ...func(*s3.Options)) (*s3.ListObjectsV2Output, error) {
	in.Delimiter = aws.String("no such delimiter")
	return f.fakeS3.ListObjectsV2(ctx, in, opts...)
}
