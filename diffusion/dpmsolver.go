package diffusion

import "math"

// DPMSolver is DPM-Solver++(2M) (DPM-Solver++, algorithm 2): a deterministic multistep solver of second order, good in 10 to 30 steps.
// The first step and the last, to the clean image, are of first order, as in diffusers' DPMSolverMultistepScheduler
// (whose walk this is with [Trailing] timesteps).
type DPMSolver struct{}

func (DPMSolver) check() error { return nil }

func (DPMSolver) begin(s *Schedule) advance {
	// lambda is half the log of the signal-to-noise ratio, the solver's time.
	lambda := func(t int) float64 {
		alphaBar := float64(s.alphaBar(t))
		return math.Log(alphaBar/(1-alphaBar)) / 2
	}
	var previous struct { // the step before
		x0   Images
		from int
	}
	return func(tr transition) (Images, error) {
		before := previous
		previous.x0, previous.from = tr.x0.Clone(), tr.from
		if tr.to < 0 {
			return tr.x0.Clone(), nil
		}
		h := lambda(tr.to) - lambda(tr.from)
		x0 := tr.x0
		if tr.index > 0 { // extrapolate to the middle of the step
			r := (lambda(tr.from) - lambda(before.from)) / h
			x0 = blend(float32(1+1/(2*r)), tr.x0, float32(-1/(2*r)), before.x0)
		}
		alphaBar, alphaBarNext := s.alphaBar(tr.from), s.alphaBar(tr.to)
		ratio := sqrt((1 - alphaBarNext) / (1 - alphaBar))
		return blend(ratio, tr.x, sqrt(alphaBarNext)*float32(-math.Expm1(-h)), x0), nil
	}
}
