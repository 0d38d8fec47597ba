package onednn

/*
#include "native.h"
*/
import "C"

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
)

// maxRegisters is what a byte numbers.
const maxRegisters = 255

// program is a cluster as the native side runs it.
type program struct {
	dims  []int
	in    []ewInput
	code  []C.un_instr
	out   []ewOutput
	sums  []ewSum
	nRegs int
}

type ewInput struct {
	r      *result // nil: the constant
	value  float32
	offset int // in elements, as the strides
	stride []int
}

type ewOutput struct {
	r      *result
	reg    int
	offset int
	stride []int
}

type ewSum struct {
	r         *result
	reg, keep int
}

// view looks through broadcasts and slices: the array that holds r's values, where they begin, and their strides along dims.
func view(r *result, dims []int) (base *result, offset int, strides []int) {
	to := make([]int, r.shape().Rank()) // which of dims each axis of r goes along; -1 for those of size 1
	for i, d := range r.shape().Dimensions {
		to[i] = i
		if d == 1 {
			to[i] = -1
		}
	}
	along := func(step func(i, stride int) int) {
		strides = make([]int, len(dims))
		for i, stride := range rowMajor(r.shape()) {
			if to[i] >= 0 {
				strides[to[i]] = step(i, stride)
			}
		}
	}
	if r.node.op == compute.OpTypeSlice {
		a := r.node.attr.(sliceArgs)
		r = r.node.in[0]
		for i, stride := range rowMajor(r.shape()) {
			offset += a.starts[i] * stride
		}
		along(func(i, stride int) int {
			if len(a.strides) > 0 {
				stride *= a.strides[i]
			}
			return stride
		})
		return r, offset, strides
	}
	for r.node.op == compute.OpTypeBroadcastInDim {
		from, next := r.node.in[0], []int{}
		for i, axis := range r.node.attr.([]int) {
			next = append(next, to[axis])
			if from.shape().Dimensions[i] == 1 {
				next[i] = -1
			}
		}
		r, to = from, next
	}
	along(func(_, stride int) int { return stride })
	return r, 0, strides
}

func rowMajor(s shapes.Shape) []int { return rowMajorOf(s.Dimensions) }

func rowMajorOf(dims []int) []int {
	stride := make([]int, len(dims))
	n := 1
	for i, d := range slices.Backward(dims) {
		stride[i] = n
		n *= d
	}
	return stride
}

// part is where a result also goes: into a larger array.
type part struct {
	whole  *result
	offset int
}

// assemble writes the cluster's program. needed tells which results are read outside of it, parts of what they become.
func (c *cluster) assemble(stored func(*result) bool, parts map[*result][]part) *program {
	needed := func(r *result) bool { return stored(r) || len(parts[r]) > 0 }
	shape := c.nodes[0].out[0].shape()
	p := &program{dims: slices.Clone(shape.Dimensions)}

	// Instructions over virtual registers, equal ones merged. Inputs come first.
	type instr struct{ op, a, b, c int }
	var virtual []instr
	known := map[instr]int{}
	reg := map[*result]int{}
	type inputKey struct {
		r      *result
		stride string
	}
	inputs := map[inputKey]int{}
	const firstInstr = 1 << 20
	emit := func(i instr) int {
		if v, ok := known[i]; ok {
			return v
		}
		v := firstInstr + len(virtual)
		virtual = append(virtual, i)
		known[i] = v
		return v
	}
	operand := func(r *result) int {
		if v, ok := reg[r]; ok {
			return v
		}
		base, offset, stride := view(r, p.dims)
		key := inputKey{base, fmt.Sprint(offset, stride)}
		if v, ok := inputs[key]; ok {
			reg[r] = v
			return v
		}
		in := ewInput{r: base, offset: offset, stride: stride}
		if v, ok := scalarConstant(base); ok {
			in = ewInput{value: v, stride: make([]int, len(p.dims))}
		}
		v := len(p.in)
		p.in = append(p.in, in)
		inputs[key], reg[r] = v, v
		return v
	}
	for _, n := range c.nodes {
		var args [3]int
		for i, r := range n.in {
			args[i] = operand(r)
		}
		out := n.out[0]
		op := nativeOps[n.op]
		if op == conversion {
			to := out.shape().DType
			switch {
			case to == dtypes.Bool:
				zero := len(p.in)
				p.in = append(p.in, ewInput{stride: make([]int, len(p.dims))})
				reg[out] = emit(instr{C.UN_NE, args[0], zero, 0})
				continue
			case to == dtypes.BFloat16 && usedIn(c, out):
				op = C.UN_ROUND_BF16
			case to == dtypes.Float16 && usedIn(c, out):
				op = C.UN_ROUND_F16
			default: // loads and stores convert
				reg[out] = args[0]
				continue
			}
		}
		for i := len(n.in); i < 3; i++ {
			args[i] = args[0]
		}
		reg[out] = emit(instr{op, args[0], args[1], args[2]})
	}

	// A product that only one sum reads becomes part of it.
	reads := map[int]int{}
	for _, v := range virtual {
		for _, a := range operandsOf(v.op, v.a, v.b, v.c) {
			reads[a]++
		}
	}
	for _, n := range c.nodes {
		if needed(n.out[0]) {
			reads[reg[n.out[0]]]++
		}
	}
	for _, s := range c.sums {
		reads[reg[s.in[0]]] += 2
	}
	drop := map[int]bool{}
	for i, v := range virtual {
		if v.op != C.UN_ADD {
			continue
		}
		for _, pair := range [][2]int{{v.a, v.b}, {v.b, v.a}} {
			m := pair[0] - firstInstr
			if m >= 0 && virtual[m].op == C.UN_MUL && reads[pair[0]] == 1 && !drop[m] {
				virtual[i] = instr{C.UN_FMA, virtual[m].a, virtual[m].b, pair[1]}
				drop[m] = true
				break
			}
		}
	}

	// Real registers: inputs keep theirs; the others are reused after their last read.
	last := map[int]int{}
	for i, v := range virtual {
		if drop[i] {
			continue
		}
		for _, a := range operandsOf(v.op, v.a, v.b, v.c) {
			last[a] = i
		}
	}
	for _, n := range c.nodes {
		if needed(n.out[0]) {
			last[reg[n.out[0]]] = len(virtual)
		}
	}
	for _, s := range c.sums {
		last[reg[s.in[0]]] = len(virtual)
	}
	real := map[int]int{}
	p.nRegs = len(p.in)
	var free []int
	at := func(v int) int {
		if v < firstInstr {
			return v
		}
		return real[v]
	}
	for i, v := range virtual {
		if _, live := last[firstInstr+i]; drop[i] || !live {
			continue
		}
		in := C.un_instr{op: C.uint8_t(v.op), a: C.uint8_t(at(v.a)), b: C.uint8_t(at(v.b)), c: C.uint8_t(at(v.c))}
		for _, a := range distinct(operandsOf(v.op, v.a, v.b, v.c)) {
			if a >= firstInstr && last[a] == i {
				free = append(free, real[a])
			}
		}
		var r int
		if len(free) > 0 {
			r, free = free[len(free)-1], free[:len(free)-1]
		} else {
			r = p.nRegs
			p.nRegs++
		}
		real[firstInstr+i] = r
		in.dst = C.uint8_t(r)
		p.code = append(p.code, in)
	}
	for _, n := range c.nodes {
		r := n.out[0]
		if stored(r) {
			p.out = append(p.out, ewOutput{r, at(reg[r]), 0, rowMajorOf(p.dims)})
		}
		for _, x := range parts[r] {
			p.out = append(p.out, ewOutput{x.whole, at(reg[r]), x.offset, rowMajor(x.whole.shape())})
		}
	}
	for _, s := range c.sums {
		keep, _ := fusableSum(s)
		p.sums = append(p.sums, ewSum{s.out[0], at(reg[s.in[0]]), keep})
	}
	p.collapse()
	return p
}

func distinct(v []int) []int {
	slices.Sort(v)
	return slices.Compact(v)
}

// operandsOf lists the registers an instruction reads.
func operandsOf(op, a, b, c int) []int {
	switch {
	case op == C.UN_FMA || op == C.UN_WHERE:
		return []int{a, b, c}
	case op <= C.UN_XOR:
		return []int{a, b}
	}
	return []int{a}
}

func usedIn(c *cluster, r *result) bool {
	for _, n := range append(slices.Clone(c.nodes), c.sums...) {
		if slices.Contains(n.in, r) {
			return true
		}
	}
	return false
}

// scalarConstant returns the value of a constant of one element.
func scalarConstant(r *result) (float32, bool) {
	if r.node.op != compute.OpTypeConstant || r.shape().Size() != 1 {
		return 0, false
	}
	return scalarOf(r.shape().DType, r.node.attr.([]byte))
}

// collapse merges dimensions that every array walks as one. The last one is kept where sums keep it.
func (p *program) collapse() {
	keep := slices.ContainsFunc(p.sums, func(s ewSum) bool { return s.keep == 1 })
	var all []*[]int
	for i := range p.in {
		all = append(all, &p.in[i].stride)
	}
	for i := range p.out {
		all = append(all, &p.out[i].stride)
	}
	dims := []int{}
	strides := make([][]int, len(all))
	for d, size := range p.dims {
		if size == 1 && !(keep && d == len(p.dims)-1) {
			continue
		}
		k := len(dims)
		merge := k > 0 && !(keep && d == len(p.dims)-1)
		for i, s := range all {
			merge = merge && strides[i][k-1] == (*s)[d]*size
		}
		if merge {
			dims[k-1] *= size
			for i, s := range all {
				strides[i][k-1] = (*s)[d]
			}
			continue
		}
		dims = append(dims, size)
		for i, s := range all {
			strides[i] = append(strides[i], (*s)[d])
		}
	}
	if len(dims) == 0 {
		dims = []int{1}
		for i := range strides {
			strides[i] = []int{1}
		}
	}
	p.dims = dims
	for i, s := range all {
		*s = strides[i]
	}
}
