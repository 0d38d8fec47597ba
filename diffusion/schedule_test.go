package diffusion_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

func TestScheduleErrors(t *testing.T) {
	s := linear(t, 300)
	two := normal(0, 2, 1, 2, 2)
	for name, c := range map[string]struct {
		run  func() error
		want string
	}{
		"linear, none": {func() error { _, err := diffusion.Linear(0, 1e-4, 0.02); return err },
			"at least 1 timestep, found 0"},
		"linear, negative": {func() error { _, err := diffusion.Linear(-3, 1e-4, 0.02); return err }, "found -3"},
		"linear, β of 0":   {func() error { _, err := diffusion.Linear(10, 0, 0.02); return err }, "timestep 0 is 0"},
		"linear, β of 1":   {func() error { _, err := diffusion.Linear(10, 0.1, 1); return err }, "timestep 9 is 1"},
		"linear, tiny β": {func() error { _, err := diffusion.Linear(10, 1e-9, 0.02); return err },
			"timestep 0 is 1 in float32"},
		"linear, NaN": {func() error { _, err := diffusion.Linear(10, math.NaN(), 0.1); return err }, "NaN"},
		"nothing left": {func() error { _, err := diffusion.Linear(2000, 0.5, 0.5); return err },
			"nothing is left"},
		"scaled, none": {func() error { _, err := diffusion.ScaledLinear(0, 1e-4, 0.02); return err }, "found 0"},
		"scaled, negative": {func() error { _, err := diffusion.ScaledLinear(9, -1e-4, 0.02); return err },
			"from -0.0001 to 0.02"},
		"cosine, none": {func() error { _, err := diffusion.SquaredCosine(0); return err }, "found 0"},
		"no betas":     {func() error { _, err := diffusion.FromBetas(nil); return err }, "found none"},
		"no steps": {func() error { _, err := s.Timesteps(0, diffusion.Leading); return err },
			"expected 1 to 300"},
		"too many steps": {func() error { _, err := s.Timesteps(301, diffusion.Leading); return err }, "is 301"},
		"spacing":        {func() error { _, err := s.Timesteps(3, "karras"); return err }, `"karras"`},
		"timestep": {func() error { _, err := s.AddNoise(two, two, 300); return err },
			"timestep 300 is outside the schedule's 0 to 299"},
		"no timestep": {func() error { _, err := s.AddNoise(two, two); return err },
			"2 images need 1 time or 2, found 0"},
		"three timesteps": {func() error { _, err := s.AddNoise(two, two, 1, 2, 3); return err }, "found 3"},
		"noise": {func() error { _, err := s.AddNoise(two, normal(0, 1, 1, 2, 2), 1); return err },
			"the noise has shape [1,1,2,2], expected [2,1,2,2]"},
		"short": {func() error {
			_, err := s.AddNoise(diffusion.Images{N: 1, C: 1, H: 1, W: 1}, two,
				1)
			return err
		}, "need 1 values, found 0"},
		"destination": {func() error { return s.AddNoiseTo(diffusion.Images{}, two, two, 1) }, "the destination"},
	} {
		if err := c.run(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected it to contain %q", name, err, c.want)
		}
	}
}

func TestTimestepsFallWithinTheSchedule(t *testing.T) {
	for _, total := range []int{1, 2, 40, 300} {
		s := linear(t, total)
		for n := 1; n <= total; n++ {
			for _, spacing := range []diffusion.Spacing{diffusion.Leading, diffusion.Trailing, diffusion.Linspace} {
				list := timesteps(t, s, n, spacing)
				for i, step := range list {
					if step < 0 || step >= total || i > 0 && step >= list[i-1] {
						t.Fatalf("T = %d, %d steps, %s: %d", total, n, spacing, list)
					}
				}
				if spacing == diffusion.Trailing && list[0] != total-1 || spacing != diffusion.Trailing &&
					list[n-1] != 0 {
					t.Fatalf("T = %d, %d steps, %s has the wrong end: %d", total, n, spacing, list)
				}
			}
		}
	}
}

// One timestep for each image is each image with its timestep; and the destination may be the source.
func TestAddNoiseByImage(t *testing.T) {
	s := linear(t, 300)
	x0, noise := normal(1, 3, 2, 4, 4), normal(2, 3, 2, 4, 4)
	steps := []int{0, 150, 299}
	all, err := s.AddNoise(x0, noise, steps...)
	if err != nil {
		t.Fatal(err)
	}
	for n, step := range steps {
		one, err := s.AddNoise(x0.Slice(n, n+1), noise.Slice(n, n+1), step)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(one.Data, all.Slice(n, n+1).Data) {
			t.Errorf("image %d differs", n)
		}
	}
	if err := s.AddNoiseTo(x0, x0, noise, steps...); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(x0.Data, all.Data) {
		t.Error("in place differs")
	}
}

// Unit variance stays unit variance at every timestep (the process is variance preserving), and the last timestep is
// almost noise.
func TestForwardProcessPreservesVariance(t *testing.T) {
	s := linear(t, 300)
	x0, noise := normal(3, 1, 1, 200, 200), normal(4, 1, 1, 200, 200)
	for _, step := range []int{0, 100, 299} {
		x, err := s.AddNoise(x0, noise, step)
		if err != nil {
			t.Fatal(err)
		}
		square, shared := 0.0, 0.0
		for i, v := range x.Data {
			square += float64(v) * float64(v) / float64(len(x.Data))
			shared += float64(v) * float64(x0.Data[i]) / float64(len(x.Data))
		}
		if math.Abs(square-1) > 0.03 {
			t.Errorf("timestep %d: variance %.3f", step, square)
		}
		if want := math.Sqrt(float64(s.AlphasCumprod[step])); math.Abs(shared-want) > 0.03 {
			t.Errorf("timestep %d: covariance with the image %.3f, expected %.3f", step, shared, want)
		}
	}
}
