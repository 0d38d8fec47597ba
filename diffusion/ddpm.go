package diffusion

import (
	"errors"
	"fmt"
	"math"
)

// Variance names how much noise a [DDPM] step adds, with diffusers' names. β here is the variance between the two
// timesteps of the step, 1 - ᾱ_t/ᾱ_t', and β̃ = β (1-ᾱ_t')/(1-ᾱ_t).
type Variance string

const (
	FixedSmall    Variance = "fixed_small"     // β̃ (DDPM, eq. 7), the best for x_0 a single point
	FixedSmallLog Variance = "fixed_small_log" // β̃ too, by another road
	FixedLarge    Variance = "fixed_large"     // β, the best for x_0 ~ N(0, I)
	LearnedRange  Variance = "learned_range"   // between both, by the network's estimate v: exp(w log β + (1-w) log β̃), w = (v+1)/2 (Improved DDPM, eq. 15)
)

// DDPM is ancestral sampling (DDPM, algorithm 2), over any subset of the timesteps, as diffusers' DDPMScheduler does it:
// x_t' ~ N(μ(x_t, x̂_0), variance). Every step but one that leaves timestep 0 adds noise, so Timesteps should end at 0
// ([Leading] and [Linspace] do).
type DDPM struct {
	Variance Variance // FixedSmall when empty
}

// Begin starts a walk.
func (m DDPM) Begin(s *Schedule) (Advance, error) {
	switch m.Variance {
	case "", FixedSmall, FixedSmallLog, FixedLarge, LearnedRange:
		return func(tr Transition) (Images, error) { return m.advance(s, tr) }, nil
	}
	return nil, fmt.Errorf("the variance type %q is not supported, expected %q, %q, %q or %q", m.Variance, FixedSmall, FixedSmallLog, FixedLarge, LearnedRange)
}

func (m DDPM) advance(s *Schedule, tr Transition) (Images, error) {
	alphaBar, alphaBarNext := s.AlphaBar(tr.From), s.AlphaBar(tr.To)
	alpha := alphaBar / alphaBarNext
	beta := 1 - alpha

	// The posterior's mean given x_0 (DDPM, eq. 7).
	x := blend(sqrt(alphaBarNext)*beta/(1-alphaBar), tr.X0, sqrt(alpha)*(1-alphaBarNext)/(1-alphaBar), tr.X)
	if tr.From == 0 {
		return x, nil
	}

	noise, err := tr.Noise()
	if err != nil {
		return Images{}, err
	}
	smallest := max((1-alphaBarNext)/(1-alphaBar)*beta, 1e-20) // its logarithm is taken
	sigma := sqrt(smallest)
	switch m.Variance {
	case FixedLarge:
		sigma = sqrt(beta)
	case LearnedRange:
		v := tr.Estimate.Variance
		if v == nil {
			return Images{}, errors.New(`the variance type "learned_range" needs a network that estimates the variance, and this one does not`)
		}
		low, high := math.Log(float64(smallest)), math.Log(float64(beta))
		for i, n := range noise.Data {
			w := (float64(v.Data[i]) + 1) / 2
			x.Data[i] += float32(math.Exp((w*high+(1-w)*low)/2)) * n
		}
		return x, nil
	}
	for i, n := range noise.Data {
		x.Data[i] += sigma * n
	}
	return x, nil
}
