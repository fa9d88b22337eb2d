// Package format turns the bytes of a Bulla header into a [Header] and back,
// and computes sizes and offsets. It holds no cryptography, keeps no state and
// starts no goroutine; every function is safe for concurrent use. SPEC.md is
// its source; sections are cited as SPEC §n.
//
// A stream is a header and a payload of segments (SPEC §3):
//
//	 0        76                       H-32    H
//	┌─────────┬────────────────────────┬───────┬───────────┬───────────┬─ ─ ─┬─────────┐
//	│ prelude │ wrapped keys,          │ MAC   │ segment 0 │ segment 1 │     │ final   │
//	│         │ extensions, zero bytes │       │           │           │     │ segment │
//	└─────────┴────────────────────────┴───────┴───────────┴───────────┴─ ─ ─┴─────────┘
//	  fixed     replaced by a re-wrap            nonce[12] | ciphertext | tag[16]
//
// The prelude never changes during the life of a payload. A segment holds
// S = 2^k plaintext bytes, the final one 0 to S-1.
//
// What this package returns is parsed, not authenticated: the header MAC must
// be verified under the data key before anything in a header is relied upon.
// Package stream does that.
package format
