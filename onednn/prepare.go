package onednn

/*
#include "native.h"
*/
import "C"

import (
	"runtime"
	"slices"
	"sync"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/pkg/errors"

	"github.com/unnoise/unnoise/onednn/internal/cluster"
	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// What convolutions and products read as weights often depends on parameters alone: conversions to a narrow type,
// scales folded in, oneDNN's own layout. Such work stands first in the program, its results have memory of their own,
// and an execution leaves it out when it gets the very buffers of the execution before, all of them frozen; see
// Buffer.Freeze.
//
// Where oneDNN wants a frozen parameter itself in a layout of its own, that copy, packed, is the buffer's, and all
// executables that want the same layout share it. A parameter that is read in no other way need not be in memory; see
// Backend.BufferFrom.

// prepared is the set of nodes that run only when parameters change, and the parameters that they and the convolutions'
// weights depend on.
type prepared struct {
	nodes         map[*graph.Node]bool
	params        map[int]bool
	size          int // of their results, in bytes
	preparedSteps int // how many steps they take
}

// findPrepared chooses the nodes and moves their units to the front.
func (l *lowering) findPrepared() {
	l.prepared = prepared{nodes: map[*graph.Node]bool{}, params: map[int]bool{}}
	static, wanted := map[*graph.Node]bool{}, map[*graph.Node]bool{}
	for _, n := range l.graph.Nodes {
		switch n.Op {
		case compute.OpTypeParameter, compute.OpTypeConstant:
			static[n] = true
		case compute.OpTypeReshape, compute.OpTypeBroadcastInDim, compute.OpTypeSlice, compute.OpTypeTranspose,
			compute.OpTypeReverse, compute.OpTypeConcatenate, compute.OpTypePad:
			static[n] = allIn(n.In, static)
		case graph.OpConv, graph.OpConvBackwardData, compute.OpTypeDotGeneral:
			for _, r := range n.In[1:] {
				wanted[r.Node] = wanted[r.Node] || static[r.Node]
			}
		default:
			static[n] = cluster.Fusable(n) && allIn(n.In, static)
		}
	}
	for _, n := range slices.Backward(l.graph.Nodes) {
		if wanted[n] {
			for _, r := range n.In {
				wanted[r.Node] = true
			}
			if n.Op == compute.OpTypeParameter {
				l.prepared.params[n.Attr.(int)] = true
			}
		}
	}
	output := map[*graph.Node]bool{}
	for _, r := range l.graph.Outputs {
		root, _ := l.root(r)
		output[r.Node], output[root.Node] = true, true
	}
	ready := map[*graph.Node]bool{}
	for n := range static {
		ready[n] = n.Op == compute.OpTypeParameter || n.Op == compute.OpTypeConstant
	}
	var first, rest []cluster.Unit
	for _, u := range l.units {
		nodes := []*graph.Node{u.Node}
		if u.Cluster != nil {
			nodes = u.Cluster.Nodes
		}
		now := u.Cluster == nil || len(u.Cluster.Sums) == 0
		inside := map[*graph.Node]bool{}
		for _, n := range nodes {
			inside[n] = true
		}
		for _, n := range nodes {
			now = now && wanted[n] && static[n] && !output[n]
			for _, r := range n.In {
				now = now && (inside[r.Node] || ready[r.Node])
			}
		}
		if !now {
			rest = append(rest, u)
			continue
		}
		for _, n := range nodes {
			ready[n], l.prepared.nodes[n] = true, true
		}
		first = append(first, u)
	}
	l.units = append(first, rest...)
}

func allIn(list []*graph.Result, set map[*graph.Node]bool) bool {
	return !slices.ContainsFunc(list, func(r *graph.Result) bool { return !set[r.Node] })
}

// isPrepared reports whether r's values stand in a parameter or among the prepared results.
func (l *lowering) isPrepared(r *graph.Result) bool {
	root, _ := l.root(r)
	if l.prepared.nodes[root.Node] {
		return true
	}
	if root.Node.Op == compute.OpTypeParameter {
		return l.prepared.params[root.Node.Attr.(int)]
	}
	return false
}

// preparedFor reports whether the prepared results are those of these inputs, and takes note of the inputs.
func (e *executable) preparedFor(in []*Buffer) bool {
	same := e.lastParams != nil
	for i, p := range e.preparedParams {
		if !in[p].frozen.Load() {
			e.lastParams = nil
			return false
		}
		same = same && e.lastParams[i] == in[p]
	}
	if !same {
		e.lastParams = make([]*Buffer, len(e.preparedParams))
		for i, p := range e.preparedParams {
			e.lastParams[i] = in[p]
		}
	}
	return same
}

// packing is an operation that wants a parameter in a layout of oneDNN's.
type packing struct {
	param int
	op    *C.un_op
}

// packs reports whether op has r, a whole parameter, packed, and takes note of it.
func (l *lowering) packs(r *graph.Result, op *C.un_op) bool {
	root, shift := l.root(r)
	if root.Node.Op != compute.OpTypeParameter || shift != 0 || !l.isPrepared(r) || C.un_packs(op) == 0 {
		return false
	}
	l.packings = append(l.packings, packing{root.Node.Attr.(int), op})
	return true
}

// pack gives the operations their packed weights. Where a buffer isn't frozen, they pack it in every run.
func (e *executable) pack(in []*Buffer) error {
	for _, p := range e.packings {
		b := in[p.param]
		if !b.frozen.Load() {
			C.un_use_packed(p.op, nil)
			e.read[p.param] = true
			continue
		}
		if err := b.packFor(p.op); err != nil {
			return errors.WithMessagef(err, "onednn: %q: packing %q", e.name, e.graph.Names[p.param])
		}
	}
	return nil
}

// packedCopies are a buffer's values in layouts of oneDNN's, in memory outside Go's heap.
type packedCopies struct {
	mu   sync.Mutex
	list []*C.un_packed
}

func (p *packedCopies) free() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, copied := range p.list {
		C.un_free_packed(copied)
	}
	p.list = nil
}

// packFor gives an operation the buffer's values in the layout that it wants.
func (b *Buffer) packFor(op *C.un_op) error {
	if b.packed == nil {
		b.packed = &packedCopies{}
		runtime.AddCleanup(b, (*packedCopies).free, b.packed) // where nobody calls Finalize
	}
	b.packed.mu.Lock()
	defer b.packed.mu.Unlock()
	for _, have := range b.packed.list {
		if C.un_use_packed(op, have) != 0 {
			return nil
		}
	}
	return b.use(func(values []byte) error {
		var problem *C.char
		packed := C.un_pack(op, unsafe.Pointer(unsafe.SliceData(values)), &problem)
		if packed == nil {
			return errors.New(C.GoString(problem))
		}
		b.packed.list = append(b.packed.list, packed)
		C.un_use_packed(op, packed)
		return nil
	})
}
