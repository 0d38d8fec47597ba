package diffusion

import (
	"context"
	"math"
)

// DPMSolver is DPM-Solver++(2M) (DPM-Solver++, algorithm 2): a deterministic multistep solver of second order, good in
// 10 to 30 steps. The first step and the last, to the clean image, are of first order, as in diffusers'
// DPMSolverMultistepScheduler (whose run this is with [Trailing] timesteps).
type DPMSolver struct{}

// Begin starts a run.
func (DPMSolver) Begin(p Process) (Advance, error) {
	// lambda is half the log of the signal-to-noise ratio, the solver's time: -∞ for pure noise.
	lambda := func(t float64) float64 {
		if s, ok := p.(*Schedule); ok {
			alphaBar := float64(s.alphaBar(t))
			return math.Log(alphaBar/(1-alphaBar)) / 2
		}
		signal, noise := p.Levels(t)
		return math.Log(signal / noise)
	}
	var previous struct { // the step before
		x0   Images
		from float64
	}
	return func(_ context.Context, tr Transition) (Images, error) {
		before := previous
		previous.x0, previous.from = tr.X0, tr.From
		if isClean(p, tr.To) {
			return tr.X0.Clone(), nil
		}
		h := lambda(tr.To) - lambda(tr.From)
		x0 := tr.X0
		if before.x0.Data != nil && before.from != tr.From { // extrapolate to the middle of the step
			r := (lambda(tr.From) - lambda(before.from)) / h
			x0 = blend(float32(1+1/(2*r)), tr.X0, float32(-1/(2*r)), before.x0)
		}
		_, rest, scale := varianceOne(p, tr.From)
		alphaBar, restNext, scaleNext := varianceOne(p, tr.To)
		ratio := sqrt(restNext / rest)
		return blend(ratio*scale/scaleNext, tr.X, sqrt(alphaBar)*float32(-math.Expm1(-h))/scaleNext, x0), nil
	}, nil
}
