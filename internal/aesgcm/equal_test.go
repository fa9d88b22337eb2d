package aesgcm_test

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulla-format/bulla/internal/aesgcm"
)

// The tests of this file compare Seal and Open with crypto/cipher's, apart and
// in place, byte for byte, the memory around every slice included.

// TestEveryLength takes every length up to 4096 with the associated data of a
// segment (9 bytes), none, and other sizes, aligned and with all slices where
// chance puts them.
func TestEveryLength(t *testing.T) {
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		r := source(1)
		whole, g := newMessage(t, r, 320, 4096), newRig(4096, 320)
		a, ref := newAEAD(t, impl, whole.key), reference(t, whole.key)
		random := rand.New(r)
		for n := range 4097 {
			for _, aad := range []int{0, 9, 7 * n % 301} {
				m := whole.cut(ref, aad, n)
				g.check(t, a, m, offsets{})
				g.check(t, a, m, anyOffsets(random))
			}
		}
	})
}

func anyOffsets(r *rand.Rand) offsets {
	return offsets{r.IntN(align), r.IntN(align), r.IntN(align), r.IntN(align), r.IntN(aesgcm.TagSize)}
}

// TestBoundaries takes the lengths from 4 to 8 KiB and from 15 to 21 KiB that
// are up to 17 bytes away from a multiple of 64, and others near those of 1024:
// whatever a kernel does at a time, up to 256 blocks and by another loop for
// long messages, its loops end at each of their ways out.
func TestBoundaries(t *testing.T) {
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		const limit = 32<<10 + 17
		whole, g := newMessage(t, source(2), 32, limit), newRig(limit, 32)
		a, ref := newAEAD(t, impl, whole.key), reference(t, whole.key)
		sweep := func(from, to, step int) {
			for k := from; k <= to; k += step {
				for n := k - 17; n <= k+17; n++ {
					g.check(t, a, whole.cut(ref, n%33, n), offsets{src: n % align, dst: n / align % align})
				}
			}
		}
		sweep(4<<10, 8<<10, 64)
		if impl == aesgcm.Standard {
			return // it is the reference, and slow without assembly
		}
		sweep(9<<10, 32<<10, 1<<10)
		sweep(15<<10, 21<<10, 64)
	})
}

// TestRandomLengths takes lengths up to 1 MiB.
func TestRandomLengths(t *testing.T) {
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		r := source(3)
		random, g := rand.New(r), newRig(1<<20, 4096)
		for range 60 {
			m := newMessage(t, r, random.IntN(4097), random.IntN(1<<20+1))
			g.check(t, newAEAD(t, impl, m.key), m, anyOffsets(random))
		}
	})
}

// TestAssociatedData takes every size up to 300 and large ones.
func TestAssociatedData(t *testing.T) {
	sizes := []int{4095, 4096, 4097, 64<<10 - 1, 64 << 10, 64<<10 + 17, 1 << 20}
	for n := range 301 {
		sizes = append(sizes, n)
	}
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		whole, g := newMessage(t, source(4), 1<<20, 3000), newRig(3000, 1<<20)
		a, ref := newAEAD(t, impl, whole.key), reference(t, whole.key)
		for _, aad := range sizes {
			for _, n := range []int{0, 1, 15, 16, 17, 64, 100, 255, 511, 512, 1024, 1500, 2048, 3000} {
				g.check(t, a, whole.cut(ref, aad, n), offsets{aad: aad % align})
			}
		}
	})
}

// TestAlignments puts each slice at every offset from a multiple of 64, alone
// and with the others moved along, and source against destination at all pairs
// of offsets.
func TestAlignments(t *testing.T) {
	lengths := []int{0, 1, 15, 16, 17, 63, 64, 65, 127, 129, 255, 257, 511, 513, 1023, 1025, 2053, 4129}
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		whole, g := newMessage(t, source(5), 333, 4129), newRig(4129, 333)
		a, ref := newAEAD(t, impl, whole.key), reference(t, whole.key)
		for _, n := range lengths {
			m := whole.cut(ref, 333-n%300, n)
			for i := range align {
				for _, at := range []offsets{{src: i}, {dst: i}, {aad: i}, {nonce: i}, {prefix: i % 17}, {i, i, i, i, 0}, {i, align - 1 - i, 3 * i % align, 5 * i % align, i % 16}} {
					g.check(t, a, m, at)
				}
			}
		}
		m := whole.cut(ref, 20, 1100)
		for i := range align * align {
			g.check(t, a, m, offsets{src: i / align, dst: i % align})
		}
	})
}

// TestKeys takes many keys, at every alignment. The key stays as it is, and
// what becomes of it later means nothing to the AEAD.
func TestKeys(t *testing.T) {
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		r := source(6)
		g, y := newRig(1200, 40), newTray(aesgcm.KeySize)
		for i := range 32 * align {
			m := newMessage(t, r, i%41, 19*i%1201)
			switch i {
			case 0:
				clear(m.key)
			case 1:
				copy(m.key, bytes.Repeat([]byte{0xFF}, aesgcm.KeySize))
			}
			m = m.cut(reference(t, m.key), len(m.aad), len(m.plaintext))
			key := y.put(i%align, m.key)
			a := newAEAD(t, impl, key)
			if !bytes.Equal(key, m.key) || y.edges() != "" {
				t.Fatalf("key at %d: the key was changed (%s)", i%align, y.edges())
			}
			clear(key)
			g.check(t, a, m, offsets{})
		}
	})
}

// TestPatterns takes plaintexts, nonces and associated data of nothing but
// zeros, ones, or a single bit, with the message cut behind it.
func TestPatterns(t *testing.T) {
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		whole, g := newMessage(t, source(7), 32, 4096), newRig(4096, 32)
		a, ref := newAEAD(t, impl, whole.key), reference(t, whole.key)
		for _, nonce := range []byte{0, 1, 0x7F, 0x80, 0xFF} {
			for _, text := range []byte{0, 1, 0x80, 0xFF} {
				m := whole
				m.nonce = bytes.Repeat([]byte{nonce}, aesgcm.NonceSize)
				m.plaintext = bytes.Repeat([]byte{text}, 4096)
				for _, n := range []int{1, 16, 17, 256, 1024, 2047, 4096} {
					g.check(t, a, m.cut(ref, n%33, n), offsets{})
				}
			}
		}
		for bit := range 8 * 4096 {
			if bit > 512 && bit%37 != 0 {
				continue // all of the first 64 bytes, then some of each byte's eight
			}
			m := whole
			m.plaintext = make([]byte, 4096)
			m.plaintext[bit/8] = 1 << (bit % 8)
			g.check(t, a, m.cut(ref, 0, bit/8+1), offsets{})
		}
	})
}

// TestCounter crosses 2^8 and 2^16 blocks at every place in a group of 32, with
// nonces that show a carry into them. 2^24 blocks: TestCounter24.
func TestCounter(t *testing.T) {
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		const limit = 2<<20 + 64
		whole, g := newMessage(t, source(8), 9, limit), newRig(limit, 9)
		copy(whole.nonce[8:], "\xff\xff\xff\xff")
		a, ref := newAEAD(t, impl, whole.key), reference(t, whole.key)
		for _, carry := range []int{1 << 8, 2 << 8, 16 << 8, 1 << 16} {
			for blocks := carry - 34; blocks <= carry+34; blocks++ {
				if carry == 1<<16 && blocks%5 != 0 {
					continue
				}
				g.check(t, a, whole.cut(ref, 9, 16*blocks+blocks%16), offsets{})
			}
		}
		for _, n := range []int{1<<20 + 64<<10 + 1, 2<<20 - 1, 2 << 20, limit} {
			g.check(t, a, whole.cut(ref, 9, n), offsets{})
		}
	})
}

var (
	soakTime = flag.Duration("soak", 2*time.Second, "how long TestSoak runs, for all implementations together")
	soakSeed = flag.Uint64("seed", 0, "the seed of TestSoak, 0 for another in each run")
)

// TestSoak takes keys, lengths and places by chance, small ones more often.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("takes -soak")
	}
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		seed := *soakSeed
		for seed == 0 {
			seed = rand.Uint64()
		}
		r := source(seed)
		random, g := rand.New(r), newRig(256<<10, 2048)
		upTo := func(bits int) int { return random.IntN(1 << random.IntN(bits+1)) }
		ran := 0
		for end := time.Now().Add(*soakTime / time.Duration(len(aesgcm.Available()))); ran == 0 || time.Now().Before(end); ran++ {
			m := newMessage(t, r, upTo(11), upTo(18))
			a, at := newAEAD(t, impl, m.key), anyOffsets(random)
			if err := g.run(a, m, at); err != nil {
				t.Fatalf("-seed=%d: message %d: %d bytes, %d of associated data, %+v: %v", seed, ran, len(m.plaintext), len(m.aad), at, err)
			}
			forged := slices.Clone(m.sealed)
			forged[random.IntN(len(forged))] ^= 1 << random.IntN(8)
			if _, err := a.Open(nil, m.nonce, forged, m.aad); err == nil {
				t.Fatalf("-seed=%d: message %d of %d bytes: a changed bit is not seen", seed, ran, len(m.plaintext))
			}
		}
		t.Log(ran, "messages")
	})
}

// TestNames keeps the names that BULLA_AESGCM, subtests and benchmarks go by.
func TestNames(t *testing.T) {
	var names []string
	for i := range aesgcm.AVX512 + 1 {
		names = append(names, i.String())
	}
	if got := strings.Join(names, " "); got != "std avx2 avx512" {
		t.Fatal(got)
	}
	if s := aesgcm.Implementation(9).String(); s != "implementation 9" {
		t.Fatal(s)
	}
}
