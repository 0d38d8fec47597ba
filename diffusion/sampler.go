package diffusion

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
)

// Sampler walks from x_t back to images: at each timestep it asks a [Denoiser] for ε, estimates x_0, and lets its
// Method make x at the next timestep. A Sampler holds settings only and may be used again and, where Noise allows, at the same time.
type Sampler struct {
	Schedule  *Schedule   // the one the network was trained with
	Timesteps []int       // those visited, strictly falling; see [Schedule.Timesteps]
	Method    Method      // DDPM, DDIM, DPMSolver or your own
	Clip      Clip        // bounds for the estimate of x_0
	Noise     NoiseSource // the random part of the steps; a deterministic Method needs none

	first int
}

// NoiseSource fills dst with the standard normal noise that a step adds. index counts the steps of this run from 0,
// timestep is the one that the step leaves. [Generator.Noise] is one; another may replay recorded noise.
// It is asked only by steps that add noise.
type NoiseSource func(index, timestep int, dst Images) error

// Step is the state after one step.
type Step struct {
	Index    int     // this step, from 0
	Total    int     // steps in this run
	Timestep int     // the timestep denoised: X came from x at this timestep; -1 in a flow, which has none
	Next     int     // the timestep that X has now (but for [DDIM.Stride]); -1 after the last step, when X is the result, and in a flow
	Time     float32 // in a flow: the time that X has now, 1 after the last step; otherwise 0

	// X is x at timestep Next or at Time. The next step starts from it, so that changing its values in place (inpainting) changes the walk.
	X Images
	// X0 is the estimate of the final images that this step was based on, after clipping.
	X0 Images
}

// From returns a sampler that starts with the i-th of the timesteps (from 0), for image-to-image: noise an image to
// Timesteps[i] with [Schedule.AddNoise] and let the sampler go on from there (SDEdit, arXiv:2108.01073).
func (s Sampler) From(i int) Sampler {
	s.first = i
	return s
}

// Steps returns the walk from x, which is x_t at the first timestep: pure noise, or a noised image for [Sampler.From].
// It stops after the first error, which comes with a zero Step: wrong settings, the Denoiser's or NoiseSource's error, values
// that are not finite, or ctx's error as soon as a step ends after ctx did. x itself stays unchanged. Ranging again starts again from x.
func (s Sampler) Steps(ctx context.Context, d Denoiser, x Images) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		err := s.check(d, x)
		if err != nil {
			yield(Step{}, err)
			return
		}
		advance, err := s.Method.Begin(s.Schedule)
		if err != nil {
			yield(Step{}, err)
			return
		}
		x, timesteps := x, s.Timesteps[s.first:] // ranging again starts from the same x
		for i, t := range timesteps {
			step := Step{Index: i, Total: len(timesteps), Timestep: t, Next: -1}
			if i+1 < len(timesteps) {
				step.Next = timesteps[i+1]
			}
			if err := s.step(ctx, d, advance, x, &step); err != nil {
				if ctx.Err() == nil {
					err = fmt.Errorf("step %d of %d, timestep %d: %w", i+1, len(timesteps), t, err)
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
func (s Sampler) Sample(ctx context.Context, d Denoiser, x Images) (Images, error) {
	for step, err := range s.Steps(ctx, d, x) {
		if err != nil {
			return Images{}, err
		}
		x = step.X
	}
	return x, nil
}

// step fills in step's X and X0.
func (s Sampler) step(ctx context.Context, d Denoiser, advance Advance, x Images, step *Step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	estimate, err := d(ctx, x, step.Timestep)
	if err != nil {
		return err
	}
	if err := estimate.check(x); err != nil {
		return err
	}
	if !Finite(estimate.Noise.Data) || estimate.Variance != nil && !Finite(estimate.Variance.Data) {
		return errNotFinite
	}
	step.X0 = predictX0(x, estimate.Noise, s.Schedule.AlphaBar(step.Timestep))
	s.Clip.apply(step.X0)
	step.X, err = advance(Transition{Index: step.Index, From: step.Timestep, To: step.Next, X: x, X0: step.X0, Estimate: estimate, noise: s.Noise})
	if err != nil {
		return err
	}
	if err := step.X.checkLike(x, "what the method makes"); err != nil {
		return err
	}
	if !Finite(step.X.Data) {
		return errors.New("the step leads to values that are NaN or infinite")
	}
	return nil
}

var errNotFinite = errors.New("the network's estimate has values that are NaN or infinite: its weights are damaged, or its dtype is too small for them (try f32)")

// predictX0 solves the forward process for x_0 (DDPM, eq. 15): (x_t - √(1-ᾱ_t) ε) / √ᾱ_t.
func predictX0(x, noise Images, alphaBar float32) Images {
	x0 := x.Like()
	signal, sigma := sqrt(alphaBar), sqrt(1-alphaBar)
	for i := range x0.Data {
		x0.Data[i] = (x.Data[i] - sigma*noise.Data[i]) / signal
	}
	return x0
}

// check tells whether the settings fit together and to the walk.
func (s Sampler) check(d Denoiser, x Images) error {
	if d == nil {
		return errors.New("the sampler has no denoiser")
	}
	if err := x.check(); err != nil {
		return err
	}
	if s.Schedule == nil {
		return errors.New("the sampler has no schedule")
	}
	if err := s.Schedule.check(); err != nil {
		return err
	}
	if s.Method == nil {
		return errors.New("the sampler has no method: expected DDPM, DDIM or DPMSolver")
	}
	if len(s.Timesteps) == 0 {
		return errors.New("the sampler has no timesteps: see Schedule.Timesteps")
	}
	if s.first < 0 || s.first >= len(s.Timesteps) {
		return fmt.Errorf("the walk starts with step %d, but there are steps 0 to %d", s.first, len(s.Timesteps)-1)
	}
	for i, t := range s.Timesteps {
		if t < 0 || t >= s.Schedule.Len() {
			return fmt.Errorf("timestep %d is outside the schedule's 0 to %d", t, s.Schedule.Len()-1)
		}
		if i > 0 && t >= s.Timesteps[i-1] {
			return fmt.Errorf("timesteps must fall, but %d is followed by %d", s.Timesteps[i-1], t)
		}
	}
	return s.Clip.check()
}

// Method is how a sampler gets from one timestep to the next, with one estimate a step: [DDPM], [DDIM], [DPMSolver], or one of your own.
type Method interface {
	// Begin starts a walk: a method may remember estimates from step to step, and refuses wrong settings.
	Begin(*Schedule) (Advance, error)
}

// Advance makes x at the next timestep: new images, of the same shape.
type Advance func(Transition) (Images, error)

// Transition is what a Method knows about a step. All images in it are to be read only.
type Transition struct {
	Index    int // of the step, from 0
	From, To int // timesteps; To is -1 for the clean image
	X        Images
	X0       Images // the estimate of the final images, clipped
	Estimate Estimate
	noise    NoiseSource
}

// Noise draws the step's standard normal noise from the sampler's source.
func (tr Transition) Noise() (Images, error) {
	if tr.noise == nil {
		return Images{}, errors.New("the method adds noise, but the sampler has no source of it: set Noise, for instance to a Generator's")
	}
	noise := tr.X.Like()
	if err := tr.noise(tr.Index, tr.From, noise); err != nil {
		return Images{}, fmt.Errorf("drawing noise: %w", err)
	}
	return noise, nil
}

// blend returns a·x + b·y.
func blend(a float32, x Images, b float32, y Images) Images {
	sum := x.Like()
	for i := range sum.Data {
		sum.Data[i] = a*x.Data[i] + b*y.Data[i]
	}
	return sum
}

// Finite tells whether no value is NaN or infinite.
func Finite(values []float32) bool {
	for _, v := range values {
		if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
			return false
		}
	}
	return true
}
