package diffusion

import (
	"fmt"
	"math"
)

// Schedule says how much noise each of the T timesteps adds. Both slices have T values, index t being timestep t.
// Treat a Schedule as read-only; any number of samplers may share it.
type Schedule struct {
	Betas         []float32 // β_t, the variance added at step t (DDPM, eq. 2)
	AlphasCumprod []float32 // ᾱ_t = α_0 α_1 … α_t, α = 1 - β: √ᾱ_t is the image's factor in x_t (DDPM, eq. 4)
}

// Linear returns the schedule whose β rises in equal steps from first to last (DDPM, section 4: T = 1000, 1e-4 to
// 0.02).
func Linear(timesteps int, first, last float64) (*Schedule, error) {
	if timesteps < 1 {
		return nil, fmt.Errorf("a schedule needs at least 1 timestep, found %d", timesteps)
	}
	betas := make([]float32, timesteps)
	for i := range betas {
		betas[i] = float32(first + (last-first)*float64(i)/float64(max(timesteps-1, 1)))
	}
	return FromBetas(betas)
}

// ScaledLinear returns the schedule whose √β rises in equal steps, β from first to last (diffusers' "scaled_linear",
// that of latent diffusion models, arXiv:2112.10752).
func ScaledLinear(timesteps int, first, last float64) (*Schedule, error) {
	if timesteps < 1 {
		return nil, fmt.Errorf("a schedule needs at least 1 timestep, found %d", timesteps)
	}
	if !(first > 0 && last > 0) {
		return nil, fmt.Errorf("β goes from %g to %g, expected positive numbers", first, last)
	}
	betas := make([]float32, timesteps)
	from, to := math.Sqrt(first), math.Sqrt(last)
	for i := range betas {
		root := from + (to-from)*float64(i)/float64(max(timesteps-1, 1))
		betas[i] = float32(root * root)
	}
	return FromBetas(betas)
}

// SquaredCosine returns the schedule with ᾱ_t = f((t+1)/T)/f(0), f(u) = cos²((u + 0.008)/1.008 · π/2), and β at most
// 0.999 (Improved DDPM, eq. 17; diffusers' "squaredcos_cap_v2", DeepFloyd IF's).
func SquaredCosine(timesteps int) (*Schedule, error) {
	if timesteps < 1 {
		return nil, fmt.Errorf("a schedule needs at least 1 timestep, found %d", timesteps)
	}
	f := func(i int) float64 {
		u := float64(i) / float64(timesteps)
		c := math.Cos((u + 0.008) / 1.008 * math.Pi / 2)
		return c * c
	}
	betas := make([]float32, timesteps)
	for i := range betas {
		betas[i] = float32(min(1-f(i+1)/f(i), 0.999))
	}
	return FromBetas(betas)
}

// FromBetas returns the schedule of the given variances, each in (0, 1). It keeps the slice.
func FromBetas(betas []float32) (*Schedule, error) {
	if len(betas) == 0 {
		return nil, fmt.Errorf("a schedule needs at least 1 timestep, found none")
	}
	s := &Schedule{Betas: betas, AlphasCumprod: make([]float32, len(betas))}
	product := 1.0 // float64 between float32 values, as torch.cumprod keeps it
	for t, beta := range betas {
		if !(beta > 0 && beta < 1) {
			return nil, fmt.Errorf("β at timestep %d is %g, expected a number between 0 and 1", t, beta)
		}
		product *= float64(1 - beta)
		s.AlphasCumprod[t] = float32(product)
		if s.AlphasCumprod[t] == s.alphaBar(float64(t-1)) {
			return nil, fmt.Errorf(
				"ᾱ at timestep %d is %g in float32, as before it: β = %g adds no noise; use larger β", t,
				s.AlphasCumprod[t], beta)
		}
		if s.AlphasCumprod[t] == 0 {
			return nil, fmt.Errorf("ᾱ at timestep %d is 0 in float32: nothing is left of the image; use fewer "+
				"timesteps or smaller β", t)
		}
	}
	return s, nil
}

// Len returns the number of timesteps, T.
func (s *Schedule) Len() int { return len(s.Betas) }

// check refuses a schedule that no function of this package made.
func (s *Schedule) check() error {
	if n := s.Len(); n == 0 || len(s.AlphasCumprod) != n {
		return fmt.Errorf("the schedule has %d values of β and %d of ᾱ, expected as many, at least 1: see Linear, "+
			"SquaredCosine and FromBetas", n, len(s.AlphasCumprod))
	}
	return nil
}

// Clean is the time of the clean image in a [Schedule]: it lies before the first timestep.
const Clean = -1

// alphaBar returns ᾱ_t, and 1 for the clean image. Between two timesteps log ᾱ/(1-ᾱ) is interpolated.
func (s *Schedule) alphaBar(t float64) float32 {
	if t < 0 {
		return 1
	}
	i := int(t)
	share := t - float64(i)
	if share == 0 {
		return s.AlphasCumprod[i]
	}
	logSNR := func(alphaBar float32) float64 { return math.Log(float64(alphaBar) / (1 - float64(alphaBar))) }
	between := (1-share)*logSNR(s.AlphasCumprod[i]) + share*logSNR(s.AlphasCumprod[i+1])
	return float32(1 / (1 + math.Exp(-between)))
}

// Levels returns √ᾱ_t and √(1-ᾱ_t) for a timestep from 0 to T-1 or a time between, and 1 and 0 for [Clean].
func (s *Schedule) Levels(t float64) (signal, noise float64) {
	if !(t >= 0 && t <= float64(s.Len()-1) || t == Clean) || s.check() != nil {
		return math.NaN(), math.NaN()
	}
	alphaBar := s.alphaBar(t)
	return math.Sqrt(float64(alphaBar)), math.Sqrt(float64(1 - alphaBar))
}

func (s *Schedule) String() string { return fmt.Sprintf("its timesteps are 0 to %d", s.Len()-1) }

// AddNoise is the function [AddNoise] for timesteps (DDPM, eq. 4): √ᾱ_t x_0 + √(1-ᾱ_t) ε.
func (s *Schedule) AddNoise(x0, noise Images, t ...int) (Images, error) {
	x := x0.Like()
	return x, s.AddNoiseTo(x, x0, noise, t...)
}

// AddNoiseTo is AddNoise into dst, which has x0's shape and may be x0 or noise itself.
func (s *Schedule) AddNoiseTo(dst, x0, noise Images, t ...int) error {
	if err := s.check(); err != nil {
		return err
	}
	times := make([]float64, len(t))
	for i, t := range t {
		if t < 0 || t >= s.Len() {
			return fmt.Errorf("timestep %d is outside the schedule's 0 to %d", t, s.Len()-1)
		}
		times[i] = float64(t)
	}
	return addNoiseTo(s, dst, x0, noise, times)
}

func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }
