package evaluation

import (
	"context"
	"fmt"
	"math"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/mnistunet"
)

// NoiseLevel is the mean squared error of clean images' estimates at one noise level.
type NoiseLevel struct {
	Sigma    float64 `json:"sigma"`
	Images   int     `json:"images"`
	Model    float64 `json:"mse_model"`
	Noisy    float64 `json:"mse_noisy"`    // of the noisy image itself
	Constant float64 `json:"mse_constant"` // of the images' mean, the best that is the same for all
}

// MeasureDenoising measures a model of condition none on a set's images at one noise level σ ≥ 0.
func MeasureDenoising(ctx context.Context, m *mnistunet.Model, set *dataset.Labeled, sigma float64,
	seed uint64) (NoiseLevel, error) {
	if err := set.Check(size, size); err != nil {
		return NoiseLevel{}, fmt.Errorf("measuring a denoiser: %w", err)
	}
	r := NoiseLevel{Sigma: sigma, Images: set.Len()}
	all, values := upTo(set.Len()), float64(set.Len()*size*size)
	random := diffusion.NewGenerator(seed)
	var sums, squares [size * size]float64
	const batch = 250
	for from := 0; from < set.Len(); from += batch {
		to := min(from+batch, set.Len())
		clean := diffusion.NewImages(to-from, 1, size, size)
		set.Batch(all[from:to], clean.Data, nil)
		noisy := clean.Like()
		random.Normal(noisy.Data)
		for i, v := range clean.Data {
			noisy.Data[i] = v + float32(sigma)*noisy.Data[i]
		}
		estimate, err := m.Denoise(ctx, noisy)
		if err != nil {
			return NoiseLevel{}, err
		}
		for i, v := range clean.Data {
			r.Model += squared(estimate.Data[i]-v) / values
			r.Noisy += squared(noisy.Data[i]-v) / values
			sums[i%(size*size)] += float64(v)
			squares[i%(size*size)] += squared(v)
		}
	}
	if math.IsNaN(r.Model) || math.IsInf(r.Model, 0) {
		return NoiseLevel{}, fmt.Errorf("at σ = %g the model's estimates have values that are not finite: its "+
			"training diverged (a lower learning rate helps), its weights are damaged, or its dtype is too small for "+
			"them (try f32)", sigma)
	}
	n := float64(set.Len())
	for i, sum := range sums {
		r.Constant += (squares[i] - sum*sum/n) / values
	}
	return r, nil
}

func squared(v float32) float64 { return float64(v) * float64(v) }
