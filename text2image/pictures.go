package text2image

import (
	"fmt"
	"hash/crc32"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/training"
)

// Pictures are what a stage learns from, without end.
type Pictures struct {
	Source  captioned.Source
	Network *Network
	Name    string  // for people
	Seed    uint64  // of the source
	Dropout float64 // the chance that a caption is empty, for guidance

	checksum string
}

// NewPictures sums the source up by some of its captions and pictures.
func NewPictures(p Pictures) (*Pictures, error) {
	var err error
	p.checksum, err = checksum(p.Source, p.Network.Side())
	return &p, err
}

func checksum(from captioned.Source, side int) (string, error) {
	const captions, pictures = 2000, 32
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	fmt.Fprint(h, from.Len())
	for i := range captions {
		caption, err := from.Caption(0, i)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(h, caption)
	}
	for i := range pictures {
		e, err := from.At(0, i, side)
		if err != nil {
			return "", err
		}
		h.Write(e.Image.Pix)
	}
	return fmt.Sprintf("crc32c:%08x", h.Sum32()), nil
}

// Describe tells what the pictures are drawn from.
func (p *Pictures) Describe() training.Data {
	return training.Data{Name: p.Name, Checksum: p.checksum}
}

// Fill draws the pictures of these indices, and encodes their captions.
func (p *Pictures) Fill(b *training.Batch, indices []int, g *diffusion.Generator) error {
	n, side := len(indices), p.Network.unet.SampleSize.H
	if indices[0] < p.Network.Half {
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
