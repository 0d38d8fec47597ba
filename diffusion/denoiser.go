package diffusion

import (
	"context"
	"fmt"
)

// Denoiser estimates the noise in x_t, where t is a timestep of the schedule the network was trained with, 0 ≤ t < T,
// the same for all images. What else the network is told (labels, a prompt) is bound when the Denoiser is made.
// It leaves x unchanged, and returns early with ctx's error when ctx ends.
//
// The estimate is always of ε: a network that predicts x_0 or a velocity converts it inside its Denoiser.
type Denoiser func(ctx context.Context, x Images, t int) (Estimate, error)

// Estimate is what a Denoiser returns.
type Estimate struct {
	Noise    Images  // ε, of x's shape
	Variance *Images // v, of x's shape, for networks that learned the variance (Improved DDPM, eq. 15: scaled to [-1, 1]); otherwise nil
}

// check tells whether the estimate is one for x.
func (e Estimate) check(x Images) error {
	if err := e.Noise.checkLike(x, "the noise estimate"); err != nil {
		return err
	}
	if e.Variance != nil {
		return e.Variance.checkLike(x, "the variance estimate")
	}
	return nil
}

// Guide is classifier-free guidance (CFG, eq. 6, with γ = 1 + w): ε = ε_uncond + γ (ε_cond - ε_uncond).
// γ = 0 ignores the condition, 1 is the conditional model, more follows the condition more closely at the price of variety.
// The variance is the conditional estimate's. For networks that compute both estimates in one call.
func Guide(cond, uncond Estimate, scale float32) (Estimate, error) {
	if err := cond.check(cond.Noise); err != nil {
		return Estimate{}, fmt.Errorf("conditional estimate: %w", err)
	}
	if err := uncond.check(cond.Noise); err != nil {
		return Estimate{}, fmt.Errorf("unconditional estimate: %w", err)
	}
	return Estimate{Noise: guide(cond.Noise, uncond.Noise, scale), Variance: cond.Variance}, nil
}

func guide(cond, uncond Images, scale float32) Images {
	guided := cond.Like()
	for i, c := range cond.Data {
		u := uncond.Data[i]
		guided.Data[i] = u + scale*(c-u)
	}
	return guided
}

// Guided is [Guide] as a Denoiser of two Denoisers. It calls both for each estimate, except at γ = 1, where cond alone is the answer.
func Guided(cond, uncond Denoiser, scale float32) Denoiser {
	if scale == 1 {
		return cond
	}
	return func(ctx context.Context, x Images, t int) (Estimate, error) {
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
