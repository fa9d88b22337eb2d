package main

// GHASH (SP 800-38D §6.4) is computed as POLYVAL (RFC 8452, Appendix A): with
// the bytes of each block reversed and the hash key multiplied by x it is the
// same function, and a carry-less product needs no further bit reversal.
//
// Multiplication is dot(a, b) = a*b*x^-128 modulo x^128 + x^127 + x^126 + x^121
// + 1. The state after blocks X1 ... Xn is the sum of dot(Xi, H^(n-i+1)), so
// many products are summed up before the one reduction that dot needs. The
// product of 128 bits is kept in three sums of 128 bits: LO at x^0, MI at
// x^64, HI at x^128. Between batches HI's first lane is the state.

// tableEnd is where the powers of the hash key end: H^i, reversed and in the
// form above, stands i*16 bytes before it.
const tableEnd = 64*(rounds+1) + 32*16

// sums is where the sums of the halves of powers stand, for middle products.
const sums = tableEnd + 64

// hashBatch hashes a batch from base+offset on. Middle products are
// Karatsuba's, (low+high)*(low+high), which have HI and LO in them; the sums
// for two vectors share a register, and one unpacking for both. D0, D1, T and U
// are its own.
func (k *kernel) hashBatch(base string, offset int) (c code) {
	for i := 0; i < k.vectors; i += 2 {
		power := tableEnd - k.batch() + i*k.width
		sum := at("DI", sums+i/2*k.width)
		c = join(c,
			load(at(base, offset+i*k.width), k.D0),
			load(at(base, offset+(i+1)*k.width), k.D1),
			ins("VPSHUFB", k.BSWAP, k.D0, k.D0),
			ins("VPSHUFB", k.BSWAP, k.D1, k.D1))
		if i == 0 {
			c = join(c, xor(k.HI, k.D0, k.D0))
		}
		c = join(c,
			k.products(i == 0, k.LO,
				product{"ll", k.D0, at("DI", power)}, product{"ll", k.D1, at("DI", power+k.width)}),
			k.products(i == 0, k.HI,
				product{"hh", k.D0, at("DI", power)}, product{"hh", k.D1, at("DI", power+k.width)}),
			ins("VPUNPCKLQDQ", k.D1, k.D0, k.T),
			ins("VPUNPCKHQDQ", k.D1, k.D0, k.D0),
			xor(k.T, k.D0, k.D0),
			k.products(i == 0, k.MI,
				product{"ll", k.D0, sum}, product{"hh", k.D0, sum}))
	}
	return join(c,
		xor3(k.LO, k.HI, k.MI),
		k.reduce(k.width))
}

type product struct {
	halves string
	a      vec
	b      string
}

// products adds two products to a sum, or makes them the sum.
func (k *kernel) products(first bool, sum vec, p, q product) code {
	switch {
	case first:
		return join(clmul(p.halves, p.a, p.b, sum), clmul(q.halves, q.a, q.b, k.T), xor(k.T, sum, sum))
	case k.wide():
		return join(clmul(p.halves, p.a, p.b, k.T), clmul(q.halves, q.a, q.b, k.U), xor3(k.T, k.U, sum))
	default:
		return join(clmul(p.halves, p.a, p.b, k.T), xor(k.T, sum, sum), clmul(q.halves, q.a, q.b, k.T), xor(k.T, sum, sum))
	}
}

// hashVector adds the products of the vector in D0, whose first block has the
// power at base+offset, to the sums. width tells how much of D0 counts.
func (k *kernel) hashVector(width int, base string, offset int) code {
	d, h, t := vec{k.D0.number, width}, vec{k.D1.number, width}, vec{k.T.number, width}
	lo, mi, hi := vec{k.LO.number, width}, vec{k.MI.number, width}, vec{k.HI.number, width}
	return join(
		load(at(base, offset), h),
		clmul("ll", d, h, t), xor(t, lo, lo),
		clmul("lh", d, h, t), xor(t, mi, mi),
		clmul("hl", d, h, t), xor(t, mi, mi),
		clmul("hh", d, h, t), xor(t, hi, hi))
}

// reduce leaves in HI's first lane the state that the lanes of LO, MI and HI
// stand for, and nothing else in HI.
func (k *kernel) reduce(width int) (c code) {
	lo, mi, hi := vec{k.LO.number, width}, vec{k.MI.number, width}, vec{k.HI.number, width}
	c = k.fold(lo, mi, hi)
	if width == 64 {
		c = join(c, ins("VEXTRACTI64X4", 1, k.HI, k.T.y()), xor(k.T.y(), k.HI.y(), k.HI.y()))
	}
	if width >= 32 {
		c = join(c, ins("VEXTRACTI128", 1, k.HI.y(), k.T.x()), xor(k.T.x(), k.HI.x(), k.HI.x()))
	}
	return c
}

// fold reduces the sums lo, mi and hi to hi, lane by lane. The lowest qword of
// the product is cancelled by adding that multiple of the modulus; its terms
// from x^121 to x^127 are one product, and its term at x^128 is a swap. Then the
// same once more.
func (k *kernel) fold(lo, mi, hi vec) code {
	t, u := vec{k.T.number, hi.width}, vec{k.D0.number, hi.width}
	return join(
		clmul("lh", lo, "·modulus<>(SB)", t), swap(lo, u), xor3(t, u, mi),
		clmul("lh", mi, "·modulus<>(SB)", t), swap(mi, u), xor3(t, u, hi))
}

func (k *kernel) clearSums() code { return join(zero(k.LO), zero(k.MI), zero(k.HI)) }
