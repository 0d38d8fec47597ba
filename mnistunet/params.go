package mnistunet

import (
	"fmt"

	"github.com/unnoise/unnoise/internal/nn"
)

// Params lists what a network has, in the order of PyTorch's modules.
func (c Config) Params() []nn.Param {
	var all []nn.Param
	add := func(p []nn.Param) { all = append(all, p...) }
	conv := func(name string, in, out int) { add(nn.Block(name, in, out)) }
	fc := func(name string, in, out int) {
		add(nn.Linear(name+".0", in, out))
		add(nn.Linear(name+".2", out, out))
	}
	d := c.Dim
	conv("in_block.0", 1, d)
	conv("in_block.1", d, d)
	for i := range 3 {
		conv(fmt.Sprintf("down1.%d", i), d, d)
	}
	conv("down2.0", d, 2*d)
	conv("down2.1", 2*d, 2*d)
	conv("down2.2", 2*d, 2*d)
	// PyTorch counts a transposed convolution's fan-in over its output channels.
	add(nn.Layer("unflatten.0", []int{2 * d, 2 * d, 7, 7}, nn.UnflattenOrder, 49*2*d, 2*d))
	add(nn.Norm("unflatten.1", 2*d))
	for i, in := range []int{4 * d, 2 * d} {
		name := fmt.Sprintf("up%d", i+1)
		add(nn.Layer(name+".0.0", []int{in, d, 4, 4}, nn.UpOrder, 16*d, d))
		add(nn.Norm(name+".0.1", d))
		conv(name+".1", d, d)
		conv(name+".2", d, d)
	}
	conv("out_block.0", 2*d, d)
	conv("out_block.1", d, d)
	add(nn.Layer("out_conv", []int{1, d, 3, 3}, nn.ConvOrder, 9*d, 1))
	if c.Condition != None {
		fc("t_fc1", 1, 2*d)
		fc("t_fc2", 1, d)
	}
	if c.Condition == Class {
		fc("c_fc1", c.Classes, 2*d)
		fc("c_fc2", c.Classes, d)
	}
	return all
}

// Parameters returns the number of trained values.
func (c Config) Parameters() int {
	n := 0
	for _, p := range c.Params() {
		if !p.Stat {
			n += nn.Size(p.Shape)
		}
	}
	return n
}
