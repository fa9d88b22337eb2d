package aesgcm_test

import (
	"bytes"
	"crypto/cipher"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/bulla-format/bulla/internal/aesgcm"
)

// The tests of this file hold what is not in the output: which slices are
// refused, what an error leaves behind, what is allocated. An attempt is made
// with crypto/cipher too, on the same memory, and all that can be seen of both
// must be the same.

func TestSizes(t *testing.T) {
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		a := newAEAD(t, impl, make([]byte, aesgcm.KeySize))
		if a.NonceSize() != 12 || a.Overhead() != 16 {
			t.Fatalf("nonce of %d bytes, tag of %d", a.NonceSize(), a.Overhead())
		}
		for n := range 100 {
			a, err := aesgcm.NewWith(impl, make([]byte, n))
			if (err == nil) != (n == aesgcm.KeySize) || (a == nil) != (err != nil) {
				t.Fatalf("key of %d bytes: %v, %v", n, a, err)
			}
		}
	})
}

// TestNonceSize panics on nonces of other sizes, before anything is written.
func TestNonceSize(t *testing.T) {
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		m := newMessage(t, source(21), 9, 100)
		a, ref := newAEAD(t, impl, m.key), reference(t, m.key)
		for n := range 65 {
			nonce := append(slices.Clone(m.nonce), make([]byte, 64)...)[:n]
			seal := func(a cipher.AEAD, memory []byte) (result, dst []byte, err error) {
				return a.Seal(memory[:0], nonce, m.plaintext, m.aad), memory, nil
			}
			open := func(a cipher.AEAD, memory []byte) (result, dst []byte, err error) {
				result, err = a.Open(memory[:0], nonce, m.sealed, m.aad)
				return result, memory, err
			}
			for name, f := range map[string]attempt{"Seal": seal, "Open": open} {
				o, err := sameOutcome(a, ref, make([]byte, 200), f)
				if err != nil {
					t.Fatalf("%s with a nonce of %d bytes: %v", name, n, err)
				}
				if (o.panicked == "yes") != (n != aesgcm.NonceSize) {
					t.Fatalf("%s with a nonce of %d bytes: panic %q", name, n, o.panicked)
				}
			}
		}
	})
}

// TestTooShort opens what is too short for a tag, and a tag alone.
func TestTooShort(t *testing.T) {
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		m := newMessage(t, source(22), 9, 0)
		a, ref := newAEAD(t, impl, m.key), reference(t, m.key)
		for n := range aesgcm.TagSize + 1 {
			for _, into := range []int{-1, 0, 5} { // nil, empty, not empty
				open := func(a cipher.AEAD, memory []byte) (result, dst []byte, err error) {
					if into >= 0 {
						dst = memory[:into]
					}
					result, err = a.Open(dst, m.nonce, m.sealed[:n:n], m.aad)
					return result, dst, err
				}
				o, err := sameOutcome(a, ref, bytes.Repeat([]byte{1}, 50), open)
				if err != nil {
					t.Fatalf("%d bytes into %d: %v", n, into, err)
				}
				if o.failed != (n < aesgcm.TagSize) {
					t.Fatalf("%d bytes: error %v", n, o.failed)
				}
			}
		}
	})
}

// TestDst appends to every kind of dst: nil, empty and not empty, with no room,
// not enough, just enough, and more.
func TestDst(t *testing.T) {
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		whole := newMessage(t, source(23), 9, 1100)
		a, ref := newAEAD(t, impl, whole.key), reference(t, whole.key)
		for _, n := range []int{0, 1, 15, 16, 17, 100, 1024, 1100} {
			m := whole.cut(ref, 9, n)
			try := func(name string, f attempt) {
				if _, err := sameOutcome(a, ref, bytes.Repeat([]byte{7}, 2000), f); err != nil {
					t.Fatalf("%s, %d bytes: %v", name, n, err)
				}
			}
			plaintext := m.plaintext
			if n == 0 {
				plaintext = nil
			}
			both := func(name string, of func(memory []byte, need int) []byte) {
				try("Seal to "+name, func(a cipher.AEAD, memory []byte) (result, dst []byte, err error) {
					dst = of(memory, n+aesgcm.TagSize)
					return a.Seal(dst, m.nonce, plaintext, m.aad), dst, nil
				})
				try("Open to "+name, func(a cipher.AEAD, memory []byte) (result, dst []byte, err error) {
					dst = of(memory, n)
					result, err = a.Open(dst, m.nonce, m.sealed, m.aad)
					return result, dst, err
				})
			}
			both("nil", func([]byte, int) []byte { return nil })
			for _, held := range []int{0, 1, 16, 77} {
				for _, spare := range []int{-1000, -17, -1, 0, 1, 15, 16, 300} {
					both(fmt.Sprintf("dst of %d bytes with room for %+d", held, spare), func(memory []byte, need int) []byte {
						return memory[:held:max(held, held+need+spare)]
					})
				}
			}
		}
	})
}

// TestOverlap moves dst, associated data and nonce over the input and the room
// for the output. Exactly where crypto/cipher panics there is a panic, and
// nothing was written; everywhere else the result is the same.
func TestOverlap(t *testing.T) {
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		r := source(24)
		key, whole := read(r, aesgcm.KeySize), read(r, 8000)
		a, ref := newAEAD(t, impl, key), reference(t, key)
		panics, calls := 0, 0
		for _, n := range []int{0, 1, 16, 17, 40, 300, 1300} {
			memory := whole[:4*n+160]
			in := n + 60 // where the input begins
			step := max(1, n/65)
			for at := 0; at <= len(memory)-n-aesgcm.TagSize; at += step {
				for _, prefix := range []int{0, 3} {
					dst := func(memory []byte) []byte { return memory[max(0, at-prefix):at] }
					overlapping(t, a, ref, memory, fmt.Sprintf("%d bytes at %d, dst of %d bytes, room at %d", n, in, prefix, at), &panics, &calls,
						slots{n, in, dst, func([]byte) []byte { return nil }, func([]byte) []byte { return whole[:12] }})
				}
			}
			for at := 0; at <= len(memory)-20; at++ {
				if n > 100 && at%7 != 0 && at > 200 {
					continue
				}
				apart := func(memory []byte) []byte { return memory[2*n+80 : 2*n+80] }
				inPlace := func(memory []byte) []byte { return memory[in:in] }
				nonce := func(memory []byte) []byte { return whole[:12] }
				for name, dst := range map[string]func([]byte) []byte{"apart": apart, "in place": inPlace} {
					for _, size := range []int{0, 1, 20} {
						overlapping(t, a, ref, memory, fmt.Sprintf("%d bytes at %d, %s, %d of associated data at %d", n, in, name, size, at), &panics, &calls,
							slots{n, in, dst, func(memory []byte) []byte { return memory[at:][:size] }, nonce})
					}
					overlapping(t, a, ref, memory, fmt.Sprintf("%d bytes at %d, %s, nonce at %d", n, in, name, at), &panics, &calls,
						slots{n, in, dst, func([]byte) []byte { return nil }, func(memory []byte) []byte { return memory[at:][:12] }})
				}
			}
		}
		if panics < calls/10 || panics > calls*9/10 {
			t.Fatalf("%d of %d calls panic: the sweep is not one over the bounds", panics, calls)
		}
	})
}

// slots are where the slices of a call lie in memory.
type slots struct {
	n, in           int // bytes of plaintext, where it begins
	dst, aad, nonce func(memory []byte) []byte
}

func overlapping(t *testing.T, a, ref cipher.AEAD, memory []byte, what string, panics, calls *int, s slots) {
	t.Helper()
	seal := func(a cipher.AEAD, memory []byte) (result, dst []byte, err error) {
		dst = s.dst(memory)
		return a.Seal(dst, s.nonce(memory), memory[s.in:][:s.n], s.aad(memory)), dst, nil
	}
	// The input is made where it lies, so what it is under is whatever lies in
	// the nonce and the associated data by then.
	open := func(a cipher.AEAD, memory []byte) (result, dst []byte, err error) {
		dst = s.dst(memory)
		in := memory[s.in:][:s.n+aesgcm.TagSize]
		copy(in, ref.Seal(nil, s.nonce(memory), in[:s.n], s.aad(memory)))
		result, err = a.Open(dst, s.nonce(memory), in, s.aad(memory))
		return result, dst, err
	}
	for name, f := range map[string]attempt{"Seal": seal, "Open": open} {
		o, err := sameOutcome(a, ref, memory, f)
		if err != nil {
			t.Fatalf("%s: %s: %v", name, what, err)
		}
		*calls++
		if o.panicked != "" {
			*panics++
		}
	}
}

// TestForgeries changes every bit of tag, ciphertext, associated data and
// nonce of some messages, and opens them apart and in place: an error, nil,
// zeros in dst's room, and everything else as it was.
func TestForgeries(t *testing.T) {
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		for i, size := range [][2]int{{0, 0}, {0, 1}, {1, 0}, {9, 15}, {20, 16}, {33, 17}, {9, 64}, {16, 129}, {9, 255}, {100, 256}, {300, 513}, {9, 1023}, {0, 1100}, {9, 2100}} {
			m := newMessage(t, source(uint64(30+i)), size[0], size[1])
			a, ref := newAEAD(t, impl, m.key), reference(t, m.key)
			for name, part := range map[string][]byte{"ciphertext and tag": m.sealed, "associated data": m.aad, "nonce": m.nonce} {
				for bit := range 8 * len(part) {
					part[bit/8] ^= 1 << (bit % 8)
					if err := refuses(a, ref, m); err != nil {
						t.Fatalf("%d bytes, %d of associated data, bit %d of the %s changed: %v", size[1], size[0], bit, name, err)
					}
					part[bit/8] ^= 1 << (bit % 8)
				}
			}
			for cut := range min(len(m.sealed), 40) {
				short := m
				short.sealed = m.sealed[:len(m.sealed)-1-cut]
				if err := refuses(a, ref, short); err != nil {
					t.Fatalf("%d bytes, %d less: %v", size[1], cut+1, err)
				}
			}
			if _, err := a.Open(nil, m.nonce, m.sealed, m.aad); err != nil {
				t.Fatalf("%d bytes, unchanged: %v", size[1], err)
			}
		}
	})
}

// refuses opens m, which no longer is what was sealed.
func refuses(a, ref cipher.AEAD, m message) error {
	const before, prefix = 32, 5
	n := max(0, len(m.sealed)-aesgcm.TagSize)
	memory := bytes.Repeat([]byte{0x5A}, before+prefix+len(m.sealed)+64)
	room := memory[before+prefix:]
	copy(room, m.sealed)
	apart := func(a cipher.AEAD, memory []byte) (result, dst []byte, err error) {
		dst = memory[before : before+prefix]
		result, err = a.Open(dst, m.nonce, m.sealed, m.aad)
		return result, dst, err
	}
	inPlace := func(a cipher.AEAD, memory []byte) (result, dst []byte, err error) {
		room := memory[before+prefix:]
		result, err = a.Open(room[:0], m.nonce, room[:len(m.sealed)], m.aad)
		return result, room, err
	}
	for name, f := range map[string]attempt{"apart": apart, "in place": inPlace} {
		o, err := sameOutcome(a, ref, memory, f)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		want := slices.Clone(memory)
		if len(m.sealed) >= aesgcm.TagSize {
			clear(want[before+prefix:][:n])
		}
		if !o.failed || !o.isNil || !bytes.Equal(o.memory, want) {
			return fmt.Errorf("%s: error %v, result nil %v, zeros and nothing else %v", name, o.failed, o.isNil, bytes.Equal(o.memory, want))
		}
	}
	return nil
}

// TestForgedLong changes bits all over long messages, and bytes of the tag to
// every other value.
func TestForgedLong(t *testing.T) {
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		m := newMessage(t, source(50), 9, 64<<10)
		a, ref := newAEAD(t, impl, m.key), reference(t, m.key)
		for bit := 0; bit < 8*len(m.sealed); bit += 8*257 + 1 {
			m.sealed[bit/8] ^= 1 << (bit % 8)
			if err := refuses(a, ref, m); err != nil {
				t.Fatalf("bit %d: %v", bit, err)
			}
			m.sealed[bit/8] ^= 1 << (bit % 8)
		}
		short := m.cut(ref, 9, 130)
		for i := range aesgcm.TagSize {
			for change := 1; change < 256; change++ {
				short.sealed[130+i] ^= byte(change)
				// Two bytes that differ alike would cancel in a comparison by sums.
				short.sealed[130+(i+1)%aesgcm.TagSize] ^= byte(change)
				if err := refuses(a, ref, short); err != nil {
					t.Fatalf("bytes %d and %d of the tag changed by %#x: %v", i, (i+1)%aesgcm.TagSize, change, err)
				}
				short.sealed[130+i] ^= byte(change)
				short.sealed[130+(i+1)%aesgcm.TagSize] ^= byte(change)
			}
		}
	})
}

// TestConcurrentUse shares one AEAD between goroutines.
func TestConcurrentUse(t *testing.T) {
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		const workers = 8
		whole := newMessage(t, source(51), 9, 5000)
		a, ref := newAEAD(t, impl, whole.key), reference(t, whole.key)
		var wg sync.WaitGroup
		for worker := range workers {
			wg.Go(func() {
				g := newRig(5000, 9)
				for i := range 200 {
					m := whole
					m.nonce = slices.Clone(whole.nonce)
					m.nonce[0], m.nonce[11] = byte(worker), byte(i)
					m = m.cut(ref, 9, (worker*677+i*23)%5001)
					if err := g.run(a, m, offsets{}); err != nil {
						t.Errorf("%d bytes: %v", len(m.plaintext), err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
}

// TestAllocations seals and opens into given room without allocating, also when
// the tag is wrong.
func TestAllocations(t *testing.T) {
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		for _, n := range []int{0, 1, 100, 4096, 64 << 10} {
			m := newMessage(t, source(52), 9, n)
			a := newAEAD(t, impl, m.key)
			room := make([]byte, n+aesgcm.TagSize)
			forged := slices.Clone(m.sealed)
			forged[n] ^= 1
			if got := testing.AllocsPerRun(10, func() {
				a.Seal(room[:0], m.nonce, m.plaintext, m.aad)
				if _, err := a.Open(room[:0], m.nonce, m.sealed, m.aad); err != nil {
					t.Fatal(err)
				}
				if _, err := a.Open(room[:0], m.nonce, forged, m.aad); err == nil {
					t.Fatal("opens a forgery")
				}
			}); got != 0 {
				t.Errorf("%d bytes: %v allocations", n, got)
			}
		}
	})
}
