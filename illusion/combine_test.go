package illusion

import (
	"context"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/golden"
)

// knows is the denoiser of a network that has seen one picture only, which is all it ever sees in noise.
func knows(picture diffusion.Images, p diffusion.Process, of diffusion.Prediction) diffusion.Denoiser {
	return func(_ context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
		e := diffusion.Estimate{Value: x.Like(), Of: diffusion.Sample}
		for n := range x.N {
			copy(e.Value.Slice(n, n+1).Data, picture.Data)
		}
		return e.As(of, p, x, t)
	}
}

func schedule(t *testing.T) *diffusion.Schedule {
	t.Helper()
	s, err := diffusion.Linear(300, 1e-4, 0.02)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Networks that agree on what a picture shows under each view draw that picture, whatever they predict, whatever the
// range of values: so views and estimates go together.
func TestAnagramOfAPictureThatIsOne(t *testing.T) {
	for _, p := range []diffusion.Process{schedule(t), diffusion.Flow{}} {
		path, err := p.Path(10, diffusion.Trailing)
		if err != nil {
			t.Fatal(err)
		}
		all := []diffusion.Prediction{diffusion.Epsilon, diffusion.Sample, diffusion.V, diffusion.Velocity}
		for _, of := range all {
			for _, middle := range []float32{0, 0.5} {
				for _, reduction := range []Reduction{Mean, Alternate} {
					picture := diffusion.NewImages(1, 1, 28, 28)
					diffusion.NewGenerator(1).Uniform(picture.Data)
					picture = add(picture, middle-0.5)
					c := Combination{Reduction: reduction, Process: p, Middle: middle, Turn: Turns(path)}
					for _, name := range []string{"identity", "negate", "jigsaw:3", "rotate_cw+negate", "skew"} {
						v := view(t, name)
						seen := add(v.Apply(add(picture, -middle)), middle)
						c.Parts = append(c.Parts, Part{View: v, Denoiser: knows(seen, p, of)})
					}
					start := noise(2, 2, 1, 28, 28)
					if _, flow := p.(diffusion.Flow); flow && of == diffusion.Epsilon {
						continue // where x is noise alone, it tells nothing
					}
					sampler := diffusion.Sampler{Process: p, Path: path, Method: diffusion.DDIM{}}
					got, err := sampler.Sample(t.Context(), c.Denoise, start)
					if err != nil {
						t.Errorf("%v, %s, middle %g, %s: %v", p, of, middle, reduction, err)
						continue
					}
					for n := range got.N {
						golden.Close(t, got.Slice(n, n+1).Data, picture.Data, 1e-3,
							fmt.Sprintf("%T, %s, middle %g, %s", p, of, middle, reduction))
					}
				}
			}
		}
	}
}

// Bands of pictures that agree make the picture; of others, each gives its own.
func TestHybrid(t *testing.T) {
	p := schedule(t)
	path, err := p.Path(10, diffusion.Trailing)
	if err != nil {
		t.Fatal(err)
	}
	near, far := noise(1, 1, 3, 32, 32), noise(2, 1, 3, 32, 32)
	low, high := band(t, "low_pass"), band(t, "high_pass")
	parts := []Part{
		{Band: low, Denoiser: knows(far, p, diffusion.Epsilon)}, {Band: high, Denoiser: knows(near, p, diffusion.V)},
	}
	sampler := diffusion.Sampler{Process: p, Path: path, Method: diffusion.DDIM{}}
	start := noise(3, 1, 3, 32, 32)
	_, err = sampler.Sample(t.Context(), Hybrid(parts...), start)
	if err == nil || !strings.Contains(err.Error(), "know the process") {
		t.Errorf("parts of two predictions: %v", err)
	}
	c := Combination{Reduction: Sum, Process: p, Parts: parts}
	got, err := sampler.Sample(t.Context(), c.Denoise, start)
	if err != nil {
		t.Fatal(err)
	}
	want := low.Filter(far)
	for i, v := range high.Filter(near).Data {
		want.Data[i] += v
	}
	golden.Close(t, got.Data, want.Data, 1e-3, "hybrid")
}

// constant is a denoiser that answers always the same.
func constant(e diffusion.Estimate) diffusion.Denoiser {
	return func(context.Context, diffusion.Images, float64) (diffusion.Estimate, error) { return e, nil }
}

func TestReductions(t *testing.T) {
	const n = 64
	x := noise(0, 2, 1, n, n)
	a, b := noise(1, 2, 1, n, n), noise(2, 2, 1, n, n)
	va, vb := noise(3, 2, 1, n, n), noise(4, 2, 1, n, n)
	negate := view(t, "flip+negate")
	c := Combination{Process: schedule(t), Parts: []Part{
		{Denoiser: constant(diffusion.Estimate{Value: a, Variance: &va}), Weight: Ramp(3, 1, 299, 0)},
		{Denoiser: constant(diffusion.Estimate{Value: b, Variance: &vb}), View: negate},
	}}
	flip := view(t, "flip")
	fb, fvb := flip.Apply(b), flip.Apply(vb)
	for _, at := range []struct {
		t float64
		w float32
	}{{299, 3}, {149.5, 2}, {0, 1}} {
		for _, r := range []Reduction{"", Sum, Rectified} {
			c.Reduction = r
			got, err := c.Denoise(t.Context(), x, at.t)
			if err != nil {
				t.Fatal(err)
			}
			want, variance := x.Like(), x.Like()
			for i := range want.Data {
				want.Data[i] = at.w*a.Data[i] - fb.Data[i] // negation is undone
				variance.Data[i] = (at.w*va.Data[i] + fvb.Data[i]) / (at.w + 1)
			}
			switch r {
			case "":
				multiply(want, 1/(at.w+1))
			case Rectified:
				for k := range x.N {
					size := want.Size()
					rho := -dot(a.Slice(k, k+1), fb.Slice(k, k+1)) / float64(size)
					w := float64(at.w)
					multiply(want.Slice(k, k+1), float32(1/math.Sqrt(w*w+1+2*rho*w)))
				}
			}
			golden.Close(t, got.Value.Data, want.Data, 1e-5, fmt.Sprint(r, " at ", at.t))
			golden.Close(t, got.Variance.Data, variance.Data, 1e-5, "variance, which has no sign")
			if r == Rectified {
				if power := dot(got.Value, got.Value) / float64(len(got.Value.Data)); math.Abs(power-1) > 0.05 {
					t.Errorf("rectified noise has variance %.3f", power)
				}
			}
		}
	}
	// One batch for all parts is the same.
	c.Reduction = Mean
	apart, err := c.Denoise(t.Context(), x, 100)
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	both, err := diffusion.Concat(a, b)
	if err != nil {
		t.Fatal(err)
	}
	variances, err := diffusion.Concat(va, vb)
	if err != nil {
		t.Fatal(err)
	}
	c.Together = func(_ context.Context, batch diffusion.Images, _ float64) (diffusion.Estimate, error) {
		calls++
		golden.Close(t, batch.Slice(0, 2).Data, x.Data, 0, "the first part's images")
		golden.Close(t, batch.Slice(2, 4).Data, negate.Apply(x).Data, 0, "the second part's images")
		return diffusion.Estimate{Value: both, Variance: &variances}, nil
	}
	together, err := c.Denoise(t.Context(), x, 100)
	if err != nil {
		t.Fatal(err)
	}
	golden.Close(t, together.Value.Data, apart.Value.Data, 0, "together")
	golden.Close(t, together.Variance.Data, apart.Variance.Data, 0, "together")
	if calls != 1 {
		t.Errorf("%d calls for one step", calls)
	}
	// Estimates that cancel each other stay finite.
	against := a.Clone()
	multiply(against, -1)
	c = Combination{Reduction: Rectified, Process: schedule(t), Parts: []Part{
		{Denoiser: constant(diffusion.Estimate{Value: a})}, {Denoiser: constant(diffusion.Estimate{Value: against})}}}
	got, err := c.Denoise(t.Context(), x, 100)
	if err != nil || dot(got.Value, got.Value) != 0 || got.Variance != nil {
		t.Errorf("estimates that cancel each other: %v", err)
	}
}

func TestCombinationRefuses(t *testing.T) {
	x := noise(0, 1, 1, 28, 28)
	d := constant(diffusion.Estimate{Value: x})
	other := constant(diffusion.Estimate{Value: noise(0, 1, 1, 4, 4)})
	for want, c := range map[string]Combination{
		"at least one part":      {},
		"part 2 has no denoiser": {Parts: []Part{{Denoiser: d}, {}}},
		"28×28":                  {Parts: []Part{{Denoiser: d, View: view(t, "patch_permute:3")}}},
		"3 channels":             {Parts: []Part{{Denoiser: d, Band: band(t, "color")}}},
		"see Turns":              {Parts: []Part{{Denoiser: d}}, Reduction: Alternate},
		"part 1 has a weight": {
			Parts: []Part{{Denoiser: d, Weight: Ramp(1, 1, 0, 1)}}, Reduction: Alternate, Turn: Turns(nil),
		},
		`reduction "median"`:      {Parts: []Part{{Denoiser: d}}, Reduction: "median"},
		"weight of part 1 is -1":  {Parts: []Part{{Denoiser: d, Weight: Ramp(-1, -1, 0, 1)}}},
		"all weights are 0":       {Parts: []Part{{Denoiser: d, Weight: Ramp(0, 0, 0, 1)}}},
		"needs to know the proce": {Parts: []Part{{Denoiser: d}}, Reduction: Rectified},
		"whose middle is 0.5":     {Parts: []Part{{Denoiser: d, View: view(t, "negate")}}, Middle: 0.5},
		"[1,1,28,28]":             {Parts: []Part{{Denoiser: other}}},
		"of all parts is":         {Parts: []Part{{}, {}}, Together: d},
	} {
		if _, err := c.Denoise(t.Context(), x, 10); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want it to tell of %q", err, want)
		}
	}
}

// What is held is the picture's when the run ends, and the rest is the network's.
func TestHeld(t *testing.T) {
	p := schedule(t)
	path, err := p.Path(10, diffusion.Trailing)
	if err != nil {
		t.Fatal(err)
	}
	reference, known := noise(1, 1, 3, 32, 32), noise(2, 1, 3, 32, 32)
	gray := band(t, "grayscale")
	h := Held{Process: p, Images: reference, Band: gray, Noise: diffusion.NewGenerator(3).Noise}
	sampler := diffusion.Sampler{Process: p, Path: path, Method: diffusion.DDIM{}}
	x := noise(4, 1, 3, 32, 32)
	if err := h.Replace(x, path[0].From); err != nil {
		t.Fatal(err)
	}
	for step, err := range h.Keep(sampler.Steps(t.Context(), knows(known, p, diffusion.Epsilon), x)) {
		if err != nil {
			t.Fatal(err)
		}
		x = step.X
	}
	golden.Close(t, gray.Filter(x).Data, gray.Filter(reference).Data, 1e-5, "what is held")
	color := band(t, "color")
	golden.Close(t, color.Filter(x).Data, color.Filter(known).Data, 1e-3, "the rest")
	h.Noise = nil
	if err := h.Replace(x, 100); err == nil {
		t.Error("a picture is noised without noise")
	}
	if err := h.Replace(noise(0, 1, 3, 8, 8), 0); err == nil || !strings.Contains(err.Error(), "[1,3,32,32]") {
		t.Errorf("a picture of another size: %v", err)
	}
}
