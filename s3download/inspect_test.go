package s3download

import (
	"errors"
	"testing"

	"github.com/bulla-format/bulla/format"
	"github.com/bulla-format/bulla/stream"
)

// Inspect finds what Open finds, with as many requests, and without a key.
func TestInspect(t *testing.T) {
	for _, at := range places {
		for _, n := range []int{0, 1, 3*S + 5} {
			for _, eo := range []stream.EncryptOptions{known(n), {}, {CompactHeader: true}} {
				f := at.store(t, plaintext(n), eo)
				info, stored, err := Inspect(t.Context(), f, f.input(), at.options(nil))
				if err != nil || stored != int64(len(f.data)) {
					t.Fatalf("%s: %d bytes: stored size %d, %v", at.name, n, stored, err)
				}
				requests := f.count()
				object, err := Open(t.Context(), f, f.input(), key, at.options(&Options{Prefetch: Range{Offset: 1}}))
				if err != nil {
					t.Fatal(err)
				}
				want := object.Info()
				closeFake(t, f, object)
				if info.IV != want.IV || info.HeaderSize != want.HeaderSize || info.Detached != (at.put != nil) || info.PlaintextSize != want.PlaintextSize {
					t.Errorf("%s: %d bytes: %+v, want %+v", at.name, n, info, want)
				}
				if opened := f.count() - requests; requests > opened {
					t.Errorf("%s: %d bytes: %d requests, Open has %d", at.name, n, requests, opened)
				}
			}
		}
	}
}

func TestInspectRefuses(t *testing.T) {
	f := newFake([]byte("no stream"))
	if _, _, err := Inspect(t.Context(), f, f.input(), nil); !errors.Is(err, format.ErrNotStream) {
		t.Errorf("%v", err)
	}
	if _, _, err := Inspect(t.Context(), f, f.input(), &Options{CacheSize: -1}); err == nil {
		t.Error("bad options were taken")
	}
	if _, _, err := Inspect(t.Context(), f, nil, nil); err == nil {
		t.Error("no input was taken")
	}
	f = places[2].store(t, plaintext(9), known(9))
	f.others = nil
	if _, _, err := Inspect(t.Context(), f, f.input(), nil); !errors.Is(err, ErrNoHeader) {
		t.Errorf("%v", err)
	}
}
