package bench

import (
	"bytes"
	"io"

	"github.com/minio/sio"
	siogo "github.com/secure-io/sio-go"
)

func sioGCM() (*codec, error)    { return newSio(sio.AES_256_GCM) }
func sioChaCha() (*codec, error) { return newSio(sio.CHACHA20_POLY1305) }

// newSio is DARE 2.0. The format leaves keys to its caller: the key is the same
// for every stream here, which is less work than deriving one for each.
func newSio(suite byte) (*codec, error) {
	config := sio.Config{
		MinVersion: sio.Version20, MaxVersion: sio.Version20, CipherSuites: []byte{suite}, Key: randomBytes(32),
	}
	return &codec{
		encrypt: func(dst io.Writer, plaintext input) error {
			w, err := sio.EncryptWriter(dst, config)
			if err != nil {
				return err
			}
			return finish(w, drain(w, plaintext.Reader))
		},
		decrypt: func(dst io.Writer, stored input) error {
			w, err := sio.DecryptWriter(dst, config)
			if err != nil {
				return err
			}
			return finish(w, drain(w, stored.Reader))
		},
		openAt: func(stored []byte) (io.ReaderAt, error) {
			return sio.DecryptReaderAt(bytes.NewReader(stored), config)
		},
	}, nil
}

func sioGoGCM() (*codec, error)    { return newSioGo(siogo.AES_256_GCM) }
func sioGoChaCha() (*codec, error) { return newSioGo(siogo.ChaCha20Poly1305) }

// newSioGo sets up a key for each stream, as minio/sio does too; here as well
// it is always the same one. The nonce, which the format leaves to its caller,
// is stored in front.
func newSioGo(suite siogo.Algorithm) (*codec, error) {
	key := randomBytes(32)
	s, err := suite.Stream(key)
	if err != nil {
		return nil, err
	}
	nonceSize := s.NonceSize()
	return &codec{
		encrypt: func(dst io.Writer, plaintext input) error {
			s, err := suite.Stream(key)
			if err != nil {
				return err
			}
			nonce := randomBytes(nonceSize)
			if _, err := dst.Write(nonce); err != nil {
				return err
			}
			w := s.EncryptWriter(dst, nonce, nil)
			return finish(w, drain(w, plaintext.Reader))
		},
		decrypt: func(dst io.Writer, stored input) error {
			s, err := suite.Stream(key)
			if err != nil {
				return err
			}
			nonce := make([]byte, nonceSize)
			if _, err := io.ReadFull(stored.Reader, nonce); err != nil {
				return err
			}
			w := s.DecryptWriter(dst, nonce, nil)
			return finish(w, drain(w, stored.Reader))
		},
		openAt: func(stored []byte) (io.ReaderAt, error) {
			return s.DecryptReaderAt(bytes.NewReader(stored[nonceSize:]), stored[:nonceSize], nil), nil
		},
	}, nil
}
