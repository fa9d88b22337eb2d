package s3upload

import (
	"bytes"
	"context"
	"crypto/fips140"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// sumOf returns the checksum of b that belongs into a field.
func sumOf(field string, b []byte) string {
	h := checksums[field]()
	h.Write(b)
	return base64.StdEncoding.EncodeToString(h.Sum(nil))
}

func setField(in *s3.PutObjectInput, field, value string) {
	reflect.ValueOf(in).Elem().FieldByName(field).Set(reflect.ValueOf(&value))
}

// TestChecksumVectors compares with the checksums of "123456789": for the CRCs
// these are the check values of the catalogue of CRC algorithms, for the hashes
// what coreutils computes.
func TestChecksumVectors(t *testing.T) {
	in := []byte("123456789")
	want := map[string]string{
		"ChecksumCRC32":     "cbf43926",
		"ChecksumCRC32C":    "e3069283",
		"ChecksumCRC64NVME": "ae8b14860a799888",
		"ChecksumSHA1":      "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
		"ChecksumSHA256":    "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
		"ChecksumSHA512":    "d9e6762dd1c8eaf6d61b3c6192fc408d4d6d5f1176d0c29169bc24e71c3f274ad27fcd5811b313d681f7e55ec02d73d499c95455b6b5bb503acf574fba8ffe85",
		"ChecksumMD5":       "25f9e794323b453885f5181f1b624d0b",
		"ContentMD5":        "25f9e794323b453885f5181f1b624d0b",
	}
	for field, newHash := range checksums {
		if newHash == nil || notInFIPS[field] && fips140.Enforced() {
			continue
		}
		h := newHash()
		h.Write(in)
		if got := hex.EncodeToString(h.Sum(nil)); got != want[field] {
			t.Errorf("%s is %s, expected %s", field, got, want[field])
		}
	}
}

// TestChecksums gives each checksum field of the SDK right, wrong and malformed
// values, with objects of one request and of several.
func TestChecksums(t *testing.T) {
	found := 0
	for f := range reflect.TypeFor[s3.PutObjectInput]().Fields() {
		if f.Type != reflect.TypeFor[*string]() || !strings.HasPrefix(f.Name, "Checksum") && f.Name != "ContentMD5" {
			continue
		}
		found++
		if notInFIPS[f.Name] && fips140.Enforced() {
			continue // TestChecksumsUnderFIPS has them
		}
		t.Run(f.Name, func(t *testing.T) {
			for _, n := range []int{0, 100_000, minPartSize} {
				if testing.Short() && n == minPartSize {
					continue
				}
				testChecksum(t, f.Name, pattern(n))
			}
		})
	}
	if found < 8 {
		t.Errorf("only %d checksum fields found", found)
	}
}

func testChecksum(t *testing.T, field string, plaintext []byte) {
	upload := func(value string, wrap func(io.Reader) io.Reader) (*fake, error) {
		f := newFake()
		in := putInput(wrap(bytes.NewReader(plaintext)))
		setField(in, field, value)
		_, err := New(f, testKey, &Options{PartSize: minPartSize}).Upload(t.Context(), in)
		return f, err
	}
	same := func(r io.Reader) io.Reader { return r }
	if checksums[field] == nil {
		f, err := upload("AAAAAAAAAAA=", same)
		if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), field) || len(f.calls) != 0 {
			t.Errorf("%s: %v after %v", field, err, f.calls)
		}
		return
	}
	right := sumOf(field, plaintext)
	for name, wrap := range map[string]func(io.Reader) io.Reader{"whole": same, "dataerr": iotest.DataErrReader, "half": iotest.HalfReader} {
		f, err := upload(right, wrap)
		if err != nil {
			t.Fatalf("right %s, %s: %v", field, name, err)
		}
		f.decrypts(t, plaintext, nil)
		f, err = upload(sumOf(field, append(plaintext, 0)), wrap)
		if !errors.Is(err, ErrChecksum) || !strings.Contains(err.Error(), field) {
			t.Errorf("wrong %s, %s: %v", field, name, err)
		}
		f.empty(t)
		if f.count(opPut)+f.count(opComplete) != 0 {
			t.Errorf("wrong %s, %s: requests %v", field, name, f.calls)
		}
	}
	for _, bad := range []string{"", right + "-3", right[1:], right + "AAAA", "\n" + right, strings.TrimRight(right, "=") + "!", strings.Repeat("A", 1000)} {
		f, err := upload(bad, same)
		if !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), field) || len(f.calls) != 0 {
			t.Errorf("malformed %s %q: %v after %v", field, bad, err, f.calls)
		}
	}
}

// TestChecksumsTogether checks that one wrong checksum among right ones is
// enough, and that none of them is sent.
func TestChecksumsTogether(t *testing.T) {
	plaintext := pattern(1000)
	f := newFake()
	in := putInput(bytes.NewReader(plaintext))
	in.ChecksumAlgorithm = types.ChecksumAlgorithmSha256
	in.ChecksumSHA512 = new(sumOf("ChecksumSHA512", plaintext))
	in.ChecksumSHA256 = new(sumOf("ChecksumSHA256", plaintext))
	if _, err := New(f, testKey, nil).Upload(t.Context(), in); err != nil {
		t.Fatal(err)
	}
	sent := f.inputs[0].(*s3.PutObjectInput)
	if sent.ChecksumSHA512 != nil || sent.ChecksumSHA256 != nil || sent.ChecksumAlgorithm != types.ChecksumAlgorithmSha256 {
		t.Errorf("sent: %+v", sent)
	}
	f = newFake()
	in.Body, in.ChecksumCRC32 = bytes.NewReader(plaintext), new(sumOf("ChecksumCRC32", nil))
	if _, err := New(f, testKey, nil).Upload(t.Context(), in); !errors.Is(err, ErrChecksum) {
		t.Errorf("one wrong checksum: %v", err)
	}
	f.empty(t)
}

// TestChecksumsUnderFIPS is for runs in FIPS 140-only mode, where MD5 and SHA-1
// panic when used.
func TestChecksumsUnderFIPS(t *testing.T) {
	if !fips140.Enforced() {
		return // TestChecksums has them
	}
	for _, field := range []string{"ContentMD5", "ChecksumMD5", "ChecksumSHA1"} {
		in := putInput(nil)
		setField(in, field, "AAAA")
		if _, err := New(newFake(), testKey, nil).Upload(t.Context(), in); !errors.Is(err, ErrInput) || !strings.Contains(err.Error(), "FIPS") {
			t.Errorf("%s: %v", field, err)
		}
	}
	plaintext := pattern(1000)
	for _, field := range []string{"ChecksumSHA256", "ChecksumSHA512", "ChecksumCRC32", "ChecksumCRC32C", "ChecksumCRC64NVME"} {
		f := newFake()
		in := putInput(bytes.NewReader(plaintext))
		setField(in, field, sumOf(field, plaintext))
		if _, err := New(f, testKey, nil).Upload(t.Context(), in); err != nil {
			t.Fatalf("%s: %v", field, err)
		}
		f.decrypts(t, plaintext, nil)
	}
}

// impossible returns counts that no reader may return.
type impossible int

func (n impossible) Read([]byte) (int, error) { return int(n), nil }

func TestSourceCounts(t *testing.T) {
	for _, n := range []int{-1, 1 << 30} {
		f := newFake()
		if _, err := New(f, testKey, nil).Upload(t.Context(), putInput(impossible(n))); err == nil || !strings.Contains(err.Error(), "impossible count") {
			t.Errorf("count %d: %v", n, err)
		}
		f.empty(t)
	}
}

// TestSourceSticky checks that a source that failed is not read again.
func TestSourceSticky(t *testing.T) {
	errSource := errors.New("broken")
	body := &faultySource{Reader: strings.NewReader("ab"), k: 2, fault: func(io.Reader, []byte) (int, error) { return 0, errSource }}
	s := &source{ctx: t.Context(), body: body}
	b := make([]byte, 1)
	if n, err := s.Read(b); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	for range 3 {
		if n, err := s.Read(b); n != 0 || err != errSource {
			t.Fatalf("read %d bytes, %v", n, err)
		}
	}
}

// TestSourceOfMemory checks that package stream gets a bytes.Reader as it is,
// unless there is something to verify.
func TestSourceOfMemory(t *testing.T) {
	memory := bytes.NewReader([]byte("text"))
	if r := newSource(t.Context(), memory, nil); r != memory {
		t.Errorf("%T", r)
	}
	for _, r := range []io.Reader{newSource(t.Context(), memory, make([]checksum, 1)), newSource(t.Context(), strings.NewReader("text"), nil)} {
		if _, ok := r.(*source); !ok {
			t.Errorf("%T", r)
		}
	}
}

// TestStoredBodyCancelled checks that nothing more is read once ctx has ended.
func TestStoredBodyCancelled(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	memory := bytes.NewReader([]byte("text"))
	tr := &transfer{ctx: ctx, stop: stop, src: memory, capacity: 100, total: 4, options: &Options{}}
	p := make([]byte, 1)
	if n, err := (storedBody{tr}).Read(p); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	stop()
	if n, err := (storedBody{tr}).Read(p); n != 0 || !errors.Is(err, context.Canceled) || memory.Len() != 3 || !errors.Is(tr.err, context.Canceled) {
		t.Errorf("%d bytes, %v, %d left, kept %v", n, err, memory.Len(), tr.err)
	}
}
