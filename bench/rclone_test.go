package bench

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"

	"github.com/rclone/rclone/backend/crypt"
	"github.com/rclone/rclone/fs/config/configmap"
	"github.com/rclone/rclone/fs/config/obscure"
)

// rcloneCrypt is the cipher of rclone's crypt remote. Its key comes from a
// password, once.
func rcloneCrypt() (*codec, error) {
	password, err := obscure.Obscure(hex.EncodeToString(randomBytes(16)))
	if err != nil {
		return nil, err
	}
	c, err := crypt.NewCipher(configmap.Simple{
		"password": password, "filename_encryption": "off", "filename_encoding": "base32", "suffix": ".bin",
	})
	if err != nil {
		return nil, err
	}
	return &codec{
		encrypt: func(dst io.Writer, plaintext input) error {
			r, err := c.EncryptData(plaintext.Reader)
			if err != nil {
				return err
			}
			return drain(dst, r)
		},
		decrypt: func(dst io.Writer, stored input) error {
			r, err := c.DecryptData(io.NopCloser(stored.Reader))
			if err != nil {
				return err
			}
			return finish(r, drain(dst, r))
		},
		openAt: func(stored []byte) (io.ReaderAt, error) {
			r, err := c.DecryptDataSeek(context.Background(), opener(stored), 0, -1)
			return rcloneAt{r}, err
		},
	}, nil
}

// opener gives rclone ranges of memory; a negative limit means up to the end.
func opener(stored []byte) crypt.OpenRangeSeek {
	return func(_ context.Context, offset, limit int64) (io.ReadCloser, error) {
		rest := stored[min(offset, int64(len(stored))):]
		if limit >= 0 {
			rest = rest[:min(limit, int64(len(rest)))]
		}
		return io.NopCloser(bytes.NewReader(rest)), nil
	}
}

// An rcloneAt reads with a seek each time, one read at a time.
type rcloneAt struct{ crypt.ReadSeekCloser }

func (r rcloneAt) ReadAt(p []byte, off int64) (int, error) {
	if _, err := r.RangeSeek(context.Background(), off, io.SeekStart, int64(len(p))); err != nil {
		return 0, err
	}
	return io.ReadFull(r, p)
}
