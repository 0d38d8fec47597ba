package onednn

/*
#include "native.h"
*/
import "C"

import (
	"fmt"
	"slices"
	"unsafe"

	"github.com/gomlx/compute"

	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// copyOp adds a strided copy.
func (l *lowering) copyOp(what string, size int, dims []int, src, srcOffset int, srcStride []int, dst, dstOffset int,
	dstStride []int) {
	d, ss, ds := cInts(dims), cInts(srcStride), cInts(dstStride)
	op := C.un_copy(C.int(size), C.int(len(dims)), &d[0], C.int(src), C.int64_t(srcOffset), &ss[0], C.int(dst),
		C.int64_t(dstOffset), &ds[0])
	n := 2 * size
	for _, d := range dims {
		n *= d
	}
	l.add(op, label{kind: "movement", text: what, bytes: float64(n)}, []int{src}, []int{dst})
}

// emitMove emits data movement as strided copies.
func (l *lowering) emitMove(n *graph.Node) bool {
	out := n.Out[0].Shape()
	size := out.DType.Size()
	if out.Rank() > C.UN_MAX_DIMS || size != 1 && size != 2 && size != 4 && size != 8 {
		return false
	}
	dst, dstStride := l.slotOf(n.Out[0]), graph.RowMajor(out)
	what := fmt.Sprintf("%s %s", n.Op, out)
	in := n.In[0].Shape()
	stride := graph.RowMajor(in)
	switch n.Op {
	case compute.OpTypeConcatenate:
		axis, at := n.Attr.(int), 0
		for i, r := range n.In {
			s := r.Shape()
			if s.Size() > 0 && !l.placed[n][i] {
				l.copyOp(what, size, s.Dimensions, l.slotOf(r), 0, graph.RowMajor(s), dst, at*dstStride[axis],
					dstStride)
			}
			at += s.Dimensions[axis]
		}
		return true
	case compute.OpTypePad:
		axes := n.Attr.([]compute.PadAxis)
		fill, ok := n.In[1].Node.Attr.([]byte)
		if n.In[1].Node.Op != compute.OpTypeConstant || !ok {
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
		l.add(C.un_fill(C.int(size), unsafe.Pointer(&fill[0]), C.int64_t(out.Size()), C.int(dst)),
			label{kind: "movement", text: what + " fill"}, nil, []int{dst})
		l.copyOp(what, size, in.Dimensions, l.slotOf(n.In[0]), 0, stride, dst, offset, step)
		return true
	}
	src := l.slotOf(n.In[0])
	srcStride, offset := make([]int, out.Rank()), 0
	switch n.Op {
	case compute.OpTypeTranspose:
		for i, from := range n.Attr.([]int) {
			srcStride[i] = stride[from]
		}
	case compute.OpTypeBroadcastInDim:
		for i, axis := range n.Attr.([]int) {
			if in.Dimensions[i] != 1 {
				srcStride[axis] = stride[i]
			}
		}
	case compute.OpTypeReverse:
		copy(srcStride, stride)
		for _, axis := range n.Attr.([]int) {
			offset += (in.Dimensions[axis] - 1) * stride[axis]
			srcStride[axis] = -stride[axis]
		}
	case compute.OpTypeSlice:
		a := n.Attr.(graph.SliceArgs)
		for i := range stride {
			srcStride[i] = stride[i]
			if len(a.Strides) > 0 {
				srcStride[i] *= a.Strides[i]
			}
			offset += a.Starts[i] * stride[i]
		}
	}
	l.copyOp(what, size, out.Dimensions, src, offset, srcStride, dst, 0, dstStride)
	return true
}
