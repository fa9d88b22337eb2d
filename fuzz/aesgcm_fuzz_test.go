package fuzz

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/binary"
	"testing"

	"github.com/bulla-format/bulla/internal/aesgcm"
)

// FuzzAESGCM compares the implementation of AES-256-GCM that this process uses,
// which BULLA_AESGCM can choose, with crypto/cipher's. The text is repeated to
// the size, so that small inputs reach the long loops; places are where the
// slices begin, how much the destination holds, and whether it is the source.
func FuzzAESGCM(f *testing.F) {
	f.Add([]byte(nil), []byte(nil), []byte(nil), []byte(nil), uint16(0), uint16(0), uint32(0), uint32(0))
	for _, size := range []uint16{1, 16, 17, 127, 255, 512, 1023, 1025, 4096, 8200, 65535} {
		f.Add([]byte("the key"), []byte("nonce"), []byte("text"), []byte("associated data"), size, uint16(9), uint32(size)*2654435761, uint32(size)*40503)
	}
	f.Fuzz(func(t *testing.T, key, nonce, text, aad []byte, size, aadSize uint16, places, flip uint32) {
		k, n := stretch(key, aesgcm.KeySize), stretch(nonce, aesgcm.NonceSize)
		block, err := aes.NewCipher(k)
		if err != nil {
			t.Fatal(err)
		}
		ref, err := cipher.NewGCM(block)
		if err != nil {
			t.Fatal(err)
		}
		a, err := aesgcm.New(k)
		if err != nil {
			t.Fatal(err)
		}
		off := func(i int) int { return int(places >> (6 * i) & 63) }
		plaintext, ad := stretch(text, int(size)), stretch(aad, int(aadSize)%4097)
		want := ref.Seal(nil, n, plaintext, ad)

		n, ad = shifted(n, off(0)), shifted(ad, off(1))
		room := shifted(make([]byte, off(4)%16+len(want)), off(2))
		src := shifted(plaintext, off(3))
		dst := room[:off(4)%16]
		if inPlace := places>>30&1 != 0; inPlace {
			room = shifted(want, off(3))
			copy(room, plaintext)
			src, dst = room[:size], room[:0]
		}
		sealed := a.Seal(dst, n, src, ad)
		if !bytes.Equal(sealed[len(dst):], want) || &sealed[0] != &room[0] {
			t.Fatalf("%v: %d bytes, %d of associated data: sealed to something else", aesgcm.Chosen(), size, len(ad))
		}
		// Back to where the source was.
		opened, err := a.Open(src[:0:size], n, sealed[len(dst):], ad)
		if err != nil || !bytes.Equal(opened, plaintext) {
			t.Fatalf("%v: %d bytes, %d of associated data: not opened: %v", aesgcm.Chosen(), size, len(ad), err)
		}
		flip %= uint32(8 * len(want))
		want[flip/8] ^= 1 << (flip % 8)
		forged := shifted(want, off(2))
		if got, err := a.Open(forged[:0], n, forged, ad); err == nil || got != nil || bytes.Count(forged[:size], []byte{0}) != int(size) {
			t.Fatalf("%v: %d bytes, %d of associated data: bit %d was changed: %v, or no zeros", aesgcm.Chosen(), size, len(ad), flip, err)
		}
	})
}

// stretch repeats b, with a count in it, to n bytes.
func stretch(b []byte, n int) []byte {
	out := make([]byte, 0, n+len(b)+4)
	for i := uint32(0); len(out) < n; i++ {
		out = append(binary.LittleEndian.AppendUint32(out, i), b...)
	}
	return out[:n:n]
}

// shifted returns a copy of b that begins off bytes into its memory.
func shifted(b []byte, off int) []byte {
	return append(make([]byte, off, off+len(b)), b...)[off:]
}
