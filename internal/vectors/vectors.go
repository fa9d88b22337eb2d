// Package vectors loads the test vectors in testdata/vectors (SPEC §16), which
// ./gen writes.
//
// A file *.vec is lines of the form "key: value", an empty line, and raw bytes.
// The keys, of which those marked * are always there and wrapping keys may repeat:
//
//	description*         one line
//	expect*              ok or a class of SPEC §11, for a sequential reader
//	expect-random        the same for a random-access reader that opens every segment, where it differs
//	segment              the index of the segment that a sequential reader fails at
//	header-size          the first so many raw bytes are a header object, the rest is its payload object
//	data-key*            in hexadecimal, as are other bytes
//	aes-key              a wrapping key of type 0001 that the reader has: its bytes, a space, its name
//	rsa-key              of type 0002: the private key as PKCS #8, a space, its name
//	hpke-key             of type 0004: the id of the KEM (2 bytes) and the private key, a space, its name
//	passphrase           of type 0005: its bytes; the reader's limits are those of SPEC §12.9
//	associated-data      that the reader is given
//	context              the pairs of a valid header, as JSON
//	metadata             the pairs of its sealed metadata
//	require-context      the pairs that the reader requires
//	location             that the reader is given
//	any-location         "true": the reader accepts any location
//	max-header-size      the reader's limit, in bytes
//	max-segment-size     the same for S
//	plaintext-size*      in bytes, of what the writer sealed
//	plaintext-sha256*
//	released-size*       how much of it a sequential reader may release
//	released-sha256*
//
// The keys stand in this order.
package vectors

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A Case is one stream, what its reader is given, and what must come of it.
type Case struct {
	Name         string // of the file, without .vec
	Description  string
	Expect       string // "ok" or the class of the error, for a sequential reader
	ExpectRandom string // the same for a random-access reader that opens every segment
	Segment      int64  // index of the segment that a sequential reader fails at, or -1

	Header  []byte // the header object; nil when the header is in front of the payload
	Payload []byte // the payload object, or the whole stream

	DataKey        []byte
	Keys           []Key             // that the reader has
	AssociatedData []byte            // nil when the reader has none
	Context        map[string]string // in the header, if Expect is "ok"
	Metadata       map[string]string // in the header, if Expect is "ok"
	RequireContext map[string]string // that the reader requires
	Location       string            // that the reader is given
	AnyLocation    bool              // the reader accepts any location
	MaxHeaderSize  int               // the reader's limit in bytes, or 0
	MaxSegmentSize int               // the reader's limit in bytes, or 0

	Plaintext Digest // what the writer sealed
	Released  Digest // the longest plaintext that a sequential reader may release, a prefix of Plaintext
}

// A Key is a wrapping key.
type Key struct {
	Type uint16 // of SPEC §12.3
	Name string // empty for a passphrase
	Key  []byte // as the package comment says
}

// keyTypes are the lines that hold wrapping keys, and their types.
var keyTypes = map[string]uint16{"aes-key": 1, "rsa-key": 2, "hpke-key": 4, "passphrase": 5}

// A Digest stands for bytes.
type Digest struct {
	Size   int64
	SHA256 [sha256.Size]byte
}

// Matches reports whether d is the digest of b.
func (d Digest) Matches(b []byte) bool {
	return int64(len(b)) == d.Size && sha256.Sum256(b) == d.SHA256
}

// Load returns all cases. It ends the test if there are none or one does not
// parse.
func Load(t testing.TB) []Case {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(Dir(t), "*.vec"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no test vectors in %s (%v)", Dir(t), err)
	}
	cases := make([]Case, len(names))
	for i, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		cases[i], err = parse(strings.TrimSuffix(filepath.Base(name), ".vec"), b)
		if err != nil {
			t.Fatal(err)
		}
	}
	return cases
}

// Dir returns the directory of the vectors. It looks for it in the working
// directory of the test and above.
func Dir(t testing.TB) string {
	t.Helper()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		found := filepath.Join(dir, "testdata", "vectors")
		if _, err := os.Stat(filepath.Join(found, "sizes.json")); err == nil {
			return found
		}
		if dir == filepath.Dir(dir) {
			t.Fatalf("no testdata/vectors above %s", wd)
		}
	}
}

func parse(name string, b []byte) (Case, error) {
	c := Case{Name: name, Segment: -1}
	head, body, ok := bytes.Cut(b, []byte("\n\n"))
	if !ok {
		return c, fmt.Errorf("%s: no empty line", name)
	}
	headerSize := -1
	seen := make(map[string]bool)
	for line := range strings.SplitSeq(string(head), "\n") {
		key, value, ok := strings.Cut(line, ": ")
		if !ok {
			return c, fmt.Errorf("%s: line %q has no key", name, line)
		}
		if seen[key] && keyTypes[key] == 0 {
			return c, fmt.Errorf("%s: two lines %s", name, key)
		}
		seen[key] = true
		if err := c.set(key, value, &headerSize); err != nil {
			return c, fmt.Errorf("%s: %s: %w", name, key, err)
		}
	}
	for _, key := range []string{"description", "expect", "data-key", "plaintext-size", "plaintext-sha256", "released-size", "released-sha256"} {
		if !seen[key] {
			return c, fmt.Errorf("%s: no line %s", name, key)
		}
	}
	if c.ExpectRandom == "" {
		c.ExpectRandom = c.Expect
	}
	c.Payload = body
	if headerSize >= 0 {
		if headerSize > len(body) {
			return c, fmt.Errorf("%s: a header of %d bytes in %d", name, headerSize, len(body))
		}
		c.Header, c.Payload = body[:headerSize:headerSize], body[headerSize:]
	}
	return c, nil
}

func (c *Case) set(key, value string, headerSize *int) (err error) {
	switch key {
	case "description":
		c.Description = value
	case "expect":
		c.Expect = value
	case "expect-random":
		c.ExpectRandom = value
	case "segment":
		c.Segment, err = strconv.ParseInt(value, 10, 64)
	case "header-size":
		*headerSize, err = strconv.Atoi(value)
	case "data-key":
		c.DataKey, err = hex.DecodeString(value)
	case "aes-key", "rsa-key", "hpke-key", "passphrase":
		digits, name, _ := strings.Cut(value, " ")
		k := Key{Type: keyTypes[key], Name: name}
		k.Key, err = hex.DecodeString(digits)
		c.Keys = append(c.Keys, k)
	case "associated-data":
		c.AssociatedData, err = hex.DecodeString(value)
	case "context":
		err = json.Unmarshal([]byte(value), &c.Context)
	case "metadata":
		err = json.Unmarshal([]byte(value), &c.Metadata)
	case "require-context":
		err = json.Unmarshal([]byte(value), &c.RequireContext)
	case "location":
		c.Location = value
	case "any-location":
		c.AnyLocation = value == "true"
	case "max-header-size":
		c.MaxHeaderSize, err = strconv.Atoi(value)
	case "max-segment-size":
		c.MaxSegmentSize, err = strconv.Atoi(value)
	case "plaintext-size":
		c.Plaintext.Size, err = strconv.ParseInt(value, 10, 64)
	case "released-size":
		c.Released.Size, err = strconv.ParseInt(value, 10, 64)
	case "plaintext-sha256":
		err = decodeHash(&c.Plaintext.SHA256, value)
	case "released-sha256":
		err = decodeHash(&c.Released.SHA256, value)
	default:
		err = fmt.Errorf("unknown key")
	}
	return err
}

func decodeHash(dst *[sha256.Size]byte, value string) error {
	b, err := hex.DecodeString(value)
	if err != nil || len(b) != len(dst) {
		return fmt.Errorf("%q is no SHA-256 value", value)
	}
	copy(dst[:], b)
	return nil
}
