package diffusion

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// VelocityField estimates u(x, t), the velocity dx/dt of what is at x at time t (Flow matching, eq. 1). t runs from 0, noise, to 1,
// the image, and is the same for all images. It leaves x unchanged, and returns early with ctx's error when ctx ends.
//
// The marginal velocity E[x_1 - ε | x_t] is what a network learns from [FlowPath]; x + (1-t) u is then the mean of the final images.
type VelocityField func(ctx context.Context, x Images, t float32) (Images, error)

// FlowPath writes the point at time t of the straight line from noise to image, x_t = (1-t) ε + t x_1, to x, and its velocity
// u = x_1 - ε to velocity (Rectified flow, eq. 1; Flow matching, eq. 22 and 23 with σ_min = 0). All have x1's shape; x and velocity may be
// x1 or noise themselves. Give one t from 0 to 1 for all images, or one for each.
func FlowPath(x, velocity, x1, noise Images, t ...float32) error {
	if err := x1.check(); err != nil {
		return err
	}
	if err := noise.checkLike(x1, "the noise"); err != nil {
		return err
	}
	if err := x.checkLike(x1, "the destination"); err != nil {
		return err
	}
	if err := velocity.checkLike(x1, "the velocity"); err != nil {
		return err
	}
	if len(t) != 1 && len(t) != x1.N {
		return fmt.Errorf("%d images need 1 time or %d, found %d", x1.N, x1.N, len(t))
	}
	for _, t := range t {
		if !(t >= 0 && t <= 1) {
			return fmt.Errorf("the time is %g, expected a number from 0 (noise) to 1 (image)", t)
		}
	}
	size := x1.Size()
	for n := range x1.N {
		t := t[min(n, len(t)-1)]
		for i := n * size; i < (n+1)*size; i++ {
			e, v := noise.Data[i], x1.Data[i]
			x.Data[i], velocity.Data[i] = (1-t)*e+t*v, v-e
		}
	}
	return nil
}

// GuideVelocity is classifier-free guidance of velocities, u = u_uncond + γ (u_cond - u_uncond), as [Guide] is that of noise.
func GuideVelocity(cond, uncond Images, scale float32) (Images, error) {
	if err := cond.check(); err != nil {
		return Images{}, fmt.Errorf("conditional velocity: %w", err)
	}
	if err := uncond.checkLike(cond, "the unconditional velocity"); err != nil {
		return Images{}, err
	}
	return guide(cond, uncond, scale), nil
}

// FlowMethod is how a [FlowSampler] solves dx/dt = u(x, t).
type FlowMethod string

const (
	Euler    FlowMethod = "euler"    // of first order: x + h u(x, t)
	Midpoint FlowMethod = "midpoint" // of second order, with two evaluations a step: x + h u(x + h/2 u(x, t), t + h/2)
)

// FlowSampler follows a [VelocityField] from noise, t = 0, to images, t = 1. It draws no noise on the way.
type FlowSampler struct {
	N      int        // steps, each of 1/N
	Method FlowMethod // Euler when empty
}

// maxFlowSteps keeps all times below 1 in float32.
const maxFlowSteps = 1 << 20

// Evaluations returns how often a walk asks for the velocity.
func (s FlowSampler) Evaluations() int {
	if s.Method == Midpoint {
		return 2 * s.N
	}
	return s.N
}

// Steps returns the walk from x, which is standard normal noise, as [Sampler.Steps] does: it stops after the first error, which comes with
// a zero Step, leaves x unchanged, and may be ranged over again.
func (s FlowSampler) Steps(ctx context.Context, v VelocityField, x Images) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		if err := s.check(v, x); err != nil {
			yield(Step{}, err)
			return
		}
		x := x // ranging again starts from the same x
		for i := range s.N {
			step, err := s.step(ctx, v, x, i)
			if err != nil {
				if ctx.Err() == nil {
					err = fmt.Errorf("step %d of %d, time %g: %w", i+1, s.N, float32(i)/float32(s.N), err)
				}
				yield(Step{}, err)
				return
			}
			if !yield(step, nil) {
				return
			}
			x = step.X
		}
	}
}

// Sample walks to the end and returns the images.
func (s FlowSampler) Sample(ctx context.Context, v VelocityField, x Images) (Images, error) {
	for step, err := range s.Steps(ctx, v, x) {
		if err != nil {
			return Images{}, err
		}
		x = step.X
	}
	return x, nil
}

// step makes the i-th step from x.
func (s FlowSampler) step(ctx context.Context, v VelocityField, x Images, i int) (Step, error) {
	h, t := 1/float32(s.N), float32(i)/float32(s.N)
	u, err := v.at(ctx, x, t)
	if err != nil {
		return Step{}, err
	}
	asked := x // where the velocity that makes the step was asked for
	if s.Method == Midpoint {
		asked, t = blend(1, x, h/2, u), (float32(i)+0.5)/float32(s.N)
		if u, err = v.at(ctx, asked, t); err != nil {
			return Step{}, err
		}
	}
	return Step{
		Index: i, Total: s.N, Timestep: -1, Next: -1, Time: float32(i+1) / float32(s.N),
		X: blend(1, x, h, u), X0: blend(1, asked, 1-t, u),
	}, nil
}

// at is a checked estimate.
func (v VelocityField) at(ctx context.Context, x Images, t float32) (Images, error) {
	if err := ctx.Err(); err != nil {
		return Images{}, err
	}
	u, err := v(ctx, x, t)
	if err != nil {
		return Images{}, err
	}
	if err := u.checkLike(x, "the velocity"); err != nil {
		return Images{}, err
	}
	if !Finite(u.Data) {
		return Images{}, errNotFinite
	}
	return u, nil
}

func (s FlowSampler) check(v VelocityField, x Images) error {
	if v == nil {
		return errors.New("the sampler has no velocity field")
	}
	if err := x.check(); err != nil {
		return err
	}
	if s.N < 1 || s.N > maxFlowSteps {
		return fmt.Errorf("the number of steps is %d, expected 1 to %d", s.N, maxFlowSteps)
	}
	switch s.Method {
	case "", Euler, Midpoint:
		return nil
	}
	return fmt.Errorf("the flow's method %q is unknown, expected %q or %q", s.Method, Euler, Midpoint)
}
