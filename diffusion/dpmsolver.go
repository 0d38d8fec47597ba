package diffusion

import (
	"context"
	"math"
)

// DPMSolver is DPM-Solver++(2M) (DPM-Solver++, algorithm 2): a deterministic multistep solver of second order, good in 10 to 30 steps.
// The first step and the last, to the clean image, are of first order, as in diffusers' DPMSolverMultistepScheduler
// (whose run this is with [Trailing] timesteps).
type DPMSolver struct{}

// Begin starts a run.
func (DPMSolver) Begin(p Process) (Advance, error) {
	// lambda is half the log of the signal-to-noise ratio, the solver's time: -∞ for pure noise.
	lambda := func(t float64) float64 {
		alphaBar, _ := varianceOne(p, t)
		return math.Log(float64(alphaBar)/(1-float64(alphaBar))) / 2
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
		if before.x0.Data != nil { // extrapolate to the middle of the step
			r := (lambda(tr.From) - lambda(before.from)) / h
			x0 = blend(float32(1+1/(2*r)), tr.X0, float32(-1/(2*r)), before.x0)
		}
		alphaBar, scale := varianceOne(p, tr.From)
		alphaBarNext, scaleNext := varianceOne(p, tr.To)
		ratio := sqrt((1 - alphaBarNext) / (1 - alphaBar))
		return blend(ratio*scale/scaleNext, tr.X, sqrt(alphaBarNext)*float32(-math.Expm1(-h))/scaleNext, x0), nil
	}, nil
}
