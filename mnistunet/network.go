package mnistunet

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

// network builds one application of the UNet. In mixed precision, convolutions and products take and give dtype; batch
// normalisation, GELU and the conditions are computed in float32, as the parameters are kept.
type network struct {
	config   Config
	dtype    dtypes.DType
	training bool
	params   map[string]*Node
	stats    map[string]*Node // new running statistics, in training
	ups      []transposed
}

func (n *network) narrow(x *Node) *Node { return ConvertDType(x, n.dtype) }

// spread gives a vector [C] or a matrix [N,C] the rank of x, to be added or multiplied along its channels.
func spread(v, x *Node) *Node {
	if v.Rank() == 1 {
		return BroadcastToShape(ExpandLeftToRank(v, 4), x.Shape())
	}
	d := v.Shape().Dimensions
	return BroadcastToShape(Reshape(v, d[0], 1, 1, d[1]), x.Shape())
}

// gelu is x·Φ(x) with the exact Φ (Hendrycks & Gimpel 2016, arXiv:1606.08415).
func gelu(x *Node) *Node {
	y, _ := InternalFusedOpCaller(
		func() *Node { return BackendFusedGelu(x, true) },
		func() *Node { return Mul(x, MulScalar(AddScalar(Erf(MulScalar(x, math.Sqrt2/2)), 1), 0.5)) },
		true)
	return y
}

// conv is a 3×3 convolution with padding 1 and its bias; x and the result are of n.dtype.
func (n *network) conv(name string, x *Node, stride int) *Node {
	y := Convolve(x, n.narrow(n.params[name+".weight"])).Strides(stride).PaddingPerDim([][2]int{{1, 1}, {1, 1}}).Done()
	return Add(y, spread(n.narrow(n.params[name+".bias"]), y))
}

// up is the transposed convolution 4×4 with stride 2 and padding 1, and its bias.
func (n *network) up(name string, x *Node) *Node {
	c := transpose4x4(x, n.narrow(n.params[name+".weight"]))
	n.ups = append(n.ups, c)
	return Add(c.y, spread(n.narrow(n.params[name+".bias"]), c.y))
}

// norm is batch normalisation in float32 with PyTorch's running statistics: momentum 0.1, unbiased variance.
func (n *network) norm(name string, x *Node) *Node {
	x = ConvertDType(x, dtypes.Float32)
	scale, offset := n.params[name+".weight"], n.params[name+".bias"]
	mean, variance := n.params[name+".running_mean"], n.params[name+".running_var"]
	if !n.training {
		a := Mul(scale, Rsqrt(AddScalar(variance, normEpsilon)))
		return Add(Mul(x, spread(a, x)), spread(Sub(offset, Mul(mean, a)), x))
	}
	y, batchMean, batchVariance := InternalBatchNormForTraining(x, scale, offset, normEpsilon, 3)
	count := float64(x.Shape().Size() / x.Shape().Dimensions[3])
	if count > 1 {
		batchVariance = MulScalar(batchVariance, count/(count-1))
	}
	n.stats[name+".running_mean"] = Add(MulScalar(mean, 1-normMomentum), MulScalar(batchMean, normMomentum))
	n.stats[name+".running_var"] = Add(MulScalar(variance, 1-normMomentum), MulScalar(batchVariance, normMomentum))
	return y
}

func (n *network) block(name string, x *Node, stride int) *Node {
	return n.narrow(gelu(n.norm(name+".1", n.conv(name+".0", x, stride))))
}

// fc is Linear, GELU, Linear in float32.
func (n *network) fc(name string, x *Node) *Node {
	linear := func(name string, x *Node) *Node {
		y := Dot(x, n.params[name+".weight"]).Product()
		return Add(y, BroadcastToShape(ExpandLeftToRank(n.params[name+".bias"], 2), y.Shape()))
	}
	return linear(name+".2", gelu(linear(name+".0", x)))
}

// condition scales and shifts u by the class's and the timestep's vectors.
func (n *network) condition(u *Node, i string, t, class *Node) *Node {
	if n.config.Condition == None {
		return u
	}
	u = ConvertDType(u, dtypes.Float32)
	if n.config.Condition == Class {
		u = Mul(u, spread(n.fc("c_fc"+i, class), u))
	}
	return n.narrow(Add(u, spread(n.fc("t_fc"+i, t), u)))
}

// forward maps x [N,28,28,1], t [N,1] in [0,1) and class one-hot [N,Classes] (zeros: no class) to [N,28,28,1], float32.
func (n *network) forward(x, t, class *Node) *Node {
	a := n.block("in_block.1", n.block("in_block.0", n.narrow(x), 1), 1)
	b := n.block("down1.2", n.block("down1.1", n.block("down1.0", a, 2), 1), 1)
	d := n.block("down2.2", n.block("down2.1", n.block("down2.0", b, 2), 1), 1)
	flat := gelu(ReduceMean(ConvertDType(d, dtypes.Float32), 1, 2)) // [N, 2D]

	w := n.params["unflatten.0.weight"] // [2D, 7, 7, 2D]
	channels := w.Shape().Dimensions[3]
	u := Dot(n.narrow(flat), n.narrow(Reshape(w, channels, 49*channels))).Product()
	u = Reshape(u, x.Shape().Dimensions[0], 7, 7, channels)
	u = Add(u, spread(n.narrow(n.params["unflatten.0.bias"]), u))
	u = n.condition(n.narrow(gelu(n.norm("unflatten.1", u))), "1", t, class)

	up := func(name string, x *Node) *Node {
		y := n.narrow(gelu(n.norm(name+".0.1", n.up(name+".0.0", x))))
		return n.block(name+".2", n.block(name+".1", y, 1), 1)
	}
	u = n.condition(up("up1", Concatenate([]*Node{u, d}, -1)), "2", t, class)
	u = up("up2", Concatenate([]*Node{u, b}, -1))
	u = n.block("out_block.1", n.block("out_block.0", Concatenate([]*Node{u, a}, -1), 1), 1)
	return ConvertDType(n.conv("out_conv", u, 1), dtypes.Float32)
}

// inputs makes the graph's parameters for the image, and for what the condition needs.
func (c Config) inputs(g *Graph, batch int) (x, t, class *Node) {
	x = Parameter(g, "x", shapes.Make(dtypes.Float32, batch, Size, Size, 1))
	if c.Condition != None {
		t = Parameter(g, "t", shapes.Make(dtypes.Float32, batch, 1))
	}
	if c.Condition == Class {
		class = Parameter(g, "class", shapes.Make(dtypes.Float32, batch, c.Classes))
	}
	return x, t, class
}
