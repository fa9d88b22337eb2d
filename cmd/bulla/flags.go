package main

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A byteSize is a flag of a number of bytes: 65536, 64KiB, 8MiB, 1GiB.
type byteSize int64

var units = []struct {
	name string
	size int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

func (s *byteSize) Type() string { return "SIZE" }

func (s *byteSize) String() string {
	if *s == 0 {
		return ""
	}
	for _, u := range units {
		if int64(*s)%u.size == 0 {
			return fmt.Sprintf("%d%s", int64(*s)/u.size, u.name)
		}
	}
	return strconv.FormatInt(int64(*s), 10)
}

func (s *byteSize) Set(text string) error {
	number, factor := text, int64(1)
	for _, u := range units {
		if n, ok := strings.CutSuffix(text, u.name); ok {
			number, factor = n, u.size
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n <= 0 || n > math.MaxInt64/factor {
		return errors.New("expected a number of bytes such as 65536, 64KiB, 8MiB or 1GiB")
	}
	*s = byteSize(n * factor)
	return nil
}

// pairs is a repeatable flag of key=value.
type pairs map[string]string

func (p pairs) Type() string   { return "KEY=VALUE" }
func (p pairs) String() string { return "" }

func (p pairs) Set(text string) error {
	key, value, ok := strings.Cut(text, "=")
	if !ok || key == "" {
		return errors.New("expected KEY=VALUE")
	}
	if _, ok := p[key]; ok {
		return fmt.Errorf("%q is given twice", key)
	}
	p[key] = value
	return nil
}

// A byteRange is a flag that selects plaintext bytes as an HTTP range does:
// both ends are included. The zero value is a range of one byte; allBytes
// selects everything.
type byteRange struct {
	first int64 // negative: that many bytes from the end on
	last  int64
}

var allBytes = byteRange{0, math.MaxInt64}

func (r *byteRange) Type() string { return "RANGE" }

func (r *byteRange) String() string {
	switch {
	case *r == allBytes:
		return ""
	case r.first < 0:
		return strconv.FormatInt(r.first, 10)
	case r.last == math.MaxInt64:
		return fmt.Sprintf("%d-", r.first)
	}
	return fmt.Sprintf("%d-%d", r.first, r.last)
}

func (r *byteRange) Set(text string) error {
	first, last, ok := strings.Cut(text, "-")
	a, errA := strconv.ParseUint(first, 10, 63)
	b, errB := strconv.ParseUint(last, 10, 63)
	switch {
	case ok && errA == nil && last == "":
		*r = byteRange{int64(a), math.MaxInt64}
	case ok && errA == nil && errB == nil && a <= b:
		*r = byteRange{int64(a), int64(b)}
	case ok && first == "" && errB == nil && b > 0:
		*r = byteRange{-int64(b), math.MaxInt64}
	default:
		return errors.New("expected 0-99 (the first hundred bytes), 100- (all after them) or -500 (the final five hundred)")
	}
	return nil
}

// resolve returns the offset and count that r selects of size bytes.
func (r byteRange) resolve(size int64) (offset, n int64, err error) {
	if r.first < 0 {
		n = min(-r.first, size)
		return size - n, n, nil
	}
	if r.first >= size && r != allBytes {
		return 0, 0, fmt.Errorf("the range begins at byte %d, the plaintext has %d bytes", r.first, size)
	}
	return r.first, min(r.last, size-1) - r.first + 1, nil
}
