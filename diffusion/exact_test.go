package diffusion_test

import (
	"context"
	"math"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

var predictions = []diffusion.Prediction{diffusion.Epsilon, diffusion.Sample, diffusion.V, diffusion.Velocity}

// Denoisers that are exact for simple distributions of images: what the samplers do with them is known.

// exact is the denoiser whose estimate of x_0's i-th value is mean, given that x_t's is v.
func exact(p diffusion.Process, of diffusion.Prediction, mean func(i int, v, signal,
	sigma float64) float64) diffusion.Denoiser {
	return func(_ context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
		signal, sigma := p.Levels(t)
		value := x.Like()
		for i, v := range x.Data {
			x0 := mean(i, float64(v), signal, sigma)
			epsilon := (float64(v) - signal*x0) / sigma
			switch of {
			case diffusion.Epsilon:
				value.Data[i] = float32(epsilon)
			case diffusion.Sample:
				value.Data[i] = float32(x0)
			case diffusion.V:
				value.Data[i] = float32((signal*epsilon - sigma*x0) / math.Hypot(signal, sigma))
			case diffusion.Velocity:
				value.Data[i] = float32(x0 - epsilon)
			}
		}
		return diffusion.Estimate{Value: value, Of: of}, nil
	}
}

// usual is the prediction that networks of a process are trained for.
func usual(p diffusion.Process) diffusion.Prediction {
	if p == (diffusion.Flow{}) {
		return diffusion.Velocity
	}
	return diffusion.Epsilon
}

// knows is exact where x0 is the only image there is.
func knows(p diffusion.Process, of diffusion.Prediction, x0 diffusion.Images) diffusion.Denoiser {
	return exact(p, of, func(i int, _, _, _ float64) float64 { return float64(x0.Data[i]) })
}

// gaussian is exact for independent pixels with mean 0 and the given standard deviation.
func gaussian(p diffusion.Process, deviation float64) diffusion.Denoiser {
	return exact(p, usual(p), func(_ int, v, signal, sigma float64) float64 {
		return v * signal * deviation * deviation / (signal*signal*deviation*deviation + sigma*sigma)
	})
}

// twoValues is exact for independent pixels that are a or -a with equal chance.
func twoValues(p diffusion.Process, a float64) diffusion.Denoiser {
	return exact(p, usual(p), func(_ int, v, signal, sigma float64) float64 {
		return a * math.Tanh(a*signal*v/(sigma*sigma))
	})
}

// below is the share of such pixels, noised to time t, that lie below v. Without noise on the way a run keeps it.
func below(p diffusion.Process, a, t, v float64) float64 {
	signal, sigma := p.Levels(t)
	share := func(mean float64) float64 { return math.Erfc((mean-v)/sigma/math.Sqrt2) / 2 }
	return (share(a*signal) + share(-a*signal)) / 2
}

func linear(t testing.TB, timesteps int) *diffusion.Schedule {
	t.Helper()
	s, err := diffusion.Linear(timesteps, 1e-4, 0.02)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func cosine(t testing.TB, timesteps int) *diffusion.Schedule {
	t.Helper()
	s, err := diffusion.SquaredCosine(timesteps)
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

func path(t testing.TB, p diffusion.Process, n int, spacing diffusion.Spacing) []diffusion.Move {
	t.Helper()
	moves, err := p.Path(n, spacing)
	if err != nil {
		t.Fatal(err)
	}
	return moves
}

// equal is the path from one time to another in n equal moves.
func equal(from, to float64, n int) []diffusion.Move {
	at := func(i int) float64 { return from + (to-from)*float64(i)/float64(n) }
	moves := make([]diffusion.Move, n)
	for i := range moves {
		moves[i] = diffusion.Move{From: at(i), To: at(i + 1)}
	}
	return moves
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

// deviation is the standard deviation around 0.
func deviation(x diffusion.Images) float64 {
	sum := 0.0
	for _, v := range x.Data {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(len(x.Data)))
}
