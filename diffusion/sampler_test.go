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
	"euler":      diffusion.Euler{},
	"midpoint":   diffusion.Midpoint{},
	"heun":       diffusion.Heun{},
}

var deterministic = []string{"ddim", "dpmsolver", "euler", "midpoint", "heun"}

// A denoiser that knows the image leads every method to it, by any path, whatever it predicts.
func TestPerfectDenoiserRecoversTheImage(t *testing.T) {
	linear, cosine, flow := linear(t, 300), cosine(t, 1000), diffusion.Flow{}
	want := normal(1, 2, 3, 5, 4)
	for _, c := range []struct {
		process diffusion.Process
		paths   [][]diffusion.Move
	}{
		{linear, [][]diffusion.Move{
			path(t, linear, 1, diffusion.Leading), path(t, linear, 7, diffusion.Leading),
			path(t, linear, 50, diffusion.Linspace),
			diffusion.Visit(200, 33, 32, 5, 0), path(t, linear, 300, diffusion.Leading),
			path(t, linear, 3, diffusion.Trailing),
			{{200.5, 100.25}, {100.25, 0}, {0, diffusion.Clean}},
		}},
		{cosine, [][]diffusion.Move{
			path(t, cosine, 1, diffusion.Leading), path(t, cosine, 7, diffusion.Leading),
			path(t, cosine, 50, diffusion.Linspace),
			diffusion.Visit(200, 33, 32, 5, 0), path(t, cosine, 1000, diffusion.Leading),
		}},
		{flow, [][]diffusion.Move{
			path(t, flow, 1, ""), path(t, flow, 2, ""), path(t, flow, 7, ""), path(t, flow, 50, ""),
			path(t, flow, 1000, ""),
			{{0.1, 0.2}, {0.2, 0.9}, {0.9, 1}},
		}},
	} {
		for name, method := range methods {
			for _, of := range predictions {
				for _, moves := range c.paths {
					if name == "ddpm large" && c.process != flow && moves[len(moves)-1].From != 0 {
						continue // it adds noise even to the image, as diffusers'
					}
					s := diffusion.Sampler{Process: c.process, Path: moves, Method: method,
						Noise: diffusion.NewGenerator(2).Noise}
					// the noise alone does not tell the image
					if c.process == flow && of == diffusion.Epsilon && moves[0].From == 0 {
						if len(moves) == 1 {
							continue
						}
						s = s.From(1)
					}
					got, err := s.Sample(t.Context(), knows(c.process, of, want), normal(3, 2, 3, 5, 4))
					if err != nil {
						t.Fatalf("%s, %v, %s: %v", name, c.process, of, err)
					}
					if d := furthest(got, want); !(d <= 1e-4) {
						t.Errorf("%s, %v, %s, %d steps: ends %g from the image", name, c.process, of, len(moves), d)
					}
				}
			}
		}
	}
}

// A schedule and a flow are one process: in times of the same signal-to-noise ratio every method makes the same images
// of the same noise, up to x's scale.
func TestScheduleAndFlowAreOne(t *testing.T) {
	schedule := linear(t, 300)
	moves := path(t, schedule, 12, diffusion.Linspace)
	time := func(t float64) float64 {
		signal, sigma := schedule.Levels(t)
		return signal / (signal + sigma)
	}
	scale := func(t float64) float32 {
		signal, sigma := schedule.Levels(t)
		return float32(1 / (signal + sigma))
	}
	times := make([]diffusion.Move, len(moves))
	for i, m := range moves {
		times[i] = diffusion.Move{From: time(m.From), To: time(m.To)}
	}
	start := normal(3, 2, 1, 8, 8)
	scaled := start.Clone()
	for i := range scaled.Data {
		scaled.Data[i] *= scale(moves[0].From)
	}
	for name, method := range methods {
		for _, clip := range []diffusion.Clip{{}, {Limit: 0.5}} {
			var want []diffusion.Step
			s := diffusion.Sampler{Process: schedule, Path: moves, Method: method, Clip: clip,
				Noise: diffusion.NewGenerator(4).Noise}
			for step, err := range s.Steps(t.Context(), twoValues(schedule, 0.8), start) {
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, step)
			}
			if name == "midpoint" { // a flow has a time in the middle of the last step
				want = want[:len(want)-1]
			}
			s.Process, s.Path, s.Noise = diffusion.Flow{}, times, diffusion.NewGenerator(4).Noise
			for step, err := range s.Steps(t.Context(), twoValues(diffusion.Flow{}, 0.8), scaled) {
				if err != nil {
					t.Fatal(err)
				}
				if step.Index >= len(want) {
					break
				}
				expected := want[step.Index].X.Clone()
				for i := range expected.Data {
					expected.Data[i] *= scale(moves[step.Index].To)
				}
				if d := furthest(step.X, expected); !(d <= 2e-5) {
					t.Fatalf("%s, clip %v, step %d: the flow's x is %g from the schedule's", name, clip, step.Index, d)
				}
				if d := furthest(step.X0, want[step.Index].X0); !(d <= 1e-4) {
					t.Fatalf("%s, clip %v, step %d: the flow's estimate is %g from the schedule's", name, clip,
						step.Index, d)
				}
			}
		}
	}
}

// For Gaussian pixels a run without noise only scales: to the deviation, from pure noise.
func TestGaussianFlow(t *testing.T) {
	x := normal(3, 2, 1, 4, 4)
	for name, c := range map[string]struct {
		steps     int
		tolerance float64
	}{"ddim": {400, 0.01}, "euler": {400, 0.01}, "dpmsolver": {100, 0.01}, "midpoint": {50, 1e-4},
		"heun": {100, 1e-3}} {
		for _, want := range []float64{0.3, 1, 2} {
			s := diffusion.Sampler{Process: diffusion.Flow{}, Path: path(t, diffusion.Flow{}, c.steps, ""),
				Method: methods[name]}
			got, err := s.Sample(t.Context(), gaussian(diffusion.Flow{}, want), x)
			if err != nil {
				t.Fatal(err)
			}
			for i, v := range got.Data {
				if d := math.Abs(float64(v)/float64(x.Data[i]) - want); !(d <= c.tolerance*want) {
					t.Fatalf("%s, deviation %g: %g became %g", name, want, x.Data[i], v)
				}
			}
		}
	}
}

// Ancestral sampling with the exact denoiser draws from the distribution: its variance is right.
func TestAncestralSamplesHaveTheVariance(t *testing.T) {
	const want = 0.5
	for _, p := range []diffusion.Process{linear(t, 300), diffusion.Flow{}} {
		for name, method := range map[string]diffusion.Method{
			"ddpm small": diffusion.DDPM{}, "ddpm large": diffusion.DDPM{Variance: diffusion.FixedLarge},
			"ddim eta": diffusion.DDIM{Eta: 0.7},
		} {
			g := diffusion.NewGenerator(4)
			x := diffusion.NewImages(1, 1, 100, 100)
			g.Normal(x.Data)
			sampler := diffusion.Sampler{Process: p, Path: path(t, p, 300, diffusion.Leading), Method: method,
				Noise: g.Noise}
			x, err := sampler.Sample(t.Context(), gaussian(p, want), x)
			if err != nil {
				t.Fatal(err)
			}
			// Right in the limit of many steps only: some per cent here.
			if got := deviation(x); !(math.Abs(got-want) <= 0.05*want) {
				t.Errorf("%s, %v: standard deviation %.4f, expected %.4f", name, p, got, want)
			}
		}
	}
}

// Doubling the steps halves DDIM's error and quarters DPM-Solver++(2M)'s, against the exact solution for Gaussian
// pixels.
func TestOrderOfConvergence(t *testing.T) {
	const start, end, deviation = 3000, 1000, 0.3
	s, err := diffusion.Linear(4000, 1e-5, 2e-3)
	if err != nil {
		t.Fatal(err)
	}
	deviationAt := func(t int) float64 {
		signal, sigma := s.Levels(float64(t))
		return math.Sqrt(signal*signal*deviation*deviation + sigma*sigma)
	}
	x := diffusion.NewImages(1, 1, 1, 1)
	x.Data[0] = 1
	want := deviationAt(end) / deviationAt(start)

	failing := func(method diffusion.Method, steps int) float64 {
		sampler := diffusion.Sampler{Process: s, Path: equal(start, end, steps), Method: method}
		x, err := sampler.Sample(t.Context(), gaussian(s, deviation), x)
		if err != nil {
			t.Fatal(err)
		}
		return math.Abs(float64(x.Data[0]) - want)
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
			t.Errorf("%s: error %.2g with 20 steps, %.2g with 40: ratio %.2f, expected %g to %g", name, few, many,
				ratio, c.from, c.to)
		}
	}
	if ddim, solver := failing(diffusion.DDIM{}, 20), failing(diffusion.DPMSolver{}, 20); !(solver < ddim/2) {
		t.Errorf("with 20 steps, DPM-Solver++ fails by %g, DDIM by %g", solver, ddim)
	}
}

// The same for pixels of two values and for all deterministic methods, with schedules and flows. (For Gaussians,
// midpoint happens to be of third order on a flow.) A run in one dimension keeps order, and so the share of the
// distribution that lies below x, which is known at both ends.
func TestOrderOfConvergenceOfTwoValues(t *testing.T) {
	const a = 1
	s, err := diffusion.Linear(4000, 1e-5, 2e-3)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		process    diffusion.Process
		start, end float64
		methods    []string
	}{
		{s, 3000, 1500, deterministic},
		{diffusion.Flow{}, 0.125, 0.5, deterministic},
		{diffusion.Flow{}, 0, 0.5, []string{"euler", "midpoint", "heun"}},
	} {
		x := diffusion.NewImages(1, 1, 1, 1)
		x.Data[0] = 0.3
		want := below(c.process, a, c.start, float64(x.Data[0]))
		failing := func(method diffusion.Method, n int) float64 {
			sampler := diffusion.Sampler{Process: c.process, Path: equal(c.start, c.end, n), Method: method}
			x, err := sampler.Sample(t.Context(), twoValues(c.process, a), x)
			if err != nil {
				t.Fatal(err)
			}
			return math.Abs(below(c.process, a, c.end, float64(x.Data[0])) - want)
		}
		for _, name := range c.methods {
			from, to := 3.6, 4.4
			if name == "ddim" || name == "euler" {
				from, to = 1.8, 2.2
			}
			few, many := failing(methods[name], 16), failing(methods[name], 32)
			if ratio := few / many; !(ratio > from && ratio < to) {
				t.Errorf("%s from %g to %g, %v: error %.2g with 16 steps, %.2g with 32: ratio %.2f, expected %g to %g",
					name, c.start, c.end, c.process, few, many, ratio, from, to)
			}
		}
	}
}

// Deterministic methods need no noise, give the same twice, and leave the start alone.
func TestDeterministicMethods(t *testing.T) {
	x := normal(5, 3, 1, 4, 4)
	kept := x.Clone()
	for _, p := range []diffusion.Process{linear(t, 300), diffusion.Flow{}} {
		for _, name := range deterministic {
			sampler := diffusion.Sampler{Process: p, Path: path(t, p, 12, diffusion.Trailing), Method: methods[name]}
			run := sampler.Steps(t.Context(), twoValues(p, 0.5), x)
			var ends []diffusion.Images
			for range 2 { // the same iterator again
				for step, err := range run {
					if err != nil {
						t.Fatal(err)
					}
					if step.Index == step.Total-1 {
						ends = append(ends, step.X)
					}
				}
			}
			if len(ends) != 2 || !slices.Equal(ends[0].Data, ends[1].Data) {
				t.Errorf("%s, %v: two runs from the same noise end at different images", name, p)
			}
			if !slices.Equal(x.Data, kept.Data) {
				t.Errorf("%s, %v changed the start", name, p)
			}
		}
	}
}

// With Eta 1 on all timesteps, DDIM is DDPM with the small variance.
func TestDDIMWithEta1IsDDPM(t *testing.T) {
	s := linear(t, 100)
	var ends []diffusion.Images
	for _, method := range []diffusion.Method{diffusion.DDIM{Eta: 1}, diffusion.DDPM{Variance: diffusion.FixedSmall}} {
		sampler := diffusion.Sampler{Process: s, Path: path(t, s, 100, diffusion.Leading), Method: method,
			Noise: diffusion.NewGenerator(6).Noise}
		x, err := sampler.Sample(t.Context(), gaussian(s, 0.7), normal(7, 1, 1, 8, 8))
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
	sample := func(variance diffusion.Variance, v float32) diffusion.Images {
		d := func(ctx context.Context, x diffusion.Images, step float64) (diffusion.Estimate, error) {
			e, err := gaussian(s, 0.7)(ctx, x, step)
			e.Variance = new(diffusion.Images)
			*e.Variance = x.Like()
			for i := range e.Variance.Data {
				e.Variance.Data[i] = v
			}
			return e, err
		}
		sampler := diffusion.Sampler{
			Process: s, Path: path(t, s, 10, diffusion.Leading), Method: diffusion.DDPM{Variance: variance},
			Noise: diffusion.NewGenerator(8).Noise,
		}
		x, err := sampler.Sample(t.Context(), d, normal(9, 1, 1, 8, 8))
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
	moves := path(t, s, 10, diffusion.Leading)
	var asked [][2]int
	noise := func(index int, from float64, dst diffusion.Images) error {
		asked = append(asked, [2]int{index, int(from)})
		return nil
	}
	sampler := diffusion.Sampler{Process: s, Path: moves, Method: diffusion.DDPM{}, Noise: noise}.From(6)
	seen := 0
	for step, err := range sampler.Steps(t.Context(), gaussian(s, 1), normal(1, 1, 1, 2, 2)) {
		if err != nil {
			t.Fatal(err)
		}
		if step.Index != seen || step.Total != 4 || step.Move != moves[6+seen] {
			t.Errorf("step %d is %d of %d, %v; expected 4 steps, %v", seen, step.Index, step.Total, step.Move,
				moves[6+seen])
		}
		seen++
	}
	if seen != 4 {
		t.Errorf("%d steps, expected 4", seen)
	}
	if want := [][2]int{{0, 90}, {1, 60}, {2, 30}}; !slices.Equal(asked, want) {
		t.Errorf("noise was asked for %v (index, time), expected %v: none for the last step", asked, want)
	}
}

// What the caller writes into X is what the next step starts from.
func TestOverwritingX(t *testing.T) {
	for _, p := range []diffusion.Process{linear(t, 300), diffusion.Flow{}} {
		for name, method := range methods {
			var last diffusion.Images
			first := false // estimate of a step
			d := func(ctx context.Context, x diffusion.Images, at float64) (diffusion.Estimate, error) {
				if first && !slices.Equal(x.Data, last.Data) {
					t.Errorf("%s, %v: the denoiser at time %g does not see the change", name, p, at)
				}
				first = false
				return gaussian(p, 1)(ctx, x, at)
			}
			sampler := diffusion.Sampler{
				Process: p, Path: path(t, p, 5, diffusion.Leading), Method: method,
				Noise: diffusion.NewGenerator(1).Noise,
			}
			for step, err := range sampler.Steps(t.Context(), d, normal(2, 1, 1, 4, 4)) {
				if err != nil {
					t.Fatal(err)
				}
				if last.Data != nil && !slices.Equal(step.Input.Data, last.Data) {
					t.Errorf("%s, %v: step %d does not begin with the change", name, p, step.Index)
				}
				step.X.Data[3] = 42
				last, first = step.X.Clone(), true
			}
		}
	}
}

func TestCancellation(t *testing.T) {
	s := linear(t, 300)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sampler := diffusion.Sampler{Process: s, Path: path(t, s, 20, diffusion.Leading), Method: diffusion.DDIM{}}
	steps := 0
	var last error
	for step, err := range sampler.Steps(ctx, gaussian(s, 1), normal(1, 1, 1, 2, 2)) {
		if last = err; err != nil {
			continue // the run is over: nothing more may come
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
		return func(ctx context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
			e, err := gaussian(s, 1)(ctx, x, t)
			change(&e)
			return e, err
		}
	}
	good := diffusion.Sampler{Process: s, Path: diffusion.Visit(200, 100, 0), Method: diffusion.DDPM{},
		Noise: diffusion.NewGenerator(0).Noise}
	for name, c := range map[string]struct {
		change   func(*diffusion.Sampler)
		denoiser diffusion.Denoiser
		x        *diffusion.Images
		want     string
	}{
		"no process": {change: func(s *diffusion.Sampler) { s.Process = nil }, want: "no process"},
		"nil schedule": {change: func(s *diffusion.Sampler) { s.Process = (*diffusion.Schedule)(nil) },
			want: "no process"},
		"handmade schedule": {change: func(
			s *diffusion.Sampler) {
			s.Process = &diffusion.Schedule{Betas: []float32{0.5}}
		},
			want: "1 values of β and 0 of ᾱ"},
		"no method": {change: func(s *diffusion.Sampler) { s.Method = nil }, want: "no method"},
		"no moves":  {change: func(s *diffusion.Sampler) { s.Path = nil }, want: "path has no moves"},
		"no noise":  {change: func(s *diffusion.Sampler) { s.Noise = nil }, want: "set Noise"},
		"move to nowhere": {change: func(s *diffusion.Sampler) { s.Path = diffusion.Visit(5, 5, 0) },
			want: "move 0 goes from 5 to 5"},
		"timestep too high": {change: func(s *diffusion.Sampler) { s.Path = diffusion.Visit(300, 0) },
			want: "no time 300; its timesteps are 0 to 299"},
		"negative timestep": {change: func(s *diffusion.Sampler) { s.Path = diffusion.Visit(3, -2) },
			want: "no time -2"},
		"beyond clean": {change: func(s *diffusion.Sampler) { s.Path = diffusion.Visit(3, -1) },
			want: "move 1 goes from -1 to -1"},
		"flow's time": {change: func(s *diffusion.Sampler) { s.Process = diffusion.Flow{} },
			want: "no time 200; its times go from 0 (noise) to 1 (image)"},
		"NaN": {change: func(s *diffusion.Sampler) { s.Path = []diffusion.Move{{math.NaN(), 0}} },
			want: "no time NaN"},
		"rise without noise": {change: func(s *diffusion.Sampler) { s.Path, s.Noise = diffusion.Visit(0, 5), nil },
			want: "step 1 of 2, time 0: the step adds noise"},
		"start too late": {change: func(s *diffusion.Sampler) { *s = s.From(3) },
			want: "first step is 3, but there are steps 0 to 2"},
		"start too early": {change: func(s *diffusion.Sampler) { *s = s.From(-1) }, want: "first step is -1"},
		"variance type": {change: func(s *diffusion.Sampler) { s.Method = diffusion.DDPM{Variance: "huge"} },
			want: `"huge"`},
		"no learned variance": {change: func(
			s *diffusion.Sampler) {
			s.Method = diffusion.DDPM{Variance: diffusion.LearnedRange}
		},
			want: "this one does not"},
		"own method": {change: func(s *diffusion.Sampler) { s.Method = forgetful{} },
			want: "what the method makes has shape"},
		"eta": {change: func(s *diffusion.Sampler) {
			s.Method = diffusion.DDIM{Eta: float32(
				math.NaN())}
		}, want: "eta is NaN"},
		"limit": {change: func(s *diffusion.Sampler) { s.Clip.Limit = -1 }, want: "is -1"},
		"quantile": {change: func(s *diffusion.Sampler) { s.Clip = diffusion.Clip{Limit: 1, Quantile: 95} },
			want: "is 95"},
		"quantile, no limit": {change: func(s *diffusion.Sampler) { s.Clip = diffusion.Clip{Quantile: 0.9} },
			want: "needs a limit"},
		"noise fails": {change: func(s *diffusion.Sampler) {
			s.Noise = func(int, float64,
				diffusion.Images) error {
				return broken
			}
		}, want: "out of coffee"},
		"denoiser fails": {denoiser: func(context.Context, diffusion.Images, float64) (diffusion.Estimate, error) {
			return diffusion.Estimate{}, broken
		}, want: "step 1 of 3, time 200: out of coffee"},
		"other shape": {denoiser: bad(func(e *diffusion.Estimate) { e.Value = diffusion.NewImages(1, 1, 4, 1) }),
			want: "shape [1,1,4,1], expected [1,1,2,2]"},
		"short data": {denoiser: bad(func(e *diffusion.Estimate) { e.Value.Data = nil }),
			want: "need 4 values, found 0"},
		"short variance": {denoiser: bad(func(e *diffusion.Estimate) { e.Variance = &diffusion.Images{} }),
			want: "the variance estimate"},
		"not a number": {denoiser: bad(func(e *diffusion.Estimate) { e.Value.Data[1] = float32(math.NaN()) }),
			want: "NaN or infinite"},
		"infinite": {denoiser: bad(func(e *diffusion.Estimate) { e.Value.Data[1] = float32(math.Inf(-1)) }),
			want: "NaN or infinite"},
		"prediction": {denoiser: bad(func(e *diffusion.Estimate) { e.Of = "score" }),
			want: `prediction "score" is unknown`},
		"noise of noise": {change: func(s *diffusion.Sampler) { s.Process, s.Path = diffusion.Flow{}, equal(0, 1, 2) },
			want: "at time 0 x is noise alone"},
		"short start": {x: &diffusion.Images{N: 1, C: 1, H: 2, W: 2}, want: "need 4 values, found 0"},
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
		_, err := sampler.Sample(t.Context(), d, x)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected it to contain %q", name, err, c.want)
		}
	}
	if _, err := good.Sample(t.Context(), nil, normal(1, 1, 1, 2, 2)); err == nil {
		t.Error("a nil denoiser gives no error")
	}
}

// forgetful is a method that makes nothing.
type forgetful struct{}

func (forgetful) Begin(diffusion.Process) (diffusion.Advance, error) {
	return func(context.Context, diffusion.Transition) (diffusion.Images, error) { return diffusion.Images{}, nil }, nil
}
