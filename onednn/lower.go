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

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"
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
	packings []packing
	cut      bool // the next operation begins a step
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
	e.packings = l.packings
	for _, r := range g.outputs {
		e.outputSlots = append(e.outputSlots, l.slotOf(r))
	}
	e.read, e.own, e.values = make([]bool, len(g.params)), make([]bool, len(g.params)), make([][]byte, len(g.params))
	for _, slots := range append(l.reads, e.outputSlots) {
		for _, s := range slots {
			if p := l.places[s]; p.kind == placeParam {
				e.read[p.index] = true
			}
		}
	}
	b.live[e] = true
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
		if n.op == compute.OpTypeConcatenate && owner[n] == 0 && !slices.ContainsFunc(n.in, (*result).isEmpty) { // with empty ones the fallback does it
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

func loadType(d dtypes.DType) C.int32_t {
	if d == dtypes.Int32 {
		return C.UN_I32
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
	zero := slices.ContainsFunc(append(slices.Clone(n.in), n.out...), func(r *result) bool { return r.isEmpty() || r.shape().DType.IsPacked() })
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
	case opMoments:
		return l.emitMoments(n)
	case compute.OpTypeReduceSum, compute.OpTypeReduceMax, compute.OpTypeReduceMin, compute.OpTypeReduceProduct:
		return l.emitReduce(n)
	case compute.OpTypeFusedSoftmax:
		return l.emitSoftmax(n)
	case compute.OpTypeFusedScaledDotProductAttention:
		return l.emitAttention(n)
	case compute.OpTypeTranspose, compute.OpTypeBroadcastInDim, compute.OpTypeReverse, compute.OpTypeSlice, compute.OpTypeConcatenate, compute.OpTypePad:
		return l.emitMove(n)
	}
	return false
}

func cInts(v []int) []C.int64_t {
	c := make([]C.int64_t, len(v)+1)
	for i, x := range v {
		c[i] = C.int64_t(x)
	}
	return c
}

// scratch returns a slot in the arena that holds no result. Its size is yet to be set.
func (l *lowering) scratch() int {
	l.places = append(l.places, place{kind: placeArena})
	return len(l.places) - 1
}

// String lists the steps.
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
