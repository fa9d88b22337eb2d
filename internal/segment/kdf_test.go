package segment

import (
	"bytes"
	"crypto/fips140"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"testing"

	"github.com/bulla-format/bulla/format"
)

// minSecret is the smallest secret, in bytes, that the cryptographic module in
// force allows.
func minSecret() int {
	if fips140.Enforced() {
		return 14
	}
	return 0
}

// TestExpandIsHKDF compares with crypto/hkdf: every size of secret, every size
// of output, and infos around the edges of the hash's blocks.
func TestExpandIsHKDF(t *testing.T) {
	for size := minSecret(); size <= sha512.Size; size++ {
		secret := random(size)
		var x expander
		x.init(secret)
		for n := range sha512.Size + 1 {
			for _, infoSize := range []int{0, n, 110, 111, 112, 127, 128, 129, 300} {
				info := random(infoSize)
				want, err := hkdf.Expand(sha512.New, secret, string(info), n)
				if err != nil {
					t.Fatal(err)
				}
				got := make([]byte, n)
				if err := x.expand(got, info); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("secret %x, info %x: %x, %v, expected %x", secret, info, got, err, want)
				}
			}
		}
	}
}

// TestHMACSHA256 compares with crypto/hmac: every size of key, and messages of
// every size up to three blocks and of a header's.
func TestHMACSHA256(t *testing.T) {
	message := random(1 << 16)
	for size := minSecret(); size <= sha256.BlockSize; size++ {
		key := random(size)
		for n := range 3*sha256.BlockSize + 2 {
			switch n {
			case 3 * sha256.BlockSize:
				n = format.DefaultHeaderSize - format.MACSize
			case 3*sha256.BlockSize + 1:
				n = len(message)
			}
			h := hmac.New(sha256.New, key)
			h.Write(message[:n])
			if got := hmacSHA256(key, message[:n]); !hmac.Equal(got[:], h.Sum(nil)) {
				t.Fatalf("key %x, %d bytes: %x", key, n, got)
			}
		}
	}
}

func BenchmarkDerive(b *testing.B) {
	dataKey := random(32)
	p := format.Prelude{Suite: format.AES256GCM, SegmentExp: 16}
	b.ReportAllocs()
	for b.Loop() {
		k := new(Keys)
		err := k.Derive(dataKey, &p, nil)
		if err != nil {
			b.Fatal(err)
		}
		k.Close()
	}
}

// TestSourceKey writes SPEC §4.1 out for the key that no vector has.
func TestSourceKey(t *testing.T) {
	dataKey, p := random(format.DataKeySize), format.Prelude{Suite: format.AES256GCM, SegmentExp: 16, IV: [32]byte(random(32))}
	k := new(Keys)
	if err := k.Derive(dataKey, &p, nil); err != nil {
		t.Fatal(err)
	}
	noAD := sha256.Sum256(nil)
	info := "bulla/v1\x00source\x00" + string(p.Append(nil)[:44]) + string(noAD[:])
	want, err := hkdf.Expand(sha512.New, dataKey, info, 32)
	if err != nil {
		t.Fatal(err)
	}
	if key, err := k.SourceKey(); err != nil || !bytes.Equal(key[:], want) {
		t.Errorf("%x, %v, expected %x", key, err, want)
	}
}
