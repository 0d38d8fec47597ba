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
)

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
	if l.backend.portable {
		s.portable = 1
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
	if n.op != opConvBackwardWeights && l.packs(weights, op) {
		at := slices.Index(reads, int(s.weights)) // one of two where the weights are the source too
		reads = slices.Delete(reads, at, at+1)
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

// hasBF16Gradient tells whether the C compiler knew the instructions of gradient.c.
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
	if w == l.slotOf(n.in[1]) && l.isPrepared(n.in[1]) {
		s.b_prepared = 1
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
	if s.b_prepared != 0 && l.packs(n.in[1], op) {
		reads = []int{x}
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
