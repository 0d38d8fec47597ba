package onednn

/*
#include "native.h"
*/
import "C"

import (
	"fmt"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"

	"github.com/unnoise/unnoise/onednn/internal/cluster"
	"github.com/unnoise/unnoise/onednn/internal/graph"
	"github.com/unnoise/unnoise/onednn/internal/passes"
)

func axisArray[T any](to []T, r *graph.Result, a passes.Axes, f func(dim, stride int) T) {
	s, stride := r.Shape().Dimensions, graph.RowMajor(r.Shape())
	to[0], to[1] = f(s[a.First], stride[a.First]), f(s[a.Second], stride[a.Second])
	for i, axis := range a.Spatial {
		to[2+i] = f(s[axis], stride[axis])
	}
}

func (l *lowering) emitConv(n *graph.Node) bool {
	c := n.Attr.(*passes.Conv)
	var src, weights, dst *graph.Result
	direction := C.UN_CONV_FORWARD
	switch n.Op {
	case graph.OpConv:
		src, weights, dst = n.In[0], n.In[1], n.Out[0]
	case graph.OpConvBackwardData:
		direction = C.UN_CONV_BACKWARD_DATA
		src, weights, dst = n.Out[0], n.In[1], n.In[0]
	default:
		direction = C.UN_CONV_BACKWARD_WEIGHTS
		src, weights, dst = n.In[0], n.Out[0], n.In[1]
	}
	s := C.un_conv_spec{direction: C.int32_t(direction), n_spatial: C.int32_t(len(c.Stride)),
		groups: C.int32_t(c.Groups), batch_groups: C.int32_t(c.BatchGroups), bias: -1,
		src: C.int32_t(l.slotOf(src)), weights: C.int32_t(l.slotOf(weights)), dst: C.int32_t(l.slotOf(dst)),
		src_dtype: loadType(src.Shape().DType), weights_dtype: loadType(weights.Shape().DType),
		dst_dtype: loadType(dst.Shape().DType)}
	reads, writes := l.slotsOf(n.In), l.slotsOf(n.Out)
	if len(n.In) > 2 {
		s.bias, s.bias_dtype = C.int32_t(l.slotOf(n.In[2])), loadType(n.In[2].Shape().DType)
	}
	if len(n.Out) > 1 {
		s.bias, s.bias_dtype = C.int32_t(l.slotOf(n.Out[1])), loadType(n.Out[1].Shape().DType)
	}
	dim, stride := func(d, _ int) C.int64_t { return C.int64_t(d) }, func(_, s int) C.int64_t { return C.int64_t(s) }
	axisArray(s.src_dims[:], src, c.Src, dim)
	axisArray(s.src_strides[:], src, c.Src, stride)
	if c.Groups > 1 { // [groups, output channels, …]
		axisArray(s.weights_dims[1:], weights, c.Weights, dim)
		axisArray(s.weights_strides[1:], weights, c.Weights, stride)
		s.weights_dims[0], s.weights_dims[1] = C.int64_t(c.Groups), s.weights_dims[1]/C.int64_t(c.Groups)
		s.weights_strides[0] = s.weights_dims[1] * s.weights_strides[1]
	} else {
		axisArray(s.weights_dims[:], weights, c.Weights, dim)
		axisArray(s.weights_strides[:], weights, c.Weights, stride)
	}
	axisArray(s.dst_dims[:], dst, c.Dst, dim)
	axisArray(s.dst_strides[:], dst, c.Dst, stride)
	for i := range c.Stride {
		s.stride[i], s.dilation[i] = C.int64_t(c.Stride[i]), C.int64_t(c.Dilation[i])
		s.pad_lo[i], s.pad_hi[i] = C.int64_t(c.PadLo[i]), C.int64_t(c.PadHi[i])
		s.src_spread[i] = C.int64_t(c.Spread[i])
	}
	if c.Gelu {
		s.gelu = 1
	}
	if l.backend.portable {
		s.portable = 1
	}
	if n.Op != graph.OpConvBackwardWeights && l.isPrepared(weights) {
		s.weights_prepared = 1
	}
	scratch := l.scratch()
	var op *C.un_op
	var bytes C.size_t
	if !l.backend.without["winograd"] {
		op = C.un_winograd_conv(&s, C.int(scratch), &bytes)
	}
	if op == nil && !l.backend.without["gradient"] {
		op = C.un_bf16_gradient(&s, C.int(scratch), &bytes)
	}
	if op == nil && !l.backend.without["single"] {
		op = C.un_single_conv(&s, C.int(scratch), &bytes)
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
	if n.Op != graph.OpConvBackwardWeights && l.packs(weights, op) {
		at := slices.Index(reads, int(s.weights)) // one of two where the weights are the source too
		reads = slices.Delete(reads, at, at+1)
	}
	kind := map[compute.OpType]string{graph.OpConv: "convolution",
		graph.OpConvBackwardData:    "convolution backward data",
		graph.OpConvBackwardWeights: "convolution backward weights"}[n.Op]
	x := label{kind: kind, text: fmt.Sprintf("%s × %s stride %v%s (%s)", src.Shape(), weights.Shape(), c.Stride,
		map[bool]string{true: " GELU"}[c.Gelu], implementation(op))}
	// Each pixel of the destination meets each weight once, for its output channel.
	x.flops = 2 * float64(dst.Shape().Size()) * float64(weights.Shape().Size()) / float64(
		weights.Shape().Dimensions[c.Weights.First])
	x.bytes = float64(graph.ByteSize(src.Shape()) + graph.ByteSize(weights.Shape()) + graph.ByteSize(dst.Shape()))
	l.add(op, x, reads, writes)
	if own && c.Gelu {
		size := dst.Shape().Size()
		p := &cluster.Program{Dims: []int{size}, Registers: 2, In: []cluster.Input{{Array: dst, Stride: []int{1}}},
			Code: []cluster.Instruction{{Op: cluster.OpGelu, Dst: 1}},
			Out:  []cluster.Output{{Array: dst, Register: 1, Stride: []int{1}}}}
		l.add(nativeOf(p, l.slotOf, !l.backend.without["code"]),
			label{kind: "cluster", text: fmt.Sprintf("GELU %s", dst.Shape())}, l.slotsOf(n.Out), l.slotsOf(n.Out))
	}
	return true
}

// hasBF16Gradient reports whether the C compiler knew the instructions of gradient.c.
const hasBF16Gradient = C.UN_HAS_BF16_GRADIENT != 0

// oneDNN makes an operation of the library, unless the backend does without it.
func (l *lowering) oneDNN(create func(problem **C.char) *C.un_op) *C.un_op {
	if l.backend.portable {
		return nil
	}
	var problem *C.char
	return create(&problem)
}

func implementation(op *C.un_op) string {
	if name := C.un_implementation(op); name != nil {
		return C.GoString(name)
	}
	return "own, " + ownISA()
}

// emitDot emits a product as one of matrices [batch…, M, K]·[batch…, K, N].
func (l *lowering) emitDot(n *graph.Node) bool {
	if !graph.FloatOperands(n) {
		return false
	}
	a := n.Attr.(graph.DotArgs)
	lhs, rhs, out := n.In[0].Shape(), n.In[1].Shape(), n.Out[0].Shape()
	lFree, rFree := axesBut(lhs.Rank(), a.LhsBatch, a.LhsContracting), axesBut(rhs.Rank(), a.RhsBatch, a.RhsContracting)
	if max(lhs.Rank(), rhs.Rank()) > C.UN_MAX_DIMS || len(a.LhsBatch) > 4 {
		return false
	}
	x, xStride := l.matrices(n.In[0], a.LhsBatch, lFree, a.LhsContracting)
	w, wStride := l.matrices(n.In[1], a.RhsBatch, rFree, a.RhsContracting)
	m, mStride, _ := merged(lhs, xStride, lFree)
	k, xkStride, _ := merged(lhs, xStride, a.LhsContracting)
	_, wkStride, _ := merged(rhs, wStride, a.RhsContracting)
	columns, nStride, _ := merged(rhs, wStride, rFree)

	y := l.slotOf(n.Out[0])
	s := C.un_matmul_spec{a: C.int32_t(x), b: C.int32_t(w), c: C.int32_t(y), a_dtype: loadType(lhs.DType),
		b_dtype: loadType(rhs.DType), c_dtype: loadType(out.DType)}
	add := func(da, db, dc, sa, sb, sc int) {
		i := s.n_dims
		s.n_dims++
		s.a_dims[i], s.b_dims[i], s.c_dims[i] = C.int64_t(da), C.int64_t(db), C.int64_t(dc)
		// Where a dimension is 1 any stride will do; a regular one keeps oneDNN on its fast paths.
		s.a_strides[i], s.b_strides[i], s.c_strides[i] = C.int64_t(max(sa, 1)), C.int64_t(max(sb, 1)),
			C.int64_t(max(sc, 1))
	}
	if w == l.slotOf(n.In[1]) && l.isPrepared(n.In[1]) {
		s.b_prepared = 1
	}
	batch, stride := 1, out.Size()
	for i := 0; i < len(a.LhsBatch); {
		// As many axes as are one for both.
		end := i + 1
		for end < len(a.LhsBatch) {
			_, _, ok1 := merged(lhs, xStride, a.LhsBatch[i:end+1])
			_, _, ok2 := merged(rhs, wStride, a.RhsBatch[i:end+1])
			if !ok1 || !ok2 {
				break
			}
			end++
		}
		d, sa, _ := merged(lhs, xStride, a.LhsBatch[i:end])
		_, sb, _ := merged(rhs, wStride, a.RhsBatch[i:end])
		i = end
		batch, stride = batch*d, stride/d
		add(d, d, d, sa, sb, stride)
	}
	if len(a.LhsBatch) == 0 {
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
	if s.b_prepared != 0 && l.packs(n.In[1], op) {
		reads = []int{x}
	}
	about := label{kind: "product", text: fmt.Sprintf("%d×[%d %d]·[%d %d] (%s)", batch, m, k, k, columns,
		implementation(op))}
	about.flops = 2 * float64(batch*m) * float64(k) * float64(columns)
	about.bytes = float64(graph.ByteSize(n.In[0].Shape()) + graph.ByteSize(n.In[1].Shape()) +
		graph.ByteSize(n.Out[0].Shape()))
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

// matrices returns a slot with r's values and the stride of each of r's axes there, such that its free and its
// contracting axes can each be seen as one: r's own slot, or else a copy.
func (l *lowering) matrices(r *graph.Result, batch, free, contracting []int) (slot int, strides []int) {
	slot, strides = l.slotOf(r), graph.RowMajor(r.Shape())
	_, _, ok1 := merged(r.Shape(), strides, free)
	_, _, ok2 := merged(r.Shape(), strides, contracting)
	if ok1 && ok2 {
		return slot, strides
	}
	order := slices.Concat(batch, free, contracting)
	var dims, from []int
	for _, axis := range order {
		dims, from = append(dims, r.Shape().Dimensions[axis]), append(from, strides[axis])
	}
	to := graph.RowMajor(shapes.Make(r.Shape().DType, dims...))
	dense := make([]int, len(order))
	for i, axis := range order {
		dense[axis] = to[i]
	}
	scratch := l.scratch()
	l.places[scratch].size = graph.ByteSize(r.Shape())
	l.copyOp(fmt.Sprintf("Transpose %s for a product", r.Shape()), r.Shape().DType.Size(), dims, slot, 0, from, scratch,
		0, to)
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
