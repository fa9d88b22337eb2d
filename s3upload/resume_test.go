package s3upload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

var errDead = errors.New("the process is dead")

// resumeOptions make parts of 5 MiB, one at a time, so that what is sent and in
// which order is known.
func resumeOptions() *Options {
	return &Options{PartSize: minPartSize, Concurrency: 1, Encrypt: &stream.EncryptOptions{SegmentSize: sourceSegment}, AbortTimeout: 1e9}
}

// uploadResumable runs an upload with a journal.
func uploadResumable(t *testing.T, f Client, o *Options, body io.Reader, journal string) (*Result, error) {
	t.Helper()
	return New(f, testKey, o).UploadResumable(t.Context(), putInput(body), testKey, journal)
}

// onShelf fails the test unless the object on the shelf is a stream of the
// plaintext.
func onShelf(t *testing.T, f *shelf, plaintext []byte) stream.Info {
	t.Helper()
	o := f.objects["bucket/dir/key"]
	if o == nil {
		t.Fatal("there is no object")
	}
	d := &stream.DecryptOptions{}
	if h := f.objects[headerName]; h != nil {
		d.DetachedHeader = h.data
	}
	r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(o.data), testKey, d)
	if err != nil {
		t.Fatal(err)
	}
	if err := sameBytes(r, plaintext); err != nil {
		t.Fatalf("the object: %v", err)
	}
	return r.Info()
}

// partsSent counts how often each part was sent.
func partsSent(f *shelf) map[int32]int {
	times := map[int32]int{}
	for _, in := range f.inputs {
		if p, ok := in.(*s3.UploadPartInput); ok {
			times[*p.PartNumber]++
		}
	}
	return times
}

func noFile(t *testing.T, name string) {
	t.Helper()
	if _, err := os.Stat(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the journal is still there: %v", err)
	}
}

// dies makes all requests fail from the k-th on, counted from now: before they
// have an effect, or after it.
func (f *shelf) dies(k int, answered bool) {
	limit := len(f.calls) + k
	f.before = func(call int, _ string) error {
		if call > limit || call == limit && !answered {
			return errDead
		}
		return nil
	}
	f.after = func(call int, _ string) error {
		if call >= limit {
			return errDead
		}
		return nil
	}
}

// TestResumeAfterEveryCall lets a process die at its k-th request, before or
// after that had its effect, for every k, and the one that resumes too: then the
// object is right, and nothing but what was in flight was sent twice.
func TestResumeAfterEveryCall(t *testing.T) {
	plaintext := pattern(2*minPartSize + 1000)
	cases := []struct {
		pipe   bool
		suffix string
	}{{true, DefaultHeaderSuffix}, {false, ""}, {true, ""}}
	if testing.Short() {
		cases = cases[:1]
	}
	for _, c := range cases {
		for _, answered := range []bool{false, true} {
			for k := 1; k < 20; k++ {
				name := fmt.Sprintf("pipe %v, suffix %q, answered %v, dead at call %d", c.pipe, c.suffix, answered, k)
				f := newShelf()
				journal := filepath.Join(t.TempDir(), "journal")
				o := resumeOptions()
				o.HeaderSuffix = c.suffix
				run := func() (*Result, error) {
					body := io.Reader(bytes.NewReader(plaintext))
					if c.pipe {
						body = plainReader{body}
					}
					return uploadResumable(t, f, o, body, journal)
				}
				var res *Result
				err := errDead
				deaths := 0
				for ; deaths < 2 && err != nil; deaths++ {
					f.dies(k, answered)
					if res, err = run(); err == nil {
						break
					} else if !errors.Is(err, errDead) {
						t.Fatalf("%s: %v", name, err)
					} else if e, ok := errors.AsType[*UploadError](err); ok {
						if _, err := os.Stat(journal); (e.Journal != "") != (err == nil) || e.Journal != "" && !strings.Contains(e.Error(), journal) {
							t.Fatalf("%s: %v, and the journal: %v", name, e, err)
						}
					}
				}
				f.before, f.after = nil, nil
				if deaths == 0 {
					if k < 6 {
						t.Errorf("%s: it lived", name)
					}
					break
				}
				if err != nil {
					if res, err = run(); err != nil {
						t.Fatalf("%s: %v", name, err)
					}
				}
				info := onShelf(t, f, plaintext)
				want := int64(len(plaintext))
				if res.PlaintextSize != want || info.PlaintextSize != want || res.Info.PlaintextSize != want || res.StoredSize != f.objects[payloadName].size || res.Parts != 3 || res.ETag == "" {
					t.Fatalf("%s: %+v", name, res)
				}
				noFile(t, journal)
				total := 0
				for _, times := range partsSent(f) {
					total += times
				}
				if total > 3+deaths {
					t.Errorf("%s: %d parts were sent", name, total)
				}
			}
		}
	}
}

// interrupted returns a shelf with an upload that stopped after two parts of 5
// were stored, and its journal.
func interrupted(t *testing.T, o *Options, plaintext []byte) (*shelf, string) {
	t.Helper()
	f, journal := newShelf(), filepath.Join(t.TempDir(), "journal")
	f.dies(4, false)
	if _, err := uploadResumable(t, f, o, bytes.NewReader(plaintext), journal); !errors.Is(err, errDead) {
		t.Fatal(err)
	}
	f.before, f.after = nil, nil
	return f, journal
}

// TestResumeChangedSource changes the source at each of many places. Under a part
// that was begun, that is found out, and nothing becomes visible; behind those it
// is the plaintext. With the first bytes back the upload goes on.
func TestResumeChangedSource(t *testing.T) {
	original := pattern(4*minPartSize + 1000)
	places := []int{0, 3*minPartSize - 1, 4 * minPartSize, 1, sourceSegment, minPartSize - 1, minPartSize, 2*minPartSize - 1, 2 * minPartSize, len(original) - 1}
	if testing.Short() {
		places = places[:3]
	}
	for _, at := range places {
		f, journal := interrupted(t, resumeOptions(), original)
		changed := bytes.Clone(original)
		changed[at] ^= 1
		_, err := uploadResumable(t, f, resumeOptions(), bytes.NewReader(changed), journal)
		if at >= 4*minPartSize { // of which nothing was read before; of part 4 perhaps
			if err != nil {
				t.Errorf("changed at %d: %v", at, err)
			}
			onShelf(t, f, changed)
			continue
		}
		e, ok := errors.AsType[*UploadError](err)
		if !ok || !errors.Is(err, ErrSourceChanged) || e.Journal != journal || e.AbortErr != nil || len(f.objects) != 0 || len(f.uploads) != 1 {
			t.Fatalf("changed at %d: %v, %d objects, %d uploads", at, err, len(f.objects), len(f.uploads))
		}
		if _, err := uploadResumable(t, f, resumeOptions(), bytes.NewReader(original), journal); err != nil {
			t.Fatalf("changed back at %d: %v", at, err)
		}
		onShelf(t, f, original)
	}
	for _, n := range []int{0, 1, minPartSize, len(original) - 1} { // other sizes are seen at once
		f, journal := interrupted(t, resumeOptions(), original)
		calls := len(f.calls)
		if _, err := uploadResumable(t, f, resumeOptions(), bytes.NewReader(original[:n]), journal); !errors.Is(err, ErrSourceChanged) || len(f.calls) != calls {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}

// TestResumeChangedPipe has a pipe that ends elsewhere than before, which shows
// only where it ends.
func TestResumeChangedPipe(t *testing.T) {
	original := pattern(2*minPartSize + 1000)
	pipe := func(b []byte) io.Reader { return plainReader{bytes.NewReader(b)} }
	for _, n := range []int{0, 1, minPartSize, 2 * minPartSize, 2*minPartSize + 999, 2*minPartSize + 1001, 3 * minPartSize} {
		f, journal := newShelf(), filepath.Join(t.TempDir(), "journal")
		f.dies(5, false) // all parts are there, the object is not complete
		if _, err := uploadResumable(t, f, resumeOptions(), pipe(original), journal); !errors.Is(err, errDead) {
			t.Fatal(err)
		}
		f.before, f.after = nil, nil
		if _, err := uploadResumable(t, f, resumeOptions(), pipe(pattern(n)), journal); !errors.Is(err, ErrSourceChanged) || len(f.objects) != 0 {
			t.Errorf("%d bytes: %v", n, err)
		}
		if _, err := uploadResumable(t, f, resumeOptions(), pipe(original), journal); err != nil {
			t.Fatal(err)
		}
		onShelf(t, f, original)
	}
}

// TestResumeAnotherJournal uses the journal of one upload for another.
func TestResumeAnotherJournal(t *testing.T) {
	plaintext := pattern(4*minPartSize + 1000)
	f, journal := interrupted(t, resumeOptions(), plaintext)
	calls := len(f.calls)
	u := New(f, testKey, resumeOptions())
	for _, change := range []func(*s3.PutObjectInput){
		func(in *s3.PutObjectInput) { in.Bucket = aws.String("another") },
		func(in *s3.PutObjectInput) { in.Key = aws.String("another") },
	} {
		in := putInput(bytes.NewReader(plaintext))
		change(in)
		if _, err := u.UploadResumable(t.Context(), in, testKey, journal); !errors.Is(err, ErrJournal) {
			t.Errorf("error %v", err)
		}
	}
	for _, begun := range []Options{{}, {HeaderSuffix: DefaultHeaderSuffix}, {HeaderSuffix: ".other"}, {HeaderInMetadata: true}} {
		for _, now := range []Options{{}, {HeaderSuffix: DefaultHeaderSuffix}, {HeaderInMetadata: true}} {
			if now.HeaderSuffix == begun.HeaderSuffix && now.HeaderInMetadata == begun.HeaderInMetadata {
				continue
			}
			o := resumeOptions()
			o.HeaderSuffix, o.HeaderInMetadata = begun.HeaderSuffix, begun.HeaderInMetadata
			f, journal := interrupted(t, o, plaintext)
			before := len(f.calls)
			o.HeaderSuffix, o.HeaderInMetadata = now.HeaderSuffix, now.HeaderInMetadata
			if _, err := uploadResumable(t, f, o, bytes.NewReader(plaintext), journal); !errors.Is(err, ErrJournal) || len(f.calls) != before {
				t.Errorf("the header was to be at %q, %v, and now at %q, %v: %v", begun.HeaderSuffix, begun.HeaderInMetadata, now.HeaderSuffix, now.HeaderInMetadata, err)
			}
		}
	}
	other, err := keywrap.NewAESKey("test", bytes.Repeat([]byte{8}, keywrap.AESKeySize))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.UploadResumable(t.Context(), putInput(bytes.NewReader(plaintext)), other, journal); !errors.Is(err, keywrap.ErrUnwrap) {
		t.Errorf("another key: %v", err)
	}
	fresh := filepath.Join(t.TempDir(), "journal")
	if _, err := u.UploadResumable(t.Context(), putInput(bytes.NewReader(plaintext)), other, fresh); !errors.Is(err, keywrap.ErrUnwrap) {
		t.Errorf("another key for a new upload: %v", err)
	}
	noFile(t, fresh)
	if len(f.calls) != calls {
		t.Errorf("requests: %v", f.calls[calls:])
	}
	if _, err := New(newFake(), testKey, nil).UploadResumable(t.Context(), putInput(bytes.NewReader(plaintext)), testKey, journal); !errors.Is(err, ErrInput) {
		t.Errorf("a client that cannot list parts: %v", err)
	}
	if _, err := uploadResumable(t, f, resumeOptions(), bytes.NewReader(plaintext), journal); err != nil {
		t.Fatal(err)
	}
	onShelf(t, f, plaintext)
}

// TestResumeCutJournal cuts the journal at every byte, as a crash of the machine
// may: a line that is not whole counts as not written, and its part is sent
// again. Only without the whole first line there is nothing to go on from.
func TestResumeCutJournal(t *testing.T) {
	plaintext := pattern(2*minPartSize + 1000)
	f, journal := interrupted(t, resumeOptions(), plaintext)
	whole, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	heading := bytes.IndexByte(whole, '\n') + 1
	if lines := bytes.Count(whole, []byte("\n")); lines != 4 {
		t.Fatalf("the journal has %d lines", lines)
	}
	upload := f.uploads["upload-1"]
	every := 7
	if testing.Short() {
		every = 41
	}
	for cut := range whole {
		if cut < heading && cut%100 > 1 || cut >= heading && cut%every != 0 && whole[cut-1] != '\n' && whole[cut] != '\n' {
			continue
		}
		f.uploads = map[string]*shelvedUpload{"upload-1": {upload.in, map[int32]*shelved{1: upload.parts[1], 2: upload.parts[2]}}}
		delete(f.objects, payloadName)
		f.calls, f.inputs = nil, nil
		if err := os.WriteFile(journal, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := uploadResumable(t, f, resumeOptions(), bytes.NewReader(plaintext), journal)
		if cut < heading {
			if !errors.Is(err, ErrJournal) || len(f.calls) != 0 {
				t.Errorf("cut at %d: %v after %v", cut, err, f.calls)
			}
			continue
		}
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		onShelf(t, f, plaintext)
		lines := bytes.Count(whole[:cut], []byte("\n"))
		if n := len(partsSent(f)); n != 3-min(2, lines-1) {
			t.Errorf("cut at %d, in line %d: %d parts were sent", cut, lines+1, n)
		}
	}
}

// TestResumeTamperedJournal changes the journal at many bytes: that is found
// out, or makes no difference.
func TestResumeTamperedJournal(t *testing.T) {
	plaintext := pattern(2*minPartSize + 1000)
	f, journal := interrupted(t, resumeOptions(), plaintext)
	whole, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	upload := f.uploads["upload-1"]
	failed, fine := 0, 0
	for at := range whole {
		if at > 300 && at%5 != 0 { // in the header, the MACs
			continue
		}
		f.uploads = map[string]*shelvedUpload{"upload-1": {upload.in, map[int32]*shelved{1: upload.parts[1], 2: upload.parts[2]}}}
		delete(f.objects, payloadName)
		b := bytes.Clone(whole)
		b[at] ^= 1
		if err := os.WriteFile(journal, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := uploadResumable(t, f, resumeOptions(), bytes.NewReader(plaintext), journal); err != nil {
			failed++
			if len(f.objects) != 0 {
				t.Fatalf("byte %d: %v, and an object is there", at, err)
			}
			continue
		}
		fine++
		onShelf(t, f, plaintext)
	}
	t.Logf("%d changes were found out, %d made no difference", failed, fine)
	if failed < 300 {
		t.Errorf("only %d changes were found out", failed)
	}
}

// TestResumeGone has a multipart upload that is not there any more.
func TestResumeGone(t *testing.T) {
	plaintext := pattern(4*minPartSize + 1000)
	for name, standing := range map[string][]byte{"nothing": nil, "empty": {}, "no stream": plaintext[:1000]} {
		f, journal := interrupted(t, resumeOptions(), plaintext)
		clear(f.uploads)
		if standing != nil {
			f.put(payloadName, &shelved{data: standing})
		}
		_, err := uploadResumable(t, f, resumeOptions(), bytes.NewReader(plaintext), journal)
		if !errors.Is(err, ErrUploadGone) || !strings.Contains(err.Error(), journal) {
			t.Errorf("%s there: %v", name, err)
		}
		if err := os.Remove(journal); err != nil {
			t.Fatal(err)
		}
		if _, err := uploadResumable(t, f, resumeOptions(), bytes.NewReader(plaintext), journal); err != nil {
			t.Fatal(err)
		}
		onShelf(t, f, plaintext)
	}
}

// TestResumePartOfAnotherSize sends a part again that the store has with another
// size.
func TestResumePartOfAnotherSize(t *testing.T) {
	plaintext := pattern(4*minPartSize + 1000)
	f, journal := interrupted(t, resumeOptions(), plaintext)
	f.uploads["upload-1"].parts[2].size--
	if _, err := uploadResumable(t, f, resumeOptions(), bytes.NewReader(plaintext), journal); err != nil {
		t.Fatal(err)
	}
	onShelf(t, f, plaintext)
	if n := partsSent(f); n[1] != 1 || n[2] != 2 {
		t.Errorf("the parts were sent %v times", n)
	}
}

// TestResumeOtherOptions resumes with other part sizes and budgets: what was
// begun keeps its parts, what follows has the new ones.
func TestResumeOtherOptions(t *testing.T) {
	plaintext := pattern(7*minPartSize + 1000)
	sizes := []int64{12 << 20, minPartSize, 0}
	if testing.Short() {
		sizes = sizes[:1]
	}
	for _, size := range sizes {
		for _, budget := range []*Budget{nil, NewBudget(13 << 20)} {
			f, journal := interrupted(t, resumeOptions(), plaintext)
			o := resumeOptions()
			o.PartSize, o.Budget, o.Concurrency = size, budget, 3
			if _, err := uploadResumable(t, f, o, bytes.NewReader(plaintext), journal); err != nil {
				t.Fatalf("parts of %d: %v", size, err)
			}
			onShelf(t, f, plaintext)
		}
	}
}

// TestResumeInTooSmallABudget needs the memory of the parts that were begun.
func TestResumeInTooSmallABudget(t *testing.T) {
	plaintext := pattern(8*minPartSize - 1)
	o := resumeOptions()
	o.PartSize = 12 << 20
	f, journal := interrupted(t, o, plaintext)
	o.PartSize = minPartSize
	o.Budget = NewBudget(11 << 20)
	if _, err := uploadResumable(t, f, o, bytes.NewReader(plaintext), journal); !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "Options.Budget") {
		t.Errorf("a budget of 11 MiB: %v", err)
	}
	o.Budget = NewBudget(13 << 20)
	if _, err := uploadResumable(t, f, o, bytes.NewReader(plaintext), journal); err != nil {
		t.Errorf("a budget of 13 MiB: %v", err)
	}
	onShelf(t, f, plaintext)
}

// TestResumeChecksums sends what is missing with the checksums that the upload
// was created for, whatever the input of the later run says.
func TestResumeChecksums(t *testing.T) {
	plaintext := pattern(4*minPartSize + 1000)
	f, journal := newShelf(), filepath.Join(t.TempDir(), "journal")
	f.dies(4, false)
	in := putInput(bytes.NewReader(plaintext))
	in.ChecksumAlgorithm = types.ChecksumAlgorithmSha256
	u := New(f, testKey, resumeOptions())
	if _, err := u.UploadResumable(t.Context(), in, testKey, journal); !errors.Is(err, errDead) {
		t.Fatal(err)
	}
	f.before, f.after = nil, nil
	if _, err := uploadResumable(t, f, resumeOptions(), bytes.NewReader(plaintext), journal); err != nil {
		t.Fatal(err)
	}
	for _, in := range f.inputs {
		if p, ok := in.(*s3.UploadPartInput); ok && p.ChecksumAlgorithm != types.ChecksumAlgorithmSha256 {
			t.Errorf("part %d was sent with %q", *p.PartNumber, p.ChecksumAlgorithm)
		}
	}
}

// TestResumeCutJournalTwice writes on behind a line that was cut, dies again and
// resumes: the lines are still lines.
func TestResumeCutJournalTwice(t *testing.T) {
	plaintext := pattern(4*minPartSize + 1000)
	f, journal := interrupted(t, resumeOptions(), plaintext)
	whole, err := os.ReadFile(journal)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(journal, whole[:len(whole)-10], 0o600); err != nil {
		t.Fatal(err)
	}
	f.dies(3, false) // after a list and one more part
	if _, err := uploadResumable(t, f, resumeOptions(), bytes.NewReader(plaintext), journal); !errors.Is(err, errDead) {
		t.Fatal(err)
	}
	f.before, f.after = nil, nil
	if _, err := uploadResumable(t, f, resumeOptions(), bytes.NewReader(plaintext), journal); err != nil {
		t.Fatal(err)
	}
	onShelf(t, f, plaintext)
}

// TestResumableSmall sends what one part holds without a journal.
func TestResumableSmall(t *testing.T) {
	f, journal := newShelf(), filepath.Join(t.TempDir(), "journal")
	res, err := uploadResumable(t, f, nil, bytes.NewReader(pattern(1000)), journal)
	if err != nil || !slices.Equal(f.calls, []string{opPut}) || res.UploadID != "" {
		t.Errorf("%+v, %v after %v", res, err, f.calls)
	}
	onShelf(t, f, pattern(1000))
	noFile(t, journal)
}

// TestResumableJournalFaults has journals that cannot be written: the multipart
// upload is then aborted.
func TestResumableJournalFaults(t *testing.T) {
	dir := t.TempDir()
	f := newShelf()
	_, err := uploadResumable(t, f, resumeOptions(), bytes.NewReader(pattern(2*minPartSize)), filepath.Join(dir, "missing", "journal"))
	if e, ok := errors.AsType[*UploadError](err); !ok || !errors.Is(err, fs.ErrNotExist) || e.Journal != "" || e.AbortErr != nil {
		t.Errorf("no such directory: %v", err)
	}
	f.clean(t)
	if _, err := uploadResumable(t, f, resumeOptions(), bytes.NewReader(pattern(2*minPartSize)), dir); err == nil {
		t.Error("a directory as the journal")
	}
	f.clean(t)

	// Another process has begun a journal of that name in the meantime.
	name := filepath.Join(dir, "journal")
	f.before = func(_ int, op string) error {
		if op == opCreate {
			return os.WriteFile(name, []byte("another's"), 0o600)
		}
		return nil
	}
	if _, err := uploadResumable(t, f, resumeOptions(), bytes.NewReader(pattern(2*minPartSize)), name); !errors.Is(err, fs.ErrExist) {
		t.Errorf("another journal in its place: %v", err)
	}
	f.clean(t)
	if b, err := os.ReadFile(name); err != nil || string(b) != "another's" {
		t.Errorf("the other journal has %q, %v", b, err)
	}
}

// TestJournalLines refuses what no journal has.
func TestJournalLines(t *testing.T) {
	const heading = `{"bulla-upload-journal":1,"bucket":"b","key":"k","uploadId":"u","header":"aGVhZGVy"}`
	part := func(n int, size int64, more string) string {
		return fmt.Sprintf(`{"part":%d,"size":%d%s,"mac":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}`, n, size, more)
	}
	for text, parts := range map[string]int{
		heading:                             0,
		heading + "\n" + part(1, 5<<20, ""): 1,
		heading + "\n" + part(1, 5<<20, "") + "\n" + part(2, 0, `,"final":true`): 2,
		heading + "\n" + part(1, 5<<20, "") + "\n" + part(3, 1, ""):              -1,
		heading + "\n" + part(1, 0, ""):                                          -1,
		heading + "\n" + part(1, -1, ""):                                         -1,
		heading + "\n" + part(1, 6<<30, ""):                                      -1,
		heading + "\n" + part(1, 5, `,"final":true`) + "\n" + part(2, 5, ""):     -1,
		heading + "\n" + part(1, 5, `,"other":1`):                                -1,
		heading + "\n" + `{"part":1,"size":5,"mac":"AAEC"}`:                      -1,
		heading + "\n" + part(1, 5<<20, "") + part(2, 5<<20, ""):                 -1,
		strings.Replace(heading, ":1", ":2", 1):                                  -1,
		strings.Replace(heading, `"b"`, `""`, 1):                                 -1,
		strings.Replace(heading, `"u"`, `""`, 1):                                 -1,
		strings.Replace(heading, `"bucket"`, `"pail"`, 1):                        -1,
		"{}": -1,
		"":   -1,
		strings.Repeat(" ", maxJournalLine) + heading: -1,
	} {
		j := &journal{name: "journal"}
		_, err := j.parse(strings.NewReader(text + "\n"))
		if parts < 0 != errors.Is(err, ErrJournal) || parts >= 0 && (err != nil || len(j.parts) != parts) {
			t.Errorf("%.300q: %d parts, %v", text, len(j.parts), err)
		}
	}
}

// TestAbortResumable gives uploads up.
func TestAbortResumable(t *testing.T) {
	plaintext := pattern(4*minPartSize + 1000)
	f, journal := interrupted(t, resumeOptions(), plaintext)
	u := New(f, testKey, resumeOptions())
	f.before = func(int, string) error { return errDead }
	if err := u.AbortResumable(t.Context(), journal); !errors.Is(err, errDead) || len(f.uploads) != 1 {
		t.Errorf("error %v, %d uploads", err, len(f.uploads))
	}
	f.before = nil
	if err := u.AbortResumable(t.Context(), journal); err != nil || len(f.uploads) != 0 {
		t.Errorf("error %v, %d uploads", err, len(f.uploads))
	}
	noFile(t, journal)
	if err := u.AbortResumable(t.Context(), journal); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("twice: %v", err)
	}
	if err := os.WriteFile(journal, []byte("a file of the user's\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := u.AbortResumable(t.Context(), journal); !errors.Is(err, ErrJournal) {
		t.Errorf("another file: %v", err)
	}
	if b, err := os.ReadFile(journal); err != nil || string(b) != "a file of the user's\n" {
		t.Errorf("the file has %q, %v", b, err)
	}
}

// FuzzJournal reads any bytes as a journal.
func FuzzJournal(f *testing.F) {
	heading := `{"bulla-upload-journal":1,"bucket":"b","key":"k","uploadId":"u","header":"aGVhZGVy"}` + "\n"
	part := `{"part":1,"size":5242880,"mac":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}` + "\n"
	for _, seed := range []string{"", "{}\n", heading, heading + part, heading + part + part, heading + part[:20], heading + "\n", strings.ReplaceAll(heading, ":1", ":2")} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		j := &journal{name: "journal"}
		end, err := j.parse(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, ErrJournal) {
				t.Fatalf("error %v", err)
			}
			return
		}
		if end < 1 || end > int64(len(b)) || b[end-1] != '\n' || bytes.IndexByte(b[end:], '\n') >= 0 {
			t.Fatalf("%d bytes of %d are whole lines", end, len(b))
		}
		for i, r := range j.parts {
			if int(r.Part) != i+1 || r.Size < 0 || r.Size > maxPartSize || r.Final && i < len(j.parts)-1 {
				t.Fatalf("record %d: %+v", i, r)
			}
		}
	})
}
