package unet

import (
	"fmt"
	"math"

	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

// block is a part of the network at one size of the image, by what a configuration says of it. Parameters and graph
// both follow it. Each resnet has an attention behind it, or none has; in the mid block the first resnet has none.
type block struct {
	resnets    []resnet
	attentions []attention
	resampler  *resnet // changes the size; nil where it stays
}

type resnet struct {
	name     string
	in, out  int     // channels
	scale    float64 // the sum of both paths is divided by it
	resample resample
}

// resample is what a resnet does to the image's size before its first convolution.
type resample int

const (
	keep   resample = iota
	halve           // means of 2×2
	double          // each pixel 2×2 times
)

type attention struct {
	name              string
	channels, headDim int
	onlyCross         bool // no pixel attends to pixels
}

// blocks returns the down blocks, the mid block, which is empty where there is none, and the up blocks, each in the
// order they are applied in.
func (c Config) blocks() (down []block, mid block, up []block) {
	last := len(c.BlockOutChannels) - 1
	for i, out := range c.BlockOutChannels {
		name, in := fmt.Sprintf("down_blocks.%d", i), c.BlockOutChannels[max(i-1, 0)]
		var b block
		for j := range c.LayersPerBlock.at(i) {
			b.resnets = append(b.resnets, resnet{fmt.Sprintf("%s.resnets.%d", name, j), in, out, c.ResnetOutScaleFactor,
				keep})
			in = out
			if c.DownBlockTypes[i] == crossDown {
				b.attentions = append(b.attentions, attention{fmt.Sprintf("%s.attentions.%d", name, j), out,
					c.AttentionHeadDim.at(i), c.OnlyCrossAttention.at(i)})
			}
		}
		if i < last {
			b.resampler = &resnet{name + ".downsamplers.0", out, out, c.ResnetOutScaleFactor, halve}
		}
		down = append(down, b)
	}

	deep := c.BlockOutChannels[last]
	onlyCross := c.OnlyCrossAttention.one && c.OnlyCrossAttention.at(0)
	if c.MidBlockOnlyCrossAttention != nil {
		onlyCross = *c.MidBlockOnlyCrossAttention
	}
	if c.MidBlockType != nil {
		for j := range 2 {
			mid.resnets = append(mid.resnets, resnet{fmt.Sprintf("mid_block.resnets.%d", j), deep, deep,
				c.MidBlockScaleFactor, keep})
		}
		mid.attentions = []attention{{"mid_block.attentions.0", deep, c.AttentionHeadDim.at(last), onlyCross}}
	}

	in := deep
	for i := range c.BlockOutChannels {
		level := last - i
		name, out := fmt.Sprintf("up_blocks.%d", i), c.BlockOutChannels[level]
		var b block
		layers := c.LayersPerBlock.at(level) + 1
		for j := range layers {
			skip := out
			if j == layers-1 {
				skip = c.BlockOutChannels[max(level-1, 0)]
			}
			b.resnets = append(b.resnets, resnet{fmt.Sprintf("%s.resnets.%d", name, j), in + skip, out,
				c.ResnetOutScaleFactor, keep})
			in = out
			if c.UpBlockTypes[i] == crossUp {
				// Not AttentionHeadDim.at(level): diffusers reads this list, unlike the others, in the order of the up
				// blocks.
				b.attentions = append(b.attentions, attention{fmt.Sprintf("%s.attentions.%d", name, j), out,
					c.AttentionHeadDim.at(i), c.OnlyCrossAttention.at(level)})
			}
		}
		if i < last {
			b.resampler = &resnet{name + ".upsamplers.0", out, out, c.ResnetOutScaleFactor, double}
		}
		up = append(up, b)
	}
	return down, mid, up
}

// allBlocks returns the blocks in one list.
func (c Config) allBlocks() []block {
	down, mid, up := c.blocks()
	return append(append(down, mid), up...)
}

// attentions lists all of them.
func (c Config) attentions() []attention {
	var all []attention
	for _, b := range c.allBlocks() {
		all = append(all, b.attentions...)
	}
	return all
}

// all returns a block's resnets with the one that changes the size.
func (b block) all() []resnet {
	if b.resampler == nil {
		return b.resnets
	}
	return append(b.resnets[:len(b.resnets):len(b.resnets)], *b.resampler)
}

// Params lists what the network has. Values stay in PyTorch's layout: convolutions OIHW, products OI. Initial values
// are diffusers' but for the last layer of each residual path and of the network, which begin as zeros (Zhang et al.
// 2019, arXiv:1901.09321), so that the network begins as one without them.
func (c Config) Params() []nn.Param {
	var all []nn.Param
	norm := func(name string, n int) { all = append(all, nn.Affine(name, n)...) }
	conv := func(name string, in, out, kernel int) {
		all = append(all, nn.Layer(name, []int{out, in, kernel, kernel}, nil, in*kernel*kernel, out)...)
	}
	linear := func(name string, in, out int) { all = append(all, nn.Layer(name, []int{out, in}, nil, in, out)...) }
	zeros := func(name string, out int, in ...int) {
		all = append(all, nn.Layer(name, append([]int{out}, in...), nil, 0, out)...)
	}

	first, timeDim, textDim, crossDim := c.BlockOutChannels[0], c.timeDim(), c.TextDim(), c.CrossAttentionDim.at(0)
	conv("conv_in", c.InChannels, first, c.ConvInKernel)
	linear("time_embedding.linear_1", first, timeDim)
	linear("time_embedding.linear_2", timeDim, timeDim)
	if c.EncoderHidDim != nil {
		linear("encoder_hid_proj", textDim, crossDim)
	}
	if c.ClassEmbedType != nil {
		linear("class_embedding.linear_1", first, timeDim)
		linear("class_embedding.linear_2", timeDim, timeDim)
	}
	if c.AdditionEmbedType != nil {
		norm("add_embedding.norm1", textDim)
		all = append(all, nn.Normal("add_embedding.pool.positional_embedding", 1/math.Sqrt(float64(textDim)), 1,
			textDim))
		for _, projection := range []string{"q_proj", "k_proj", "v_proj"} {
			linear("add_embedding.pool."+projection, textDim, textDim)
		}
		linear("add_embedding.proj", textDim, timeDim)
		norm("add_embedding.norm2", timeDim)
	}
	for _, b := range c.allBlocks() {
		for _, r := range b.all() {
			norm(r.name+".norm1", r.in)
			conv(r.name+".conv1", r.in, r.out, 3)
			if c.ResnetTimeScaleShift == scaleShift {
				linear(r.name+".time_emb_proj", timeDim, 2*r.out)
			} else {
				linear(r.name+".time_emb_proj", timeDim, r.out)
			}
			norm(r.name+".norm2", r.out)
			zeros(r.name+".conv2", r.out, r.out, 3, 3)
			if r.in != r.out {
				conv(r.name+".conv_shortcut", r.in, r.out, 1)
			}
		}
		for _, a := range b.attentions {
			norm(a.name+".group_norm", a.channels)
			if c.CrossAttentionNorm != nil {
				norm(a.name+".norm_cross", crossDim)
			}
			linear(a.name+".to_q", a.channels, a.channels)
			if !a.onlyCross {
				linear(a.name+".to_k", a.channels, a.channels)
				linear(a.name+".to_v", a.channels, a.channels)
			}
			linear(a.name+".add_k_proj", crossDim, a.channels)
			linear(a.name+".add_v_proj", crossDim, a.channels)
			zeros(a.name+".to_out.0", a.channels, a.channels)
		}
	}
	norm("conv_norm_out", first)
	zeros("conv_out", c.OutChannels, first, c.ConvOutKernel, c.ConvOutKernel)
	return all
}

// Shapes returns the shape of each tensor of the network's file, by name, in PyTorch's layout.
func (c Config) Shapes() map[string][]int { return nn.Shapes(c.Params()) }

// Check reports whether a file has the network's tensors and no others. Values are not read.
func (c Config) Check(f *weights.File) error { return nn.Check(c.Params(), f) }

// Parameters returns the number of the network's values.
func (c Config) Parameters() int { return nn.Count(c.Params()) }
