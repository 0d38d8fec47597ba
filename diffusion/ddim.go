package diffusion

import "fmt"

// DDIM is the implicit model's sampling (DDIM, eq. 12): x_t' = √ᾱ_t' x̂_0 + √(1-ᾱ_t'-σ²) ε + σ z.
// As in diffusers' DDIMScheduler, ε stays the network's where x̂_0 was clipped.
type DDIM struct {
	// Eta, from 0 to 1, scales σ (DDIM, eq. 16). With 0 the walk is deterministic, with 1 it adds as much noise as DDPM with FixedSmall.
	Eta float32
	// Stride, if positive, is how far each step goes back, also where the next timestep visited is another: diffusers' DDIMScheduler
	// goes ⌊T/n⌋ back. Its X has that timestep then, not Step.Next.
	Stride int
}

// Begin starts a walk.
func (m DDIM) Begin(s *Schedule) (Advance, error) {
	if !(m.Eta >= 0 && m.Eta <= 1) {
		return nil, fmt.Errorf("DDIM's eta is %g, expected a number from 0 to 1", m.Eta)
	}
	return func(tr Transition) (Images, error) { return m.advance(s, tr) }, nil
}

func (m DDIM) advance(s *Schedule, tr Transition) (Images, error) {
	to := tr.To
	if m.Stride > 0 {
		to = max(tr.From-m.Stride, -1)
	}
	alphaBar, alphaBarNext := s.AlphaBar(tr.From), s.AlphaBar(to)
	sigma := m.Eta * sqrt((1-alphaBarNext)/(1-alphaBar)*(1-alphaBar/alphaBarNext))
	direction := sqrt(max(1-alphaBarNext-sigma*sigma, 0))
	x := blend(sqrt(alphaBarNext), tr.X0, direction, tr.Estimate.Noise)
	if sigma == 0 {
		return x, nil
	}
	noise, err := tr.Noise()
	if err != nil {
		return Images{}, err
	}
	for i, n := range noise.Data {
		x.Data[i] += sigma * n
	}
	return x, nil
}
