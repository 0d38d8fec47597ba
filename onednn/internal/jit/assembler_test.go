package jit

import (
	"encoding/hex"
	"testing"
)

// TestEncoding compares with the bytes that GNU binutils' assembler gives, for instructions that not every CPU can run,
// and for registers and addresses of every kind.
func TestEncoding(t *testing.T) {
	at := func(reg, scale int) operand { return operand{kind: onMemory, reg: reg, index: true, scale: scale} }
	for _, c := range []struct {
		text, want string
		write      func(a *assembler)
	}{
		{"vcvtneps2bf16 ymm17, zmm3", "62e27e4872cb", func(a *assembler) {
			a.vector(vcvtneps2bf16, 17, 0, zmm(3), 0,
				false)
		}},
		{"vcvtneps2bf16 ymm2, zmm31", "62927e4872d7", func(a *assembler) {
			a.vector(vcvtneps2bf16, 2, 0, zmm(31), 0,
				false)
		}},
		{"vmovups [r13+rcx*2+0x0], ymm17", "62c17c28118c4d00000000",
			func(a *assembler) { a.vectorLength(vmovupsStore, 17, 0, at(r13, 2), 0, false, 1) }},
		{"vpmovdw [r12+rcx*2+0x0]{k1}, zmm17", "62c27e49338c4c00000000",
			func(a *assembler) { a.vector(vpmovdw, 17, 0, at(r12, 2), 1, false) }},
		{"vpmovzxwd zmm17, ymm17", "62a27d4833c9", func(a *assembler) {
			a.vector(vpmovzxwd, 17, 0, zmm(17), 0,
				false)
		}},
		{"vpermq ymm9, ymm12, 8", "c443fd00cc08", func(a *assembler) {
			a.avx2 = true
			a.vector(vpermq, 9, 0, zmm(12), 0,
				false, 8)
		}},
		{"vpackusdw ymm3, ymm11, ymm10", "c4c2252bda", func(a *assembler) {
			a.avx2 = true
			a.vector(vpackusdw, 3, 11,
				zmm(10), 0, false)
		}},
		{"vblendvps ymm9, ymm2, ymm14, ymm9", "c4436d4ace90",
			func(a *assembler) { a.avx2 = true; a.vector(vblendvps, 9, 2, zmm(14), 0, false, 9<<4) }},
		{"vpslld ymm8, ymm13, 23", "c4c13d72f517", func(a *assembler) {
			a.avx2 = true
			a.vector(vpslldImm, 6, 8,
				zmm(13), 0, false, 23)
		}},
	} {
		a := &assembler{}
		c.write(a)
		if got := hex.EncodeToString(a.code); got != c.want {
			t.Errorf("%s: %s, want %s", c.text, got, c.want)
		}
	}
}
