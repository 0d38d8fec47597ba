package passes

import (
	"slices"

	"github.com/gomlx/compute"

	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// Conv describes a convolution as oneDNN sees it, whatever it computes: which axes of the three arrays are what, and
// the geometry of the forward direction.
type Conv struct {
	Src, Weights, Dst              Axes
	Stride, Dilation, PadLo, PadHi []int
	Spread                         []int // dilation of the source, only forward
	Groups, BatchGroups            int
	Gelu                           bool // the result's GELU, only forward
}

// Axes names the axes of an array: batch and channels, or output and input channels for weights; then the spatial ones.
type Axes struct {
	First, Second int
	Spatial       []int
}

func ones(n int) []int { return slices.Repeat([]int{1}, n) }

func orOnes(v []int, n int) []int {
	if len(v) == 0 {
		return ones(n)
	}
	return v
}

// foldConvolutionGradients turns every convolution into one of oneDNN's three kinds. GoMLX writes the gradient for the
// input as a convolution of the gradient (dilated by the stride) with the reversed kernel, its channels swapped, and
// the gradient for the kernel as one whose batch and channel axes are swapped and whose window is the gradient.
//
//	%k = Reverse %w; %dx = ConvGeneral %dy %k {inputDilations: stride, …}   →   %dx = backward data %dy %w {stride, …}
//	%dw = ConvGeneral %x %dy {batch ↔ channels, kernelDilations: stride}    →   %dw = backward weights %x %dy {stride, …}
func foldConvolutionGradients(g *graph.Graph) {
	for _, n := range g.Nodes {
		if n.Op != compute.OpTypeConvGeneral || !graph.FloatOperands(n) {
			continue
		}
		a := n.Attr.(graph.ConvArgs)
		nd := len(a.Axes.InputSpatial)
		if nd < 1 || nd > 3 {
			continue
		}
		c := &Conv{
			Src:      Axes{a.Axes.InputBatch, a.Axes.InputChannels, a.Axes.InputSpatial},
			Weights:  Axes{a.Axes.KernelOutputChannels, a.Axes.KernelInputChannels, a.Axes.KernelSpatial},
			Dst:      Axes{a.Axes.OutputBatch, a.Axes.OutputChannels, a.Axes.OutputSpatial},
			Stride:   orOnes(a.Strides, nd),
			Dilation: orOnes(a.KernelDilations, nd),
			Spread:   orOnes(a.InputDilations, nd),
			Groups:   max(a.ChannelGroups, 1), BatchGroups: max(a.BatchGroups, 1),
		}
		pads := a.Paddings
		if len(pads) == 0 {
			pads = make([][2]int, nd)
		}
		for _, p := range pads {
			c.PadLo, c.PadHi = append(c.PadLo, p[0]), append(c.PadHi, p[1])
		}
		in, kernel, out := n.In[0].Shape().Dimensions, n.In[1].Shape().Dimensions, n.Out[0].Shape().Dimensions
		dense := slices.Equal(c.Spread, ones(nd))
		grouped := c.Groups > 1 || c.BatchGroups > 1
		if b, w := c.backwardData(n, out, in, kernel); b != nil && !grouped {
			n.Op, n.Attr, n.In = graph.OpConvBackwardData, b, []*graph.Result{n.In[0], w}
			continue
		}
		if dense && !grouped && a.Axes.InputChannels == 0 && a.Axes.InputBatch == nd+1 {
			// Backward weights: the window is dst, the result the weights. Stride and dilation change places.
			b := &Conv{
				Src:     Axes{a.Axes.InputChannels, a.Axes.InputBatch, a.Axes.InputSpatial},
				Weights: Axes{a.Axes.OutputChannels, a.Axes.OutputBatch, a.Axes.OutputSpatial},
				Dst:     Axes{a.Axes.KernelInputChannels, a.Axes.KernelOutputChannels, a.Axes.KernelSpatial},
				Stride:  c.Dilation, Dilation: c.Stride, PadLo: c.PadLo, Spread: c.Spread, Groups: 1, BatchGroups: 1,
			}
			if b.closePadding(in, out, kernel) {
				n.Op, n.Attr = graph.OpConvBackwardWeights, b
				continue
			}
		}
		n.Op, n.Attr = graph.OpConv, c
	}
}

// backwardData sees c as what computes the gradient for the input of another convolution, if its window is a reversed
// one: src is what c computes, dst what it reads.
func (c *Conv) backwardData(n *graph.Node, out, in, kernel []int) (b *Conv, window *graph.Result) {
	reversed := n.In[1].Node
	if reversed.Op != compute.OpTypeReverse || !sameSet(reversed.Attr.([]int), c.Weights.Spatial) ||
		!slices.Equal(c.Stride, ones(len(c.Stride))) {
		return nil, nil
	}
	b = &Conv{Src: c.Dst, Weights: Axes{c.Weights.Second, c.Weights.First, c.Weights.Spatial}, Dst: c.Src,
		Stride: c.Spread, Dilation: c.Dilation, Spread: c.Stride, Groups: 1, BatchGroups: 1}
	if !b.reverseGeometry(out, kernel, in, c) {
		return nil, nil
	}
	return b, reversed.In[0]
}

// b0 reports whether no padding is negative: oneDNN has none that crops.
func b0(pad []int) bool { return slices.Min(pad) >= 0 }

func sameSet(a, b []int) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// reverseGeometry derives the forward padding of b from that of c, the convolution that computes b's gradient: a window
// of extent k padded by p in the forward direction is padded by k−1−p in the backward one.
func (b *Conv) reverseGeometry(src, weights, dst []int, c *Conv) bool {
	for i, axis := range b.Weights.Spatial {
		b.PadLo = append(b.PadLo, (weights[axis]-1)*b.Dilation[i]-c.PadLo[i])
	}
	return b.closePadding(src, weights, dst)
}

// closePadding sets the padding at the end so that the sizes agree, and reports whether oneDNN accepts the geometry.
func (b *Conv) closePadding(src, weights, dst []int) bool {
	b.PadHi = nil
	for i := range b.Weights.Spatial {
		extent := (weights[b.Weights.Spatial[i]]-1)*b.Dilation[i] + 1
		hi := (dst[b.Dst.Spatial[i]]-1)*b.Stride[i] + extent - src[b.Src.Spatial[i]] - b.PadLo[i]
		// What the last window does not reach is not padding: at most stride − 1 elements.
		if hi < 0 && -hi < b.Stride[i] {
			hi = 0
		}
		b.PadHi = append(b.PadHi, hi)
	}
	return b0(b.PadLo) && b0(b.PadHi)
}

// attachBias makes the addition of a vector along the channels part of the convolution before it.
//
//	%1 = conv %x %w; %2 = BroadcastInDim %b; %3 = Add %1 %2   →   %3 = conv %x %w %b
func attachBias(g *graph.Graph) {
	uses := g.Uses()
	table := map[*graph.Result]*graph.Result{}
	for _, n := range g.Nodes {
		if n.Op != compute.OpTypeAdd {
			continue
		}
		for i, r := range n.In {
			c := r.Node
			if c.Op != graph.OpConv || uses[r] != 1 || len(c.In) != 2 || !n.Out[0].Shape().Equal(r.Shape()) {
				continue
			}
			axis := c.Attr.(*Conv).Dst.Second
			bias, ok := alongAxis(n.In[1-i], axis, r.Shape().Dimensions[axis])
			if !ok || before(g, bias.Node, c) == false {
				continue
			}
			c.In = append(c.In, bias)
			table[n.Out[0]] = r
			break
		}
	}
	g.Replace(table)
}

// alongAxis returns the vector of n elements along one axis that r spreads over the others, if that is what r is.
func alongAxis(r *graph.Result, axis, n int) (*graph.Result, bool) {
	if r.Node.Op != compute.OpTypeBroadcastInDim {
		return nil, false
	}
	to := r.Node.Attr.([]int)
	v := r.Node.In[0]
	if r.Shape().Dimensions[axis] != n || v.Shape().Size() != n {
		return nil, false
	}
	for i, a := range to {
		if a == axis {
			return v, v.Shape().Dimensions[i] == n
		}
	}
	return v, n == 1
}

// before reports whether a stands before b; if not and a can be moved there with what it needs, moves it.
func before(g *graph.Graph, a, b *graph.Node) bool {
	ia, ib := slices.Index(g.Nodes, a), slices.Index(g.Nodes, b)
	if ia < ib {
		return true
	}
	need := map[*graph.Node]bool{a: true}
	for i := ia; i > ib; i-- {
		if n := g.Nodes[i]; need[n] {
			for _, r := range n.In {
				need[r.Node] = true
			}
		}
	}
	if need[b] {
		return false
	}
	var moved, rest []*graph.Node
	for i := ib; i <= ia; i++ {
		if n := g.Nodes[i]; need[n] {
			moved = append(moved, n)
		} else {
			rest = append(rest, n)
		}
	}
	copy(g.Nodes[ib:], append(moved, rest...))
	return true
}
