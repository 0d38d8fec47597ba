package text2image

import (
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/training"
)

const (
	// Timesteps of the schedule, DeepFloyd IF's.
	Timesteps = 1000
	// gamma is the signal-to-noise ratio from which on less noise weighs less.
	gamma = 5
)

// Objective is v-prediction (Salimans & Ho 2022, arXiv:2202.00512, appendix D) on DeepFloyd IF's schedule, squared
// cosine. An image's squared error weighs (min(SNR, γ) + 1)/(SNR + 1), so that an error of x_0 weighs min(SNR, γ) + 1:
// min-SNR weighting (Hang et al. 2023, arXiv:2303.09556) with one more, without which nearly pure noise, where sampling
// finds colors and shapes, would count for nothing. The timesteps of a batch are spread: one in each of as many parts
// of the schedule as there are images.
type Objective struct {
	schedule *diffusion.Schedule
	// Noisy draws t = 1 - u², u from 0 to 1, in place of t = u. Then half of the timesteps are in the last quarter of the
	// schedule: what a caption tells is learned there, and details before.
	Noisy bool
}

// NewObjective makes the objective.
func NewObjective() (Objective, error) {
	s, err := diffusion.SquaredCosine(Timesteps)
	return Objective{schedule: s}, err
}

// levels are √ᾱ and √(1-ᾱ).
func (o Objective) levels(t int) (signal, noise float64) {
	return o.schedule.Levels(float64(t))
}

func (o Objective) weight(t int) float64 {
	signal, noise := o.levels(t)
	snr := (signal / noise) * (signal / noise)
	return (min(snr, gamma) + 1) / (snr + 1)
}

// Fill makes "x", "t", "target" and "weight".
func (o Objective) Fill(b *training.Batch, g *diffusion.Generator) error {
	x, t, target, weight := b.Float32("x", b.Shape...), b.Float32("t", 1), b.Float32("target", b.Shape...),
		b.Float32("weight", 1)
	g.Uniform(weight)
	g.Normal(target)
	size := len(x) / b.N
	for i := range b.N {
		part := (float64(i) + float64(weight[i])) / float64(b.N)
		if o.Noisy {
			part = 1 - part*part
		}
		at := min(int(part*Timesteps), Timesteps-1)
		signal, noise := o.levels(at)
		o.noise(x, target, b.Clean, i*size, size, float32(signal), float32(noise))
		t[i], weight[i] = float32(at), float32(o.weight(at))
	}
	return nil
}

// noise makes x_t and v of the noise in target and clean images.
func (Objective) noise(x, target, clean []float32, from, n int, signal, noise float32) {
	for j := from; j < from+n; j++ {
		c, e := clean[j], target[j]
		x[j], target[j] = signal*c+noise*e, signal*e-noise*c
	}
}
