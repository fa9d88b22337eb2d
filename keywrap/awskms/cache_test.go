package awskms_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"
	"testing"

	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/keywrap/awskms"
	"github.com/bulla-format/bulla/stream"
)

const manyStreams = 1000

func plaintextOf(i int) []byte { return fmt.Appendf(nil, "stream %d", i) }

// writeStream writes the i-th small stream.
func writeStream(ctx context.Context, keys keywrap.Wrapper, i int, ec keywrap.Context) ([]byte, error) {
	var dst bytes.Buffer
	w, err := stream.NewEncryptWriter(ctx, &dst, keys, &stream.EncryptOptions{Context: ec, CompactHeader: true})
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	if _, err := w.Write(plaintextOf(i)); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return dst.Bytes(), nil
}

// writeStreams writes many small streams with several writers at a time.
func writeStreams(t *testing.T, writers int, keys keywrap.Wrapper, ec keywrap.Context) [][]byte {
	t.Helper()
	streams := make([][]byte, manyStreams)
	var wg sync.WaitGroup
	for first := range writers {
		wg.Go(func() {
			for i := first; i < manyStreams; i += writers {
				var err error
				ctx := keywrap.WithPlaintextSize(t.Context(), int64(len(plaintextOf(i))))
				if streams[i], err = writeStream(ctx, keys, i, ec); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	return streams
}

func readStreams(t *testing.T, streams [][]byte, keys keywrap.Unwrapper) {
	t.Helper()
	for i, s := range streams {
		r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(s), keys, nil)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, plaintextOf(i)) {
			t.Fatalf("stream %d: %q, %v", i, got, err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCacheCalls counts the calls that 1,000 small streams cost: without a
// cache, and with one of several limits.
func TestCacheCalls(t *testing.T) {
	s, client := start(t)
	k := newKeyring(t, client, s.CreateKey())
	ec := keywrap.Context{"purpose": "test"}
	calls := func(operation string, do func()) (n int) {
		before := len(s.Calls())
		do()
		for _, c := range s.Calls()[before:] {
			if c.Operation != operation {
				t.Errorf("a call of %s, expected %s", c.Operation, operation)
			}
			n++
		}
		return n
	}
	var streams [][]byte
	if n := calls("GenerateDataKey", func() { streams = writeStreams(t, 1, k, ec) }); n != manyStreams {
		t.Errorf("%d calls without a cache", n)
	}
	if n := calls("Decrypt", func() { readStreams(t, streams, k) }); n != manyStreams {
		t.Errorf("%d calls without a cache", n)
	}

	size := 0
	for i := range manyStreams {
		size += len(plaintextOf(i))
	}
	for _, c := range []struct {
		o    keywrap.CacheOptions
		want int
	}{
		{keywrap.CacheOptions{}, 1},
		{keywrap.CacheOptions{MaxStreams: manyStreams}, 1},
		{keywrap.CacheOptions{MaxStreams: manyStreams - 1}, 2},
		{keywrap.CacheOptions{MaxStreams: 100}, 10},
		{keywrap.CacheOptions{MaxStreams: 7}, 143},
		{keywrap.CacheOptions{MaxBytes: int64(size)}, 1},
		{keywrap.CacheOptions{MaxBytes: int64(size) - 1}, 2},
	} {
		for _, writers := range []int{1, 8} {
			t.Run(fmt.Sprintf("%+v %d writers", c.o, writers), func(t *testing.T) {
				w, err := keywrap.NewWrapperCache(k, &c.o)
				if err != nil {
					t.Fatal(err)
				}
				defer w.Close()
				n := calls("GenerateDataKey", func() { streams = writeStreams(t, writers, w, ec) })
				if n != c.want || w.Stats().Calls != int64(n) || w.Stats().Hits != int64(manyStreams-n) {
					t.Errorf("%d calls, want %d; %+v", n, c.want, w.Stats())
				}

				// Reading asks once for each data key.
				u, err := keywrap.NewUnwrapperCache(k, &keywrap.CacheOptions{MaxStreams: manyStreams, MaxEntries: manyStreams})
				if err != nil {
					t.Fatal(err)
				}
				defer u.Close()
				if got := calls("Decrypt", func() { readStreams(t, streams, u) }); got != n {
					t.Errorf("%d calls to read, %d to write", got, n)
				}
			})
		}
	}

	// Streams of other contexts have other data keys.
	w, err := keywrap.NewWrapperCache(k, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if n := calls("GenerateDataKey", func() {
		for i := range 30 {
			if _, err := writeStream(t.Context(), w, i, keywrap.Context{"tenant": fmt.Sprint(i % 3)}); err != nil {
				t.Fatal(err)
			}
		}
	}); n != 3 {
		t.Errorf("%d calls for three contexts", n)
	}
}

// TestCacheOfMulti shares a data key that is wrapped under two keys.
func TestCacheOfMulti(t *testing.T) {
	s, client := start(t)
	one, two := newKeyring(t, client, s.CreateKey()), newKeyring(t, client, s.CreateKey())
	w, err := keywrap.NewWrapperCache(keywrap.Multi(one, two), &keywrap.CacheOptions{MaxStreams: 500})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	streams := writeStreams(t, 1, w, nil)
	wantOperations(t, s, "GenerateDataKey", "Encrypt", "GenerateDataKey", "Encrypt")
	for _, k := range []*awskms.Keyring{one, two} {
		readStreams(t, streams[:3], k)
	}
}

// BenchmarkCache measures a small stream with the KMS server of kmstest, with
// and without a cache.
func BenchmarkCache(b *testing.B) {
	s, client := start(b)
	k, err := awskms.New(client, s.CreateKey(), nil)
	if err != nil {
		b.Fatal(err)
	}
	w, err := keywrap.NewWrapperCache(k, &keywrap.CacheOptions{MaxStreams: 1 << 30})
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	for name, keys := range map[string]keywrap.Wrapper{"off": k, "on": w} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := writeStream(b.Context(), keys, 0, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
