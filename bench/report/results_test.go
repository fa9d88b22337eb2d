package main

import (
	"slices"
	"strings"
	"testing"
)

const small = `machine: A CPU
goos: linux
BenchmarkEncrypt/impl=raw/suite=aes256gcm/size=1KiB 	 10	 200 ns/op	 5000 MB/s	 0 B/op	 0 allocs/op
BenchmarkEncrypt/impl=tink-1MB/suite=aes256gcm/size=1KiB 	 10	 200 ns/op	 7 MB/s	 0 B/op	 0 allocs/op
BenchmarkEncrypt/impl=bulla/suite=aes256gcm/size=64MiB/src=reader-2 	 10	 200 ns/op	 900 MB/s	 2048 B/op	 9 allocs/op
PASS
pkg: something
BenchmarkEncrypt/impl=raw/suite=aes256gcm/size=1KiB 	 10	 100 ns/op	 7000 MB/s	 0 B/op	 0 allocs/op
BenchmarkEncrypt/impl=raw/suite=aes256gcm/size=1KiB 	 10	 100 ns/op	 5500 MB/s	 0 B/op	 0 allocs/op
BenchmarkEncrypt/impl=bulla-std/suite=aes256gcm/size=1KiB 	 10	 100 ns/op	 5500 MB/s	 0 B/op	 0 allocs/op
BenchmarkEncrypt/impl=bulla/suite=aes256gcm/size=1KiB 	 10	 100 ns/op	 5500 MB/s	 0 B/op	 0 allocs/op
`

func parsed(t *testing.T, text string) *results {
	t.Helper()
	r, err := parse(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestParse(t *testing.T) {
	r := parsed(t, small)
	for _, c := range []struct {
		name, unit string
		median     float64
	}{
		{"Encrypt/impl=raw/suite=aes256gcm/size=1KiB", "B/s", 5500e6},
		{"Encrypt/impl=raw/suite=aes256gcm/size=1KiB", "sec/op", 100e-9},
		{"Encrypt/impl=tink-1MB/suite=aes256gcm/size=1KiB", "B/s", 7e6},
		{"Encrypt/impl=bulla/suite=aes256gcm/size=64MiB/src=reader", "B/op", 2048},
	} {
		if got, ok := r.median(c.name, c.unit); !ok || got < c.median*.999999 || got > c.median*1.000001 {
			t.Errorf("%s: %v %s, expected %v", c.name, got, c.unit, c.median)
		}
	}
	if _, ok := r.median("Encrypt/impl=raw/suite=aes256gcm/size=2KiB", "B/s"); ok {
		t.Error("a median of what was not measured")
	}
	if r.config["machine"] != "A CPU" || r.config["goos"] != "linux" {
		t.Errorf("config: %v", r.config)
	}
	want := []string{
		"impl=raw/suite=aes256gcm", "impl=bulla/suite=aes256gcm", "impl=bulla-std/suite=aes256gcm", "impl=tink-1MB/suite=aes256gcm",
	}
	if got := r.implementations("Encrypt"); !slices.Equal(got, want) {
		t.Errorf("implementations: %v", got)
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", "machine: A CPU\nPASS\n", "BenchmarkEncrypt/impl=raw 10 fast ns/op\n"} {
		if r, err := parse(strings.NewReader(text)); err == nil {
			t.Errorf("%q: no error, but %v", text, r.names)
		}
	}
}

func TestBytesOf(t *testing.T) {
	for size, want := range map[string]float64{"1KiB": 1024, "64KiB": 65536, "64MiB": 64 << 20, "1GiB": 1 << 30, "x": 0} {
		if got := bytesOf(size); got != want {
			t.Errorf("%s: %v", size, got)
		}
	}
}

// TestRatio has measurements that differ, and some that do not.
func TestRatio(t *testing.T) {
	var b strings.Builder
	for i, n := range []string{"1000", "1010", "1020", "1030", "1040", "1050", "1060"} {
		b.WriteString("BenchmarkEncrypt/impl=a 1 1 ns/op " + n + " MB/s\n")
		b.WriteString("BenchmarkEncrypt/impl=b 1 1 ns/op " + n + "0 MB/s\n")
		b.WriteString("BenchmarkEncrypt/impl=c 1 1 ns/op 10" + string(rune('0'+i)) + "1 MB/s\n")
	}
	d := &document{results: parsed(t, b.String())}
	for _, c := range [][3]string{
		{"Encrypt/impl=b", "Encrypt/impl=a", "10.00"},
		{"Encrypt/impl=a", "Encrypt/impl=b", "0.10"},
		{"Encrypt/impl=a", "Encrypt/impl=c", "≈1.00"},
		{"Encrypt/impl=a", "Encrypt/impl=none", ""},
	} {
		if got := d.ratio(c[0], c[1]); got != c[2] {
			t.Errorf("%s by %s: %q, expected %q", c[0], c[1], got, c[2])
		}
	}
	if got := d.speed("Encrypt/impl=a"); !strings.HasPrefix(got, "1030 ± ") {
		t.Errorf("speed: %q", got)
	}
}
