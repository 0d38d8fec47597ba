package text2image

import (
	"fmt"
	"image"

	"golang.org/x/image/draw"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/training"
)

// Crops are what a second stage learns from, without end: a part of a picture, and that part of the picture scaled down
// and up again, and noised.
type Crops struct {
	source  captioned.Source
	network *SecondStage
	about   training.Data
	seed    uint64
	noising *diffusion.Schedule
}

// NewCrops sums the source up, whose name is for people.
func NewCrops(n *SecondStage, source captioned.Source, name string, seed uint64) (*Crops, error) {
	noising, err := diffusion.SquaredCosine(Timesteps)
	if err != nil {
		return nil, err
	}
	sum, err := checksum(source, n.Side())
	return &Crops{source: source, network: n, about: training.Data{Name: name, Checksum: sum}, seed: seed,
		noising: noising}, err
}

// Describe tells what the pictures are drawn from.
func (c *Crops) Describe() training.Data { return c.about }

// Fill draws the pictures of these indices and cuts a square out of each, in half their size.
func (c *Crops) Fill(b *training.Batch, indices []int, g *diffusion.Generator) error {
	side, crop := c.network.Side(), c.network.crop()
	clean := b.Images(len(indices), Channels, crop, crop)
	beside, level := b.Float32("beside", b.Shape...), b.Float32("level", 1)
	random := make([]float32, 3*len(indices))
	g.Uniform(random)
	g.Normal(beside)
	size := Channels * crop * crop
	for i, index := range indices {
		large, small, err := c.pair(index)
		if err != nil {
			return fmt.Errorf("picture %d: %w", index, err)
		}
		up, err := deepfloyd.Upscale(small, side, side)
		if err != nil {
			return err
		}
		at := func(k int) int { return min(int(random[3*i+k]*float32(side-crop+1)), side-crop) }
		x, y := at(0), at(1)
		cut(clean[i*size:(i+1)*size], large, x, y, crop)
		level[i] = float32(min(int(random[3*i+2]*levels), levels-1))
		signal, noise := c.noising.Levels(float64(level[i]))
		smooth := make([]float32, size)
		cut(smooth, up, x, y, crop)
		for j, v := range smooth {
			beside[i*size+j] = float32(signal)*v + float32(noise)*beside[i*size+j]
		}
	}
	return nil
}

// pair is an example in both sizes.
func (c *Crops) pair(index int) (large, small diffusion.Images, err error) {
	side := c.network.Side()
	e, err := c.source.At(c.seed, index, side)
	if err != nil {
		return large, small, err
	}
	mirrored := e.Mirror && captioned.Random(c.seed, index, "mirror").IntN(2) == 0
	large = diffusion.NewImages(1, Channels, side, side)
	small = diffusion.NewImages(1, Channels, side/Scale, side/Scale)
	captioned.Pixels(e.Image, mirrored, large.Data)
	captioned.Pixels(scaledDown(e.Image), mirrored, small.Data)
	return large, small, nil
}

// scaledDown is a picture in a first stage's size, scaled as those that it learns from.
func scaledDown(m *image.RGBA) *image.RGBA {
	dst := image.NewRGBA(image.Rect(0, 0, m.Rect.Dx()/Scale, m.Rect.Dy()/Scale))
	draw.CatmullRom.Scale(dst, dst.Rect, m, m.Rect, draw.Src, nil)
	return dst
}

// cut copies a square of an image.
func cut(dst []float32, from diffusion.Images, x, y, side int) {
	for plane := range from.C {
		for row := range side {
			at := (plane*from.H+y+row)*from.W + x
			copy(dst[(plane*side+row)*side:][:side], from.Data[at:at+side])
		}
	}
}
