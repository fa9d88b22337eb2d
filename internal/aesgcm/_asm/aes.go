package main

// AES-256 in counter mode (SP 800-38A §6.5, FIPS 197), a batch of vectors of
// counter blocks at a time: many rounds must be in flight to keep the AES units
// busy, for each waits some four cycles for the one before it.

const rounds = 14

// roundKey is where round key i stands: in every 16 bytes of the vector there.
func roundKey(i int) string { return at("DI", 64*i) }

// counters puts the next vectors of counter blocks into A, whitened. CTR holds
// the next blocks with their bytes reversed, so that the counter is the lowest
// dword of each lane.
func (k *kernel) counters() (c code) {
	for _, a := range k.A {
		c = join(c,
			ins("VPSHUFB", k.BSWAP, k.CTR, a),
			ins("VPADDD", k.INC, k.CTR, k.CTR))
	}
	c = join(c, k.key(0))
	for _, a := range k.A {
		c = join(c, xor(k.KEY, a, a))
	}
	return c
}

// roundsFrom are the rounds from the given one on, but the last.
func (k *kernel) roundsFrom(first int) (c code) {
	for i := first; i < rounds; i++ {
		c = join(c, k.key(i))
		for _, a := range k.A {
			c = join(c, ins("VAESENC", k.KEY, a, a))
		}
	}
	return c
}

// lastRound makes ciphertext of plaintext, or the reverse: the last round's
// key addition takes the data along.
func (k *kernel) lastRound() code {
	c := k.key(rounds)
	for i, a := range k.A {
		c = join(c,
			xor(at("SI", i*k.width), k.KEY, k.T),
			ins("VAESENCLAST", k.T, a, a),
			store(a, at("R8", i*k.width)))
	}
	return c
}

// keystream leaves the whole key stream of a batch in A.
func (k *kernel) keystream() code {
	c := join(k.counters(), k.roundsFrom(1), k.key(rounds))
	for _, a := range k.A {
		c = join(c, ins("VAESENCLAST", k.KEY, a, a))
	}
	return c
}

// key loads a round key for the instructions that follow: taking it from memory
// in each of them would keep the load ports busy.
func (k *kernel) key(i int) code { return load(roundKey(i), k.KEY) }

// encryptOne encrypts the block in b.
func encryptOne(b vec) (c code) {
	c = xor(roundKey(0), b, b)
	for i := 1; i < rounds; i++ {
		c = join(c, ins("VAESENC", roundKey(i), b, b))
	}
	return join(c, ins("VAESENCLAST", roundKey(rounds), b, b))
}
