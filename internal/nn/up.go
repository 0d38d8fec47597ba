package nn

import (
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// GoMLX has no gradient for a convolution with input dilation, which is what a transposed convolution is, so its
// gradients are written out here and joined to automatic differentiation by parts: see [Layers.Gradients].

// Up is a transposed convolution 4×4 with stride 2 and padding 1, and its bias, which is added in float32.
func (l *Layers) Up(name string, x *Node) *Node {
	c := transpose4x4(x, l.Narrow(l.Params[name+".weight"]))
	l.ups = append(l.ups, c)
	return Add(ConvertDType(c.y, dtypes.Float32), Spread(l.Params[name+".bias"], c.y))
}

// transposed is an application of the transposed convolution 4×4 with stride 2 and padding 1, x [N,H,W,I] to
// y [N,2H,2W,O] with weight [4,4,I,O].
type transposed struct{ x, weight, y *Node }

// upAxes are the axes of the plain convolution of which y is the gradient: from [N,2H,2W,O] to [N,H,W,I].
func upAxes() ConvolveAxesConfig {
	return ConvolveAxesConfig{
		InputBatch: 0, InputSpatial: []int{1, 2}, InputChannels: 3,
		KernelSpatial: []int{0, 1}, KernelInputChannels: 3, KernelOutputChannels: 2,
		OutputBatch: 0, OutputSpatial: []int{1, 2}, OutputChannels: 3,
	}
}

var two = []int{2, 2}

func pad(n int) [][2]int { return [][2]int{{n, n}, {n, n}} }

func transpose4x4(x, weight *Node) transposed {
	axes := upAxes()
	axes.KernelInputChannels, axes.KernelOutputChannels = axes.KernelOutputChannels, axes.KernelInputChannels
	y := ConvGeneral(x, Reverse(weight, 0, 1), axes, nil, pad(2), two, nil, 1, 1)
	return transposed{x, weight, Identity(StopGradient(y))} // a node of its own: gradients are asked for at it
}

// back returns the gradients for x and weight, given that for y.
func (c transposed) back(dy *Node) (dx, dWeight *Node) {
	axes := upAxes()
	dx = ConvGeneral(dy, c.weight, axes, two, pad(1), nil, nil, 1, 1)
	// The batch is summed over, so it takes the channels' place; x is the window, dilated by the stride.
	swapped := ConvolveAxesConfig{
		InputBatch: 3, InputSpatial: []int{1, 2}, InputChannels: 0,
		KernelSpatial: []int{1, 2}, KernelInputChannels: 0, KernelOutputChannels: 3,
		OutputBatch: axes.KernelInputChannels, OutputSpatial: axes.KernelSpatial,
		OutputChannels: axes.KernelOutputChannels,
	}
	return dx, ConvGeneral(dy, c.x, swapped, nil, pad(1), nil, two, 1, 1)
}

// Gradients differentiates loss by the wanted nodes. The transposed convolutions' results count as constants; going
// backwards, each one's gradient dy gives gradients for x and weight, which enter as the linear terms ⟨x, dx⟩ +
// ⟨weight, dWeight⟩.
func (l *Layers) Gradients(loss *Node, wanted []*Node) []*Node {
	for i := len(l.ups) - 1; i >= 0; i-- {
		dx, dWeight := l.ups[i].back(Gradient(loss, l.ups[i].y)[0])
		inner := func(a, b *Node) *Node { return ConvertDType(ReduceAllSum(Mul(a, StopGradient(b))), loss.DType()) }
		loss = Add(loss, Add(inner(l.ups[i].x, dx), inner(l.ups[i].weight, dWeight)))
	}
	return Gradient(loss, wanted...)
}
