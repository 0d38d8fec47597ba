package diffusion_test

import (
	"errors"
	"iter"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

// left is a mask that keeps the left half: 0 there, 1 to the right.
func left(n, c, h, w int) diffusion.Images {
	mask := diffusion.NewImages(n, c, h, w)
	for i := range mask.Data {
		if i%w >= w/2 {
			mask.Data[i] = 1
		}
	}
	return mask
}

// At every step known pixels are the originals', as noised as x is, to the bit; at the end they are the originals'.
// The others are what the network makes beside them.
func TestKnownPixelsAreKept(t *testing.T) {
	original, image := normal(1, 2, 3, 4, 6), normal(2, 2, 3, 4, 6)
	for _, p := range []diffusion.Process{linear(t, 300), diffusion.Flow{}} {
		moves, err := diffusion.Resample(path(t, p, 12, diffusion.Linspace), 3, 2, 0, 1)
		if err != nil {
			t.Fatal(err)
		}
		for name, method := range methods {
			for _, mask := range []diffusion.Images{left(1, 1, 4, 6), left(2, 1, 4, 6), left(1, 3, 4, 6),
				left(2, 3, 4, 6)} {
				noises := map[int]diffusion.Images{}
				known := diffusion.Known{Process: p, Images: original, Mask: mask,
					Noise: func(index int, at float64, dst diffusion.Images) error {
						copy(dst.Data, normal(uint64(100+index), 2, 3, 4, 6).Data)
						noises[index] = dst.Clone()
						if at != moves[index].To {
							t.Errorf("noise is asked for time %g, expected %g", at, moves[index].To)
						}
						return nil
					}}
				s := diffusion.Sampler{Process: p, Path: moves, Method: method, Noise: diffusion.NewGenerator(5).Noise}
				var last diffusion.Images
				for step, err := range known.Keep(s.Steps(t.Context(), knows(p, usual(p), image),
					normal(3, 2, 3, 4, 6))) {
					if err != nil {
						t.Fatal(err)
					}
					if last.Data != nil && !slices.Equal(step.Input.Data, last.Data) {
						t.Fatalf("%s, %v, step %d does not see the known part", name, p, step.Index)
					}
					want := original
					if noise, ok := noises[step.Index]; ok {
						if want, err = diffusion.AddNoise(p, original, noise, step.To); err != nil {
							t.Fatal(err)
						}
					}
					for i, v := range step.X.Data {
						if i%6 < 3 && math.Float32bits(v) != math.Float32bits(want.Data[i]) {
							t.Fatalf("%s, %v, step %d: the known value %d is %g, expected %g", name, p, step.Index, i,
								v, want.Data[i])
						}
					}
					last = step.X.Clone()
				}
				for i, v := range last.Data {
					if i%6 >= 3 && !(math.Abs(float64(v-image.Data[i])) <= 1e-4) {
						t.Fatalf("%s, %v: value %d, which is to be generated, is %g, expected %g", name, p, i, v,
							image.Data[i])
					}
				}
			}
		}
	}
}

// one is a run of one step that ends with x at time t.
func one(x diffusion.Images, to float64) iter.Seq2[diffusion.Step, error] {
	return func(yield func(diffusion.Step, error) bool) {
		yield(diffusion.Step{Total: 1, Move: diffusion.Move{To: to}, X: x}, nil)
	}
}

// Where the mask is m, the image is mixed as m says, and there is as much noise as elsewhere.
func TestFeatheredMasks(t *testing.T) {
	const n, generated, kept = 200, 0.8, -0.4
	mask := diffusion.NewImages(1, 1, 1, 5)
	copy(mask.Data, []float32{0, 0.25, 0.5, 0.9, 1})
	for _, c := range []struct {
		process diffusion.Process
		times   []float64
	}{{linear(t, 300), []float64{250, 30, diffusion.Clean}}, {diffusion.Flow{}, []float64{0.1, 0.9, 1}}} {
		for _, at := range c.times {
			g := diffusion.NewGenerator(1)
			x0, original, noise := diffusion.NewImages(n, n, 1, 5), diffusion.NewImages(n, n, 1, 5),
				diffusion.NewImages(n, n, 1, 5)
			for i := range x0.Data {
				x0.Data[i], original.Data[i] = generated, kept
			}
			g.Normal(noise.Data)
			x, err := diffusion.AddNoise(c.process, x0, noise, at)
			if err != nil {
				t.Fatal(err)
			}
			known := diffusion.Known{Process: c.process, Images: original, Mask: mask, Noise: g.Noise}
			for step, err := range known.Keep(one(x, at)) {
				if err != nil {
					t.Fatal(err)
				}
				signal, sigma := c.process.Levels(at)
				for column, m := range mask.Data {
					mean, square := 0.0, 0.0
					for i := column; i < len(step.X.Data); i += 5 {
						mean += float64(step.X.Data[i]) / (n * n)
					}
					for i := column; i < len(step.X.Data); i += 5 {
						d := float64(step.X.Data[i]) - mean
						square += d * d / (n * n)
					}
					want := signal * (float64(m)*generated + (1-float64(m))*kept)
					if !(math.Abs(mean-want) <= 0.02*sigma+1e-6) ||
						!(math.Abs(math.Sqrt(square)-sigma) <= 0.02*sigma+1e-6) {
						t.Errorf("%v, time %g, mask %g: mean %.4f and deviation %.4f, expected %.4f and %.4f",
							c.process, at, m, mean, math.Sqrt(square), want, sigma)
					}
				}
			}
		}
	}
}

// Overwrite does once what Keep does after a step.
func TestOverwrite(t *testing.T) {
	s, x := linear(t, 300), normal(3, 2, 3, 4, 6)
	known := diffusion.Known{Process: s, Images: normal(1, 2, 3, 4, 6), Mask: left(1, 1, 4, 6)}
	known.Mask.Data[3] = 0.25
	for _, at := range []float64{200, 0.5, diffusion.Clean} {
		got, want := x.Clone(), x.Clone()
		known.Noise = diffusion.NewGenerator(2).Noise
		if err := known.Overwrite(got, at); err != nil {
			t.Fatal(err)
		}
		known.Noise = diffusion.NewGenerator(2).Noise
		for _, err := range known.Keep(one(want, at)) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(got.Data, want.Data) || slices.Equal(got.Data, x.Data) {
			t.Errorf("at %g it makes something else", at)
		}
	}
	known.Mask = left(1, 1, 6, 4)
	if err := known.Overwrite(x, 200); err == nil || !strings.Contains(err.Error(), "the mask has shape [1,1,6,4]") {
		t.Errorf("error %v", err)
	}
}

// Clean originals are put into every step as they are, and no noise is drawn for them.
func TestCleanOriginals(t *testing.T) {
	s := linear(t, 300)
	original, mask := normal(1, 2, 3, 4, 6), left(1, 1, 4, 6)
	mask.Data[3] = 0.25
	known := diffusion.Known{Process: s, Images: original, Mask: mask, Clean: true}
	moves := path(t, s, 5, diffusion.Linspace)
	plain := diffusion.Sampler{Process: s, Path: moves, Method: diffusion.DDIM{}}
	steps := 0
	for step, err := range known.Keep(plain.Steps(t.Context(), gaussian(s, 1), normal(3, 2, 3, 4, 6))) {
		if err != nil {
			t.Fatal(err)
		}
		alone := diffusion.Sampler{Process: s, Path: moves[steps : steps+1], Method: diffusion.DDIM{}}
		x, err := alone.Sample(t.Context(), gaussian(s, 1), step.Input)
		if err != nil {
			t.Fatal(err)
		}
		for i, v := range step.X.Data {
			m := mask.Data[i%24]
			want := m*x.Data[i] + (1-m)*original.Data[i]
			if m == 0 && v != original.Data[i] || !(math.Abs(float64(v-want)) <= 1e-6) {
				t.Fatalf("step %d: value %d is %g, expected %g", step.Index, i, v, want)
			}
		}
		steps++
	}
	if steps != len(moves) {
		t.Errorf("%d steps, expected %d", steps, len(moves))
	}
}

func TestKnownErrors(t *testing.T) {
	s := linear(t, 300)
	good := diffusion.Known{Process: s, Images: normal(1, 2, 3, 4, 6), Mask: left(1, 1, 4, 6),
		Noise: diffusion.NewGenerator(1).Noise}
	broken := errors.New("out of paint")
	for name, c := range map[string]struct {
		change func(*diffusion.Known)
		want   string
	}{
		"no process":   {func(k *diffusion.Known) { k.Process = nil }, "no process"},
		"nil schedule": {func(k *diffusion.Known) { k.Process = (*diffusion.Schedule)(nil) }, "no process"},
		"no originals": {func(k *diffusion.Known) { k.Images = diffusion.Images{} }, "the mask has shape [1,1,4,6]"},
		"short original": {func(k *diffusion.Known) { k.Images.Data = nil },
			"the original: images of shape [2,3,4,6] need 144 values, found 0"},
		"other original": {func(k *diffusion.Known) { k.Images = normal(1, 1, 3, 4, 6) },
			"the original has shape [1,3,4,6], expected [2,3,4,6]"},
		"no mask": {func(k *diffusion.Known) { k.Mask = diffusion.Images{} },
			"the mask has shape [0,0,0,0], expected [1 or 2,1 or 3,4,6]"},
		"short mask":  {func(k *diffusion.Known) { k.Mask.Data = nil }, "the mask: images of shape"},
		"mask's size": {func(k *diffusion.Known) { k.Mask = left(1, 1, 6, 4) }, "the mask has shape [1,1,6,4]"},
		"masks":       {func(k *diffusion.Known) { k.Mask = left(3, 1, 4, 6) }, "the mask has shape [3,1,4,6]"},
		"channels":    {func(k *diffusion.Known) { k.Mask = left(1, 2, 4, 6) }, "the mask has shape [1,2,4,6]"},
		"mask's values": {func(k *diffusion.Known) { k.Mask = left(1, 1, 4, 6); k.Mask.Data[2] = 255 },
			"the mask has the value 255"},
		"NaN": {func(k *diffusion.Known) { k.Mask = left(1, 1, 4, 6); k.Mask.Data[2] = float32(math.NaN()) },
			"the value NaN"},
		"no noise": {func(k *diffusion.Known) { k.Noise = nil }, "set Noise"},
		"noise fails": {func(k *diffusion.Known) {
			k.Noise = func(int, float64,
				diffusion.Images) error {
				return broken
			}
		}, "out of paint"},
		"other process": {func(k *diffusion.Known) { k.Process = diffusion.Flow{} },
			"no time 100; its times go from 0"},
	} {
		known := good
		c.change(&known)
		sampler := diffusion.Sampler{Process: s, Path: diffusion.Visit(200, 100, 0), Method: diffusion.DDIM{}}
		seen, last := 0, error(nil)
		for step, err := range known.Keep(sampler.Steps(t.Context(), gaussian(s, 1), normal(1, 2, 3, 4, 6))) {
			if last != nil {
				t.Errorf("%s: the run goes on after its error", name)
			}
			if last = err; err == nil {
				seen++
			} else if step.X.Data != nil {
				t.Errorf("%s: the error comes with a step", name)
			}
		}
		if seen != 0 || last == nil || !strings.Contains(last.Error(), c.want) {
			t.Errorf("%s: %d steps and error %v, expected it to contain %q", name, seen, last, c.want)
		}
	}
	// The run's own errors pass.
	sampler := diffusion.Sampler{Process: s, Path: diffusion.Visit(200, 100, 0), Method: diffusion.DDPM{}}
	for _, err := range good.Keep(sampler.Steps(t.Context(), gaussian(s, 1), normal(1, 2, 3, 4, 6))) {
		if err == nil || !strings.Contains(err.Error(), "step 1 of 3, time 200: the step adds noise") {
			t.Errorf("error %v", err)
		}
	}
}
