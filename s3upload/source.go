package s3upload

import (
	"bytes"
	"context"
	"crypto/fips140"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"
	"reflect"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// crc64NVME is the polynomial of CRC-64/NVME, bits reversed.
const crc64NVME = 0x9a6c9329ac4bc9b5

// checksums are the fields of a PutObjectInput that hold a checksum, in base64,
// and how to compute it. Those without a function are not in the standard
// library, and refused. ContentMD5 is one of them under another name.
var checksums = map[string]func() hash.Hash{
	"ContentMD5":        md5.New,
	"ChecksumMD5":       md5.New,
	"ChecksumSHA1":      sha1.New,
	"ChecksumSHA256":    sha256.New,
	"ChecksumSHA512":    sha512.New,
	"ChecksumCRC32":     func() hash.Hash { return crc32.NewIEEE() },
	"ChecksumCRC32C":    func() hash.Hash { return crc32.New(crc32.MakeTable(crc32.Castagnoli)) },
	"ChecksumCRC64NVME": func() hash.Hash { return crc64.New(crc64.MakeTable(crc64NVME)) },
	"ChecksumXXHASH64":  nil,
	"ChecksumXXHASH3":   nil,
	"ChecksumXXHASH128": nil,
}

// notInFIPS are those whose hash panics under GODEBUG=fips140=only.
var notInFIPS = map[string]bool{"ContentMD5": true, "ChecksumMD5": true, "ChecksumSHA1": true}

// A checksum is one that the plaintext must have.
type checksum struct {
	field string
	hash  hash.Hash
	want  []byte
}

// takeChecksums returns the checksums that in asks for, and removes them from
// it: they are the plaintext's, and what is sent is ciphertext.
func takeChecksums(in *s3.PutObjectInput) ([]checksum, error) {
	var sums []checksum
	for field, v := range reflect.ValueOf(in).Elem().Fields() {
		name := field.Name
		if name != "ContentMD5" && !strings.HasPrefix(name, "Checksum") {
			continue
		}
		value, ok := v.Interface().(*string)
		if !ok || value == nil { // ChecksumAlgorithm is another type
			continue
		}
		newHash := checksums[name]
		if newHash == nil { // also that of a later SDK
			return nil, invalid("%s cannot be verified: use another checksum of the plaintext", name)
		}
		if notInFIPS[name] && fips140.Enforced() {
			return nil, invalid("%s cannot be verified in FIPS 140-only mode: use ChecksumSHA256", name)
		}
		sum := checksum{field: name, hash: newHash()}
		if strings.Contains(*value, "-") {
			return nil, invalid("%s is a checksum of parts: give that of the whole plaintext", name)
		}
		want, err := base64.StdEncoding.DecodeString(*value)
		if err != nil || len(want) != sum.hash.Size() || base64.StdEncoding.EncodeToString(want) != *value {
			return nil, invalid("%s is not %d bytes in base64", name, sum.hash.Size())
		}
		sum.want = want
		sums = append(sums, sum)
		v.SetZero()
	}
	return sums, nil
}

// A source is the caller's Body. It ends with io.EOF only if the plaintext has
// all checksums, and fails at once when ctx ends.
type source struct {
	ctx  context.Context
	body io.Reader
	sums []checksum
	err  error // sticky
}

// newSource returns a source of body, or body itself where a source would only
// be in the way: package stream seals straight from a bytes.Reader's memory,
// and no Read of it blocks.
func newSource(ctx context.Context, body io.Reader, sums []checksum) io.Reader {
	if memory, ok := body.(*bytes.Reader); ok && len(sums) == 0 {
		return memory
	}
	return &source{ctx: ctx, body: body, sums: sums}
}

func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	if s.err = s.ctx.Err(); s.err != nil {
		return 0, s.err
	}
	n, err := s.body.Read(p)
	if n < 0 || n > len(p) {
		s.err = fmt.Errorf("reading Body: an impossible count of %d bytes", n)
		return 0, s.err
	}
	for _, sum := range s.sums {
		sum.hash.Write(p[:n])
	}
	if err == io.EOF {
		err = s.verify()
	}
	s.err = err
	return n, err
}

// verify returns io.EOF, or which checksum the plaintext does not have. The
// message has no checksum: that of a short secret gives it away.
func (s *source) verify() error {
	for _, sum := range s.sums {
		if !bytes.Equal(sum.hash.Sum(nil), sum.want) {
			return fmt.Errorf("%w: the plaintext's is not %s", ErrChecksum, sum.field)
		}
	}
	return io.EOF
}
