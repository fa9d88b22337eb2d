package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/big"
	"slices"
)

type keySchedule struct {
	Suite          int             `json:"suite"`
	K              int             `json:"k"`
	Flags          int             `json:"flags"`
	IV             hexBytes        `json:"iv"`
	DataKey        hexBytes        `json:"data_key"`
	AssociatedData hexBytes        `json:"associated_data"`
	ADHash         hexBytes        `json:"adh"`
	Prelude        hexBytes        `json:"prelude"` // with the commitment
	Commitment     hexBytes        `json:"commitment"`
	HeaderKey      hexBytes        `json:"header_key"`
	MetaKey        hexBytes        `json:"meta_key"`
	StreamKey      hexBytes        `json:"stream_key"`
	Epochs         []epochSample   `json:"epochs"`
	Segments       []segmentSample `json:"segments"`
}

type epochSample struct {
	Index uint64   `json:"index,string"`
	Epoch uint64   `json:"epoch,string"`
	Key   hexBytes `json:"key"`
}

type segmentSample struct {
	Index     uint64   `json:"index,string"`
	Final     bool     `json:"final"`
	Nonce     hexBytes `json:"nonce"`
	Plaintext hexBytes `json:"plaintext"`
	Stored    hexBytes `json:"stored"`
}

type hexBytes []byte

func (b hexBytes) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(b)), nil }

// keySchedules returns keyschedule.json: every derivation for both suites,
// segment sizes on both sides of where epochs change form, with and without
// associated data.
func keySchedules() []byte {
	var all []keySchedule
	for _, suite := range []byte{suiteAES, suiteChaCha} {
		for _, k := range []byte{12, 16, 17, 24} {
			for _, ad := range []string{"", "invoice 2291"} {
				r := &source{seed: "key schedule " + string('0'+suite) + string('a'+k) + ad}
				s := stream{magic: []byte("\x89BUL\r\n\x1a\n"), version: 1, suite: suite, k: k, iv: r.bytes(32), dataKey: r.bytes(32), ad: []byte(ad), random: r}
				if ad != "" {
					s.flags |= flagAssociatedData
				}
				all = append(all, s.schedule())
			}
		}
	}
	return encodeJSON(all)
}

func (s *stream) schedule() keySchedule {
	adh := sha256.Sum256(s.ad)
	commitment := s.derive("commitment", 32)
	t := keySchedule{
		Suite: int(s.suite), K: int(s.k), Flags: int(s.flags), IV: s.iv, DataKey: s.dataKey,
		AssociatedData: s.ad, ADHash: adh[:], Prelude: concat(s.bound(), commitment), Commitment: commitment,
		HeaderKey: s.derive("header", 32), MetaKey: s.derive("metadata", 32), StreamKey: s.derive("stream", 64),
	}
	most := largestPlaintext(int(s.k), 4096)
	largest := new(big.Int).Rsh(most, uint(s.k)).Uint64()
	epoch := uint64(1) << epochShift(s.k)
	indices := []uint64{0, 1, epoch - 1, epoch, epoch + 1, 2*epoch - 1, 2 * epoch, 255 * epoch, 256*epoch - 1, 256 * epoch, 1 << 32, largest - 1, largest}
	slices.Sort(indices)
	for _, i := range slices.Compact(indices) {
		t.Epochs = append(t.Epochs, epochSample{i, i / epoch, s.epochKey(i / epoch)})
		for _, final := range []bool{false, true} {
			p := s.random.bytes(21)
			stored := s.seal(i, final, p)
			t.Segments = append(t.Segments, segmentSample{i, final, stored[:12], p, stored})
		}
	}
	return t
}

type sizeTables struct {
	Sizes    []sizeSample      `json:"sizes"`
	Invalid  []storedSample    `json:"invalid"`   // stored sizes of no stream
	TooLarge []plaintextSample `json:"too_large"` // plaintext sizes whose stored size is above 2^63-1
	Ranges   []rangeSample     `json:"ranges"`
}

type sizeSample struct {
	K         int     `json:"k"`
	P         int64   `json:"p"`
	Plaintext decimal `json:"plaintext"`
	Stored    decimal `json:"stored"`
}

type storedSample struct {
	K      int     `json:"k"`
	P      int64   `json:"p"`
	Stored decimal `json:"stored"`
}

type plaintextSample struct {
	K         int     `json:"k"`
	P         int64   `json:"p"`
	Plaintext decimal `json:"plaintext"`
}

// A rangeSample is the half-open range [Start, Stop) of stored bytes that holds
// the plaintext bytes [From, To) of a stream of Size.
type rangeSample struct {
	K     int     `json:"k"`
	P     int64   `json:"p"`
	Size  decimal `json:"size"`
	From  decimal `json:"from"`
	To    decimal `json:"to"`
	First decimal `json:"first"` // index of the first segment
	End   decimal `json:"end"`   // index after the segment that holds the byte before To
	Start decimal `json:"start"`
	Stop  decimal `json:"stop"`
}

// A decimal stands in JSON as a string, since many readers of JSON round large
// numbers.
type decimal struct{ *big.Int }

func (d decimal) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

func num(n int64) *big.Int { return big.NewInt(n) }

func plus(a *big.Int, n int64) *big.Int { return new(big.Int).Add(a, num(n)) }

// storedSize is stored(n) of SPEC §7.1, on integers without bounds.
func storedSize(k int, p int64, n *big.Int) *big.Int {
	q, r := new(big.Int).DivMod(n, num(1<<k), new(big.Int))
	q.Mul(q, num(1<<k+overhead))
	return plus(q.Add(q, r), p+overhead)
}

// largestPlaintext returns the largest n that can be stored in 2^63-1 bytes.
func largestPlaintext(k int, p int64) *big.Int {
	low, high := num(0), num(math.MaxInt64) // storedSize is increasing
	for low.Cmp(high) < 0 {
		mid := new(big.Int).Add(low, high)
		mid.Rsh(mid.Add(mid, num(1)), 1)
		if storedSize(k, p, mid).IsInt64() {
			low = mid
		} else {
			high = plus(mid, -1)
		}
	}
	return low
}

// sizes returns sizes.json.
func sizes() []byte {
	var t sizeTables
	for _, k := range []int{12, 13, 16, 20, 24} {
		for _, p := range []int64{76, 135, 4096, 65536} {
			t.add(k, p)
		}
	}
	return encodeJSON(t)
}

func (t *sizeTables) add(k int, p int64) {
	s, stored := int64(1)<<k, int64(1)<<k+overhead
	most := largestPlaintext(k, p)
	plain := []*big.Int{num(0), num(1), num(s - 1), num(s), num(s + 1), num(2*s - 1), num(2 * s), num(2*s + 1), num(1000*s + 17), num(1 << 40), num(1<<53 + 1), plus(most, -s), plus(most, -1), most}
	for _, n := range plain {
		t.Sizes = append(t.Sizes, sizeSample{k, p, decimal{n}, decimal{storedSize(k, p, n)}})
	}
	for _, n := range []int64{1, s, 1 << 20} {
		t.TooLarge = append(t.TooLarge, plaintextSample{k, p, decimal{plus(most, n)}})
	}
	t.TooLarge = append(t.TooLarge, plaintextSample{k, p, decimal{num(math.MaxInt64)}})
	for _, n := range []int64{0, 1, p - 1, p, p + 1, p + 27, p + stored, p + stored + 1, p + stored + 27, p + 1000*stored, p + 1000*stored + 27} {
		t.Invalid = append(t.Invalid, storedSample{k, p, decimal{num(n)}})
	}
	// The sizes up to 2^63-1: that of the largest plaintext, and those behind it.
	for n := plus(storedSize(k, p, most), 1); n.IsInt64(); n = plus(n, 1) {
		t.Invalid = append(t.Invalid, storedSample{k, p, decimal{n}})
	}
	size := plus(num(1000*s), 17)
	for _, r := range [][2]int64{{0, 1}, {0, s}, {0, s + 1}, {s - 1, s}, {s - 1, s + 1}, {s, 2 * s}, {1, 3*s + 1}, {1000*s - 1, 1000 * s}, {1000*s - 1, 1000*s + 1}, {1000 * s, 1000*s + 17}, {0, 1000*s + 17}} {
		t.addRange(k, p, size, num(r[0]), num(r[1]))
	}
	t.addRange(k, p, most, plus(most, -1), most)
	t.addRange(k, p, most, plus(most, -2*s), plus(most, -s))
	t.addRange(k, p, most, num(0), most)
}

func (t *sizeTables) addRange(k int, p int64, size, from, to *big.Int) {
	first := new(big.Int).Rsh(from, uint(k))
	end := plus(new(big.Int).Rsh(plus(to, -1), uint(k)), 1)
	offset := func(i *big.Int) *big.Int { return plus(new(big.Int).Mul(i, num(1<<k+overhead)), p) }
	stop := offset(end)
	if all := storedSize(k, p, size); stop.Cmp(all) > 0 {
		stop = all
	}
	t.Ranges = append(t.Ranges, rangeSample{k, p, decimal{size}, decimal{from}, decimal{to}, decimal{first}, decimal{end}, decimal{offset(first)}, decimal{stop}})
}

func encodeJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", " ")
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return b.Bytes()
}
