package main

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// These tests review the output line by line, for what no comparison of
// results can show.

type instruction struct {
	op       string
	operands []string
}

// functions returns the instructions of each function, labels left out.
func functions(t *testing.T) map[string][]instruction {
	t.Helper()
	all := map[string][]instruction{}
	name := ""
	for _, line := range strings.Split(file(), "\n") {
		if f, ok := strings.CutPrefix(line, "TEXT ·"); ok {
			name, _, _ = strings.Cut(f, "(")
		}
		text, ok := strings.CutPrefix(line, "\t")
		if !ok || strings.HasPrefix(text, "//") {
			continue
		}
		op, rest, _ := strings.Cut(text, " ")
		i := instruction{op: op}
		if rest != "" {
			i.operands = strings.Split(rest, ", ")
		}
		all[name] = append(all[name], i)
	}
	for _, name := range []string{"setup512", "seal512", "open512", "setup256", "seal256", "open256"} {
		if len(all[name]) < 100 {
			t.Fatalf("%s has %d instructions", name, len(all[name]))
		}
	}
	if len(all) != 6 {
		t.Fatalf("%d functions", len(all))
	}
	return all
}

var (
	vectorRegister = regexp.MustCompile(`^[XYZ]([0-9]+)$`)
	memory         = regexp.MustCompile(`^[-+0-9]*\(([A-Z0-9]+)\)$`)
	argument       = regexp.MustCompile(`^[a-zA-Z]+\+[0-9]+\(FP\)$`)
	constant       = regexp.MustCompile(`^·[a-z0-9]+<>(\+[0-9]+)?\(SB\)$`)
)

// TestNothingSecretDecides follows what general registers hold. Arguments,
// constants and what is computed from them are public: addresses and lengths.
// What comes out of memory or a vector register is taken to be secret. Flags,
// and with them branches, and addresses must come from public values only.
func TestNothingSecretDecides(t *testing.T) {
	setsFlags := []string{"CMPQ", "TESTQ", "ADDQ", "SUBQ", "ANDQ", "SHLQ", "XORL", "DECL", "BZHIQ"}
	moves := []string{"MOVQ", "MOVL", "MOVW", "MOVB", "LEAQ"}
	for name, code := range functions(t) {
		secret := map[string]bool{}
		branches := 0
		for _, i := range code {
			for _, o := range i.operands {
				if m := memory.FindStringSubmatch(o); m != nil && secret[m[1]] {
					t.Errorf("%s: %v has a secret address", name, i)
				}
			}
			switch last := len(i.operands) - 1; {
			case i.op == "JMP" || i.op == "RET":
			case strings.HasPrefix(i.op, "J"):
				branches++
			case i.op == "XORL" && i.operands[0] == i.operands[1]:
				secret[i.operands[1]] = false
			case slices.Contains(setsFlags, i.op):
				for _, o := range i.operands {
					if secret[o] || memory.MatchString(o) {
						t.Errorf("%s: %v sets flags by a secret", name, i)
					}
				}
			case slices.Contains(moves, i.op):
				from, to := i.operands[0], i.operands[last]
				if memory.MatchString(to) {
					break
				}
				secret[to] = secret[from] || i.op != "LEAQ" && memory.MatchString(from)
				if i.op == "LEAQ" && !memory.MatchString(from) && !constant.MatchString(from) {
					t.Errorf("%s: %v takes an unknown address", name, i)
				}
			case strings.HasPrefix(i.op, "V") || strings.HasPrefix(i.op, "K") || strings.HasPrefix(i.op, "PREFETCH"):
				if last >= 0 && !vectorRegister.MatchString(i.operands[last]) && !memory.MatchString(i.operands[last]) &&
					!strings.HasPrefix(i.operands[last], "K") {
					t.Errorf("%s: %v writes a general register", name, i)
				}
			default:
				t.Errorf("%s: %v is not known to this test", name, i)
			}
			for _, o := range i.operands {
				if strings.HasSuffix(o, "(FP)") && !argument.MatchString(o) {
					t.Errorf("%s: %v", name, i)
				}
			}
		}
		if strings.HasPrefix(name, "setup") != (branches == 0) {
			t.Errorf("%s has %d branches", name, branches)
		}
		if secret["CX"] || secret["AX"] || secret["BX"] || secret["DX"] {
			t.Errorf("%s ends with a secret in a general register", name)
		}
	}
}

// TestRegistersAreCleared walks each function from its end: no vector register
// that it writes is left as it was.
func TestRegistersAreCleared(t *testing.T) {
	for name, code := range functions(t) {
		if last := code[len(code)-1]; last.op != "RET" {
			t.Fatalf("%s ends with %v", name, last)
		}
		if n := len(slices.DeleteFunc(slices.Clone(code), func(i instruction) bool { return i.op != "RET" })); n != 1 {
			t.Errorf("%s returns in %d places", name, n)
		}
		cleared := map[int]bool{}
		dirty := map[int]bool{}
		for _, i := range slices.Backward(code) {
			if i.op == "VZEROALL" {
				for n := range 16 {
					cleared[n] = cleared[n] || !dirty[n]
				}
			}
			if len(i.operands) == 0 {
				continue
			}
			m := vectorRegister.FindStringSubmatch(i.operands[len(i.operands)-1])
			if m == nil {
				continue
			}
			n, _ := strconv.Atoi(m[1])
			isZero := strings.HasPrefix(i.op, "VPXOR") && i.operands[0] == i.operands[1] && i.operands[1] == i.operands[2]
			switch {
			case cleared[n] || dirty[n]:
			case isZero:
				cleared[n] = true
			default:
				dirty[n] = true
			}
		}
		if len(dirty) > 0 {
			t.Errorf("%s leaves registers %v as they are", name, dirty)
		}
		if len(cleared) < 16 {
			t.Errorf("%s clears %d registers", name, len(cleared))
		}
	}
}

// TestTableIsCleared finds the stores that clear the table of the wide kernel,
// all of it and nothing else.
func TestTableIsCleared(t *testing.T) {
	var table []string
	for i := 0; i < groupSize; i += 64 {
		table = append(table, at("CX", i))
	}
	for _, name := range []string{"seal512", "open512"} {
		var cleared []string
		for _, i := range functions(t)[name] {
			if i.op == "VMOVDQU64" && i.operands[0] == wide.zeroRegister() && strings.HasSuffix(i.operands[1], "(CX)") {
				cleared = append(cleared, i.operands[1])
			}
		}
		if !slices.Equal(cleared, table) {
			t.Errorf("%s clears %v", name, cleared)
		}
	}
}

func (k kernel) zeroRegister() string {
	k.A = nil
	k.assign()
	return k.T.String()
}

// TestNarrowKernelIsAVX2 finds what would need AVX-512.
func TestNarrowKernelIsAVX2(t *testing.T) {
	evexOnly := regexp.MustCompile(`^V(MOVDQ[AU](8|16|32|64)|PXOR[DQ]|PAND[DQ]|POR[DQ]|PTERNLOG|SHUFI|EXTRACTI(32|64)|INSERTI(32|64)|BROADCASTI(32|64))`)
	for _, name := range []string{"setup512", "setup256", "seal256", "open256"} {
		for _, i := range functions(t)[name] {
			if evexOnly.MatchString(i.op) || strings.Contains(i.op, ".") || strings.HasPrefix(i.op, "K") {
				t.Errorf("%s: %v", name, i)
			}
			for _, o := range i.operands {
				if m := vectorRegister.FindStringSubmatch(o); m != nil {
					if n, _ := strconv.Atoi(m[1]); n > 15 || o[0] == 'Z' {
						t.Errorf("%s: %v", name, i)
					}
				}
			}
		}
	}
}

func TestWeaveKeepsOrder(t *testing.T) {
	for a := range 20 {
		for b := range 20 {
			var x, y code
			for i := range a {
				x = append(x, "a"+strconv.Itoa(i))
			}
			for i := range b {
				y = append(y, "b"+strconv.Itoa(i))
			}
			both := weave(x, y)
			if len(both) != a+b {
				t.Fatalf("%d and %d lines make %d", a, b, len(both))
			}
			for prefix, want := range map[string]code{"a": x, "b": y} {
				got := slices.DeleteFunc(slices.Clone(both), func(s string) bool { return !strings.HasPrefix(s, prefix) })
				if !slices.Equal(got, want) {
					t.Fatalf("%d and %d lines: %v", a, b, both)
				}
			}
		}
	}
}

// TestCommittedOutput is what -check does.
func TestCommittedOutput(t *testing.T) {
	if err := run(true); err != nil {
		t.Error(err)
	}
}
