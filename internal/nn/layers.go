package nn

import (
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

const (
	normEpsilon  = 1e-5
	normMomentum = 0.1
)

// Layers builds one application of a network. In mixed precision, convolutions and products take and give DType; batch
// normalization, GELU and linear layers are computed in float32, as the parameters are kept.
type Layers struct {
	DType    dtypes.DType
	Training bool
	Params   map[string]*Node
	Stats    map[string]*Node // new running statistics, in training
	ups      []transposed
}

// NewLayers makes the graph's parameters for a network's.
func NewLayers(g *Graph, params []Param, dtype dtypes.DType, training bool) *Layers {
	l := &Layers{DType: dtype, Training: training, Params: map[string]*Node{}, Stats: map[string]*Node{}}
	for _, p := range params {
		l.Params[p.Name] = Parameter(g, p.Name, shapes.Make(dtypes.Float32, p.GraphShape()...))
	}
	return l
}

// Narrow converts to DType.
func (l *Layers) Narrow(x *Node) *Node { return ConvertDType(x, l.DType) }

// Spread gives a vector [C] or a matrix [N,C] the rank of x, to be added or multiplied along its channels.
func Spread(v, x *Node) *Node {
	if v.Rank() == 1 {
		return BroadcastToShape(ExpandLeftToRank(v, 4), x.Shape())
	}
	d := v.Shape().Dimensions
	return BroadcastToShape(Reshape(v, d[0], 1, 1, d[1]), x.Shape())
}

// GELU is x·Φ(x) with the exact Φ (Hendrycks & Gimpel 2016, arXiv:1606.08415).
func GELU(x *Node) *Node {
	y, _ := InternalFusedOpCaller(
		func() *Node { return BackendFusedGelu(x, true) },
		func() *Node { return Mul(x, MulScalar(AddScalar(Erf(MulScalar(x, math.Sqrt2/2)), 1), 0.5)) },
		true)
	return y
}

// InvSqrt is 1/√x with a gradient; GoMLX has none for Rsqrt.
func InvSqrt(x *Node) *Node {
	y, _ := InternalFusedOpCaller(func() *Node { return Rsqrt(x) }, func() *Node { return Inverse(Sqrt(x)) }, true)
	return y
}

// TrainingDot is [Dot] with gradients that are products of the operands' dtype; GoMLX's are float32, at half the speed
// of bfloat16. Backends add up in float32 all the same.
func TrainingDot(x, y *Node) *DotBuilder { return Dot(x, y).WithAccumulatorDType(dtypes.InvalidDType) }

// SoftmaxOfLast is the softmax along the last axis, with a gradient that takes its result instead of computing it
// again.
func SoftmaxOfLast(x *Node) *Node {
	y, _ := InternalFusedOpCaller(func() *Node { return Softmax(x) }, func() *Node {
		y := StopGradient(Softmax(x))
		// x - x carries the gradient and is computed nowhere.
		z := IdentityWithCustomGradient(x, func(_, v *Node) *Node {
			v = Mul(v, y)
			return Sub(v, Mul(y, ReduceAndKeep(v, ReduceSum, -1)))
		})
		return Add(y, Sub(z, StopGradient(x)))
	}, true)
	return y
}

// KernelOIHW are the axes of a convolution of [N,H,W,C] with a kernel in PyTorch's layout.
func KernelOIHW() ConvolveAxesConfig {
	return ConvolveAxesConfig{
		InputBatch: 0, InputSpatial: []int{1, 2}, InputChannels: 3,
		KernelOutputChannels: 0, KernelInputChannels: 1, KernelSpatial: []int{2, 3},
		OutputBatch: 0, OutputSpatial: []int{1, 2}, OutputChannels: 3,
	}
}

// Conv is a 3×3 convolution with padding 1 and its bias; x and the result are of DType.
func (l *Layers) Conv(name string, x *Node, stride int) *Node {
	y := Convolve(x, l.Narrow(l.Params[name+".weight"])).Strides(stride).PaddingPerDim([][2]int{{1, 1}, {1, 1}}).Done()
	return Add(y, Spread(l.Narrow(l.Params[name+".bias"]), y))
}

// Norm is batch normalization in float32 with PyTorch's running statistics: momentum 0.1, unbiased variance. The
// result's gradient, which is needed whole before x's can be computed, is rounded to DType as activations are.
func (l *Layers) Norm(name string, x *Node) *Node {
	x = ConvertDType(x, dtypes.Float32)
	scale, offset := l.Params[name+".weight"], l.Params[name+".bias"]
	mean, variance := l.Params[name+".running_mean"], l.Params[name+".running_var"]
	if !l.Training {
		a := Mul(scale, Rsqrt(AddScalar(variance, normEpsilon)))
		return Add(Mul(x, Spread(a, x)), Spread(Sub(offset, Mul(mean, a)), x))
	}
	y, batchMean, batchVariance := InternalBatchNormForTraining(x, scale, offset, normEpsilon, 3)
	count := float64(x.Shape().Size() / x.Shape().Dimensions[3]) // of pixels, of which every batch has several
	batchVariance = MulScalar(batchVariance, count/(count-1))
	l.Stats[name+".running_mean"] = Add(MulScalar(mean, 1-normMomentum), MulScalar(batchMean, normMomentum))
	l.Stats[name+".running_var"] = Add(MulScalar(variance, 1-normMomentum), MulScalar(batchVariance, normMomentum))
	return IdentityWithCustomGradient(y, func(_, v *Node) *Node { return ConvertDType(l.Narrow(v), dtypes.Float32) })
}

// Block is convolution, batch normalization and GELU.
func (l *Layers) Block(name string, x *Node, stride int) *Node {
	return l.Narrow(GELU(l.Norm(name+".1", l.Conv(name+".0", x, stride))))
}

// Linear is a product and its bias in float32, x [N,I] to [N,O].
func (l *Layers) Linear(name string, x *Node) *Node {
	y := Dot(x, l.Params[name+".weight"]).Product()
	return Add(y, BroadcastToShape(ExpandLeftToRank(l.Params[name+".bias"], 2), y.Shape()))
}
