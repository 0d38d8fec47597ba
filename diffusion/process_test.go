package diffusion_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

// Between its timesteps a schedule's noise rises, and at them it is the timestep's.
func TestTimesBetweenTimesteps(t *testing.T) {
	for _, s := range []*diffusion.Schedule{linear(t, 300), cosine(t, 1000), linear(t, 1)} {
		signalBefore, sigmaBefore := 1.0, 0.0
		for i := range 16*(s.Len()-1) + 1 {
			at := float64(i) / 16
			signal, sigma := s.Levels(at)
			if d := math.Abs(signal*signal + sigma*sigma - 1); !(d <= 1e-6) {
				t.Fatalf("%v: at %g the variance is %g from 1", s, at, d)
			}
			if !(signal < signalBefore && sigma >= sigmaBefore) {
				t.Fatalf("%v: at %g the levels go from %g and %g to %g and %g", s, at, signalBefore, sigmaBefore,
					signal, sigma)
			}
			signalBefore, sigmaBefore = signal, sigma
			if i%16 != 0 {
				continue
			}
			alphaBar := s.AlphasCumprod[i/16]
			if signal != math.Sqrt(float64(alphaBar)) || sigma != math.Sqrt(float64(1-alphaBar)) {
				t.Fatalf("%v: the levels at %g are %g and %g; ᾱ is %g", s, at, signal, sigma, alphaBar)
			}
		}
		if signal, sigma := s.Levels(diffusion.Clean); signal != 1 || sigma != 0 {
			t.Errorf("%v: the clean image has levels %g and %g", s, signal, sigma)
		}
		for _, at := range []float64{-0.5, -2, float64(s.Len()) - 0.5, float64(s.Len()), math.NaN(), math.Inf(1)} {
			if signal, sigma := s.Levels(at); !math.IsNaN(signal) || !math.IsNaN(sigma) {
				t.Errorf("%v: levels %g and %g at %g, expected none", s, signal, sigma, at)
			}
		}
	}
}

func TestPaths(t *testing.T) {
	s := linear(t, 300)
	if got, want := path(t, s, 3, diffusion.Leading), []diffusion.Move{{200, 100}, {100, 0}, {0,
		diffusion.Clean}}; !slices.Equal(got, want) {
		t.Errorf("leading: %v, expected %v", got, want)
	}
	if got, want := path(t, diffusion.Flow{}, 4, ""), []diffusion.Move{{0, 0.25}, {0.25, 0.5}, {0.5, 0.75}, {0.75,
		1}}; !slices.Equal(got, want) {
		t.Errorf("flow: %v, expected %v", got, want)
	}
	if got, err := s.Path(3, "karras"); err == nil || len(got) != 0 {
		t.Errorf("unknown spacing: %v, %v", got, err)
	}
}

// A path with jumps back goes on where it is, makes each repeated move as often as it is told, and no other more than
// once.
func TestResample(t *testing.T) {
	whole := path(t, linear(t, 300), 10, diffusion.Leading)
	for _, c := range []struct {
		length, repeats int
		from, to        float64
		first, last     int // moves repeated
		jumps           int
	}{
		{1, 1, 0, 1, 0, 10, 0},
		{1, 3, 0, 1, 0, 10, 20},
		{5, 2, 0, 1, 0, 10, 2},
		{4, 2, 0, 1, 0, 10, 3}, // groups of 4, 4 and 2
		{2, 4, 0.2, 0.6, 2, 6, 6},
		{100, 2, 0.5, 1, 5, 10, 1},
		{3, 5, 0.5, 0.5, 0, 0, 0},
	} {
		moves, err := diffusion.Resample(whole, c.length, c.repeats, c.from, c.to)
		if err != nil {
			t.Fatal(err)
		}
		times, jumps := map[diffusion.Move]int{}, 0
		for i, m := range moves {
			if i > 0 && moves[i-1].To != m.From {
				t.Errorf("%+v: move %d begins at %g, the one before ends at %g", c, i, m.From, moves[i-1].To)
			}
			if m.To > m.From {
				jumps++
			} else {
				times[m]++
			}
		}
		for i, m := range whole {
			want := 1
			if i >= c.first && i < c.last {
				want = c.repeats
			}
			if times[m] != want {
				t.Errorf("%+v: move %d is made %d times, expected %d", c, i, times[m], want)
			}
		}
		if jumps != c.jumps || len(times) != len(whole) || moves[0].From != whole[0].From ||
			moves[len(moves)-1].To != diffusion.Clean {
			t.Errorf("%+v: %d jumps, expected %d; %v", c, jumps, c.jumps, moves)
		}
	}
	for want, c := range map[string]struct {
		length, repeats int
		from, to        float64
	}{
		"2 times in groups of 0":  {0, 2, 0, 1},
		"0 times in groups of 2":  {2, 0, 0, 1},
		"moves from -1 to 1":      {1, 1, -1, 1},
		"moves from 0 to 1.5":     {1, 1, 0, 1.5},
		"moves from 0.75 to 0.25": {1, 1, 0.75, 0.25},
		"moves from NaN to 1":     {1, 1, math.NaN(), 1},
	} {
		if _, err := diffusion.Resample(whole, c.length, c.repeats, c.from, c.to); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("error %v, expected it to contain %q", err, want)
		}
	}
}

// Going back to more noise and forth again changes nothing about the distribution, at no time of the run.
func TestResampledRunsKeepTheDistribution(t *testing.T) {
	const want = 0.5
	for _, p := range []diffusion.Process{linear(t, 300), diffusion.Flow{}} {
		moves, err := diffusion.Resample(path(t, p, 100, diffusion.Linspace), 10, 3, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		for name, method := range map[string]diffusion.Method{
			"ddpm": diffusion.DDPM{}, "ddim eta": diffusion.DDIM{Eta: 0.5}, "heun": diffusion.Heun{},
			"dpmsolver": diffusion.DPMSolver{},
		} {
			g := diffusion.NewGenerator(4)
			x := diffusion.NewImages(1, 1, 60, 60)
			g.Normal(x.Data)
			s := diffusion.Sampler{Process: p, Path: moves, Method: method, Noise: g.Noise}
			for step, err := range s.Steps(t.Context(), gaussian(p, want), x) {
				if err != nil {
					t.Fatal(err)
				}
				signal, sigma := p.Levels(step.To)
				if got, want := deviation(step.X), math.Hypot(signal*want, sigma); !(math.Abs(got-want) <= 0.06*want) {
					t.Errorf("%s, %v, step %d to %g: standard deviation %.4f, expected %.4f", name, p, step.Index,
						step.To, got, want)
					break
				}
			}
		}
	}
}

// remembers counts how often a method begins.
type remembers struct{ begun *int }

func (r remembers) Begin(p diffusion.Process) (diffusion.Advance, error) {
	*r.begun++
	return diffusion.DDIM{}.Begin(p)
}

// A step to more noise asks for no estimate, and the method begins anew.
func TestStepsToMoreNoise(t *testing.T) {
	s := linear(t, 300)
	begun, asked := 0, 0
	var drawn []float64
	sampler := diffusion.Sampler{
		Process: s, Path: diffusion.Visit(200, 100, 150, 50, 250, 260, 0), Method: remembers{&begun},
		Noise: func(_ int, from float64, dst diffusion.Images) error {
			drawn = append(drawn, from)
			return nil
		},
	}
	d := func(ctx context.Context, x diffusion.Images, at float64) (diffusion.Estimate, error) {
		asked++
		return gaussian(s, 1)(ctx, x, at)
	}
	for step, err := range sampler.Steps(t.Context(), d, normal(1, 1, 1, 2, 2)) {
		if err != nil {
			t.Fatal(err)
		}
		if step.Move == (diffusion.Move{From: 100, To: 150}) { // the noise is 0 here
			signal, _ := s.Levels(100)
			to, _ := s.Levels(150)
			for i, v := range step.X.Data {
				if d := math.Abs(float64(v) - to/signal*float64(step.Input.Data[i])); !(d <= 1e-6) {
					t.Errorf("the image is not scaled by the levels: %g apart", d)
				}
			}
		}
	}
	if want := []float64{100, 50, 250}; begun != 3 || asked != 4 || asked != sampler.Evaluations() ||
		!slices.Equal(drawn, want) {
		t.Errorf("begun %d times, expected 3; %d estimates, expected 4; noise from %v, expected %v", begun, asked,
			drawn, want)
	}
}

// SDEdit: an image noised to where a run begins, and back.
func TestStart(t *testing.T) {
	for _, p := range []diffusion.Process{linear(t, 300), diffusion.Flow{}} {
		s := diffusion.Sampler{Process: p, Path: path(t, p, 10, diffusion.Leading), Method: diffusion.DDIM{}}.From(6)
		x0, noise := normal(1, 2, 1, 4, 4), normal(2, 2, 1, 4, 4)
		x, err := s.Start(x0, noise)
		if err != nil {
			t.Fatal(err)
		}
		want, err := diffusion.AddNoise(p, x0, noise, s.Path[6].From)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(x.Data, want.Data) {
			t.Errorf("%v: the start is another than at the first move", p)
		}
		// A network that finds the very noise leads back to the image.
		x, err = s.Sample(t.Context(), func(context.Context, diffusion.Images, float64) (diffusion.Estimate, error) {
			return diffusion.Estimate{Value: noise}, nil
		}, x)
		if err != nil {
			t.Fatal(err)
		}
		if d := furthest(x, x0); !(d <= 1e-5) {
			t.Errorf("%v: the run ends %g from the image", p, d)
		}
		if _, err := s.Start(x0, normal(2, 1, 1, 4, 4)); err == nil ||
			!strings.Contains(err.Error(), "the noise has shape") {
			t.Errorf("%v: error %v", p, err)
		}
		if _, err := s.From(10).Start(x0, noise); err == nil ||
			!strings.Contains(err.Error(), "there are steps 0 to 9") {
			t.Errorf("%v: error %v", p, err)
		}
	}
}

// The methods that solve the differential equation end at the clipped estimate, as the others do, and the network's
// own is left alone.
func TestClippedRunsEndWithinTheLimit(t *testing.T) {
	image := normal(1, 2, 1, 4, 4)
	kept, want := image.Clone(), image.Clone()
	const limit = 0.6
	for i, v := range want.Data {
		want.Data[i] = min(max(v, -limit), limit)
	}
	for _, p := range []diffusion.Process{linear(t, 300), diffusion.Flow{}} {
		for name, method := range methods {
			s := diffusion.Sampler{
				Process: p, Path: path(t, p, 20, diffusion.Linspace), Method: method,
				Clip:  diffusion.Clip{Limit: limit},
				Noise: diffusion.NewGenerator(3).Noise,
			}
			got, err := s.Sample(t.Context(), func(context.Context, diffusion.Images, float64) (diffusion.Estimate,
				error) {
				return diffusion.Estimate{Value: image, Of: diffusion.Sample}, nil
			}, normal(2, 2, 1, 4, 4))
			if err != nil {
				t.Fatal(err)
			}
			if d := furthest(got, want); !(d <= 1e-5) {
				t.Errorf("%s, %v: ends %g from the clipped image", name, p, d)
			}
			if !slices.Equal(image.Data, kept.Data) {
				t.Fatalf("%s, %v changed the network's estimate", name, p)
			}
		}
	}
}
