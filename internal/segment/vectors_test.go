package segment

import (
	"bytes"
	"crypto/fips140"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/internal/vectors"
)

// TestKeyScheduleVectors derives all keys of the vectors of SPEC §4 and opens
// their segments, at indices up to the edges of late epochs.
func TestKeyScheduleVectors(t *testing.T) {
	segments := 0
	for i, v := range vectors.KeySchedules(t) {
		if fips140.Enforced() && format.Suite(v.Suite) != format.AES256GCM {
			continue // the cryptographic module in force does not allow it
		}
		p := format.Prelude{Suite: format.Suite(v.Suite), SegmentExp: v.K, Flags: format.Flags(v.Flags), IV: [32]byte(v.IV), Commitment: [32]byte(v.Commitment)}
		if got := p.Append(nil); !bytes.Equal(got, v.Prelude) {
			t.Errorf("vector %d: prelude %x", i, got)
		}
		k := new(Keys)
		err := k.Derive(v.DataKey, &p, v.AssociatedData)
		if err != nil {
			t.Fatal(err)
		}
		for what, c := range map[string][2][]byte{
			"commitment": {k.commitment[:], v.Commitment}, "header key": {k.header[:], v.HeaderKey},
			"meta key": {metaKey(t, k), v.MetaKey}, "stream key": {k.stream[:], v.StreamKey},
		} {
			if !bytes.Equal(c[0], c[1]) {
				t.Errorf("vector %d: %s %x, expected %x", i, what, c[0], c[1])
			}
		}
		if err := k.VerifyCommitment(&p); err != nil {
			t.Errorf("vector %d: the commitment does not verify", i)
		}
		s, o := pair(t, k)
		for _, e := range v.Epochs {
			if epoch := e.Index >> k.epochShift; epoch != e.Epoch {
				t.Errorf("vector %d: segment %d is in epoch %d, expected %d", i, e.Index, epoch, e.Epoch)
			}
			if key, err := epochKey(&k.stream, e.Epoch); err != nil || !bytes.Equal(key[:], e.Key) {
				t.Errorf("vector %d: key of epoch %d: %x, %v", i, e.Epoch, key, err)
			}
		}
		for _, e := range v.Segments {
			segments++
			got, err := o.Open(nil, e.Stored, int64(e.Index), e.Final)
			if err != nil || !bytes.Equal(got, e.Plaintext) || !bytes.Equal(e.Stored[:format.NonceSize], e.Nonce) {
				t.Errorf("vector %d: segment %d: %x, %v", i, e.Index, got, err)
			}
			// Sealed again under its own nonce, which is drawn from the batch's end.
			if a := s.epochs.at(int64(e.Index)); !a.random {
				x := scratch{nonces: nonces{left: format.NonceSize}}
				copy(x.nonces.buf[:], e.Nonce)
				again := a.seal(make([]byte, 0, len(e.Stored)), e.Plaintext, x.ad.set(e.Index, e.Final), &x.nonces)
				if !bytes.Equal(again, e.Stored) {
					t.Errorf("vector %d: segment %d is sealed as %x", i, e.Index, again)
				}
			}
		}
	}
	if segments == 0 {
		t.Error("no segments in the vectors")
	}
}
