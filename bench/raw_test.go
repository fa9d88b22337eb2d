package bench

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"io"

	"golang.org/x/crypto/chacha20poly1305"
)

// pieceSize is how many plaintext bytes the raw AEADs seal at a time.
const pieceSize = 64 * kib

// A raw is an AEAD without a format: pieces are sealed one behind the other,
// with their number as nonce.
type raw struct {
	aead  cipher.AEAD
	nonce []byte
	out   []byte
}

func rawGCM() (*codec, error) {
	block, err := aes.NewCipher(randomBytes(32))
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return rawCodec(aead), nil
}

func rawChaCha() (*codec, error) {
	aead, err := chacha20poly1305.New(randomBytes(chacha20poly1305.KeySize))
	if err != nil {
		return nil, err
	}
	return rawCodec(aead), nil
}

func rawCodec(aead cipher.AEAD) *codec {
	newRaw := func() *raw {
		return &raw{aead, make([]byte, aead.NonceSize()), make([]byte, 0, pieceSize+aead.Overhead())}
	}
	r := newRaw()
	return &codec{
		encrypt: r.seal,
		decrypt: r.open,
		openAt:  func(stored []byte) (io.ReaderAt, error) { return &rawAt{newRaw(), stored}, nil },
	}
}

func (r *raw) nonceOf(piece int) []byte {
	binary.BigEndian.PutUint64(r.nonce[len(r.nonce)-8:], uint64(piece))
	return r.nonce
}

func (r *raw) seal(dst io.Writer, plaintext input) error {
	rest := plaintext.whole
	for i := 0; len(rest) > 0; i++ {
		n := min(pieceSize, len(rest))
		if _, err := dst.Write(r.aead.Seal(r.out, r.nonceOf(i), rest[:n], nil)); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

func (r *raw) open(dst io.Writer, stored input) error {
	rest := stored.whole
	for i := 0; len(rest) > 0; i++ {
		n := min(pieceSize+r.aead.Overhead(), len(rest))
		plaintext, err := r.aead.Open(r.out, r.nonceOf(i), rest[:n], nil)
		if err != nil {
			return err
		}
		if _, err := dst.Write(plaintext); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// A rawAt reads from pieces in memory at any offset.
type rawAt struct {
	*raw
	stored []byte
}

// ReadAt opens pieces that p takes whole into p, and others beside it.
func (r *rawAt) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		i, skip := int((off+int64(n))/pieceSize), int((off+int64(n))%pieceSize)
		start := i * (pieceSize + r.aead.Overhead())
		if start >= len(r.stored) {
			return n, io.EOF
		}
		piece := r.stored[start:min(start+pieceSize+r.aead.Overhead(), len(r.stored))]
		direct := skip == 0 && len(p)-n >= len(piece)-r.aead.Overhead()
		out := r.out
		if direct {
			out = p[n:n:len(p)]
		}
		plaintext, err := r.aead.Open(out, r.nonceOf(i), piece, nil)
		if err != nil {
			return n, err
		}
		if direct {
			n += len(plaintext)
		} else {
			n += copy(p[n:], plaintext[skip:])
		}
	}
	return n, nil
}
