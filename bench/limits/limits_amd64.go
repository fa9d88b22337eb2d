package limits

import "github.com/klauspost/cpuid/v2"

//go:noescape
func chain(n int)

//go:noescape
func aes128(n int)

//go:noescape
func clmul128(n int)

//go:noescape
func mix128(n int)

//go:noescape
func aes256(n int)

//go:noescape
func clmul256(n int)

//go:noescape
func mix256(n int)

//go:noescape
func aes512(n int)

//go:noescape
func clmul512(n int)

//go:noescape
func mix512(n int)

// chainLength is how many additions an iteration of chain has, and so how many
// cycles it takes.
const chainLength = 16

// A loop is one of the functions above.
type loop struct {
	instr string // "VAESENC", "VPCLMULQDQ", "mix"
	run   func(n int)
	count int // instructions in an iteration
	steps int // steps of AES-256-GCM in an iteration, of a mix
}

// A width is a size of registers.
type width struct {
	name  string
	bytes int
	has   bool // whether this CPU can run its loops
	loops []loop
}

func widths() []width {
	c := cpuid.CPU
	return []width{
		{"xmm", 16, c.Supports(cpuid.AVX, cpuid.AESNI, cpuid.CLMUL), []loop{
			{"VAESENC", aes128, 24, 0}, {"VPCLMULQDQ", clmul128, 12, 0}, {"mix", mix128, 68, 4},
		}},
		{"ymm", 32, c.Supports(cpuid.AVX2, cpuid.VAES, cpuid.VPCLMULQDQ), []loop{
			{"VAESENC", aes256, 24, 0}, {"VPCLMULQDQ", clmul256, 12, 0}, {"mix", mix256, 68, 4},
		}},
		{"zmm", 64, c.Supports(cpuid.AVX512F, cpuid.VAES, cpuid.VPCLMULQDQ), []loop{
			{"VAESENC", aes512, 28, 0}, {"VPCLMULQDQ", clmul512, 12, 0}, {"mix", mix512, 68, 4},
		}},
	}
}
