package illusion

import (
	"math"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

// The numbers that a table of right and wrong ways shows are what theory says.
func TestWays(t *testing.T) {
	m := diffusion.NewImages(1, 3, 256, 256)
	diffusion.NewGenerator(1).Uniform(m.Data)
	for name, want := range map[string]struct {
		right                     bool
		mean, variance, neighbors float64
	}{
		"as it is": {true, 0, 1, 0},
		"flip":     {true, 0, 1, 0},
		"negate":   {true, 0, 1, 0},
		// Σ w² of a Gaussian of deviation s is 1/(4πs²), s = 8; one pixel apart it falls by exp(-1/4s²).
		"blur": {false, 0, 1 / (4 * math.Pi * 64), math.Exp(-1. / 256)},
		// Along each axis values have the covariance of a cubic B-spline: 2/3 for 0, and a neighbor is √½ apart.
		"135 degrees, interpolated": {false, 0, 4. / 9, math.Pow((2./3-0.5+math.Pow(0.5, 1.5)/2)/(2./3), 2)},
		"half contrast":             {false, 0, 0.25, 0},
		"brighter":                  {false, 0.3, 1, 0},
	} {
		found := false
		for _, w := range Ways(m, 7) {
			if w.Name != name {
				continue
			}
			found = true
			if w.Right(0.03) != want.right {
				t.Errorf("%s: right is %v: %+.3f, %.3f, %.3f", name, w.Right(0.03), w.Mean, w.Variance, w.Neighbors)
			}
			if math.Abs(w.Mean-want.mean) > 0.05 || math.Abs(w.Variance-want.variance) > 0.02 ||
				math.Abs(w.Neighbors-want.neighbors) > 0.02 {
				t.Errorf("%s: mean %.3f, variance %.4f, neighbors %.3f, want %+v",
					name, w.Mean, w.Variance, w.Neighbors, want)
			}
		}
		if !found {
			t.Errorf("there is no way %q", name)
		}
	}
}
