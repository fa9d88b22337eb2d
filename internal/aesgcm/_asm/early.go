package main

import "fmt"

// Long messages skip the first two rounds. Counter blocks differ in their last
// bytes only, and two rounds do not mix that much: with x the counter's lowest
// byte and h the three above it, and the columns of the state numbered from 0,
//
//	block       nonce | h | x
//	round 1     x has reached column 0 only, h columns 1 to 3 only
//	round 2     linear in the S-boxes of the columns: early(x) ^ rest(h)
//
//	early(x) = round(round 1 with all but column 0 cleared, no key)
//	rest(h)  = round(round 1 with column 0 cleared, key 2) ^ 63...63
//
// where 63...63 makes up for the S-boxes of the cleared bytes: S(0) is 0x63, and
// mixing equal bytes changes nothing. So 256 values early(x), 4 KiB, serve all
// of a message, and rest(h) changes every 256 blocks. That x repeats is what
// Bernstein and Schwabe used for AES in software (INDOCRYPT 2008); with tables
// for more rounds it is FACE by Park and Lee (CHES 2018). The table is read
// from front to back whatever the key: x is public.
//
// A group is the 256 blocks of one round through the table: eight batches.
// Counters begin at 2, so the table does too, and in a group's last vector the
// last two blocks, which have x = 0 and 1, have the next group's h already.

const (
	groupSize = 256 * 16

	// earlyMin is from how many bytes on the table pays.
	earlyMin = 4 * groupSize
)

// earlyTable fills the table, and sets REST and LAST for the first group. The
// table is in the frame, aligned to a vector: CX points to its start, BX to the
// next batch's part.
func (k *kernel) earlyTable() code {
	counters, none := k.D0, k.LO
	c := join(
		note("What the first two rounds make of a counter's lowest byte"),
		ins("LEAQ", at("SP", 63), "CX"),
		ins("ANDQ", -64, "CX"),
		ins("MOVQ", "CX", "BX"),
		ins("MOVL", 0x1111, "AX"), ins("KMOVW", "AX", "K2"), // column 0 of each block
		ins("MOVL", 0xeeee, "AX"), ins("KMOVW", "AX", "K3"), // the others
		ins("MOVL", 0xff00, "AX"), ins("KMOVW", "AX", "K4"), // the vector's last two blocks
		move(k.CTR, counters),
		zero(none),
		ins("MOVL", groupSize/k.batch(), "AX"),
		label("early"))
	each := func(f func(i int, a vec) code) {
		for i, a := range k.A {
			c = join(c, f(i, a))
		}
	}
	each(func(_ int, a vec) code {
		return join(ins("VPSHUFB", k.BSWAP, counters, a), ins("VPADDD", k.INC, counters, counters))
	})
	c = join(c, k.key(0))
	each(func(_ int, a vec) code { return xor(k.KEY, a, a) })
	c = join(c, k.key(1))
	each(func(_ int, a vec) code { return ins("VAESENC", k.KEY, a, a) })
	each(func(_ int, a vec) code { return ins("VMOVDQA32.Z", a, "K2", a) })
	each(func(_ int, a vec) code { return ins("VAESENC", none, a, a) })
	each(func(i int, a vec) code { return store(a, at("BX", i*k.width)) })
	return join(c,
		ins("ADDQ", k.batch(), "BX"),
		ins("DECL", "AX"),
		ins("JNZ", "early"),
		ins("MOVQ", "CX", "BX"),
		k.rest(k.REST),
		move(k.REST, k.LAST))
}

// rest sets to to rest(h) of the counters in CTR, which have the same h.
func (k *kernel) rest(to vec) code {
	return join(
		ins("VPSHUFB", k.BSWAP, k.CTR, to),
		xor(roundKey(0), to, to),
		ins("VAESENC", roundKey(1), to, to),
		ins("VMOVDQA32.Z", to, "K3", to),
		ins("VAESENC", roundKey(2), to, to),
		xor("·sbox0<>(SB)", to, to))
}

// earlyLoop is a batch loop that goes to done when less than a batch is left,
// and hashes the batch at hashBase+hashOffset. CTR is a batch ahead in it, so
// that in a group's last batch it has the next group's h.
func (k *kernel) earlyLoop(done, hashBase string, hashOffset int) code {
	start := code{}
	for i, a := range k.A {
		from := k.REST
		if i == k.vectors-1 {
			from = k.LAST
		}
		start = join(start, xor(at("BX", i*k.width), from, a))
	}
	return join(
		note("Batches of %d bytes without the first two rounds", k.batch()),
		label("earlyBatches"),
		ins("CMPQ", "R9", k.batch()),
		ins("JB", done),
		ins("VPADDD", "·batch4<>(SB)", k.CTR, k.CTR),
		ins("LEAQ", at("CX", groupSize-k.batch()), "AX"),
		ins("CMPQ", "BX", "AX"),
		ins("JNE", "sameGroup"),
		k.rest(k.NEXT),
		ins("VMOVDQA32", k.NEXT, "K4", k.LAST),
		label("sameGroup"),
		weave(join(start, k.roundsFrom(3)), weave(k.hashBatch(hashBase, hashOffset), k.prefetch())),
		k.lastRound(),
		k.advance(),
		ins("ADDQ", k.batch(), "BX"),
		ins("LEAQ", at("CX", groupSize), "AX"),
		ins("CMPQ", "BX", "AX"),
		ins("JNE", "earlyBatches"),
		ins("MOVQ", "CX", "BX"),
		move(k.NEXT, k.REST),
		move(k.NEXT, k.LAST),
		ins("JMP", "earlyBatches"))
}

// clearEarly clears the table.
func (k *kernel) clearEarly() code {
	c := join(
		note("Nothing secret stays on the stack"),
		zero(k.T))
	for i := 0; i < groupSize; i += k.width {
		c = join(c, store(k.T, fmt.Sprintf("%d(CX)", i)))
	}
	return c
}
