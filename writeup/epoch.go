package writeup

import (
	"context"
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/training"
)

// DrawEpoch draws what a model that was kept does: digits in few steps (a look, not a measurement), or noisy test
// images above what the denoiser makes of them and what they were.
func DrawEpoch(ctx context.Context, m *mnistunet.Model, draw evaluation.Draw, k training.Kept, test *dataset.Labeled,
	seed uint64) error {
	c := m.Config
	var p figure.Parameters
	p.Add("Software", "unnoise "+build.Commit())
	p.Add("model", k.Dir)
	p.Add("epoch", k.Epoch)
	var g figure.Grid
	if c.Condition == mnistunet.None {
		images, err := Denoised(ctx, m, test, c.Sigma, digitsInARow, seed)
		if err != nil {
			return err
		}
		if !c.PureNoise {
			p.Add("sigma", c.Sigma)
		}
		p.Add("seed", seed)
		g = DenoisedGrid(images, c)
	} else {
		s := evaluation.Sampling{Seed: seed, Guidance: 1}
		if c.Condition == mnistunet.Class {
			s.Guidance = usualGuidance
		}
		usual, _, err := c.Plan(model.Sampling{Guidance: &s.Guidance})
		if err != nil {
			return err
		}
		s.Sampler, s.Steps = usual.Sampler, usual.Steps
		if err := s.Complete(c); err != nil {
			return err
		}
		s.Describe(&p)
		labels, n, _ := rowsOfClasses(c)
		frames, err := draw(ctx, m, evaluation.Drawing{Sampling: s, Labels: labels, Count: n, Frames: 1})
		if err != nil {
			return err
		}
		g = figure.Grid{Images: frames[0].X, Columns: n / sampleRows, Scale: 2, Padding: 4}
	}
	return g.WritePNG(k.Sample, p)
}

// EpochDrawer returns what draws, by [DrawEpoch], each model that a run keeps.
func EpochDrawer(b compute.Backend, dtype dtypes.DType, draw evaluation.Draw, test *dataset.Labeled,
	seed uint64) func(context.Context, training.Kept) error {
	return func(ctx context.Context, k training.Kept) error {
		m, err := mnistunet.Load(b, k.ModelDir, dtype)
		if err != nil {
			return err
		}
		defer m.Close()
		return DrawEpoch(ctx, m, draw, k, test, seed)
	}
}

// Denoised returns three rows of n images: test images with noise of level sigma, the model's estimates, the images. A
// model of pure noise gets that instead, and there are two rows.
func Denoised(ctx context.Context, m *mnistunet.Model, test *dataset.Labeled, sigma float64, n int,
	seed uint64) (diffusion.Images, error) {
	clean := firstImages(test, n)
	if m.Config.PureNoise {
		x := clean.Like()
		diffusion.NewGenerator(seed).Normal(x.Data)
		y, err := m.Denoise(ctx, x)
		if err != nil {
			return x, err
		}
		return diffusion.Concat(x, y)
	}
	noisy := addNoise(clean, []float64{sigma}, seed)
	estimate, err := m.Denoise(ctx, noisy)
	if err != nil {
		return diffusion.Images{}, err
	}
	return diffusion.Concat(noisy, estimate, clean)
}

// DenoisedGrid arranges what Denoised returns.
func DenoisedGrid(x diffusion.Images, c mnistunet.Config) figure.Grid {
	rows := []string{"noisy", "denoised", "clean"}
	if c.PureNoise {
		rows = []string{"noise", "answer"}
	}
	return figure.Grid{Images: x, Columns: x.N / len(rows), Scale: 2, Padding: 4, RowLabels: rows}
}

// DenoisedPicture is a picture of what a model of condition none makes of test images with noise.
type DenoisedPicture struct {
	Data           string   // what the test images are called
	Count          int      // of images
	Sigma          *float64 // the noise's level; nil: the model's
	Seed           uint64
	DType, Backend string // what computes; no backend: onednn
}

// Write draws it to a PNG file: noisy, denoised, clean.
func (d DenoisedPicture) Write(ctx context.Context, m *mnistunet.Model, test *dataset.Labeled, path string) error {
	if m.Config.Condition != mnistunet.None {
		return fmt.Errorf("%s has condition %s; without a picture, denoise wants a model of condition none", m.Name,
			m.Config.Condition)
	}
	if d.Sigma != nil && m.Config.PureNoise {
		return model.Errorf("sigma", "it has no meaning with %s, which was trained with --pure-noise", m.Name)
	}
	sigma := m.Config.Sigma
	if d.Sigma != nil {
		sigma = *d.Sigma
	}
	images, err := Denoised(ctx, m, test, sigma, d.Count, d.Seed)
	if err != nil {
		return err
	}
	var p figure.Parameters
	p.Add("Software", "unnoise "+build.Commit())
	p.Add("model", m.Name)
	p.Add("data", d.Data)
	g := DenoisedGrid(images, m.Config)
	p.Add("count", g.Columns)
	if !m.Config.PureNoise {
		p.Add("sigma", sigma)
	}
	p.Add("seed", d.Seed)
	p.Add("dtype", d.DType)
	if d.Backend != "" {
		p.Add("backend", d.Backend)
	}
	return g.WritePNG(path, p)
}
