package diffusion_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

func constant(value float32, variance *diffusion.Images) diffusion.Denoiser {
	return func(_ context.Context, x diffusion.Images, _ int) (diffusion.Estimate, error) {
		noise := x.Like()
		for i := range noise.Data {
			noise.Data[i] = value
		}
		return diffusion.Estimate{Noise: noise, Variance: variance}, nil
	}
}

func TestGuided(t *testing.T) {
	x := normal(0, 2, 1, 2, 2)
	v, other := x.Like(), x.Like()
	for scale, want := range map[float32]float64{0: 1, 1: 3, 5: 11, -1: -1} {
		e, err := diffusion.Guided(constant(3, &v), constant(1, &other), scale)(context.Background(), x, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range e.Noise.Data {
			if !(math.Abs(float64(got)-want) <= 1e-6) {
				t.Errorf("γ = %g: %g, expected %g", scale, got, want)
			}
		}
		if e.Variance != &v {
			t.Errorf("γ = %g: the variance is not the conditional estimate's", scale)
		}
	}
}

func TestGuidedErrors(t *testing.T) {
	x := normal(0, 2, 1, 2, 2)
	broken := errors.New("out of coffee")
	fails := func(context.Context, diffusion.Images, int) (diffusion.Estimate, error) {
		return diffusion.Estimate{}, broken
	}
	if _, err := diffusion.Guided(fails, constant(1, nil), 2)(context.Background(), x, 0); !errors.Is(err, broken) {
		t.Errorf("the conditional denoiser's error is lost: %v", err)
	}
	if _, err := diffusion.Guided(constant(1, nil), fails, 2)(context.Background(), x, 0); !errors.Is(err, broken) {
		t.Errorf("the unconditional denoiser's error is lost: %v", err)
	}
	_, err := diffusion.Guide(diffusion.Estimate{Noise: x}, diffusion.Estimate{Noise: normal(0, 1, 1, 2, 2)}, 2)
	if err == nil || !strings.Contains(err.Error(), "unconditional estimate: the noise estimate has shape [1,1,2,2], expected [2,1,2,2]") {
		t.Errorf("estimates of different shapes: %v", err)
	}
}
