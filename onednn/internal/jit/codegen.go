// Package jit writes machine code of clusters, for x86-64 with AVX-512 or AVX2.
package jit

import (
	"math"
	"slices"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/onednn/internal/cluster"
)

// Clusters are compiled to AVX-512 or AVX2 code where the CPU has it; elsewhere, and for what is not written here, the
// interpreter of elementwise_body.h runs them. A cluster's code walks rows; in a row it takes a vector's elements at a
// time through all instructions in registers, so that memory is read and written once.
//
// The code is a C function void(int64_t *a): a[0] rows, a[1] elements in a row, a[2…] the addresses of inputs, outputs
// and sums in that order, for the first row. Addresses are changed.

// operation of the generated code on virtual registers, each assigned once.
type vop struct {
	kind   int
	dst    int
	args   []varg // of select: compared a, b, then the values where it holds and where not
	op     opcode
	imm    int  // predicate, rounding, shift (to the left if negative); input's number; output's or sum's number
	negate bool // multiply-add: c − a·b
}

// varg is a virtual register, or a constant.
type varg struct {
	reg  int
	bits uint32
	cons bool
}

const (
	vBinary = iota // dst = op(args[0], args[1])
	vUnary         // dst = op(args[0]), imm < 0: no immediate
	vShift         // dst = args[0] shifted by imm bits
	vFMA           // dst = ±args[0]·args[1] + args[2]
	vSelect        // dst = args[0] cmp args[1] ? args[2] : args[3]
	vHold          // dst = the constant args[0]
	vHalf          // dst = args[0] rounded to float16 and back
	vLoad          // dst = input imm
	vStore         // output imm = args[0]
	vSum           // sum imm += args[0], or args[0]·args[1]
)

type generator struct {
	ops  []vop
	n    int // virtual registers
	ok   bool
	regs []varg // the program's registers
	avx2 bool   // code for AVX2, else for AVX-512
	bf16 bool   // the CPU rounds to bfloat16 itself
}

func reg(n int) varg        { return varg{reg: n} }
func number(f float32) varg { return varg{bits: math.Float32bits(f), cons: true} }
func pattern(b uint32) varg { return varg{bits: b, cons: true} }

func (g *generator) add(v vop) varg {
	v.dst = g.n
	g.n++
	g.ops = append(g.ops, v)
	return reg(v.dst)
}

func (g *generator) binary(op opcode, a, b varg) varg {
	return g.add(vop{kind: vBinary, op: op, args: []varg{a, b}})
}
func (g *generator) unary(op opcode, a varg) varg {
	return g.add(vop{kind: vUnary, op: op, args: []varg{a}, imm: -1})
}
func (g *generator) round(a varg, mode int) varg {
	return g.add(vop{kind: vUnary, op: vrndscaleps, args: []varg{a}, imm: mode})
}
func (g *generator) fma(a, b, c varg) varg { return g.add(vop{kind: vFMA, args: []varg{a, b, c}}) }
func (g *generator) fnma(a, b, c varg) varg {
	return g.add(vop{kind: vFMA, args: []varg{a, b, c}, negate: true})
}
func (g *generator) choose(cmp int, a, b, yes, no varg) varg {
	return g.add(vop{kind: vSelect, imm: cmp, args: []varg{a, b, yes, no}})
}

// horner is the polynomial in x with the highest coefficient first.
func (g *generator) horner(x varg, coefficients ...float32) varg {
	p := g.fma(x, number(coefficients[0]), number(coefficients[1]))
	for _, c := range coefficients[2:] {
		p = g.fma(p, x, number(c))
	}
	return p
}

func (g *generator) shift(x varg, right int) varg {
	return g.add(vop{kind: vShift, imm: right, args: []varg{x}})
}

// reciprocal of a normal number: an estimate of 14 bits and one step of Newton's method. AVX2's estimate of 12 bits
// would need two.
func (g *generator) reciprocal(x varg) varg {
	if g.avx2 {
		return g.binary(vdivps, one, x)
	}
	r := g.unary(vrcp14ps, x)
	e := g.fnma(x, r, number(1))
	return g.fma(r, e, r)
}

// limit keeps x within [low, high]; NaN stays.
func (g *generator) limit(x varg, low, high float32) varg {
	// vminps and vmaxps return their second operand where one is NaN.
	return g.binary(vmaxps, number(low), g.binary(vminps, number(high), x))
}

// hold puts a constant in a register.
func (g *generator) hold(c varg) varg {
	if !c.cons {
		return c
	}
	return g.add(vop{kind: vHold, args: []varg{c}})
}

// exp as in functions_body.h: 2^n·e^r, |r| ≤ ln2/2.
func (g *generator) exp(x varg) varg {
	c := g.limit(x, -104, 89)
	n := g.round(g.binary(vmulps, c, number(1.44269504)), 8)
	r := g.fnma(n, number(0.693359375), c)
	r = g.fnma(n, number(-2.12194440e-4), r)
	p := g.horner(r, 1./720, 1./120, 1./24, 1./6, 0.5, 1, 1)
	if g.avx2 { // two factors: 2^n alone would overflow at the ends
		half := g.round(g.binary(vmulps, n, number(0.5)), 9)
		p = g.binary(vmulps, p, g.power(half))
		return g.binary(vmulps, p, g.power(g.binary(vsubps, n, half)))
	}
	return g.binary(vscalefps, p, n)
}

// power is 2^n of a whole number, −127 ≤ n ≤ 127: its exponent's bits, brought to the low end by adding 1.5·2²³.
func (g *generator) power(n varg) varg {
	return g.shift(g.binary(vaddps, n, number(12582912+127)), -23)
}

// erf as in functions_body.h.
func (g *generator) erf(x varg) varg {
	c := g.limit(x, -4, 4)
	z := g.binary(vmulps, c, c)
	p := g.horner(z, -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05,
		-7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02)
	q := g.horner(z, -1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03,
		-1.42647390514189e-02)
	return g.binary(vmulps, g.binary(vmulps, c, p), g.reciprocal(q))
}

// geluGradient as in functions_body.h.
func (g *generator) geluGradient(x varg) varg {
	c := g.limit(x, -6, 6)
	z := g.binary(vmulps, c, c)
	p := g.horner(z, -1.53577889e-11, 2.78506153e-09, -1.0087644e-07, 3.30082551e-05, -0.000148160524, 0.0145299985,
		-0.0415170947, 0.79788479)
	q := g.horner(z, 5.55664308e-06, 0.000150208287, 0.00295228657, 0.0369718554, 0.281301829, 1)
	return g.fma(g.binary(vmulps, c, p), g.reciprocal(q), number(0.5))
}

func (g *generator) logistic(x varg) varg {
	negative := g.binary(vxorps, x, pattern(1<<31))
	return g.reciprocal(g.binary(vaddps, g.exp(g.limit(negative, -104, 87)), number(1)))
}

func (g *generator) tanh(x varg) varg {
	a := g.binary(vandps, x, pattern(0x7fffffff))
	e := g.exp(g.binary(vmulps, a, number(-2)))
	big := g.binary(vmulps, g.fnma(e, number(1), number(1)), g.reciprocal(g.binary(vaddps, e, number(1))))
	z := g.binary(vmulps, x, x)
	small := g.binary(vmulps, a, g.horner(z, -17./315, 2./15, -1./3, 1))
	t := g.choose(cmpLT, a, number(0.15), small, big)
	sign := g.binary(vandps, x, pattern(1<<31))
	return g.binary(vorps, t, sign)
}

func (g *generator) roundBF16(x varg) varg {
	if g.bf16 {
		return g.shift(g.unary(vpmovzxwd, g.unary(vcvtneps2bf16, x)), -16)
	}
	lsb := g.binary(vpandd, g.shift(x, 16), pattern(1))
	r := g.binary(vpaddd, g.binary(vpaddd, x, pattern(0x7fff)), lsb)
	r = g.binary(vandps, r, pattern(0xffff0000))
	quiet := g.binary(vorps, x, pattern(0x400000))
	quiet = g.binary(vandps, quiet, pattern(0xffff0000))
	return g.choose(cmpUnordered, x, x, quiet, r)
}

var one, zero = number(1), number(0)

// truth is 1 where x ≠ 0, else 0.
func (g *generator) truth(x varg) varg { return g.choose(cmpNE, x, zero, one, zero) }

// instruction adds the operations of one instruction of the program.
func (g *generator) instruction(i cluster.Instruction) {
	a, b, c := g.regs[i.A], g.regs[i.B], g.regs[i.C]
	var r varg
	switch i.Op {
	case cluster.OpAdd:
		r = g.binary(vaddps, a, b)
	case cluster.OpSub:
		r = g.binary(vsubps, a, b)
	case cluster.OpMul:
		r = g.binary(vmulps, a, b)
	case cluster.OpDiv:
		r = g.binary(vdivps, a, b)
	case cluster.OpMax:
		r = g.choose(cmpUnordered, a, a, a, g.binary(vmaxps, a, b))
	case cluster.OpMin:
		r = g.choose(cmpUnordered, a, a, a, g.binary(vminps, a, b))
	case cluster.OpFMA:
		r = g.fma(a, b, c)
	case cluster.OpEq, cluster.OpNe, cluster.OpLt, cluster.OpLe, cluster.OpGt, cluster.OpGe:
		cmp := map[cluster.Op]int{cluster.OpEq: cmpEQ, cluster.OpNe: cmpNE, cluster.OpLt: cmpLT, cluster.OpLe: cmpLE,
			cluster.OpGt: cmpGT, cluster.OpGe: cmpGE}[i.Op]
		r = g.choose(cmp, a, b, one, zero)
	case cluster.OpAnd:
		r = g.choose(cmpNE, a, zero, g.truth(b), zero)
	case cluster.OpOr:
		r = g.choose(cmpNE, a, zero, one, g.truth(b))
	case cluster.OpXor:
		r = g.choose(cmpNE, a, zero, g.choose(cmpNE, b, zero, zero, one), g.truth(b))
	case cluster.OpWhere:
		r = g.choose(cmpNE, a, zero, b, c)
	case cluster.OpNeg:
		r = g.binary(vxorps, a, pattern(1<<31))
	case cluster.OpAbs:
		r = g.binary(vandps, a, pattern(0x7fffffff))
	case cluster.OpExp:
		r = g.exp(a)
	case cluster.OpSqrt:
		r = g.unary(vsqrtps, a)
	case cluster.OpRsqrt:
		r = g.binary(vdivps, one, g.unary(vsqrtps, a))
	case cluster.OpTanh:
		r = g.tanh(a)
	case cluster.OpErf:
		r = g.erf(a)
	case cluster.OpLogistic:
		r = g.logistic(a)
	case cluster.OpGelu:
		half := g.binary(vmulps, a, number(0.5))
		r = g.fma(half, g.erf(g.binary(vmulps, a, number(0.70710678))), half)
	case cluster.OpGeluGradient:
		r = g.geluGradient(a)
	case cluster.OpFloor:
		r = g.round(a, 9)
	case cluster.OpCeil:
		r = g.round(a, 10)
	case cluster.OpRound:
		r = g.round(a, 8)
	case cluster.OpSign:
		r = g.choose(cmpGT, a, zero, one, g.choose(cmpLT, a, zero, number(-1), a))
	case cluster.OpNot:
		r = g.choose(cmpEQ, a, zero, one, zero)
	case cluster.OpIsFinite:
		r = g.choose(cmpLT, g.binary(vandps, a, pattern(0x7fffffff)), number(float32(math.Inf(1))), one, zero)
	case cluster.OpIsNaN:
		r = g.choose(cmpUnordered, a, a, one, zero)
	case cluster.OpRoundBF16:
		r = g.roundBF16(a)
	case cluster.OpRoundF16:
		r = g.add(vop{kind: vHalf, args: []varg{a}})
	default:
		g.ok = false
		r = a
	}
	for len(g.regs) <= int(i.Dst) {
		g.regs = append(g.regs, zero)
	}
	g.regs[i.Dst] = r
}

// access says how the code walks an input, output or sum.
type access struct {
	dtype dtypes.DType
	inner int   // elements to the next in a row: 0 or 1
	step  int32 // bytes to the next row
}

// Generate returns the code of a cluster, or nil where it has none. AVX2 has no masks: rows that are not whole vectors,
// and outputs of bytes, are the interpreter's.
func Generate(p *cluster.Program, avx2, cpuRoundsBF16 bool) []byte {
	g := &generator{ok: true, avx2: avx2, bf16: cpuRoundsBF16 && !avx2}
	nd := len(p.Dims)
	if avx2 && p.Dims[nd-1]%8 != 0 {
		return nil
	}
	var in, out, sums []access
	for k, x := range p.In {
		if x.Array == nil {
			in = append(in, access{})
			g.regs = append(g.regs, number(x.Value))
			continue
		}
		a := access{dtype: x.Array.Shape().DType, inner: x.Stride[nd-1]}
		size := x.Array.Shape().DType.Size()
		step := 0
		if nd > 1 {
			step = x.Stride[nd-2] * size
		}
		if a.inner != 0 && a.inner != 1 || step != int(int32(step)) {
			return nil
		}
		a.step = int32(step)
		in = append(in, a)
		g.regs = append(g.regs, g.add(vop{kind: vLoad, imm: k}))
	}
	for len(g.regs) < p.Registers {
		g.regs = append(g.regs, zero)
	}
	for _, i := range p.Code {
		g.instruction(i)
	}
	for k, x := range p.Out {
		a := access{dtype: x.Array.Shape().DType, inner: 1}
		size := x.Array.Shape().DType.Size()
		step := 0
		if nd > 1 {
			step = x.Stride[nd-2] * size
		}
		a.step = int32(step)
		if a.dtype == dtypes.Int32 || x.Stride[nd-1] != 1 || step != int(a.step) {
			return nil
		}
		v := g.regs[x.Register]
		switch {
		case a.dtype == dtypes.BFloat16 && !g.bf16:
			v = g.roundBF16(g.hold(v))
		case a.dtype == dtypes.Bool && avx2:
			return nil
		case a.dtype == dtypes.Bool:
			v = g.choose(cmpNE, g.hold(v), zero, pattern(1), zero)
		}
		out = append(out, a)
		g.ops = append(g.ops, vop{kind: vStore, imm: k, dst: -1, args: []varg{g.hold(v)}})
	}
	for k, x := range p.Sums {
		sums = append(sums, access{dtype: dtypes.Float32, inner: x.Keep})
		g.ops = append(g.ops, vop{kind: vSum, imm: k, dst: -1, args: []varg{g.hold(g.regs[x.Register])}})
	}
	if !g.ok {
		return nil
	}
	g.sumProducts()
	g.prune()
	e := &emitter{generator: g, in: in, out: out, sums: sums}
	return e.function()
}

// sumProducts lets a sum add a product that nothing else reads.
func (g *generator) sumProducts() {
	uses, maker := map[int]int{}, map[int]vop{}
	for _, v := range g.ops {
		maker[v.dst] = v
		for _, x := range v.args {
			if !x.cons {
				uses[x.reg]++
			}
		}
	}
	for i, v := range g.ops {
		if v.kind != vSum {
			continue
		}
		m := maker[v.args[0].reg]
		if m.kind == vBinary && m.op == vmulps && uses[m.dst] == 1 && !m.args[0].cons {
			g.ops[i].args = m.args
		}
	}
}

// prune drops operations whose results nothing reads, and loads what is read when it is first read.
func (g *generator) prune() {
	used := map[int]bool{}
	var kept []vop
	for i := len(g.ops) - 1; i >= 0; i-- {
		v := g.ops[i]
		if v.dst >= 0 && !used[v.dst] {
			continue
		}
		for _, a := range v.args {
			if !a.cons {
				used[a.reg] = true
			}
		}
		kept = append(kept, v)
	}
	slices.Reverse(kept)
	g.ops = g.ops[:0:0]
	loads, loaded := map[int]vop{}, map[int]bool{}
	for _, v := range kept {
		if v.kind == vLoad {
			loads[v.dst] = v
			continue
		}
		for _, a := range v.args {
			if l, ok := loads[a.reg]; ok && !a.cons && !loaded[a.reg] {
				loaded[a.reg] = true
				g.ops = append(g.ops, l)
			}
		}
		g.ops = append(g.ops, v)
	}
}
