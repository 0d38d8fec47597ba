package cluster

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// maxRegisters is what a byte numbers.
const maxRegisters = 255

// Program is a cluster as it is run: for each position of Dims, inputs are loaded into the first registers, Code is
// executed, and registers are stored to Out or added to Sums.
type Program struct {
	Dims      []int
	In        []Input
	Code      []Instruction
	Out       []Output
	Sums      []Sum
	Registers int
}

// Input is an array that is read, or a constant.
type Input struct {
	Array  *graph.Result // nil: the constant
	Value  float32
	Offset int // in elements, as the strides
	Stride []int
}

// Output is an array that a register goes to.
type Output struct {
	Array    *graph.Result
	Register int
	Offset   int
	Stride   []int
}

// Sum is an array that a register is added up in.
type Sum struct {
	Array    *graph.Result
	Register int
	Keep     int // 1: a sum for each position of the last dimension; 0: one sum
	Rows     int // of the dimensions before the last, so many go to these sums, then as many to the next ones
}

// view looks through broadcasts and slices: the array that holds r's values, where they begin, and their strides along
// dims.
func view(r *graph.Result, dims []int) (base *graph.Result, offset int, strides []int) {
	to := make([]int, r.Shape().Rank()) // which of dims each axis of r goes along; -1 for those of size 1
	for i, d := range r.Shape().Dimensions {
		to[i] = i
		if d == 1 {
			to[i] = -1
		}
	}
	along := func(step func(i, stride int) int) {
		strides = make([]int, len(dims))
		for i, stride := range graph.RowMajor(r.Shape()) {
			if to[i] >= 0 {
				strides[to[i]] = step(i, stride)
			}
		}
	}
	if r.Node.Op == compute.OpTypeSlice {
		a := r.Node.Attr.(graph.SliceArgs)
		r = r.Node.In[0]
		for i, stride := range graph.RowMajor(r.Shape()) {
			offset += a.Starts[i] * stride
		}
		along(func(i, stride int) int {
			if len(a.Strides) > 0 {
				stride *= a.Strides[i]
			}
			return stride
		})
		return r, offset, strides
	}
	for r.Node.Op == compute.OpTypeBroadcastInDim {
		from, next := r.Node.In[0], []int{}
		for i, axis := range r.Node.Attr.([]int) {
			next = append(next, to[axis])
			if from.Shape().Dimensions[i] == 1 {
				next[i] = -1
			}
		}
		r, to = from, next
	}
	along(func(_, stride int) int { return stride })
	return r, 0, strides
}

// Part is where a result also goes: into a larger array.
type Part struct {
	Whole  *graph.Result
	Offset int
}

// Assemble writes the cluster's program. needed tells which results are read outside of it, parts of what they become.
func (c *Cluster) Assemble(stored func(*graph.Result) bool, parts map[*graph.Result][]Part) *Program {
	needed := func(r *graph.Result) bool { return stored(r) || len(parts[r]) > 0 }
	shape := c.Nodes[0].Out[0].Shape()
	p := &Program{Dims: slices.Clone(shape.Dimensions)}

	// Instructions over virtual registers, equal ones merged. Inputs come first.
	type virtualInstr struct {
		op      Op
		a, b, c int
	}
	var virtual []virtualInstr
	known := map[virtualInstr]int{}
	reg := map[*graph.Result]int{}
	type inputKey struct {
		r      *graph.Result
		stride string
	}
	inputs := map[inputKey]int{}
	const firstInstr = 1 << 20
	emit := func(i virtualInstr) int {
		if v, ok := known[i]; ok {
			return v
		}
		v := firstInstr + len(virtual)
		virtual = append(virtual, i)
		known[i] = v
		return v
	}
	operand := func(r *graph.Result) int {
		if v, ok := reg[r]; ok {
			return v
		}
		base, offset, stride := view(r, p.Dims)
		key := inputKey{base, fmt.Sprint(offset, stride)}
		if v, ok := inputs[key]; ok {
			reg[r] = v
			return v
		}
		in := Input{Array: base, Offset: offset, Stride: stride}
		if v, ok := ScalarConstant(base); ok {
			in = Input{Value: v, Stride: make([]int, len(p.Dims))}
		}
		v := len(p.In)
		p.In = append(p.In, in)
		inputs[key], reg[r] = v, v
		return v
	}
	for _, n := range c.Nodes {
		var args [3]int
		for i, r := range n.In {
			args[i] = operand(r)
		}
		out := n.Out[0]
		op := Instructions[n.Op]
		if op == conversion {
			to := out.Shape().DType
			switch {
			case to == dtypes.Bool:
				zero := len(p.In)
				p.In = append(p.In, Input{Stride: make([]int, len(p.Dims))})
				reg[out] = emit(virtualInstr{OpNe, args[0], zero, 0})
				continue
			case to == dtypes.BFloat16 && usedIn(c, out):
				op = OpRoundBF16
			case to == dtypes.Float16 && usedIn(c, out):
				op = OpRoundF16
			default: // loads and stores convert
				reg[out] = args[0]
				continue
			}
		}
		for i := len(n.In); i < 3; i++ {
			args[i] = args[0]
		}
		reg[out] = emit(virtualInstr{op, args[0], args[1], args[2]})
	}

	// A product that only one sum reads becomes part of it.
	reads := map[int]int{}
	for _, v := range virtual {
		for _, a := range operandsOf(v.op, v.a, v.b, v.c) {
			reads[a]++
		}
	}
	for _, n := range c.Nodes {
		if needed(n.Out[0]) {
			reads[reg[n.Out[0]]]++
		}
	}
	for _, s := range c.Sums {
		reads[reg[s.In[0]]] += 2
	}
	drop := map[int]bool{}
	for i, v := range virtual {
		if v.op != OpAdd {
			continue
		}
		for _, pair := range [][2]int{{v.a, v.b}, {v.b, v.a}} {
			m := pair[0] - firstInstr
			if m >= 0 && virtual[m].op == OpMul && reads[pair[0]] == 1 && !drop[m] {
				virtual[i] = virtualInstr{OpFMA, virtual[m].a, virtual[m].b, pair[1]}
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
	for _, n := range c.Nodes {
		if needed(n.Out[0]) {
			last[reg[n.Out[0]]] = len(virtual)
		}
	}
	for _, s := range c.Sums {
		last[reg[s.In[0]]] = len(virtual)
	}
	real := map[int]int{}
	p.Registers = len(p.In)
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
		in := Instruction{Op: v.op, A: uint8(at(v.a)), B: uint8(at(v.b)), C: uint8(at(v.c))}
		for _, a := range distinct(operandsOf(v.op, v.a, v.b, v.c)) {
			if a >= firstInstr && last[a] == i {
				free = append(free, real[a])
			}
		}
		var r int
		if len(free) > 0 {
			r, free = free[len(free)-1], free[:len(free)-1]
		} else {
			r = p.Registers
			p.Registers++
		}
		real[firstInstr+i] = r
		in.Dst = uint8(r)
		p.Code = append(p.Code, in)
	}
	for _, n := range c.Nodes {
		r := n.Out[0]
		if stored(r) {
			p.Out = append(p.Out, Output{r, at(reg[r]), 0, graph.RowMajorOf(p.Dims)})
		}
		for _, x := range parts[r] {
			p.Out = append(p.Out, Output{x.Whole, at(reg[r]), x.Offset, graph.RowMajor(x.Whole.Shape())})
		}
	}
	var apart []int // axes that those before must not be merged with
	for _, s := range c.Sums {
		keep, from, _ := fusableSum(s)
		rows := 1
		for _, d := range p.Dims[from : len(p.Dims)-keep] {
			rows *= d
		}
		p.Sums = append(p.Sums, Sum{s.Out[0], at(reg[s.In[0]]), keep, rows})
		apart = append(apart, from)
	}
	p.collapse(apart)
	return p
}

func distinct(v []int) []int {
	slices.Sort(v)
	return slices.Compact(v)
}

// operandsOf lists the registers an instruction reads.
func operandsOf(op Op, a, b, c int) []int {
	switch {
	case op == OpFMA || op == OpWhere:
		return []int{a, b, c}
	case op <= OpXor:
		return []int{a, b}
	}
	return []int{a}
}

func usedIn(c *Cluster, r *graph.Result) bool {
	for _, n := range append(slices.Clone(c.Nodes), c.Sums...) {
		if slices.Contains(n.In, r) {
			return true
		}
	}
	return false
}

// ScalarConstant returns the value of a constant of one element.
func ScalarConstant(r *graph.Result) (float32, bool) {
	if r.Node.Op != compute.OpTypeConstant || r.Shape().Size() != 1 {
		return 0, false
	}
	return graph.ScalarOf(r.Shape().DType, r.Node.Attr.([]byte))
}

// collapse merges dimensions that every array walks as one. The last one is kept where sums keep it, and so are those
// apart, where other sums begin.
func (p *Program) collapse(apart []int) {
	keep := slices.ContainsFunc(p.Sums, func(s Sum) bool { return s.Keep == 1 })
	var all []*[]int
	for i := range p.In {
		all = append(all, &p.In[i].Stride)
	}
	for i := range p.Out {
		all = append(all, &p.Out[i].Stride)
	}
	dims := []int{}
	strides := make([][]int, len(all))
	begins := false // other sums, at this dimension or one of size 1 before
	for d, size := range p.Dims {
		begins = begins || slices.Contains(apart, d)
		if size == 1 && !(keep && d == len(p.Dims)-1) {
			continue
		}
		k := len(dims)
		merge := k > 0 && !(keep && d == len(p.Dims)-1) && !begins
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
		dims, begins = append(dims, size), false
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
	p.Dims = dims
	for i, s := range all {
		*s = strides[i]
	}
}
