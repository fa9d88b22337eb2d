package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"testing"
)

// TestCatRanges compares every pair of interesting offsets with the plaintext.
func TestCatRanges(t *testing.T) {
	inTempDir(t)
	t.Setenv(keyFileEnv, "key")
	for _, n := range []int{0, 1, 4096, 2*4096 + 7, catBuffer + 4096 + 7} {
		text := plaintextOf(n)
		write(t, "f", text)
		want(t, 0, "encrypt", "--force", "--segment-size=4KiB", "f")
		if r := want(t, 0, "cat", "f.bulla"); r.stdout != text {
			t.Fatalf("%d: cat writes another plaintext", n)
		}
		edges := []int64{0, 1, 4095, 4096, 4097, int64(n) - 1, int64(n), int64(n) + 1, math.MaxInt64}
		for _, first := range edges {
			if first < 0 {
				continue
			}
			checkRange(t, text, first, math.MaxInt64, fmt.Sprint(first)+"-")
			for _, last := range edges {
				if last >= first {
					checkRange(t, text, first, last, fmt.Sprint(first)+"-"+fmt.Sprint(last))
				}
			}
			if first > 0 {
				wanted := text[max(0, int64(n)-first):]
				if r := want(t, 0, "cat", "f.bulla", "--range", "-"+fmt.Sprint(first)); r.stdout != wanted {
					t.Errorf("%d: --range -%d writes %d bytes, want %d", n, first, len(r.stdout), len(wanted))
				}
			}
		}
	}
}

func checkRange(t *testing.T, text string, first, last int64, arg string) {
	t.Helper()
	if first >= int64(len(text)) && (first != 0 || last != math.MaxInt64) {
		want(t, exitFailure, "cat", "f.bulla", "--range", arg)
		return
	}
	wanted := text[first : min(last, int64(len(text))-1)+1]
	if r := want(t, 0, "cat", "f.bulla", "--range", arg); r.stdout != wanted {
		t.Errorf("%d: --range %s writes %d bytes, want %d", len(text), arg, len(r.stdout), len(wanted))
	}
}

// A range beside a damaged segment is written, and one that touches it stops
// before it.
func TestCatDamaged(t *testing.T) {
	inTempDir(t)
	t.Setenv(keyFileEnv, "key")
	text := plaintextOf(3*4096 + 7)
	write(t, "f", text)
	want(t, 0, "encrypt", "--segment-size=4KiB", "f")
	b := []byte(read(t, "f.bulla"))
	b[4096+4124+100] ^= 1 // segment 1
	write(t, "f.bulla", string(b))
	if r := want(t, 0, "cat", "f.bulla", "--range=0-4095"); r.stdout != text[:4096] {
		t.Error("segment 0 differs")
	}
	if r := want(t, 0, "cat", "f.bulla", "--range=8192-"); r.stdout != text[8192:] {
		t.Error("segments 2 and 3 differ")
	}
	for _, arg := range []string{"0-", "4095-4096", "8191-8192"} {
		if r := want(t, exitUntrusted, "cat", "f.bulla", "--range", arg); len(r.stdout) > 4096 {
			t.Errorf("--range %s writes %d bytes", arg, len(r.stdout))
		}
	}
}

// Wherever reading begins, it goes on from the edge of a segment.
func TestFileReaderAlignment(t *testing.T) {
	inTempDir(t)
	write(t, "f", plaintextOf(10*4096+7))
	want(t, 0, "encrypt", "-k", "key", "--segment-size=4KiB", "f")
	keys, err := readKeys("key", false)
	if err != nil {
		t.Fatal(err)
	}
	r, err := openFile(t.Context(), "f.bulla", keys[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for _, c := range []struct {
		offset    int64
		size, end int
	}{{0, 10_000, 8192}, {5, 10_000, 8192}, {5, 100, 105}, {4000, 200, 4096}, {4096, 4096, 8192}, {8192, 100_000, 10*4096 + 7}} {
		if _, err := r.Seek(c.offset, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if n, err := r.Read(make([]byte, c.size)); err != nil || int(c.offset)+n != c.end {
			t.Errorf("reading %d bytes from %d ends at %d, want %d; %v", c.size, c.offset, int(c.offset)+n, c.end, err)
		}
	}
}

func TestCatPipe(t *testing.T) {
	inTempDir(t)
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	w.Close()
	if _, err := openFile(t.Context(), "/dev/fd/"+strconv.Itoa(int(r.Fd())), nil, nil); err == nil {
		t.Error("a pipe was opened for random access")
	}
}
