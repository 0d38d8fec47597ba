package mnistunet

import (
	"testing"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
)

// Pure noise is what the last timestep has: a run that begins earlier takes it for a digit with less noise.
func TestRunsBeginWithNoise(t *testing.T) {
	c := Default(Class)
	for _, name := range c.Spec().Samplers {
		for _, steps := range []int{1, 2, 20, 160, 299, 300} {
			_, s, err := c.Plan(model.Sampling{Sampler: name, Steps: steps})
			if err != nil {
				t.Fatal(err)
			}
			if len(s.Path) != steps || s.Path[0].From != 299 {
				t.Errorf("%s, %d steps: %d moves from %g", name, steps, len(s.Path), s.Path[0].From)
			}
			if name != "ddpm" {
				continue
			}
			if last := s.Path[len(s.Path)-1].From; steps > 1 && last != 0 {
				t.Errorf("ddpm, %d steps: the last timestep is %g", steps, last)
			}
			want := diffusion.DDPM{}
			if steps == 300 {
				want.Variance = diffusion.FixedLarge
			}
			if s.Method != want {
				t.Errorf("ddpm, %d steps: %+v, want %+v", steps, s.Method, want)
			}
		}
	}
}
