package diffusion

import (
	"cmp"
	"context"
	"fmt"
)

// Prediction says what a network estimates, with the names of diffusers' prediction_type.
type Prediction string

// The predictions. Each can be turned into every other where x_t is known.
const (
	Epsilon Prediction = "epsilon" // ε, the noise in x_t
	Sample  Prediction = "sample"  // x_0, the clean image
	// √ᾱ ε - √(1-ᾱ) x_0 (Progressive distillation, arXiv:2202.00512, appendix D)
	V Prediction = "v_prediction"
	// x_0 - ε, a flow's velocity dx/dt, from noise to image. (diffusers' times run the other way: its sign is the
	// opposite)
	Velocity Prediction = "flow_prediction"
)

// Denoiser estimates what a [Prediction] names from x_t, at a time of the process that the network was trained with,
// the same for all images. What else the network is told (labels, a prompt) is bound when the Denoiser is made. It
// leaves x unchanged, later calls leave its estimate unchanged, and it returns early with ctx's error when ctx ends.
type Denoiser func(ctx context.Context, x Images, t float64) (Estimate, error)

// Estimate is what a [Denoiser] returns.
type Estimate struct {
	Value Images     // of x's shape
	Of    Prediction // what Value is; empty is Epsilon
	// of x's shape, for networks that learned the variance (Improved DDPM, eq. 15: scaled to [-1, 1]); otherwise nil
	Variance *Images
}

// Slice returns the estimates of images from (included) to to (excluded). It shares e's values.
func (e Estimate) Slice(from, to int) Estimate {
	e.Value = e.Value.Slice(from, to)
	if e.Variance != nil {
		v := e.Variance.Slice(from, to)
		e.Variance = &v
	}
	return e
}

// check tells what keeps the estimate from being one for x.
func (e Estimate) check(x Images) error {
	switch e.Of {
	case "", Epsilon, Sample, V, Velocity:
	default:
		return fmt.Errorf("the prediction %q is unknown, expected %q, %q, %q or %q", e.Of, Epsilon, Sample, V, Velocity)
	}
	if err := e.Value.checkLike(x, "the estimate"); err != nil {
		return err
	}
	if e.Variance != nil {
		if err := e.Variance.checkLike(x, "the variance estimate"); err != nil {
			return err
		}
	}
	if !Finite(e.Value.Data) || e.Variance != nil && !Finite(e.Variance.Data) {
		return ErrNotFinite
	}
	return nil
}

// split solves the forward process at x = x_t for the image and the noise that an estimate stands for.
func (e Estimate) split(p Process, x Images, t float64) (x0, epsilon Images, err error) {
	if err := e.check(x); err != nil {
		return x0, epsilon, err
	}
	if err := checkTime(p, t); err != nil {
		return x0, epsilon, err
	}
	signal, sigma := levels(p, t)
	switch e.Of {
	case Sample:
		return e.Value, noiseOf(x, e.Value, signal, sigma), nil
	case Velocity: // scale·x = w x_0 + (1-w) ε, and the value is x_0 - ε
		w, scale := straight(p, t)
		return blend(scale, x, float32(1-w), e.Value), blend(scale, x, float32(-w), e.Value), nil
	case V: // a turn by the angle between signal and noise (appendix D)
		alphaBar, rest, scale := varianceOne(p, t)
		a, s := sqrt(alphaBar), sqrt(rest)
		return blend(a*scale, x, -s, e.Value), blend(s*scale, x, a, e.Value), nil
	}
	if signal == 0 {
		return x0, epsilon, fmt.Errorf("at time %g x is noise alone, and an estimate of the noise doesn't tell the "+
			"image: "+
			"begin later, or take a network that predicts %q, %q or %q", t, Sample, V, Velocity)
	}
	x0 = x.Like() // DDPM, eq. 15
	for i := range x0.Data {
		x0.Data[i] = (x.Data[i] - sigma*e.Value.Data[i]) / signal
	}
	return x0, e.Value, nil
}

// As returns the estimate as another prediction, given the x_t that it was made of. The variance stays.
func (e Estimate) As(of Prediction, p Process, x Images, t float64) (Estimate, error) {
	if err := x.check(); err != nil {
		return Estimate{}, err
	}
	x0, epsilon, err := e.split(p, x, t)
	if err != nil {
		return Estimate{}, err
	}
	value, err := Target(of, p, x0, epsilon, t)
	return Estimate{Value: value, Of: of, Variance: e.Variance}, err
}

// Target returns what a network of the given prediction learns to estimate from x_t = signal·x_0 + noise·ε.
// Give one time for all images, or one for each.
func Target(of Prediction, p Process, x0, epsilon Images, t ...float64) (Images, error) {
	if err := x0.check(); err != nil {
		return Images{}, err
	}
	if err := epsilon.checkLike(x0, "the noise"); err != nil {
		return Images{}, err
	}
	switch of {
	case "", Epsilon:
		return epsilon, nil
	case Sample:
		return x0, nil
	case Velocity:
		return blend(1, x0, -1, epsilon), nil
	case V:
		if len(t) != 1 && len(t) != x0.N {
			return Images{}, fmt.Errorf("%d images need 1 time or %d, found %d", x0.N, x0.N, len(t))
		}
		v := x0.Like()
		for n := range x0.N {
			at := t[min(n, len(t)-1)]
			if err := checkTime(p, at); err != nil {
				return Images{}, err
			}
			alphaBar, rest, _ := varianceOne(p, at)
			one := blend(sqrt(alphaBar), epsilon.Slice(n, n+1), -sqrt(rest), x0.Slice(n, n+1))
			copy(v.Slice(n, n+1).Data, one.Data)
		}
		return v, nil
	}
	return Images{}, fmt.Errorf("the prediction %q is unknown, expected %q, %q, %q or %q", of, Epsilon, Sample, V,
		Velocity)
}

// noiseOf is the ε of x_t = signal·x_0 + sigma·ε, and 0 where there is no noise.
func noiseOf(x, x0 Images, signal, sigma float32) Images {
	epsilon := x.Like()
	if sigma == 0 {
		return epsilon
	}
	for i := range epsilon.Data {
		epsilon.Data[i] = (x.Data[i] - signal*x0.Data[i]) / sigma
	}
	return epsilon
}

// Guide is classifier-free guidance (CFG, eq. 6, with γ = 1 + w): ε = ε_uncond + γ (ε_cond - ε_uncond), and the same
// for every other prediction, which is linear in ε. γ = 0 ignores the condition, 1 is the conditional model, more
// follows the condition more closely at the price of variety. The variance is the conditional estimate's. For networks
// that compute both estimates in one call.
func Guide(cond, uncond Estimate, scale float32) (Estimate, error) {
	if err := cond.check(cond.Value); err != nil {
		return Estimate{}, fmt.Errorf("conditional estimate: %w", err)
	}
	if err := uncond.check(cond.Value); err != nil {
		return Estimate{}, fmt.Errorf("unconditional estimate: %w", err)
	}
	if c, u := cmp.Or(cond.Of, Epsilon), cmp.Or(uncond.Of, Epsilon); c != u {
		return Estimate{}, fmt.Errorf("guidance between predictions %q and %q, expected the same", c, u)
	}
	guided := cond.Value.Like()
	for i, c := range cond.Value.Data {
		u := uncond.Value.Data[i]
		guided.Data[i] = u + scale*(c-u)
	}
	return Estimate{Value: guided, Of: cond.Of, Variance: cond.Variance}, nil
}

// Guided is [Guide] as a Denoiser of two Denoisers. It calls both for each estimate, except at γ = 1, where cond alone
// is the answer.
func Guided(cond, uncond Denoiser, scale float32) Denoiser {
	if scale == 1 {
		return cond
	}
	return func(ctx context.Context, x Images, t float64) (Estimate, error) {
		c, err := cond(ctx, x, t)
		if err != nil {
			return Estimate{}, err
		}
		u, err := uncond(ctx, x, t)
		if err != nil {
			return Estimate{}, err
		}
		return Guide(c, u, scale)
	}
}
