package diffusion

import "math"

// DPMSolver is DPM-Solver++(2M) (DPM-Solver++, algorithm 2): a deterministic multistep solver of second order, good in 10 to 30 steps.
// The first step and the last, to the clean image, are of first order, as in diffusers' DPMSolverMultistepScheduler
// (whose walk this is with [Trailing] timesteps).
type DPMSolver struct{}

// Begin starts a walk.
func (DPMSolver) Begin(s *Schedule) (Advance, error) {
	// lambda is half the log of the signal-to-noise ratio, the solver's time.
	lambda := func(t int) float64 {
		alphaBar := float64(s.AlphaBar(t))
		return math.Log(alphaBar/(1-alphaBar)) / 2
	}
	var previous struct { // the step before
		x0   Images
		from int
	}
	return func(tr Transition) (Images, error) {
		before := previous
		previous.x0, previous.from = tr.X0.Clone(), tr.From
		if tr.To < 0 {
			return tr.X0.Clone(), nil
		}
		h := lambda(tr.To) - lambda(tr.From)
		x0 := tr.X0
		if tr.Index > 0 { // extrapolate to the middle of the step
			r := (lambda(tr.From) - lambda(before.from)) / h
			x0 = blend(float32(1+1/(2*r)), tr.X0, float32(-1/(2*r)), before.x0)
		}
		alphaBar, alphaBarNext := s.AlphaBar(tr.From), s.AlphaBar(tr.To)
		ratio := sqrt((1 - alphaBarNext) / (1 - alphaBar))
		return blend(ratio, tr.X, sqrt(alphaBarNext)*float32(-math.Expm1(-h)), x0), nil
	}, nil
}
