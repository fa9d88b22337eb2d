package main

import "fmt"

// A kernel is the code for one width of registers.
type kernel struct {
	width   int // bytes of a vector
	vectors int // of a batch

	A          []vec // counter blocks, then key stream
	D0, D1, T  vec   // data that is hashed, and products
	LO, MI, HI vec   // the sums of GHASH
	CTR, INC   vec   // the next counter blocks, reversed, and what leads to those behind them
	BSWAP      vec   // reverses the bytes of each block
	KEY        vec   // a round key

	// Of the wide kernel only:
	U                vec // one more for products
	REST, LAST, NEXT vec // what is added to the table of early.go
}

// The wide kernel has registers to spare, the narrow one uses all 16: with
// fewer vectors in a batch, AES and GHASH still fill each other's gaps.
var (
	wide   = kernel{width: 64, vectors: 8}
	narrow = kernel{width: 32, vectors: 6}
)

func (k *kernel) wide() bool { return k.width == 64 }
func (k *kernel) batch() int { return k.vectors * k.width }
func (k *kernel) bits() int  { return 8 * k.width }

// assign gives each role its register.
func (k *kernel) assign() {
	next := 0
	take := func() vec { next++; return vec{next - 1, k.width} }
	for range k.vectors {
		k.A = append(k.A, take())
	}
	for _, v := range []*vec{&k.D0, &k.D1, &k.T, &k.LO, &k.MI, &k.HI, &k.CTR, &k.INC, &k.BSWAP, &k.KEY} {
		*v = take()
	}
	if k.wide() {
		k.U, k.REST, k.LAST, k.NEXT = take(), take(), take(), take()
	}
}

// crypt is Seal or Open, all but the comparison of tags. The general registers:
//
//	DI  context        R8   destination, advancing    R10  nonce
//	SI  source         R9   bytes left                R11  associated data
//	R13 tag            R12  its bytes left            AX, BX, CX, DX  scratch
//
// When sealing, what a batch encrypts the next one hashes:
//
//	AES     | batch 1 | batch 2 | batch 3 |        | tail
//	GHASH   |         | batch 1 | batch 2 | batch 3|      tail, lengths
//
// When opening, a batch is hashed while its own key stream is made, and read
// again at the end:
//
//	AES     | batch 1 | batch 2 | batch 3 | tail
//	GHASH   | batch 1 | batch 2 | batch 3 |      tail, lengths
func (k *kernel) crypt(open bool) string {
	name := fmt.Sprintf("seal%d", k.bits())
	if open {
		name = fmt.Sprintf("open%d", k.bits())
	}
	body := join(
		k.arguments(),
		k.firstCounters(),
		k.associatedData())
	if open {
		body = join(body, k.openLoop())
	} else {
		body = join(body, k.sealLoop())
	}
	body = join(body,
		k.tail(open),
		k.finish())
	return function(name, k.frame(), 64,
		"func "+name+"(ctx *context, dst, src *byte, n int, nonce, ad *byte, adLen int, tag *byte)", body)
}

func (k *kernel) arguments() code {
	return join(
		ins("MOVQ", "ctx+0(FP)", "DI"),
		ins("MOVQ", "dst+8(FP)", "R8"),
		ins("MOVQ", "src+16(FP)", "SI"),
		ins("MOVQ", "n+24(FP)", "R9"),
		ins("MOVQ", "nonce+32(FP)", "R10"),
		ins("MOVQ", "ad+40(FP)", "R11"),
		ins("MOVQ", "adLen+48(FP)", "R12"),
		ins("MOVQ", "tag+56(FP)", "R13"),
		load("·reverse<>(SB)", k.BSWAP),
		load(fmt.Sprintf("·increment%d<>(SB)", k.width/16), k.INC))
}

// firstCounters makes J0 = nonce | 1, encrypts it to where the tag will be, and
// sets CTR to the blocks that follow, 2 and up.
func (k *kernel) firstCounters() code {
	x := k.A[0].x()
	c := join(
		note("The tag's mask"),
		ins("VMOVQ", at("R10", 0), x),
		ins("VPINSRD", 2, at("R10", 8), x, x),
		ins("MOVL", 1<<24, "AX"),
		ins("VPINSRD", 3, "AX", x, x),
		ins("VPSHUFB", k.BSWAP.x(), x, k.CTR.x()),
		ins("VINSERTI128", 1, k.CTR.x(), k.CTR.y(), k.CTR.y()))
	if k.wide() {
		c = join(c, ins("VSHUFI64X2", 0, k.CTR, k.CTR, k.CTR))
	}
	return join(c,
		ins("VPADDD", "·first<>(SB)", k.CTR, k.CTR),
		encryptOne(x),
		store(x, at("R13", 0)))
}

// associatedData hashes the associated data, a vector at a time.
func (k *kernel) associatedData() code {
	return join(
		note("Associated data"),
		k.clearSums(),
		label("adVectors"),
		ins("CMPQ", "R12", k.width),
		ins("JB", "adEnd"),
		load(at("R11", 0), k.D0),
		ins("ADDQ", k.width, "R11"),
		ins("SUBQ", k.width, "R12"),
		k.hashAlone("DI", tableEnd-k.width),
		ins("JMP", "adVectors"),
		label("adEnd"),
		ins("TESTQ", "R12", "R12"),
		ins("JZ", "adDone"),
		k.loadPart("R11", "R12", k.D0),
		k.powersFor("R12"),
		k.hashAlone("DX", 0),
		label("adDone"))
}

// hashAlone reverses the blocks in D0 and hashes them down to the state; the
// first one's power is at base+offset.
func (k *kernel) hashAlone(base string, offset int) code {
	return join(
		ins("VPSHUFB", k.BSWAP, k.D0, k.D0),
		xor(k.HI, k.D0, k.D0),
		k.clearSums(),
		k.hashVector(k.width, base, offset),
		k.reduce(k.width))
}

// powersFor makes DX point to the power for the first of the blocks that n, a
// register, bytes need; the last one's is H^1.
func (k *kernel) powersFor(n string) code {
	return join(
		ins("LEAQ", at(n, 15), "AX"),
		ins("ANDQ", -16, "AX"),
		ins("LEAQ", at("DI", tableEnd), "DX"),
		ins("SUBQ", "AX", "DX"))
}

func (k *kernel) sealLoop() (c code) {
	if k.wide() {
		c = join(
			ins("CMPQ", "R9", earlyMin),
			ins("JB", "short"),
			k.earlyTable(),
			note("The first batch"),
			k.counters(), k.roundsFrom(1), k.lastRound(), k.advance(),
			ins("ADDQ", k.batch(), "BX"),
			k.earlyLoop("earlyDrain", "R8", -k.batch()),
			label("earlyDrain"),
			k.clearEarly(),
			ins("JMP", "drain"),
			label("short"))
	}
	return join(c,
		note("Batches of %d bytes", k.batch()),
		ins("CMPQ", "R9", k.batch()),
		ins("JB", "tail"),
		k.counters(), k.roundsFrom(1), k.lastRound(), k.advance(),
		label("batches"),
		ins("CMPQ", "R9", k.batch()),
		ins("JB", "drain"),
		weave(join(k.counters(), k.roundsFrom(1)), weave(k.hashBatch("R8", -k.batch()), k.prefetch())),
		k.lastRound(),
		k.advance(),
		ins("JMP", "batches"),
		label("drain"),
		k.hashBatch("R8", -k.batch()))
}

func (k *kernel) openLoop() (c code) {
	if k.wide() {
		c = join(
			ins("CMPQ", "R9", earlyMin),
			ins("JB", "batches"),
			k.earlyTable(),
			k.earlyLoop("earlyDone", "SI", 0),
			label("earlyDone"),
			k.clearEarly(),
			ins("JMP", "tail"))
	}
	return join(c,
		note("Batches of %d bytes", k.batch()),
		label("batches"),
		ins("CMPQ", "R9", k.batch()),
		ins("JB", "tail"),
		weave(join(k.counters(), k.roundsFrom(1)), weave(k.hashBatch("SI", 0), k.prefetch())),
		k.lastRound(),
		k.advance(),
		ins("JMP", "batches"))
}

func (k *kernel) advance() code {
	return join(
		ins("ADDQ", k.batch(), "SI"),
		ins("ADDQ", k.batch(), "R8"),
		ins("SUBQ", k.batch(), "R9"))
}

// prefetch asks for a batch of the source 8 KiB ahead: far enough to hide
// memory's latency at full speed, and past what the CPU fetches by itself. It
// may point beyond the source's end, where it has no effect. The lines must be
// asked for one by one, not all at once.
func (k *kernel) prefetch() (c code) {
	for i := 0; i < k.batch(); i += 64 {
		c = join(c, ins("PREFETCHT0", at("SI", 8192+i)))
	}
	return c
}

// finish hashes the lengths, in bits, masks the state to make the tag, and
// clears every register that has held a secret.
func (k *kernel) finish() code {
	x := k.D0.x()
	c := join(
		label("lengths"),
		ins("MOVQ", "n+24(FP)", "AX"),
		ins("SHLQ", 3, "AX"),
		ins("VMOVQ", "AX", x),
		ins("MOVQ", "adLen+48(FP)", "AX"),
		ins("SHLQ", 3, "AX"),
		ins("VPINSRQ", 1, "AX", x, x),
		xor(k.HI.x(), x, x),
		zero(k.LO.x()), zero(k.MI.x()), zero(k.HI.x()),
		k.hashVector(16, "DI", tableEnd-16),
		k.reduce(16),
		ins("VPSHUFB", k.BSWAP.x(), k.HI.x(), k.HI.x()),
		xor(at("R13", 0), k.HI.x(), k.HI.x()),
		store(k.HI.x(), at("R13", 0)),
		ins("XORL", "CX", "CX"), // the narrow kernel has moved data through it
		ins("VZEROALL"))         // the first 16 registers
	if k.wide() {
		c = join(c, zero(k.BSWAP), zero(k.KEY), zero(k.U), zero(k.REST), zero(k.LAST), zero(k.NEXT), ins("VZEROUPPER"))
	}
	return join(c, ins("RET"))
}
