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

var flowMethods = []diffusion.FlowMethod{"", diffusion.Euler, diffusion.Midpoint}

// pointFlow is the exact velocity where x1 is the only image there is.
func pointFlow(x1 diffusion.Images) diffusion.VelocityField {
	return func(_ context.Context, x diffusion.Images, t float32) (diffusion.Images, error) {
		u := x.Like()
		for i, v := range x.Data {
			u.Data[i] = (x1.Data[i] - v) / (1 - t)
		}
		return u, nil
	}
}

// gaussianFlow is exact for independent pixels with mean 0 and the given standard deviation: x_t has the standard deviation
// σ(t) = √((1-t)² + t² deviation²), and u = x σ'/σ.
func gaussianFlow(deviation float64) diffusion.VelocityField {
	return func(_ context.Context, x diffusion.Images, t float32) (diffusion.Images, error) {
		s, rest := float64(t)*deviation, 1-float64(t)
		u := x.Like()
		for i, v := range x.Data {
			u.Data[i] = float32(float64(v) * (s*deviation - rest) / (rest*rest + s*s))
		}
		return u, nil
	}
}

// twoValuesFlow is exact for independent pixels that are 1 or -1 with equal chance.
func twoValuesFlow(_ context.Context, x diffusion.Images, t float32) (diffusion.Images, error) {
	at, rest := float64(t), 1-float64(t)
	u := x.Like()
	for i, v := range x.Data {
		u.Data[i] = float32((math.Tanh(at*float64(v)/(rest*rest)) - float64(v)) / rest)
	}
	return u, nil
}

func constantFlow(value float32) diffusion.VelocityField {
	return func(_ context.Context, x diffusion.Images, _ float32) (diffusion.Images, error) {
		u := x.Like()
		for i := range u.Data {
			u.Data[i] = value
		}
		return u, nil
	}
}

// The line starts at the noise, ends at the image, and its velocity leads from any point of it to the image.
func TestFlowPath(t *testing.T) {
	x1, noise := normal(1, 3, 2, 4, 4), normal(2, 3, 2, 4, 4)
	x, u := x1.Like(), x1.Like()
	times := []float32{0, 0.25, 1}
	if err := diffusion.FlowPath(x, u, x1, noise, times...); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(x.Slice(0, 1).Data, noise.Slice(0, 1).Data) || !slices.Equal(x.Slice(2, 3).Data, x1.Slice(2, 3).Data) {
		t.Error("the ends are not the noise and the image")
	}
	for i := range x.Data {
		left := 1 - times[i/x.Size()]
		if d := math.Abs(float64(x.Data[i] + left*u.Data[i] - x1.Data[i])); !(d <= 1e-5) {
			t.Fatalf("value %d: the velocity leads %g beside the image", i, d)
		}
	}
	if err := diffusion.FlowPath(x1, noise, x1, noise, times...); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(x1.Data, x.Data) || !slices.Equal(noise.Data, u.Data) {
		t.Error("in place differs")
	}
}

// Where there is one image, all lines end there: every method gets there in any number of steps, and knows from the first.
func TestFlowToTheOnlyImage(t *testing.T) {
	x1 := normal(1, 2, 3, 5, 4)
	for _, method := range flowMethods {
		for _, n := range []int{1, 2, 7, 50} {
			seen, time := 0, float32(0)
			for step, err := range (diffusion.FlowSampler{N: n, Method: method}).Steps(t.Context(), pointFlow(x1), normal(2, 2, 3, 5, 4)) {
				if err != nil {
					t.Fatal(err)
				}
				if step.Index != seen || step.Total != n || !(step.Time > time) || step.Timestep != -1 || step.Next != -1 {
					t.Errorf("%q: step %d of %d: %+v", method, seen, n, step)
				}
				if d := furthest(step.X0, x1); !(d <= 1e-4) {
					t.Errorf("%q, step %d of %d: the estimate is %g from the image", method, seen, n, d)
				}
				if step.Index == n-1 {
					if d := furthest(step.X, x1); !(d <= 1e-4) {
						t.Errorf("%q, %d steps: ends %g from the image", method, n, d)
					}
				}
				seen, time = seen+1, step.Time
			}
			if seen != n || time != 1 {
				t.Errorf("%q: %d steps to time %g, expected %d to 1", method, seen, time, n)
			}
		}
	}
}

// For Gaussian pixels the flow only scales.
func TestGaussianFlow(t *testing.T) {
	x := normal(3, 2, 1, 4, 4)
	for _, deviation := range []float64{0.3, 1, 2} {
		got, err := diffusion.FlowSampler{N: 50, Method: diffusion.Midpoint}.Sample(t.Context(), gaussianFlow(deviation), x)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range got.Data {
			if d := math.Abs(float64(v) - deviation*float64(x.Data[i])); !(d <= 1e-4) {
				t.Fatalf("deviation %g: %g became %g", deviation, x.Data[i], v)
			}
		}
	}
}

// Doubling the steps halves Euler's error and quarters midpoint's. A flow in one dimension keeps order, and so the share of the
// distribution that lies below x, which is known at both ends of a walk. (For Gaussians, midpoint happens to be of third order.)
func TestFlowOrderOfConvergence(t *testing.T) {
	below := func(z float64) float64 { return math.Erfc(-z/math.Sqrt2) / 2 } // of the standard normal distribution
	x := diffusion.NewImages(1, 1, 1, 1)
	x.Data[0] = 0.3
	failing := func(method diffusion.FlowMethod, n int) float64 {
		for step, err := range (diffusion.FlowSampler{N: n, Method: method}).Steps(t.Context(), twoValuesFlow, x) {
			if err != nil {
				t.Fatal(err)
			}
			if step.Time == 0.5 {
				v := float64(step.X.Data[0])
				return math.Abs((below((v-0.5)/0.5)+below((v+0.5)/0.5))/2 - below(0.3))
			}
		}
		t.Fatal("no step ends half-way")
		return 0
	}
	for _, c := range []struct {
		method   diffusion.FlowMethod
		from, to float64
	}{{diffusion.Euler, 1.8, 2.2}, {diffusion.Midpoint, 3.6, 4.4}} {
		few, many := failing(c.method, 16), failing(c.method, 32)
		if ratio := few / many; !(ratio > c.from && ratio < c.to) {
			t.Errorf("%s: error %.2g with 16 steps, %.2g with 32: ratio %.2f, expected %g to %g", c.method, few, many, ratio, c.from, c.to)
		}
	}
}

// The times asked for are below 1, as many as Evaluations says, and midpoint's second one lies in the middle of the step.
func TestFlowEvaluations(t *testing.T) {
	for method, want := range map[diffusion.FlowMethod][]float32{
		diffusion.Euler:    {0, 0.25, 0.5, 0.75},
		diffusion.Midpoint: {0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875},
	} {
		var asked []float32
		s := diffusion.FlowSampler{N: 4, Method: method}
		_, err := s.Sample(t.Context(), func(ctx context.Context, x diffusion.Images, t float32) (diffusion.Images, error) {
			asked = append(asked, t)
			return gaussianFlow(1)(ctx, x, t)
		}, normal(1, 1, 1, 2, 2))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(asked, want) || len(asked) != s.Evaluations() {
			t.Errorf("%s asked at %v, expected %v; Evaluations is %d", method, asked, want, s.Evaluations())
		}
	}
}

// Two walks from the same noise end at the same images, and leave the noise alone.
func TestFlowIsDeterministic(t *testing.T) {
	x := normal(5, 3, 1, 4, 4)
	kept := x.Clone()
	for _, method := range flowMethods {
		walk := diffusion.FlowSampler{N: 3, Method: method}.Steps(t.Context(), gaussianFlow(0.5), x)
		var ends []diffusion.Images
		for range 2 {
			for step, err := range walk {
				if err != nil {
					t.Fatal(err)
				}
				if step.Time == 1 {
					ends = append(ends, step.X)
				}
			}
		}
		if len(ends) != 2 || !slices.Equal(ends[0].Data, ends[1].Data) || !slices.Equal(x.Data, kept.Data) {
			t.Errorf("%q: %d ends, or two that differ, or another start", method, len(ends))
		}
	}
}

func TestGuideVelocity(t *testing.T) {
	x := normal(0, 2, 1, 2, 2)
	cond, _ := constantFlow(3)(t.Context(), x, 0)
	uncond, _ := constantFlow(1)(t.Context(), x, 0)
	for scale, want := range map[float32]float32{0: 1, 1: 3, 5: 11, -1: -1} {
		u, err := diffusion.GuideVelocity(cond, uncond, scale)
		if err != nil {
			t.Fatal(err)
		}
		if !u.SameShape(x) || slices.Min(u.Data) != want || slices.Max(u.Data) != want {
			t.Errorf("γ = %g: %v, expected %g", scale, u.Data, want)
		}
	}
}

func TestFlowCancellation(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	evaluations := 0
	field := func(ctx context.Context, x diffusion.Images, at float32) (diffusion.Images, error) {
		if evaluations++; evaluations == 5 { // the first of midpoint's third step
			cancel()
		}
		return gaussianFlow(1)(ctx, x, at)
	}
	steps := 0
	var last error
	for _, err := range (diffusion.FlowSampler{N: 10, Method: diffusion.Midpoint}).Steps(ctx, field, normal(1, 1, 1, 2, 2)) {
		if last = err; err == nil {
			steps++
		}
	}
	if steps != 2 || evaluations != 5 || !errors.Is(last, context.Canceled) {
		t.Errorf("%d steps, %d evaluations and error %v, expected 2, 5 and %v", steps, evaluations, last, context.Canceled)
	}
}

func TestFlowErrors(t *testing.T) {
	two, one := normal(0, 2, 1, 2, 2), normal(0, 1, 1, 2, 2)
	path := func(x, u, noise, x1 diffusion.Images, at ...float32) error {
		return diffusion.FlowPath(x, u, x1, noise, at...)
	}
	guide := func(cond, uncond diffusion.Images) error {
		_, err := diffusion.GuideVelocity(cond, uncond, 2)
		return err
	}
	sample := func(s diffusion.FlowSampler, v diffusion.VelocityField, x diffusion.Images) error {
		_, err := s.Sample(t.Context(), v, x)
		return err
	}
	gives := func(u diffusion.Images, err error) diffusion.VelocityField {
		return func(_ context.Context, x diffusion.Images, at float32) (diffusion.Images, error) {
			if at == 0 {
				return x.Like(), nil
			}
			return u, err
		}
	}
	nan, short := one.Clone(), one
	nan.Data[1], short.Data = float32(math.NaN()), nil
	infinite := one.Clone()
	infinite.Data[3] = float32(math.Inf(-1))
	euler, midpoint := diffusion.FlowSampler{N: 3}, diffusion.FlowSampler{N: 2, Method: diffusion.Midpoint}
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
		"path: beyond":      {path(two, two, two, two, 0, 1.5), "the time is 1.5"},
		"path: before":      {path(two, two, two, two, -0.5), "the time is -0.5"},
		"path: NaN":         {path(two, two, two, two, nan.Data[1]), "the time is NaN"},
		"guide: shapes":     {guide(two, one), "the unconditional velocity has shape [1,1,2,2], expected [2,1,2,2]"},
		"guide: short":      {guide(short, one), "conditional velocity: images of shape"},
		"no field":          {sample(euler, nil, one), "no velocity field"},
		"no steps":          {sample(diffusion.FlowSampler{}, gaussianFlow(1), one), "the number of steps is 0"},
		"too many steps":    {sample(diffusion.FlowSampler{N: 1 << 21}, gaussianFlow(1), one), "expected 1 to 1048576"},
		"method":            {sample(diffusion.FlowSampler{N: 1, Method: "heun"}, gaussianFlow(1), one), `"heun" is unknown, expected "euler" or "midpoint"`},
		"short start":       {sample(euler, gaussianFlow(1), short), "need 4 values, found 0"},
		"field fails":       {sample(euler, gives(one, errors.New("out of coffee")), one), "step 2 of 3, time 0.33333334: out of coffee"},
		"middle fails":      {sample(midpoint, gives(one, errors.New("out of tea")), one), "step 1 of 2, time 0: out of tea"},
		"other shape":       {sample(euler, gives(two, nil), one), "the velocity has shape [2,1,2,2], expected [1,1,2,2]"},
		"short velocity":    {sample(euler, gives(short, nil), one), "need 4 values, found 0"},
		"not a number":      {sample(euler, gives(nan, nil), one), "NaN or infinite"},
		"infinite":          {sample(midpoint, gives(infinite, nil), one), "NaN or infinite"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.want) {
			t.Errorf("%s: error %v, expected it to contain %q", name, c.err, c.want)
		}
	}
}
