package s3upload

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/bulla-format/bulla/format"
)

// stood are the pairs that may stand where an upload goes.
var stood = map[string][]byte{"nothing": nil, "an older pair": []byte("the plaintext from before")}

// pairWith returns a fake in which a pair of plaintext stands, if that is not nil.
func pairWith(t *testing.T, versions bool, plaintext []byte) *pairFake {
	t.Helper()
	f := newPairFake(versions)
	if plaintext == nil {
		return f
	}
	if _, err := New(f, testKey, &beside).Upload(t.Context(), putInput(bytes.NewReader(plaintext))); err != nil {
		t.Fatal(err)
	}
	f.calls, f.inputs = nil, nil
	return f
}

// checkPair fails the test unless what is left after e is the pair that stood
// there before, or if e says so the new one: never two halves, unless e tells.
func checkPair(t *testing.T, f *pairFake, e *UploadError, old, new []byte) {
	t.Helper()
	payload, header := f.objects[payloadName], f.objects[headerName]
	for id := range f.uploads {
		if e.AbortErr == nil && e.UploadID != "" {
			t.Errorf("upload %s is left", id)
		}
	}
	whole := payload != nil && header != nil && bytes.HasPrefix(payload, header[:format.PreludeSize])
	isNew := f.isNew
	switch {
	case e.HeaderErr != nil:
		if !strings.Contains(e.Error(), strconv.Quote("dir/key"+DefaultHeaderSuffix)) || !strings.Contains(e.Error(), e.HeaderErr.Error()) {
			t.Errorf("the error does not name the header object: %v", e)
		}
	case payload == nil:
		if header != nil || old != nil {
			t.Errorf("no payload; a header: %t; %v", header != nil, e)
		}
	case !whole:
		t.Errorf("halves of two pairs are left: %v", e)
	case isNew(payload, old):
		if !e.MayBeStored {
			t.Errorf("the new pair is stored, and the error does not say so: %v", e)
		}
		reads(t, payload, header, new)
	default:
		if e.MayBeStored {
			t.Errorf("the old pair is stored, and the error says that the new one may be: %v", e)
		}
		reads(t, payload, header, old)
	}
}

// isNew tells whether a payload is not that of the older plaintext.
func (f *pairFake) isNew(payload, old []byte) bool {
	return old == nil || len(payload) != format.PreludeSize+format.SegmentOverhead+len(old)
}

// TestPairFaults lets the k-th request fail, or its answer be lost, or all
// requests from the k-th on: what is left is one of the two pairs, or nothing,
// and where that cannot be, the error says so.
func TestPairFaults(t *testing.T) {
	modes := map[string]func(f *pairFake, k int, failed *string){
		"fails": func(f *pairFake, k int, failed *string) {
			f.before = func(_ context.Context, call int, op string) error {
				if call == k {
					*failed = op
					return errCall
				}
				return nil
			}
		},
		"refused": func(f *pairFake, k int, failed *string) {
			f.before = func(_ context.Context, call int, op string) error {
				if call == k {
					*failed = op
					return answer(http.StatusForbidden, "AccessDenied")
				}
				return nil
			}
		},
		"answer lost": func(f *pairFake, k int, failed *string) {
			f.after = func(_ context.Context, call int, op string) error {
				if call == k {
					*failed = op
					return errCall
				}
				return nil
			}
		},
		"all fail": func(f *pairFake, k int, failed *string) {
			f.before = func(_ context.Context, call int, op string) error {
				if call >= k {
					*failed = op
					return errCall
				}
				return nil
			}
		},
	}
	for mode, fault := range modes {
		for before, old := range stood {
			for _, versions := range []bool{false, true} {
				for _, size := range []int{1000, minPartSize + 1000} {
					if testing.Short() && size > 1000 && !versions {
						continue
					}
					for k := 1; k <= 7; k++ {
						t.Run(fmt.Sprintf("%s/%s/versions %t/%d/%d", mode, before, versions, size, k), func(t *testing.T) {
							f := pairWith(t, versions, old)
							var failed string
							fault(f, k, &failed)
							_, err := New(f, testKey, pairOptions()).Upload(t.Context(), putInput(bytes.NewReader(pattern(size))))
							f.before, f.after = nil, nil
							if failed == "" || err == nil && mode == "refused" && failed == opGet {
								if err != nil {
									t.Fatal(err)
								}
								reads(t, f.objects[payloadName], f.objects[headerName], pattern(size))
								return
							}
							e, ok := errors.AsType[*UploadError](err)
							if !ok {
								t.Fatalf("%v after %v", err, f.calls)
							}
							if e.HeaderErr != nil && mode != "all fail" {
								t.Errorf("one fault, at %s, and the header was not taken back: %v", failed, e)
							}
							checkPair(t, f, e, old, pattern(size))
						})
					}
				}
			}
		}
	}
}

// TestTakingBackFails lets the payload be refused and each request after that
// fail, in turn, or only its answer be lost: what was done is no failure.
func TestTakingBackFails(t *testing.T) {
	for before, old := range stood {
		for _, versions := range []bool{false, true} {
			for _, final := range []error{answer(http.StatusForbidden, "AccessDenied"), errCall} {
				for _, lost := range []error{nil, errCall, answer(http.StatusPreconditionFailed, "PreconditionFailed")} {
					for k := 4; k <= 7; k++ {
						f := pairWith(t, versions, old)
						failed := ""
						f.before = func(_ context.Context, call int, op string) error {
							switch {
							case call == 3:
								return final
							case call == k && lost == nil:
								failed = op
								return errors.New("not now")
							}
							return nil
						}
						f.after = func(_ context.Context, call int, op string) error {
							if call == k && lost != nil {
								failed = op
								return lost
							}
							return nil
						}
						e := uploadFailsIn(t, f, pairOptions(), putInput(strings.NewReader("new")))
						if want := failed == opGet || failed != "" && lost == nil; want != (e.HeaderErr != nil) || !errors.Is(e, final) {
							t.Errorf("%s, versions %t, request %d, %s, fails, lost %v: %v after %v", before, versions, k, failed, lost, e, f.calls)
						}
						f.before, f.after = nil, nil
						checkPair(t, f, e, old, []byte("new"))
					}
				}
			}
		}
	}
}

// TestPairReadsAgain lets the bodies of the header that stood there break off:
// it is asked for again, as often as a read is tried.
func TestPairReadsAgain(t *testing.T) {
	old := stood["an older pair"]
	for n := range readAttempts + 2 {
		f := pairWith(t, false, old)
		f.breaks = n
		_, err := New(f, testKey, pairOptions()).Upload(t.Context(), putInput(strings.NewReader("new")))
		if calls := f.count(opGet); calls != min(n+1, readAttempts) || (err == nil) != (n < readAttempts) {
			t.Errorf("%d bodies break off: %v after %d requests", n, err, calls)
		}
		if err == nil {
			reads(t, f.objects[payloadName], f.objects[headerName], []byte("new"))
			continue
		}
		e, ok := errors.AsType[*UploadError](err)
		if !ok || !errors.Is(err, io.ErrUnexpectedEOF) || f.count(opPut) != 0 {
			t.Fatalf("%v after %v", err, f.calls)
		}
		checkPair(t, f, e, old, nil)
	}
	// Also when the header is taken back.
	f := pairWith(t, false, old)
	f.before = func(_ context.Context, k int, _ string) error {
		if k == 3 {
			f.breaks = readAttempts - 1
			return answer(http.StatusForbidden, "AccessDenied")
		}
		return nil
	}
	e := uploadFailsIn(t, f, pairOptions(), putInput(strings.NewReader("new")))
	if e.HeaderErr != nil {
		t.Error(e)
	}
	checkPair(t, f, e, old, nil)
}

// TestPairNotReadable has the store answer in all ways to the read of the header
// that stood there: only those of who may write are passed over.
func TestPairNotReadable(t *testing.T) {
	for code, no := range map[string]struct {
		status int
		passes bool
	}{
		"AccessDenied":          {403, true},
		"InvalidRequest":        {400, true},
		"ExpiredToken":          {403, false},
		"RequestTimeTooSkewed":  {403, false},
		"SignatureDoesNotMatch": {403, false},
		"InvalidAccessKeyId":    {403, false},
		"InvalidObjectState":    {403, false},
		"InvalidArgument":       {400, false},
		"TokenRefreshRequired":  {400, false},
		"":                      {403, false},
	} {
		f := pairWith(t, false, stood["an older pair"])
		f.before = func(_ context.Context, _ int, op string) error {
			if op == opGet {
				return answer(no.status, code)
			}
			return nil
		}
		_, err := New(f, testKey, pairOptions()).Upload(t.Context(), putInput(strings.NewReader("new")))
		if no.passes != (err == nil) {
			t.Errorf("%s: %v", code, err)
		}
		if !no.passes && (statusOf(err) != no.status || f.count(opPut) != 0) {
			t.Errorf("%s: %v after %v", code, err, f.calls)
		}
	}
}

// answerTo is an answer to the given attempt of the SDK's.
func answerTo(attempt string, status int, code string) error {
	err := answer(status, code)
	r, _ := errors.AsType[*smithyhttp.ResponseError](err)
	r.Response.Request = &http.Request{Header: http.Header{"Amz-Sdk-Request": {attempt}}}
	return err
}

// TestPairRefusedAgain has the SDK's first attempt store the payload, its answer
// lost, and the next one refused: the header stays.
func TestPairRefusedAgain(t *testing.T) {
	for before, old := range stood {
		for _, no := range []error{answer(http.StatusPreconditionFailed, "PreconditionFailed"), answerTo("attempt=2; max=3", http.StatusForbidden, "ExpiredToken")} {
			for _, lost := range []bool{true, false} {
				for _, size := range []int{1000, minPartSize + 1000} {
					f := pairWith(t, false, old)
					refuse := func(_ context.Context, _ int, op string) error {
						if op == opComplete || op == opPut && size < minPartSize && f.count(opPut) == 2 {
							return no
						}
						return nil
					}
					if lost {
						f.after = refuse
					} else {
						f.before = refuse
					}
					e := uploadFailsIn(t, f, pairOptions(), putInput(bytes.NewReader(pattern(size))))
					f.before, f.after = nil, nil
					if e.MayBeStored != lost || e.HeaderErr != nil {
						t.Errorf("%s, %d bytes, %v, lost %t: %v after %v", before, size, no, lost, e, f.calls)
					}
					checkPair(t, f, e, old, pattern(size))
				}
			}
		}
	}
	for attempt, want := range map[string]bool{"": false, "attempt=1; max=3": false, "attempt=2; max=3": true, "attempt=10; max=20": true} {
		if again := retried(fmt.Errorf("wrapped: %w", answerTo(attempt, 412, "PreconditionFailed"))); again != want {
			t.Errorf("%q: %t", attempt, again)
		}
	}
}

func uploadFailsIn(t *testing.T, f *pairFake, o *Options, in *s3.PutObjectInput) *UploadError {
	t.Helper()
	_, err := New(f, testKey, o).Upload(t.Context(), in)
	e, ok := errors.AsType[*UploadError](err)
	if !ok {
		t.Fatalf("%v after %v", err, f.calls)
	}
	return e
}

// TestPairCancelled cancels the context in the middle of the k-th request.
func TestPairCancelled(t *testing.T) {
	for before, old := range stood {
		for _, size := range []int{1000, minPartSize + 1000} {
			for k := 1; k <= 6; k++ {
				f := pairWith(t, false, old)
				ctx, cancel := context.WithCancel(t.Context())
				var during string
				f.before = func(_ context.Context, call int, op string) error {
					if call == k {
						during = op
						cancel()
					}
					return nil
				}
				_, err := New(f, testKey, pairOptions()).Upload(ctx, putInput(bytes.NewReader(pattern(size))))
				cancel()
				f.before = nil
				if err == nil {
					reads(t, f.objects[payloadName], f.objects[headerName], pattern(size))
					continue
				}
				e, ok := errors.AsType[*UploadError](err)
				if !ok || !errors.Is(err, context.Canceled) || e.HeaderErr != nil {
					t.Errorf("%s, cancelled during %s: %v", before, during, err)
					continue
				}
				checkPair(t, f, e, old, pattern(size))
			}
		}
	}
}

// TestPairIfNoneMatch checks that the condition keeps both objects from being
// replaced, and makes what failed go away without a look at what stood before.
func TestPairIfNoneMatch(t *testing.T) {
	old := stood["an older pair"]
	f := pairWith(t, false, old)
	in := putInput(strings.NewReader("new"))
	in.IfNoneMatch = aws.String("*")
	e := uploadFailsIn(t, f, pairOptions(), in)
	if !errors.Is(e, e.Err) || statusOf(e.Err) != http.StatusPreconditionFailed || e.HeaderErr != nil || e.MayBeStored {
		t.Errorf("%+v", e)
	}
	checkPair(t, f, e, old, nil)
	// The header is gone, and the payload is not: as before, and no new header.
	delete(f.objects, headerName)
	e = uploadFailsIn(t, f, pairOptions(), in)
	if f.objects[headerName] != nil || e.HeaderErr != nil || e.HeaderKey == "" {
		t.Errorf("%+v", e)
	}
	// Neither is there.
	f = newPairFake(false)
	in.Body = strings.NewReader("new")
	if _, err := New(f, testKey, pairOptions()).Upload(t.Context(), in); err != nil || f.count(opGet) != 0 {
		t.Errorf("%v after %v", err, f.calls)
	}
	reads(t, f.objects[payloadName], f.objects[headerName], []byte("new"))
	// The answer to the header is lost, and the SDK's next attempt meets it.
	f = newPairFake(false)
	f.after = func(_ context.Context, k int, _ string) error {
		if k == 1 {
			return answer(http.StatusPreconditionFailed, "PreconditionFailed")
		}
		return nil
	}
	in.Body = strings.NewReader("new")
	if _, err := New(f, testKey, pairOptions()).Upload(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	reads(t, f.objects[payloadName], f.objects[headerName], []byte("new"))
}

// TestPairWriteOnly uploads as someone who may write and not read, or has not
// the key of SSE-C that was used before.
func TestPairWriteOnly(t *testing.T) {
	for _, no := range []error{answer(http.StatusForbidden, "AccessDenied"), answer(http.StatusBadRequest, "InvalidRequest")} {
		testPairWriteOnly(t, no)
	}
}

func testPairWriteOnly(t *testing.T, no error) {
	for before, old := range stood {
		for _, fails := range []bool{false, true} {
			f := pairWith(t, false, old)
			f.before = func(_ context.Context, k int, op string) error {
				if op == opGet || op == opDelete || fails && k == 3 {
					return no
				}
				return nil
			}
			if !fails {
				if _, err := New(f, testKey, pairOptions()).Upload(t.Context(), putInput(strings.NewReader("new"))); err != nil {
					t.Fatal(err)
				}
				reads(t, f.objects[payloadName], f.objects[headerName], []byte("new"))
				continue
			}
			e := uploadFailsIn(t, f, pairOptions(), putInput(strings.NewReader("new")))
			if e.HeaderErr == nil || e.HeaderKey != "dir/key"+DefaultHeaderSuffix {
				t.Errorf("%s: %+v", before, e)
			}
		}
	}
	// Who could not read at first, and can later, deletes nothing that may
	// have replaced a header.
	f := pairWith(t, false, stood["an older pair"])
	f.before = func(_ context.Context, k int, _ string) error {
		if k == 1 || k == 3 {
			return no
		}
		return nil
	}
	e := uploadFailsIn(t, f, pairOptions(), putInput(strings.NewReader("new")))
	if e.HeaderErr == nil || f.count(opDelete) != 0 || !strings.Contains(e.Error(), "restore that object") {
		t.Errorf("%v after %v", e, f.calls)
	}
}

// TestPairOfAnother has another upload replace the header meanwhile, which then
// stays.
func TestPairOfAnother(t *testing.T) {
	another := []byte("the header of another upload")
	for before, old := range stood {
		for _, at := range []int{3, 5} { // before the payload, and before the header is taken back
			f := pairWith(t, false, old)
			f.before = func(_ context.Context, k int, op string) error {
				if k == at {
					f.objects[headerName] = another
				}
				if k == 3 {
					return answer(http.StatusForbidden, "AccessDenied")
				}
				return nil
			}
			e := uploadFailsIn(t, f, pairOptions(), putInput(strings.NewReader("new")))
			if !bytes.Equal(f.objects[headerName], another) || e.HeaderErr != nil {
				t.Errorf("%s, at request %d: %v", before, at, e)
			}
		}
	}
}

// TestForeignHeaderObject checks that an object that cannot be a header is not
// replaced by one.
func TestForeignHeaderObject(t *testing.T) {
	for size, fits := range map[int]bool{0: true, format.MaxHeaderSize: true, format.MaxHeaderSize + 1: false, 1 << 20: false} {
		f := newPairFake(false)
		foreign := make([]byte, size)
		f.objects[headerName] = foreign
		_, err := New(f, testKey, &beside).Upload(t.Context(), putInput(strings.NewReader("new")))
		if fits != (err == nil) {
			t.Errorf("%d bytes: %v", size, err)
		}
		if !fits && (len(f.objects) != 1 || !bytes.Equal(f.objects[headerName], foreign) || !strings.Contains(err.Error(), "HeaderSuffix")) {
			t.Errorf("%d bytes: %v, %v", size, err, slices.Collect(maps.Keys(f.objects)))
		}
	}
}

// TestHeaderVersions has the SDK send the header several times: all of its
// versions are taken back, and with more than it can have sent that is told.
func TestHeaderVersions(t *testing.T) {
	for before, old := range stood {
		for _, attempts := range []int{2, 3, maxVersions, maxVersions + 1} {
			f := pairWith(t, true, old)
			f.after = func(_ context.Context, k int, op string) error {
				if k != 2 {
					return nil
				}
				for range attempts - 1 {
					f.keep(headerName)
				}
				return errCall
			}
			e := uploadFailsIn(t, f, pairOptions(), putInput(strings.NewReader("new")))
			if (attempts >= maxVersions) != (e.HeaderErr != nil) {
				t.Errorf("%s, %d versions: %v", before, attempts, e)
			}
			checkPair(t, f, e, old, nil)
		}
	}
}
