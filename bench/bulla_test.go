package bench

import (
	"bytes"
	"context"
	"io"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
	"github.com/bulla-format/bulla/stream"
)

func bullaDefault() (*codec, error) { return newBulla(&stream.EncryptOptions{}, nil) }

func bullaChaCha() (*codec, error) {
	return newBulla(&stream.EncryptOptions{Suite: format.ChaCha20Poly1305}, nil)
}

// newBulla wraps a new data key for each stream with an AES key in memory.
func newBulla(enc *stream.EncryptOptions, dec *stream.DecryptOptions) (*codec, error) {
	ctx := context.Background()
	key, err := keywrap.NewAESKey("bench", randomBytes(keywrap.AESKeySize))
	if err != nil {
		return nil, err
	}
	return &codec{
		encrypt: func(dst io.Writer, plaintext input) error {
			w, err := stream.NewEncryptWriter(ctx, dst, key, enc)
			if err != nil {
				return err
			}
			defer w.Abort()
			if err := drain(w, plaintext.Reader); err != nil {
				return err
			}
			return w.Close()
		},
		decrypt: func(dst io.Writer, stored input) error {
			r, err := stream.NewDecryptReader(ctx, stored.Reader, key, dec)
			if err != nil {
				return err
			}
			defer r.Close()
			return drain(dst, r)
		},
		openAt: func(stored []byte) (io.ReaderAt, error) {
			return stream.NewDecryptReaderAt(ctx, bytes.NewReader(stored), int64(len(stored)), key, dec)
		},
	}, nil
}
