package stream

import (
	"github.com/klauspost/cpuid/v2"

	"github.com/bulla-format/bulla/format"
)

// PreferredSuite returns the suite that is fastest on this CPU: AES-256-GCM
// where it has instructions for AES and for carry-less multiplication, else
// ChaCha20-Poly1305, which is then also the one in constant time. It is never
// applied by itself: without an explicit choice a stream is AES-256-GCM
// wherever it is written.
func PreferredSuite() format.Suite {
	if cpuid.CPU.Supports(cpuid.AESNI, cpuid.CLMUL) || cpuid.CPU.Supports(cpuid.AESARM, cpuid.PMULL) {
		return format.AES256GCM
	}
	return format.ChaCha20Poly1305
}
