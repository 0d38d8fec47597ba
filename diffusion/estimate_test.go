package diffusion_test

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

func constant(value float32, variance *diffusion.Images) diffusion.Denoiser {
	return func(_ context.Context, x diffusion.Images, _ float64) (diffusion.Estimate, error) {
		noise := x.Like()
		for i := range noise.Data {
			noise.Data[i] = value
		}
		return diffusion.Estimate{Value: noise, Variance: variance}, nil
	}
}

// What a network of one prediction learns is, as another, what a network of the other learns.
func TestPredictionsTurnIntoEachOther(t *testing.T) {
	x0, noise, variance := normal(1, 3, 1, 4, 4), normal(2, 3, 1, 4, 4), normal(3, 3, 1, 4, 4)
	for _, c := range []struct {
		process diffusion.Process
		times   []float64
	}{
		{linear(t, 300), []float64{0, 1, 99.5, 150, 299}},
		{cosine(t, 1000), []float64{0, 500, 950}},
		{diffusion.Flow{}, []float64{0, 0.05, 0.5, 0.99}},
	} {
		for _, at := range c.times {
			x, err := diffusion.AddNoise(c.process, x0, noise, at)
			if err != nil {
				t.Fatal(err)
			}
			signal, sigma := c.process.Levels(at)
			for _, from := range predictions {
				if from == diffusion.Epsilon && signal == 0 {
					continue
				}
				value, err := diffusion.Target(from, c.process, x0, noise, at)
				if err != nil {
					t.Fatal(err)
				}
				for _, to := range predictions {
					e, err := diffusion.Estimate{Value: value, Of: from, Variance: &variance}.As(to, c.process, x, at)
					if err != nil {
						t.Fatal(err)
					}
					want, err := diffusion.Target(to, c.process, x0, noise, at)
					if err != nil {
						t.Fatal(err)
					}
					// Where there is little of the image or of the noise, rounding is as large beside it.
					tolerance := 2e-6
					if from == diffusion.Epsilon {
						tolerance /= signal
					}
					if from == diffusion.Sample {
						tolerance /= sigma
					}
					if d := furthest(e.Value, want); !(d <= tolerance) || e.Of != to || e.Variance != &variance {
						t.Errorf("%v, time %g, %s as %s: %g apart, expected %.2g at most; of %s", c.process, at, from,
							to, d, tolerance, e.Of)
					}
				}
			}
		}
	}
}

// One time for each image is each image with its time.
func TestTargetByImage(t *testing.T) {
	s := linear(t, 300)
	x0, noise := normal(1, 3, 1, 4, 4), normal(2, 3, 1, 4, 4)
	times := []float64{0, 150, 299}
	for _, of := range predictions {
		all, err := diffusion.Target(of, s, x0, noise, times...)
		if err != nil {
			t.Fatal(err)
		}
		for n, at := range times {
			one, err := diffusion.Target(of, s, x0.Slice(n, n+1), noise.Slice(n, n+1), at)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(one.Data, all.Slice(n, n+1).Data) {
				t.Errorf("%s: image %d differs", of, n)
			}
		}
	}
}

func TestEstimateErrors(t *testing.T) {
	s, flow := linear(t, 300), diffusion.Flow{}
	two, one := normal(0, 2, 1, 2, 2), normal(0, 1, 1, 2, 2)
	short := one
	short.Data = nil
	target := func(of diffusion.Prediction, x0, epsilon diffusion.Images, at ...float64) error {
		_, err := diffusion.Target(of, s, x0, epsilon, at...)
		return err
	}
	as := func(e diffusion.Estimate, of diffusion.Prediction, p diffusion.Process, x diffusion.Images,
		at float64) error {
		_, err := e.As(of, p, x, at)
		return err
	}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"target: prediction": {target("score", one, one, 3),
			`"score" is unknown, expected "epsilon", "sample", "v_prediction" or "flow_prediction"`},
		"target: noise":       {target(diffusion.V, two, one, 3), "the noise has shape [1,1,2,2], expected [2,1,2,2]"},
		"target: short":       {target(diffusion.Velocity, short, one, 3), "need 4 values, found 0"},
		"target: three times": {target(diffusion.V, two, two, 1, 2, 3), "2 images need 1 time or 2, found 3"},
		"target: time":        {target(diffusion.V, two, two, 1, 300), "no time 300; its timesteps are 0 to 299"},
		"as: prediction":      {as(diffusion.Estimate{Value: one}, "score", s, one, 3), `"score" is unknown`},
		"as: of": {as(diffusion.Estimate{Value: one, Of: "score"}, diffusion.V, s, one, 3),
			`"score" is unknown`},
		"as: value": {as(diffusion.Estimate{Value: one}, diffusion.V, s, two, 3),
			"the estimate has shape [1,1,2,2], expected [2,1,2,2]"},
		"as: short": {as(diffusion.Estimate{Value: one}, diffusion.V, s, short, 3), "need 4 values, found 0"},
		"as: time":  {as(diffusion.Estimate{Value: one}, diffusion.V, s, one, 299.5), "no time 299.5"},
		"as: noise alone": {as(diffusion.Estimate{Value: one}, diffusion.Sample, flow, one, 0),
			"at time 0 x is noise alone"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: error %v, expected it to contain %q", name, c.err, c.want)
		}
	}
}

func TestGuided(t *testing.T) {
	x := normal(0, 2, 1, 2, 2)
	v, other := x.Like(), x.Like()
	for scale, want := range map[float32]float64{0: 1, 1: 3, 5: 11, -1: -1} {
		e, err := diffusion.Guided(constant(3, &v), constant(1, &other), scale)(t.Context(), x, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, got := range e.Value.Data {
			if !(math.Abs(float64(got)-want) <= 1e-6) {
				t.Errorf("γ = %g: %g, expected %g", scale, got, want)
			}
		}
		if e.Variance != &v {
			t.Errorf("γ = %g: the variance is not the conditional estimate's", scale)
		}
	}
}

// Guidance is the same for every prediction.
func TestGuidanceOfEveryPrediction(t *testing.T) {
	x := normal(0, 2, 1, 2, 2)
	for _, p := range []diffusion.Process{linear(t, 300), diffusion.Flow{}} {
		const at = 0.5
		cond := diffusion.Estimate{Value: normal(1, 2, 1, 2, 2)}
		uncond := diffusion.Estimate{Value: normal(2, 2, 1, 2, 2), Of: diffusion.Epsilon}
		want, err := diffusion.Guide(cond, uncond, 5) // "" is epsilon
		if err != nil {
			t.Fatal(err)
		}
		for _, of := range predictions {
			c, err := cond.As(of, p, x, at)
			if err != nil {
				t.Fatal(err)
			}
			u, err := uncond.As(of, p, x, at)
			if err != nil {
				t.Fatal(err)
			}
			got, err := diffusion.Guide(c, u, 5)
			if err != nil {
				t.Fatal(err)
			}
			if got.Of != of {
				t.Errorf("%s guided is %s", of, got.Of)
			}
			if got, err = got.As(diffusion.Epsilon, p, x, at); err != nil {
				t.Fatal(err)
			}
			if d := furthest(got.Value, want.Value); !(d <= 1e-3) {
				t.Errorf("%v, %s: guided %g from where ε is", p, of, d)
			}
		}
	}
}

func TestGuidedErrors(t *testing.T) {
	x := normal(0, 2, 1, 2, 2)
	broken := errors.New("out of coffee")
	fails := func(context.Context, diffusion.Images, float64) (diffusion.Estimate, error) {
		return diffusion.Estimate{}, broken
	}
	if _, err := diffusion.Guided(fails, constant(1, nil), 2)(t.Context(), x, 0); !errors.Is(err, broken) {
		t.Errorf("the conditional denoiser's error is lost: %v", err)
	}
	if _, err := diffusion.Guided(constant(1, nil), fails, 2)(t.Context(), x, 0); !errors.Is(err, broken) {
		t.Errorf("the unconditional denoiser's error is lost: %v", err)
	}
	short := diffusion.Images{N: 1, C: 1, H: 2, W: 2}
	for want, pair := range map[string][2]diffusion.Estimate{
		"unconditional estimate: the estimate has shape [1,1,2,2], expected [2,1,2,2]": {{Value: x},
			{Value: normal(0, 1, 1, 2, 2)}},
		"conditional estimate: the estimate: images of shape [1,1,2,2] need 4 values": {{Value: short}, {Value: x}},
		`predictions "epsilon" and "flow_prediction", expected the same`: {{Value: x},
			{Value: x, Of: diffusion.Velocity}},
	} {
		if _, err := diffusion.Guide(pair[0], pair[1], 2); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, expected it to contain %q", err, want)
		}
	}
}
