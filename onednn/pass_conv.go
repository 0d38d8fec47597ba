package onednn

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
)

// Operations that passes and batch normalization make. They are numbered after GoMLX's own.
const (
	opConvBackwardData compute.OpType = compute.OpTypeLast + 1 + iota
	opConvBackwardWeights
	opConv    // a forward convolution, perhaps with a bias
	opMoments // mean and biased variance over the axes of attr
	opGeluGradient
)

// opName names an operation in dumps and profiles.
func opName(op compute.OpType) string {
	switch op {
	case opConvBackwardData:
		return "ConvBackwardData"
	case opConvBackwardWeights:
		return "ConvBackwardWeights"
	case opConv:
		return "Conv"
	case opMoments:
		return "Moments"
	case opGeluGradient:
		return "GeluGradient"
	}
	return op.String()
}

// conv describes a convolution as oneDNN sees it, whatever it computes: which axes of the three arrays are what, and
// the geometry of the forward direction.
type conv struct {
	src, weights, dst              axes
	stride, dilation, padLo, padHi []int
	spread                         []int // dilation of the source, only forward
	groups, batchGroups            int
	gelu                           bool // the result's GELU, only forward
}

// axes names the axes of an array: batch and channels, or output and input channels for weights; then the spatial ones.
type axes struct {
	first, second int
	spatial       []int
}

func ones(n int) []int { return slices.Repeat([]int{1}, n) }

func orOnes(v []int, n int) []int {
	if len(v) == 0 {
		return ones(n)
	}
	return v
}

func floatConv(n *node) bool {
	for _, r := range append(slices.Clone(n.in[:2]), n.out[0]) {
		switch r.shape().DType {
		case dtypes.Float32, dtypes.BFloat16, dtypes.Float16:
		default:
			return false
		}
		if r.shape().Size() == 0 {
			return false
		}
	}
	return n.in[0].shape().DType == n.in[1].shape().DType
}

// foldConvolutionGradients turns every convolution into one of oneDNN's three kinds. GoMLX writes the gradient for the
// input as a convolution of the gradient (dilated by the stride) with the reversed kernel, its channels swapped, and
// the gradient for the kernel as one whose batch and channel axes are swapped and whose window is the gradient.
//
//	%k = Reverse %w; %dx = ConvGeneral %dy %k {inputDilations: stride, …}   →   %dx = backward data %dy %w {stride, …}
//	%dw = ConvGeneral %x %dy {batch ↔ channels, kernelDilations: stride}    →   %dw = backward weights %x %dy {stride, …}
func foldConvolutionGradients(g *graph) {
	for _, n := range g.nodes {
		if n.op != compute.OpTypeConvGeneral || !floatConv(n) {
			continue
		}
		a := n.attr.(convArgs)
		nd := len(a.axes.InputSpatial)
		if nd < 1 || nd > 3 {
			continue
		}
		c := &conv{
			src:      axes{a.axes.InputBatch, a.axes.InputChannels, a.axes.InputSpatial},
			weights:  axes{a.axes.KernelOutputChannels, a.axes.KernelInputChannels, a.axes.KernelSpatial},
			dst:      axes{a.axes.OutputBatch, a.axes.OutputChannels, a.axes.OutputSpatial},
			stride:   orOnes(a.strides, nd),
			dilation: orOnes(a.kernelDilations, nd),
			spread:   orOnes(a.inputDilations, nd),
			groups:   max(a.channelGroups, 1), batchGroups: max(a.batchGroups, 1),
		}
		pads := a.paddings
		if len(pads) == 0 {
			pads = make([][2]int, nd)
		}
		for _, p := range pads {
			c.padLo, c.padHi = append(c.padLo, p[0]), append(c.padHi, p[1])
		}
		in, kernel, out := n.in[0].shape().Dimensions, n.in[1].shape().Dimensions, n.out[0].shape().Dimensions
		dense := slices.Equal(c.spread, ones(nd))
		grouped := c.groups > 1 || c.batchGroups > 1
		if b, w := c.backwardData(n, out, in, kernel); b != nil && !grouped {
			n.op, n.attr, n.in = opConvBackwardData, b, []*result{n.in[0], w}
			continue
		}
		if dense && !grouped && a.axes.InputChannels == 0 && a.axes.InputBatch == nd+1 {
			// Backward weights: the window is dst, the result the weights. Stride and dilation change places.
			b := &conv{
				src:     axes{a.axes.InputChannels, a.axes.InputBatch, a.axes.InputSpatial},
				weights: axes{a.axes.OutputChannels, a.axes.OutputBatch, a.axes.OutputSpatial},
				dst:     axes{a.axes.KernelInputChannels, a.axes.KernelOutputChannels, a.axes.KernelSpatial},
				stride:  c.dilation, dilation: c.stride, padLo: c.padLo, spread: c.spread, groups: 1, batchGroups: 1,
			}
			if b.closePadding(in, out, kernel) {
				n.op, n.attr = opConvBackwardWeights, b
				continue
			}
		}
		n.op, n.attr = opConv, c
	}
}

// backwardData sees c as what computes the gradient for the input of another convolution, if its window is a reversed
// one: src is what c computes, dst what it reads.
func (c *conv) backwardData(n *node, out, in, kernel []int) (b *conv, window *result) {
	reversed := n.in[1].node
	if reversed.op != compute.OpTypeReverse || !sameSet(reversed.attr.([]int), c.weights.spatial) || !slices.Equal(c.stride, ones(len(c.stride))) {
		return nil, nil
	}
	b = &conv{src: c.dst, weights: axes{c.weights.second, c.weights.first, c.weights.spatial}, dst: c.src,
		stride: c.spread, dilation: c.dilation, spread: c.stride, groups: 1, batchGroups: 1}
	if !b.reverseGeometry(out, kernel, in, c) {
		return nil, nil
	}
	return b, reversed.in[0]
}

// b0 tells whether no padding is negative: oneDNN has none that crops.
func b0(pad []int) bool { return slices.Min(pad) >= 0 }

func sameSet(a, b []int) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// reverseGeometry derives the forward padding of b from that of c, the convolution that computes b's gradient: a window
// of extent k padded by p in the forward direction is padded by k−1−p in the backward one.
func (b *conv) reverseGeometry(src, weights, dst []int, c *conv) bool {
	for i, axis := range b.weights.spatial {
		b.padLo = append(b.padLo, (weights[axis]-1)*b.dilation[i]-c.padLo[i])
	}
	return b.closePadding(src, weights, dst)
}

// closePadding sets the padding at the end so that the sizes agree, and tells whether oneDNN accepts the geometry.
func (b *conv) closePadding(src, weights, dst []int) bool {
	b.padHi = nil
	for i := range b.weights.spatial {
		extent := (weights[b.weights.spatial[i]]-1)*b.dilation[i] + 1
		hi := (dst[b.dst.spatial[i]]-1)*b.stride[i] + extent - src[b.src.spatial[i]] - b.padLo[i]
		// What the last window does not reach is not padding: at most stride − 1 elements.
		if hi < 0 && -hi < b.stride[i] {
			hi = 0
		}
		b.padHi = append(b.padHi, hi)
	}
	return b0(b.padLo) && b0(b.padHi)
}

// attachBias makes the addition of a vector along the channels part of the convolution before it.
//
//	%1 = conv %x %w; %2 = BroadcastInDim %b; %3 = Add %1 %2   →   %3 = conv %x %w %b
func attachBias(g *graph) {
	uses := g.uses()
	table := map[*result]*result{}
	for _, n := range g.nodes {
		if n.op != compute.OpTypeAdd {
			continue
		}
		for i, r := range n.in {
			c := r.node
			if c.op != opConv || uses[r] != 1 || len(c.in) != 2 || !n.out[0].shape().Equal(r.shape()) {
				continue
			}
			axis := c.attr.(*conv).dst.second
			bias, ok := alongAxis(n.in[1-i], axis, r.shape().Dimensions[axis])
			if !ok || before(g, bias.node, c) == false {
				continue
			}
			c.in = append(c.in, bias)
			table[n.out[0]] = r
			break
		}
	}
	g.replace(table)
}

// alongAxis returns the vector of n elements along one axis that r spreads over the others, if that is what r is.
func alongAxis(r *result, axis, n int) (*result, bool) {
	if r.node.op != compute.OpTypeBroadcastInDim {
		return nil, false
	}
	to := r.node.attr.([]int)
	v := r.node.in[0]
	if r.shape().Dimensions[axis] != n || v.shape().Size() != n {
		return nil, false
	}
	for i, a := range to {
		if a == axis {
			return v, v.shape().Dimensions[i] == n
		}
	}
	return v, n == 1
}

// before tells whether a stands before b; if not and a can be moved there with what it needs, moves it.
func before(g *graph, a, b *node) bool {
	ia, ib := slices.Index(g.nodes, a), slices.Index(g.nodes, b)
	if ia < ib {
		return true
	}
	need := map[*node]bool{a: true}
	for i := ia; i > ib; i-- {
		if n := g.nodes[i]; need[n] {
			for _, r := range n.in {
				need[r.node] = true
			}
		}
	}
	if need[b] {
		return false
	}
	var moved, rest []*node
	for i := ib; i <= ia; i++ {
		if n := g.nodes[i]; need[n] {
			moved = append(moved, n)
		} else {
			rest = append(rest, n)
		}
	}
	copy(g.nodes[ib:], append(moved, rest...))
	return true
}
