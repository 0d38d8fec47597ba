package onednn

/*
#include "native.h"
*/
import "C"

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"
	"github.com/gomlx/compute/shapes"
	"github.com/pkg/errors"
)

// scalarOf reads one element as float32.
func scalarOf(d dtypes.DType, b []byte) (float32, bool) {
	switch d {
	case dtypes.Float32:
		return math.Float32frombits(binary.LittleEndian.Uint32(b)), true
	case dtypes.BFloat16:
		return bfloat16.FromBits(binary.LittleEndian.Uint16(b)).Float32(), true
	case dtypes.Float16:
		return float16.FromBits(binary.LittleEndian.Uint16(b)).Float32(), true
	case dtypes.Bool:
		return float32(b[0]), true
	}
	return 0, false
}

// place says where a result's values are.
type place struct {
	kind   int // one of the place… constants
	index  int // parameter, output
	offset int // in the arena, or from the start of the array that the result is part of
	size   int
	data   []byte // constants
}

const (
	placeArena = iota
	placeParam
	placeOutput
	placeConstant
	placePrepared // memory of the executable's own
)

// step is a run of native operations, or one node on the fallback.
type step struct {
	ops      []*C.un_op
	labels   []label
	seconds  []C.double
	fallback *fallbackStep
}

// label describes an operation for profiles and dumps.
type label struct {
	kind, text   string
	flops, bytes float64 // multiplications and additions; memory read and written
}

func (x label) String() string { return strings.TrimSpace(x.kind + " " + x.text) }

type fallbackStep struct {
	node    *node
	exec    compute.Executable
	in, out []int // slots
	missing error
}

type lowering struct {
	backend *Backend
	graph   *graph
	units   []unit
	slot    map[*result]int
	places  []place
	alias   map[*result]*result // a result that is another's array, or part of it
	shift   map[*result]int     // by how many bytes it starts later
	steps   []step
	reads   [][]int // by unit emitted: slots read and written, for liveness
	writes  [][]int
	keep    func(*result) bool
	parts   map[*result][]part
	placed  map[*node][]bool // which operands of a concatenation their makers put in place
	prepared
	cut bool // the next operation begins a step
}

// lower turns the graph into native operations and plans their memory.
func lower(b *Backend, name string, g *graph) (_ *executable, err error) {
	splitReductions(g)
	l := &lowering{backend: b, graph: g, slot: map[*result]int{}, alias: map[*result]*result{}, shift: map[*result]int{}}
	defer func() {
		if err != nil {
			l.release()
		}
	}()
	limit := maxCluster
	if b.without["fusion"] {
		limit = 1
	}
	l.units = fuse(g, limit)
	l.findAliases()
	if !b.without["preparation"] {
		l.findPrepared()
	}
	l.placeEnds()
	if err := l.emitAll(); err != nil {
		return nil, err
	}
	e := &executable{backend: b, name: name, graph: g, steps: l.steps}
	e.arena = l.plan()
	e.places = l.places
	e.prepared, e.preparedSteps = aligned(l.prepared.size), l.preparedSteps
	e.preparedParams = slices.Sorted(maps.Keys(l.prepared.params))
	for _, r := range g.outputs {
		e.outputSlots = append(e.outputSlots, l.slotOf(r))
	}
	return e, nil
}

func (l *lowering) release() {
	for _, s := range l.steps {
		for _, op := range s.ops {
			C.un_release(op)
		}
	}
}

// root follows aliases to the array that holds r.
func (l *lowering) root(r *result) (*result, int) {
	shift := 0
	for l.alias[r] != nil {
		shift += l.shift[r]
		r = l.alias[r]
	}
	return r, shift
}

// findAliases marks results that need no work: reshapes, and slices that are one piece of their operand.
func (l *lowering) findAliases() {
	for _, n := range l.graph.nodes {
		switch n.op {
		case compute.OpTypeReshape, compute.OpTypeSchedulingBarrier:
			l.alias[n.out[0]] = n.in[0]
		case compute.OpTypeBitcast:
			if byteSize(n.out[0].shape()) == byteSize(n.in[0].shape()) && !n.in[0].shape().DType.IsPacked() && !n.out[0].shape().DType.IsPacked() {
				l.alias[n.out[0]] = n.in[0]
			}
		case compute.OpTypeBroadcastInDim, compute.OpTypeTranspose:
			if n.out[0].shape().Size() == n.in[0].shape().Size() && (n.op == compute.OpTypeBroadcastInDim || movesOnlyOnes(n)) {
				l.alias[n.out[0]] = n.in[0]
			}
		case compute.OpTypeSlice:
			a := n.attr.(sliceArgs)
			in, stride := n.in[0].shape(), rowMajor(n.in[0].shape())
			whole, offset, piece := true, 0, n.out[0].shape().Size() > 0 && !in.DType.IsPacked()
			for i := in.Rank() - 1; i >= 0; i-- {
				length := a.limits[i] - a.starts[i]
				if !whole && length != 1 || len(a.strides) > 0 && a.strides[i] != 1 && length != 1 {
					piece = false
				}
				if length != in.Dimensions[i] {
					whole = false
				}
				offset += a.starts[i] * stride[i]
			}
			if piece {
				l.alias[n.out[0]], l.shift[n.out[0]] = n.in[0], offset*in.DType.Size()
			}
		}
	}
}

// movesOnlyOnes tells whether a transposition leaves the order of all axes longer than 1.
func movesOnlyOnes(n *node) bool {
	previous := -1
	for _, from := range n.attr.([]int) {
		if n.in[0].shape().Dimensions[from] == 1 {
			continue
		}
		if from < previous {
			return false
		}
		previous = from
	}
	return true
}

// placeEnds gives parameters, constants and outputs their places. What is left goes to the arena.
func (l *lowering) placeEnds() {
	for _, n := range l.graph.nodes {
		switch n.op {
		case compute.OpTypeParameter:
			l.put(n.out[0], place{kind: placeParam, index: n.attr.(int)})
		case compute.OpTypeConstant:
			l.put(n.out[0], place{kind: placeConstant, data: n.attr.([]byte)})
		}
	}
	for i, r := range l.graph.outputs {
		root, shift := l.root(r)
		if _, placed := l.slot[root]; !placed && shift == 0 && byteSize(root.shape()) == byteSize(r.shape()) {
			l.put(root, place{kind: placeOutput, index: i})
		}
	}
}

func (l *lowering) put(r *result, p place) int {
	s := len(l.places)
	p.size = byteSize(r.shape())
	l.places = append(l.places, p)
	l.slot[r] = s
	return s
}

// slotOf returns the slot of r's values, a new one in the arena if it has none.
func (l *lowering) slotOf(r *result) int {
	if s, ok := l.slot[r]; ok {
		return s
	}
	root, shift := l.root(r)
	if root == r {
		if !l.prepared.nodes[r.node] {
			return l.put(r, place{kind: placeArena})
		}
		p := place{kind: placePrepared, offset: l.prepared.size}
		l.prepared.size += (byteSize(r.shape()) + alignment - 1) / alignment * alignment
		return l.put(r, p)
	}
	s := l.slotOf(root)
	if shift == 0 {
		return s
	}
	p := l.places[s]
	p.offset += shift
	p.size = byteSize(r.shape())
	if p.kind == placeConstant {
		p.data = p.data[shift:]
	}
	if p.kind == placeArena {
		p.index = s + 1 // the slot whose storage this one is a part of
	}
	l.places = append(l.places, p)
	l.slot[r] = len(l.places) - 1
	return l.slot[r]
}

func (l *lowering) emitAll() error {
	owner := map[*node]int{}
	fused := map[*node]bool{} // element-wise nodes of clusters
	for i, u := range l.units {
		if u.cluster != nil {
			for _, n := range u.cluster.nodes {
				owner[n], fused[n] = i+1, true
			}
			for _, n := range u.cluster.sums {
				owner[n] = i + 1
			}
		}
	}
	// What is read other than by its own cluster must be stored; but what a cluster reads of broadcasts and slices is the
	// array behind them, and what it makes for concatenations goes where it belongs.
	stored, spread := map[*result]bool{}, map[*result]bool{}
	store := func(r *result) {
		root, _ := l.root(r)
		stored[root], stored[r] = true, true
		spread[root], spread[r] = true, true
	}
	for _, r := range l.graph.outputs {
		store(r)
	}
	l.parts, l.placed = map[*result][]part{}, map[*node][]bool{}
	for _, n := range l.graph.nodes {
		if n.op == compute.OpTypeConcatenate && owner[n] == 0 {
			l.placed[n] = make([]bool, len(n.in))
			axis, at := n.attr.(int), 0
			step := rowMajor(n.out[0].shape())[axis]
			for i, r := range n.in {
				if s := r.shape(); fused[r.node] && s.Dimensions[s.Rank()-1] > 1 && l.prepared.nodes[n] == l.prepared.nodes[r.node] {
					l.parts[r] = append(l.parts[r], part{n.out[0], at * step})
					l.placed[n][i] = true
				}
				at += r.shape().Dimensions[axis]
			}
		}
	}
	for _, n := range slices.Backward(l.graph.nodes) { // who reads n is known by now
		for i, r := range n.in {
			switch {
			case l.placed[n] != nil && l.placed[n][i]:
			case n.op == compute.OpTypeBroadcastInDim && r.node.op == compute.OpTypeBroadcastInDim && !spread[n.out[0]]: // both are looked through
			case owner[n] == 0:
				store(r)
			case owner[r.node] != owner[n]:
				root, _ := l.root(r)
				stored[root], stored[r] = true, true
			}
		}
	}
	for _, n := range slices.Backward(l.graph.nodes) { // a broadcast that is made reads what it spreads
		if n.op == compute.OpTypeBroadcastInDim && spread[n.out[0]] {
			store(n.in[0])
		}
	}
	l.keep = func(r *result) bool { return stored[r] }
	first := true
	for _, u := range l.units {
		if first && !(u.cluster != nil && l.prepared.nodes[u.cluster.nodes[0]] || u.node != nil && l.prepared.nodes[u.node]) {
			first, l.cut, l.preparedSteps = false, true, len(l.steps)
		}
		if u.cluster != nil {
			l.emitCluster(u.cluster)
			continue
		}
		n := u.node
		if n.op == compute.OpTypeParameter || n.op == compute.OpTypeConstant || len(n.out) == 1 && l.alias[n.out[0]] != nil {
			continue
		}
		if (n.op == compute.OpTypeBroadcastInDim || n.op == compute.OpTypeSlice) && !spread[n.out[0]] {
			continue
		}
		if err := l.emitNode(n); err != nil {
			return err
		}
	}
	return nil
}

// add appends a native operation that reads and writes slots.
func (l *lowering) add(op *C.un_op, x label, reads, writes []int) {
	if x.bytes == 0 {
		for _, s := range slices.Concat(reads, writes) {
			x.bytes += float64(l.places[s].size)
		}
	}
	if len(l.steps) == 0 || l.steps[len(l.steps)-1].fallback != nil || l.cut {
		l.steps = append(l.steps, step{})
		l.cut = false
	}
	s := &l.steps[len(l.steps)-1]
	s.ops, s.labels = append(s.ops, op), append(s.labels, x)
	l.reads, l.writes = append(l.reads, reads), append(l.writes, writes)
}

func (l *lowering) emitCluster(c *cluster) {
	p := c.assemble(l.keep, l.parts)
	if len(p.out)+len(p.sums) == 0 {
		return
	}
	var reads, writes []int
	for _, x := range p.in {
		if x.r != nil {
			reads = append(reads, l.slotOf(x.r))
		}
	}
	for _, x := range p.out {
		writes = append(writes, l.slotOf(x.r))
	}
	for _, x := range p.sums {
		writes = append(writes, l.slotOf(x.r))
	}
	op := p.native(l.slotOf, !l.backend.without["code"])
	how := "interpreted"
	if C.un_generated(op) != 0 {
		how = "generated code"
	}
	x := label{kind: "cluster", text: fmt.Sprintf("%v: %d in, %d instructions, %d out, %d sums (%s)", p.dims, len(p.in), len(p.code), len(p.out), len(p.sums), how)}
	for _, in := range p.in {
		if in.r != nil {
			x.bytes += float64(in.r.shape().DType.Size() * touched(p.dims, in.stride))
		}
	}
	for _, out := range p.out {
		x.bytes += float64(out.r.shape().DType.Size() * touched(p.dims, out.stride))
	}
	l.add(op, x, reads, writes)
}

// touched is how many elements an array with these strides has along dims.
func touched(dims, stride []int) int {
	n := 1
	for d, size := range dims {
		if stride[d] != 0 {
			n *= size
		}
	}
	return n
}

// native makes the operation that runs the program.
func (p *program) native(slotOf func(*result) int, generated bool) *C.un_op {
	dims := cInts(p.dims)
	in := make([]C.un_ew_in, len(p.in)+1)
	for i, x := range p.in {
		in[i].slot, in[i].value = -1, C.float(x.value)
		if x.r != nil {
			in[i].slot, in[i].dtype = C.int32_t(slotOf(x.r)), loadType(x.r.shape().DType)
		}
		in[i].offset = C.int64_t(x.offset)
		for d, s := range x.stride {
			in[i].stride[d] = C.int64_t(s)
		}
	}
	out := make([]C.un_ew_out, len(p.out)+1)
	for i, x := range p.out {
		out[i].slot, out[i].dtype, out[i].reg = C.int32_t(slotOf(x.r)), loadType(x.r.shape().DType), C.int32_t(x.reg)
		out[i].offset = C.int64_t(x.offset)
		for d, s := range x.stride {
			out[i].stride[d] = C.int64_t(s)
		}
	}
	sums := make([]C.un_ew_sum, len(p.sums)+1)
	for i, x := range p.sums {
		sums[i] = C.un_ew_sum{C.int32_t(slotOf(x.r)), loadType(x.r.shape().DType), C.int32_t(x.reg), C.int32_t(x.keep)}
	}
	instructions := append(p.code, C.un_instr{})
	var code []byte
	if generated && C.un_isa() == 2 {
		code = generate(p, roundsBF16)
	}
	return C.un_elementwise(C.int(len(p.dims)), &dims[0], C.int(len(p.in)), &in[0], C.int(len(p.code)), &instructions[0],
		C.int(len(p.out)), &out[0], C.int(len(p.sums)), &sums[0], C.int(p.nRegs), unsafe.Pointer(unsafe.SliceData(code)), C.size_t(len(code)))
}

func loadType(d dtypes.DType) C.int32_t {
	switch d {
	case dtypes.Int32:
		return C.UN_I32
	case dtypes.Float64:
		return C.UN_F64
	}
	t, _ := nativeType(d)
	return t
}

func (l *lowering) slotsOf(list []*result) []int {
	s := make([]int, len(list))
	for i, r := range list {
		s[i] = l.slotOf(r)
	}
	return s
}

// emitNode emits a node that is not element-wise: natively where that is possible, else on the fallback.
func (l *lowering) emitNode(n *node) error {
	zero := slices.ContainsFunc(append(slices.Clone(n.in), n.out...), func(r *result) bool { return r.shape().Size() == 0 || r.shape().DType.IsPacked() })
	if !zero && l.emitNative(n) {
		return nil
	}
	f, err := l.backend.fallbackFor(n)
	if err != nil {
		return err
	}
	f.in, f.out = l.slotsOf(n.in), l.slotsOf(n.out)
	l.steps = append(l.steps, step{fallback: f, labels: []label{{kind: "fallback", text: fmt.Sprintf("%s %s", n.op, n.out[0].shape())}}})
	l.reads, l.writes = append(l.reads, f.in), append(l.writes, f.out)
	return nil
}

func (l *lowering) emitNative(n *node) bool {
	switch n.op {
	case opConv, opConvBackwardData, opConvBackwardWeights:
		return l.emitConv(n)
	case compute.OpTypeDotGeneral:
		return l.emitDot(n)
	case compute.OpTypeBatchNormForTraining:
		return l.emitMoments(n)
	case compute.OpTypeReduceSum, compute.OpTypeReduceMax, compute.OpTypeReduceMin, compute.OpTypeReduceProduct:
		return l.emitReduce(n)
	case compute.OpTypeTranspose, compute.OpTypeBroadcastInDim, compute.OpTypeReverse, compute.OpTypeSlice, compute.OpTypeConcatenate, compute.OpTypePad:
		return l.emitMove(n)
	}
	return false
}

func (l *lowering) emitMoments(n *node) bool {
	x := n.in[0]
	s := x.shape()
	dtype, ok := nativeType(s.DType)
	if !ok || n.attr.(int) != s.Rank()-1 || n.out[0].shape().DType != dtypes.Float32 {
		return false
	}
	channels := s.Dimensions[s.Rank()-1]
	in, mean, variance := l.slotOf(x), l.slotOf(n.out[0]), l.slotOf(n.out[1])
	rows := s.Size() / channels
	op := C.un_moments(C.int(in), C.int(dtype), C.int64_t(rows), C.int64_t(channels), C.int(mean), C.int(variance), momentSums(x, rows, channels, !l.backend.without["code"]))
	l.add(op, label{kind: "moments", text: s.String()}, []int{in}, []int{mean, variance})
	return true
}

// momentSums is the cluster that un_moments asks for.
func momentSums(x *result, rows, channels int, generated bool) *C.un_op {
	sum, square := &result{node: &node{shapes: []shapes.Shape{shapes.Make(dtypes.Float64, channels)}}}, &result{node: &node{shapes: []shapes.Shape{shapes.Make(dtypes.Float64, channels)}}}
	p := &program{dims: []int{rows, channels}, nRegs: 4,
		in:   []ewInput{{r: x, stride: []int{channels, 1}}, {r: x, stride: []int{0, 1}}},
		code: []C.un_instr{{op: C.UN_SUB, dst: 2, a: 0, b: 1, c: 0}, {op: C.UN_MUL, dst: 3, a: 2, b: 2, c: 2}},
		sums: []ewSum{{sum, 2, 1}, {square, 3, 1}}}
	return p.native(func(r *result) int { return map[*result]int{x: 0, sum: 1, square: 2}[r] }, generated)
}

var reduceKinds = map[compute.OpType]C.int{
	compute.OpTypeReduceSum: C.UN_REDUCE_SUM, compute.OpTypeReduceMax: C.UN_REDUCE_MAX, compute.OpTypeReduceMin: C.UN_REDUCE_MIN, compute.OpTypeReduceProduct: C.UN_REDUCE_PRODUCT,
}

func (l *lowering) emitReduce(n *node) bool {
	x, y := n.in[0], n.out[0]
	if !floatType(x.shape().DType) || !floatType(y.shape().DType) {
		return false
	}
	outer, mid, inner, ok := reduceShape(x.shape().Dimensions, n.attr.([]int))
	if !ok {
		return false
	}
	in, out := l.slotOf(x), l.slotOf(y)
	op := C.un_reduce(reduceKinds[n.op], C.int(in), C.int(loadType(x.shape().DType)), C.int64_t(outer), C.int64_t(mid), C.int64_t(inner),
		C.int(out), C.int(loadType(y.shape().DType)))
	l.add(op, label{kind: "reduction", text: fmt.Sprintf("%s %s over %v", n.op, x.shape(), n.attr)}, []int{in}, []int{out})
	return true
}

// reduceShape sees dims as [outer, mid, inner] with mid reduced; that needs the axes to stand together.
func reduceShape(dims, axes []int) (outer, mid, inner int, ok bool) {
	if len(axes) == 0 {
		axes = make([]int, len(dims))
		for i := range axes {
			axes[i] = i
		}
	}
	axes = slices.Clone(axes)
	slices.Sort(axes)
	outer, mid, inner = 1, 1, 1
	for i, d := range dims {
		switch {
		case d == 1:
		case slices.Contains(axes, i):
			if inner != 1 {
				return 0, 0, 0, false
			}
			mid *= d
		case mid == 1:
			outer *= d
		default:
			inner *= d
		}
	}
	return outer, mid, inner, true
}

// splitReductions writes a reduction over axes that stand apart as one after the other.
//
//	%1 = ReduceSum %0 [0 2]   →   %a = ReduceSum %0 [2]; %1 = ReduceSum %a [0]
func splitReductions(g *graph) {
	var nodes []*node
	for _, n := range g.nodes {
		_, isReduce := reduceKinds[n.op]
		if isReduce && floatType(n.in[0].shape().DType) && n.in[0].shape().Size() > 0 {
			for {
				dims, axes := n.in[0].shape().Dimensions, slices.Clone(n.attr.([]int))
				if _, _, _, ok := reduceShape(dims, axes); ok {
					break
				}
				slices.Sort(axes)
				last := len(axes) - 1
				from := last
				for from > 0 && axes[from-1] == axes[from]-1 {
					from--
				}
				group := slices.Clone(axes[from:])
				kept := []int{}
				for i, d := range dims {
					if !slices.Contains(group, i) {
						kept = append(kept, d)
					}
				}
				first := &node{op: n.op, in: n.in, attr: group, shapes: []shapes.Shape{shapes.Make(dtypes.Float32, kept...)}, owner: n.owner}
				first.replay = reduceReplay(n.op, group)
				first.out = []*result{{node: first}}
				n.in, n.attr = first.out, axes[:from]
				n.replay = reduceReplay(n.op, axes[:from])
				nodes = append(nodes, first)
			}
		}
		nodes = append(nodes, n)
	}
	g.nodes = nodes
}

func reduceReplay(op compute.OpType, axes []int) replay {
	m := map[compute.OpType]func(compute.Function, value, ...int) (value, error){
		compute.OpTypeReduceSum: compute.Function.ReduceSum, compute.OpTypeReduceMax: compute.Function.ReduceMax,
		compute.OpTypeReduceMin: compute.Function.ReduceMin, compute.OpTypeReduceProduct: compute.Function.ReduceProduct,
	}[op]
	return func(g compute.Function, in []value) ([]value, error) {
		v, err := m(g, in[0], axes...)
		return []value{v}, err
	}
}

// copyOp adds a strided copy.
func (l *lowering) copyOp(what string, size int, dims []int, src, srcOffset int, srcStride []int, dst, dstOffset int, dstStride []int) {
	d, ss, ds := cInts(dims), cInts(srcStride), cInts(dstStride)
	op := C.un_copy(C.int(size), C.int(len(dims)), &d[0], C.int(src), C.int64_t(srcOffset), &ss[0], C.int(dst), C.int64_t(dstOffset), &ds[0])
	n := 2 * size
	for _, d := range dims {
		n *= d
	}
	l.add(op, label{kind: "movement", text: what, bytes: float64(n)}, []int{src}, []int{dst})
}

func cInts(v []int) []C.int64_t {
	c := make([]C.int64_t, len(v)+1)
	for i, x := range v {
		c[i] = C.int64_t(x)
	}
	return c
}

// emitMove emits data movement as strided copies.
func (l *lowering) emitMove(n *node) bool {
	out := n.out[0].shape()
	size := out.DType.Size()
	if out.Rank() > C.UN_MAX_DIMS || size != 1 && size != 2 && size != 4 && size != 8 {
		return false
	}
	dst, dstStride := l.slotOf(n.out[0]), rowMajor(out)
	what := fmt.Sprintf("%s %s", n.op, out)
	in := n.in[0].shape()
	stride := rowMajor(in)
	switch n.op {
	case compute.OpTypeConcatenate:
		axis, at := n.attr.(int), 0
		for i, r := range n.in {
			s := r.shape()
			if s.Size() > 0 && !l.placed[n][i] {
				l.copyOp(what, size, s.Dimensions, l.slotOf(r), 0, rowMajor(s), dst, at*dstStride[axis], dstStride)
			}
			at += s.Dimensions[axis]
		}
		return true
	case compute.OpTypePad:
		axes := n.attr.([]compute.PadAxis)
		fill, ok := n.in[1].node.attr.([]byte)
		if n.in[1].node.op != compute.OpTypeConstant || !ok {
			return false
		}
		for len(axes) < in.Rank() {
			axes = append(axes, compute.PadAxis{})
		}
		offset, step := 0, slices.Clone(dstStride)
		for i, a := range axes {
			if a.Start < 0 || a.End < 0 || a.Interior < 0 {
				return false
			}
			offset += a.Start * dstStride[i]
			step[i] *= a.Interior + 1
		}
		l.add(C.un_fill(C.int(size), unsafe.Pointer(&fill[0]), C.int64_t(out.Size()), C.int(dst)), label{kind: "movement", text: what + " fill"}, nil, []int{dst})
		l.copyOp(what, size, in.Dimensions, l.slotOf(n.in[0]), 0, stride, dst, offset, step)
		return true
	}
	src := l.slotOf(n.in[0])
	srcStride, offset := make([]int, out.Rank()), 0
	switch n.op {
	case compute.OpTypeTranspose:
		for i, from := range n.attr.([]int) {
			srcStride[i] = stride[from]
		}
	case compute.OpTypeBroadcastInDim:
		for i, axis := range n.attr.([]int) {
			if in.Dimensions[i] != 1 {
				srcStride[axis] = stride[i]
			}
		}
	case compute.OpTypeReverse:
		copy(srcStride, stride)
		for _, axis := range n.attr.([]int) {
			offset += (in.Dimensions[axis] - 1) * stride[axis]
			srcStride[axis] = -stride[axis]
		}
	case compute.OpTypeSlice:
		a := n.attr.(sliceArgs)
		for i := range stride {
			srcStride[i] = stride[i]
			if len(a.strides) > 0 {
				srcStride[i] *= a.strides[i]
			}
			offset += a.starts[i] * stride[i]
		}
	}
	l.copyOp(what, size, out.Dimensions, src, offset, srcStride, dst, 0, dstStride)
	return true
}

func axisArray[T any](to []T, r *result, a axes, f func(dim, stride int) T) {
	s, stride := r.shape().Dimensions, rowMajor(r.shape())
	to[0], to[1] = f(s[a.first], stride[a.first]), f(s[a.second], stride[a.second])
	for i, axis := range a.spatial {
		to[2+i] = f(s[axis], stride[axis])
	}
}

func (l *lowering) emitConv(n *node) bool {
	c := n.attr.(*conv)
	var src, weights, dst *result
	direction := C.UN_CONV_FORWARD
	switch n.op {
	case opConv:
		src, weights, dst = n.in[0], n.in[1], n.out[0]
	case opConvBackwardData:
		direction = C.UN_CONV_BACKWARD_DATA
		src, weights, dst = n.out[0], n.in[1], n.in[0]
	default:
		direction = C.UN_CONV_BACKWARD_WEIGHTS
		src, weights, dst = n.in[0], n.out[0], n.in[1]
	}
	s := C.un_conv_spec{direction: C.int32_t(direction), n_spatial: C.int32_t(len(c.stride)), groups: C.int32_t(c.groups), batch_groups: C.int32_t(c.batchGroups), bias: -1,
		src: C.int32_t(l.slotOf(src)), weights: C.int32_t(l.slotOf(weights)), dst: C.int32_t(l.slotOf(dst)),
		src_dtype: loadType(src.shape().DType), weights_dtype: loadType(weights.shape().DType), dst_dtype: loadType(dst.shape().DType)}
	reads, writes := l.slotsOf(n.in), l.slotsOf(n.out)
	if len(n.in) > 2 {
		s.bias, s.bias_dtype = C.int32_t(l.slotOf(n.in[2])), loadType(n.in[2].shape().DType)
	}
	if len(n.out) > 1 {
		s.bias, s.bias_dtype = C.int32_t(l.slotOf(n.out[1])), loadType(n.out[1].shape().DType)
	}
	dim, stride := func(d, _ int) C.int64_t { return C.int64_t(d) }, func(_, s int) C.int64_t { return C.int64_t(s) }
	axisArray(s.src_dims[:], src, c.src, dim)
	axisArray(s.src_strides[:], src, c.src, stride)
	if c.groups > 1 { // [groups, output channels, …]
		axisArray(s.weights_dims[1:], weights, c.weights, dim)
		axisArray(s.weights_strides[1:], weights, c.weights, stride)
		s.weights_dims[0], s.weights_dims[1] = C.int64_t(c.groups), s.weights_dims[1]/C.int64_t(c.groups)
		s.weights_strides[0] = s.weights_dims[1] * s.weights_strides[1]
	} else {
		axisArray(s.weights_dims[:], weights, c.weights, dim)
		axisArray(s.weights_strides[:], weights, c.weights, stride)
	}
	axisArray(s.dst_dims[:], dst, c.dst, dim)
	axisArray(s.dst_strides[:], dst, c.dst, stride)
	for i := range c.stride {
		s.stride[i], s.dilation[i] = C.int64_t(c.stride[i]), C.int64_t(c.dilation[i])
		s.pad_lo[i], s.pad_hi[i] = C.int64_t(c.padLo[i]), C.int64_t(c.padHi[i])
		s.src_spread[i] = C.int64_t(c.spread[i])
	}
	if c.gelu {
		s.gelu = 1
	}
	if n.op != opConvBackwardWeights && l.isPrepared(weights) {
		s.weights_prepared = 1
	}
	scratch := l.scratch()
	var op *C.un_op
	var bytes C.size_t
	if !l.backend.without["winograd"] {
		op = C.un_winograd_conv(&s, C.int(scratch), &bytes)
	}
	if op == nil {
		op = l.oneDNN(func(problem **C.char) *C.un_op { return C.un_conv(&s, problem) })
	}
	own := op == nil
	if own {
		op = C.un_own_conv(&s, C.int(scratch), &bytes)
	}
	if bytes > 0 {
		l.places[scratch].size = int(bytes)
		writes = append(writes, scratch)
	}
	kind := map[compute.OpType]string{opConv: "convolution", opConvBackwardData: "convolution backward data", opConvBackwardWeights: "convolution backward weights"}[n.op]
	x := label{kind: kind, text: fmt.Sprintf("%s × %s stride %v%s (%s)", src.shape(), weights.shape(), c.stride, map[bool]string{true: " GELU"}[c.gelu], implementation(op))}
	// Each pixel of the destination meets each weight once, for its output channel.
	x.flops = 2 * float64(dst.shape().Size()) * float64(weights.shape().Size()) / float64(weights.shape().Dimensions[c.weights.first])
	x.bytes = float64(byteSize(src.shape()) + byteSize(weights.shape()) + byteSize(dst.shape()))
	l.add(op, x, reads, writes)
	if own && c.gelu {
		size := dst.shape().Size()
		p := &program{dims: []int{size}, nRegs: 2, in: []ewInput{{r: dst, stride: []int{1}}},
			code: []C.un_instr{{op: C.UN_GELU, dst: 1}}, out: []ewOutput{{r: dst, reg: 1, stride: []int{1}}}}
		l.add(p.native(l.slotOf, !l.backend.without["code"]), label{kind: "cluster", text: fmt.Sprintf("GELU %s", dst.shape())}, l.slotsOf(n.out), l.slotsOf(n.out))
	}
	return true
}

// oneDNN makes an operation of the library, unless the backend does without it.
func (l *lowering) oneDNN(create func(problem **C.char) *C.un_op) *C.un_op {
	if l.backend.portable {
		return nil
	}
	var problem *C.char
	return create(&problem)
}

// scratch returns a slot in the arena that holds no result. Its size is yet to be set.
func (l *lowering) scratch() int {
	l.places = append(l.places, place{kind: placeArena})
	return len(l.places) - 1
}

func implementation(op *C.un_op) string {
	if name := C.un_implementation(op); name != nil {
		return C.GoString(name)
	}
	return "own, " + ownISA()
}

// emitDot emits a product as one of matrices [batch…, M, K]·[batch…, K, N].
func (l *lowering) emitDot(n *node) bool {
	if !floatConv(n) {
		return false
	}
	a := n.attr.(dotArgs)
	lhs, rhs, out := n.in[0].shape(), n.in[1].shape(), n.out[0].shape()
	lFree, rFree := axesBut(lhs.Rank(), a.lhsBatch, a.lhsContracting), axesBut(rhs.Rank(), a.rhsBatch, a.rhsContracting)
	if max(lhs.Rank(), rhs.Rank()) > C.UN_MAX_DIMS || len(a.lhsBatch) > 4 {
		return false
	}
	x, xStride := l.matrices(n.in[0], a.lhsBatch, lFree, a.lhsContracting)
	w, wStride := l.matrices(n.in[1], a.rhsBatch, rFree, a.rhsContracting)
	m, mStride, _ := merged(lhs, xStride, lFree)
	k, xkStride, _ := merged(lhs, xStride, a.lhsContracting)
	_, wkStride, _ := merged(rhs, wStride, a.rhsContracting)
	columns, nStride, _ := merged(rhs, wStride, rFree)

	y := l.slotOf(n.out[0])
	s := C.un_matmul_spec{a: C.int32_t(x), b: C.int32_t(w), c: C.int32_t(y), a_dtype: loadType(lhs.DType), b_dtype: loadType(rhs.DType), c_dtype: loadType(out.DType)}
	add := func(da, db, dc, sa, sb, sc int) {
		i := s.n_dims
		s.n_dims++
		s.a_dims[i], s.b_dims[i], s.c_dims[i] = C.int64_t(da), C.int64_t(db), C.int64_t(dc)
		// Where a dimension is 1 any stride will do; a regular one keeps oneDNN on its fast paths.
		s.a_strides[i], s.b_strides[i], s.c_strides[i] = C.int64_t(max(sa, 1)), C.int64_t(max(sb, 1)), C.int64_t(max(sc, 1))
	}
	batch, stride := 1, out.Size()
	for i := 0; i < len(a.lhsBatch); {
		// As many axes as are one for both.
		end := i + 1
		for end < len(a.lhsBatch) {
			_, _, ok1 := merged(lhs, xStride, a.lhsBatch[i:end+1])
			_, _, ok2 := merged(rhs, wStride, a.rhsBatch[i:end+1])
			if !ok1 || !ok2 {
				break
			}
			end++
		}
		d, sa, _ := merged(lhs, xStride, a.lhsBatch[i:end])
		_, sb, _ := merged(rhs, wStride, a.rhsBatch[i:end])
		i = end
		batch, stride = batch*d, stride/d
		add(d, d, d, sa, sb, stride)
	}
	if len(a.lhsBatch) == 0 {
		add(1, 1, 1, m*k, k*columns, m*columns)
	}
	add(m, k, m, mStride, wkStride, columns)
	add(k, columns, columns, xkStride, nStride, 1)

	reads, writes := []int{x, w}, []int{y}
	op := l.oneDNN(func(problem **C.char) *C.un_op { return C.un_matmul(&s, problem) })
	if op == nil {
		scratch := l.scratch()
		var bytes C.size_t
		op = C.un_own_matmul(&s, C.int(scratch), &bytes)
		l.places[scratch].size = int(bytes)
		writes = append(writes, scratch)
	}
	about := label{kind: "product", text: fmt.Sprintf("%d×[%d %d]·[%d %d] (%s)", batch, m, k, k, columns, implementation(op))}
	about.flops = 2 * float64(batch*m) * float64(k) * float64(columns)
	about.bytes = float64(byteSize(n.in[0].shape()) + byteSize(n.in[1].shape()) + byteSize(n.out[0].shape()))
	l.add(op, about, reads, writes)
	return true
}

// axesBut lists the axes that are in none of the lists.
func axesBut(rank int, lists ...[]int) []int {
	var axes []int
	for i := range rank {
		if !slices.ContainsFunc(lists, func(list []int) bool { return slices.Contains(list, i) }) {
			axes = append(axes, i)
		}
	}
	return axes
}

// matrices returns a slot with r's values and the stride of each of r's axes there, such that its free and its contracting
// axes can each be seen as one: r's own slot, or else a copy.
func (l *lowering) matrices(r *result, batch, free, contracting []int) (slot int, strides []int) {
	slot, strides = l.slotOf(r), rowMajor(r.shape())
	_, _, ok1 := merged(r.shape(), strides, free)
	_, _, ok2 := merged(r.shape(), strides, contracting)
	if ok1 && ok2 {
		return slot, strides
	}
	order := slices.Concat(batch, free, contracting)
	var dims, from []int
	for _, axis := range order {
		dims, from = append(dims, r.shape().Dimensions[axis]), append(from, strides[axis])
	}
	to := rowMajor(shapes.Make(r.shape().DType, dims...))
	dense := make([]int, len(order))
	for i, axis := range order {
		dense[axis] = to[i]
	}
	scratch := l.scratch()
	l.places[scratch].size = byteSize(r.shape())
	l.copyOp(fmt.Sprintf("Transpose %s for a product", r.shape()), r.shape().DType.Size(), dims, slot, 0, from, scratch, 0, to)
	return scratch, dense
}

// merged sees axes of an array as one: its length and stride.
func merged(s shapes.Shape, strides, list []int) (length, stride int, ok bool) {
	length, stride = 1, 1
	for i := len(list) - 1; i >= 0; i-- {
		d := s.Dimensions[list[i]]
		if d == 1 {
			continue
		}
		if length == 1 {
			stride = strides[list[i]]
		} else if strides[list[i]] != stride*length {
			return 0, 0, false
		}
		length *= d
	}
	return length, stride, true
}

// plan gives every result in the arena its offset: two may share memory when one is last read before the other is written.
func (l *lowering) plan() (size int) {
	owner := func(s int) int {
		for l.places[s].kind == placeArena && l.places[s].index > 0 {
			s = l.places[s].index - 1
		}
		return s
	}
	first, last := map[int]int{}, map[int]int{}
	touch := func(s, t int) {
		s = owner(s)
		if _, ok := first[s]; !ok {
			first[s] = t
		}
		last[s] = t
	}
	for t := range l.reads {
		for _, s := range l.reads[t] {
			touch(s, t)
		}
		for _, s := range l.writes[t] {
			touch(s, t)
		}
	}
	for _, r := range l.graph.outputs {
		touch(l.slotOf(r), len(l.reads))
	}
	type block struct{ slot, offset, size int }
	var slots []int
	for s := range first {
		if l.places[s].kind == placeArena {
			slots = append(slots, s)
		}
	}
	// Larger arrays first: small ones fit into what is left between them.
	slices.SortFunc(slots, func(a, b int) int {
		if l.places[a].size != l.places[b].size {
			return l.places[b].size - l.places[a].size
		}
		return a - b
	})
	var placed []block
	for _, s := range slots {
		need := (max(l.places[s].size, 1) + alignment - 1) / alignment * alignment
		var busy []block
		for _, p := range placed {
			if first[p.slot] <= last[s] && first[s] <= last[p.slot] {
				busy = append(busy, p)
			}
		}
		slices.SortFunc(busy, func(a, b block) int { return a.offset - b.offset })
		offset := 0
		for _, p := range busy {
			if p.offset-offset >= need {
				break
			}
			offset = max(offset, p.offset+p.size)
		}
		l.places[s].offset = offset
		placed = append(placed, block{s, offset, need})
		size = max(size, offset+need)
	}
	for s := range l.places {
		if o := owner(s); o != s {
			l.places[s].offset += l.places[o].offset
		}
	}
	return size
}

// String of places and steps helps when a dump is read.
func (e *executable) String() string {
	var s strings.Builder
	for _, st := range e.steps {
		for _, x := range st.labels {
			fmt.Fprintln(&s, x)
		}
	}
	return s.String()
}

// fallbackFor compiles one node on the Go backend.
func (b *Backend) fallbackFor(n *node) (*fallbackStep, error) {
	builder := b.fallback.Builder(n.op.String())
	f := builder.Main()
	in := make([]value, len(n.in))
	for i, r := range n.in {
		var err error
		if in[i], err = f.Parameter(fmt.Sprintf("x%d", i), r.shape(), nil); err != nil {
			return nil, err
		}
	}
	out, err := n.replay(f, in)
	if err != nil {
		return nil, err
	}
	if err := f.Return(out, nil); err != nil {
		return nil, err
	}
	exec, err := builder.Compile()
	if err != nil {
		return nil, errors.WithMessagef(err, "onednn: fallback of %s", n.op)
	}
	return &fallbackStep{node: n, exec: exec}, nil
}
