package bench

import (
	"io"

	"github.com/tink-crypto/tink-go/v2/keyset"
	tinkpb "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"github.com/tink-crypto/tink-go/v2/streamingaead"
)

func tink1MB() (*codec, error) { return newTink(streamingaead.AES256GCMHKDF1MBKeyTemplate()) }
func tink4KB() (*codec, error) { return newTink(streamingaead.AES256GCMHKDF4KBKeyTemplate()) }

// newTink is Tink's streaming AEAD; a key for each stream is derived from that
// of the primitive.
func newTink(template *tinkpb.KeyTemplate) (*codec, error) {
	handle, err := keyset.NewHandle(template)
	if err != nil {
		return nil, err
	}
	primitive, err := streamingaead.New(handle)
	if err != nil {
		return nil, err
	}
	return &codec{
		encrypt: func(dst io.Writer, plaintext input) error {
			w, err := primitive.NewEncryptingWriter(dst, nil)
			if err != nil {
				return err
			}
			return finish(w, drain(w, plaintext.Reader))
		},
		decrypt: func(dst io.Writer, stored input) error {
			r, err := primitive.NewDecryptingReader(stored.Reader, nil)
			if err != nil {
				return err
			}
			return drain(dst, r)
		},
	}, nil
}
