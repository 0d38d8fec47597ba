package illusion

import (
	"errors"
	"fmt"
	"iter"

	"github.com/unnoise/unnoise/diffusion"
)

// Held is a component of images that stays a picture's: the inverse problem of a hybrid, colorizing among them
// (Factorized Diffusion, section 3.6).
type Held struct {
	Process diffusion.Process
	Images  diffusion.Images // the picture, [N,C,H,W]
	Band    Band
	Noise   diffusion.NoiseSource // standard normal noise for the picture, for steps to noisy images
}

// Keep wraps a run: after each step x's component is replaced by that of the picture, noised to the time that the step
// leads to. Begin with [Held.Replace] at the time where the run begins.
func (h Held) Keep(steps iter.Seq2[diffusion.Step, error]) iter.Seq2[diffusion.Step, error] {
	return func(yield func(diffusion.Step, error) bool) {
		for step, err := range steps {
			if err == nil {
				err = h.replace(step.X, step.Index, step.To)
			}
			if err != nil {
				yield(diffusion.Step{}, err)
				return
			}
			if !yield(step, nil) {
				return
			}
		}
	}
}

// Replace gives x, which is at time t, the picture's component.
func (h Held) Replace(x diffusion.Images, t float64) error { return h.replace(x, 0, t) }

func (h Held) replace(x diffusion.Images, index int, t float64) error {
	if h.Process == nil || h.Band == nil {
		return errors.New("a component is held that has no process or no band")
	}
	if !h.Images.SameShape(x) {
		return fmt.Errorf("the picture is %s, expected %s", h.Images.Shape(), x.Shape())
	}
	if err := Fits(h.Band, x.C, x.H, x.W); err != nil {
		return err
	}
	noised := h.Images
	if _, sigma := h.Process.Levels(t); sigma != 0 {
		if h.Noise == nil {
			return errors.New("there is no source of noise for the picture whose component is held")
		}
		noise := x.Like()
		if err := h.Noise(index, t, noise); err != nil {
			return err
		}
		var err error
		if noised, err = diffusion.AddNoise(h.Process, h.Images, noise, t); err != nil {
			return err
		}
	}
	difference := x.Like()
	for i, v := range noised.Data {
		difference.Data[i] = v - x.Data[i]
	}
	for i, v := range h.Band.Filter(difference).Data {
		x.Data[i] += v
	}
	return nil
}
