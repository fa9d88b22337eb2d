package bench

import (
	"bytes"
	"io"

	"filippo.io/age"
)

// ageX25519 is age with its native keys. Each file has an ephemeral key of its
// own, and so some scalar multiplications.
func ageX25519() (*codec, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	recipient := identity.Recipient()
	return &codec{
		encrypt: func(dst io.Writer, plaintext input) error {
			w, err := age.Encrypt(dst, recipient)
			if err != nil {
				return err
			}
			return finish(w, drain(w, plaintext.Reader))
		},
		decrypt: func(dst io.Writer, stored input) error {
			r, err := age.Decrypt(stored.Reader, identity)
			if err != nil {
				return err
			}
			return drain(dst, r)
		},
		openAt: func(stored []byte) (io.ReaderAt, error) {
			r, _, err := age.DecryptReaderAt(bytes.NewReader(stored), int64(len(stored)), identity)
			return r, err
		},
	}, nil
}
