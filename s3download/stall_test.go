package s3download

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// stalling opens an object behind whose header each body is slow by the given
// time before each of its reads.
func stalling(t *testing.T, plain []byte, slow time.Duration) (*fakeS3, *Object) {
	t.Helper()
	f := newFake(encrypt(t, plain, known(len(plain))))
	object, err := Open(t.Context(), f, f.input(), key, &Options{Retries: -1, StallTimeout: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	f.fault = func(int, *s3.GetObjectInput) fault { return fault{slow: slow} }
	return f, object
}

// A body that is slow, but not too slow, is read to its end from one request,
// however long that takes altogether.
func TestSlowBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain := plaintext(30 * S)
		f, object := stalling(t, plain, 9*time.Second)
		defer closeFake(t, f, object)
		before, start := f.count(), time.Now()
		p := make([]byte, 5*S)
		if _, err := object.ReadAt(p, 24*S); err != nil || !bytes.Equal(p, plain[24*S:29*S]) {
			t.Errorf("%v", err)
		}
		if got, took := f.count()-before, time.Since(start); got != 1 || took < time.Minute {
			t.Errorf("%d requests in %v", got, took)
		}
	})
}

// A body that gives nothing is given up after one to two timeouts, wherever it
// stops.
func TestStalledBody(t *testing.T) {
	for _, after := range []int{0, 1, S, 3 * S} {
		synctest.Test(t, func(t *testing.T) {
			f, object := stalling(t, plaintext(30*S), 0)
			defer closeFake(t, f, object)
			f.fault = func(int, *s3.GetObjectInput) fault { return cut(after, errHang) }
			start := time.Now()
			_, err := object.ReadAt(make([]byte, 5*S), 24*S)
			if took := time.Since(start); !errors.Is(err, ErrStalled) || took < 10*time.Second || took > 20*time.Second {
				t.Errorf("after %d bytes: %v in %v", after, err, took)
			}
		})
	}
}

// A caller who reads on after a long pause finds the request as it was: only
// waiting for the store counts.
func TestSlowCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain := plaintext(60 * S)
		f, object := stalling(t, plain, time.Second)
		defer closeFake(t, f, object)
		object.Seek(24*S, io.SeekStart)
		before := f.count()
		p := make([]byte, S)
		for i := range 10 {
			if _, err := io.ReadFull(object, p); err != nil || !bytes.Equal(p, plain[(24+i)*S:][:S]) {
				t.Fatalf("segment %d: %v", i, err)
			}
			time.Sleep(10*time.Second*time.Duration(i) + time.Duration(i)*time.Millisecond)
		}
		if got := f.count() - before; got != 1 {
			t.Errorf("%d requests", got)
		}
	})
}
