package training

import (
	"fmt"
	"math"

	"github.com/unnoise/unnoise/diffusion"
)

// Denoising learns the clean image: x = image + σ ε.
type Denoising struct{ Sigma float64 }

func (o Denoising) Fill(b *Batch, g *diffusion.Generator) error {
	x, target := b.Float32("x", b.Shape...), b.Float32("target", b.Shape...)
	g.Normal(x)
	for i, e := range x {
		x[i] = b.Clean[i] + float32(o.Sigma)*e
	}
	copy(target, b.Clean)
	return nil
}

// PureNoise learns the clean image from noise alone: x = ε. The noise says nothing of the image, so the best answer is
// the mean image, whatever the noise.
type PureNoise struct{}

func (PureNoise) Fill(b *Batch, g *diffusion.Generator) error {
	x, target := b.Float32("x", b.Shape...), b.Float32("target", b.Shape...)
	g.Normal(x)
	copy(target, b.Clean)
	return nil
}

// Flow learns the velocity of straight lines from noise to image at a time that is uniform in [0, 1) (Lipman et al.
// 2022, arXiv:2210.02747). "t" is [N,1].
type Flow struct{}

func (Flow) Fill(b *Batch, g *diffusion.Generator) error {
	x, t, target := b.Float32("x", b.Shape...), b.Float32("t", 1), b.Float32("target", b.Shape...)
	g.Uniform(t)
	g.Normal(target)
	return diffusion.FlowPath(b.images(x), b.images(target), b.images(b.Clean), b.images(target), t...)
}

// Diffusion learns from images that are noised to a timestep, which is uniform in 0 … T-1 (Ho et al. 2020,
// arXiv:2006.11239). "t" is [N,1].
type Diffusion struct {
	Schedule   *diffusion.Schedule
	Prediction diffusion.Prediction // Epsilon, Sample or V
	// γ of min-SNR weights (Hang et al. 2023, arXiv:2303.09556), about 5; 0: all timesteps weigh the same
	MinSNR   float64
	Relative bool // the network is told t/T instead of t
}

func (o Diffusion) Fill(b *Batch, g *diffusion.Generator) error {
	x, t, target := b.Float32("x", b.Shape...), b.Float32("t", 1), b.Float32("target", b.Shape...)
	steps := make([]int, b.N)
	g.IntN(steps, o.Schedule.Len())
	g.Normal(target)
	for i, step := range steps {
		t[i] = float32(step)
		if o.Relative {
			t[i] /= float32(o.Schedule.Len())
		}
	}
	if err := o.Schedule.AddNoiseTo(b.images(x), b.images(b.Clean), b.images(target), steps...); err != nil {
		return err
	}
	switch o.Prediction {
	case diffusion.Epsilon:
	case diffusion.Sample:
		copy(target, b.Clean)
	case diffusion.V:
		size := len(target) / b.N
		for i, step := range steps {
			signal, noise := o.levels(step)
			for j := i * size; j < (i+1)*size; j++ {
				target[j] = float32(signal)*target[j] - float32(noise)*b.Clean[j]
			}
		}
	default:
		return fmt.Errorf("the prediction is %q, expected %q, %q or %q", o.Prediction, diffusion.Epsilon,
			diffusion.Sample, diffusion.V)
	}
	if o.MinSNR > 0 {
		weight := b.Float32("weight", 1)
		for i, step := range steps {
			weight[i] = float32(o.weight(step))
		}
	}
	return nil
}

// images views values of the clean images' size as images.
func (b *Batch) images(values []float32) diffusion.Images {
	return diffusion.Images{N: b.N, C: 1, H: 1, W: len(values) / b.N, Data: values}
}

// levels are √ᾱ and √(1-ᾱ).
func (o Diffusion) levels(step int) (signal, noise float64) {
	a := float64(o.Schedule.AlphasCumprod[step])
	return math.Sqrt(a), math.Sqrt(1 - a)
}

// weight is min(SNR, γ) for errors of x_0, in which those of ε count SNR times, those of v SNR + 1 times.
func (o Diffusion) weight(step int) float64 {
	a := float64(o.Schedule.AlphasCumprod[step])
	snr := a / (1 - a)
	switch o.Prediction {
	case diffusion.Epsilon:
		return min(snr, o.MinSNR) / snr
	case diffusion.V:
		return min(snr, o.MinSNR) / (snr + 1)
	}
	return min(snr, o.MinSNR)
}
