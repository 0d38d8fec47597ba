package diffusion

import (
	"context"
	"errors"
	"fmt"
	"math"
)

// Variance names how much noise a [DDPM] step adds, with diffusers' names. β here is the variance between the two
// times of the step, 1 - ᾱ_t/ᾱ_t', and β̃ = β (1-ᾱ_t')/(1-ᾱ_t).
type Variance string

const (
	FixedSmall    Variance = "fixed_small"     // β̃ (DDPM, eq. 7), the best for x_0 a single point
	FixedSmallLog Variance = "fixed_small_log" // β̃ too, by another road
	FixedLarge    Variance = "fixed_large"     // β, the best for x_0 ~ N(0, I)
	// between both, by the network's estimate v: exp(w log β + (1-w) log β̃), w = (v+1)/2 (Improved DDPM, eq. 15)
	LearnedRange Variance = "learned_range"
)

// DDPM is ancestral sampling (DDPM, algorithm 2), over any subset of the timesteps, as diffusers' DDPMScheduler does
// it: x_t' ~ N(μ(x_t, x̂_0), variance). With a [Schedule] every step but one that leaves timestep 0 adds noise, so a
// path should visit it ([Leading] and [Linspace] do).
type DDPM struct {
	Variance Variance // FixedSmall when empty
}

// Begin starts a run.
func (m DDPM) Begin(p Process) (Advance, error) {
	switch m.Variance {
	case "", FixedSmall, FixedSmallLog, FixedLarge, LearnedRange:
		return func(_ context.Context, tr Transition) (Images, error) { return m.advance(p, tr) }, nil
	}
	return nil, fmt.Errorf("the variance type %q is not supported, expected %q, %q, %q or %q", m.Variance, FixedSmall,
		FixedSmallLog, FixedLarge, LearnedRange)
}

func (m DDPM) advance(p Process, tr Transition) (Images, error) {
	alphaBar, rest, scale := varianceOne(p, tr.From)
	alphaBarNext, restNext, scaleNext := varianceOne(p, tr.To)
	alpha, beta := alphaBar/alphaBarNext, betaOf(p, tr.Move)

	// The posterior's mean given x_0 (DDPM, eq. 7).
	x := blend(sqrt(alphaBarNext)*beta/rest/scaleNext, tr.X0, sqrt(alpha)*restNext/rest*scale/scaleNext, tr.X)
	if m.last(p, tr.Move) {
		return x, nil
	}

	noise, err := tr.Noise()
	if err != nil {
		return Images{}, err
	}
	smallest := max(restNext/rest*beta, 1e-20) // its logarithm is taken
	sigma := sqrt(smallest)
	switch m.Variance {
	case FixedLarge:
		sigma = sqrt(beta)
	case LearnedRange:
		if tr.Variance == nil {
			return Images{}, errors.New(
				`the variance type "learned_range" needs a network that estimates the variance, and this one does not`)
		}
		low, high := math.Log(float64(smallest)), math.Log(float64(beta))
		for i, n := range noise.Data {
			w := (float64(tr.Variance.Data[i]) + 1) / 2
			x.Data[i] += float32(math.Exp((w*high+(1-w)*low)/2)) / scaleNext * n
		}
		return x, nil
	}
	addTo(x, sigma/scaleNext, noise)
	return x, nil
}

// last reports whether a move adds no noise.
func (DDPM) last(p Process, m Move) bool {
	if _, ok := p.(*Schedule); ok {
		return m.From == 0
	}
	return isClean(p, m.To)
}

// addTo adds a·y to x.
func addTo(x Images, a float32, y Images) {
	for i, v := range y.Data {
		x.Data[i] += a * v
	}
}
