package diffusion

import (
	"context"
	"fmt"
)

// DDIM is the implicit model's sampling (DDIM, eq. 12): x_t' = √ᾱ_t' x̂_0 + √(1-ᾱ_t'-σ²) ε + σ z.
// As in diffusers' DDIMScheduler, ε stays the network's where x̂_0 was clipped.
type DDIM struct {
	// Eta, from 0 to 1, scales σ (DDIM, eq. 16). With 0 the run is deterministic, with 1 it adds as much noise as DDPM
	// with FixedSmall.
	Eta float32
}

// Begin starts a run.
func (m DDIM) Begin(p Process) (Advance, error) {
	if !(m.Eta >= 0 && m.Eta <= 1) {
		return nil, fmt.Errorf("DDIM's eta is %g, expected a number from 0 to 1", m.Eta)
	}
	return func(_ context.Context, tr Transition) (Images, error) { return m.advance(p, tr) }, nil
}

func (m DDIM) advance(p Process, tr Transition) (Images, error) {
	_, rest, _ := varianceOne(p, tr.From)
	alphaBar, restNext, scale := varianceOne(p, tr.To)
	sigma := m.Eta * sqrt(restNext/rest*betaOf(p, tr.Move))
	direction := sqrt(max(restNext-sigma*sigma, 0))
	x := blend(sqrt(alphaBar)/scale, tr.X0, direction/scale, tr.Epsilon)
	if sigma == 0 {
		return x, nil
	}
	noise, err := tr.Noise()
	if err != nil {
		return Images{}, err
	}
	addTo(x, sigma/scale, noise)
	return x, nil
}
