package onednn

/*
#include "native.h"
*/
import "C"

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/pkg/errors"

	"github.com/unnoise/unnoise/onednn/internal/cluster"
	"github.com/unnoise/unnoise/onednn/internal/graph"
)

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
	node    *graph.Node
	exec    compute.Executable
	in, out []int // slots
}

type lowering struct {
	backend *Backend
	graph   *graph.Graph
	units   []cluster.Unit
	slot    map[*graph.Result]int
	places  []place
	alias   map[*graph.Result]*graph.Result // a result that is another's array, or part of it
	shift   map[*graph.Result]int           // by how many bytes it starts later
	steps   []step
	reads   [][]int // by unit emitted: slots read and written, for liveness
	writes  [][]int
	keep    func(*graph.Result) bool
	parts   map[*graph.Result][]cluster.Part
	placed  map[*graph.Node][]bool // which operands of a concatenation their makers put in place
	prepared
	packings []packing
	cut      bool // the next operation begins a step
}

// lower turns the graph into native operations and plans their memory.
func lower(b *Backend, name string, g *graph.Graph) (_ *executable, err error) {
	l := &lowering{backend: b, graph: g, slot: map[*graph.Result]int{}, alias: map[*graph.Result]*graph.Result{},
		shift: map[*graph.Result]int{}}
	defer func() {
		if err != nil {
			l.release()
		}
	}()
	limit := cluster.MaxNodes
	if b.without["fusion"] {
		limit = 1
	}
	l.units = cluster.Fuse(g, limit)
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
	for _, r := range g.Outputs {
		e.outputSlots = append(e.outputSlots, l.slotOf(r))
	}
	e.read, e.own, e.values = make([]bool, len(g.Params)), make([]bool, len(g.Params)), make([][]byte, len(g.Params))
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
func (l *lowering) root(r *graph.Result) (*graph.Result, int) {
	shift := 0
	for l.alias[r] != nil {
		shift += l.shift[r]
		r = l.alias[r]
	}
	return r, shift
}

// findAliases marks results that need no work: reshapes, and slices that are one piece of their operand.
func (l *lowering) findAliases() {
	for _, n := range l.graph.Nodes {
		switch n.Op {
		case compute.OpTypeReshape, compute.OpTypeSchedulingBarrier:
			l.alias[n.Out[0]] = n.In[0]
		case compute.OpTypeBitcast:
			if graph.ByteSize(n.Out[0].Shape()) == graph.ByteSize(n.In[0].Shape()) &&
				!n.In[0].Shape().DType.IsPacked() && !n.Out[0].Shape().DType.IsPacked() {
				l.alias[n.Out[0]] = n.In[0]
			}
		case compute.OpTypeBroadcastInDim, compute.OpTypeTranspose:
			if n.Out[0].Shape().Size() == n.In[0].Shape().Size() &&
				(n.Op == compute.OpTypeBroadcastInDim || movesOnlyOnes(n)) {
				l.alias[n.Out[0]] = n.In[0]
			}
		case compute.OpTypeSlice:
			a := n.Attr.(graph.SliceArgs)
			in, stride := n.In[0].Shape(), graph.RowMajor(n.In[0].Shape())
			whole, offset, piece := true, 0, n.Out[0].Shape().Size() > 0 && !in.DType.IsPacked()
			for i := in.Rank() - 1; i >= 0; i-- {
				length := a.Limits[i] - a.Starts[i]
				if !whole && length != 1 || len(a.Strides) > 0 && a.Strides[i] != 1 && length != 1 {
					piece = false
				}
				if length != in.Dimensions[i] {
					whole = false
				}
				offset += a.Starts[i] * stride[i]
			}
			if piece {
				l.alias[n.Out[0]], l.shift[n.Out[0]] = n.In[0], offset*in.DType.Size()
			}
		}
	}
}

// movesOnlyOnes reports whether a transposition leaves the order of all axes longer than 1.
func movesOnlyOnes(n *graph.Node) bool {
	previous := -1
	for _, from := range n.Attr.([]int) {
		if n.In[0].Shape().Dimensions[from] == 1 {
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
	for _, n := range l.graph.Nodes {
		switch n.Op {
		case compute.OpTypeParameter:
			l.put(n.Out[0], place{kind: placeParam, index: n.Attr.(int)})
		case compute.OpTypeConstant:
			l.put(n.Out[0], place{kind: placeConstant, data: n.Attr.([]byte)})
		}
	}
	for i, r := range l.graph.Outputs {
		root, shift := l.root(r)
		if _, placed := l.slot[root]; !placed && shift == 0 &&
			graph.ByteSize(root.Shape()) == graph.ByteSize(r.Shape()) {
			l.put(root, place{kind: placeOutput, index: i})
		}
	}
}

func (l *lowering) put(r *graph.Result, p place) int {
	s := len(l.places)
	p.size = graph.ByteSize(r.Shape())
	l.places = append(l.places, p)
	l.slot[r] = s
	return s
}

// slotOf returns the slot of r's values, a new one in the arena if it has none.
func (l *lowering) slotOf(r *graph.Result) int {
	if s, ok := l.slot[r]; ok {
		return s
	}
	root, shift := l.root(r)
	if root == r {
		if !l.prepared.nodes[r.Node] {
			return l.put(r, place{kind: placeArena})
		}
		p := place{kind: placePrepared, offset: l.prepared.size}
		l.prepared.size += (graph.ByteSize(r.Shape()) + alignment - 1) / alignment * alignment
		return l.put(r, p)
	}
	s := l.slotOf(root)
	if shift == 0 {
		return s
	}
	p := l.places[s]
	p.offset += shift
	p.size = graph.ByteSize(r.Shape())
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
	owner := map[*graph.Node]int{}
	fused := map[*graph.Node]bool{} // element-wise nodes of clusters
	for i, u := range l.units {
		if u.Cluster != nil {
			for _, n := range u.Cluster.Nodes {
				owner[n], fused[n] = i+1, true
			}
			for _, n := range u.Cluster.Sums {
				owner[n] = i + 1
			}
		}
	}
	// What is read other than by its own cluster must be stored; but what a cluster reads of broadcasts and slices is
	// the array behind them, and what it makes for concatenations goes where it belongs.
	stored, spread := map[*graph.Result]bool{}, map[*graph.Result]bool{}
	store := func(r *graph.Result) {
		root, _ := l.root(r)
		stored[root], stored[r] = true, true
		spread[root], spread[r] = true, true
	}
	for _, r := range l.graph.Outputs {
		store(r)
	}
	l.parts, l.placed = map[*graph.Result][]cluster.Part{}, map[*graph.Node][]bool{}
	for _, n := range l.graph.Nodes {
		// with empty ones the fallback does it
		if n.Op == compute.OpTypeConcatenate && owner[n] == 0 && !slices.ContainsFunc(n.In, (*graph.Result).IsEmpty) {
			l.placed[n] = make([]bool, len(n.In))
			axis, at := n.Attr.(int), 0
			step := graph.RowMajor(n.Out[0].Shape())[axis]
			for i, r := range n.In {
				if s := r.Shape(); fused[r.Node] && s.Dimensions[s.Rank()-1] > 1 &&
					l.prepared.nodes[n] == l.prepared.nodes[r.Node] {
					l.parts[r] = append(l.parts[r], cluster.Part{Whole: n.Out[0], Offset: at * step})
					l.placed[n][i] = true
				}
				at += r.Shape().Dimensions[axis]
			}
		}
	}
	for _, n := range slices.Backward(l.graph.Nodes) { // who reads n is known by now
		for i, r := range n.In {
			switch {
			case l.placed[n] != nil && l.placed[n][i]:
			// both are looked through
			case n.Op == compute.OpTypeBroadcastInDim && r.Node.Op == compute.OpTypeBroadcastInDim && !spread[n.Out[0]]:
			case owner[n] == 0:
				store(r)
			case owner[r.Node] != owner[n]:
				root, _ := l.root(r)
				stored[root], stored[r] = true, true
			}
		}
	}
	for _, n := range slices.Backward(l.graph.Nodes) { // a broadcast that is made reads what it spreads
		if n.Op == compute.OpTypeBroadcastInDim && spread[n.Out[0]] {
			store(n.In[0])
		}
	}
	l.keep = func(r *graph.Result) bool { return stored[r] }
	first := true
	for _, u := range l.units {
		if first && !(u.Cluster != nil && l.prepared.nodes[u.Cluster.Nodes[0]] || u.Node != nil &&
			l.prepared.nodes[u.Node]) {
			first, l.cut, l.preparedSteps = false, true, len(l.steps)
		}
		if u.Cluster != nil {
			l.emitCluster(u.Cluster)
			continue
		}
		n := u.Node
		if n.Op == compute.OpTypeParameter || n.Op == compute.OpTypeConstant || len(n.Out) == 1 &&
			l.alias[n.Out[0]] != nil {
			continue
		}
		if (n.Op == compute.OpTypeBroadcastInDim || n.Op == compute.OpTypeSlice) && !spread[n.Out[0]] {
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

// The native side walks as many axes as the passes count on.
var _ = [1]struct{}{}[C.UN_MAX_DIMS-graph.MaxRank]

func (l *lowering) slotsOf(list []*graph.Result) []int {
	s := make([]int, len(list))
	for i, r := range list {
		s[i] = l.slotOf(r)
	}
	return s
}

// emitNode emits a node that is not element-wise: natively where that is possible, else on the fallback.
func (l *lowering) emitNode(n *graph.Node) error {
	zero := slices.ContainsFunc(append(slices.Clone(n.In), n.Out...),
		func(r *graph.Result) bool { return r.IsEmpty() || r.Shape().DType.IsPacked() })
	if !zero && l.emitNative(n) {
		return nil
	}
	f, err := l.backend.fallbackFor(n)
	if err != nil {
		return err
	}
	f.in, f.out = l.slotsOf(n.In), l.slotsOf(n.Out)
	l.steps = append(l.steps,
		step{fallback: f, labels: []label{{kind: "fallback", text: fmt.Sprintf("%s %s", n.Op, n.Out[0].Shape())}}})
	l.reads, l.writes = append(l.reads, f.in), append(l.writes, f.out)
	return nil
}

func (l *lowering) emitNative(n *graph.Node) bool {
	switch n.Op {
	case graph.OpConv, graph.OpConvBackwardData, graph.OpConvBackwardWeights:
		return l.emitConv(n)
	case compute.OpTypeDotGeneral:
		return l.emitDot(n)
	case graph.OpMoments:
		return l.emitMoments(n)
	case compute.OpTypeReduceSum, compute.OpTypeReduceMax, compute.OpTypeReduceMin, compute.OpTypeReduceProduct:
		return l.emitReduce(n)
	case compute.OpTypeFusedSoftmax:
		return l.emitSoftmax(n)
	case compute.OpTypeFusedScaledDotProductAttention:
		return l.emitAttention(n)
	case compute.OpTypeTranspose, compute.OpTypeBroadcastInDim, compute.OpTypeReverse, compute.OpTypeSlice,
		compute.OpTypeConcatenate, compute.OpTypePad:
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
func (b *Backend) fallbackFor(n *graph.Node) (*fallbackStep, error) {
	builder := b.fallback.Builder(n.Op.String())
	f := builder.Main()
	in := make([]graph.Value, len(n.In))
	for i, r := range n.In {
		var err error
		if in[i], err = f.Parameter(fmt.Sprintf("x%d", i), r.Shape(), nil); err != nil {
			return nil, err
		}
	}
	out, err := n.Replay(f, in)
	if err != nil {
		return nil, err
	}
	if err := f.Return(out, nil); err != nil {
		return nil, err
	}
	exec, err := builder.Compile()
	if err != nil {
		return nil, errors.WithMessagef(err, "onednn: fallback of %s", n.Op)
	}
	return &fallbackStep{node: n, exec: exec}, nil
}
