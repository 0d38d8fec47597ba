package unet

import (
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/internal/nn"
)

// Work is the arithmetic of one evaluation: the multiply-adds of convolutions and of products, attention's included.
type Work struct{ Convolutions, Products int }

// Work counts the arithmetic of an evaluation of images of height × width with texts of as many tokens.
func (c Config) Work(images, height, width, tokens int) Work {
	var w Work
	conv := func(in, out, kernel, pixels int) { w.Convolutions += in * out * kernel * kernel * pixels }
	linear := func(in, out, rows int) { w.Products += in * out * rows }
	first, timeDim, textDim, crossDim := c.BlockOutChannels[0], c.timeDim(), c.TextDim(), c.CrossAttentionDim.at(0)
	pixels := height * width

	linear(first, timeDim, 1)
	linear(timeDim, timeDim, 1)
	if c.EncoderHidDim != nil {
		linear(textDim, crossDim, tokens)
	}
	if c.ClassEmbedType != nil {
		linear(first, timeDim, 1)
		linear(timeDim, timeDim, 1)
	}
	if c.AdditionEmbedType != nil {
		linear(textDim, textDim, 1+2*(tokens+1))
		linear(textDim, 2, tokens+1)
		linear(textDim, timeDim, 1)
	}
	conv(c.InChannels, first, c.ConvInKernel, pixels)
	for _, b := range c.allBlocks() {
		for i, r := range b.all() {
			switch r.resample {
			case halve:
				pixels /= 4
			case double:
				pixels *= 4
			}
			conv(r.in, r.out, 3, pixels)
			conv(r.out, r.out, 3, pixels)
			if r.in != r.out {
				conv(r.in, r.out, 1, pixels)
			}
			embedded := r.out
			if c.ResnetTimeScaleShift == scaleShift {
				embedded *= 2
			}
			linear(timeDim, embedded, 1)
			if i >= len(b.attentions) {
				continue
			}
			a, keys := b.attentions[i], tokens
			linear(a.channels, a.channels, 2*pixels)
			linear(crossDim, a.channels, 2*tokens)
			if !a.onlyCross {
				linear(a.channels, a.channels, 2*pixels)
				keys += pixels
			}
			linear(a.channels, 2*keys, pixels)
		}
	}
	conv(first, c.OutChannels, c.ConvOutKernel, pixels)
	return Work{images * w.Convolutions, images * w.Products}
}

// Bytes returns the size of the network's values when it computes in dtype.
func (c Config) Bytes(dtype dtypes.DType) int {
	return nn.Bytes(c.Params(), func(p nn.Param) dtypes.DType { return paramDType(p, dtype) })
}
