package segment

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/aesgcm"
)

// suites are those that the cryptographic module in force allows.
func suites() []format.Suite {
	if fips140.Enforced() {
		return []format.Suite{format.AES256GCM}
	}
	return []format.Suite{format.AES256GCM, format.ChaCha20Poly1305}
}

func testKeys(t testing.TB, suite format.Suite, exp uint8) *Keys {
	t.Helper()
	k := new(Keys)
	err := k.Derive(bytes.Repeat([]byte{5}, 32), &format.Prelude{Suite: suite, SegmentExp: exp}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func pair(t testing.TB, k *Keys) (*Sealer, *Opener) {
	t.Helper()
	s, err := NewSealer(k)
	if err != nil {
		t.Fatal(err)
	}
	o, err := NewOpener(k)
	if err != nil {
		t.Fatal(err)
	}
	return s, o
}

func metaKey(t testing.TB, k *Keys) []byte {
	t.Helper()
	key := make([]byte, keySize)
	if err := k.derive(key, "metadata"); err != nil {
		t.Fatal(err)
	}
	return key
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func TestSealOpen(t *testing.T) {
	for _, suite := range suites() {
		s, o := pair(t, testKeys(t, suite, 12))
		for _, n := range []int{0, 1, 15, 16, 17, 4095, 4096} {
			for _, index := range []int64{0, 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 1 << 50, math.MaxInt64} {
				for _, final := range []bool{false, true} {
					name := fmt.Sprintf("%v, %d bytes, segment %d, final %v", suite, n, index, final)
					plaintext := random(n)
					dst := make([]byte, 3, 3+n+format.SegmentOverhead)
					stored := s.Seal(dst, plaintext, index, final)[3:]
					if len(stored) != n+format.SegmentOverhead {
						t.Fatalf("%s: %d stored bytes", name, len(stored))
					}
					got, err := o.Open(nil, stored, index, final)
					if err != nil || !bytes.Equal(got, plaintext) {
						t.Fatalf("%s: %v", name, err)
					}
					// In place, where EncryptReader has the plaintext.
					room := make([]byte, n+format.SegmentOverhead)
					inside := room[format.NonceSize : format.NonceSize+n]
					copy(inside, plaintext)
					stored = s.Seal(room[:0], inside, index, final)
					if &stored[0] != &room[0] {
						t.Fatalf("%s: sealing in place moved", name)
					}
					got, err = o.Open(make([]byte, 0, n), stored, index, final)
					if err != nil || !bytes.Equal(got, plaintext) {
						t.Fatalf("%s, in place: %v", name, err)
					}
				}
			}
		}
	}
}

// TestSegmentIsBoundToItsPlace opens a segment with every wrong index, final
// flag, key, suite and bit.
func TestSegmentIsBoundToItsPlace(t *testing.T) {
	for _, suite := range suites() {
		k := testKeys(t, suite, 12)
		s, o := pair(t, k)
		const index = 1<<20 + 5
		plaintext := random(100)
		stored := s.Seal(make([]byte, 0, 200), plaintext, index, false)
		refuse := func(what string, o *Opener, stored []byte, index int64, final bool) {
			t.Helper()
			dst := bytes.Repeat([]byte{0xEE}, 200)
			if got, err := o.Open(dst[:0], stored, index, final); !errors.Is(err, ErrAuth) || got != nil {
				t.Errorf("%v, %s: %v", suite, what, err)
			}
			for n := 8; n <= len(plaintext); n += 8 {
				if bytes.Contains(dst, plaintext[n-8:n]) {
					t.Fatalf("%v, %s: plaintext is left in the destination", suite, what)
				}
			}
		}
		refuse("final", o, stored, index, true)
		for shift := range 62 {
			refuse("another index", o, stored, index^1<<shift, false)
		}
		for i := range stored {
			for bit := range 8 {
				stored[i] ^= 1 << bit
				refuse("a bit flipped", o, stored, index, false)
				stored[i] ^= 1 << bit
			}
		}
		for n := range len(stored) {
			refuse("cut", o, stored[:n], index, false)
		}
		for what, p := range map[string]*format.Prelude{
			"another IV":           {Suite: suite, SegmentExp: 12, IV: [32]byte{1}},
			"another segment size": {Suite: suite, SegmentExp: 13},
			"another flag":         {Suite: suite, SegmentExp: 12, Flags: format.FlagDetached},
		} {
			other := new(Keys)
			err := other.Derive(bytes.Repeat([]byte{5}, 32), p, nil)
			if err != nil {
				t.Fatal(err)
			}
			_, o := pair(t, other)
			refuse(what, o, stored, index, false)
		}
		if got, err := o.Open(nil, stored, index, false); err != nil || !bytes.Equal(got, plaintext) {
			t.Errorf("the unchanged segment: %v", err)
		}
	}
}

func TestEpochs(t *testing.T) {
	for exp, shift := range map[uint8]uint{12: 20, 16: 20, 17: 19, 20: 16, 24: 12} {
		if got := EpochShift(exp); got != shift {
			t.Errorf("k=%d: epochs of 2^%d segments, expected 2^%d", exp, got, shift)
		}
		k := testKeys(t, format.AES256GCM, exp)
		a, err := epochKey(&k.stream, 0)
		if err != nil {
			t.Fatal(err)
		}
		b, err := epochKey(&k.stream, 1)
		if err != nil {
			t.Fatal(err)
		}
		if a == b {
			t.Error("two epochs have one key")
		}
		s, _ := pair(t, k)
		for _, c := range []struct {
			index int64
			epoch uint64
		}{{1<<shift - 1, 0}, {1 << shift, 1}, {0, 0}} {
			s.Seal(make([]byte, 0, 64), nil, c.index, false)
			if got := s.epochs.current.Load().epoch; got != c.epoch {
				t.Errorf("k=%d: segment %d is in epoch %d, expected %d", exp, c.index, got, c.epoch)
			}
		}
	}
}

func TestNoncesNeverRepeat(t *testing.T) {
	var n nonces
	seen := make(map[string]bool)
	for range 1000 {
		nonce := string(n.next())
		if len(nonce) != format.NonceSize || seen[nonce] {
			t.Fatalf("nonce %x of %d", nonce, len(seen))
		}
		seen[nonce] = true
	}
}

// TestRandomNonceAEAD seals with each of the two ways that AES-GCM has in Go
// and opens with the other.
func TestRandomNonceAEAD(t *testing.T) {
	if fips140.Enforced() {
		return // only one of the two is allowed, and TestSealOpen has it
	}
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	withNonce, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	a, b := aead{AEAD: plain}, aead{AEAD: withNonce, random: true}
	ad := []byte("ad")
	var n nonces
	for _, size := range []int{0, 1, 11, 12, 13, 100, 4096} {
		for _, c := range [][2]aead{{a, b}, {b, a}, {b, b}} {
			for _, inPlace := range []bool{false, true} {
				plaintext := random(size)
				room := make([]byte, size+format.SegmentOverhead)
				from := bytes.Clone(plaintext)
				if inPlace {
					from = room[format.NonceSize : format.NonceSize+size]
					copy(from, plaintext)
				}
				stored := c[0].seal(room[:0], from, ad, &n)
				got, err := c[1].open(nil, stored, ad)
				if err != nil || !bytes.Equal(got, plaintext) {
					t.Errorf("%d bytes, in place %v: %v", size, inPlace, err)
				}
			}
		}
	}
}

func TestHeaderAndMetadata(t *testing.T) {
	for _, suite := range suites() {
		k := testKeys(t, suite, 16)
		header := random(200)
		mac := k.HeaderMAC(header)
		copy(header[200-format.MACSize:], mac[:])
		if err := k.VerifyHeader(header); err != nil {
			t.Error(err)
		}
		for i := range header {
			header[i] ^= 1
			if err := k.VerifyHeader(header); !errors.Is(err, ErrAuth) {
				t.Fatalf("byte %d changed: %v", i, err)
			}
			header[i] ^= 1
		}
		p := format.Prelude{Commitment: k.Commitment()}
		if err := k.VerifyCommitment(&p); err != nil {
			t.Error(err)
		}
		for i := range p.Commitment {
			p.Commitment[i] ^= 0x80
			if err := k.VerifyCommitment(&p); !errors.Is(err, ErrAuth) {
				t.Fatalf("commitment byte %d changed: %v", i, err)
			}
			p.Commitment[i] ^= 0x80
		}
		value, err := k.SealMetadata([]byte("pairs"))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := k.OpenMetadata(value); err != nil || string(got) != "pairs" {
			t.Errorf("metadata %q, %v", got, err)
		}
		value[3] ^= 1
		if got, err := k.OpenMetadata(value); !errors.Is(err, ErrAuth) || got != nil {
			t.Errorf("changed metadata: %q, %v", got, err)
		}
	}
}

func TestDeriveDependsOnEverything(t *testing.T) {
	base := func() (dataKey []byte, p *format.Prelude, ad []byte) {
		return bytes.Repeat([]byte{5}, 32), &format.Prelude{Suite: format.AES256GCM, SegmentExp: 16}, []byte("ad")
	}
	derive := func(dataKey []byte, p *format.Prelude, ad []byte) *Keys {
		k := new(Keys)
		err := k.Derive(dataKey, p, ad)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	seen := map[string]string{}
	add := func(what string, k *Keys) {
		for name, key := range map[string][]byte{"commitment": k.commitment[:], "header": k.header[:], "meta": metaKey(t, k), "stream": k.stream[:32], "stream's tail": k.stream[32:]} {
			if other, ok := seen[string(key)]; ok {
				t.Errorf("%s key of %s is also the %s", name, what, other)
			}
			seen[string(key)] = name + " key of " + what
		}
	}
	add("the base", derive(base()))
	for i := range 32 {
		dataKey, p, ad := base()
		dataKey[i] ^= 1
		add(fmt.Sprintf("data key byte %d", i), derive(dataKey, p, ad))
		dataKey, p, ad = base()
		p.IV[i] ^= 1
		add(fmt.Sprintf("IV byte %d", i), derive(dataKey, p, ad))
	}
	dataKey, p, ad := base()
	p.Suite = format.ChaCha20Poly1305
	add("another suite", derive(dataKey, p, ad))
	dataKey, p, ad = base()
	p.SegmentExp = 17
	add("another segment size", derive(dataKey, p, ad))
	dataKey, p, ad = base()
	p.Flags = format.FlagDetached
	add("another flag", derive(dataKey, p, ad))
	dataKey, p, _ = base()
	add("other associated data", derive(dataKey, p, []byte("AD")))
	dataKey, p, _ = base()
	add("no associated data", derive(dataKey, p, nil))

	dataKey, p, ad = base()
	p.Commitment[0] ^= 1
	if again := derive(dataKey, p, ad); again.stream != derive(base()).stream {
		t.Error("the commitment enters the derivation that it is the result of")
	}
	for _, n := range []int{0, 16, 31, 33} {
		if err := new(Keys).Derive(make([]byte, n), p, nil); err == nil {
			t.Errorf("a data key of %d bytes is accepted", n)
		}
	}
}

func TestKeysAreCleared(t *testing.T) {
	k := testKeys(t, format.AES256GCM, 16)
	s, o := pair(t, k)
	stored := s.Seal(make([]byte, 0, 100), []byte("x"), 1<<30, false)
	k.Close()
	if _, err := o.Open(nil, stored, 1<<30, false); err != nil {
		t.Errorf("an Opener depends on the Keys it was made from: %v", err)
	}
	s.Close()
	o.Close()
	if *k != (Keys{}) {
		t.Error("the Keys are not cleared")
	}
	for name, e := range map[string]*epochs{"Sealer": &s.epochs, "Opener": &o.epochs} {
		if e.key != [streamKeySize]byte{} || e.first != (cipherState{}) || e.current.Load() != nil {
			t.Errorf("the %s's keys are not cleared", name)
		}
	}
}

func TestOpenerIsConcurrent(t *testing.T) {
	s, o := pair(t, testKeys(t, format.AES256GCM, 12))
	var stored [8][]byte
	for i := range stored {
		stored[i] = s.Seal(make([]byte, 0, 100), []byte{byte(i)}, int64(i)<<20, false) // each in its own epoch
	}
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				j := (i + g) % len(stored)
				if got, err := o.Open(nil, stored[j], int64(j)<<20, false); err != nil || got[0] != byte(j) {
					t.Errorf("segment of epoch %d: %v", j, err)
				}
			}
		})
	}
	wg.Wait()
}

// TestSealerIsConcurrent seals the same few indices, each in its own epoch,
// from several goroutines: all nonces differ, and all segments open.
func TestSealerIsConcurrent(t *testing.T) {
	const goroutines, each, epochs = 8, 300, 4
	for _, suite := range suites() {
		s, o := pair(t, testKeys(t, suite, 12))
		var stored [goroutines][each][]byte
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Go(func() {
				for i := range each {
					stored[g][i] = s.Seal(make([]byte, 0, 100), []byte{byte(g), byte(i)}, int64(i%epochs)<<20, i%2 == 0)
				}
			})
		}
		wg.Wait()
		seen := make(map[string]bool)
		for g := range goroutines {
			for i, b := range stored[g] {
				got, err := o.Open(nil, b, int64(i%epochs)<<20, i%2 == 0)
				if err != nil || !bytes.Equal(got, []byte{byte(g), byte(i)}) {
					t.Fatalf("%v: segment %d of goroutine %d: %x, %v", suite, i, g, got, err)
				}
				seen[string(b[:format.NonceSize])] = true
			}
		}
		if len(seen) != goroutines*each {
			t.Errorf("%v: %d nonces for %d segments", suite, len(seen), goroutines*each)
		}
	}
}

func BenchmarkSeal(b *testing.B) {
	for _, suite := range suites() {
		for _, exp := range []uint8{12, 16, 20} {
			b.Run(fmt.Sprintf("suite=%v/segment=%dKiB", suite, 1<<exp>>10), func(b *testing.B) {
				s, _ := pair(b, testKeys(b, suite, exp))
				plaintext := random(1 << exp)
				dst := make([]byte, 0, 1<<exp+format.SegmentOverhead)
				b.SetBytes(1 << exp)
				b.ReportAllocs()
				for i := int64(0); b.Loop(); i++ {
					s.Seal(dst, plaintext, i, false)
				}
			})
		}
	}
}

// TestCloseClearsKernels keeps the AEADs of epochs beyond Close: what they had of
// their keys is gone.
func TestCloseClearsKernels(t *testing.T) {
	if aesgcm.Chosen() == aesgcm.Standard {
		t.Skip("the standard library's AES-GCM cannot be cleared")
	}
	var n [format.NonceSize]byte
	seal := func(a cipher.AEAD) []byte { return a.Seal(nil, n[:], []byte("data"), nil) }
	cleared, err := aesgcm.New(make([]byte, aesgcm.KeySize))
	if err != nil {
		t.Fatal(err)
	}
	aesgcm.Clear(cleared)
	for _, index := range []int64{0, 1 << 20} {
		s, _ := pair(t, testKeys(t, format.AES256GCM, 12))
		s.Seal(make([]byte, 0, format.SegmentOverhead), nil, index, true)
		first, current := s.epochs.first.aead.AEAD, s.epochs.current.Load().aead.AEAD
		if bytes.Equal(seal(first), seal(cleared)) || bytes.Equal(seal(current), seal(cleared)) {
			t.Fatal("there is no key to clear")
		}
		s.Close()
		if !bytes.Equal(seal(first), seal(cleared)) || !bytes.Equal(seal(current), seal(cleared)) {
			t.Errorf("after segment %d, a key is left", index)
		}
	}
}
