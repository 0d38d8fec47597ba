package mnistunet

import (
	"fmt"
	"math"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/weights"
)

// param is one parameter or running statistic: its name and shape as PyTorch keeps it, and its order in the graph.
type param struct {
	name  string
	shape []int // PyTorch's
	order []int // graph axis i is PyTorch's axis order[i]; nil: the same
	fanIn int   // PyTorch's, for the initial values; 0: ones or zeros
	ones  bool
	stat  bool // a running statistic, not trained
}

// The orders of axes: PyTorch's layout to the graph's, which has channels last.
var (
	convOrder      = []int{2, 3, 1, 0} // OIHW → HWIO
	linearOrder    = []int{1, 0}       // OI → IO
	upOrder        = []int{2, 3, 0, 1} // transposed 4×4: IOHW → HWIO
	unflattenOrder = []int{0, 2, 3, 1} // transposed 7×7: IOHW → IHWO
)

// params lists what a network has, in the order of PyTorch's modules.
func (c Config) params() []param {
	var all []param
	layer := func(name string, shape, order []int, fanIn, out int) {
		all = append(all, param{name: name + ".weight", shape: shape, order: order, fanIn: fanIn}, param{name: name + ".bias", shape: []int{out}, fanIn: fanIn})
	}
	norm := func(name string, n int) {
		all = append(all, param{name: name + ".weight", shape: []int{n}, ones: true}, param{name: name + ".bias", shape: []int{n}},
			param{name: name + ".running_mean", shape: []int{n}, stat: true}, param{name: name + ".running_var", shape: []int{n}, ones: true, stat: true})
	}
	conv := func(name string, in, out int) {
		layer(name+".0", []int{out, in, 3, 3}, convOrder, 9*in, out)
		norm(name+".1", out)
	}
	fc := func(name string, in, out int) {
		layer(name+".0", []int{out, in}, linearOrder, in, out)
		layer(name+".2", []int{out, out}, linearOrder, out, out)
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
	layer("unflatten.0", []int{2 * d, 2 * d, 7, 7}, unflattenOrder, 49*2*d, 2*d)
	norm("unflatten.1", 2*d)
	for i, in := range []int{4 * d, 2 * d} {
		name := fmt.Sprintf("up%d", i+1)
		layer(name+".0.0", []int{in, d, 4, 4}, upOrder, 16*d, d)
		norm(name+".0.1", d)
		conv(name+".1", d, d)
		conv(name+".2", d, d)
	}
	conv("out_block.0", 2*d, d)
	conv("out_block.1", d, d)
	layer("out_conv", []int{1, d, 3, 3}, convOrder, 9*d, 1)
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

func size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// graphShape is the shape in the graph's order.
func (p param) graphShape() []int {
	if p.order == nil {
		return p.shape
	}
	s := make([]int, len(p.order))
	for i, axis := range p.order {
		s[i] = p.shape[axis]
	}
	return s
}

// permute reorders values of PyTorch's layout to the graph's, or back.
func (p param) permute(v []float32, back bool) []float32 {
	if p.order == nil {
		return v
	}
	stride := make([]int, len(p.shape))
	n := 1
	for i := len(p.shape) - 1; i >= 0; i-- {
		stride[i] = n
		n *= p.shape[i]
	}
	out := make([]float32, len(v))
	shape, index := p.graphShape(), make([]int, len(p.shape))
	for i := range v {
		at := 0
		for a, axis := range p.order {
			at += index[a] * stride[axis]
		}
		if back {
			out[at] = v[i]
		} else {
			out[i] = v[at]
		}
		for a := len(index) - 1; a >= 0; a-- {
			if index[a]++; index[a] < shape[a] {
				break
			}
			index[a] = 0
		}
	}
	return out
}

// initial draws PyTorch's default initial values in the graph's layout: uniform in ±1/√fan-in for weights and biases
// (He et al. 2015, arXiv:1502.01852, with a = √5), ones and zeros for batch normalisation.
func (p param) initial(g *diffusion.Generator) []float32 {
	v := make([]float32, size(p.shape))
	switch {
	case p.fanIn > 0:
		g.Uniform(v)
		bound := float32(1 / math.Sqrt(float64(p.fanIn)))
		for i, u := range v {
			v[i] = float32(float64(u)*float64(2*bound) - float64(bound)) // rounded once, as PyTorch's fused multiply-add does
		}
	case p.ones:
		for i := range v {
			v[i] = 1
		}
	}
	return p.permute(v, false)
}

// read takes a parameter out of a file, where it stands under prefix + name in PyTorch's layout.
func (p param) read(f *weights.File, prefix string) ([]float32, error) {
	t, err := f.Tensor(prefix + p.name)
	if err != nil {
		return nil, err
	}
	if fmt.Sprint(t.Shape) != fmt.Sprint(p.shape) {
		return nil, fmt.Errorf("%s: tensor %q has shape %v; this network wants %v", f.Path(), prefix+p.name, t.Shape, p.shape)
	}
	v, err := t.Float32()
	if err != nil {
		return nil, fmt.Errorf("%s: tensor %q: %w", f.Path(), prefix+p.name, err)
	}
	return p.permute(v, false), nil
}

// tensor is the parameter's values in PyTorch's layout, for a file.
func (p param) tensor(v []float32) weights.Tensor {
	return weights.FromFloat32(p.shape, p.permute(v, true))
}

// Parameters returns the number of trained values.
func (c Config) Parameters() int {
	n := 0
	for _, p := range c.params() {
		if !p.stat {
			n += size(p.shape)
		}
	}
	return n
}
