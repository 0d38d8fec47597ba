package onednn

import (
	"encoding/hex"
	"testing"
)

// TestEncoding compares with the bytes that GNU binutils' assembler gives, for instructions that not every CPU with
// AVX-512 can run, and for registers and addresses of every kind.
func TestEncoding(t *testing.T) {
	at := func(reg, scale int) operand { return operand{kind: onMemory, reg: reg, index: true, scale: scale} }
	for _, c := range []struct {
		text, want string
		write      func(a *assembler)
	}{
		{"vcvtneps2bf16 ymm17, zmm3", "62e27e4872cb", func(a *assembler) { a.evex(vcvtneps2bf16, 17, 0, zmm(3), 0, false) }},
		{"vcvtneps2bf16 ymm2, zmm31", "62927e4872d7", func(a *assembler) { a.evex(vcvtneps2bf16, 2, 0, zmm(31), 0, false) }},
		{"vmovups [r13+rcx*2+0x0], ymm17", "62c17c28118c4d00000000", func(a *assembler) { a.evexLength(vmovupsStore, 17, 0, at(r13, 2), 0, false, 1) }},
		{"vpmovdw [r12+rcx*2+0x0]{k1}, zmm17", "62c27e49338c4c00000000", func(a *assembler) { a.evex(vpmovdw, 17, 0, at(r12, 2), 1, false) }},
		{"vpmovzxwd zmm17, ymm17", "62a27d4833c9", func(a *assembler) { a.evex(vpmovzxwd, 17, 0, zmm(17), 0, false) }},
	} {
		a := &assembler{}
		c.write(a)
		if got := hex.EncodeToString(a.code); got != c.want {
			t.Errorf("%s: %s, want %s", c.text, got, c.want)
		}
	}
}
