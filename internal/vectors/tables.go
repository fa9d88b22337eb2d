package vectors

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// Bytes are hexadecimal in JSON.
type Bytes []byte

// UnmarshalText decodes hexadecimal digits.
func (b *Bytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// A KeySchedule is all that derives from one data key and one prelude
// (SPEC §4).
type KeySchedule struct {
	Suite          uint8 `json:"suite"`
	K              uint8 `json:"k"`
	Flags          uint8 `json:"flags"`
	IV             Bytes `json:"iv"`
	DataKey        Bytes `json:"data_key"`
	AssociatedData Bytes `json:"associated_data"`
	ADHash         Bytes `json:"adh"`
	Prelude        Bytes `json:"prelude"`
	Commitment     Bytes `json:"commitment"`
	HeaderKey      Bytes `json:"header_key"`
	MetaKey        Bytes `json:"meta_key"`
	StreamKey      Bytes `json:"stream_key"`
	Epochs         []struct {
		Index uint64 `json:"index,string"`
		Epoch uint64 `json:"epoch,string"`
		Key   Bytes  `json:"key"`
	} `json:"epochs"`
	Segments []struct {
		Index     uint64 `json:"index,string"`
		Final     bool   `json:"final"`
		Nonce     Bytes  `json:"nonce"`
		Plaintext Bytes  `json:"plaintext"` // 21 bytes, also where the segment is not final
		Stored    Bytes  `json:"stored"`
	} `json:"segments"`
}

// KeySchedules returns the contents of keyschedule.json. It ends the test if
// there are none.
func KeySchedules(t testing.TB) []KeySchedule {
	t.Helper()
	var all []KeySchedule
	loadJSON(t, "keyschedule.json", &all)
	if len(all) == 0 {
		t.Fatal("no key schedules")
	}
	return all
}

// SizeTables are samples of the maps between plaintext and stored sizes
// (SPEC §7). K is the segment exponent, P the offset of segment 0.
type SizeTables struct {
	Sizes []struct {
		K         uint8 `json:"k"`
		P         int64 `json:"p"`
		Plaintext int64 `json:"plaintext,string"`
		Stored    int64 `json:"stored,string"`
	} `json:"sizes"`
	Invalid []struct { // stored sizes of no stream
		K      uint8 `json:"k"`
		P      int64 `json:"p"`
		Stored int64 `json:"stored,string"`
	} `json:"invalid"`
	TooLarge []struct { // plaintext sizes whose stored size is above 2^63-1
		K         uint8 `json:"k"`
		P         int64 `json:"p"`
		Plaintext int64 `json:"plaintext,string"`
	} `json:"too_large"`
	Ranges []struct { // plaintext bytes [From, To) are in segments [First, End), stored at [Start, Stop)
		K     uint8 `json:"k"`
		P     int64 `json:"p"`
		Size  int64 `json:"size,string"`
		From  int64 `json:"from,string"`
		To    int64 `json:"to,string"`
		First int64 `json:"first,string"`
		End   int64 `json:"end,string"`
		Start int64 `json:"start,string"`
		Stop  int64 `json:"stop,string"`
	} `json:"ranges"`
}

// Sizes returns the contents of sizes.json. It ends the test if a table is
// empty.
func Sizes(t testing.TB) SizeTables {
	t.Helper()
	var s SizeTables
	loadJSON(t, "sizes.json", &s)
	if len(s.Sizes) == 0 || len(s.Invalid) == 0 || len(s.TooLarge) == 0 || len(s.Ranges) == 0 {
		t.Fatal("a table of sizes is empty")
	}
	return s
}

func loadJSON(t testing.TB, name string, v any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(Dir(t), name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
