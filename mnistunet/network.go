package mnistunet

import (
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/internal/nn"
)

// network builds one application of the UNet.
type network struct {
	*nn.Layers
	config Config
}

// fc is Linear, GELU, Linear in float32.
func (n *network) fc(name string, x *Node) *Node {
	return n.Linear(name+".2", nn.GELU(n.Linear(name+".0", x)))
}

// condition scales and shifts u by the class's and the timestep's vectors.
func (n *network) condition(u *Node, i string, t, class *Node) *Node {
	if n.config.Condition == None {
		return u
	}
	u = ConvertDType(u, dtypes.Float32)
	if n.config.Condition == Class {
		u = Mul(u, nn.Spread(n.fc("c_fc"+i, class), u))
	}
	return n.Narrow(Add(u, nn.Spread(n.fc("t_fc"+i, t), u)))
}

// forward maps x [N,28,28,1], t [N,1] in [0,1) and class one-hot [N,Classes] (zeros: no class) to [N,28,28,1], float32.
func (n *network) forward(x, t, class *Node) *Node {
	a := n.Block("in_block.1", n.Block("in_block.0", n.Narrow(x), 1), 1)
	b := n.Block("down1.2", n.Block("down1.1", n.Block("down1.0", a, 2), 1), 1)
	d := n.Block("down2.2", n.Block("down2.1", n.Block("down2.0", b, 2), 1), 1)
	flat := nn.GELU(ReduceMean(ConvertDType(d, dtypes.Float32), 1, 2)) // [N, 2D]

	w := n.Params["unflatten.0.weight"] // [2D, 7, 7, 2D]
	channels := w.Shape().Dimensions[3]
	u := Dot(n.Narrow(flat), n.Narrow(Reshape(w, channels, 49*channels))).Product()
	u = Reshape(u, x.Shape().Dimensions[0], 7, 7, channels)
	u = Add(u, nn.Spread(n.Narrow(n.Params["unflatten.0.bias"]), u))
	u = n.condition(n.Narrow(nn.GELU(n.Norm("unflatten.1", u))), "1", t, class)

	up := func(name string, x *Node) *Node {
		y := n.Narrow(nn.GELU(n.Norm(name+".0.1", n.Up(name+".0.0", x))))
		return n.Block(name+".2", n.Block(name+".1", y, 1), 1)
	}
	u = n.condition(up("up1", Concatenate([]*Node{u, d}, -1)), "2", t, class)
	u = up("up2", Concatenate([]*Node{u, b}, -1))
	u = n.Block("out_block.1", n.Block("out_block.0", Concatenate([]*Node{u, a}, -1), 1), 1)
	return ConvertDType(n.Conv("out_conv", u, 1), dtypes.Float32)
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

// Loss is the mean squared error of the estimate, for training: of "x" [N,28,28,1] and, as the condition needs, "t"
// [N,1], which is t/T or the flow's t, and "class" [N,Classes], one-hot or 0 everywhere where the class is hidden,
// against "target" [N,28,28,1]: the clean image for condition none, the noise or the flow's velocity else.
func (c Config) Loss(l *nn.Layers, in map[string]*Node) *Node {
	n := &network{Layers: l, config: c}
	return nn.MeanSquare(n.forward(in["x"], in["t"], in["class"]), in["target"], in["weight"])
}
