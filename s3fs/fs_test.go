package s3fs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/s3download"
	"github.com/bulla-format/bulla/stream"
)

var (
	_ fs.StatFS     = (*FS)(nil)
	_ fs.ReadDirFS  = (*FS)(nil)
	_ fs.ReadFileFS = (*FS)(nil)
	_ fs.SubFS      = (*FS)(nil)
)

// names of the tree and the sizes of its files.
var tree = map[string]int{
	"empty":                 0,
	"one":                   1,
	"large":                 3*S + 7,
	"exact":                 2 * S,
	"dir/a":                 10,
	"dir-b":                 11, // between "dir" and "dir/" in the store's order
	"dir.c":                 12,
	"dir/sub/b":             13,
	"dir/sub/c d":           14,
	"dir/sub/é+%20&?#":      15,
	"dir/sub/tab\tand\x01":  16,
	backslash:               17,
	"other/deep/down/here":  18,
	"other/deep/down/there": S,
}

const backslash = `dir/sub/back\slash`

// newTree stores the tree under prefix, beside keys that no name leads to.
func newTree(t testing.TB, prefix string) *fakeS3 {
	f := newFake(map[string][]byte{})
	for name, n := range tree {
		var o stream.EncryptOptions
		if n%2 == 0 {
			o.PlaintextSize = new(int64(n))
		}
		f.objects[prefix+name] = encrypt(t, plaintext(n), o)
	}
	for _, odd := range []string{"/rooted", "dir//b", "dir/./x", "dir/../x", "..", ".", "dir/", "dir/\xff", "large.bulla-header"} {
		f.objects[prefix+odd] = nil
	}
	f.objects["outside"] = nil
	return f
}

func names() (all []string) {
	for name := range tree {
		all = append(all, name)
	}
	return all
}

func TestFS(t *testing.T) {
	for _, tc := range []struct {
		prefix string
		o      *Options
	}{
		{"", nil},
		{"pre", nil},
		{"pre/", &Options{TrustSizes: true}},
		{"p r/é", &Options{SkipOthers: true}},
		{"pre", &Options{Download: &s3download.Options{CacheSize: 1}}},
	} {
		at := tc.prefix
		if at != "" {
			at = strings.TrimSuffix(at, "/") + "/"
		}
		f := newTree(t, at)
		f.page, f.plainKeys = 3, tc.o != nil
		if at == "" {
			delete(f.objects, "outside")
		}
		// A valid name (see fs.ValidPath), which TestFS does not like.
		delete(f.objects, at+backslash)
		expected := slices.DeleteFunc(names(), func(name string) bool { return name == backslash })
		if err := fstest.TestFS(f.newFS(t, tc.prefix, tc.o), expected...); err != nil {
			t.Errorf("prefix %q, %+v: %v", tc.prefix, tc.o, err)
		}
	}
}

func TestEmptyFS(t *testing.T) {
	if err := fstest.TestFS(newFake(nil).newFS(t, "pre", nil)); err != nil {
		t.Error(err)
	}
}

// What a walk finds is the tree and nothing else, and reads as it was written.
func TestWalk(t *testing.T) {
	for _, page := range []int{1, 2, 5, 1000} {
		f := newTree(t, "pre/")
		f.page = page
		fsys := f.newFS(t, "pre", nil)
		var found []string
		err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			found = append(found, name)
			info, err := d.Info()
			if err != nil {
				return err
			}
			b, err := fs.ReadFile(fsys, name)
			if n := tree[name]; info.Size() != int64(n) || !bytes.Equal(b, plaintext(n)) {
				t.Errorf("%q: size %d, %d bytes read, expected %d", name, info.Size(), len(b), n)
			}
			return err
		})
		expected := names()
		slices.Sort(expected)
		slices.Sort(found)
		if err != nil || !slices.Equal(found, expected) {
			t.Errorf("pages of %d: found %q, expected %q: %v", page, found, expected, err)
		}
	}
}

func TestSubAndGlob(t *testing.T) {
	fsys := newTree(t, "").newFS(t, "", nil)
	sub, err := fs.Sub(fsys, "dir/sub")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := fs.ReadFile(sub, "c d"); err != nil || !bytes.Equal(got, plaintext(14)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if _, err := fs.ReadFile(sub, "../a"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("a name that leads out of Sub: %v", err)
	}
	if _, err := fs.Sub(fsys, "../x"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("Sub of an invalid name: %v", err)
	}
	found, err := fs.Glob(fsys, "*/sub/[bc]*")
	if want := []string{"dir/sub/b", `dir/sub/back\slash`, "dir/sub/c d"}; err != nil || !slices.Equal(found, want) {
		t.Errorf("Glob found %q: %v", found, err)
	}
}

// An object with the name of a directory is the one that is shown; what is
// below it can still be read.
func TestObjectBeforeDirectory(t *testing.T) {
	for _, page := range []int{1, 1000} {
		f := newFake(map[string][]byte{
			"a":   encrypt(t, plaintext(5), stream.EncryptOptions{}),
			"a-":  encrypt(t, plaintext(6), stream.EncryptOptions{}),
			"a/b": encrypt(t, plaintext(7), stream.EncryptOptions{}),
		})
		f.page = page
		fsys := f.newFS(t, "", nil)
		if err := fstest.TestFS(fsys, "a", "a-"); err != nil {
			t.Error(err)
		}
		if b, err := fs.ReadFile(fsys, "a/b"); err != nil || len(b) != 7 {
			t.Errorf("%d bytes, %v", len(b), err)
		}
	}
}

func TestRequests(t *testing.T) {
	for _, tc := range []struct {
		name        string
		use         func(fsys *FS) error
		gets, lists int
	}{
		{"open a small file", func(f *FS) error { _, err := fs.ReadFile(f, "one"); return err }, 1, 0},
		{"stat with a known size", func(f *FS) error { _, err := f.Stat("exact"); return err }, 1, 0},
		{"stat with an unknown size", func(f *FS) error { _, err := f.Stat("large"); return err }, 2, 0},
		{"stat a directory", func(f *FS) error { _, err := f.Stat("dir"); return err }, 1, 1},
		{"read a directory", func(f *FS) error { _, err := f.ReadDir("dir/sub"); return err }, 0, 1},
		{"open the root", func(f *FS) error { _, err := f.Open("."); return err }, 0, 0},
		{"a header beside", func(f *FS) error { _, err := f.Open("large.bulla-header"); return not(err, fs.ErrNotExist) }, 0, 0},
		{"no such file", func(f *FS) error { _, err := f.Open("none"); return not(err, fs.ErrNotExist) }, 1, 1},
		{"an invalid name", func(f *FS) error { _, err := f.Open("a//b"); return not(err, fs.ErrInvalid) }, 0, 0},
	} {
		f := newTree(t, "pre/")
		if err := tc.use(f.newFS(t, "pre", nil)); err != nil {
			t.Errorf("%s: %v", tc.name, err)
		}
		if gets, lists := f.counts(); gets != tc.gets || lists != tc.lists {
			t.Errorf("%s: %d gets and %d lists, expected %d and %d", tc.name, gets, lists, tc.gets, tc.lists)
		}
	}
}

// not returns nil if err is the expected error.
func not(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return fmt.Errorf("%w, expected %w", err, expected)
}

// Each error is a *fs.PathError with the name, is what io/fs calls it, and
// still has the store's own error in it.
func TestErrors(t *testing.T) {
	uses := map[string]func(*FS) error{
		"Open":     func(f *FS) error { _, err := f.Open("dir/a"); return err },
		"Stat":     func(f *FS) error { _, err := f.Stat("dir/a"); return err },
		"ReadFile": func(f *FS) error { _, err := f.ReadFile("dir/a"); return err },
		"ReadDir":  func(f *FS) error { _, err := f.ReadDir("dir/a"); return err },
	}
	for _, tc := range []struct {
		status    int
		code      string
		want, not error
	}{
		{404, "NoSuchKey", fs.ErrNotExist, fs.ErrPermission},
		{404, "NoSuchBucket", fs.ErrNotExist, fs.ErrPermission},
		{403, "AccessDenied", fs.ErrPermission, fs.ErrNotExist},
		{403, "SignatureDoesNotMatch", fs.ErrPermission, fs.ErrNotExist},
		{403, "InvalidObjectState", nil, fs.ErrPermission},
		{500, "InternalError", nil, fs.ErrNotExist},
	} {
		for how, use := range uses {
			f := newTree(t, "")
			f.fail = func(string, string) error { return statusError(tc.status, tc.code) }
			err := use(f.newFS(t, "", &Options{Download: &s3download.Options{Retries: -1}}))
			var pathErr *fs.PathError
			if !errors.As(err, &pathErr) || pathErr.Path != "dir/a" {
				t.Fatalf("%s: %v", how, err)
			}
			if tc.want != nil && !errors.Is(err, tc.want) || errors.Is(err, tc.not) || code(err) != tc.code {
				t.Errorf("%s with %s: %v", how, tc.code, err)
			}
		}
	}
}

func TestWrongKey(t *testing.T) {
	f := newTree(t, "")
	stranger, err := keywrap.GenerateAESKey("stranger")
	if err != nil {
		t.Fatal(err)
	}
	fsys := New(t.Context(), f, "bucket", "", stranger, nil)
	if _, err := fsys.Open("one"); !errors.Is(err, keywrap.ErrNoMatch) {
		t.Errorf("%v", err)
	}
}

func TestFilesAndDirectories(t *testing.T) {
	fsys := newTree(t, "").newFS(t, "", nil)
	if _, err := fsys.ReadDir("dir/a"); !errors.Is(err, errNotDir) {
		t.Errorf("ReadDir of a file: %v", err)
	}
	if _, err := fsys.ReadDir("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("ReadDir of nothing: %v", err)
	}
	if _, err := fsys.ReadFile("dir"); !errors.Is(err, errIsDir) {
		t.Errorf("ReadFile of a directory: %v", err)
	}
	d, err := fsys.Open("dir")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Read(make([]byte, 1)); !errors.Is(err, errIsDir) {
		t.Errorf("Read of a directory: %v", err)
	}
	d.Close()
	if _, err := d.(fs.ReadDirFile).ReadDir(0); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("ReadDir after Close: %v", err)
	}
}

// A stream that is bound to its place is a file there and nowhere else.
func TestLocation(t *testing.T) {
	stored := encrypt(t, plaintext(5), stream.EncryptOptions{Location: "s3://bucket/pre/a"})
	f := newFake(map[string][]byte{"pre/a": stored, "pre/b": stored})
	fsys := f.newFS(t, "pre", nil)
	if _, err := fsys.ReadFile("a"); err != nil {
		t.Error(err)
	}
	if _, err := fsys.ReadFile("b"); !errors.Is(err, stream.ErrPolicy) {
		t.Errorf("found elsewhere: %v", err)
	}
	anywhere := &Options{Download: &s3download.Options{Decrypt: &stream.DecryptOptions{IgnoreLocation: true}}}
	if _, err := f.newFS(t, "pre", anywhere).ReadFile("b"); err != nil {
		t.Error(err)
	}
}

// A damaged file gives out what is before the damage, and no more.
func TestDamage(t *testing.T) {
	f := newTree(t, "")
	f.objects["large"][len(f.objects["large"])-S-10] ^= 1
	fsys := f.newFS(t, "", nil)
	if b, err := fsys.ReadFile("large"); !errors.Is(err, stream.ErrAuth) || b != nil {
		t.Errorf("ReadFile: %d bytes, %v", len(b), err)
	}
	file, err := fsys.Open("large")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	got, err := io.ReadAll(file)
	if !errors.Is(err, stream.ErrAuth) || !bytes.Equal(got, plaintext(3*S + 7)[:2*S]) {
		t.Errorf("Read: %d bytes, %v", len(got), err)
	}
}

// The end of the context ends files and directories, with the context's error;
// Close alone, with fs.ErrClosed.
func TestContext(t *testing.T) {
	f := newTree(t, "")
	ctx, cancel := context.WithCancel(t.Context())
	fsys := f.newFS(t, "", nil).WithContext(ctx)
	open := func() *file {
		opened, err := fsys.Open("large")
		if err != nil {
			t.Fatal(err)
		}
		return opened.(*file)
	}
	closed := open()
	closed.Close()
	if _, err := closed.Read(make([]byte, 1)); !errors.Is(err, fs.ErrClosed) || errors.Is(err, context.Canceled) {
		t.Errorf("Read after Close: %v", err)
	}
	left := open()
	defer left.Close()
	cancel()
	for err := error(nil); ; {
		if _, err = left.ReadAt(make([]byte, 1), 0); err == nil {
			continue // what context.AfterFunc starts comes soon
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("ReadAt after the context's end: %v", err)
		}
		break
	}
	_, openErr := fsys.Open("one")
	_, dirErr := fsys.ReadDir("dir")
	for _, err := range []error{openErr, dirErr} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("after the context's end: %v", err)
		}
	}
}

// The file is about the version whose bytes it has, though an earlier answer,
// which broke off, was about another.
func TestInfoIsOfTheVersionRead(t *testing.T) {
	f := newTree(t, "")
	later := changed.AddDate(1, 0, 0)
	f.body = func(_ string, b io.Reader) io.Reader {
		if f.gets == 1 {
			return io.LimitReader(b, 100)
		}
		return b
	}
	f.after = func(_ string, out *s3.GetObjectOutput) {
		if f.gets > 1 {
			out.LastModified = &later
		}
	}
	info, err := f.newFS(t, "", nil).Stat("exact")
	if gets, _ := f.counts(); err != nil || gets != 2 || !info.ModTime().Equal(later) {
		t.Errorf("%d gets, %v, %v", gets, info, err)
	}
}

func TestInfoFields(t *testing.T) {
	f := newTree(t, "pre/")
	f.types["pre/dir/a"] = "text/x-test"
	info, err := f.newFS(t, "pre", nil).Stat("dir/a")
	if err != nil {
		t.Fatal(err)
	}
	o := info.Sys().(*Object)
	if info.Name() != "a" || info.Mode() != 0o444 || info.IsDir() || o.Key != "pre/dir/a" || o.ContentType != "text/x-test" ||
		o.ETag != fmt.Sprintf("%q", fmt.Sprint(len(f.objects[o.Key]))) || o.StoredSize != int64(len(f.objects[o.Key])) || o.Header.PlaintextSize != 10 {
		t.Errorf("%v, %+v", info, o)
	}
	info, err = f.newFS(t, "pre", nil).Stat("dir")
	if err != nil || info.Name() != path.Base("dir") || info.Mode() != fs.ModeDir|0o555 || info.Sys() != nil {
		t.Errorf("%v, %v", info, err)
	}
}
