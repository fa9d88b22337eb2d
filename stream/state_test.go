package stream_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

func TestCloseAndAbort(t *testing.T) {
	var dst bytes.Buffer
	w, err := stream.NewEncryptWriter(t.Context(), &dst, testKey, small())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	whole := bytes.Clone(dst.Bytes())
	w.Abort()
	if err := w.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := w.Write([]byte("y")); err != stream.ErrClosed {
		t.Errorf("Write after Close: %v", err)
	}
	if _, err := w.ReadFrom(bytes.NewReader([]byte("y"))); err != stream.ErrClosed {
		t.Errorf("ReadFrom after Close: %v", err)
	}
	if !bytes.Equal(dst.Bytes(), whole) {
		t.Error("something was written after Close")
	}

	for _, size := range edgeSizes {
		dst.Reset()
		w, err := stream.NewEncryptWriter(t.Context(), &dst, testKey, small())
		if err != nil {
			t.Fatal(err)
		}
		plaintext := content(size)
		if _, err := w.Write(plaintext); err != nil {
			t.Fatal(err)
		}
		w.Abort()
		w.Abort()
		if _, err := w.Write([]byte("y")); err != stream.ErrAborted {
			t.Errorf("Write after Abort: %v", err)
		}
		if err := w.Close(); err != stream.ErrAborted {
			t.Errorf("Close after Abort: %v", err)
		}
		mustNotDecrypt(t, "aborted", dst.Bytes(), plaintext)
	}
}

func TestCloseDoesNotCloseDestination(t *testing.T) {
	dst := &closeable{}
	w, err := stream.NewEncryptWriter(t.Context(), dst, testKey, small())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if dst.closed {
		t.Error("the destination was closed")
	}
}

type closeable struct {
	bytes.Buffer
	closed bool
}

func (c *closeable) Close() error {
	c.closed = true
	return nil
}

func TestDeclaredSize(t *testing.T) {
	for _, size := range edgeSizes {
		for _, off := range []int{-segmentSize, -1, 1, segmentSize} {
			if size+off < 0 {
				continue
			}
			plaintext := content(size + off)
			o := small()
			o.PlaintextSize = new(int64(size))
			for what, copyTo := range map[string]func(w *stream.EncryptWriter) error{
				"Write": func(w *stream.EncryptWriter) error { _, err := w.Write(plaintext); return err },
				"ReadFrom": func(w *stream.EncryptWriter) error {
					_, err := w.ReadFrom(struct{ io.Reader }{bytes.NewReader(plaintext)})
					return err
				},
				"ReadFrom memory": func(w *stream.EncryptWriter) error {
					_, err := w.ReadFrom(bytes.NewReader(plaintext))
					return err
				},
			} {
				var dst bytes.Buffer
				w, err := stream.NewEncryptWriter(t.Context(), &dst, testKey, o)
				if err != nil {
					t.Fatal(err)
				}
				if err := copyTo(w); off > 0 != errors.Is(err, stream.ErrSizeMismatch) {
					t.Errorf("%s %d of %d bytes: %v", what, size+off, size, err)
				}
				if err := w.Close(); !errors.Is(err, stream.ErrSizeMismatch) {
					t.Errorf("%s %d of %d bytes: Close returned %v", what, size+off, size, err)
				}
				mustNotDecrypt(t, what, dst.Bytes(), plaintext)
			}
			r, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(plaintext), testKey, o)
			if err != nil {
				t.Fatal(err)
			}
			stored, err := io.ReadAll(r)
			if !errors.Is(err, stream.ErrSizeMismatch) {
				t.Errorf("EncryptReader, %d of %d bytes: %v", size+off, size, err)
			}
			mustNotDecrypt(t, "EncryptReader", stored, plaintext)
		}
	}
}

func TestEncryptReaderClose(t *testing.T) {
	for _, before := range []int{0, 10, 5000} {
		r, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(content(3*segmentSize)), testKey, small())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, r, int64(before)); err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if n, err := r.Read(make([]byte, 10)); n != 0 || err != stream.ErrClosed {
			t.Errorf("Read after Close: %d, %v", n, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	r, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(nil), testKey, small())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, r); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("Read after the end and Close: %v", err)
	}
}

func TestDecryptClose(t *testing.T) {
	plaintext := content(3 * segmentSize)
	stored := encrypt(t, plaintext, small())
	for _, before := range []int{0, 10, segmentSize, len(plaintext)} {
		r, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(stored), testKey, reading())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, r, int64(before)); err != nil {
			t.Fatal(err)
		}
		want := stream.ErrClosed
		if before == len(plaintext) {
			if _, err := r.Read(make([]byte, 1)); err != io.EOF {
				t.Fatal(err)
			}
			want = io.EOF
		}
		if err := errors.Join(r.Close(), r.Close()); err != nil {
			t.Error(err)
		}
		if n, err := r.Read(make([]byte, 10)); n != 0 || err != want {
			t.Errorf("Read after %d bytes and Close: %d, %v", before, n, err)
		}
	}
	at, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(stored), int64(len(stored)), testKey, reading())
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(at.Close(), at.Close()); err != nil {
		t.Error(err)
	}
	if n, err := at.ReadAt(make([]byte, 10), 0); n != 0 || err != stream.ErrClosed {
		t.Errorf("ReadAt after Close: %d, %v", n, err)
	}
	if err := at.Verify(t.Context()); err != stream.ErrClosed {
		t.Errorf("Verify after Close: %v", err)
	}
	if at.Size() != int64(len(plaintext)) {
		t.Errorf("size after Close: %d", at.Size())
	}
}

func TestEncryptOptionsRefused(t *testing.T) {
	for what, c := range map[string]struct {
		o    stream.EncryptOptions
		want error // nil: any
	}{
		"unknown suite":                {stream.EncryptOptions{Suite: 9}, format.ErrUnsupported},
		"segments of 2 KiB":            {stream.EncryptOptions{SegmentSize: 2048}, nil},
		"segments of 32 MiB":           {stream.EncryptOptions{SegmentSize: 32 << 20}, nil},
		"segments of no power of two":  {stream.EncryptOptions{SegmentSize: 65537}, nil},
		"negative segments":            {stream.EncryptOptions{SegmentSize: -65536}, nil},
		"negative size":                {stream.EncryptOptions{PlaintextSize: new(int64(-1))}, stream.ErrTooLarge},
		"size beyond what is storable": {stream.EncryptOptions{PlaintextSize: new(int64(1<<63 - 1))}, stream.ErrTooLarge},
		"context with an empty key":    {stream.EncryptOptions{Context: keywrap.Context{"": "x"}}, format.ErrMalformed},
		"context that is not UTF-8":    {stream.EncryptOptions{Context: keywrap.Context{"a": "\xff"}}, format.ErrMalformed},
		"context beyond a header":      {stream.EncryptOptions{Context: keywrap.Context{"a": string(make([]byte, 65535))}}, format.ErrMalformed},
		"metadata with an empty key":   {stream.EncryptOptions{Metadata: map[string]string{"": "x"}}, format.ErrMalformed},
		"location that is not UTF-8":   {stream.EncryptOptions{Location: "\xff"}, format.ErrMalformed},
	} {
		var dst bytes.Buffer
		w, err := stream.NewEncryptWriter(t.Context(), &dst, testKey, &c.o)
		if err == nil || w != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
		r, err := stream.NewEncryptReader(t.Context(), &dst, testKey, &c.o)
		if err == nil || r != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s, reader: %v", what, err)
		}
		if dst.Len() != 0 {
			t.Errorf("%s: %d bytes were written", what, dst.Len())
		}
	}
}

func TestHeaderGrowsWithItsKeys(t *testing.T) {
	var keys []keywrap.Wrapper
	for i := range format.MaxWrappedKeys + 1 {
		k, err := keywrap.GenerateAESKey(string(bytes.Repeat([]byte{'a' + byte(i%26)}, 200+i)))
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, k)
	}
	var dst bytes.Buffer
	w, err := stream.NewEncryptWriter(t.Context(), &dst, keywrap.Multi(keys[1:]...), nil)
	if err != nil {
		t.Fatal(err)
	}
	if size := len(w.Header()); size != 12288 {
		t.Errorf("32 keys: header of %d bytes", size)
	}
	if _, err := w.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	at, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(dst.Bytes()), int64(dst.Len()), keys[32].(keywrap.Unwrapper), nil)
	if err != nil || at.Size() != 1 {
		t.Errorf("a header of several pages by ReadAt: %v", err)
	}
	if _, err := stream.NewEncryptWriter(t.Context(), &dst, keywrap.Multi(keys...), nil); !errors.Is(err, format.ErrMalformed) {
		t.Errorf("33 keys: %v", err)
	}
}

// A service is a key service that returns what it is told to.
type service struct {
	dataKey []byte
	err     error
	calls   int
}

func (s *service) WrapKey(context.Context, []byte, keywrap.Context) ([]format.WrappedKey, error) {
	return nil, s.err
}

func (s *service) UnwrapKey(context.Context, format.WrappedKey, keywrap.Context) ([]byte, error) {
	s.calls++
	return bytes.Clone(s.dataKey), s.err
}

func TestKeyServiceFailures(t *testing.T) {
	if _, err := stream.NewEncryptWriter(t.Context(), io.Discard, &service{err: errInjected}, nil); !errors.Is(err, errInjected) {
		t.Errorf("wrapping fails: %v", err)
	}
	if _, err := stream.NewEncryptWriter(t.Context(), io.Discard, &service{}, nil); !errors.Is(err, format.ErrMalformed) {
		t.Errorf("nothing wrapped: %v", err)
	}
	stored := encrypt(t, []byte("x"), nil)
	other, err := keywrap.GenerateAESKey("other")
	if err != nil {
		t.Fatal(err)
	}
	sameName, err := keywrap.GenerateAESKey("test")
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		keys keywrap.Unwrapper
		want error
	}{
		"unwrapping fails":       {&service{err: errInjected}, errInjected},
		"a data key of 16 bytes": {&service{dataKey: make([]byte, 16)}, keywrap.ErrUnwrap},
		"another data key":       {&service{dataKey: make([]byte, 32)}, stream.ErrAuth},
		"no such key":            {other, keywrap.ErrNoMatch},
		"a key of the same name": {sameName, keywrap.ErrUnwrap},
	} {
		if _, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(stored), c.keys, nil); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(stored), int64(len(stored)), c.keys, nil); !errors.Is(err, c.want) {
			t.Errorf("%s, ReadAt: %v", what, err)
		}
	}
}

// TestNoMatchSaysWhich looks at the message for a reader without the key.
func TestNoMatchSaysWhich(t *testing.T) {
	stored := encrypt(t, []byte("x"), nil)
	u := &service{err: fmt.Errorf("%w: the alias has moved", keywrap.ErrNoMatch)}
	_, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(stored), u, nil)
	if !errors.Is(err, keywrap.ErrNoMatch) || !strings.Contains(err.Error(), `aes "test"`) || !strings.Contains(err.Error(), "the alias has moved") {
		t.Errorf("%v", err)
	}
}

// TestCancelledUnwrapStops lets one key of two fail under a cancelled context:
// no further key is tried.
func TestCancelledUnwrapStops(t *testing.T) {
	a, err := keywrap.GenerateAESKey("a")
	if err != nil {
		t.Fatal(err)
	}
	var dst bytes.Buffer
	w, err := stream.NewEncryptWriter(t.Context(), &dst, keywrap.Multi(a, testKey), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s := &service{err: errInjected}
	if _, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(dst.Bytes()), s, nil); !errors.Is(err, errInjected) || s.calls != 2 {
		t.Errorf("%d keys tried, %v", s.calls, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s = &service{err: errInjected}
	if _, err := stream.NewDecryptReader(ctx, bytes.NewReader(dst.Bytes()), s, nil); !errors.Is(err, errInjected) || s.calls != 1 {
		t.Errorf("cancelled: %d keys tried, %v", s.calls, err)
	}
}

func encryptDetached(t *testing.T, plaintext []byte) (payload, header []byte) {
	t.Helper()
	r, err := stream.NewEncryptReader(t.Context(), bytes.NewReader(plaintext), testKey, &stream.EncryptOptions{Detached: true})
	if err != nil {
		t.Fatal(err)
	}
	payload, err = io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return payload, r.Header()
}

func TestDecryptPolicy(t *testing.T) {
	plain := encrypt(t, []byte("x"), nil)
	withContext := encrypt(t, []byte("x"), &stream.EncryptOptions{Context: keywrap.Context{"tenant": "a"}})
	withAD := encrypt(t, []byte("x"), &stream.EncryptOptions{AssociatedData: []byte("ad")})
	located := encrypt(t, []byte("x"), &stream.EncryptOptions{Location: "s3://b/k"})
	detached, detachedHeader := encryptDetached(t, []byte("x"))
	_, otherHeader := encryptDetached(t, []byte("x"))
	for what, c := range map[string]struct {
		stored []byte
		o      stream.DecryptOptions
		want   error
	}{
		"required pair":                 {withContext, stream.DecryptOptions{RequiredContext: keywrap.Context{"tenant": "a"}}, nil},
		"nothing required":              {withContext, stream.DecryptOptions{}, nil},
		"another value":                 {withContext, stream.DecryptOptions{RequiredContext: keywrap.Context{"tenant": "b"}}, stream.ErrContext},
		"a missing pair":                {plain, stream.DecryptOptions{RequiredContext: keywrap.Context{"tenant": ""}}, stream.ErrContext},
		"the associated data":           {withAD, stream.DecryptOptions{AssociatedData: []byte("ad")}, nil},
		"other associated data":         {withAD, stream.DecryptOptions{AssociatedData: []byte("AD")}, stream.ErrAuth},
		"no associated data":            {withAD, stream.DecryptOptions{}, stream.ErrPolicy},
		"associated data without need":  {plain, stream.DecryptOptions{AssociatedData: []byte("ad")}, stream.ErrPolicy},
		"its suite":                     {plain, stream.DecryptOptions{Suites: []format.Suite{format.AES256GCM}}, nil},
		"another suite":                 {plain, stream.DecryptOptions{Suites: []format.Suite{format.ChaCha20Poly1305}}, stream.ErrPolicy},
		"its location":                  {located, stream.DecryptOptions{Location: "s3://b/k"}, nil},
		"another location":              {located, stream.DecryptOptions{Location: "s3://b/k2"}, stream.ErrPolicy},
		"no location":                   {located, stream.DecryptOptions{}, stream.ErrPolicy},
		"location ignored":              {located, stream.DecryptOptions{IgnoreLocation: true}, nil},
		"location of an unbound stream": {plain, stream.DecryptOptions{Location: "s3://b/k"}, nil},
		"header limit":                  {plain, stream.DecryptOptions{MaxHeaderSize: 4095}, stream.ErrTooLarge},
		"header limit kept":             {plain, stream.DecryptOptions{MaxHeaderSize: 4096}, nil},
		"segment limit":                 {plain, stream.DecryptOptions{MaxSegmentSize: 65535}, stream.ErrTooLarge},
		"segment limit kept":            {plain, stream.DecryptOptions{MaxSegmentSize: 65536}, nil},
		"a header too many":             {plain, stream.DecryptOptions{DetachedHeader: plain[:4096]}, stream.ErrPolicy},
		"no header":                     {detached, stream.DecryptOptions{}, stream.ErrPolicy},
		"a header of another stream":    {detached, stream.DecryptOptions{DetachedHeader: otherHeader}, stream.ErrAuth},
		"its header":                    {detached, stream.DecryptOptions{DetachedHeader: detachedHeader}, nil},
		"its header and more":           {detached, stream.DecryptOptions{DetachedHeader: append(bytes.Clone(detachedHeader), 0)}, format.ErrMalformed},
		"its header without a payload":  {detached[:75], stream.DecryptOptions{DetachedHeader: detachedHeader}, stream.ErrTruncated},
		"a header that is none":         {detached, stream.DecryptOptions{DetachedHeader: []byte("x")}, format.ErrNotStream},
		"a header cut":                  {detached, stream.DecryptOptions{DetachedHeader: detachedHeader[:76]}, stream.ErrTruncated},
	} {
		if _, err := stream.NewDecryptReader(t.Context(), bytes.NewReader(c.stored), testKey, &c.o); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", what, err)
		}
		if _, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(c.stored), int64(len(c.stored)), testKey, &c.o); !errors.Is(err, c.want) {
			t.Errorf("%s, ReadAt: %v", what, err)
		}
	}
}

func TestNotAStream(t *testing.T) {
	stored := encrypt(t, []byte("x"), nil)
	for what, c := range map[string]struct {
		b    []byte
		want error
	}{
		"nothing":         {nil, format.ErrNotStream},
		"text":            {[]byte("hello, world"), format.ErrNotStream},
		"much text":       {bytes.Repeat([]byte("hello, world"), 1000), format.ErrNotStream},
		"half the magic":  {stored[:4], format.ErrNotStream},
		"only the magic":  {stored[:8], stream.ErrTruncated},
		"half a prelude":  {stored[:40], stream.ErrTruncated},
		"only a prelude":  {stored[:76], stream.ErrTruncated},
		"half a header":   {stored[:1000], stream.ErrTruncated},
		"no segment":      {stored[:4096], stream.ErrTruncated},
		"half an IV":      {stored[:4096+6], stream.ErrTruncated},
		"a byte short":    {stored[:4096+28], nil},
		"a later version": {append([]byte(format.Magic+"\x02"), stored[9:]...), format.ErrUnsupported},
	} {
		_, err := decrypt(t, c.b, nil)
		_, errAt := decryptAt(t, c.b, nil)
		if c.want == nil { // it looks like an empty final segment
			c.want = stream.ErrAuth
		}
		if !errors.Is(err, c.want) || !errors.Is(errAt, c.want) {
			t.Errorf("%s: %v; ReadAt: %v", what, err, errAt)
		}
		if c.want == stream.ErrTruncated && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: not io.ErrUnexpectedEOF", what)
		}
	}
	for n := range 4096 {
		_, err := stream.Inspect(stored[:n])
		want := stream.ErrTruncated
		if n < len(format.Magic) {
			want = format.ErrNotStream
		}
		if !errors.Is(err, want) {
			t.Fatalf("Inspect of %d bytes: %v", n, err)
		}
	}
}

func TestVerifyHonoursContext(t *testing.T) {
	stored := encrypt(t, content(100*segmentSize), small())
	r, err := stream.NewDecryptReaderAt(t.Context(), bytes.NewReader(stored), int64(len(stored)), testKey, reading())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Verify(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := r.Verify(t.Context()); err != nil {
		t.Errorf("a cancelled Verify is final: %v", err)
	}
}
