package diffusion_test

import (
	"context"
	"math"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

// Denoisers that are exact for simple distributions of images: what the samplers do with them is known.

// knows is exact where x0 is the only image there is.
func knows(s *diffusion.Schedule, x0 diffusion.Images) diffusion.Denoiser {
	return func(_ context.Context, x diffusion.Images, t int) (diffusion.Estimate, error) {
		signal, sigma := signalAndNoise(s, t)
		noise := x.Like()
		for i := range noise.Data {
			noise.Data[i] = float32((float64(x.Data[i]) - signal*float64(x0.Data[i])) / sigma)
		}
		return diffusion.Estimate{Noise: noise}, nil
	}
}

// gaussian is exact for independent pixels with mean 0 and the given standard deviation.
func gaussian(s *diffusion.Schedule, deviation float64) diffusion.Denoiser {
	return func(_ context.Context, x diffusion.Images, t int) (diffusion.Estimate, error) {
		signal, sigma := signalAndNoise(s, t)
		noise := x.Like()
		for i, v := range x.Data {
			noise.Data[i] = float32(float64(v) * sigma / (signal*signal*deviation*deviation + sigma*sigma))
		}
		return diffusion.Estimate{Noise: noise}, nil
	}
}

// twoValues is exact for independent pixels that are a or -a with equal chance.
func twoValues(s *diffusion.Schedule, a float64) diffusion.Denoiser {
	return func(_ context.Context, x diffusion.Images, t int) (diffusion.Estimate, error) {
		signal, sigma := signalAndNoise(s, t)
		noise := x.Like()
		for i, v := range x.Data {
			x0 := a * math.Tanh(a*signal*float64(v)/(sigma*sigma))
			noise.Data[i] = float32((float64(v) - signal*x0) / sigma)
		}
		return diffusion.Estimate{Noise: noise}, nil
	}
}

func signalAndNoise(s *diffusion.Schedule, t int) (signal, sigma float64) {
	alphaBar := float64(s.AlphasCumprod[t])
	return math.Sqrt(alphaBar), math.Sqrt(1 - alphaBar)
}

func linear(t testing.TB, timesteps int) *diffusion.Schedule {
	t.Helper()
	s, err := diffusion.Linear(timesteps, 1e-4, 0.02)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func timesteps(t testing.TB, s *diffusion.Schedule, n int, spacing diffusion.Spacing) []int {
	t.Helper()
	list, err := s.Timesteps(n, spacing)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func normal(seed uint64, n, c, h, w int) diffusion.Images {
	x := diffusion.NewImages(n, c, h, w)
	diffusion.NewGenerator(seed).Normal(x.Data)
	return x
}

func furthest(a, b diffusion.Images) float64 {
	distance := 0.0
	for i := range a.Data {
		d := math.Abs(float64(a.Data[i] - b.Data[i]))
		if math.IsNaN(d) {
			return math.Inf(1)
		}
		distance = max(distance, d)
	}
	return distance
}
