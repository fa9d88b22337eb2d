package s3upload

import (
	"errors"
	"slices"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bulla-format/bulla/format"
)

// TestDelete deletes streams with headers in all places, and lets each request
// fail in turn: no payload is ever without its header, and the same call made
// again finishes.
func TestDelete(t *testing.T) {
	for _, place := range places {
		for _, lost := range []bool{false, true} {
			for k := 1; ; k++ {
				f := newShelf()
				f.store(t, place, []byte("text"), nil)
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
				err := Delete(t.Context(), f, rewrapInput(), "")
				if failed == "" {
					if err != nil || len(f.objects) > 0 || k < 3 {
						t.Errorf("%s: %v, %d objects left after %v", place, err, len(f.objects), f.calls)
					}
					break
				}
				if done := lost && failed == opDelete; done != (err == nil) || !done && !errors.Is(err, errCall) {
					t.Errorf("%s, %s fails: %v", place, failed, err)
				}
				if f.objects[rewrapName] != nil {
					f.opens(t, testKey, []byte("text"))
				}
				if err := Delete(t.Context(), f, rewrapInput(), ""); err != nil || len(f.objects) > 0 {
					t.Errorf("%s, after a failure of %s: %v, %d objects left", place, failed, err, len(f.objects))
				}
			}
		}
	}
}

// TestDeleteAnsweredAgain has the SDK's first attempt delete an object, its
// answer lost, and the next one not find it: that is no failure.
func TestDeleteAnsweredAgain(t *testing.T) {
	for _, place := range places {
		for _, again := range []error{answer(412, "PreconditionFailed"), answer(404, "NoSuchKey")} {
			f := newShelf()
			f.store(t, place, []byte("text"), nil)
			f.after = func(_ int, op string) error {
				if op == opDelete {
					return again
				}
				return nil
			}
			if err := Delete(t.Context(), f, rewrapInput(), ""); err != nil || len(f.objects) > 0 {
				t.Errorf("%s, %v: %v, %d objects left after %v", place, again, err, len(f.objects), f.calls)
			}
		}
	}
}

// TestDeleteInVersionedBucket checks that what is deleted stays as a version.
func TestDeleteInVersionedBucket(t *testing.T) {
	f := newShelf()
	f.versioned = true
	f.store(t, besideIt, []byte("text"), nil)
	if err := Delete(t.Context(), f, rewrapInput(), ""); err != nil {
		t.Fatal(err)
	}
	deleted := 0
	for _, in := range f.inputs {
		if d, ok := in.(*s3.DeleteObjectInput); ok {
			if deleted++; d.VersionId != nil || d.IfMatch == nil {
				t.Errorf("%s: version %v, condition %v", *d.Key, d.VersionId, d.IfMatch)
			}
		}
	}
	if deleted != 2 {
		t.Errorf("calls %v", f.calls)
	}
}

// TestDeleteOfADamagedHeader deletes a payload's own header whatever stands
// behind its prelude.
func TestDeleteOfADamagedHeader(t *testing.T) {
	f := newShelf()
	f.store(t, besideIt, []byte("text"), nil)
	clear(f.objects[besideName].data[format.PreludeSize:])
	if err := Delete(t.Context(), f, rewrapInput(), ""); err != nil || len(f.objects) > 0 {
		t.Errorf("%v, %d objects left", err, len(f.objects))
	}
}

// TestDeleteLeavesOthersAlone checks what is not deleted.
func TestDeleteLeavesOthersAlone(t *testing.T) {
	f := newShelf()
	f.put(rewrapName, &shelved{data: make([]byte, 5000)})
	if err := Delete(t.Context(), f, rewrapInput(), ""); !errors.Is(err, format.ErrNotStream) || len(f.objects) != 1 {
		t.Errorf("no stream: %v", err)
	}
	for _, data := range [][]byte{nil, []byte("text"), make([]byte, 5000), make([]byte, 100_000)} {
		f = newShelf()
		f.put(besideName, &shelved{data: data})
		if err := Delete(t.Context(), f, rewrapInput(), ""); err != nil || len(f.objects) != 1 {
			t.Errorf("%d bytes that are no header: %v", len(data), err)
		}
	}
	for k := 2; k <= 4; k++ { // another pair comes before the k-th request
		f = newShelf()
		f.store(t, besideIt, []byte("text"), nil)
		f.before = func(call int, _ string) error {
			if call == k {
				f.store(t, besideIt, []byte("another"), nil)
			}
			return nil
		}
		if err := Delete(t.Context(), f, rewrapInput(), ""); (err != nil && !errors.Is(err, ErrChanged)) || k == 2 && err == nil {
			t.Errorf("before request %d: %v", k, err)
		}
		f.opens(t, testKey, []byte("another"))
	}
	f = newShelf()
	f.store(t, besideIt, []byte("text"), nil)
	if err := Delete(t.Context(), f, &s3.GetObjectInput{Bucket: aws.String("bucket"), Key: aws.String("dir/key"), VersionId: aws.String("v")}, ""); !errors.Is(err, ErrInput) || len(f.calls) > 0 {
		t.Errorf("a version: %v", err)
	}
	if err := Delete(t.Context(), f, nil, ""); !errors.Is(err, ErrInput) {
		t.Errorf("nothing: %v", err)
	}
	if err := Delete(t.Context(), f, rewrapInput(), ".other"); err != nil || f.objects[besideName] == nil || slices.Contains(f.calls, opPut) {
		t.Errorf("another suffix: %v", err)
	}
}
