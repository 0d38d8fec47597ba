package onednn

/*
#include "native.h"
*/
import "C"

import (
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/onednn/internal/graph"
)

func (l *lowering) emitMoments(n *graph.Node) bool {
	x := n.In[0]
	outer, rows, channels, ok := graph.MomentsShape(n)
	if !ok {
		return false
	}
	s := x.Shape()
	in, mean, variance := l.slotOf(x), l.slotOf(n.Out[0]), l.slotOf(n.Out[1])
	op := C.un_moments(C.int(in), C.int(loadType(s.DType)), C.int64_t(outer), C.int64_t(rows), C.int64_t(channels),
		C.int(mean), C.int(variance))
	l.add(op, label{kind: "moments", text: s.String()}, []int{in}, []int{mean, variance})
	return true
}

var reduceKinds = map[compute.OpType]C.int{
	compute.OpTypeReduceSum: C.UN_REDUCE_SUM, compute.OpTypeReduceMax: C.UN_REDUCE_MAX,
	compute.OpTypeReduceMin: C.UN_REDUCE_MIN, compute.OpTypeReduceProduct: C.UN_REDUCE_PRODUCT,
}

func (l *lowering) emitReduce(n *graph.Node) bool {
	x, y := n.In[0], n.Out[0]
	if !graph.IsFloat(x.Shape().DType) || !graph.IsFloat(y.Shape().DType) {
		return false
	}
	outer, mid, inner, ok := graph.ReduceShape(x.Shape().Dimensions, n.Attr.([]int))
	if !ok {
		return false
	}
	in, out := l.slotOf(x), l.slotOf(y)
	op := C.un_reduce(reduceKinds[n.Op], C.int(in), C.int(loadType(x.Shape().DType)), C.int64_t(outer), C.int64_t(mid),
		C.int64_t(inner),
		C.int(out), C.int(loadType(y.Shape().DType)))
	l.add(op, label{kind: "reduction", text: fmt.Sprintf("%s %s over %v", n.Op, x.Shape(), n.Attr)}, []int{in},
		[]int{out})
	return true
}

func (l *lowering) emitSoftmax(n *graph.Node) bool {
	x, y := n.In[0], n.Out[0]
	s := x.Shape()
	last := s.Rank() - 1
	if s.DType != dtypes.Float32 || n.Attr.(int) != last || s.Size() == 0 {
		return false
	}
	in, out, width := l.slotOf(x), l.slotOf(y), s.Dimensions[last]
	l.add(C.un_softmax(C.int(in), C.int64_t(s.Size()/width), C.int64_t(width), C.int(out)),
		label{kind: "softmax", text: s.String(), bytes: 2 * float64(graph.ByteSize(s))}, []int{in}, []int{out})
	return true
}
