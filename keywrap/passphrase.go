package keywrap

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"

	"github.com/bulla-format/bulla/format"
)

// ErrKeyCost means that a wrapped key asks for more memory or time than the
// reader allows. Raise [PassphraseOptions].MaxMemory or MaxPasses if the stream
// is trusted.
var ErrKeyCost = errors.New("unwrapping the data key costs more than allowed")

// Defaults of [PassphraseOptions], RFC 9106 §4 in spirit: as much memory as a
// small machine can spare, then passes up to about a second.
const (
	DefaultPassphraseMemory = 256 << 10 // KiB
	DefaultPassphrasePasses = 6
	DefaultPassphraseLanes  = 4

	defaultMaxMemory = 1 << 20 // KiB
	defaultMaxPasses = 16
	maxLanes         = 16
)

// PassphraseOptions say what guessing a passphrase shall cost, and what a
// reader is willing to pay. The zero value of each field is its default, and
// nil options are all defaults.
type PassphraseOptions struct {
	// Hint stands in the header, in the clear, as the key's name: what to tell
	// the human who is asked. It may be empty.
	Hint string

	// Memory and Passes are Argon2id's, for new streams: the memory in KiB
	// (default 256 MiB) and how often it is filled (default 6).
	Memory uint32
	Passes uint32

	// MaxMemory, in KiB, and MaxPasses bound what a header can ask for; the
	// defaults are 1 GiB and 16. Beyond them the error is [ErrKeyCost], and
	// nothing is computed. A hostile header can ask for as much up to 32
	// times, once for each wrapped key; the context is looked at in between.
	MaxMemory uint32
	MaxPasses uint32
}

// A Passphrase wraps and unwraps data keys under a key that Argon2id (RFC
// 9106) makes of a passphrase (SPEC §12.9). Each use takes the memory and about
// the time that the options say, so that guessing does too; a passphrase that
// can be guessed is guessed all the same. It does not bind the context to the
// wrapped key: the header MAC binds it to the stream. Use is safe
// concurrently, at the price of the memory for each.
type Passphrase struct {
	secret  []byte
	options PassphraseOptions
}

// NewPassphrase returns the wrapping key of a passphrase, which it copies:
// bytes of UTF-8 as they were typed, not empty. The error is [ErrKeyFormat].
func NewPassphrase(passphrase []byte, o *PassphraseOptions) (*Passphrase, error) {
	p := &Passphrase{}
	if o != nil {
		p.options = *o
	}
	setDefault(&p.options.Memory, DefaultPassphraseMemory)
	setDefault(&p.options.Passes, DefaultPassphrasePasses)
	setDefault(&p.options.MaxMemory, defaultMaxMemory)
	setDefault(&p.options.MaxPasses, defaultMaxPasses)
	switch {
	case len(passphrase) == 0:
		return nil, fmt.Errorf("%w: the passphrase is empty", ErrKeyFormat)
	case !format.ValidKeyName(p.options.Hint):
		return nil, fmt.Errorf("%w: a hint is up to %d bytes of UTF-8 without control characters", ErrKeyFormat, format.MaxKeyNameSize)
	case p.options.Memory < argon2MinMemory*DefaultPassphraseLanes:
		return nil, fmt.Errorf("%w: %d KiB of memory, Argon2id needs %d at least", ErrKeyFormat, p.options.Memory, argon2MinMemory*DefaultPassphraseLanes)
	}
	if err := p.affordable(p.options.Passes, p.options.Memory, DefaultPassphraseLanes); err != nil {
		return nil, err // or nobody with these options could read what is written
	}
	p.secret = append([]byte(nil), passphrase...)
	return p, nil
}

func setDefault(v *uint32, value uint32) {
	if *v == 0 {
		*v = value
	}
}

// KeyName returns the hint.
func (p *Passphrase) KeyName() string { return p.options.Hint }

// Format prints the kind and the hint for every verb, never the passphrase.
func (p *Passphrase) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "passphrase %q", p.options.Hint) }

// Layout of a wrapped key (SPEC §12.9).
const (
	argon2Version   = 0x13
	saltSize        = 16
	saltOffset      = 1 + 4 + 4 + 1
	wrappedOffset   = saltOffset + saltSize
	passphraseSize  = wrappedOffset + DataKeySize + kwOverhead
	argon2MinMemory = 8 // KiB for each lane
)

// WrapKey implements [Wrapper]: one wrapped key of 66 bytes, with a salt of
// its own.
func (p *Passphrase) WrapKey(ctx context.Context, dataKey []byte, _ Context) ([]format.WrappedKey, error) {
	if err := checkDataKey(dataKey); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	b := make([]byte, 0, passphraseSize)
	b = append(b, argon2Version)
	b = binary.BigEndian.AppendUint32(b, p.options.Passes)
	b = binary.BigEndian.AppendUint32(b, p.options.Memory)
	b = append(b, DefaultPassphraseLanes)
	b = b[:wrappedOffset]
	rand.Read(b[saltOffset:])
	block, err := p.derive(b)
	if err != nil {
		return nil, err
	}
	return []format.WrappedKey{{Type: format.KeyTypePassphrase, Name: p.options.Hint, Data: append(b, kwWrap(block, dataKey)...)}}, nil
}

// UnwrapKey implements [Unwrapper]. It tries every wrapped key of its type,
// whatever the hint. A wrong passphrase and a damaged wrapped key are the same
// [ErrUnwrap]: telling them apart would need a check value beside the wrapped
// key, one more thing to guess against. The error is [ErrKeyCost], and nothing
// is computed, when the wrapped key asks for more than the options allow.
func (p *Passphrase) UnwrapKey(ctx context.Context, w format.WrappedKey, _ Context) ([]byte, error) {
	if w.Type != format.KeyTypePassphrase {
		return nil, ErrNoMatch
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(w.Data) != passphraseSize || w.Data[0] != argon2Version {
		return nil, fmt.Errorf("%w: the wrapped key for the passphrase has %d bytes, expected %d of Argon2 version 1.3: the header is damaged", ErrUnwrap, len(w.Data), passphraseSize)
	}
	block, err := p.derive(w.Data[:wrappedOffset])
	if err != nil {
		return nil, err
	}
	dataKey, ok := kwUnwrap(block, w.Data[wrappedOffset:])
	if !ok {
		return nil, fmt.Errorf("%w: wrong passphrase (hint %.128q), or the header is damaged", ErrUnwrap, w.Name)
	}
	return dataKey, nil
}

// derive runs Argon2id with the parameters and the salt that lead a wrapped
// key.
func (p *Passphrase) derive(front []byte) (cipher.Block, error) {
	if fips140.Enforced() {
		return nil, errors.New("keywrap: passphrases are not available in FIPS 140-only mode: Argon2id is not approved")
	}
	passes, memory, lanes := binary.BigEndian.Uint32(front[1:]), binary.BigEndian.Uint32(front[5:]), front[9]
	if passes < 1 || lanes < 1 || memory < argon2MinMemory*uint32(lanes) {
		return nil, fmt.Errorf("%w: Argon2id with %d passes over %d KiB in %d lanes: the header is damaged", ErrUnwrap, passes, memory, lanes)
	}
	if err := p.affordable(passes, memory, lanes); err != nil {
		return nil, err
	}
	key := argon2.IDKey(p.secret, front[saltOffset:], passes, memory, lanes, AESKeySize)
	defer clear(key)
	return aes.NewCipher(key)
}

func (p *Passphrase) affordable(passes, memory uint32, lanes uint8) error {
	if passes > p.options.MaxPasses || memory > p.options.MaxMemory || lanes > maxLanes {
		return fmt.Errorf("%w: Argon2id with %d passes over %d KiB in %d lanes, the limits are %d, %d and %d", ErrKeyCost, passes, memory, lanes, p.options.MaxPasses, p.options.MaxMemory, maxLanes)
	}
	return nil
}
