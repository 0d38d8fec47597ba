package jit

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"sort"

	"github.com/gomlx/compute/dtypes"
)

// emitter writes the machine code of a cluster's operations.
type emitter struct {
	*generator
	in, out, sums []access
	// by array: the general register that holds its address; −1: it stays in the function's argument
	home   []int
	pinned map[uint32]int // constants that are in a register all the time
	a      *assembler

	// of the body being written
	mask  int     // the mask register of its loads and stores, 0: whole vectors
	reads [][]int // by value: the operations that still read it, the next first
	where []int   // by value: the vector register, or −1
	slot  []int   // by value: its place on the stack, or −1
	owner []int   // by vector register: the value in it, or −1
	busy  []bool  // vector registers that the operation at hand needs
	slots int     // places on the stack
	free  []int   // those of them that are free
}

// pointers are the registers that hold arrays' addresses.
var pointers = []int{r8, r9, r10, r11, rbx, rbp, r12, r13, r14, r15}

// function writes the function: rows, in each the whole vectors, then the rest under mask register 1, which AVX2 has
// not: there rows are whole vectors.
func (e *emitter) function() []byte {
	lanes, registers := int32(16), 32
	if e.avx2 {
		lanes, registers = 8, 16
	}
	all := slices.Concat(e.in, e.out, e.sums)
	used := make([]bool, len(all))
	for _, v := range e.ops {
		switch v.kind {
		case vLoad:
			used[v.imm] = true
		case vStore:
			used[len(e.in)+v.imm] = true
		case vSum:
			used[len(e.in)+len(e.out)+v.imm] = true
		}
	}
	e.home = make([]int, len(all))
	next := 0
	for k := range all {
		e.home[k] = -1
		if used[k] && next < len(pointers) {
			e.home[k] = pointers[next]
			next++
		}
	}
	frame := int32(64 * e.pin(registers))
	e.a = &assembler{avx2: e.avx2}
	a := e.a

	var saved []int
	for _, r := range pointers[:next] {
		if r == rbx || r == rbp || r >= r12 {
			saved = append(saved, r)
			a.push(r)
		}
	}
	if frame > 0 {
		a.addImm(rsp, -frame)
	}
	a.load(rsi, rdi, 0) // rows
	a.load(rdx, rdi, 8) // elements
	for k, r := range e.home {
		if r >= 0 {
			a.load(r, rdi, argument(k))
		}
	}
	if !e.avx2 {
		a.general(0x8b, rcx, rdx, false, 0) // mov rcx, rdx
		a.bytes(0x83, 0xe1, 15)             // and ecx, 15
		a.bytes(0xb8, 1, 0, 0, 0)           // mov eax, 1
		a.bytes(0xd3, 0xe0)                 // shl eax, cl
		a.bytes(0xff, 0xc8)                 // dec eax
		a.bytes(0xc5, 0xf8, 0x92, 0xc8)     // kmovw k1, eax
		a.bytes(0x48, 0x83, 0xe2, 0xf0)     // and rdx, −16
	}

	for _, c := range slices.Sorted(maps.Keys(e.pinned)) {
		a.broadcast(e.pinned[c], c, 0)
	}
	row := len(a.code)
	a.bytes(0x31, 0xc9)                 // xor ecx, ecx
	a.general(0x3b, rcx, rdx, false, 0) // cmp rcx, rdx
	toTail := a.jump(0x8d)
	loop := len(a.code)
	e.body(0)
	a.addImm(rcx, lanes)
	a.general(0x3b, rcx, rdx, false, 0)
	a.jumpTo(a.jump(0x8c), loop)
	a.land(toTail)
	if !e.avx2 {
		a.bytes(0xc5, 0xf8, 0x98, 0xc9) // kortestw k1, k1
		skip := a.jump(0x84)
		e.body(1)
		a.land(skip)
	}
	for k, x := range all {
		switch {
		case !used[k] || x.step == 0:
		case e.home[k] >= 0:
			a.addImm(e.home[k], x.step)
		default:
			a.general(0x81, 0, rdi, true, argument(k)) // add [argument], step
			a.int32(x.step)
		}
	}
	a.addImm(rsi, -1)
	a.jumpTo(a.jump(0x85), row)

	if frame > 0 {
		a.addImm(rsp, frame)
	}
	for _, r := range slices.Backward(saved) {
		a.pop(r)
	}
	a.bytes(0xc5, 0xf8, 0x77, 0xc3) // vzeroupper; ret
	return a.finish()
}

// pin leaves as many constants in registers as makes no other value go to the stack, those first that are read most. It
// returns how many places on the stack are needed.
func (e *emitter) pin(registers int) (slots int) {
	reads := map[uint32]int{}
	for _, v := range e.ops {
		for i, x := range v.args {
			if selected := v.kind == vSelect && v.args[3] == zero && i >= 2; x.cons && !selected {
				reads[x.bits]++
			}
		}
	}
	constants := slices.SortedFunc(maps.Keys(reads), func(a, b uint32) int {
		return cmp.Or(reads[b]-reads[a], cmp.Compare(a, b))
	})
	try := func(n int) int { // writes the body with n of them pinned
		e.pinned = map[uint32]int{}
		for i, c := range constants[:n] {
			e.pinned[c] = registers - 1 - i
		}
		e.owner, e.busy = make([]int, registers-n), make([]bool, registers-n)
		e.a = &assembler{avx2: e.avx2}
		return e.body(0)
	}
	slots = try(0)
	const working = 6 // what an operation may need at once
	n := sort.Search(min(len(constants), registers-working), func(n int) bool { return try(n+1) > slots })
	try(n)
	return slots
}

// argument is where array k's address stands in the function's argument.
func argument(k int) int32 { return int32(16 + 8*k) }

// body writes the operations for a vector's elements and returns how many places on the stack it needs.
func (e *emitter) body(mask int) int {
	e.mask, e.slots, e.free = mask, 0, nil
	e.reads, e.where, e.slot = make([][]int, e.n), make([]int, e.n), make([]int, e.n)
	for i := range e.n {
		e.where[i], e.slot[i] = -1, -1
	}
	for r := range e.owner {
		e.owner[r] = -1
	}
	for i, v := range e.ops {
		for _, x := range v.args {
			if !x.cons {
				e.reads[x.reg] = append(e.reads[x.reg], i)
			}
		}
	}
	for i, v := range e.ops {
		e.bring(v)
		dst := e.operation(v)
		for _, x := range v.args {
			if !x.cons {
				e.read(x.reg, i)
			}
		}
		if v.dst >= 0 {
			e.where[v.dst], e.owner[dst] = dst, v.dst
		}
	}
	return e.slots
}

// bring has an operation's operands in registers, those first that are in one: they must not leave for the others.
func (e *emitter) bring(v vop) {
	clear(e.busy[:])
	for _, x := range v.args {
		if !x.cons && e.where[x.reg] >= 0 {
			e.busy[e.where[x.reg]] = true
		}
	}
	for _, x := range v.args {
		if !x.cons && e.where[x.reg] < 0 {
			r := e.take()
			e.a.vector(vmovups, r, 0, stack(e.slot[x.reg]), 0, false)
			e.where[x.reg], e.owner[r] = r, x.reg
		}
	}
}

func stack(slot int) operand { return operand{kind: onMemory, reg: rsp, disp: int32(64 * slot)} }

// take returns a register for the operation at hand. If none is free, the value goes to the stack that is needed latest
// (Belády's rule).
func (e *emitter) take() int {
	victim, latest := -1, -1
	for r, v := range e.owner {
		if e.busy[r] {
			continue
		}
		if v < 0 {
			e.busy[r] = true
			return r
		}
		next := math.MaxInt
		if len(e.reads[v]) > 0 {
			next = e.reads[v][0]
		}
		if next > latest {
			victim, latest = r, next
		}
	}
	v := e.owner[victim]
	if e.slot[v] < 0 {
		if n := len(e.free); n > 0 {
			e.slot[v], e.free = e.free[n-1], e.free[:n-1]
		} else {
			e.slot[v] = e.slots
			e.slots++
		}
		e.a.vector(vmovupsStore, victim, 0, stack(e.slot[v]), 0, false)
	}
	e.where[v], e.owner[victim] = -1, -1
	e.busy[victim] = true
	return victim
}

// read notes that operation i has read a value, and frees what held it after the last time.
func (e *emitter) read(value, i int) {
	for len(e.reads[value]) > 0 && e.reads[value][0] == i {
		e.reads[value] = e.reads[value][1:]
	}
	if len(e.reads[value]) > 0 {
		return
	}
	if r := e.where[value]; r >= 0 && e.owner[r] == value {
		e.owner[r] = -1
	}
	e.where[value] = -1
	if e.slot[value] >= 0 {
		e.free = append(e.free, e.slot[value])
		e.slot[value] = -1
	}
}

// dies reports whether the operation at hand, v, is the last that reads x.
func (e *emitter) dies(x varg, v vop) bool {
	if x.cons {
		return false
	}
	times := 0
	for _, y := range v.args {
		if y == x {
			times++
		}
	}
	return len(e.reads[x.reg]) == times
}

// release frees the registers of operands that are read for the last time, so that they may hold the result.
func (e *emitter) release(v vop) {
	for _, x := range v.args {
		if e.dies(x, v) && e.where[x.reg] >= 0 {
			e.owner[e.where[x.reg]] = -1
			e.busy[e.where[x.reg]] = false
		}
	}
}

// last is an operand where an instruction may have memory: a constant is read from there.
func (e *emitter) last(x varg) operand {
	if r, ok := e.pinned[x.bits]; x.cons && ok {
		return zmm(r)
	}
	if x.cons {
		return constant(x.bits)
	}
	return zmm(e.where[x.reg])
}

// register is an operand in a register; a constant takes one for the operation at hand.
func (e *emitter) register(x varg) int {
	if !x.cons {
		return e.where[x.reg]
	}
	if r, ok := e.pinned[x.bits]; ok {
		return r
	}
	r := e.take()
	e.a.broadcast(r, x.bits, 0)
	return r
}

// fill puts a value into a register.
func (e *emitter) fill(dst int, x varg) {
	if _, ok := e.pinned[x.bits]; x.cons && !ok {
		e.a.broadcast(dst, x.bits, 0)
	} else {
		e.a.vector(vmovaps, dst, 0, e.last(x), 0, false)
	}
}

// address is the element of array k that the body is at.
func (e *emitter) address(k int, x access) operand {
	base := e.home[k]
	if base < 0 {
		base = rax
		e.a.load(rax, rdi, argument(k))
	}
	size := map[dtypes.DType]int{dtypes.Float32: 4, dtypes.Int32: 4, dtypes.BFloat16: 2, dtypes.Float16: 2,
		dtypes.Bool: 1}[x.dtype]
	return operand{kind: onMemory, reg: base, index: x.inner == 1, scale: size}
}

// operation writes one operation and returns the register of its result, if it has one. Mask register 2 is scratch.
func (e *emitter) operation(v vop) (dst int) {
	a := e.a
	switch v.kind {
	case vLoad:
		dst = e.take()
		e.load(dst, e.in[v.imm], e.address(v.imm, e.in[v.imm]))
	case vBinary:
		x, y := v.args[0], v.args[1]
		if x.cons && !y.cons && commutes(v.op) {
			x, y = y, x
		}
		first := e.register(x)
		e.release(v)
		dst = e.take()
		a.vector(v.op, dst, first, e.last(y), 0, false)
	case vUnary:
		e.release(v)
		dst = e.take()
		var imm []byte
		if v.imm >= 0 {
			imm = []byte{byte(v.imm)}
		}
		a.vector(v.op, dst, 0, e.last(v.args[0]), 0, false, imm...)
	case vHold:
		dst = e.take()
		e.fill(dst, v.args[0])
	case vShift:
		first := e.register(v.args[0])
		e.release(v)
		dst = e.take()
		if v.imm < 0 {
			a.vector(vpslldImm, 6, dst, zmm(first), 0, false, byte(-v.imm))
		} else {
			a.vector(vpslrdImm, 2, dst, zmm(first), 0, false, byte(v.imm))
		}
	case vHalf:
		first := e.register(v.args[0])
		e.release(v)
		dst = e.take()
		a.vector(vcvtps2ph, first, 0, zmm(dst), 0, false, 0)
		a.vector(vcvtph2ps, dst, 0, zmm(dst), 0, false)
	case vFMA:
		dst = e.multiplyAdd(v)
	case vSelect:
		dst = e.selection(v)
	case vStore:
		e.store(e.where[v.args[0].reg], e.take(), e.out[v.imm], e.address(len(e.in)+v.imm, e.out[v.imm]))
	case vSum:
		to := e.address(len(e.in)+len(e.out)+v.imm, e.sums[v.imm])
		sum := e.take()
		a.vector(vmovups, sum, 0, to, 0, false)
		if len(v.args) == 2 {
			a.vector(vfmadd231, sum, e.where[v.args[0].reg], e.last(v.args[1]), e.mask, false)
		} else {
			a.vector(vaddps, sum, sum, zmm(e.where[v.args[0].reg]), e.mask, false)
		}
		a.vector(vmovupsStore, sum, 0, to, 0, false)
	}
	return dst
}

func commutes(o opcode) bool {
	return slices.Contains([]opcode{vaddps, vmulps, vandps, vorps, vxorps, vpaddd, vpandd}, o)
}

func (e *emitter) selection(v vop) (dst int) {
	yes, no := v.args[2], v.args[3]
	if e.avx2 {
		first, mask := e.register(v.args[0]), e.take()
		e.a.vector(vcmpps, mask, first, e.last(v.args[1]), 0, false, byte(v.imm))
		if no == zero {
			e.a.vector(vandps, mask, mask, e.last(yes), 0, false)
		} else {
			e.a.vector(vblendvps, mask, e.register(no), e.last(yes), 0, false, byte(mask<<4))
		}
		return mask
	}
	e.a.vector(vcmpps, 2, e.register(v.args[0]), e.last(v.args[1]), 0, false, byte(v.imm))
	if no == zero {
		e.release(v)
		dst = e.take()
		if yes.cons {
			e.a.broadcast(dst, yes.bits, 2)
		} else {
			e.a.vector(vmovaps, dst, 0, e.last(yes), 2, true)
		}
		return dst
	}
	otherwise := e.register(no)
	e.release(v)
	dst = e.take()
	e.a.vector(vblendmps, dst, otherwise, e.last(yes), 2, false)
	return dst
}

// multiplyAdd overwrites the register of an operand that is read for the last time, or else a copy of the addend.
func (e *emitter) multiplyAdd(v vop) int {
	a := e.a
	x, y, z := v.args[0], v.args[1], v.args[2]
	f132, f213, f231 := vfmadd132, vfmadd213, vfmadd231
	if v.negate {
		f132, f213, f231 = vfnmadd132, vfnmadd213, vfnmadd231
	}
	if x.cons || !e.dies(x, v) && e.dies(y, v) {
		x, y = y, x
	}
	first := e.register(x)
	switch {
	case !z.cons && e.dies(z, v) && z != x && z != y:
		dst := e.last(z).reg
		a.vector(f231, dst, first, e.last(y), 0, false)
		return dst
	case !x.cons && e.dies(x, v) && x != y && x != z && z.cons && !y.cons:
		a.vector(f213, first, e.last(y).reg, e.last(z), 0, false)
		return first
	case !x.cons && e.dies(x, v) && x != y && x != z && !z.cons:
		a.vector(f132, first, e.last(z).reg, e.last(y), 0, false)
		return first
	}
	dst := e.take()
	e.fill(dst, z)
	a.vector(f231, dst, first, e.last(y), 0, false)
	return dst
}

// load brings elements of an array into a register as float32.
func (e *emitter) load(dst int, x access, from operand) {
	a := e.a
	k := e.mask
	if x.inner == 0 {
		k = 0
	}
	masked := k != 0
	scalar := x.inner == 0
	switch x.dtype {
	case dtypes.Float32, dtypes.Int32:
		op := vmovups
		if scalar {
			op = vbroadcastss
		}
		a.vector(op, dst, 0, from, k, masked)
		if x.dtype == dtypes.Int32 {
			a.vector(vcvtdq2ps, dst, 0, zmm(dst), 0, false)
		}
	case dtypes.BFloat16:
		op := vpmovzxwd
		if scalar {
			op = vpbroadcastw // the element in both halves of each lane
		}
		a.vector(op, dst, 0, from, k, masked)
		a.vector(vpslldImm, 6, dst, zmm(dst), 0, false, 16)
	case dtypes.Float16:
		if scalar {
			a.vectorLength(vpbroadcastw, dst, 0, from, 0, false, 1)
			from = zmm(dst)
		}
		a.vector(vcvtph2ps, dst, 0, from, k, masked)
	case dtypes.Bool:
		if scalar {
			a.vectorLength(vpbroadcastb, dst, 0, from, 0, false, 0)
			from = zmm(dst)
		}
		a.vector(vpmovzxbd, dst, 0, from, k, masked)
		if e.avx2 {
			none := e.register(zero)
			a.vector(vpcmpeqd, dst, dst, zmm(none), 0, false)
			a.vector(vandnps, dst, dst, constant(one.bits), 0, false)
			return
		}
		a.vector(vptestmd, 2, dst, zmm(dst), 0, false)
		a.broadcast(dst, math.Float32bits(1), 2)
	}
}

// store writes the elements of a register, of which free is another that may be changed.
func (e *emitter) store(r, free int, x access, to operand) {
	a, mask := e.a, e.mask
	switch x.dtype {
	case dtypes.Float32:
		a.vector(vmovupsStore, r, 0, to, mask, false)
	case dtypes.BFloat16:
		if e.bf16 {
			a.vector(vcvtneps2bf16, free, 0, zmm(r), 0, false)
			if mask == 0 {
				a.vectorLength(vmovupsStore, free, 0, to, 0, false, 1)
				return
			}
			a.vector(vpmovzxwd, free, 0, zmm(free), 0, false)
		} else { // roundBF16 has left the upper half
			a.vector(vpslrdImm, 2, free, zmm(r), 0, false, 16)
		}
		if e.avx2 {
			a.vector(vpackusdw, free, free, zmm(free), 0, false) // packs each half
			a.vector(vpermq, free, 0, zmm(free), 0, false, 0x08)
			a.vectorLength(vmovupsStore, free, 0, to, 0, false, 1)
			return
		}
		a.vector(vpmovdw, free, 0, to, mask, false)
	case dtypes.Float16:
		a.vector(vcvtps2ph, r, 0, to, mask, false, 0)
	case dtypes.Bool:
		a.vector(vpmovdb, r, 0, to, mask, false)
	}
}
