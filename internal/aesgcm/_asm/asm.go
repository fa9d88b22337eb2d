package main

import (
	"fmt"
	"strings"
)

// code is a run of assembly, a line for each instruction, label or comment.
//
// Operands stand in the order of Go's assembler: the destination is the last,
// and Intel's first source the last but one.
type code []string

// ins returns one instruction.
func ins(op string, operands ...any) code {
	text := make([]string, len(operands))
	for i, o := range operands {
		if n, ok := o.(int); ok {
			text[i] = fmt.Sprintf("$%d", n)
			continue
		}
		text[i] = fmt.Sprint(o)
	}
	return code{"\t" + strings.TrimSpace(op+" "+strings.Join(text, ", "))}
}

func label(name string) code { return code{name + ":"} }

// note is a comment in the output.
func note(format string, args ...any) code { return code{"", "\t// " + fmt.Sprintf(format, args...)} }

// join puts runs one behind another.
func join(runs ...code) (c code) {
	for _, r := range runs {
		c = append(c, r...)
	}
	return c
}

// function returns a whole assembly function. Its arguments begin at 0(FP).
func function(name string, frame, args int, prototype string, body code) string {
	flag := "NOSPLIT"
	if frame > 512 {
		flag = "0" // the stack may have to grow
	}
	return fmt.Sprintf("// %s\nTEXT ·%s(SB), %s, $%d-%d\n%s\n", prototype, name, flag, frame, args, strings.Join(body, "\n"))
}

// A vec is a vector register, seen as 64 bytes (Z), 32 (Y) or 16 (X).
type vec struct{ number, width int }

func (v vec) String() string {
	return fmt.Sprintf("%s%d", map[int]string{64: "Z", 32: "Y", 16: "X"}[v.width], v.number)
}

func (v vec) x() vec { return vec{v.number, 16} }
func (v vec) y() vec { return vec{v.number, 32} }

// at is the memory operand offset(base).
func at(base string, offset int) string { return fmt.Sprintf("%d(%s)", offset, base) }

// The names of some instructions depend on the width: those of 512 bits exist
// in the EVEX encoding only, and the 256-bit kernel must not have any of that
// encoding. Registers from 16 on exist in EVEX only.

func load(from any, to vec) code  { return ins(sized("VMOVDQU", to), from, to) }
func store(from vec, to any) code { return ins(sized("VMOVDQU", from), from, to) }

// move copies a register.
func move(from, to vec) code { return ins(sized("VMOVDQU", to), from, to) }

// xor sets to = a ^ b; a may be in memory.
func xor(a any, b, to vec) code {
	if to.width == 64 {
		return ins("VPXORQ", a, b, to)
	}
	return ins("VPXOR", a, b, to)
}

// xor3 sets to ^= a ^ b.
func xor3(a, b, to vec) code {
	if to.width == 64 {
		return ins("VPTERNLOGQ", 0x96, a, b, to)
	}
	return join(xor(a, to, to), xor(b, to, to))
}

func zero(v vec) code { return xor(v, v, v) }

// clmul sets to to the carry-less product of two qwords, of which 'l' and 'h'
// tell the halves of each lane: "lh" is a's low one with b's high one. b may be
// in memory.
func clmul(halves string, a vec, b any, to vec) code {
	imm := 0
	if halves[0] == 'h' {
		imm |= 0x01
	}
	if halves[1] == 'h' {
		imm |= 0x10
	}
	return ins("VPCLMULQDQ", imm, b, a, to)
}

// swap exchanges the qwords of each lane.
func swap(from, to vec) code { return ins("VPSHUFD", 0x4e, from, to) }

func sized(op string, v vec) string {
	if v.width == 64 {
		return op + "64"
	}
	return op
}
