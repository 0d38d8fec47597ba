package text2image

import (
	"context"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/training"
)

// SecondTask is what a second stage learns from pictures that can be opened again by name.
func SecondTask(n *SecondStage, from captioned.Source, name string, c training.Config) (training.Task, error) {
	crops, err := NewCrops(n, from, name, c.Seed)
	if err != nil {
		return training.Task{}, err
	}
	o, err := NewObjective()
	return training.Task{Network: n, Data: crops, Objective: o}, err
}

// Enlarging says how [Enlarge] draws.
type Enlarging struct {
	Steps, Level int
	Seed         uint64
}

// Enlarge draws small images in [-1,1] larger, by DPM-Solver++, with a second stage that reads no text.
func Enlarge(ctx context.Context, m model.Upscaler, small diffusion.Images, e Enlarging) (diffusion.Images, error) {
	spec := m.Spec()
	x := spec.Images(small.N)
	g, noise := diffusion.NewGenerator(e.Seed), x.Like()
	g.Normal(x.Data)
	g.Normal(noise.Data)
	beside, err := m.Beside(small, noise, e.Level)
	if err != nil {
		return x, err
	}
	d, err := m.Bind(ctx, model.Ask{Beside: beside, Level: e.Level, Guidance: 1})
	if err != nil {
		return x, err
	}
	_, sampler, err := m.Plan(model.Sampling{Sampler: "dpm++", Steps: e.Steps})
	if err != nil {
		return x, err
	}
	return sampler.Sample(ctx, d, x)
}

// SecondLook looks at second stages that are kept.
type SecondLook struct {
	Backend compute.Backend
	DType   dtypes.DType
	Network *SecondStage
	Source  captioned.Source // of pictures that training does not see
}

// The timestep that small images are noised to, and the steps of sampling.
const (
	lookLevel = 100
	lookSteps = 8
)

// pairs are pictures in both sizes.
func (l SecondLook) pairs(n int) (large, small diffusion.Images, err error) {
	c := Crops{source: l.Source, network: l.Network, seed: ^uint64(0)}
	var all, down []diffusion.Images
	for i := range n {
		large, small, err := c.pair(i)
		if err != nil {
			return large, small, err
		}
		all, down = append(all, large), append(down, small)
	}
	if large, err = diffusion.Concat(all...); err == nil {
		small, err = diffusion.Concat(down...)
	}
	return large, small, err
}

// Draw draws a sheet: small pictures, what the model makes of them, and what they were.
func (l SecondLook) Draw(ctx context.Context, k training.Kept) error {
	m, err := deepfloyd.OpenPipeline(l.Backend, k.ModelDir, deepfloyd.Options{DType: l.DType})
	if err != nil {
		return err
	}
	defer m.Close()
	const pictures = 6
	large, small, err := l.pairs(pictures)
	if err != nil {
		return err
	}
	drawn, err := Enlarge(ctx, m, small, Enlarging{Steps: lookSteps, Level: lookLevel})
	if err != nil {
		return err
	}
	rows, err := diffusion.Concat(enlarged(small), drawn, large)
	if err != nil {
		return err
	}
	parameters := about(k)
	parameters.Add("sampler", "dpm++")
	parameters.Add("steps", lookSteps)
	parameters.Add("noise_level", lookLevel)
	return figure.Grid{Images: model.MinusOneToOne.To(model.ZeroToOne, rows), Columns: pictures, Scale: 1,
		Padding: 4}.WritePNG(k.Sample, parameters)
}

// enlarged repeats pixels.
func enlarged(x diffusion.Images) diffusion.Images {
	y := diffusion.NewImages(x.N, x.C, Scale*x.H, Scale*x.W)
	for i := range y.Data {
		plane, row, column := i/(y.H*y.W), i/y.W%y.H, i%y.W
		y.Data[i] = x.Data[(plane*x.H+row/Scale)*x.W+column/Scale]
	}
	return y
}

// Measure tells the errors on pictures that training does not see, by band of t.
func (l SecondLook) Measure(ctx context.Context, k training.Kept) (map[string]float64, error) {
	m, err := deepfloyd.OpenPipeline(l.Backend, k.ModelDir, deepfloyd.Options{DType: l.DType})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	const pictures = 8
	large, small, err := l.pairs(pictures)
	if err != nil {
		return nil, err
	}
	noise := large.Like()
	diffusion.NewGenerator(1).Normal(noise.Data)
	beside, err := m.Beside(small, noise, lookLevel)
	if err != nil {
		return nil, err
	}
	d, err := m.Bind(ctx, model.Ask{Beside: beside, Level: lookLevel, Guidance: 1})
	if err != nil {
		return nil, err
	}
	all, err := errorsOf(ctx, d, large)
	return scores(all), err
}
