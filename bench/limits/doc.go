// Package limits measures what bounds AES-256-GCM on this CPU: how many cycles
// the instructions for AES rounds (VAESENC) and carry-less products
// (VPCLMULQDQ) take, on registers of 128, 256 and 512 bits, alone and together.
//
//	go test -C bench ./limits -bench .
//
// One step of AES-256-GCM takes as many bytes as a register holds: 14 rounds to
// encrypt a counter, and 3 products for GHASH, which are the least that
// Karatsuba's method needs when the reduction is put off. BenchmarkLimits times
// a loop of such steps with nothing in it that waits for something else: no
// loads, no sums, no reduction. No implementation that computes every round is
// faster than that with these instructions.
//
// Cycles are counted by a chain of additions that wait for each other, one a
// cycle. Chain and loop take turns, a fraction of a millisecond each, so that
// both see the clock that wide registers leave to the CPU. Metrics:
//
//	cycles/instr  cycles for one instruction (mix: for one of the 17)
//	cycles/step   mix: cycles for one step
//	overlap       mix: 1 when the products cost nothing beside the rounds (or
//	              the rounds nothing beside the products), 0 when both share
//	              what executes them, so that their times add up
//	GHz           the clock, seen beside the loop
//	MB/s          mix: the bound of AES-256-GCM, in 10^6 bytes
package limits
