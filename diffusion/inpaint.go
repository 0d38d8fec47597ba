package diffusion

import (
	"errors"
	"fmt"
	"iter"
)

// Known is the part of images that inpainting keeps.
type Known struct {
	Process Process
	Images  Images // x_0, the originals
	// 1 where to generate, 0 where to keep the original, between them a mixture; [N or 1, C or 1, H, W]
	Mask  Images
	Noise NoiseSource // standard normal noise for the originals, for steps that don't lead to the clean image
	Clean bool        // the originals are not noised at all, as diffusers' IFInpaintingPipeline has it
}

// Keep wraps a run: after each step the known part is overwritten by the originals, noised to the time that the step
// leads to. (RePaint, arXiv:2201.09865, eq. 8, without its resampling, which is a matter of the path: see [Resample].)
// Where the mask is m, between 0 and 1, x becomes m·x + (1-m)·original with as much noise as both. After the last step
// known pixels are the originals' to the bit.
func (k Known) Keep(steps iter.Seq2[Step, error]) iter.Seq2[Step, error] {
	return func(yield func(Step, error) bool) {
		if err := k.check(); err != nil {
			yield(Step{}, err)
			return
		}
		for step, err := range steps {
			if err == nil {
				err = k.overwrite(step.X, step.Index, step.To)
			}
			if err != nil {
				yield(Step{}, err)
				return
			}
			if !yield(step, nil) {
				return
			}
		}
	}
}

// Overwrite puts the known part into x, which is at time t, as Keep does after each step.
func (k Known) Overwrite(x Images, t float64) error {
	if err := k.check(); err != nil {
		return err
	}
	return k.overwrite(x, 0, t)
}

func (k Known) overwrite(x Images, index int, t float64) error {
	if err := k.Images.checkLike(x, "the original"); err != nil {
		return err
	}
	if err := checkTime(k.Process, t); err != nil {
		return err
	}
	signal, sigma := levels(k.Process, t)
	if k.Clean {
		signal, sigma = 1, 0
	}
	noise := x.Like()
	if sigma != 0 {
		var err error
		if noise, err = draw(k.Noise, index, t, x); err != nil {
			return err
		}
	}
	plane := x.H * x.W
	for n := range x.N {
		for c := range x.C {
			at := (n*x.C + c) * plane
			mask := k.Mask.Data[(min(n, k.Mask.N-1)*k.Mask.C+min(c, k.Mask.C-1))*plane:]
			for i := range plane {
				switch m, x0, e := mask[i], k.Images.Data[at+i], noise.Data[at+i]; m {
				case 1:
				case 0:
					x.Data[at+i] = signal*x0 + sigma*e
				default: // x and ε are independent: m² + (1-m²) = 1 keeps the noise's variance
					x.Data[at+i] = m*x.Data[at+i] + (1-m)*signal*x0 + sqrt(1-m*m)*sigma*e
				}
			}
		}
	}
	return nil
}

func (k Known) check() error {
	if k.Process == nil || k.Process == (*Schedule)(nil) {
		return errors.New("there is no process that noises the originals: expected a *Schedule or a Flow")
	}
	if err := k.Images.check(); err != nil {
		return fmt.Errorf("the original: %w", err)
	}
	if err := k.Mask.check(); err != nil {
		return fmt.Errorf("the mask: %w", err)
	}
	x, m := k.Images, k.Mask
	if m.H != x.H || m.W != x.W || m.N != 1 && m.N != x.N || m.C != 1 && m.C != x.C {
		return fmt.Errorf("the mask has shape %s, expected [1 or %d,1 or %d,%d,%d] for images %s", m.Shape(), x.N, x.C,
			x.H, x.W, x.Shape())
	}
	for _, v := range m.Data {
		if !(v >= 0 && v <= 1) {
			return fmt.Errorf("the mask has the value %g, expected 0 (keep) to 1 (generate)", v)
		}
	}
	return nil
}
