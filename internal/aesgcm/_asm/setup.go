package main

import (
	"fmt"
	"strings"
)

// setup fills a context from a key: round keys, powers of the hash key, and
// the sums of their halves. It runs on 256-bit registers in both kernels.
func (k *kernel) setup() string {
	body := join(
		ins("MOVQ", "ctx+0(FP)", "DI"),
		ins("MOVQ", "key+8(FP)", "SI"),
		k.expandKey(),
		hashKey(),
		k.powers(),
		k.halfSums(),
		ins("VZEROALL"),
		ins("RET"))
	name := fmt.Sprintf("setup%d", k.bits())
	return function(name, 0, 16, "func "+name+"(ctx *context, key *byte)", body)
}

// expandKey is FIPS 197 §5.2. SubWord is done by the last round's instruction
// on four equal columns, which ShiftRows leaves alone; unlike a table it has
// the same time for every key.
func (k *kernel) expandKey() (c code) {
	even, odd, t, u, rcon, none := vec{0, 16}, vec{1, 16}, vec{2, 16}, vec{3, 16}, vec{4, 16}, vec{5, 16}
	put := func(i int, key vec) code {
		c := join(
			ins("VINSERTI128", 1, key, key.y(), t.y()),
			store(t.y(), at("DI", 64*i)))
		if k.wide() {
			c = join(c, store(t.y(), at("DI", 64*i+32)))
		}
		return c
	}
	// prefix replaces each word by the sum of it and those before it.
	prefix := func(key vec) code {
		return join(
			ins("VPSLLDQ", 4, key, u), xor(u, key, key),
			ins("VPSLLDQ", 8, key, u), xor(u, key, key))
	}
	c = join(
		note("Round keys"),
		load(at("SI", 0), even), put(0, even),
		load(at("SI", 16), odd), put(1, odd),
		load("·one<>(SB)", rcon),
		zero(none))
	for i := 2; ; i += 2 {
		c = join(c,
			ins("VPSHUFB", "·rotate<>(SB)", odd, t),
			ins("VAESENCLAST", rcon, t, t),
			prefix(even), xor(t, even, even), put(i, even))
		if i == rounds {
			return c
		}
		c = join(c,
			ins("VPSLLD", 1, rcon, rcon),
			ins("VPSHUFD", 0xff, even, t),
			ins("VAESENCLAST", none, t, t),
			prefix(odd), xor(t, odd, odd), put(i+1, odd))
	}
}

// hashKey leaves the reversed hash key times x in A[0]: one shift to the left,
// and the modulus where a bit went out, without a branch.
func hashKey() code {
	h, t, u := vec{0, 16}, vec{1, 16}, vec{2, 16}
	return join(
		note("The hash key"),
		zero(h),
		encryptOne(h),
		ins("VPSHUFB", "·reverse<>(SB)", h, h),
		ins("VPSHUFD", 0xff, h, t),
		ins("VPSRAD", 31, t, t),
		ins("VPAND", "·modulus<>(SB)", t, t),
		ins("VPSRLQ", 63, h, u),
		ins("VPSLLDQ", 8, u, u),
		ins("VPADDQ", h, h, h),
		ins("VPOR", u, h, h),
		xor(t, h, h))
}

// powers fills the table from H^1 up to as many as a batch has blocks, two in a
// register, the higher one first. Doubling keeps the dependent products few.
func (k *kernel) powers() (c code) {
	h, pair := vec{0, 16}, vec{1, 32}
	slot := func(j int) string { return at("DI", tableEnd-32*(j+1)) } // holds H^(2j+2), H^(2j+1)
	c = join(
		note("Its powers"),
		k.dot(h, h, pair.x()),
		ins("VINSERTI128", 1, h, pair, pair),
		store(pair, slot(0)))
	highest, factor := pair, vec{2, 32}
	for have := 1; 32*have < k.batch(); have *= 2 {
		c = join(c, ins("VPERM2I128", 0, highest, highest, factor)) // H^(2*have), twice
		highest = vec{4, 32}
		for j := range min(have, k.batch()/32-have) {
			a := vec{3, 32}
			c = join(c, load(slot(j), a), k.dot(a, factor, highest), store(highest, slot(have+j)))
		}
	}
	return c
}

// dot sets d to dot(a, b), lane by lane.
func (k *kernel) dot(a, b, d vec) code {
	lo, mi, t := vec{k.LO.number, d.width}, vec{k.MI.number, d.width}, vec{k.T.number, d.width}
	return join(
		clmul("ll", a, b, lo),
		clmul("lh", a, b, mi),
		clmul("hl", a, b, t), xor(t, mi, mi),
		clmul("hh", a, b, d),
		k.fold(lo, mi, d))
}

// halfSums puts low + high of each power where hashBatch wants it: those of a
// pair of vectors interleaved.
func (k *kernel) halfSums() (c code) {
	a, b, s := vec{0, 32}, vec{1, 32}, vec{2, 32}
	c = note("Sums of halves")
	for i := 0; i < k.batch(); i += 2 * k.width {
		for half := 0; half < k.width; half += 32 {
			from := tableEnd - k.batch() + i + half
			c = join(c,
				load(at("DI", from), a),
				load(at("DI", from+k.width), b),
				ins("VPUNPCKLQDQ", b, a, s),
				ins("VPUNPCKHQDQ", b, a, a),
				xor(a, s, s),
				store(s, at("DI", sums+i/2+half)))
		}
	}
	return c
}

// constants are the read-only data of both kernels, each as wide as the widest
// register that it is loaded into.
func constants() string {
	var b strings.Builder
	data := func(name string, qwords ...uint64) {
		for i, q := range qwords {
			fmt.Fprintf(&b, "DATA ·%s<>+%d(SB)/8, $%#016x\n", name, 8*i, q)
		}
		fmt.Fprintf(&b, "GLOBL ·%s<>(SB), RODATA|NOPTR, $%d\n\n", name, 8*len(qwords))
	}
	lanes := func(low, high uint64) []uint64 {
		return []uint64{low, high, low, high, low, high, low, high}
	}
	b.WriteString("// Reverses the bytes of each block.\n")
	data("reverse", lanes(0x08090a0b0c0d0e0f, 0x0001020304050607)...)
	b.WriteString("// x^127 + x^126 + x^121 + 1.\n")
	data("modulus", lanes(1, 0xc200000000000000)...)
	b.WriteString("// From the counter 1 to the first vector's.\n")
	data("first", 1, 0, 2, 0, 3, 0, 4, 0)
	b.WriteString("// From a vector's counters to the next one's.\n")
	data("increment4", lanes(4, 0)...)
	data("increment2", 2, 0, 2, 0)
	b.WriteString("// From a batch's counters to the next one's.\n")
	data("batch4", lanes(32, 0)...)
	b.WriteString("// What S-boxes make of cleared bytes.\n")
	data("sbox0", lanes(0x6363636363636363, 0x6363636363636363)...)
	b.WriteString("// n bytes of ones, then zeros, stand n bytes before its middle.\n")
	ones := ^uint64(0)
	data("prefix", ones, ones, ones, ones, 0, 0, 0, 0)
	b.WriteString("// The last word of a round key, rotated, in every column; and the first round constant.\n")
	data("rotate", 0x0c0f0e0d0c0f0e0d, 0x0c0f0e0d0c0f0e0d)
	data("one", 0x0000000100000001, 0x0000000100000001)
	return b.String()
}
