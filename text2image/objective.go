package text2image

import (
	"github.com/unnoise/unnoise/diffusion"
)

const (
	// Timesteps of the schedule, DeepFloyd IF's.
	Timesteps = 1000
	// gamma is where the weight of little noise ends to grow.
	gamma = 5
)

// Objective makes what a network learns of pictures: v-prediction (Salimans & Ho 2022, arXiv:2202.00512, appendix D), each
// image's squared error weighted by (min(SNR, γ) + 1)/(SNR + 1), which is 1 where there is much noise. By the estimate of x_0
// that is min-SNR weighting (Hang et al. 2023, arXiv:2303.09556) with one more: without it pure noise, from which the first steps
// of sampling are made, would count for nothing.
type Objective struct {
	Schedule *diffusion.Schedule
	Dropout  float64 // the chance that a caption is empty, for guidance
}

// NewObjective makes the objective on the schedule of DeepFloyd IF.
func NewObjective(dropout float64) (Objective, error) {
	s, err := diffusion.SquaredCosine(Timesteps)
	return Objective{s, dropout}, err
}

// levels are √ᾱ and √(1-ᾱ).
func (o Objective) levels(t int) (signal, noise float64) {
	return o.Schedule.Levels(float64(t))
}

// Weight is an image's at timestep t.
func (o Objective) Weight(t int) float64 {
	signal, noise := o.levels(t)
	snr := (signal / noise) * (signal / noise)
	return (min(snr, gamma) + 1) / (snr + 1)
}

// timesteps are spread over the schedule, one in each of as many equal parts as there are images.
func timesteps(g *diffusion.Generator, n int) []int {
	u := make([]float32, n)
	g.Uniform(u)
	t := make([]int, n)
	for i := range t {
		t[i] = min(int((float64(i)+float64(u[i]))/float64(n)*Timesteps), Timesteps-1)
	}
	return t
}

// Batch noises pictures [N,3,H,W] in [-1,1] to timesteps of the generator, and drops captions.
func (o Objective) Batch(f *Folder, pictures diffusion.Images, captions []string, g *diffusion.Generator) Batch {
	n := pictures.N
	b := Batch{X: pictures.Like(), Target: pictures.Like(), T: timesteps(g, n), Weight: make([]float32, n)}
	keep := make([]float32, n)
	g.Uniform(keep)
	said := make([]string, n)
	for i, c := range captions {
		if float64(keep[i]) >= o.Dropout {
			said[i] = c
		}
	}
	b.IDs, b.Mask = f.Encode(said)
	noise := pictures.Like()
	g.Normal(noise.Data)
	size := pictures.Size()
	for i, t := range b.T {
		a, s := o.levels(t)
		b.Weight[i] = float32(o.Weight(t))
		for j := i * size; j < (i+1)*size; j++ {
			x, e := pictures.Data[j], noise.Data[j]
			b.X.Data[j] = float32(a)*x + float32(s)*e
			b.Target.Data[j] = float32(a)*e - float32(s)*x
		}
	}
	return b
}
