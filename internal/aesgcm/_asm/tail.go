package main

import "fmt"

// tail encrypts or decrypts and hashes the R9 bytes that are left, fewer than a
// batch: the key stream of a batch, of which as much is used as there is data,
// and products summed up to one reduction. Its powers end at H^1, so where they
// begin depends on how much is left.
func (k *kernel) tail(open bool) (c code) {
	state := k.CTR // no counters are needed any more
	c = join(
		note("What is left"),
		label("tail"),
		ins("TESTQ", "R9", "R9"),
		ins("JZ", "lengths"),
		k.powersFor("R9"),
		k.keystream(),
		move(k.HI, state),
		k.clearSums())
	last := k.vectors - 1 // never whole
	for i, a := range k.A[:last] {
		c = join(c,
			ins("CMPQ", "R9", k.width),
			ins("JB", fmt.Sprintf("part%d", i)),
			load(at("SI", i*k.width), k.D0))
		if open {
			c = join(c, xor(k.D0, a, a), store(a, at("R8", i*k.width)))
		} else {
			c = join(c, xor(k.D0, a, k.D0), store(k.D0, at("R8", i*k.width)))
		}
		c = join(c, ins("VPSHUFB", k.BSWAP, k.D0, k.D0))
		if i == 0 {
			c = join(c, xor(state, k.D0, k.D0), zero(state))
		}
		c = join(c,
			k.hashVector(k.width, "DX", i*k.width),
			ins("SUBQ", k.width, "R9"),
			ins("JZ", "sum"))
	}
	c = join(c, ins("JMP", fmt.Sprintf("part%d", last)))
	for i := range k.A {
		c = join(c, label(fmt.Sprintf("part%d", i)))
		if i > 0 {
			c = join(c,
				move(k.A[i], k.A[0]),
				ins("ADDQ", i*k.width, "SI"), ins("ADDQ", i*k.width, "R8"), ins("ADDQ", i*k.width, "DX"))
		}
		if i < last {
			c = join(c, ins("JMP", "part"))
		}
	}
	a := k.A[0]
	c = join(c, label("part"), k.loadPart("SI", "R9", k.D0))
	if open {
		c = join(c, xor(k.D0, a, a), k.storePart(a))
	} else {
		c = join(c, xor(k.D0, a, k.D0), k.storePart(k.D0))
	}
	return join(c,
		ins("VPSHUFB", k.BSWAP, k.D0, k.D0),
		xor(state, k.D0, k.D0),
		k.hashVector(k.width, "DX", 0),
		label("sum"),
		k.reduce(k.width))
}

// frame is the stack: the narrow kernel has its parts of vectors there, where
// the wide one has masks, and the wide one the table of early.go.
func (k *kernel) frame() int {
	if k.wide() {
		return groupSize + 64
	}
	return k.width
}

// loadPart loads n bytes, a register that is less than a vector and not zero,
// with zeros behind them. n stays as it is.
func (k *kernel) loadPart(base, n string, to vec) code {
	if k.wide() {
		return join(
			ins("MOVQ", -1, "AX"),
			ins("BZHIQ", n, "AX", "AX"),
			ins("KMOVQ", "AX", "K1"),
			ins("VMOVDQU8.Z", at(base, 0), "K1", to))
	}
	return join(
		zero(to),
		store(to, at("SP", 0)),
		copyPart(base, "SP", n, k.T.x(), "load"+base),
		load(at("SP", 0), to))
}

// storePart stores the R9 bytes at the start of from and clears the rest of it.
func (k *kernel) storePart(from vec) code {
	if k.wide() {
		return join(
			ins("VMOVDQU8.Z", from, "K1", from),
			ins("VMOVDQU8", from, "K1", at("R8", 0)))
	}
	return join(
		ins("LEAQ", fmt.Sprintf("·prefix<>+%d(SB)", k.width), "AX"),
		ins("SUBQ", "R9", "AX"),
		ins("VPAND", at("AX", 0), from, from),
		store(from, at("SP", 0)),
		copyPart("SP", "R8", "R9", k.T.x(), "store"),
		zero(k.T),
		store(k.T, at("SP", 0)))
}

// copyPart copies n bytes, less than 32: as many powers of two as n has bits.
func copyPart(from, to, n string, t vec, name string) (c code) {
	c = join(ins("LEAQ", at(from, 0), "AX"), ins("LEAQ", at(to, 0), "BX"))
	for _, step := range []struct {
		size     int
		op       string
		register string
	}{{16, "VMOVDQU", t.String()}, {8, "MOVQ", "CX"}, {4, "MOVL", "CX"}, {2, "MOVW", "CX"}, {1, "MOVB", "CX"}} {
		next := fmt.Sprintf("%sBelow%d", name, step.size)
		c = join(c,
			ins("TESTQ", step.size, n),
			ins("JZ", next),
			ins(step.op, at("AX", 0), step.register),
			ins(step.op, step.register, at("BX", 0)))
		if step.size > 1 {
			c = join(c, ins("ADDQ", step.size, "AX"), ins("ADDQ", step.size, "BX"))
		}
		c = join(c, label(next))
	}
	return c
}
