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

// momentsShape sees what n reduces as [outer, rows, channels] with moments over rows; ok if the native operation computes that.
func momentsShape(n *node) (outer, rows, channels int, ok bool) {
	x := n.in[0].shape()
	if !floatType(x.DType) || n.out[0].shape().DType != dtypes.Float32 || x.Size() == 0 {
		return 0, 0, 0, false
	}
	return reduceShape(x.Dimensions, n.attr.([]int))
}

func (l *lowering) emitMoments(n *node) bool {
	x := n.in[0]
	outer, rows, channels, ok := momentsShape(n)
	if !ok {
		return false
	}
	s := x.shape()
	in, mean, variance := l.slotOf(x), l.slotOf(n.out[0]), l.slotOf(n.out[1])
	op := C.un_moments(C.int(in), C.int(loadType(s.DType)), C.int64_t(outer), C.int64_t(rows), C.int64_t(channels), C.int(mean), C.int(variance))
	l.add(op, label{kind: "moments", text: s.String()}, []int{in}, []int{mean, variance})
	return true
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

func (l *lowering) emitSoftmax(n *node) bool {
	x, y := n.in[0], n.out[0]
	s := x.shape()
	last := s.Rank() - 1
	if s.DType != dtypes.Float32 || n.attr.(int) != last || s.Size() == 0 {
		return false
	}
	in, out, width := l.slotOf(x), l.slotOf(y), s.Dimensions[last]
	l.add(C.un_softmax(C.int(in), C.int64_t(s.Size()/width), C.int64_t(width), C.int(out)), label{kind: "softmax", text: s.String(), bytes: 2 * float64(byteSize(s))}, []int{in}, []int{out})
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
