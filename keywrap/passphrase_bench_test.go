package keywrap_test

import (
	"crypto/fips140"
	"testing"

	"github.com/bulla-format/bulla/keywrap"
)

// BenchmarkPassphrase is what opening a stream with a passphrase takes, and one
// guess of an attacker.
func BenchmarkPassphrase(b *testing.B) {
	if fips140.Enforced() {
		return // Argon2id is not approved
	}
	p, err := keywrap.NewPassphrase([]byte("correct horse"), nil)
	if err != nil {
		b.Fatal(err)
	}
	keys, err := p.WrapKey(b.Context(), make([]byte, keywrap.DataKeySize), nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.UnwrapKey(b.Context(), keys[0], nil); err != nil {
			b.Fatal(err)
		}
	}
}
