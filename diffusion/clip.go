package diffusion

import (
	"fmt"
	"math"
	"slices"
)

// Clip says how a sampler bounds its estimate of x_0. The zero value leaves it as it is.
type Clip struct {
	// Limit alone clips to [-Limit, Limit] (diffusers' clip_sample_range); 0 does not clip.
	Limit float32
	// Quantile, between 0 and 1, turns on dynamic thresholding (Imagen, section 2.3): s is this quantile of an
	// image's |x_0|, at least 1 and at most Limit; the image is clipped to [-s, s] and divided by s.
	// (diffusers' dynamic_thresholding_ratio, with Limit as sample_max_value.)
	Quantile float32
}

func (c Clip) check() error {
	if !(c.Limit >= 0) {
		return fmt.Errorf("the limit of clipping is %g, expected 0 (none) or a positive number", c.Limit)
	}
	if !(c.Quantile >= 0 && c.Quantile <= 1) {
		return fmt.Errorf("the quantile of dynamic thresholding is %g, expected a number from 0 (off) to 1", c.Quantile)
	}
	if c.Quantile > 0 && c.Limit == 0 {
		return fmt.Errorf("dynamic thresholding needs a limit (sample_max_value), found 0")
	}
	return nil
}

// apply bounds x0 in place.
func (c Clip) apply(x0 Images) {
	if c.Limit == 0 {
		return
	}
	for n := range x0.N {
		image := x0.Slice(n, n+1).Data
		if c.Quantile == 0 {
			for i, v := range image {
				image[i] = min(max(v, -c.Limit), c.Limit)
			}
			continue
		}
		s := min(max(quantileAbs(image, c.Quantile), 1), c.Limit)
		for i, v := range image {
			image[i] = min(max(v, -s), s) / s
		}
	}
}

// quantileAbs returns the q-quantile of |values| with linear interpolation, its rank rounded to float32 as
// torch.quantile rounds it.
func quantileAbs(values []float32, q float32) float32 {
	if len(values) == 0 {
		return 0
	}
	sorted := make([]float32, len(values))
	for i, v := range values {
		sorted[i] = max(v, -v)
	}
	slices.Sort(sorted)
	last := len(sorted) - 1
	below, weight := math.Modf(float64(q * float32(last)))
	low := min(int(below), last)
	a, b := sorted[low], sorted[min(low+1, last)]
	return a + float32(weight)*(b-a)
}
