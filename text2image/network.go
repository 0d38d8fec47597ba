package text2image

import (
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/deepfloyd/t5"
	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/internal/nn"
)

// Network is a stage's UNet and the text encoder that is trained with it.
type Network struct {
	UNet unet.Config
	Text t5.Config
	// Tokens is the number of tokens that the UNet gets: the last one of a shorter text is repeated.
	Tokens int
}

// What stands before the names of the parts' parameters.
const (
	unetPrefix = "unet."
	textPrefix = "text_encoder."
)

// params lists the parameters of both parts, the UNet's first.
func (n Network) params() []nn.Param {
	return slices.Concat(prefixed(unetPrefix, n.UNet.Params()), prefixed(textPrefix, n.Text.Params()))
}

func prefixed(prefix string, params []nn.Param) []nn.Param {
	all := slices.Clone(params)
	for i := range all {
		all[i].Name = prefix + all[i].Name
	}
	return all
}

// part returns the nodes of one part by their own names.
func part(prefix string, params map[string]*Node) map[string]*Node {
	all := map[string]*Node{}
	for name, node := range params {
		if own, ok := strings.CutPrefix(name, prefix); ok {
			all[own] = node
		}
	}
	return all
}

// Parameters returns the number of trained values.
func (n Network) Parameters() int { return n.UNet.Parameters() + n.Text.Parameters() }

// inputs are a graph's parameters for a batch, in the order of [Network.arrays].
type inputs struct{ x, time, class, ids, mask *Node }

func (n Network) inputs(g *Graph, s shape) inputs {
	parameter := func(name string, dims ...int) *Node { return Parameter(g, name, shapes.Make(dtypes.Float32, dims...)) }
	in := inputs{x: parameter("x", s.images, n.UNet.InChannels, s.height, s.width), time: parameter("time", s.images, n.UNet.BlockOutChannels[0])}
	if n.UNet.ClassEmbedType != nil {
		in.class = parameter("class", s.images, n.UNet.BlockOutChannels[0])
	}
	in.ids, in.mask = parameter("ids", s.images, s.tokens), parameter("mask", s.images, s.tokens)
	return in
}

// arrays are the values of inputs.
func (n Network) arrays(b Batch) []nn.Array {
	first, tokens := n.UNet.BlockOutChannels[0], b.Tokens()
	all := []nn.Array{
		{Values: b.X.Data, Shape: []int{b.X.N, b.X.C, b.X.H, b.X.W}},
		{Values: n.UNet.Sinusoids(floats(b.T)), Shape: []int{b.X.N, first}},
	}
	if n.UNet.ClassEmbedType != nil {
		all = append(all, nn.Array{Values: n.UNet.Sinusoids(floats(b.Class)), Shape: []int{b.X.N, first}})
	}
	ids, mask := make([]float32, 0, b.X.N*tokens), make([]float32, 0, b.X.N*tokens)
	for i := range b.IDs {
		for _, id := range b.IDs[i] {
			ids = append(ids, float32(id))
		}
		mask = append(mask, t5.Mask(b.Mask[i])...)
	}
	return append(all, nn.Array{Values: ids, Shape: []int{b.X.N, tokens}}, nn.Array{Values: mask, Shape: []int{b.X.N, tokens}})
}

func floats(t []int) []float64 {
	v := make([]float64, len(t))
	for i, t := range t {
		v[i] = float64(t)
	}
	return v
}

// forward applies both parts. The result is [N,out_channels,H,W].
func (n Network) forward(params map[string]*Node, dtype dtypes.DType, in inputs) *Node {
	text := n.Text.Apply(part(textPrefix, params), dtype, ConvertDType(in.ids, dtypes.Int32), in.mask)
	return n.UNet.Apply(part(unetPrefix, params), dtype, unet.Inputs{X: in.x, Time: in.time, Class: in.class, Text: text, Tokens: n.Tokens})
}
