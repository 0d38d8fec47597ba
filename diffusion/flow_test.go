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

// The line starts at the noise, ends at the image, and its velocity leads from any point of it to the image.
func TestFlowPath(t *testing.T) {
	x0, noise := normal(1, 3, 2, 4, 4), normal(2, 3, 2, 4, 4)
	x, u := x0.Like(), x0.Like()
	times := []float32{0, 0.25, 1}
	if err := diffusion.FlowPath(x, u, x0, noise, times...); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(x.Slice(0, 1).Data, noise.Slice(0, 1).Data) ||
		!slices.Equal(x.Slice(2, 3).Data, x0.Slice(2, 3).Data) {
		t.Error("the ends are not the noise and the image")
	}
	for i := range x.Data {
		left := 1 - times[i/x.Size()]
		if d := math.Abs(float64(x.Data[i] + left*u.Data[i] - x0.Data[i])); !(d <= 1e-5) {
			t.Fatalf("value %d: the velocity leads %g beside the image", i, d)
		}
	}
	noised, err := diffusion.AddNoise(diffusion.Flow{}, x0, noise, 0, 0.25, 1)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(noised.Data, x.Data) {
		t.Error("AddNoise leads to other points than FlowPath")
	}
	target, err := diffusion.Target(diffusion.Velocity, diffusion.Flow{}, x0, noise, 0.25)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(target.Data, u.Data) {
		t.Error("Target is another velocity than FlowPath's")
	}
	if err := diffusion.FlowPath(x0, noise, x0, noise, times...); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(x0.Data, x.Data) || !slices.Equal(noise.Data, u.Data) {
		t.Error("in place differs")
	}
}

// Where there is one image, all lines end there: every method without noise gets there in any number of steps, and
// knows from the first.
func TestFlowToTheOnlyImage(t *testing.T) {
	x0 := normal(1, 2, 3, 5, 4)
	for _, name := range deterministic {
		for _, n := range []int{1, 2, 7, 50} {
			seen, time := 0, 0.0
			s := diffusion.Sampler{Process: diffusion.Flow{}, Path: path(t, diffusion.Flow{}, n, ""),
				Method: methods[name]}
			for step, err := range s.Steps(t.Context(), knows(s.Process, diffusion.Velocity, x0),
				normal(2, 2, 3, 5, 4)) {
				if err != nil {
					t.Fatal(err)
				}
				if step.Index != seen || step.Total != n || step.From != time || !(step.To > time) {
					t.Errorf("%s: step %d of %d: %+v", name, seen, n, step.Move)
				}
				if d := furthest(step.X0, x0); !(d <= 1e-4) {
					t.Errorf("%s, step %d of %d: the estimate is %g from the image", name, seen, n, d)
				}
				if step.Index == n-1 {
					if d := furthest(step.X, x0); !(d <= 1e-4) {
						t.Errorf("%s, %d steps: ends %g from the image", name, n, d)
					}
				}
				seen, time = seen+1, step.To
			}
			if seen != n || time != 1 {
				t.Errorf("%s: %d steps to time %g, expected %d to 1", name, seen, time, n)
			}
		}
	}
}

// The times asked for are below 1, as many as Evaluations says; midpoint's second one lies in the middle of the step,
// Heun's at its end. The estimate that a step shows is the last.
func TestEvaluations(t *testing.T) {
	for _, c := range []struct {
		process diffusion.Process
		path    []diffusion.Move
		method  diffusion.Method
		want    []float64
	}{
		{diffusion.Flow{}, equal(0, 1, 4), diffusion.Euler{}, []float64{0, 0.25, 0.5, 0.75}},
		{diffusion.Flow{}, equal(0, 1, 4), diffusion.Midpoint{},
			[]float64{0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875}},
		{diffusion.Flow{}, equal(0, 1, 4), diffusion.Heun{}, []float64{0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75}},
		{diffusion.Flow{}, equal(0, 1, 4), diffusion.DPMSolver{}, []float64{0, 0.25, 0.5, 0.75}},
		{diffusion.Flow{}, []diffusion.Move{{0.25, 0.5}, {0.5, 0.25}, {0.25, 0.5}}, diffusion.Midpoint{},
			[]float64{0.25, 0.375, 0.25, 0.375}},
		{linear(t, 300), diffusion.Visit(200, 100, 0), diffusion.Heun{}, []float64{200, 100, 100, 0, 0}},
		{linear(t, 300), diffusion.Visit(200, 250, 0), diffusion.Heun{}, []float64{250, 0, 0}},
		{linear(t, 300), diffusion.Visit(200, 100, 0), diffusion.DDIM{}, []float64{200, 100, 0}},
	} {
		var asked []float64
		var last diffusion.Estimate
		var at diffusion.Images
		s := diffusion.Sampler{Process: c.process, Path: c.path, Method: c.method,
			Noise: diffusion.NewGenerator(1).Noise}
		d := func(ctx context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
			asked, at = append(asked, t), x
			var err error
			last, err = twoValues(c.process, 1)(ctx, x, t)
			return last, err
		}
		for step, err := range s.Steps(t.Context(), d, normal(1, 1, 1, 2, 2)) {
			if err != nil {
				t.Fatal(err)
			}
			if len(asked) == 0 { // a step to more noise
				continue
			}
			x0, err := last.As(diffusion.Sample, c.process, at, asked[len(asked)-1])
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(step.X0.Data, x0.Value.Data) {
				t.Errorf("%T, step %d shows another estimate than the last", c.method, step.Index)
			}
		}
		if !slices.Equal(asked, c.want) || len(asked) != s.Evaluations() {
			t.Errorf("%T asked at %v, expected %v; Evaluations is %d", c.method, asked, c.want, s.Evaluations())
		}
	}
}

// The middle of a schedule's step is the middle of the straight line; a step has none where the clean image follows
// too early.
func TestMidpointOfASchedule(t *testing.T) {
	s := linear(t, 300)
	w := func(t float64) float64 {
		signal, sigma := s.Levels(t)
		return signal / (signal + sigma)
	}
	for _, m := range []diffusion.Move{{200, 100}, {1, 0}, {250.5, 3.25}, {40, diffusion.Clean}, {0, diffusion.Clean}} {
		var asked []float64
		sampler := diffusion.Sampler{Process: s, Path: []diffusion.Move{m}, Method: diffusion.Midpoint{}}
		if _, err := sampler.Sample(t.Context(), func(ctx context.Context, x diffusion.Images,
			t float64) (diffusion.Estimate, error) {
			asked = append(asked, t)
			return gaussian(s, 1)(ctx, x, t)
		}, normal(1, 1, 1, 2, 2)); err != nil {
			t.Fatal(err)
		}
		if m.From == 0 {
			if len(asked) != 1 || sampler.Evaluations() != 1 {
				t.Errorf("%v: asked at %v", m, asked)
			}
			continue
		}
		if len(asked) != 2 || sampler.Evaluations() != 2 || !(math.Abs(w(asked[1])-(w(m.From)+w(m.To))/2) <= 1e-5) {
			t.Errorf("%v: asked at %v", m, asked)
		}
	}
}

func TestFlowCancellation(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	evaluations := 0
	d := func(ctx context.Context, x diffusion.Images, at float64) (diffusion.Estimate, error) {
		if evaluations++; evaluations == 5 { // the first of midpoint's third step
			cancel()
		}
		return gaussian(diffusion.Flow{}, 1)(ctx, x, at)
	}
	steps := 0
	var last error
	s := diffusion.Sampler{Process: diffusion.Flow{}, Path: equal(0, 1, 10), Method: diffusion.Midpoint{}}
	for _, err := range s.Steps(ctx, d, normal(1, 1, 1, 2, 2)) {
		if last = err; err == nil {
			steps++
		}
	}
	if steps != 2 || evaluations != 5 || !errors.Is(last, context.Canceled) {
		t.Errorf("%d steps, %d evaluations and error %v, expected 2, 5 and %v", steps, evaluations, last,
			context.Canceled)
	}
}

func TestFlowErrors(t *testing.T) {
	two, one := normal(0, 2, 1, 2, 2), normal(0, 1, 1, 2, 2)
	path := func(x, u, noise, x0 diffusion.Images, at ...float32) error {
		return diffusion.FlowPath(x, u, x0, noise, at...)
	}
	moves := func(n int) error {
		_, err := diffusion.Flow{}.Path(n, "")
		return err
	}
	sample := func(n int, m diffusion.Method, d diffusion.Denoiser, x diffusion.Images) error {
		s := diffusion.Sampler{Process: diffusion.Flow{}, Path: equal(0, 1, n), Method: m}
		_, err := s.Sample(t.Context(), d, x)
		return err
	}
	gives := func(u diffusion.Images, err error) diffusion.Denoiser {
		return func(_ context.Context, x diffusion.Images, at float64) (diffusion.Estimate, error) {
			if at == 0 {
				return diffusion.Estimate{Value: x.Like(), Of: diffusion.Velocity}, nil
			}
			return diffusion.Estimate{Value: u, Of: diffusion.Velocity}, err
		}
	}
	nan, short := one.Clone(), one
	nan.Data[1], short.Data = float32(math.NaN()), nil
	infinite := one.Clone()
	infinite.Data[3] = float32(math.Inf(-1))
	euler, midpoint, heun := diffusion.Euler{}, diffusion.Midpoint{}, diffusion.Heun{}
	good := gaussian(diffusion.Flow{}, 1)
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"path: noise":       {path(two, two, one, two, 0), "the noise has shape [1,1,2,2], expected [2,1,2,2]"},
		"path: destination": {path(one, two, two, two, 0), "the destination has shape [1,1,2,2]"},
		"path: velocity":    {path(two, one, two, two, 0), "the velocity has shape [1,1,2,2]"},
		"path: short":       {path(one, one, one, short, 0), "need 4 values, found 0"},
		"path: no time":     {path(two, two, two, two), "2 images need 1 time or 2, found 0"},
		"path: three times": {path(two, two, two, two, 0, 0, 0), "found 3"},
		"path: beyond": {path(two, two, two, two, 0, 1.5),
			"no time 1.5; its times go from 0 (noise) to 1 (image)"},
		"path: before":   {path(two, two, two, two, -0.5), "no time -0.5"},
		"path: NaN":      {path(two, two, two, two, nan.Data[1]), "no time NaN"},
		"no denoiser":    {sample(3, euler, nil, one), "no denoiser"},
		"no steps":       {moves(0), "the number of steps is 0"},
		"too many steps": {moves(1 << 21), "expected 1 to 1048576"},
		"short start":    {sample(3, euler, good, short), "need 4 values, found 0"},
		"network fails": {sample(3, euler, gives(one, errors.New("out of coffee")), one),
			"step 2 of 3, time 0.333333"},
		"its error": {sample(3, euler, gives(one, errors.New("out of coffee")), one), ": out of coffee"},
		"middle fails": {sample(2, midpoint, gives(one, errors.New("out of tea")), one),
			"step 1 of 2, time 0: out of tea"},
		"end fails": {sample(2, heun, gives(one, errors.New("out of milk")), one),
			"step 1 of 2, time 0: out of milk"},
		"other shape": {sample(3, euler, gives(two, nil), one),
			"the estimate has shape [2,1,2,2], expected [1,1,2,2]"},
		"short velocity": {sample(3, euler, gives(short, nil), one), "need 4 values, found 0"},
		"not a number":   {sample(3, euler, gives(nan, nil), one), "NaN or infinite"},
		"infinite":       {sample(2, midpoint, gives(infinite, nil), one), "NaN or infinite"},
		"infinite end":   {sample(2, heun, gives(infinite, nil), one), "NaN or infinite"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: error %v, expected it to contain %q", name, c.err, c.want)
		}
	}
}
