package segment

import (
	"crypto/rand"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/bulla-format/bulla/format"
)

// nonces draws random nonces, many at a time: one call of the system's random
// source costs as much as sealing a kilobyte.
type nonces struct {
	buf  [20 * format.NonceSize]byte
	left int
}

// next returns a fresh nonce, valid until the following call. No nonce is
// returned twice.
func (n *nonces) next() []byte {
	if n.left == 0 {
		rand.Read(n.buf[:])
		n.left = len(n.buf)
	}
	nonce := n.buf[n.left-format.NonceSize : n.left]
	n.left -= format.NonceSize
	return nonce
}

// associatedData is what binds a segment to its place: its index, and whether
// it is the final one (SPEC §5.1).
type associatedData [9]byte

func (a *associatedData) set(index uint64, final bool) []byte {
	binary.BigEndian.PutUint64(a[:], index)
	a[8] = 0
	if final {
		a[8] = 1
	}
	return a[:]
}

// A cipherState holds the AEAD of one epoch.
type cipherState struct {
	epoch uint64
	aead  aead
}

// epochs derives the AEADs of a stream's epochs.
type epochs struct {
	suite format.Suite
	shift uint
	key   []byte // the stream key
}

func newEpochs(k *Keys) epochs {
	return epochs{k.suite, k.epochShift, slices.Clone(k.stream)}
}

func (e *epochs) derive(epoch uint64) (*cipherState, error) {
	key, err := epochKey(e.key, epoch)
	if err != nil {
		return nil, err
	}
	defer clear(key)
	a, err := newAEAD(e.suite, key)
	return &cipherState{epoch, a}, err
}

// mustDerive is derive for epochs after the first: the same algorithms with
// the same sizes have just worked.
func (e *epochs) mustDerive(epoch uint64) *cipherState {
	c, err := e.derive(epoch)
	if err != nil {
		panic("segment: " + err.Error())
	}
	return c
}

// A Sealer seals segments in any order. It is not safe for concurrent use.
type Sealer struct {
	epochs  epochs
	current *cipherState
	nonces  nonces
	ad      associatedData
}

// NewSealer returns a Sealer of k's stream. The error comes from a
// cryptographic module that refuses the suite.
func NewSealer(k *Keys) (*Sealer, error) {
	s := &Sealer{epochs: newEpochs(k)}
	var err error
	s.current, err = s.epochs.derive(0)
	return s, err
}

// Seal appends the stored segment, nonce | ciphertext | tag, to dst, whose
// capacity must have room for it. plaintext stands apart from that room or
// exactly where its ciphertext will, NonceSize behind dst's length. A final
// segment is shorter than the segment size, the others are exactly as long;
// that is the caller's duty. Sealing an index again is safe: each call draws
// its own nonce.
func (s *Sealer) Seal(dst, plaintext []byte, index int64, final bool) []byte {
	if epoch := uint64(index) >> s.epochs.shift; epoch != s.current.epoch {
		s.current = s.epochs.mustDerive(epoch)
	}
	return s.current.aead.seal(dst, plaintext, s.ad.set(uint64(index), final), &s.nonces)
}

// Close clears the stream key. No other call may follow.
func (s *Sealer) Close() {
	clear(s.epochs.key)
	s.current = nil
}

// An Opener opens segments in any order. It is safe for concurrent use.
type Opener struct {
	epochs  epochs
	current atomic.Pointer[cipherState]
	ads     sync.Pool // of *associatedData
}

// NewOpener returns an Opener of k's stream. The error comes from a
// cryptographic module that refuses the suite.
func NewOpener(k *Keys) (*Opener, error) {
	o := &Opener{epochs: newEpochs(k), ads: sync.Pool{New: func() any { return new(associatedData) }}}
	c, err := o.epochs.derive(0)
	if err != nil {
		return nil, err
	}
	o.current.Store(c)
	return o, nil
}

// Open appends the plaintext of a stored segment to dst and returns it, or
// returns [ErrAuth] and leaves no plaintext in dst's capacity. stored does not
// overlap that capacity, and is not changed.
func (o *Opener) Open(dst, stored []byte, index int64, final bool) ([]byte, error) {
	c := o.current.Load()
	if epoch := uint64(index) >> o.epochs.shift; epoch != c.epoch {
		c = o.epochs.mustDerive(epoch)
		o.current.Store(c)
	}
	ad := o.ads.Get().(*associatedData)
	defer o.ads.Put(ad)
	return c.aead.open(dst, stored, ad.set(uint64(index), final))
}

// Close clears the stream key. No other call may follow or be under way.
func (o *Opener) Close() { clear(o.epochs.key) }
