package segment

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"sync/atomic"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/aesgcm"
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

// A scratch is what Seal and Open need beside their arguments and what, being
// handed to an AEAD, cannot stand on the stack. Nothing in it is secret: the
// nonces that one stream leaves over serve another.
type scratch struct {
	ad     associatedData
	nonces nonces
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// A cipherState holds the AEAD of one epoch.
type cipherState struct {
	epoch uint64
	aead  aead
}

// epochs derives the AEADs of a stream's epochs and keeps the current one. It
// is safe for concurrent use.
type epochs struct {
	suite   format.Suite
	shift   uint
	key     [streamKeySize]byte
	first   cipherState
	current atomic.Pointer[cipherState]
}

// init makes e the epochs of k's stream, at the first of them.
func (e *epochs) init(k *Keys) error {
	e.suite, e.shift, e.key = k.suite, k.epochShift, k.stream
	err := e.derive(&e.first, 0)
	e.current.Store(&e.first)
	return err
}

func (e *epochs) derive(c *cipherState, epoch uint64) (err error) {
	key, err := epochKey(&e.key, epoch)
	if err != nil {
		return err
	}
	defer clear(key[:])
	c.epoch = epoch
	c.aead, err = newAEAD(e.suite, key[:])
	return err
}

// at returns the AEAD of a segment's epoch.
func (e *epochs) at(index int64) aead {
	c := e.current.Load()
	if epoch := uint64(index) >> e.shift; epoch != c.epoch {
		c = new(cipherState)
		if err := e.derive(c, epoch); err != nil { // the same algorithms with the same sizes have worked for the first epoch
			panic("segment: " + err.Error())
		}
		e.current.Store(c)
	}
	return c.aead
}

// close clears the stream key and, as far as AEADs can be cleared, the epoch
// keys, and lets go of them.
func (e *epochs) close() {
	clear(e.key[:])
	if c := e.current.Swap(nil); c != nil {
		aesgcm.Clear(c.aead.AEAD)
	}
	aesgcm.Clear(e.first.aead.AEAD)
	e.first = cipherState{}
}

// A Sealer seals segments in any order. It is safe for concurrent use.
type Sealer struct{ epochs epochs }

// NewSealer returns a Sealer of k's stream. The error comes from a
// cryptographic module that refuses the suite.
func NewSealer(k *Keys) (*Sealer, error) {
	s := new(Sealer)
	return s, s.epochs.init(k)
}

// Seal appends the stored segment, nonce | ciphertext | tag, to dst, whose
// capacity must have room for it. plaintext stands apart from that room or
// exactly where its ciphertext will, NonceSize behind dst's length. A final
// segment is shorter than the segment size, the others are exactly as long;
// that is the caller's duty. Sealing an index again is safe: each call draws
// its own nonce.
func (s *Sealer) Seal(dst, plaintext []byte, index int64, final bool) []byte {
	x := scratches.Get().(*scratch)
	defer scratches.Put(x)
	return s.epochs.at(index).seal(dst, plaintext, x.ad.set(uint64(index), final), &x.nonces)
}

// Close clears the stream key and lets go of the epoch's. No other call but
// Close may follow or be under way.
func (s *Sealer) Close() { s.epochs.close() }

// An Opener opens segments in any order. It is safe for concurrent use.
type Opener struct{ epochs epochs }

// NewOpener returns an Opener of k's stream. The error comes from a
// cryptographic module that refuses the suite.
func NewOpener(k *Keys) (*Opener, error) {
	o := new(Opener)
	return o, o.epochs.init(k)
}

// Open appends the plaintext of a stored segment to dst and returns it, or
// returns [ErrAuth] and leaves no plaintext in dst's capacity. stored does not
// overlap that capacity, and is not changed.
func (o *Opener) Open(dst, stored []byte, index int64, final bool) ([]byte, error) {
	x := scratches.Get().(*scratch)
	defer scratches.Put(x)
	return o.epochs.at(index).open(dst, stored, x.ad.set(uint64(index), final))
}

// Close clears the stream key and lets go of the epoch's. No other call but
// Close may follow or be under way.
func (o *Opener) Close() { o.epochs.close() }
