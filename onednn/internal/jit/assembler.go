package jit

import "encoding/binary"

// assembler writes x86-64 machine code: what clusters need of AVX-512 (F, BW, DQ, VL) or AVX2, and loops.
// Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, chapter 2 (VEX and EVEX encoding).
type assembler struct {
	avx2   bool // vectors of 256 bits, VEX encoding
	code   []byte
	words  []uint32       // constants, put behind the code
	index  map[uint32]int // where they are in words
	fixups []int          // where the code refers to them by displacement; the number stands there until finish
}

// General registers by their numbers.
const (
	rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi = 0, 1, 2, 3, 4, 5, 6, 7
	r8, r9, r10, r11, r12, r13, r14, r15   = 8, 9, 10, 11, 12, 13, 14, 15
)

// operand is the last operand of an instruction: a vector register, or memory.
type operand struct {
	kind  int
	reg   int  // onRegister: zmm; in memory: the general register with the address
	index bool // add rcx·scale
	scale int  // 1, 2, 4
	disp  int32
	bits  uint32 // onConstant
	splat bool   // one float32 for all lanes
}

const (
	onRegister = iota
	onMemory
	onConstant
)

func zmm(n int) operand { return operand{kind: onRegister, reg: n} }

// constant is 32 bits that stand behind the code, for all lanes: AVX-512 spreads them while it reads, for AVX2 they
// stand there eight times.
func constant(bits uint32) operand { return operand{kind: onConstant, bits: bits, splat: true} }

// opcode of an EVEX instruction: prefix (0, 0x66, 0xF3, 0xF2), map (1: 0F, 2: 0F38, 3: 0F3A), byte.
type opcode struct{ prefix, table, op byte }

var (
	vaddps, vmulps, vsubps, vminps, vdivps, vmaxps = opcode{0, 1, 0x58}, opcode{0, 1, 0x59}, opcode{0, 1, 0x5c},
		opcode{0, 1, 0x5d}, opcode{0, 1, 0x5e}, opcode{0, 1, 0x5f}
	vsqrtps, vandps, vorps, vxorps = opcode{0, 1, 0x51}, opcode{0, 1, 0x54}, opcode{0, 1, 0x56},
		opcode{0, 1, 0x57}
	vpaddd, vpandd, vptestmd = opcode{0x66, 1, 0xfe}, opcode{0x66, 1, 0xdb}, opcode{0x66, 2, 0x27}
	// told apart by reg: 2 and 6
	vpslrdImm, vpslldImm               = opcode{0x66, 1, 0x72}, opcode{0x66, 1, 0x72}
	vfmadd132, vfmadd213, vfmadd231    = opcode{0x66, 2, 0x98}, opcode{0x66, 2, 0xa8}, opcode{0x66, 2, 0xb8}
	vfnmadd132, vfnmadd213, vfnmadd231 = opcode{0x66, 2, 0x9c}, opcode{0x66, 2, 0xac}, opcode{0x66, 2, 0xbc}
	vscalefps, vrcp14ps                = opcode{0x66, 2, 0x2c}, opcode{0x66, 2, 0x4c}
	vrndscaleps                        = opcode{0x66, 3, 0x08} // VEX: vroundps, which has the same modes
	vcmpps                             = opcode{0, 1, 0xc2}
	vblendmps                          = opcode{0x66, 2, 0x65}
	vmovups, vmovupsStore, vmovaps     = opcode{0, 1, 0x10}, opcode{0, 1, 0x11}, opcode{0, 1, 0x28}
	vbroadcastss                       = opcode{0x66, 2, 0x18}
	vpbroadcastb, vpbroadcastw         = opcode{0x66, 2, 0x78}, opcode{0x66, 2, 0x79}
	vpmovzxbd, vpmovzxwd               = opcode{0x66, 2, 0x31}, opcode{0x66, 2, 0x33}
	vpmovdb, vpmovdw                   = opcode{0xf3, 2, 0x31}, opcode{0xf3, 2, 0x33}
	vcvtdq2ps, vcvttps2dq              = opcode{0, 1, 0x5b}, opcode{0xf3, 1, 0x5b}
	vcvtph2ps, vcvtps2ph               = opcode{0x66, 2, 0x13}, opcode{0x66, 3, 0x1d}
	vcvtneps2bf16                      = opcode{0xf3, 2, 0x72}

	// of AVX2 only
	vblendvps, vandnps, vpcmpeqd = opcode{0x66, 3, 0x4a}, opcode{0, 1, 0x55}, opcode{0x66, 1, 0x76}
	vpackusdw, vpermq            = opcode{0x66, 2, 0x2b}, opcode{0x66, 3, 0x00}
)

// Predicates of vcmpps.
const (
	cmpEQ, cmpLT, cmpLE, cmpUnordered, cmpNE, cmpGE, cmpGT = 0x00, 0x11, 0x12, 0x03, 0x04, 0x1d, 0x1e
)

func (a *assembler) bytes(b ...byte) { a.code = append(a.code, b...) }

func (a *assembler) int32(v int32) { a.code = binary.LittleEndian.AppendUint32(a.code, uint32(v)) }

// vector is one instruction on whole vectors: reg ← op(second, last). second is 0 where the instruction has two
// operands. mask is the number of the mask register (0: none), which only AVX-512 has; zero clears lanes that the mask
// leaves out.
func (a *assembler) vector(o opcode, reg, second int, last operand, mask int, zero bool, imm ...byte) {
	a.vectorLength(o, reg, second, last, mask, zero, 2, imm...)
}

// broadcast fills a register with 32 bits; with a mask register, the lanes it names, and the others with zero.
func (a *assembler) broadcast(reg int, bits uint32, mask int) {
	c := constant(bits)
	c.splat = false
	a.vector(vbroadcastss, reg, 0, c, mask, mask != 0)
}

// vectorLength is vector of another length: a quarter (0), half (1) or all (2) of AVX-512's vectors, half (0, 1) or all
// (2) of AVX2's.
func (a *assembler) vectorLength(o opcode, reg, second int, last operand, mask int, zero bool, length byte,
	imm ...byte) {
	if a.avx2 {
		a.vex(o, reg, second, last, length/2)
	} else {
		a.evex(o, reg, second, last, mask, zero, length)
	}
	a.modrm(reg, last, len(imm))
	a.bytes(imm...)
}

var prefixes = map[byte]byte{0: 0, 0x66: 1, 0xf3: 2, 0xf2: 3}

// vex writes an instruction up to its opcode, for vectors of 128 (0) or 256 (1) bits.
func (a *assembler) vex(o opcode, reg, second int, last operand, length byte) {
	p0 := o.table | 1<<6 | byte(^reg>>3&1)<<7 // the index is rcx
	if last.kind == onConstant || last.reg < 8 {
		p0 |= 1 << 5
	}
	p1 := byte(^second&15)<<3 | length<<2 | prefixes[o.prefix]
	if o == vpermq {
		p1 |= 0x80
	}
	a.bytes(0xc4, p0, p1, o.op)
}

// evex writes an instruction up to its opcode.
func (a *assembler) evex(o opcode, reg, second int, last operand, mask int, zero bool, length byte) {
	bit := func(v, shift int, to byte) byte { return byte(v>>shift&1) << to }
	p0 := o.table | bit(^reg, 3, 7) | bit(^reg, 4, 4)
	if last.kind == onRegister {
		p0 |= bit(^last.reg, 4, 6) | bit(^last.reg, 3, 5)
	} else {
		p0 |= 1<<6 | 1<<5 // the index is rcx
		if last.kind == onMemory && last.reg >= 8 {
			p0 &^= 1 << 5
		}
	}
	p1 := byte(^second&15)<<3 | 4 | prefixes[o.prefix]
	p2 := length<<5 | bit(^second, 4, 3) | byte(mask)
	if zero {
		p2 |= 0x80
	}
	if last.splat {
		p2 |= 0x10
	}
	a.bytes(0x62, p0, p1, p2, o.op)
}

// modrm writes the bytes that name an instruction's last operand.
func (a *assembler) modrm(reg int, last operand, after int) {
	r := byte(reg&7) << 3
	switch last.kind {
	case onRegister:
		a.bytes(0xc0 | r | byte(last.reg&7))
	case onConstant:
		a.bytes(r | 5)
		a.fixups = append(a.fixups, len(a.code))
		i, ok := a.index[last.bits]
		if !ok {
			i = len(a.words)
			a.words = append(a.words, last.bits)
			if a.index == nil {
				a.index = map[uint32]int{}
			}
			a.index[last.bits] = i
		}
		a.int32(int32(i<<8 | after)) // finish makes it a displacement
	default:
		base := byte(last.reg & 7)
		switch {
		case last.index:
			scale := map[int]byte{1: 0, 2: 1, 4: 2, 8: 3}[last.scale]
			a.bytes(0x80|r|4, scale<<6|rcx<<3|base)
		case base == rsp:
			a.bytes(0x80|r|4, 0x24)
		default:
			a.bytes(0x80 | r | base)
		}
		a.int32(last.disp)
	}
}

// general is an instruction on 64-bit general registers whose last operand is a register or [register + disp].
func (a *assembler) general(op byte, reg int, rm int, memory bool, disp int32) {
	a.bytes(0x48|byte(reg>>3)<<2|byte(rm>>3), op)
	if !memory {
		a.bytes(0xc0 | byte(reg&7)<<3 | byte(rm&7))
		return
	}
	a.modrm(reg, operand{kind: onMemory, reg: rm, disp: disp}, 0)
}

func (a *assembler) load(reg, base int, disp int32) { a.general(0x8b, reg, base, true, disp) }

// addImm adds to a register.
func (a *assembler) addImm(reg int, v int32) {
	a.general(0x81, 0, reg, false, 0)
	a.int32(v)
}

func (a *assembler) push(reg int) {
	if reg >= 8 {
		a.bytes(0x41)
	}
	a.bytes(0x50 | byte(reg&7))
}

func (a *assembler) pop(reg int) {
	if reg >= 8 {
		a.bytes(0x41)
	}
	a.bytes(0x58 | byte(reg&7))
}

// jump writes a conditional jump (0x84 zero, 0x85 not zero, 0x8c less, 0x8d not less) and returns where its distance
// stands.
func (a *assembler) jump(condition byte) int {
	a.bytes(0x0f, condition)
	a.int32(0)
	return len(a.code) - 4
}

// land lets a jump lead to here, and jumpTo lets it lead back to an earlier place.
func (a *assembler) land(at int) { a.jumpTo(at, len(a.code)) }

func (a *assembler) jumpTo(at, target int) {
	binary.LittleEndian.PutUint32(a.code[at:], uint32(int32(target-at-4)))
}

// finish puts the constants behind the code.
func (a *assembler) finish() []byte {
	for len(a.code)%4 != 0 {
		a.bytes(0xcc)
	}
	table, times := len(a.code), 1
	if a.avx2 {
		times = 8
	}
	for _, at := range a.fixups {
		v := binary.LittleEndian.Uint32(a.code[at:])
		i, after := int(v>>8), int(v&0xff)
		binary.LittleEndian.PutUint32(a.code[at:], uint32(int32(table+4*times*i-(at+4+after))))
	}
	for _, w := range a.words {
		for range times {
			a.code = binary.LittleEndian.AppendUint32(a.code, w)
		}
	}
	return a.code
}
