package main

import (
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

// Pure noise is what the last timestep has: a walk that begins earlier takes it for a digit with less noise.
func TestWalksBeginWithNoise(t *testing.T) {
	schedule, err := diffusion.Linear(300, 1e-4, 0.02)
	if err != nil {
		t.Fatal(err)
	}
	for _, sampler := range noiseSamplers {
		for _, steps := range []int{1, 2, 20, 160, 299, 300} {
			timesteps, method, err := sampling{sampler: sampler, steps: steps}.plan(schedule)
			if err != nil {
				t.Fatal(err)
			}
			if len(timesteps) != steps || timesteps[0] != 299 {
				t.Errorf("%s, %d steps: %d timesteps from %d", sampler, steps, len(timesteps), timesteps[0])
			}
			if sampler != "ddpm" {
				continue
			}
			if last := timesteps[len(timesteps)-1]; steps > 1 && last != 0 {
				t.Errorf("ddpm, %d steps: the last timestep is %d", steps, last)
			}
			want := diffusion.DDPM{Variance: diffusion.FixedSmall}
			if steps == 300 {
				want.Variance = diffusion.FixedLarge
			}
			if method != want {
				t.Errorf("ddpm, %d steps: %+v, want %+v", steps, method, want)
			}
		}
	}
}
