//go:build darwin || linux

package aesgcm_test

import (
	"bytes"
	"crypto/cipher"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strconv"
	"syscall"
	"testing"
	"unsafe"

	"github.com/bulla-format/bulla/internal/aesgcm"
)

// mapped returns n bytes of memory outside the heap, zeros, for the time of
// the test.
func mapped(t *testing.T, n, protection int) []byte {
	t.Helper()
	p, err := syscall.Mmap(-1, 0, n, protection, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Fatalf("mapping %d bytes: %v", n, err)
	}
	t.Cleanup(func() {
		if err := syscall.Munmap(p); err != nil {
			t.Error(err)
		}
	})
	return p
}

// A cell is memory between two pages that cannot be accessed.
type cell struct {
	name string
	open []byte
}

func newCell(t *testing.T, name string, size int) cell {
	t.Helper()
	page := syscall.Getpagesize()
	size = (size + page - 1) / page * page
	all := mapped(t, size+2*page, syscall.PROT_NONE)
	open := all[page : page+size]
	if err := syscall.Mprotect(open, syscall.PROT_READ|syscall.PROT_WRITE); err != nil {
		t.Fatal(err)
	}
	return cell{name, open}
}

// room returns n bytes right behind the page before, or right before the page
// behind. Its capacity is its length.
func (c cell) room(n int, atEnd bool) []byte {
	from := 0
	if atEnd {
		from = len(c.open) - n
	}
	return c.open[from : from+n : from+n]
}

func (c cell) put(b []byte, atEnd bool) []byte {
	p := c.room(len(b), atEnd)
	copy(p, b)
	return p
}

// where says how far a faulty address lies from the cell, if near.
func (c cell) where(address uintptr) string {
	from := uintptr(unsafe.Pointer(unsafe.SliceData(c.open)))
	to := from + uintptr(len(c.open))
	page := uintptr(syscall.Getpagesize())
	switch {
	case address < from && from-address <= page:
		return fmt.Sprintf("%d bytes before the page of the %s begins", from-address, c.name)
	case address >= to && address-to < page:
		return fmt.Sprintf("at the end of the page of the %s + %d", c.name, address-to)
	}
	return ""
}

// cells are one for each slice.
type cells struct{ key, nonce, aad, src, dst cell }

func newCells(t *testing.T, size, aad int) *cells {
	t.Helper()
	return &cells{
		key: newCell(t, "key", aesgcm.KeySize), nonce: newCell(t, "nonce", aesgcm.NonceSize), aad: newCell(t, "associated data", aad),
		src: newCell(t, "source", size+aesgcm.TagSize), dst: newCell(t, "destination", size+aesgcm.TagSize),
	}
}

// try seals and opens m with every slice at the edge of its page, the room in
// dst exactly what the result needs.
func (c *cells) try(impl aesgcm.Implementation, m message, atEnd bool) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	doing := "New"
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		err = fmt.Errorf("%s: panic: %v", doing, v)
		if fault, ok := v.(interface{ Addr() uintptr }); ok {
			for _, c := range []cell{c.key, c.nonce, c.aad, c.src, c.dst} {
				if where := c.where(fault.Addr()); where != "" {
					err = fmt.Errorf("%s: touches the byte %s", doing, where)
				}
			}
		}
	}()
	a, err := aesgcm.NewWith(impl, c.key.put(m.key, atEnd))
	if err != nil {
		return err
	}
	nonce, aad := c.nonce.put(m.nonce, atEnd), c.aad.put(m.aad, atEnd)
	n := len(m.plaintext)

	doing = "Seal"
	dst := c.dst.room(n+aesgcm.TagSize, atEnd)
	if err := same(a.Seal(dst[:0], nonce, c.src.put(m.plaintext, atEnd), aad), m.sealed); err != nil {
		return fmt.Errorf("Seal: %w", err)
	}
	doing = "Open"
	dst = c.dst.room(n, atEnd)
	if got, err := a.Open(dst[:0], nonce, c.src.put(m.sealed, atEnd), aad); err != nil || !bytes.Equal(got, m.plaintext) {
		return fmt.Errorf("Open: another plaintext, or %w", err)
	}
	doing = "Open of a wrong tag"
	src := c.src.put(m.sealed, atEnd)
	src[n+aesgcm.TagSize-1] ^= 1
	if _, err := a.Open(dst[:0], nonce, src, aad); err == nil || !bytes.Equal(dst, make([]byte, n)) {
		return fmt.Errorf("Open of a wrong tag: error %w, or no zeros in dst", err)
	}
	doing = "Seal in place"
	src = c.src.room(n+aesgcm.TagSize, atEnd)
	copy(src, m.plaintext)
	if err := same(a.Seal(src[:0], nonce, src[:n], aad), m.sealed); err != nil {
		return fmt.Errorf("Seal in place: %w", err)
	}
	doing = "Open in place"
	if got, err := a.Open(src[:0], nonce, src, aad); err != nil || !bytes.Equal(got, m.plaintext) {
		return fmt.Errorf("Open in place: another plaintext, or %w", err)
	}
	return nil
}

// TestGuardPages puts every slice, the key too, right before and right behind
// pages that cannot be accessed: no byte outside of them is read or written.
func TestGuardPages(t *testing.T) {
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		const limit = 1<<20 + 1
		whole, c := newMessage(t, source(11), 64<<10+1, limit), newCells(t, limit, 64<<10+1)
		ref := reference(t, whole.key)
		try := func(aad, n int) {
			t.Helper()
			m := whole.cut(ref, aad, n)
			for _, atEnd := range []bool{false, true} {
				if err := c.try(impl, m, atEnd); err != nil {
					t.Fatalf("%d bytes, %d of associated data, at the end of the page %v: %v", n, aad, atEnd, err)
				}
			}
		}
		for n := range 2101 {
			try(n%35, n)
			try(9, n)
		}
		for aad := range 301 {
			for _, n := range []int{0, 1, 17, 64, 300, 1100} {
				try(aad, n)
			}
		}
		for _, n := range []int{4 << 10, 16 << 10, 64<<10 + 1} {
			for d := range 20 {
				try(d, n-d)
			}
		}
		for _, n := range []int{1<<20 - 17, 1<<20 - 1, 1 << 20, limit} {
			try(9, n)
		}
		for _, aad := range []int{1023, 4096, 4097, 64 << 10, 64<<10 + 1} {
			try(aad, 100)
		}
		random := rand.New(source(12))
		for range 300 {
			try(random.IntN(2049), random.IntN(16<<10))
		}
	})
}

// TestPlacement keeps what a kernel has of a key at every alignment, between
// margins, and at the edges of pages that cannot be accessed: it is aligned for
// speed alone, and neither read nor written beyond its size, whatever it held
// before.
func TestPlacement(t *testing.T) {
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		if impl == aesgcm.Standard {
			return
		}
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		whole, g := newMessage(t, source(14), 140, 2100), newRig(2100, 140)
		ref := reference(t, whole.key)
		tray, c := newTray(aesgcm.KernelSize), newCell(t, "key's context", aesgcm.KernelSize)
		try := func(p []byte, n int) {
			t.Helper()
			for i := range p {
				p[i] = byte(n + i)
			}
			a := aesgcm.PlaceKernel(impl, p, whole.key)
			set := bytes.Clone(p)
			g.check(t, a, whole.cut(ref, n%141, n), offsets{})
			if !bytes.Equal(p, set) {
				t.Fatalf("%d bytes: what the kernel has of the key changes", n)
			}
		}
		for n := range 2101 {
			try(tray.room(n%align, aesgcm.KernelSize), n)
			if edges := tray.edges(); edges != "" {
				t.Fatalf("%d bytes: %s the room", n, edges)
			}
			try(c.room(aesgcm.KernelSize, false), n)
			try(c.room(aesgcm.KernelSize, true), n)
		}
	})
}

// TestCellsFault proves that the pages of a cell are out of reach, and that a
// fault is reported as one: by where it was.
func TestCellsFault(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	c := newCell(t, "cell", 100)
	for _, test := range []struct {
		atEnd bool
		at    int
		where string
	}{
		{false, -1, "1 bytes before the page of the cell begins"},
		{true, 100, "at the end of the page of the cell + 0"},
		{true, 163, "at the end of the page of the cell + 63"},
	} {
		func() {
			defer func() {
				fault, ok := recover().(interface{ Addr() uintptr })
				if !ok || c.where(fault.Addr()) != test.where {
					t.Errorf("byte %d: %v", test.at, fault)
				}
			}()
			p := unsafe.Pointer(unsafe.SliceData(c.room(100, test.atEnd)))
			*(*byte)(unsafe.Add(p, test.at)) = 1
		}()
	}
}

// TestTooLarge takes messages at and above the limit of 2^36-32 bytes, in
// memory that cannot be accessed: above it the length is refused before that
// is tried, as crypto/cipher does, and at the limit it is not refused, so there
// is a fault.
func TestTooLarge(t *testing.T) {
	if strconv.IntSize < 64 {
		t.Skip("an int does not reach the limit")
	}
	var limit uint64 = 1<<36 - 32
	huge := mapped(t, int(limit+4096), syscall.PROT_NONE)
	nonce := make([]byte, aesgcm.NonceSize)
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		key := make([]byte, aesgcm.KeySize)
		a, ref := newAEAD(t, impl, key), reference(t, key)
		for d := -1; d <= 40; d++ {
			n := int(limit) + d
			calls := map[string]attempt{
				"Seal in place": func(a cipher.AEAD, _ []byte) (result, dst []byte, err error) {
					return a.Seal(huge[:0], nonce, huge[:n], nil), nil, nil
				},
				"Open in place": func(a cipher.AEAD, _ []byte) (result, dst []byte, err error) {
					result, err = a.Open(huge[:0], nonce, huge[:n], nil)
					return result, nil, err
				},
			}
			if d > aesgcm.TagSize { // below, the memory for the result would be allocated
				calls["Seal"] = func(a cipher.AEAD, _ []byte) (result, dst []byte, err error) {
					return a.Seal(nil, nonce, huge[:n], nil), nil, nil
				}
				calls["Open"] = func(a cipher.AEAD, _ []byte) (result, dst []byte, err error) {
					result, err = a.Open(nil, nonce, huge[:n], nil)
					return result, nil, err
				}
			}
			for name, call := range calls {
				if _, err := sameOutcome(a, ref, nil, call); err != nil {
					t.Fatalf("%s of 2^36-32%+d bytes: %v", name, d, err)
				}
			}
		}
	})
}

// TestCounter24 crosses 2^24 blocks: what an implementation seals over 256 MiB
// opens by crypto/cipher, and the other way round.
func TestCounter24(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 256 MiB of memory")
	}
	const n = 256<<20 + 3000
	p := mapped(t, n+aesgcm.TagSize, syscall.PROT_READ|syscall.PROT_WRITE)
	each(t, func(t *testing.T, impl aesgcm.Implementation) {
		if impl == aesgcm.Standard {
			return // it is the reference
		}
		m := newMessage(t, source(13), 9, 0)
		a, ref := newAEAD(t, impl, m.key), reference(t, m.key)
		for _, pair := range [][2]cipher.AEAD{{a, ref}, {ref, a}} {
			sealed := pair[0].Seal(p[:0], m.nonce, p[:n], m.aad)
			got, err := pair[1].Open(p[:0], m.nonce, sealed, m.aad)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Count(got, []byte{0}) != n {
				t.Fatal("another plaintext")
			}
			clear(p)
		}
	})
}
