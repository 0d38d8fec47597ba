package diffusion

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
)

// Sampler goes from noise to images: for each move of its path it asks a [Denoiser] for an estimate, and lets its
// Method make x at the next time. A Sampler holds settings only and may be used again and, where Noise allows, at the
// same time.
type Sampler struct {
	Process Process     // the one the network was trained with
	Path    []Move      // see [Process.Path], [Visit] and [Resample]
	Method  Method      // DDPM, DDIM, DPMSolver, Euler, Midpoint, Heun or your own
	Clip    Clip        // bounds for the estimate of x_0
	Noise   NoiseSource // the random part of the steps; a deterministic Method needs none

	first int
}

// NoiseSource fills dst with the standard normal noise that a step adds. index counts the steps of this run from 0,
// from is the time that the step leaves. [Generator.Noise] is one; another may replay recorded noise. It is asked only
// by steps that add noise.
type NoiseSource func(index int, from float64, dst Images) error

// Step is one step and the state after it.
type Step struct {
	Index int // this step, from 0
	Total int // steps in this run
	Move      // the time that was left, and the one that X has now

	Input Images // x at the time From, read-only
	// X is x at the time To. The next step starts from it, so that changing its values in place (inpainting) changes
	// the run.
	X       Images
	X0      Images // the last estimate of the final images that this step was based on, after clipping, read-only
	Epsilon Images // the noise that the network sees in Input, read-only
}

// From returns a sampler that starts with the i-th move of the path (from 0), for image-to-image: see [Sampler.Start].
func (s Sampler) From(i int) Sampler {
	s.first = i
	return s
}

// Start returns images noised to the time where the sampler's first move begins: what SDEdit (arXiv:2108.01073) starts
// from. noise is standard normal and has x0's shape.
func (s Sampler) Start(x0, noise Images) (Images, error) {
	if err := s.check(); err != nil {
		return Images{}, err
	}
	return AddNoise(s.Process, x0, noise, s.Path[s.first].From)
}

// Steps returns the run from x, which is x_t where the first move begins: pure noise, or a noised image for
// [Sampler.From]. It stops after the first error, which comes with a zero Step: wrong settings, the Denoiser's or
// NoiseSource's error, values that are not finite, or ctx's error as soon as a step ends after ctx did. x itself stays
// unchanged. Ranging again starts again from x.
func (s Sampler) Steps(ctx context.Context, d Denoiser, x Images) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		err := s.check()
		if err == nil && d == nil {
			err = errors.New("the sampler has no denoiser")
		}
		if err == nil {
			err = x.check()
		}
		if err != nil {
			yield(Step{}, err)
			return
		}
		path := s.Path[s.first:]
		step := Step{X: x, X0: x, Epsilon: x}
		var advance Advance
		for i, move := range path {
			step = Step{Index: i, Total: len(path), Move: move, Input: step.X, X0: step.X0, Epsilon: step.Epsilon}
			err := ctx.Err()
			switch {
			case err != nil:
			case s.rises(move):
				advance = nil // what a method remembers of the steps before has no place in the ones to come
				err = s.renoise(&step)
			default:
				if advance == nil {
					advance, err = s.Method.Begin(s.Process)
				}
				if err == nil {
					err = s.step(ctx, d, advance, &step)
				}
			}
			if err != nil {
				if ctx.Err() == nil {
					err = fmt.Errorf("step %d of %d, time %g: %w", i+1, len(path), move.From, err)
				}
				yield(Step{}, err)
				return
			}
			if !yield(step, nil) {
				return
			}
		}
	}
}

// Sample runs to the end and returns the images.
func (s Sampler) Sample(ctx context.Context, d Denoiser, x Images) (Images, error) {
	for step, err := range s.Steps(ctx, d, x) {
		if err != nil {
			return Images{}, err
		}
		x = step.X
	}
	return x, nil
}

// Evaluations returns how often a run asks for an estimate.
func (s Sampler) Evaluations() int {
	n := 0
	for _, move := range s.Path[s.first:] {
		m, several := s.Method.(interface{ evaluations(Process, Move) int })
		switch {
		case s.rises(move):
		case several:
			n += m.evaluations(s.Process, move)
		default:
			n++
		}
	}
	return n
}

// rises reports whether a move goes to more noise.
func (s Sampler) rises(m Move) bool {
	from, _ := straight(s.Process, m.From)
	to, _ := straight(s.Process, m.To)
	return to < from
}

func (s Sampler) renoise(step *Step) error {
	noise, err := draw(s.Noise, step.Index, step.From, step.Input)
	if err == nil {
		step.X = renoise(s.Process, step.Input, noise, step.Move)
	}
	return err
}

// step fills in step's X, X0 and Epsilon.
func (s Sampler) step(ctx context.Context, d Denoiser, advance Advance, step *Step) (err error) {
	tr := Transition{Index: step.Index, Move: step.Move, X: step.Input, sampler: s, denoiser: d, x0: &step.X0}
	if tr.Parts, err = tr.Estimate(ctx, step.Input, step.From); err != nil {
		return err
	}
	step.Epsilon = tr.Epsilon
	if step.X, err = advance(ctx, tr); err != nil {
		return err
	}
	if err := step.X.checkLike(step.Input, "what the method makes"); err != nil {
		return err
	}
	if !Finite(step.X.Data) {
		return errors.New("the step leads to values that are NaN or infinite")
	}
	return nil
}

// ErrNotFinite is what sampling ends with where a network estimates NaN or infinite values.
var ErrNotFinite = errors.New("the network's estimate has values that are NaN or infinite: its training diverged (a " +
	"lower learning rate helps), its weights are damaged, or its dtype is too small for them (try f32)")

// check tells what is wrong with the settings.
func (s Sampler) check() error {
	if s.Process == nil || s.Process == (*Schedule)(nil) {
		return errors.New("the sampler has no process: expected a *Schedule or a Flow")
	}
	if schedule, ok := s.Process.(*Schedule); ok {
		if err := schedule.check(); err != nil {
			return err
		}
	}
	if s.Method == nil {
		return errors.New("the sampler has no method: expected DDPM, DDIM, DPMSolver, Euler, Midpoint or Heun")
	}
	if len(s.Path) == 0 {
		return errors.New("the sampler's path has no moves: see Process.Path")
	}
	if s.first < 0 || s.first >= len(s.Path) {
		return fmt.Errorf("the first step is %d, but there are steps 0 to %d", s.first, len(s.Path)-1)
	}
	for i, m := range s.Path {
		for _, t := range []float64{m.From, m.To} {
			if err := checkTime(s.Process, t); err != nil {
				return err
			}
		}
		if isClean(s.Process, m.From) && !s.rises(m) || m.From == m.To {
			return fmt.Errorf("move %d goes from %g to %g: expected one that removes or adds noise", i, m.From, m.To)
		}
	}
	return s.Clip.check()
}

// Method is how a sampler gets from one time to the next: [DDPM], [DDIM], [DPMSolver], [Euler], [Midpoint], [Heun], or
// one of your own.
type Method interface {
	// Begin starts a run: a method may remember estimates from step to step, and refuses wrong settings.
	Begin(Process) (Advance, error)
}

// Advance makes x at the time that a step goes to: new images, of the same shape.
type Advance func(context.Context, Transition) (Images, error)

// Transition is what a Method knows about a step. All images in it are to be read only.
type Transition struct {
	Index int // of the step, from 0
	Move      // the times it goes from and to
	X     Images
	Parts // what the network sees in X

	sampler  Sampler
	denoiser Denoiser
	x0       *Images // the step's
}

// Parts are the image and the noise that an estimate takes some x_t apart into.
type Parts struct {
	X0       Images  // the estimate of the final images, clipped
	Epsilon  Images  // the estimate of the noise, of before X0 was clipped
	Variance *Images // the estimate of the variance, where the network makes one

	velocity func() Images // where it is not x̂_0 - ε̂ of above
}

// Velocity returns x̂_0 - ε̂. Where x̂_0 was clipped, ε̂ is what remains of x_t then, so that it leads to x̂_0.
func (p Parts) Velocity() Images {
	if p.velocity != nil {
		return p.velocity()
	}
	return blend(1, p.X0, -1, p.Epsilon)
}

// Noise draws the step's standard normal noise from the sampler's source.
func (tr Transition) Noise() (Images, error) { return draw(tr.sampler.Noise, tr.Index, tr.From, tr.X) }

func draw(source NoiseSource, index int, from float64, x Images) (Images, error) {
	if source == nil {
		return Images{}, errors.New("the step adds noise, but the sampler has no source of it: set Noise, for " +
			"instance to a Generator's")
	}
	noise := x.Like()
	if err := source(index, from, noise); err != nil {
		return Images{}, fmt.Errorf("drawing noise: %w", err)
	}
	return noise, nil
}

// Estimate asks the network once more within a step: what it sees in other images at another time.
func (tr Transition) Estimate(ctx context.Context, x Images, t float64) (Parts, error) {
	if err := ctx.Err(); err != nil {
		return Parts{}, err
	}
	e, err := tr.denoiser(ctx, x, t)
	if err != nil {
		return Parts{}, err
	}
	p := Parts{Variance: e.Variance}
	if p.X0, p.Epsilon, err = e.split(tr.sampler.Process, x, t); err != nil {
		return Parts{}, err
	}
	switch {
	case tr.sampler.Clip != (Clip{}):
		x0 := p.X0.Clone() // it may be the network's own
		tr.sampler.Clip.apply(x0)
		p.X0 = x0
		p.velocity = func() Images { // scale·x = w x_0 + (1-w) ε, solved for x_0 - ε
			w, scale := straight(tr.sampler.Process, t)
			return blend(float32(1/(1-w)), x0, float32(-1/(1-w))*scale, x)
		}
	case e.Of == Velocity:
		p.velocity = func() Images { return e.Value }
	}
	*tr.x0 = p.X0
	return p, nil
}

// blend returns a·x + b·y.
func blend(a float32, x Images, b float32, y Images) Images {
	sum := x.Like()
	for i := range sum.Data {
		sum.Data[i] = a*x.Data[i] + b*y.Data[i]
	}
	return sum
}

// Finite reports whether no value is NaN or infinite.
func Finite(values []float32) bool {
	for _, v := range values {
		if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
			return false
		}
	}
	return true
}
