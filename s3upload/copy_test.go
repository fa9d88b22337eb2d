package s3upload

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

const (
	copyBucket = "bucket-2"
	copyKey    = "copy"
	copyName   = copyBucket + "/" + copyKey
)

// copyAway copies the shelf's object with short pauses.
func copyAway(t *testing.T, f *shelf, old keywrap.Unwrapper, new keywrap.Wrapper) (*RewrapResult, error) {
	t.Helper()
	return Copy(t.Context(), f, rewrapInput(), copyBucket, copyKey, old, new, &RewrapOptions{AbortTimeout: time.Second, Concurrency: 1})
}

// TestCopy copies streams with headers in all places, bound to their location
// and not, for the same keys and for others.
func TestCopy(t *testing.T) {
	other := newKey(t, "else", 9)
	for _, c := range rewrapCases {
		for _, bound := range []bool{false, true} {
			for _, key := range []*keywrap.AESKey{nil, other} {
				t.Run(fmt.Sprintf("%v/%v/%v", c, bound, key != nil), func(t *testing.T) {
					f := newShelf()
					o := &stream.EncryptOptions{}
					if bound {
						o.Location = "s3://" + rewrapName
					}
					f.store(t, c.place, pattern(c.size), o)
					before := *f.objects[rewrapName]
					var old keywrap.Unwrapper
					var wrapper keywrap.Wrapper
					reader := testKey
					if key != nil {
						wrapper, reader = key, key
					}
					if bound || key != nil {
						if _, err := copyAway(t, f, nil, wrapper); !errors.Is(err, keywrap.ErrNoMatch) {
							t.Errorf("without a key: %v", err)
						}
						old = testKey
					}
					f.calls, f.sent, f.read = nil, 0, 0
					res, err := copyAway(t, f, old, wrapper)
					if err != nil {
						t.Fatal(err)
					}
					f.clean(t)
					if got, err := f.decrypt(t, copyName, reader); err != nil || !bytes.Equal(got, pattern(c.size)) {
						t.Errorf("the copy: %d bytes, %v", len(got), err)
					}
					f.opens(t, testKey, pattern(c.size))
					copied := f.objects[copyName]
					if f.objects[rewrapName].etag != before.etag || res.ETag != copied.etag || res.Key != copyKey || res.Unchanged || res.StoredSize != copied.size {
						t.Errorf("%+v; the original was %s, is %s; the copy is %s", res, before.etag, f.objects[rewrapName].etag, copied.etag)
					}
					if *copied.head.ContentType != "text/x-test" || len(copied.tags) != 1 {
						t.Errorf("properties %+v, tags %v", copied.head, copied.tags)
					}
					if whole := !bound && key == nil && c.place != besideIt; whole && (f.sent != 0 || f.calls[len(f.calls)-1] != opCopy) {
						t.Errorf("%d bytes sent by %v", f.sent, f.calls)
					}
					count := f.count
					if res, err = copyAway(t, f, old, wrapper); err != nil || !res.Unchanged || res.ETag != copied.etag || f.count != count {
						t.Errorf("the second time: %+v, %v", res, err)
					}
				})
			}
		}
	}
}

// TestCopyLeavesOthersAlone checks that what stands where a copy, or its
// header, would go stays.
func TestCopyLeavesOthersAlone(t *testing.T) {
	for _, c := range rewrapCases {
		for _, data := range []string{"", "something else"} {
			for _, name := range []string{copyName, copyName + DefaultHeaderSuffix} {
				for _, late := range []bool{false, true} { // it appears when it has been looked for
					if c.place != besideIt && name != copyName {
						continue
					}
					f := newShelf()
					f.store(t, c.place, pattern(c.size), nil)
					appear := func() { f.put(name, &shelved{data: []byte(data)}) }
					if !late {
						appear()
					}
					f.before = func(_ int, op string) error {
						if late && (op == opPut && name != copyName || op == opCopy && name == copyName || op == opComplete) {
							appear()
						}
						return nil
					}
					_, err := copyAway(t, f, testKey, newKey(t, "else", 9))
					if late && f.objects[name] == nil { // a way without that request
						continue
					}
					if late && c.place == inObject && c.size == 1000 {
						continue // TestRewrapRace has the same request
					}
					if !errors.Is(err, ErrExists) {
						t.Errorf("%v, %s, late %v: %v", c, name, late, err)
					}
					if string(f.objects[name].data) != data {
						t.Errorf("%v: %s was replaced", c, name)
					}
					for other := range f.objects {
						if strings.HasPrefix(other, copyName) && other != name {
							t.Errorf("%v: %s is left", c, other)
						}
					}
					f.clean(t)
				}
			}
		}
	}
}

// TestCopyCallFaults lets the k-th request fail, for every k, before and after
// it has had its effect: there is a whole copy or none, and the original.
func TestCopyCallFaults(t *testing.T) {
	for _, c := range rewrapCases {
		for _, versioned := range []bool{false, true} {
			for _, lost := range []bool{false, true} {
				if testing.Short() && versioned != lost {
					continue
				}
				for k := 1; ; k++ {
					f := newShelf()
					f.versioned = versioned
					f.store(t, c.place, pattern(c.size), &stream.EncryptOptions{Location: "s3://" + rewrapName})
					failed := ""
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
					_, err := copyAway(t, f, testKey, nil)
					if failed == "" {
						if err != nil {
							t.Errorf("%v: %v after %v", c, err, f.calls)
						}
						if k <= len(f.calls) { // one that found nothing has no answer to lose
							continue
						}
						break
					}
					f.opens(t, testKey, pattern(c.size))
					if err == nil {
						if got, err := f.decrypt(t, copyName, testKey); err != nil || !bytes.Equal(got, pattern(c.size)) {
							t.Errorf("%v, %s: %d bytes, %v", c, failed, len(got), err)
						}
						continue
					}
					if !errors.Is(err, errCall) {
						t.Errorf("%v, %s: %v", c, failed, err)
					}
					if e, ok := errors.AsType[*UploadError](err); ok && e.MayBeStored {
						if c.place == besideIt && e.Key == copyKey && f.objects[copyName+DefaultHeaderSuffix] == nil {
							t.Errorf("%v, %s: the header of a payload that may be stored is gone", c, failed)
						}
						continue
					}
					for name := range f.objects {
						if strings.HasPrefix(name, copyName) {
							t.Errorf("%v, %s fails: %s is left after %v", c, failed, name, f.calls)
						}
					}
				}
			}
		}
	}
}

// TestCopyKeepsAHeaderThatWasThere checks that a copy that fails takes back no
// header that it found.
func TestCopyKeepsAHeaderThatWasThere(t *testing.T) {
	f := newShelf()
	f.store(t, besideIt, []byte("text"), nil)
	f.put(copyName+DefaultHeaderSuffix, &shelved{data: f.objects[besideName].data})
	f.before = func(_ int, op string) error {
		if op == opCopy {
			return answer(403, "AccessDenied")
		}
		return nil
	}
	if _, err := copyAway(t, f, nil, nil); err == nil || f.objects[copyName+DefaultHeaderSuffix] == nil {
		t.Errorf("error %v", err)
	}
}

// TestCopyTakesBackOnlyItsOwn has another header in the place of the one that
// is to be taken back.
func TestCopyTakesBackOnlyItsOwn(t *testing.T) {
	for _, versioned := range []bool{false, true} {
		f := newShelf()
		f.versioned = versioned
		f.store(t, besideIt, []byte("text"), nil)
		f.before = func(_ int, op string) error {
			if op == opCopy {
				f.put(copyName+DefaultHeaderSuffix, &shelved{data: []byte("another")})
				return answer(403, "AccessDenied")
			}
			return nil
		}
		_, err := copyAway(t, f, nil, nil)
		if e, ok := errors.AsType[*UploadError](err); !ok || f.objects[copyName+DefaultHeaderSuffix] == nil || (e.HeaderErr == nil) != versioned {
			t.Errorf("versions %v: %#v", versioned, err)
		}
	}
}

// TestCopyTakesBackOnce has the SDK's first attempt take back the header, its
// answer lost, and the next one refused: that is no failure.
func TestCopyTakesBackOnce(t *testing.T) {
	f := newShelf()
	f.store(t, besideIt, []byte("text"), nil)
	f.before = func(_ int, op string) error {
		if op == opCopy {
			return answer(403, "AccessDenied")
		}
		return nil
	}
	f.after = func(_ int, op string) error {
		if op == opDelete {
			return answer(412, "PreconditionFailed")
		}
		return nil
	}
	_, err := copyAway(t, f, nil, nil)
	if e, ok := errors.AsType[*UploadError](err); !ok || e.HeaderErr != nil || f.objects[copyName+DefaultHeaderSuffix] != nil {
		t.Errorf("%#v", err)
	}
}

// TestCopyToWhereNothingCanBeRead checks that who may write and not read
// copies, and that other refusals are errors.
func TestCopyToWhereNothingCanBeRead(t *testing.T) {
	for code, passes := range map[string]bool{"AccessDenied": true, "ExpiredToken": false, "RequestTimeTooSkewed": false} {
		f := newShelf()
		f.store(t, inObject, []byte("text"), nil)
		f.before = func(_ int, op string) error {
			if op == opGet && *f.inputs[len(f.inputs)-1].(*s3.GetObjectInput).Bucket == copyBucket {
				return answer(403, code)
			}
			return nil
		}
		_, err := copyAway(t, f, nil, nil)
		if passes != (err == nil) || passes != (f.objects[copyName] != nil) {
			t.Errorf("%s: %v after %v", code, err, f.calls)
		}
	}
}

// TestCopyOfAnOldVersion copies a version that is not the current one.
func TestCopyOfAnOldVersion(t *testing.T) {
	for _, c := range rewrapCases {
		f := newShelf()
		f.versioned = true
		f.store(t, c.place, pattern(c.size), nil)
		in := rewrapInput()
		in.VersionId = aws.String(f.objects[rewrapName].version)
		if c.place == besideIt { // where only the payload has a newer version
			f.put(rewrapName, &shelved{data: []byte("later")})
		} else {
			f.store(t, c.place, []byte("later"), nil)
		}
		if _, err := Copy(t.Context(), f, in, copyBucket, copyKey, testKey, newKey(t, "else", 9), nil); err != nil {
			t.Errorf("%v: %v", c, err)
			continue
		}
		if got, err := f.decrypt(t, copyName, newKey(t, "else", 9)); err != nil || !bytes.Equal(got, pattern(c.size)) {
			t.Errorf("%v: %d bytes, %v", c, len(got), err)
		}
	}
}

// TestCopyOfMixedKeys copies a stream for a post-quantum key and for one that is
// not: who let that in when the stream was made need not do so again.
func TestCopyOfMixedKeys(t *testing.T) {
	safe, err := keywrap.GenerateHPKEKey("safe", 0)
	if err != nil {
		t.Fatal(err)
	}
	classical, err := keywrap.GenerateRSAKey("classical", 2048)
	if err != nil {
		t.Fatal(err)
	}
	f := newShelf()
	f.keys = keywrap.Multi(safe.PublicKey(), classical.PublicKey())
	f.store(t, inObject, []byte("text"), &stream.EncryptOptions{Location: "s3://" + rewrapName, ClassicalKeys: []string{"classical"}})
	if _, err := copyAway(t, f, safe, nil); err != nil {
		t.Fatal(err)
	}
	if got, err := f.decrypt(t, copyName, classical); err != nil || string(got) != "text" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestCopyIsNotACutOne checks that an object that begins like the copy, and is
// not the copy, is not taken for it.
func TestCopyIsNotACutOne(t *testing.T) {
	f := newShelf()
	f.store(t, inObject, pattern(200_000), nil)
	f.put(copyName, &shelved{data: f.objects[rewrapName].data[:150_000]})
	if _, err := copyAway(t, f, nil, nil); !errors.Is(err, ErrExists) || f.objects[copyName].size != 150_000 {
		t.Errorf("error %v", err)
	}
}

// TestMove moves streams with headers in all places, and lets each request fail
// in turn: there is always a whole original or a whole copy, and the same call,
// or Delete where the payload is gone, finishes.
func TestMove(t *testing.T) {
	move := func(f *shelf) (*RewrapResult, error) {
		return Move(t.Context(), f, rewrapInput(), copyBucket, copyKey, testKey, nil, &RewrapOptions{AbortTimeout: time.Second, Concurrency: 1})
	}
	for _, c := range rewrapCases {
		for k := 1; ; k++ {
			f := newShelf()
			f.store(t, c.place, pattern(c.size), &stream.EncryptOptions{Location: "s3://" + rewrapName})
			failed := ""
			f.before = func(call int, op string) error {
				if call == k {
					failed = op
					return errCall
				}
				return nil
			}
			res, err := move(f)
			if err != nil && (res != nil) != (failed == opDelete && f.objects[copyName] != nil) {
				t.Errorf("%v, %s fails: %+v, %v", c, failed, res, err)
			}
			if f.objects[rewrapName] != nil {
				f.opens(t, testKey, pattern(c.size))
				_, err = move(f)
			} else if err != nil {
				err = Delete(t.Context(), f, rewrapInput(), "")
			}
			if err != nil || f.objects[rewrapName] != nil || f.objects[besideName] != nil {
				t.Errorf("%v, after a failure of %s: %v; %d objects after %v", c, failed, err, len(f.objects), f.calls)
			}
			if got, err := f.decrypt(t, copyName, testKey); err != nil || !bytes.Equal(got, pattern(c.size)) {
				t.Errorf("%v, after a failure of %s: %d bytes, %v", c, failed, len(got), err)
			}
			if failed == "" {
				break
			}
		}
	}
	f := newShelf() // a newer original stays
	f.store(t, inObject, []byte("text"), nil)
	f.before = func(_ int, op string) error {
		if op == opDelete {
			f.store(t, inObject, []byte("later"), nil)
		}
		return nil
	}
	if res, err := move(f); !errors.Is(err, ErrChanged) || res == nil {
		t.Errorf("%+v, %v", res, err)
	}
	f.opens(t, testKey, []byte("later"))
	in := rewrapInput()
	in.VersionId = aws.String("v")
	if _, err := Move(t.Context(), f, in, copyBucket, copyKey, testKey, nil, nil); !errors.Is(err, ErrInput) {
		t.Errorf("a version: %v", err)
	}
}

func TestCopyInput(t *testing.T) {
	for _, place := range [][2]string{{"", "k"}, {"b", ""}, {"bucket", "dir/key"}} {
		f := newShelf()
		f.store(t, inObject, []byte("text"), nil)
		if _, err := Copy(t.Context(), f, rewrapInput(), place[0], place[1], nil, nil, nil); !errors.Is(err, ErrInput) {
			t.Errorf("%q: %v", place, err)
		}
	}
	f := newShelf()
	f.store(t, inObject, []byte("text"), &stream.EncryptOptions{Location: "s3://bucket/elsewhere"})
	if _, err := copyAway(t, f, testKey, nil); !errors.Is(err, stream.ErrPolicy) {
		t.Errorf("bound elsewhere: %v", err)
	}
	in := rewrapInput()
	in.ExpectedBucketOwner = aws.String("owner")
	f = newShelf()
	f.store(t, inObject, []byte("text"), nil)
	if _, err := Copy(t.Context(), f, in, copyBucket, copyKey, nil, nil, nil); err != nil {
		t.Fatal(err)
	}
	last := f.inputs[len(f.inputs)-1].(*s3.CopyObjectInput)
	if last.ExpectedBucketOwner != nil || aws.ToString(last.ExpectedSourceBucketOwner) != "owner" {
		t.Errorf("owners %v, %v", last.ExpectedBucketOwner, last.ExpectedSourceBucketOwner)
	}
}
