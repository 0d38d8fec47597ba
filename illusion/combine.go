package illusion

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/unnoise/unnoise/diffusion"
)

// Part is one of several estimates that are combined into one: what a denoiser, told one thing, makes of a view of x.
type Part struct {
	Denoiser diffusion.Denoiser // nil where a [Combination] has Together
	View     View               // nil: x as it is
	Band     Band               // of the estimate, nil: all of it
	Weight   func(t float64) float32
}

// Reduction is how estimates become one.
type Reduction string

const (
	Mean      Reduction = "mean"      // Σ wᵢ eᵢ / Σ wᵢ (Visual Anagrams)
	Sum       Reduction = "sum"       // Σ wᵢ eᵢ, for bands (Factorized Diffusion)
	Alternate Reduction = "alternate" // one part after the other, one a step: as many evaluations as for one picture

	// Rectified is a sum of noise estimates that has the variance of noise: c Σ wᵢ εᵢ with
	// c = 1/√(Σ wᵢ² + 2 Σ ρᵢⱼ wᵢ wⱼ), where ρᵢⱼ is the mean product of an image's εᵢ and εⱼ (Anagram-MTL,
	// arXiv:2412.02693). The mean of estimates that differ has less. Where x is noise alone it is the mean.
	Rectified Reduction = "rectified"
)

// Combination is a denoiser of several.
type Combination struct {
	Parts     []Part
	Reduction Reduction // empty: Mean

	// Together, where there is one network for all, estimates all parts at once: it is given the images of the first
	// part, then those of the second, and so on, in one batch.
	Together diffusion.Denoiser

	Process diffusion.Process // the denoisers'; needed by Rectified, by Middle and by parts of different predictions
	Middle  float32           // of the images' range: 0 of [-1,1], 1/2 of [0,1]

	// Turn says for Alternate whose turn it is at time t, counted over all parts again and again; see [Turns].
	Turn func(t float64) int
}

// Anagram returns a denoiser for images that show several things, each under a view: the mean of the estimates.
func Anagram(parts ...Part) diffusion.Denoiser { return Combination{Parts: parts}.Denoise }

// Hybrid returns a denoiser for images that show several things, each in a band: the sum of the estimates' bands.
func Hybrid(parts ...Part) diffusion.Denoiser {
	return Combination{Parts: parts, Reduction: Sum}.Denoise
}

// Turns returns a Turn that is the index of the path's move from time t, or of the nearest time.
func Turns(path []diffusion.Move) func(t float64) int {
	return func(t float64) int {
		nearest := 0
		for i, m := range path {
			if math.Abs(m.From-t) < math.Abs(path[nearest].From-t) {
				nearest = i
			}
		}
		return nearest
	}
}

// Ramp returns a weight that goes from start at the time from to end at the time to, and stays there.
func Ramp(start, end float32, from, to float64) func(t float64) float32 {
	return func(t float64) float32 {
		share := min(max((t-from)/(to-from), 0), 1)
		return start + float32(share)*(end-start)
	}
}

// Denoise is a [diffusion.Denoiser]. Learned variances are averaged.
func (c Combination) Denoise(ctx context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
	if len(c.Parts) == 0 {
		return diffusion.Estimate{}, errors.New("there is nothing to combine: expected at least one part")
	}
	for _, p := range c.Parts {
		if err := errors.Join(Fits(p.View, x.C, x.H, x.W), Fits(p.Band, x.C, x.H, x.W)); err != nil {
			return diffusion.Estimate{}, err
		}
		if c.Middle != 0 && c.Process == nil && changesValues(p.View) {
			return diffusion.Estimate{}, fmt.Errorf(
				"the view %v of images whose middle is %g needs to know the process", p.View, c.Middle)
		}
	}
	if c.Reduction == Alternate {
		return c.alternate(ctx, x, t)
	}
	weights, err := c.weights(t)
	if err != nil {
		return diffusion.Estimate{}, err
	}
	estimates, err := c.estimates(ctx, x, t)
	if err != nil {
		return diffusion.Estimate{}, err
	}
	return c.reduce(estimates, weights, x, t)
}

// weights returns each part's at time t.
func (c Combination) weights(t float64) ([]float32, error) {
	weights := make([]float32, len(c.Parts))
	var sum float32
	for i, p := range c.Parts {
		weights[i] = 1
		if p.Weight != nil {
			weights[i] = p.Weight(t)
		}
		if w := weights[i]; !(w >= 0 && w <= math.MaxFloat32) {
			return nil, fmt.Errorf("the weight of part %d is %g at time %g, expected a number from 0", i+1, w, t)
		}
		sum += weights[i]
	}
	if sum == 0 {
		return nil, fmt.Errorf("all weights are 0 at time %g", t)
	}
	return weights, nil
}

// alternate is the estimate of the part whose turn it is.
func (c Combination) alternate(ctx context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
	if c.Turn == nil {
		return diffusion.Estimate{}, errors.New("parts that alternate need a Turn: see Turns")
	}
	i := mod(c.Turn(t), len(c.Parts))
	p := c.Parts[i]
	if p.Denoiser == nil {
		return diffusion.Estimate{}, fmt.Errorf("part %d has no denoiser of its own, as alternating parts have", i+1)
	}
	if p.Weight != nil || p.Band != nil {
		return diffusion.Estimate{}, fmt.Errorf("part %d has a weight or a band, as alternating parts can't", i+1)
	}
	seen := c.look(p.View, x, t)
	e, err := p.Denoiser(ctx, seen, t)
	if err != nil {
		return diffusion.Estimate{}, err
	}
	return c.back(p.View, e, seen, x, t)
}

// estimates returns each part's, as one for x.
func (c Combination) estimates(ctx context.Context, x diffusion.Images, t float64) ([]diffusion.Estimate, error) {
	seen := make([]diffusion.Images, len(c.Parts))
	for i, p := range c.Parts {
		seen[i] = c.look(p.View, x, t)
	}
	estimates := make([]diffusion.Estimate, len(c.Parts))
	if c.Together != nil {
		batch, err := diffusion.Concat(seen...)
		if err != nil {
			return nil, err
		}
		all, err := c.Together(ctx, batch, t)
		if err != nil {
			return nil, err
		}
		if !all.Value.SameShape(batch) {
			return nil, fmt.Errorf("the estimate of all parts is %s, expected %s", all.Value.Shape(), batch.Shape())
		}
		for i := range estimates {
			estimates[i] = all.Slice(i*x.N, (i+1)*x.N)
		}
	} else {
		for i, p := range c.Parts {
			if p.Denoiser == nil {
				return nil, fmt.Errorf("part %d has no denoiser", i+1)
			}
			var err error
			if estimates[i], err = p.Denoiser(ctx, seen[i], t); err != nil {
				return nil, err
			}
		}
	}
	for i, p := range c.Parts {
		var err error
		if estimates[i], err = c.back(p.View, estimates[i], seen[i], x, t); err != nil {
			return nil, fmt.Errorf("part %d: %w", i+1, err)
		}
	}
	return estimates, nil
}

// shift returns how far x is from being centered where a view minds it: as much of the images' middle as is in x_t.
func (c Combination) shift(v View, t float64) float32 {
	if c.Middle == 0 || !changesValues(v) {
		return 0
	}
	signal, _ := c.Process.Levels(t)
	return float32(signal) * c.Middle
}

// look returns what a view shows of x.
func (c Combination) look(v View, x diffusion.Images, t float64) diffusion.Images {
	if v == nil {
		return x
	}
	s := c.shift(v, t)
	return add(v.Apply(add(x, -s)), s)
}

// back returns an estimate for what a view shows of x as one for x.
func (c Combination) back(
	v View, e diffusion.Estimate, seen, x diffusion.Images, t float64,
) (diffusion.Estimate, error) {
	if v == nil {
		return e, nil
	}
	if !e.Value.SameShape(x) {
		return e, fmt.Errorf("the estimate is %s, expected %s", e.Value.Shape(), x.Shape())
	}
	out := diffusion.Estimate{Of: e.Of}
	if e.Variance != nil {
		variance := places(v).Invert(*e.Variance)
		out.Variance = &variance
	}
	if c.Middle != 0 && changesValues(v) && cmp.Or(e.Of, diffusion.Epsilon) != diffusion.Epsilon {
		image, err := e.As(diffusion.Sample, c.Process, seen, t)
		if err != nil {
			return e, err
		}
		image.Value, image.Variance = add(v.Invert(add(image.Value, -c.Middle)), c.Middle), out.Variance
		return image.As(e.Of, c.Process, x, t)
	}
	out.Value = v.Invert(e.Value)
	return out, nil
}

// reduce makes one estimate of those for x.
func (c Combination) reduce(
	estimates []diffusion.Estimate, weights []float32, x diffusion.Images, t float64,
) (diffusion.Estimate, error) {
	of, err := c.agree(estimates, x, t)
	if err != nil {
		return diffusion.Estimate{}, err
	}
	out := diffusion.Estimate{Value: x.Like(), Of: of}
	var total float32
	for i := range estimates {
		total += weights[i]
		if b := c.Parts[i].Band; b != nil {
			estimates[i].Value = b.Filter(estimates[i].Value)
		}
		for j, v := range estimates[i].Value.Data {
			out.Value.Data[j] += weights[i] * v
		}
	}
	switch c.Reduction {
	case "", Mean:
		multiply(out.Value, 1/total)
	case Sum:
	case Rectified:
		if of != diffusion.Epsilon {
			multiply(out.Value, 1/total)
			break
		}
		for n := range x.N {
			multiply(out.Value.Slice(n, n+1), rectification(estimates, weights, n))
		}
	default:
		return diffusion.Estimate{}, fmt.Errorf("the reduction %q is unknown, expected %q, %q, %q or %q",
			c.Reduction, Mean, Sum, Alternate, Rectified)
	}
	for _, e := range estimates {
		if e.Variance == nil {
			return out, nil
		}
	}
	variance := x.Like()
	for i, e := range estimates {
		for j, v := range e.Variance.Data {
			variance.Data[j] += weights[i] / total * v
		}
	}
	out.Variance = &variance
	return out, nil
}

// agree makes all estimates ones of the same prediction, which it returns: the first one's, ε for Rectified.
func (c Combination) agree(
	estimates []diffusion.Estimate, x diffusion.Images, t float64,
) (diffusion.Prediction, error) {
	of := cmp.Or(estimates[0].Of, diffusion.Epsilon)
	if c.Reduction == Rectified {
		of = diffusion.Epsilon
		if c.Process == nil {
			return of, fmt.Errorf("the reduction %q needs to know the process", Rectified)
		}
		if signal, _ := c.Process.Levels(t); signal == 0 {
			of = cmp.Or(estimates[0].Of, diffusion.Epsilon)
		}
	}
	for i, e := range estimates {
		if !e.Value.SameShape(x) || e.Variance != nil && !e.Variance.SameShape(x) {
			return of, fmt.Errorf("the estimate of part %d is %s, expected %s", i+1, e.Value.Shape(), x.Shape())
		}
		if cmp.Or(e.Of, diffusion.Epsilon) == of {
			continue
		}
		if c.Process == nil {
			return of, fmt.Errorf("part %d predicts %q and another one %q, which needs to know the process",
				i+1, e.Of, of)
		}
		var err error
		if estimates[i], err = e.As(of, c.Process, x, t); err != nil {
			return of, fmt.Errorf("part %d: %w", i+1, err)
		}
	}
	return of, nil
}

// rectification returns c for image n.
func rectification(estimates []diffusion.Estimate, weights []float32, n int) float32 {
	var total, variance float64
	for i, a := range estimates {
		w := float64(weights[i])
		total += w
		variance += w * w
		for j, b := range estimates[:i] {
			x, y := a.Value.Slice(n, n+1).Data, b.Value.Slice(n, n+1).Data
			var product float64
			for k := range x {
				product += float64(x[k]) * float64(y[k])
			}
			variance += 2 * w * float64(weights[j]) * product / float64(len(x))
		}
	}
	// Estimates that cancel each other have no direction left that would be worth making large.
	const least = 0.01
	return float32(1 / math.Sqrt(max(variance, least*total*total)))
}

func multiply(x diffusion.Images, by float32) {
	for i := range x.Data {
		x.Data[i] *= by
	}
}
