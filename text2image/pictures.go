package text2image

import (
	"fmt"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/training"
)

// Pictures are what a stage learns from, without end.
type Pictures struct {
	Source   captioned.Source
	Network  *Network
	Name     string  // for people
	Checksum string  // of what the source draws from
	Seed     uint64  // of the source
	Dropout  float64 // the chance that a caption is empty, for guidance
	Small    int     // so many pictures come first in half the size: they cost a quarter, and teach words and colors
}

// Describe tells what the pictures are drawn from.
func (p *Pictures) Describe() training.Data {
	return training.Data{Name: p.Name, Checksum: p.Checksum}
}

// Fill draws the pictures of these indices, and encodes their captions.
func (p *Pictures) Fill(b *training.Batch, indices []int, g *diffusion.Generator) error {
	n, side := len(indices), p.Network.unet.SampleSize.H
	if indices[0] < p.Small {
		side /= 2
	}
	clean := b.Images(n, Channels, side, side)
	ids, mask, keep := b.Int32("ids", TrainTokens), b.Float32("mask", TrainTokens), make([]float32, n)
	g.Uniform(keep)
	for i, index := range indices {
		one, err := captioned.Draw(p.Source, p.Seed, index, 1, side)
		if err != nil {
			return fmt.Errorf("picture %d: %w", index, err)
		}
		copy(clean[i*len(one.Pixels):], one.Pixels)
		caption := one.Captions[0]
		if float64(keep[i]) < p.Dropout {
			caption = ""
		}
		p.Network.encode(caption, ids[i*TrainTokens:(i+1)*TrainTokens], mask[i*TrainTokens:(i+1)*TrainTokens])
	}
	return nil
}
