package s3upload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// The places of a header.
const (
	inObject   = "in the object"
	besideIt   = "beside it"
	inMetadata = "in its metadata"
)

var places = []string{inObject, besideIt, inMetadata}

// The payload of tests, and where it is.
const (
	rewrapName   = "bucket/dir/key"
	besideName   = rewrapName + DefaultHeaderSuffix
	rewrapPrefix = int64(format.DefaultHeaderSize)
)

func rewrapInput() *s3.GetObjectInput {
	return &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("dir/key")}
}

// newKey returns another key than testKey.
func newKey(t *testing.T, name string, fill byte) *keywrap.AESKey {
	t.Helper()
	k, err := keywrap.NewAESKey(name, bytes.Repeat([]byte{fill}, keywrap.AESKeySize))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// store encrypts plaintext and places it on the shelf.
func (f *shelf) store(t *testing.T, place string, plaintext []byte, o *stream.EncryptOptions) {
	t.Helper()
	var options stream.EncryptOptions
	if o != nil {
		options = *o
	}
	options.Detached = place != inObject
	options.CompactHeader = options.CompactHeader || place == inMetadata
	keys := f.keys
	if keys == nil {
		keys = testKey
	}
	r, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(plaintext), keys, &options)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := readAll(r, len(plaintext))
	if err != nil {
		t.Fatal(err)
	}
	payload := &shelved{data: data, head: s3.HeadObjectOutput{ContentType: aws.String("text/x-test")}, tags: []types.Tag{{Key: aws.String("a"), Value: aws.String("b")}}}
	switch place {
	case besideIt:
		f.put(besideName, &shelved{data: r.Header()})
	case inMetadata:
		payload.head.Metadata = map[string]string{"name": "value", headerMetadata: base64.RawURLEncoding.EncodeToString(r.Header())}
	}
	f.put(rewrapName, payload)
}

// headerOf returns the header of the object of the given name, and the payload.
func (f *shelf) headerOf(t *testing.T, name string) (header, payload []byte) {
	t.Helper()
	o := f.objects[name]
	prelude, err := format.ParsePrelude(o.data)
	if err != nil {
		t.Fatal(err)
	}
	if prelude.Detached() {
		if text := o.head.Metadata[headerMetadata]; text != "" {
			header, err = base64.RawURLEncoding.DecodeString(text)
		} else {
			header = f.objects[name+DefaultHeaderSuffix].data
		}
		payload = o.data[format.PreludeSize:]
	} else {
		var info stream.Info
		if info, err = stream.Inspect(o.data); err == nil {
			header, payload = o.data[:info.HeaderSize], o.data[info.HeaderSize:]
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return header, payload
}

// decrypt returns the plaintext of the object of the given name.
func (f *shelf) decrypt(t *testing.T, name string, keys keywrap.Unwrapper) ([]byte, error) {
	t.Helper()
	header, payload := f.headerOf(t, name)
	o := &stream.DecryptOptions{Location: "s3://" + name}
	front := header
	if info, err := stream.Inspect(header); err != nil {
		return nil, err
	} else if info.Detached {
		o.DetachedHeader = header
		front = header[:format.PreludeSize]
	}
	r, err := stream.NewDecryptReader(t.Context(), io.MultiReader(bytes.NewReader(front), bytes.NewReader(payload)), keys, o)
	if err != nil {
		return nil, err
	}
	return readAll(r, len(payload))
}

// opens fails the test unless the object decrypts with keys to plaintext.
func (f *shelf) opens(t *testing.T, keys keywrap.Unwrapper, plaintext []byte) {
	t.Helper()
	if got, err := f.decrypt(t, rewrapName, keys); err != nil || !bytes.Equal(got, plaintext) {
		t.Errorf("%d bytes of plaintext, %v; expected %d; after %v", len(got), err, len(plaintext), f.calls)
	}
}

// plaintextOf returns the size of the plaintext whose stream has the given
// stored size.
func plaintextOf(t *testing.T, stored int64) int {
	t.Helper()
	layout, err := format.NewLayout(rewrapPrefix, format.DefaultSegmentExp)
	if err != nil {
		t.Fatal(err)
	}
	n, err := layout.PlaintextSize(stored)
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// rewrapSizes are of plaintexts whose streams are at and around the edges of
// what is done in one request.
func rewrapSizes(t *testing.T) []int {
	t.Helper()
	sizes := []int{0, 1, 60_000, 100_000}
	if testing.Short() {
		return append(sizes, plaintextOf(t, minPartSize+1))
	}
	for d := int64(-1); d <= 1; d++ {
		sizes = append(sizes, plaintextOf(t, minPartSize+d), plaintextOf(t, 2*minPartSize+d))
	}
	return sizes
}

// TestRewrap re-wraps streams of all sizes with headers in all places, that
// keep their size and that grow: only the header changes.
func TestRewrap(t *testing.T) {
	longName := newKey(t, strings.Repeat("n", 1000), 8)
	for _, place := range places {
		for _, size := range rewrapSizes(t) {
			for _, grow := range []bool{false, true} {
				if grow && place == inMetadata {
					continue // it would be padded, and not fit
				}
				t.Run(fmt.Sprintf("%s/%d/%v", place, size, grow), func(t *testing.T) {
					plaintext := pattern(size)
					f := newShelf()
					f.versioned = size%2 == 1
					f.store(t, place, plaintext, &stream.EncryptOptions{CompactHeader: grow})
					before := *f.objects[rewrapName]
					oldHeader, payload := f.headerOf(t, rewrapName)
					sum := sha256.Sum256(payload)
					key := newKey(t, "none", 8)
					if grow {
						key = longName
					}
					var last Progress
					res, err := Rewrap(t.Context(), f, rewrapInput(), testKey, key, &RewrapOptions{Progress: func(p Progress) { last = p }})
					if err != nil {
						t.Fatal(err)
					}
					f.clean(t)
					header, payload := f.headerOf(t, rewrapName)
					if sha256.Sum256(payload) != sum {
						t.Error("the payload has changed")
					}
					if (len(header) != len(oldHeader)) != grow || res.Info.Generation != 1 || res.Info.HeaderSize != len(header) || res.Unchanged {
						t.Errorf("header of %d bytes, before %d; %+v", len(header), len(oldHeader), res)
					}
					f.opens(t, key, plaintext)
					if _, err := f.decrypt(t, rewrapName, testKey); !errors.Is(err, keywrap.ErrNoMatch) {
						t.Errorf("with the old key: %v", err)
					}
					written := f.objects[rewrapName]
					if place == besideIt {
						if written.etag != before.etag {
							t.Error("the payload was written")
						}
						written = f.objects[besideName]
					} else if *written.head.ContentType != "text/x-test" || len(written.tags) != 1 || place == inMetadata && written.head.Metadata["name"] != "value" {
						t.Errorf("properties %+v, tags %v", written.head, written.tags)
					}
					if res.ETag != written.etag || res.VersionID != written.version || res.StoredSize != written.size || "bucket/"+res.Key != map[bool]string{true: besideName, false: rewrapName}[place == besideIt] {
						t.Errorf("result %+v of %s %s, %d bytes", res, written.etag, written.version, written.size)
					}
					if last.Stored != written.size || last.Total != written.size {
						t.Errorf("last progress %+v", last)
					}
					if f.read > minPartSize+2*format.MaxHeaderSize || f.sent > minPartSize+format.MaxHeaderSize {
						t.Errorf("%d bytes read, %d sent", f.read, f.sent)
					}
					want := opPut
					switch {
					case place == inMetadata:
						want = opCopy
					case place == inObject && min(before.size, written.size) > minPartSize:
						want = opComplete
					}
					if final := f.calls[len(f.calls)-1]; final != want {
						t.Errorf("calls %v, expected %s at the end", f.calls, want)
					}
				})
			}
		}
	}
}

// rewrapCases are those that take each of the ways there are.
var rewrapCases = []struct {
	place string
	size  int
}{{inObject, 1000}, {inObject, minPartSize + 100_000}, {besideIt, 1000}, {inMetadata, 1000}}

// TestRewrapCallFaults lets the k-th request fail, for every k, before and
// after it has had its effect: the old object stays, or the new one is whole.
func TestRewrapCallFaults(t *testing.T) {
	key := newKey(t, "new", 8)
	for _, c := range rewrapCases {
		for _, lost := range []bool{false, true} {
			for k := 1; ; k++ {
				f := newShelf()
				plaintext := pattern(c.size)
				f.store(t, c.place, plaintext, nil)
				var failed string
				hook := func(call int, op string) error {
					if call == k {
						failed = op
						return errCall
					}
					return nil
				}
				if lost {
					f.after = hook
				} else {
					f.before = hook
				}
				_, err := Rewrap(t.Context(), f, rewrapInput(), testKey, key, &RewrapOptions{AbortTimeout: time.Second, Concurrency: 1})
				if failed == "" {
					if err != nil || k < 5 {
						t.Errorf("%v: %v after %v", c, err, f.calls)
					}
					break
				}
				final := failed == opPut || failed == opCopy || failed == opComplete
				if !lost || failed != opCreate { // of an upload that was begun in vain nobody has the id
					f.clean(t)
				}
				if lost && final {
					if err != nil {
						t.Errorf("%v, answer to %s lost: %v", c, failed, err)
					}
					f.opens(t, key, plaintext)
					continue
				}
				if !errors.Is(err, errCall) {
					t.Errorf("%v, %s fails: %v", c, failed, err)
				}
				if e, ok := errors.AsType[*UploadError](err); final && (!ok || !e.MayBeStored) || ok && e.AbortErr != nil {
					t.Errorf("%v, %s fails: %#v", c, failed, err)
				}
				f.opens(t, testKey, plaintext)
			}
		}
	}
}

// TestRewrapRace lets another writer come before the k-th request, for every k
// but the first: what it wrote stays.
func TestRewrapRace(t *testing.T) {
	key := newKey(t, "new", 8)
	for _, c := range rewrapCases {
		for _, versioned := range []bool{false, true} {
			for k := 2; ; k++ {
				f := newShelf()
				f.versioned = versioned
				f.store(t, c.place, pattern(c.size), nil)
				raced := ""
				f.before = func(call int, op string) error {
					if call == k {
						raced = op
						f.mu.Lock()
						defer f.mu.Unlock()
						f.store(t, c.place, []byte("another"), nil)
					}
					return nil
				}
				_, err := Rewrap(t.Context(), f, rewrapInput(), testKey, key, &RewrapOptions{AbortTimeout: time.Second})
				if raced == "" {
					if err != nil || k < 5 {
						t.Errorf("%v: %v after %v", c, err, f.calls)
					}
					break
				}
				f.clean(t)
				f.opens(t, testKey, []byte("another"))
				if want := raced == opGet && c.place == besideIt; want && !errors.Is(err, stream.ErrAuth) || !want && !errors.Is(err, ErrChanged) {
					t.Errorf("%v, before %s: %v", c, raced, err)
				}
			}
		}
	}
}

// TestRewrapLaxStore has a store that ignores conditions: what another writer
// wrote before the final look stays.
func TestRewrapLaxStore(t *testing.T) {
	for _, zeros := range []int{0, 4 * minPartSize} { // the other object is shorter, or longer
		f := newShelf()
		f.lax = true
		f.store(t, inObject, pattern(minPartSize+100_000), nil)
		f.before = func(_ int, op string) error {
			if op == opPartCopy {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.store(t, inObject, []byte("another"), nil)
				o := f.objects[rewrapName]
				f.put(rewrapName, &shelved{data: append(o.data, make([]byte, zeros)...)})
			}
			return nil
		}
		_, err := Rewrap(t.Context(), f, rewrapInput(), testKey, newKey(t, "new", 8), &RewrapOptions{AbortTimeout: time.Second})
		if !errors.Is(err, ErrChanged) || slices.Contains(f.calls, opComplete) {
			t.Errorf("%v after %v", err, f.calls)
		}
		f.clean(t)
	}

	f := newShelf()
	f.lax, f.versioned = true, true
	f.store(t, inObject, []byte("text"), nil)
	in := rewrapInput()
	in.VersionId = aws.String(f.objects[rewrapName].version)
	f.store(t, inObject, []byte("later"), nil)
	if _, err := Rewrap(t.Context(), f, in, testKey, newKey(t, "new", 8), nil); !errors.Is(err, ErrChanged) {
		t.Errorf("an old version: %v", err)
	}
	f.opens(t, testKey, []byte("later"))
}

// TestRewrapSeesChangedMetadata has metadata that change and an ETag that does
// not, as in S3 after another re-wrap.
func TestRewrapSeesChangedMetadata(t *testing.T) {
	f := newShelf()
	f.store(t, inMetadata, []byte("text"), nil)
	f.before = func(_ int, op string) error {
		if op == opHead {
			f.objects[rewrapName].head.Metadata = map[string]string{headerMetadata: "another"}
		}
		return nil
	}
	if _, err := Rewrap(t.Context(), f, rewrapInput(), testKey, newKey(t, "none", 8), nil); !errors.Is(err, ErrChanged) || slices.Contains(f.calls, opCopy) {
		t.Errorf("%v after %v", err, f.calls)
	}
}

// TestRewrapHuge re-wraps objects as large as S3 has them: what goes through
// this host stays the same, and the parts are the object.
func TestRewrapHuge(t *testing.T) {
	const largest = (maxParts - 1) * maxCopySize
	for _, size := range []int64{minCopyPart, minCopyPart + minPartSize, 5 << 30, 5<<30 + 1, 300 << 30, 10 << 40, largest, largest + minPartSize} {
		f := newShelf()
		f.store(t, inObject, pattern(minPartSize), nil)
		o := f.objects[rewrapName]
		o.size = size
		old := o.data
		res, err := Rewrap(t.Context(), f, rewrapInput(), testKey, newKey(t, "new", 8), nil)
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		o = f.objects[rewrapName]
		at := int64(minPartSize)
		if o.size != size || int64(len(o.data)) != at || !bytes.Equal(o.data[rewrapPrefix:], old[rewrapPrefix:at]) || bytes.Equal(o.data[:rewrapPrefix], old[:rewrapPrefix]) {
			t.Errorf("%d bytes became %d, of which %d were sent", size, o.size, len(o.data))
		}
		for _, part := range o.copied {
			if part[0] != at || part[1] <= at || part[1]-at > maxCopySize {
				t.Fatalf("%d bytes: bytes %d to %d were copied behind byte %d", size, part[0], part[1], at)
			}
			at = part[1]
		}
		if at != size || res.StoredSize != size || f.sent != minPartSize || f.read > minPartSize+format.MaxHeaderSize {
			t.Errorf("%d bytes: %d copied, %d sent, %d read", size, at, f.sent, f.read)
		}
		f.clean(t)
	}
	f := newShelf()
	f.store(t, inObject, pattern(minPartSize), nil)
	f.objects[rewrapName].size = largest + minPartSize + 1
	if _, err := Rewrap(t.Context(), f, rewrapInput(), testKey, newKey(t, "new", 8), nil); !errors.Is(err, stream.ErrTooLarge) || f.sent != 0 || slices.Contains(f.calls, opCreate) {
		t.Errorf("%v after %v", err, f.calls)
	}
	f = newShelf()
	f.store(t, inMetadata, pattern(minPartSize), nil)
	f.objects[rewrapName].size = maxParts * maxCopySize
	if _, err := Rewrap(t.Context(), f, rewrapInput(), testKey, newKey(t, "new", 8), nil); err != nil || f.sent != 0 || f.objects[rewrapName].size != maxParts*maxCopySize {
		t.Errorf("metadata of the largest object: %v, %d bytes sent", err, f.sent)
	}
}

// TestRewrapCancelled ends the context during the k-th request.
func TestRewrapCancelled(t *testing.T) {
	for k := 1; k <= 7; k++ {
		f := newShelf()
		f.store(t, inObject, pattern(minPartSize+100_000), nil)
		ctx, cancel := context.WithCancel(t.Context())
		f.before = func(call int, op string) error {
			if call == k && op != opComplete {
				cancel()
			}
			return nil
		}
		_, err := Rewrap(ctx, f, rewrapInput(), testKey, newKey(t, "new", 8), &RewrapOptions{AbortTimeout: time.Second, Concurrency: 1})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled in %s: %v", f.calls[k-1], err)
		}
		f.clean(t)
		f.opens(t, testKey, pattern(minPartSize+100_000))
		cancel()
	}
}
