package s3download

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/s3header"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

// pairsOf says what List has to find, with all keys in memory.
func pairsOf(objects map[string][]byte, in *s3.ListObjectsV2Input, suffix string) []line {
	prefix, delimiter, after := aws.ToString(in.Prefix), aws.ToString(in.Delimiter), aws.ToString(in.StartAfter)
	found := map[string]line{}
	own := map[string]bool{} // keys that stand in the listing themselves
	for key := range objects {
		rest, ok := strings.CutPrefix(key, prefix)
		if !ok {
			continue
		}
		if first, _, cut := strings.Cut(rest, delimiter); delimiter != "" && cut {
			if key = prefix + first + delimiter; key > after {
				found[key] = line{key: key}
			}
			continue
		}
		own[key] = key > after
	}
	for key, listed := range own {
		payload, isHeader := headerKey(key, suffix)
		_, twice := headerKey(payload, suffix) // what has the key of a header is no payload
		switch {
		case !listed:
		case !isHeader:
			l := found[key]
			found[key] = line{key, true, l.header || own[key+suffix]}
		case own[payload] && !twice || !strings.HasPrefix(payload, prefix) || payload <= after:
		default:
			found[payload] = line{payload, false, true}
		}
	}
	return slices.SortedFunc(maps.Values(found), func(a, b line) int { return cmp.Compare(a.key, b.key) })
}

func headerKey(key, suffix string) (payload string, ok bool) {
	payload, ok = strings.CutSuffix(key, suffix)
	return payload, ok && payload != ""
}

// Whatever the keys, the pages and what is asked for, List finds what can be
// found with all keys in memory.
func TestListPairs(t *testing.T) {
	seed := [2]uint64{rand.Uint64(), rand.Uint64()}
	rng := rand.New(rand.NewPCG(seed[0], seed[1]))
	pairs, alone := 0, 0
	for _, suffix := range []string{s3header.DefaultSuffix, "/h", "ba", "a", "b+"} {
		for range 300 {
			// Few letters, so that keys are often the beginning of others.
			objects := map[string][]byte{}
			for range rng.IntN(40) {
				var key []byte
				for range 1 + rng.IntN(4) {
					key = append(key, "ab-./+ %\x01\xc3"[rng.IntN(10)])
				}
				if name := string(key); rng.IntN(4) > 0 {
					objects[name] = []byte{0}
				}
				if rng.IntN(2) == 0 {
					objects[string(key)+suffix] = []byte{0}
				}
			}
			f := newBucket(objects)
			f.page, f.plainKeys = 1+rng.IntN(7), rng.IntN(4) == 0
			in := &s3.ListObjectsV2Input{}
			if rng.IntN(3) == 0 {
				in.Delimiter = aws.String([]string{"/", "a", "h", "er"}[rng.IntN(4)])
			}
			if rng.IntN(3) == 0 {
				in.Prefix = aws.String([]string{"a", "a.", "/", "a/", "+"}[rng.IntN(5)])
			}
			if rng.IntN(3) == 0 {
				in.StartAfter = aws.String([]string{"a", "a.b", "b", "a" + suffix}[rng.IntN(4)])
			}
			want := pairsOf(objects, in, suffix)
			got := f.listAll(t, in, &ListOptions{HeaderSuffix: suffix})
			if !slices.Equal(got, want) {
				t.Fatalf("seed %v: keys %q, suffix %q, prefix %q, delimiter %q, after %q:\n%v, want\n%v", seed, slices.Sorted(maps.Keys(objects)), suffix,
					aws.ToString(in.Prefix), aws.ToString(in.Delimiter), aws.ToString(in.StartAfter), got, want)
			}
			for _, l := range got {
				if l.object && l.header {
					pairs++
				} else if l.header {
					alone++
				}
			}
		}
	}
	if pairs < 100 || alone < 100 {
		t.Errorf("only %d pairs and %d headers alone were tried", pairs, alone)
	}
}

// However many keys stand between an object and its header, a bounded number
// waits for it, and the header is looked for once.
func TestListWaitsNotForEver(t *testing.T) {
	const between = 3*listAhead + 17
	for _, has := range []bool{false, true} {
		objects := keysOf("a", "b")
		for i := range between {
			objects[fmt.Sprintf("a-%04d", i)] = []byte{0}
		}
		objects["a-0003"+s3header.DefaultSuffix] = []byte{0}
		objects["a"+s3header.DefaultSuffix+"s"] = []byte{0}
		if has {
			objects["a"+s3header.DefaultSuffix] = []byte{0}
		}
		f := newBucket(objects)
		in := &s3.ListObjectsV2Input{Bucket: aws.String("bucket"), ExpectedBucketOwner: aws.String("me"), RequestPayer: types.RequestPayerRequester}
		first := 0 // pages until there is an entry
		for e, err := range List(t.Context(), f, in, nil) {
			if err != nil {
				t.Fatal(err)
			}
			if first = len(f.lists); e.Key != "a" || (e.Header != nil) != has {
				t.Errorf("%+v", e)
			}
			break
		}
		if first != 3 { // two pages, and the look for the header
			t.Errorf("the first entry came after %d requests", first)
		}
		if probe := f.lists[2]; *probe.Prefix != "a"+s3header.DefaultSuffix || *probe.MaxKeys != 1 || *probe.ExpectedBucketOwner != "me" || probe.RequestPayer == "" {
			t.Errorf("the header was looked for with %+v", probe)
		}
		if got, want := f.listAll(t, &s3.ListObjectsV2Input{}, nil), pairsOf(objects, &s3.ListObjectsV2Input{}, s3header.DefaultSuffix); !slices.Equal(got, want) {
			t.Errorf("%d entries, want %d", len(got), len(want))
		}
		if n := len(f.lists) - first; n != between/1000+2 {
			t.Errorf("%d requests for all", n)
		}
	}
}

// What comes behind the place of a header is no reason to wait for it.
func TestListWaitsNotLonger(t *testing.T) {
	objects := keysOf("a")
	for i := range 2*listAhead + 17 {
		objects[fmt.Sprintf("a/%04d", i)] = []byte{0}
	}
	f := newBucket(objects)
	if got := f.listAll(t, &s3.ListObjectsV2Input{}, nil); len(got) != len(objects) || len(f.lists) != 3 {
		t.Errorf("%d entries with %d requests", len(got), len(f.lists))
	}
	// Nor, in a store without order, is what comes before it.
	l, err := newLister(f, &s3.ListObjectsV2Input{Bucket: aws.String("bucket")}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		key := fmt.Sprintf("%04d", 1000-i)
		l.add(&listed{Entry: Entry{Key: key, Object: &types.Object{Key: &key}}})
	}
	if len(l.waiting) != 1 {
		t.Errorf("%d wait", len(l.waiting))
	}
}

// A store without order costs the pairs, and nothing else.
func TestListWithoutOrder(t *testing.T) {
	objects := keysOf("a", "a"+s3header.DefaultSuffix, "b", "c"+s3header.DefaultSuffix, "d", "d-e", "d"+s3header.DefaultSuffix)
	f := newBucket(objects)
	keys := slices.Sorted(maps.Keys(objects))
	slices.Reverse(keys)
	f.edit = func(out *s3.ListObjectsV2Output) {
		n := len(f.lists)
		out.Contents = []types.Object{{Key: &keys[n-1], Size: new(int64(1))}}
		out.EncodingType = ""
		out.IsTruncated = new(n < len(keys))
		out.NextContinuationToken = &keys[n-1]
	}
	seen := map[string]int{}
	for e, err := range List(t.Context(), f, &s3.ListObjectsV2Input{Bucket: aws.String("bucket")}, nil) {
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []*types.Object{e.Object, e.Header} {
			if o != nil {
				seen[*o.Key]++
			}
		}
	}
	if len(seen) != len(objects) {
		t.Errorf("%v of %q", seen, keys)
	}
}

// apartIn stores a detached stream of n bytes in the bucket and returns its
// header.
func apartIn(t *testing.T, f *fakeBucket, name string, n int) []byte {
	t.Helper()
	stored, header := encryptApart(t, plaintext(n), stream.EncryptOptions{Detached: true})
	f.objects[name] = stored
	return header
}

// Headers says of each object what it is, and needs no key for it.
func TestListHeaders(t *testing.T) {
	const n = 3*S + 5
	f := newBucket(map[string][]byte{
		"dir/cut":      encrypt(t, plaintext(n), known(n))[:4000],
		"dir/declared": encrypt(t, plaintext(n), known(n)),
		"dir/empty":    {},
		"dir/text":     bytes.Repeat([]byte("no stream"), 1000),
		"dir/unknown":  encrypt(t, plaintext(n), stream.EncryptOptions{CompactHeader: true, Context: keywrap.Context{"a": "b"}}),
		"dir/sub/more": {1},
	})
	many := stream.EncryptOptions{Context: keywrap.Context{"a": strings.Repeat("b", 20_000)}}
	f.objects["dir/large header"] = encrypt(t, plaintext(n), many)
	f.objects["dir/beside"+s3header.DefaultSuffix] = apartIn(t, f, "dir/beside", n)
	f.metadata["dir/metadata"] = map[string]string{s3header.Metadata: s3header.Encode(apartIn(t, f, "dir/metadata", n))}
	f.metadata["dir/bad metadata"] = map[string]string{s3header.Metadata: s3header.Encode(apartIn(t, f, "dir/bad metadata", n)) + "="}
	apartIn(t, f, "dir/lost", n)
	f.objects["dir/alone"+s3header.DefaultSuffix] = apartIn(t, f, "other", n)
	f.objects["dir/mixed"+s3header.DefaultSuffix] = apartIn(t, f, "dir/mixed", n)
	apartIn(t, f, "dir/mixed", n)
	f.objects["dir/more"+s3header.DefaultSuffix] = append(apartIn(t, f, "dir/more", n), 0)
	f.objects["dir/denied"] = []byte{1}
	f.objects["dir/stale"] = encrypt(t, plaintext(n), known(n))
	f.objects["dir/stale"+s3header.DefaultSuffix] = []byte("of another upload")
	f.fail = func(op, key string) error {
		if op == "get" && key == "dir/denied" {
			return statusError(http.StatusForbidden, "AccessDenied")
		}
		return nil
	}
	want := map[string]error{ // nil: a stream of n bytes
		"dir/bad metadata": format.ErrMalformed, "dir/beside": nil, "dir/cut": stream.ErrTruncated, "dir/declared": nil, "dir/empty": format.ErrNotStream,
		"dir/large header": nil, "dir/lost": ErrNoHeader, "dir/metadata": nil, "dir/mixed": stream.ErrAuth, "dir/more": format.ErrMalformed,
		"dir/stale": nil, "dir/text": format.ErrNotStream, "dir/unknown": nil,
	}
	in := &s3.ListObjectsV2Input{Bucket: aws.String("bucket"), Prefix: aws.String("dir/"), Delimiter: aws.String("/"), RequestPayer: types.RequestPayerRequester}
	found := 0
	for e, err := range List(t.Context(), f, in, &ListOptions{Headers: true}) {
		if err != nil {
			t.Fatal(err)
		}
		found++
		switch expected, ok := want[e.Key]; {
		case e.Key == "dir/alone":
			if e.Object != nil || e.Header == nil || e.Info != nil || e.Err != nil || e.PlaintextSize != format.UnknownSize {
				t.Errorf("%+v", e)
			}
		case e.Key == "dir/sub/":
			if e.Object != nil || e.Header != nil || e.Info != nil || e.Err != nil {
				t.Errorf("%+v", e)
			}
		case e.Key == "dir/denied":
			if !hasStatus(http.StatusForbidden)(e.Err) || e.Info != nil {
				t.Errorf("%+v", e)
			}
		case !ok || !errors.Is(e.Err, expected) || (expected == nil) != (e.Info != nil):
			t.Errorf("%s: %v, want %v", e.Key, e.Err, expected)
		case expected == nil && (e.PlaintextSize != n || len(e.Info.Keys) != 1):
			t.Errorf("%s: %d bytes, %+v", e.Key, e.PlaintextSize, e.Info)
		case expected != nil && (e.PlaintextSize != format.UnknownSize || !strings.Contains(e.Err.Error(), e.Key)):
			t.Errorf("%s: %d bytes, %v", e.Key, e.PlaintextSize, e.Err)
		}
	}
	if found != len(want)+3 {
		t.Errorf("%d entries", found)
	}
	asked := map[string]int{}
	for _, get := range f.gets {
		if asked[*get.Key]++; get.RequestPayer == "" {
			t.Errorf("%+v", get)
		}
	}
	for key, n := range map[string]int{
		"dir/declared": 1, "dir/large header": 2, "dir/metadata": 1, "dir/beside": 1, "dir/beside" + s3header.DefaultSuffix: 1,
		"dir/lost" + s3header.DefaultSuffix: 1, "dir/declared" + s3header.DefaultSuffix: 0, "dir/alone" + s3header.DefaultSuffix: 0,
	} {
		if asked[key] != n {
			t.Errorf("%s was asked for %d times, want %d", key, asked[key], n)
		}
	}
}

// Without the headers, sizes are guesses that are right of default streams.
func TestListGuess(t *testing.T) {
	defaults := stream.EncryptOptions{SegmentSize: 1 << format.DefaultSegmentExp}
	for _, n := range []int{0, 1, 65535, 65536, 65537, 200_000} {
		f := newBucket(map[string][]byte{"in": encrypt(t, plaintext(n), defaults), "x": make([]byte, 4097)})
		apart := defaults
		apart.Detached = true
		f.objects["beside"], f.objects["beside"+s3header.DefaultSuffix] = encryptApart(t, plaintext(n), apart)
		for e, err := range List(t.Context(), f, &s3.ListObjectsV2Input{Bucket: aws.String("bucket")}, nil) {
			want := int64(n)
			if e.Key == "x" {
				want = format.UnknownSize
			}
			if err != nil || e.PlaintextSize != want || e.Info != nil || e.Err != nil {
				t.Errorf("%d bytes: %+v, %v", n, e, err)
			}
		}
		if len(f.gets) != 0 {
			t.Errorf("%d objects were asked for", len(f.gets))
		}
	}
}

// Headers are read as many at a time as the options say, and no more than a few
// further ones when the caller has had enough.
func TestListConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stored := encrypt(t, plaintext(9), known(9))
		objects := map[string][]byte{}
		for i := range 900 {
			objects[fmt.Sprint(i)] = stored
		}
		for _, n := range []int{1, 3, 0} {
			f := newBucket(objects)
			f.delay = time.Second
			in := &s3.ListObjectsV2Input{Bucket: aws.String("bucket")}
			o := &ListOptions{Headers: true, Concurrency: n}
			seen := 0
			for e, err := range List(t.Context(), f, in, o) {
				if err != nil || e.Info == nil {
					t.Fatal(e, err)
				}
				if seen++; seen == 5 {
					break
				}
			}
			most := cmp.Or(n, defaultListConcurrency)
			if f.mostOpen != most || len(f.gets) > 8*most {
				t.Errorf("concurrency %d: %d at a time, %d for %d entries", n, f.mostOpen, len(f.gets), seen)
			}
		}
	})
}

func TestListEnds(t *testing.T) {
	objects := keysOf("a", "b", "c", "d", "e")
	in := &s3.ListObjectsV2Input{Bucket: aws.String("bucket"), Prefix: aws.String("")}
	failed := errors.New("failed")
	for name, c := range map[string]struct {
		fail func(f *fakeBucket) error
		want func(error) bool
		says string
	}{
		"any error":   {func(*fakeBucket) error { return failed }, func(err error) bool { return errors.Is(err, failed) }, `"s3://bucket/"`},
		"no bucket":   {func(*fakeBucket) error { return statusError(404, "NoSuchBucket") }, hasStatus(404), "no such bucket"},
		"denied":      {func(*fakeBucket) error { return statusError(403, "AccessDenied") }, hasStatus(403), "s3:ListBucket"},
		"second page": {func(f *fakeBucket) error { return map[bool]error{true: failed}[len(f.lists) == 2] }, func(err error) bool { return errors.Is(err, failed) }, "bucket"},
	} {
		f := newBucket(objects)
		f.page = 2
		f.fail = func(string, string) error { return c.fail(f) }
		entries, ended := 0, false
		for e, err := range List(t.Context(), f, in, nil) {
			if ended {
				t.Fatalf("%s: an entry behind the error", name)
			}
			if ended = err != nil; !ended {
				entries++
			} else if !c.want(err) || !strings.Contains(err.Error(), c.says) || e.Key != "" {
				t.Errorf("%s: %+v, %v", name, e, err)
			}
		}
		if !ended || (name == "second page") != (entries > 0) {
			t.Errorf("%s: %d entries, then an error: %t", name, entries, ended)
		}
	}
	// A listing that goes on and does not say where.
	for name, token := range map[string]*string{"none": nil, "empty": new(""), "the same": new("t")} {
		f := newBucket(objects)
		f.edit = func(out *s3.ListObjectsV2Output) { out.IsTruncated, out.NextContinuationToken = new(true), token }
		var last error
		for _, err := range List(t.Context(), f, in, nil) {
			last = err
		}
		if last == nil || !strings.Contains(last.Error(), "incomplete") || len(f.lists) > 2 {
			t.Errorf("token %s: %v after %d requests", name, last, len(f.lists))
		}
	}
	// The context ends the list, also while headers are read.
	for _, headers := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f := newBucket(objects)
		var last error
		entries := 0
		for _, err := range List(ctx, f, in, &ListOptions{Headers: headers}) {
			cancel()
			entries++
			last = err
		}
		if !errors.Is(last, context.Canceled) || entries != 2 {
			t.Errorf("headers %t: %v after %d entries", headers, last, entries)
		}
	}
	// A list can be asked for again.
	f := newBucket(objects)
	list := List(t.Context(), f, in, nil)
	for range 2 {
		n := 0
		for range list {
			n++
		}
		if n != len(objects) {
			t.Errorf("%d entries", n)
		}
	}
}

func TestListInput(t *testing.T) {
	f := newBucket(keysOf("a"))
	for name, c := range map[string]struct {
		in *s3.ListObjectsV2Input
		o  *ListOptions
	}{
		"nil":         {nil, nil},
		"no bucket":   {&s3.ListObjectsV2Input{}, nil},
		"token":       {&s3.ListObjectsV2Input{Bucket: aws.String("bucket"), ContinuationToken: aws.String("t")}, nil},
		"concurrency": {&s3.ListObjectsV2Input{Bucket: aws.String("bucket")}, &ListOptions{Concurrency: -1}},
	} {
		for e, err := range List(t.Context(), f, c.in, c.o) {
			if err == nil || !strings.HasPrefix(err.Error(), "s3download: ") {
				t.Errorf("%s: %+v, %v", name, e, err)
			}
		}
	}
	if len(f.lists) != 0 {
		t.Errorf("%d requests", len(f.lists))
	}
}

// Keys of elsewhere, of no name, and without a value are nobody's.
func TestListStrangeKeys(t *testing.T) {
	f := newBucket(keysOf("dir/a"))
	f.edit = func(out *s3.ListObjectsV2Output) {
		out.Contents = append(out.Contents, types.Object{Key: aws.String("elsewhere/x")}, types.Object{}, types.Object{Key: aws.String("dir/%zz")})
		out.CommonPrefixes = append(out.CommonPrefixes, types.CommonPrefix{}, types.CommonPrefix{Prefix: aws.String("other/")})
	}
	if got := f.listAll(t, &s3.ListObjectsV2Input{Prefix: aws.String("dir/")}, nil); !slices.Equal(got, []line{{"dir/a", true, false}}) {
		t.Errorf("%v", got)
	}
}
