package bench

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"io"
	"os"
)

// An input is the source of one stream.
type input struct {
	io.Reader
	whole []byte // what Reader has, for implementations that take whole messages
}

// A codec is one implementation with everything set up that an application
// sets up once.
type codec struct {
	encrypt func(dst io.Writer, plaintext input) error
	decrypt func(dst io.Writer, stored input) error
	openAt  func(stored []byte) (io.ReaderAt, error) // nil: no random access
}

// An implementation is what the names of benchmarks say.
type implementation struct {
	impl  string
	suite string
	limit int // the largest plaintext that it is measured with, in bytes
	open  func() (*codec, error)
}

func (i implementation) String() string { return "impl=" + i.impl + "/suite=" + i.suite }

// Suites, as the names of benchmarks have them.
const (
	suiteGCM    = "aes256gcm"
	suiteChaCha = "chacha20poly1305"
	suiteXSalsa = "xsalsa20poly1305"
)

// Sizes in bytes.
const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30
)

// bulla is the name of Bulla with the kernel that the environment asks for.
var bulla = func() string {
	if kernel := os.Getenv("BULLA_AESGCM"); kernel != "" {
		return "bulla-" + kernel
	}
	return "bulla"
}()

func implementations() []implementation {
	return []implementation{
		{"raw", suiteGCM, gib, rawGCM},
		{"raw", suiteChaCha, gib, rawChaCha},
		{bulla, suiteGCM, gib, bullaDefault},
		{bulla, suiteChaCha, gib, bullaChaCha},
		{"sio", suiteGCM, gib, sioGCM},
		{"sio", suiteChaCha, gib, sioChaCha},
		{"sio-go", suiteGCM, gib, sioGoGCM},
		{"sio-go", suiteChaCha, gib, sioGoChaCha},
		{"tink-1MB", suiteGCM, gib, tink1MB},
		{"tink-4KB", suiteGCM, gib, tink4KB},
		{"age", suiteChaCha, gib, ageX25519},
		{"rclone", suiteXSalsa, 64 * mib, rcloneCrypt},
		{"aws-esdk", suiteGCM, 64 * mib, awsEncryptionSDK},
	}
}

// randomBytes is for keys and nonces.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// drain is how a reader and a writer meet: with their own methods where they
// have them, else with a buffer of 64 KiB that is the same for all.
func drain(dst io.Writer, src io.Reader) error {
	_, err := io.CopyBuffer(dst, src, copyBuffer)
	return err
}

var copyBuffer = make([]byte, 64*kib)

// finish closes w after a copy into it, whose error comes first.
func finish(w io.Closer, err error) error {
	return cmp.Or(err, w.Close())
}

func sizeName(n int) string {
	switch {
	case n >= gib:
		return fmt.Sprintf("%dGiB", n/gib)
	case n >= mib:
		return fmt.Sprintf("%dMiB", n/mib)
	}
	return fmt.Sprintf("%dKiB", n/kib)
}
