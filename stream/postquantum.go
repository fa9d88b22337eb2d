package stream

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/keywrap"
)

// ErrClassical means that a stream would be for a post-quantum key and for one
// that quantum computers break. It is [ErrPolicy].
var ErrClassical = fmt.Errorf("%w: a classical key beside a post-quantum one", ErrPolicy)

// checkPostQuantum keeps a post-quantum stream post-quantum: wrapping the data
// key for one key that quantum computers break undoes what the others are for.
// Symmetric keys, passphrases and AWS KMS count as neither, for they withstand.
func checkPostQuantum(keys []format.WrappedKey, allowed []string) error {
	at := slices.IndexFunc(keys, postQuantum)
	if at < 0 {
		return nil
	}
	for _, k := range keys {
		if classical(k) && !slices.Contains(allowed, k.Name) {
			return fmt.Errorf("%w: the stream is for %.128q, and %v key %.128q would make it breakable by quantum computers: leave it out, or name it in ClassicalKeys", ErrClassical, keys[at].Name, k.Type, k.Name)
		}
	}
	return nil
}

func postQuantum(k format.WrappedKey) bool {
	return k.Type == format.KeyTypeHPKE && len(k.Data) >= 2 && keywrap.KEM(binary.BigEndian.Uint16(k.Data)).PostQuantum()
}

func classical(k format.WrappedKey) bool {
	return k.Type == format.KeyTypeRSA || k.Type == format.KeyTypeHPKE && !postQuantum(k)
}
