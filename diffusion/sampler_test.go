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

var methods = map[string]diffusion.Method{
	"ddpm small": diffusion.DDPM{},
	"ddpm large": diffusion.DDPM{Variance: diffusion.FixedLarge},
	"ddim":       diffusion.DDIM{},
	"ddim eta":   diffusion.DDIM{Eta: 1},
	"dpmsolver":  diffusion.DPMSolver{},
}

// A denoiser that knows the image leads every method to it, by any road.
func TestPerfectDenoiserRecoversTheImage(t *testing.T) {
	linear := linear(t, 300)
	cosine, err := diffusion.SquaredCosine(1000)
	if err != nil {
		t.Fatal(err)
	}
	want := normal(1, 2, 3, 5, 4)
	for name, method := range methods {
		for _, s := range []*diffusion.Schedule{linear, cosine} {
			for _, roads := range [][]int{
				timesteps(t, s, 1, diffusion.Leading), timesteps(t, s, 7, diffusion.Leading), timesteps(t, s, 50, diffusion.Linspace),
				{200, 33, 32, 5, 0}, timesteps(t, s, s.Len(), diffusion.Leading),
			} {
				sampler := diffusion.Sampler{Schedule: s, Timesteps: roads, Method: method, Noise: diffusion.NewGenerator(2).Noise}
				got, err := sampler.Sample(context.Background(), knows(s, want), normal(3, 2, 3, 5, 4))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				if d := furthest(got, want); !(d <= 1e-4) {
					t.Errorf("%s, T = %d, %d steps: ends %g from the image", name, s.Len(), len(roads), d)
				}
			}
		}
	}
}

// Ancestral sampling with the exact denoiser draws from the distribution: its variance is right.
func TestAncestralSamplesHaveTheVariance(t *testing.T) {
	const deviation = 0.5
	s := linear(t, 300)
	for name, variance := range map[string]diffusion.Variance{"small": diffusion.FixedSmall, "large": diffusion.FixedLarge} {
		g := diffusion.NewGenerator(4)
		x := diffusion.NewImages(1, 1, 100, 100)
		g.Normal(x.Data)
		sampler := diffusion.Sampler{Schedule: s, Timesteps: timesteps(t, s, 300, diffusion.Leading), Method: diffusion.DDPM{Variance: variance}, Noise: g.Noise}
		x, err := sampler.Sample(context.Background(), gaussian(s, deviation), x)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0.0
		for _, v := range x.Data {
			sum += float64(v) * float64(v)
		}
		// Both choices are right in the limit of many steps only: some per cent here.
		if got := math.Sqrt(sum / float64(len(x.Data))); math.Abs(got-deviation) > 0.05*deviation {
			t.Errorf("%s: standard deviation %.4f, expected %.4f", name, got, deviation)
		}
	}
}

// Doubling the steps halves DDIM's error and quarters DPM-Solver++(2M)'s, against the exact solution for Gaussian pixels.
func TestOrderOfConvergence(t *testing.T) {
	const start, end, deviation = 3000, 1000, 0.3
	s, err := diffusion.Linear(4000, 1e-5, 2e-3)
	if err != nil {
		t.Fatal(err)
	}
	deviationAt := func(t int) float64 {
		signal, sigma := signalAndNoise(s, t)
		return math.Sqrt(signal*signal*deviation*deviation + sigma*sigma)
	}
	x := diffusion.NewImages(1, 1, 1, 1)
	x.Data[0] = 1
	want := deviationAt(end) / deviationAt(start)

	failing := func(method diffusion.Method, steps int) float64 {
		var list []int
		for i := range steps + 1 {
			list = append(list, start-i*(start-end)/steps)
		}
		sampler := diffusion.Sampler{Schedule: s, Timesteps: list, Method: method}
		for step, err := range sampler.Steps(context.Background(), gaussian(s, deviation), x) {
			if err != nil {
				t.Fatal(err)
			}
			if step.Next == end {
				return math.Abs(float64(step.X.Data[0]) - want)
			}
		}
		t.Fatal("the walk did not pass the end")
		return 0
	}
	for name, c := range map[string]struct {
		method   diffusion.Method
		from, to float64
	}{
		"ddim":      {diffusion.DDIM{}, 1.8, 2.2},
		"dpmsolver": {diffusion.DPMSolver{}, 3.6, 4.4},
	} {
		few, many := failing(c.method, 20), failing(c.method, 40)
		if ratio := few / many; !(ratio > c.from && ratio < c.to) {
			t.Errorf("%s: error %.2g with 20 steps, %.2g with 40: ratio %.2f, expected %g to %g", name, few, many, ratio, c.from, c.to)
		}
	}
	if ddim, solver := failing(diffusion.DDIM{}, 20), failing(diffusion.DPMSolver{}, 20); !(solver < ddim/2) {
		t.Errorf("with 20 steps, DPM-Solver++ fails by %g, DDIM by %g", solver, ddim)
	}
}

// Deterministic methods need no noise, give the same twice, and leave the start alone.
func TestDeterministicMethods(t *testing.T) {
	s := linear(t, 300)
	x := normal(5, 3, 1, 4, 4)
	kept := x.Clone()
	for _, method := range []diffusion.Method{diffusion.DDIM{}, diffusion.DPMSolver{}} {
		sampler := diffusion.Sampler{Schedule: s, Timesteps: timesteps(t, s, 12, diffusion.Trailing), Method: method}
		walk := sampler.Steps(context.Background(), gaussian(s, 0.5), x)
		var ends []diffusion.Images
		for range 2 { // the same iterator again
			for step, err := range walk {
				if err != nil {
					t.Fatal(err)
				}
				if step.Next < 0 {
					ends = append(ends, step.X)
				}
			}
		}
		if len(ends) != 2 || !slices.Equal(ends[0].Data, ends[1].Data) {
			t.Errorf("%T: two walks from the same noise end at different images", method)
		}
		if !slices.Equal(x.Data, kept.Data) {
			t.Errorf("%T changed the start", method)
		}
	}
}

// With Eta 1 on all timesteps, DDIM is DDPM with the small variance.
func TestDDIMWithEta1IsDDPM(t *testing.T) {
	s := linear(t, 100)
	var ends []diffusion.Images
	for _, method := range []diffusion.Method{diffusion.DDIM{Eta: 1}, diffusion.DDPM{Variance: diffusion.FixedSmall}} {
		sampler := diffusion.Sampler{Schedule: s, Timesteps: timesteps(t, s, 100, diffusion.Leading), Method: method, Noise: diffusion.NewGenerator(6).Noise}
		x, err := sampler.Sample(context.Background(), gaussian(s, 0.7), normal(7, 1, 1, 8, 8))
		if err != nil {
			t.Fatal(err)
		}
		ends = append(ends, x)
	}
	if d := furthest(ends[0], ends[1]); !(d <= 1e-4) {
		t.Errorf("the ends are %g apart", d)
	}
}

// v = -1 is the small variance, v = 1 the large one.
func TestLearnedRangeEndsAtTheFixedVariances(t *testing.T) {
	s := linear(t, 300)
	list := timesteps(t, s, 10, diffusion.Leading)
	sample := func(variance diffusion.Variance, v float32) diffusion.Images {
		d := func(ctx context.Context, x diffusion.Images, step int) (diffusion.Estimate, error) {
			e, err := gaussian(s, 0.7)(ctx, x, step)
			e.Variance = new(diffusion.Images)
			*e.Variance = x.Like()
			for i := range e.Variance.Data {
				e.Variance.Data[i] = v
			}
			return e, err
		}
		sampler := diffusion.Sampler{Schedule: s, Timesteps: list, Method: diffusion.DDPM{Variance: variance}, Noise: diffusion.NewGenerator(8).Noise}
		x, err := sampler.Sample(context.Background(), d, normal(9, 1, 1, 8, 8))
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	small, large := sample(diffusion.FixedSmall, 0), sample(diffusion.FixedLarge, 0)
	if d := furthest(sample(diffusion.LearnedRange, -1), small); !(d <= 1e-5) {
		t.Errorf("v = -1 ends %g from fixed_small", d)
	}
	if d := furthest(sample(diffusion.LearnedRange, 1), large); !(d <= 1e-5) {
		t.Errorf("v = 1 ends %g from fixed_large", d)
	}
	if furthest(small, large) < 1e-2 {
		t.Error("fixed_small and fixed_large end at the same image")
	}
}

func TestStepsFromTheMiddle(t *testing.T) {
	s := linear(t, 300)
	list := timesteps(t, s, 10, diffusion.Leading)
	var asked [][2]int
	noise := func(index, timestep int, dst diffusion.Images) error {
		asked = append(asked, [2]int{index, timestep})
		return nil
	}
	sampler := diffusion.Sampler{Schedule: s, Timesteps: list, Method: diffusion.DDPM{}, Noise: noise}.From(6)
	seen := 0
	for step, err := range sampler.Steps(context.Background(), gaussian(s, 1), normal(1, 1, 1, 2, 2)) {
		if err != nil {
			t.Fatal(err)
		}
		next := -1
		if 6+seen+1 < len(list) {
			next = list[6+seen+1]
		}
		if step.Index != seen || step.Total != 4 || step.Timestep != list[6+seen] || step.Next != next {
			t.Errorf("step %d is %d of %d, timestep %d to %d; expected 4 steps, timestep %d to %d", seen, step.Index, step.Total, step.Timestep, step.Next, list[6+seen], next)
		}
		seen++
	}
	if seen != 4 {
		t.Errorf("%d steps, expected 4", seen)
	}
	if want := [][2]int{{0, 90}, {1, 60}, {2, 30}}; !slices.Equal(asked, want) {
		t.Errorf("noise was asked for %v (index, timestep), expected %v: none for the last step", asked, want)
	}
}

// What the caller writes into X is what the next step starts from.
func TestOverwritingX(t *testing.T) {
	s := linear(t, 300)
	for name, method := range methods {
		var last diffusion.Images
		d := func(ctx context.Context, x diffusion.Images, step int) (diffusion.Estimate, error) {
			if last.Data != nil && !slices.Equal(x.Data, last.Data) {
				t.Errorf("%s: the denoiser at timestep %d does not see the change", name, step)
			}
			return gaussian(s, 1)(ctx, x, step)
		}
		sampler := diffusion.Sampler{Schedule: s, Timesteps: timesteps(t, s, 5, diffusion.Leading), Method: method, Noise: diffusion.NewGenerator(1).Noise}
		for step, err := range sampler.Steps(context.Background(), d, normal(2, 1, 1, 4, 4)) {
			if err != nil {
				t.Fatal(err)
			}
			step.X.Data[3] = 42
			last = step.X.Clone()
		}
	}
}

func TestCancellation(t *testing.T) {
	s := linear(t, 300)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sampler := diffusion.Sampler{Schedule: s, Timesteps: timesteps(t, s, 20, diffusion.Leading), Method: diffusion.DDIM{}}
	steps := 0
	var last error
	for step, err := range sampler.Steps(ctx, gaussian(s, 1), normal(1, 1, 1, 2, 2)) {
		if last = err; err != nil {
			continue // the walk is over: nothing more may come
		}
		steps++
		if step.Index == 2 {
			cancel()
		}
	}
	if steps != 3 || !errors.Is(last, context.Canceled) {
		t.Errorf("%d steps and error %v, expected 3 steps and %v", steps, last, context.Canceled)
	}
	if _, err := sampler.Sample(ctx, gaussian(s, 1), normal(1, 1, 1, 2, 2)); !errors.Is(err, context.Canceled) {
		t.Errorf("Sample with a cancelled context: %v", err)
	}
}

func TestSamplerErrors(t *testing.T) {
	s := linear(t, 300)
	broken := errors.New("out of coffee")
	bad := func(change func(*diffusion.Estimate)) diffusion.Denoiser {
		return func(ctx context.Context, x diffusion.Images, t int) (diffusion.Estimate, error) {
			e, err := gaussian(s, 1)(ctx, x, t)
			change(&e)
			return e, err
		}
	}
	good := diffusion.Sampler{Schedule: s, Timesteps: []int{200, 100, 0}, Method: diffusion.DDPM{}, Noise: diffusion.NewGenerator(0).Noise}
	for name, c := range map[string]struct {
		change   func(*diffusion.Sampler)
		denoiser diffusion.Denoiser
		x        *diffusion.Images
		want     string
	}{
		"no schedule":         {change: func(s *diffusion.Sampler) { s.Schedule = nil }, want: "no schedule"},
		"handmade schedule":   {change: func(s *diffusion.Sampler) { s.Schedule = &diffusion.Schedule{Betas: []float32{0.5}} }, want: "1 values of β and 0 of ᾱ"},
		"no method":           {change: func(s *diffusion.Sampler) { s.Method = nil }, want: "no method"},
		"no timesteps":        {change: func(s *diffusion.Sampler) { s.Timesteps = nil }, want: "no timesteps"},
		"no noise":            {change: func(s *diffusion.Sampler) { s.Noise = nil }, want: "set Noise"},
		"rising timesteps":    {change: func(s *diffusion.Sampler) { s.Timesteps = []int{5, 5, 0} }, want: "5 is followed by 5"},
		"timestep too high":   {change: func(s *diffusion.Sampler) { s.Timesteps = []int{300, 0} }, want: "timestep 300 is outside the schedule's 0 to 299"},
		"negative timestep":   {change: func(s *diffusion.Sampler) { s.Timesteps = []int{3, -1} }, want: "timestep -1"},
		"start too late":      {change: func(s *diffusion.Sampler) { *s = s.From(3) }, want: "step 3"},
		"start too early":     {change: func(s *diffusion.Sampler) { *s = s.From(-1) }, want: "step -1"},
		"variance type":       {change: func(s *diffusion.Sampler) { s.Method = diffusion.DDPM{Variance: "huge"} }, want: `"huge"`},
		"no learned variance": {change: func(s *diffusion.Sampler) { s.Method = diffusion.DDPM{Variance: diffusion.LearnedRange} }, want: "this one does not"},
		"own method":          {change: func(s *diffusion.Sampler) { s.Method = forgetful{} }, want: "what the method makes has shape"},
		"eta":                 {change: func(s *diffusion.Sampler) { s.Method = diffusion.DDIM{Eta: float32(math.NaN())} }, want: "eta is NaN"},
		"limit":               {change: func(s *diffusion.Sampler) { s.Clip.Limit = -1 }, want: "is -1"},
		"quantile":            {change: func(s *diffusion.Sampler) { s.Clip = diffusion.Clip{Limit: 1, Quantile: 95} }, want: "is 95"},
		"quantile, no limit":  {change: func(s *diffusion.Sampler) { s.Clip = diffusion.Clip{Quantile: 0.9} }, want: "needs a limit"},
		"noise fails":         {change: func(s *diffusion.Sampler) { s.Noise = func(int, int, diffusion.Images) error { return broken } }, want: "out of coffee"},
		"denoiser fails": {denoiser: func(context.Context, diffusion.Images, int) (diffusion.Estimate, error) {
			return diffusion.Estimate{}, broken
		}, want: "step 1 of 3, timestep 200: out of coffee"},
		"other shape":    {denoiser: bad(func(e *diffusion.Estimate) { e.Noise = diffusion.NewImages(1, 1, 4, 1) }), want: "shape [1,1,4,1], expected [1,1,2,2]"},
		"short data":     {denoiser: bad(func(e *diffusion.Estimate) { e.Noise.Data = nil }), want: "need 4 values, found 0"},
		"short variance": {denoiser: bad(func(e *diffusion.Estimate) { e.Variance = &diffusion.Images{} }), want: "the variance estimate"},
		"not a number":   {denoiser: bad(func(e *diffusion.Estimate) { e.Noise.Data[1] = float32(math.NaN()) }), want: "NaN or infinite"},
		"infinite":       {denoiser: bad(func(e *diffusion.Estimate) { e.Noise.Data[1] = float32(math.Inf(-1)) }), want: "NaN or infinite"},
		"short start":    {x: &diffusion.Images{N: 1, C: 1, H: 2, W: 2}, want: "need 4 values, found 0"},
	} {
		sampler, d, x := good, gaussian(s, 1), normal(1, 1, 1, 2, 2)
		if c.change != nil {
			c.change(&sampler)
		}
		if c.denoiser != nil {
			d = c.denoiser
		}
		if c.x != nil {
			x = *c.x
		}
		_, err := sampler.Sample(context.Background(), d, x)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected it to contain %q", name, err, c.want)
		}
	}
	if _, err := good.Sample(context.Background(), nil, normal(1, 1, 1, 2, 2)); err == nil {
		t.Error("a nil denoiser gives no error")
	}
}

// forgetful is a method that makes nothing.
type forgetful struct{}

func (forgetful) Begin(*diffusion.Schedule) (diffusion.Advance, error) {
	return func(diffusion.Transition) (diffusion.Images, error) { return diffusion.Images{}, nil }, nil
}
