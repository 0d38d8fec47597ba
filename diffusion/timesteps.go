package diffusion

import (
	"fmt"
	"math"
)

// Spacing says which of a schedule's timesteps a shorter walk visits (Lin et al., table 2). Names and numbers are
// diffusers'.
type Spacing string

const (
	// Leading counts up from 0 in steps of ⌊T/n⌋, so it ends at timestep 0 and may start below T-1. DDPM's and
	// DeepFloyd IF's.
	Leading Spacing = "leading"
	// Trailing counts down from T-1 in steps of T/n. The best for few steps, with DDIM and DPMSolver.
	Trailing Spacing = "trailing"
	// Linspace has both T-1 and 0, in equal steps. The best for ancestral walks of few steps.
	Linspace Spacing = "linspace"
)

// Timesteps returns n of the schedule's timesteps, 1 ≤ n ≤ T, in falling order. (Of some numbers of trailing ones, as 7
// of 300, diffusers makes one more by rounding, -1, which is none.) One step of Leading or Linspace is timestep 0
// alone, which removes hardly any noise: for one step from noise take Trailing.
func (s *Schedule) Timesteps(n int, spacing Spacing) ([]int, error) {
	total := s.Len()
	if n < 1 || n > total {
		return nil, fmt.Errorf("the number of steps is %d, expected 1 to %d, the schedule's timesteps", n, total)
	}
	timesteps := make([]int, n)
	for i := range timesteps {
		switch spacing {
		case Leading:
			timesteps[i] = (n - 1 - i) * (total / n)
		case Trailing:
			stride := float64(total) - (float64(total) - float64(total)/float64(n)) // rounded as numpy.arange rounds it
			timesteps[i] = int(math.RoundToEven(float64(total)-float64(float64(i)*stride))) - 1
		case Linspace:
			stride := float64(total-1) / float64(max(n-1, 1))
			timesteps[i] = int(math.RoundToEven(float64(n-1-i) * stride))
		default:
			return nil, fmt.Errorf("timestep spacing %q is unknown, expected %q, %q or %q", spacing, Leading, Trailing,
				Linspace)
		}
	}
	return timesteps, nil
}

// Path returns the moves between n of the schedule's timesteps, and from the last of them to the clean image; see
// [Schedule.Timesteps].
func (s *Schedule) Path(n int, spacing Spacing) ([]Move, error) {
	timesteps, err := s.Timesteps(n, spacing)
	return Visit(timesteps...), err
}

// Visit returns the path through the timesteps of a schedule, as a rule falling, to the clean image.
func Visit(timesteps ...int) []Move {
	path := make([]Move, len(timesteps))
	for i, t := range timesteps {
		path[i] = Move{From: float64(t), To: Clean}
		if i > 0 {
			path[i-1].To = float64(t)
		}
	}
	return path
}
