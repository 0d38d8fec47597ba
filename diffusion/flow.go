package diffusion

import (
	"fmt"
	"math"
)

// Flow is the process of flow matching: a straight line x_t = t x_0 + (1-t) ε from noise at t = 0 to the image at t = 1
// (Rectified flow, eq. 1; Flow matching, eq. 22 with σ_min = 0, which call the image x_1). A network estimates the
// [Velocity] dx/dt = x_0 - ε: the mean over all lines that cross at x_t.
type Flow struct{}

// Levels returns t and 1-t, for t from 0 (noise) to 1 (image).
func (Flow) Levels(t float64) (signal, noise float64) {
	if !(t >= 0 && t <= 1) {
		return math.NaN(), math.NaN()
	}
	return t, 1 - t
}

func (Flow) String() string { return "its times go from 0 (noise) to 1 (image)" }

// maxFlowSteps keeps all times below 1 in float32.
const maxFlowSteps = 1 << 20

// Path returns n equal moves. A flow has no timesteps, and so only one spacing.
func (Flow) Path(n int, _ Spacing) ([]Move, error) {
	if n < 1 || n > maxFlowSteps {
		return nil, fmt.Errorf("the number of steps is %d, expected 1 to %d", n, maxFlowSteps)
	}
	path := make([]Move, n)
	for i := range path {
		path[i] = Move{From: float64(i) / float64(n), To: float64(i+1) / float64(n)}
	}
	return path, nil
}

// FlowPath writes the point at time t of the straight line from noise to image to x, and its velocity x_0 - ε to
// velocity: what a network learns from. All have x0's shape; x and velocity may be x0 or noise themselves. Give one t
// from 0 to 1 for all images, or one for each.
func FlowPath(x, velocity, x0, noise Images, t ...float32) error {
	times := make([]float64, len(t))
	for i, t := range t {
		times[i] = float64(t)
	}
	if err := x.checkLike(x0, "the destination"); err != nil {
		return err
	}
	if err := velocity.checkLike(x0, "the velocity"); err != nil {
		return err
	}
	at := x0.Like()
	if err := addNoiseTo(Flow{}, at, x0, noise, times); err != nil {
		return err
	}
	for i, v := range x0.Data {
		velocity.Data[i] = v - noise.Data[i]
	}
	copy(x.Data, at.Data)
	return nil
}
