package main

// weave spreads the instructions of b evenly among those of a, each run in its
// own order. The two must not share registers.
//
// This is all the scheduling there is: AES rounds wait for AES rounds and
// products for products, and out-of-order execution can only fill the gaps of
// one with the other when both are within its reach.
func weave(a, b code) (c code) {
	taken := 0
	for i, line := range a {
		c = append(c, line)
		for ; taken*len(a) < (i+1)*len(b); taken++ {
			c = append(c, b[taken])
		}
	}
	return append(c, b[taken:]...)
}
