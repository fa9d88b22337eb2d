package main

import (
	"math"
	"testing"
)

func TestByteSize(t *testing.T) {
	for text, want := range map[string]int64{
		"1": 1, "65536": 65536, "64KiB": 65536, "8MiB": 8 << 20, "5GiB": 5 << 30, "3KiB": 3072, "1025KiB": 1025 << 10,
	} {
		var s byteSize
		if err := s.Set(text); err != nil || int64(s) != want {
			t.Errorf("%s: %d, %v", text, s, err)
		}
		var again byteSize
		if err := again.Set(s.String()); err != nil || again != s {
			t.Errorf("%s: printed as %s, which is %d, %v", text, &s, again, err)
		}
	}
	for _, text := range []string{"", "0", "-1", "KiB", "1 KiB", "1KB", "1kib", "1.5MiB", "9223372036854775808", "9007199254740992KiB", "1KiBMiB"} {
		var s byteSize
		if err := s.Set(text); err == nil {
			t.Errorf("%q is %d", text, s)
		}
	}
}

func TestByteRangeString(t *testing.T) {
	for _, text := range []string{"0-0", "5-99", "100-", "-500", "0-9223372036854775806"} {
		var r byteRange
		if err := r.Set(text); err != nil || r.String() != text {
			t.Errorf("%s: %v, printed as %s", text, err, &r)
		}
	}
	if r := allBytes; r.String() != "" {
		t.Errorf("all bytes are printed as %s", &r)
	}
	if offset, n, err := (byteRange{-math.MaxInt64, math.MaxInt64}).resolve(10); offset != 0 || n != 10 || err != nil {
		t.Errorf("%d, %d, %v", offset, n, err)
	}
}
