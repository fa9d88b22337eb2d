package aesgcm_test

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/bulla-format/bulla/internal/aesgcm"
)

// each runs a test for every implementation that this process can use.
func each(t *testing.T, test func(t *testing.T, impl aesgcm.Implementation)) {
	if fips140.Enforced() {
		t.Skip("the FIPS 140-3 module refuses AES-GCM under nonces of the caller's choice")
	}
	for _, impl := range aesgcm.Available() {
		t.Run("impl="+impl.String(), func(t *testing.T) { test(t, impl) })
	}
}

func newAEAD(t testing.TB, impl aesgcm.Implementation, key []byte) cipher.AEAD {
	t.Helper()
	a, err := aesgcm.NewWith(impl, key)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// reference returns what every implementation is compared with.
func reference(t testing.TB, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	a, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// source makes bytes that are the same in every run.
func source(seed uint64) *rand.ChaCha8 {
	var b [32]byte
	for i := range 8 {
		b[i] = byte(seed >> (8 * i))
	}
	return rand.NewChaCha8(b)
}

func read(r *rand.ChaCha8, n int) []byte {
	b := make([]byte, n)
	r.Read(b)
	return b
}

// A message is one that is sealed and opened, with what it must become.
type message struct {
	key, nonce, aad, plaintext []byte
	sealed                     []byte // ciphertext and tag, by the reference
}

func newMessage(t testing.TB, r *rand.ChaCha8, aad, n int) message {
	t.Helper()
	m := message{key: read(r, aesgcm.KeySize), nonce: read(r, aesgcm.NonceSize), aad: read(r, aad), plaintext: read(r, n)}
	m.sealed = reference(t, m.key).Seal(nil, m.nonce, m.plaintext, m.aad)
	return m
}

// cut returns the message of the first aad and n bytes of m's.
func (m message) cut(ref cipher.AEAD, aad, n int) message {
	m.aad, m.plaintext = m.aad[:aad], m.plaintext[:n]
	m.sealed = ref.Seal(nil, m.nonce, m.plaintext, m.aad)
	return m
}

const (
	align  = 64 // bytes, the widest register
	margin = 2 * align
)

// fill is what the margins hold.
var fill = bytes.Repeat([]byte{0xA7}, margin+align)

// A tray holds one slice at a time, at any alignment, between margins.
type tray struct {
	all  []byte
	from int // of the slice in all
	n    int
}

// newTray makes a tray for slices of up to size bytes.
func newTray(size int) *tray {
	all := make([]byte, size+2*margin+2*align)
	all = all[-uintptr(unsafe.Pointer(&all[0]))%align:]
	return &tray{all: all}
}

// put copies b to off bytes behind a multiple of align.
func (y *tray) put(off int, b []byte) []byte {
	p := y.room(off, len(b))
	copy(p, b)
	return p
}

// room returns n zeros at off bytes behind a multiple of align. Its capacity is
// its length.
func (y *tray) room(off, n int) []byte {
	y.from, y.n = margin+off, n
	p := y.all[y.from : y.from+n : y.from+n]
	clear(p)
	copy(y.all[:y.from], fill)
	copy(y.all[y.from+n:][:margin], fill)
	return p
}

// edges says where the margins are no longer what they were, or nothing.
func (y *tray) edges() string {
	if i := difference(y.all[:y.from], fill[:y.from]); i >= 0 {
		return fmt.Sprintf("writes %d bytes before", y.from-i)
	}
	if i := difference(y.all[y.from+y.n:][:margin], fill[:margin]); i >= 0 {
		return fmt.Sprintf("writes at the end + %d", i)
	}
	return ""
}

// difference returns the first index at which a and b differ, or -1.
func difference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// A rig seals and opens messages at any alignment, and looks at all the memory
// around them.
type rig struct {
	src, dst, aad, nonce *tray
}

func newRig(size, aad int) *rig {
	return &rig{
		src: newTray(size + aesgcm.TagSize), dst: newTray(size + 2*aesgcm.TagSize),
		aad: newTray(aad), nonce: newTray(aesgcm.NonceSize),
	}
}

// offsets are where the slices begin, in bytes behind a multiple of align, and
// how much dst holds already.
type offsets struct{ src, dst, aad, nonce, prefix int }

// check seals and opens m by a, apart and in place.
func (r *rig) check(t testing.TB, a cipher.AEAD, m message, at offsets) {
	t.Helper()
	if err := r.run(a, m, at); err != nil {
		t.Fatalf("%d bytes, %d of associated data, %+v: %v", len(m.plaintext), len(m.aad), at, err)
	}
}

func (r *rig) run(a cipher.AEAD, m message, at offsets) error {
	nonce, aad := r.nonce.put(at.nonce, m.nonce), r.aad.put(at.aad, m.aad)
	seal := func(dst, src []byte) ([]byte, error) { return a.Seal(dst, nonce, src, aad), nil }
	open := func(dst, src []byte) ([]byte, error) { return a.Open(dst, nonce, src, aad) }
	if err := r.apart(seal, m.plaintext, m.sealed, at); err != nil {
		return fmt.Errorf("Seal: %w", err)
	}
	if err := r.apart(open, m.sealed, m.plaintext, at); err != nil {
		return fmt.Errorf("Open: %w", err)
	}
	if err := r.inPlace(seal, m.plaintext, m.sealed, at); err != nil {
		return fmt.Errorf("Seal in place: %w", err)
	}
	if err := r.inPlace(open, m.sealed, m.plaintext, at); err != nil {
		return fmt.Errorf("Open in place: %w", err)
	}
	switch {
	case !bytes.Equal(nonce, m.nonce) || r.nonce.edges() != "":
		return fmt.Errorf("changes the nonce (%s)", r.nonce.edges())
	case !bytes.Equal(aad, m.aad) || r.aad.edges() != "":
		return fmt.Errorf("changes the associated data (%s)", r.aad.edges())
	}
	return nil
}

type call func(dst, src []byte) ([]byte, error)

func (r *rig) apart(f call, in, want []byte, at offsets) error {
	src := r.src.put(at.src, in)
	room := r.dst.room(at.dst, at.prefix+len(want))
	copy(room[:at.prefix], fill)
	got, err := f(room[:at.prefix], src)
	switch {
	case err != nil:
		return err
	case len(got) != len(room) || len(got) > 0 && &got[0] != &room[0]:
		return fmt.Errorf("result of %d bytes elsewhere than in dst", len(got))
	case !bytes.Equal(got[:at.prefix], fill[:at.prefix]):
		return fmt.Errorf("dst has another beginning: %x", got[:at.prefix])
	case r.dst.edges() != "":
		return fmt.Errorf("%s dst", r.dst.edges())
	case !bytes.Equal(src, in) || r.src.edges() != "":
		return fmt.Errorf("changes its input (%s)", r.src.edges())
	}
	return same(got[at.prefix:], want)
}

func (r *rig) inPlace(f call, in, want []byte, at offsets) error {
	room := r.src.room(at.src, max(len(in), len(want)))
	copy(room, in)
	got, err := f(room[:0], room[:len(in)])
	switch {
	case err != nil:
		return err
	case len(got) != len(want) || len(got) > 0 && &got[0] != &room[0]:
		return fmt.Errorf("result of %d bytes elsewhere than in place", len(got))
	case r.src.edges() != "":
		return fmt.Errorf("%s the room", r.src.edges())
	case !bytes.Equal(room[len(got):], in[min(len(got), len(in)):]):
		return fmt.Errorf("changes the input behind the output")
	}
	return same(got, want)
}

func same(got, want []byte) error {
	i := difference(got, want)
	if i < 0 {
		return nil
	}
	if i >= len(got) || i >= len(want) {
		return fmt.Errorf("%d bytes, expected %d", len(got), len(want))
	}
	return fmt.Errorf("byte %d of %d is %#x, expected %#x (%d differ)", i, len(want), got[i], want[i], differing(got, want))
}

func differing(a, b []byte) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

// An outcome is all that can be seen of a call on slices of a piece of memory.
type outcome struct {
	panicked string // "", "yes", or what the runtime had to say
	failed   bool
	isNil    bool
	inside   bool   // the result begins where dst did
	result   []byte // a copy
	memory   []byte // afterwards
}

// An attempt calls Seal or Open once, on slices of memory. It returns what they
// returned, and dst.
type attempt func(a cipher.AEAD, memory []byte) (result, dst []byte, err error)

// observe makes an attempt on a copy of memory.
func observe(a cipher.AEAD, memory []byte, f attempt) (o outcome) {
	o.memory = slices.Clone(memory)
	defer func() {
		switch v := recover().(type) {
		case nil:
		case runtime.Error:
			// The address of a fault is not compared, only that there was one.
			o.panicked, _, _ = strings.Cut(v.Error(), "0x")
		default:
			o.panicked = "yes"
		}
	}()
	result, dst, err := f(a, o.memory)
	o.result, o.failed, o.isNil = slices.Clone(result), err != nil, result == nil
	o.inside = cap(result) > 0 && cap(dst) > 0 && unsafe.SliceData(result) == unsafe.SliceData(dst)
	return o
}

// sameOutcome makes an attempt with two implementations and returns what came of
// it with a, and an error where that is not the same with ref.
func sameOutcome(a, ref cipher.AEAD, memory []byte, f attempt) (outcome, error) {
	got, want := observe(a, memory, f), observe(ref, memory, f)
	if got.panicked != want.panicked || got.failed != want.failed || got.isNil != want.isNil || got.inside != want.inside {
		summary := func(o outcome) string {
			return fmt.Sprintf("panic %q, error %v, nil %v, appended in place %v", o.panicked, o.failed, o.isNil, o.inside)
		}
		return got, fmt.Errorf("%s; crypto/cipher: %s", summary(got), summary(want))
	}
	if err := same(got.result, want.result); err != nil {
		return got, fmt.Errorf("result: %w", err)
	}
	if err := same(got.memory, want.memory); err != nil {
		return got, fmt.Errorf("memory afterwards: %w", err)
	}
	return got, nil
}
