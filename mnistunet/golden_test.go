package mnistunet

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

func TestGoldenUnconditional(t *testing.T) {
	testGolden(t, None, "mnist_unet_unconditional.safetensors")
}
func TestGoldenTime(t *testing.T)  { testGolden(t, Time, "mnist_unet_time.safetensors") }
func TestGoldenClass(t *testing.T) { testGolden(t, Class, "mnist_unet_class.safetensors") }

// testGolden compares output, loss, every gradient, every value after a step of Adam, the evaluation after it and a
// guided walk with PyTorch's.
func testGolden(t *testing.T, condition Condition, name string) {
	const tolerance, rate = 1e-4, 1e-3
	f := golden.Open(t, name)
	c := Default(condition)
	first, err := f.Tensor("param.in_block.0.0.weight")
	if err != nil {
		t.Fatal(err)
	}
	c.Dim = first.Shape[0]
	x, xShape := golden.Float32(t, f, "x")
	target, _ := golden.Float32(t, f, "target")
	b := batch{n: xShape[0], x: x, target: target}
	if condition != None {
		ts, err := f.Tensor("t")
		if err != nil {
			t.Fatal(err)
		}
		if b.t, err = times(ts, c.Timesteps); err != nil {
			t.Fatal(err)
		}
	}
	if condition == Class {
		var shape []int
		b.class, shape = golden.Float32(t, f, "onehot")
		c.Classes = shape[1]
	}
	m, err := FromFile(enginetest.Backend(t), c, dtypes.Float32, f, "param.")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	tr := newTrainer(t, m.backend, c, dtypes.Float32, func(p nn.Param) ([]float32, error) {
		return p.Read(f,
			"param.")
	})

	loss, gradients, err := tr.Gradients(b.inputs())
	if err != nil {
		t.Fatal(err)
	}
	want, _ := golden.Float32(t, f, "output.train")
	golden.Close(t, trainingOutput(t, m, b), want, tolerance, "output.train")
	want, _ = golden.Float32(t, f, "loss")
	golden.Close(t, []float32{float32(loss)}, want, tolerance, "loss")
	compare := func(prefix string, got map[string]weights.Tensor) {
		t.Helper()
		compared := 0
		for _, name := range f.Names() {
			short, ok := strings.CutPrefix(name, prefix)
			if !ok {
				continue
			}
			want, _ := golden.Float32(t, f, name)
			values, err := got[short].Float32()
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			golden.Close(t, values, want, tolerance, name)
			compared++
		}
		if compared != len(got) || compared == 0 {
			t.Errorf("%s: compared %d of %d tensors", prefix, compared, len(got))
		}
	}
	compare("grad.", gradients)

	if _, err := tr.Step(b.inputs(), rate, 0); err != nil {
		t.Fatal(err)
	}
	after, err := tr.Tensors()
	if err != nil {
		t.Fatal(err)
	}
	// A bias before batch normalization has no effect in training: its gradient is rounding noise of 1e-9, which the
	// first step of Adam blows up to anything between ±rate. Such values are only held to that bound, and replaced by
	// PyTorch's before they are compared, so that what follows them is compared too.
	for name, v := range after {
		gradient, err := f.Tensor("grad." + name)
		if err != nil {
			continue
		}
		g, _ := gradient.Float32()
		got, _ := v.Float32()
		before, _ := golden.Float32(t, f, "param."+name)
		want, _ := golden.Float32(t, f, "after_adam."+name)
		for i := range g {
			if g[i] > -1e-6 && g[i] < 1e-6 {
				if d := got[i] - before[i]; !(d >= -1.01*rate && d <= 1.01*rate) {
					t.Errorf("%s: value %d moved by %g, more than the rate %g", name, i, d, rate)
				}
				got[i] = want[i]
			}
		}
		after[name] = weights.FromFloat32(v.Shape, got)
	}
	compare("after_adam.", after)

	m, err = FromFile(m.backend, c, dtypes.Float32, f, "after_adam.")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	y, err := m.Evaluate(t.Context(), diffusion.Images{N: b.n, C: 1, H: Size, W: Size, Data: x}, b.t, b.class)
	if err != nil {
		t.Fatal(err)
	}
	want, _ = golden.Float32(t, f, "output.eval_after_adam")
	golden.Close(t, y.Data, want, tolerance, "output.eval_after_adam")

	if _, err := f.Tensor("sample.start"); err == nil {
		testWalk(t, m, f)
	}
}

func times(t weights.Tensor, timesteps int) ([]float32, error) {
	if t.DType == weights.I32 {
		v, err := t.Int32()
		out := make([]float32, len(v))
		for i, x := range v {
			out[i] = float32(x) / float32(timesteps)
		}
		return out, err
	}
	return t.Float32()
}

func testWalk(t *testing.T, m *Model, f *weights.File) {
	t.Helper()
	start, shape := golden.Float32(t, f, "sample.start")
	steps := 1
	for _, name := range f.Names() {
		if strings.HasPrefix(name, "sample.noise.") {
			steps++
		}
	}
	m.Config.Timesteps = steps
	schedule, err := m.Schedule()
	if err != nil {
		t.Fatal(err)
	}
	path, err := schedule.Path(steps, diffusion.Leading)
	if err != nil {
		t.Fatal(err)
	}
	s := diffusion.Sampler{Process: schedule, Path: path, Method: diffusion.DDPM{Variance: diffusion.FixedLarge},
		Noise: func(_ int, from float64, dst diffusion.Images) error {
			v, _ := golden.Float32(t, f, fmt.Sprintf("sample.noise.%g", from))
			copy(dst.Data, v)
			return nil
		}}
	want, _ := golden.Float32(t, f, "sample.image")
	x := diffusion.Images{N: shape[0], C: shape[1], H: shape[2], W: shape[3], Data: start}
	// The file does not tell the classes: every image must be that of one.
	nearest := slices.Repeat([]float64{math.Inf(1)}, x.N)
	for class := range m.Config.Classes {
		got, err := s.Sample(context.Background(), m.GuidedDenoiser(slices.Repeat([]int{class}, x.N), 5), x.Clone())
		if err != nil {
			t.Fatal(err)
		}
		for n := range nearest {
			worst := 0.0
			for i, v := range got.Slice(n, n+1).Data {
				worst = max(worst, math.Abs(float64(v-want[n*x.Size()+i])))
			}
			if worst < nearest[n] { // unlike min, not if it is NaN
				nearest[n] = worst
			}
		}
	}
	for n, worst := range nearest {
		if worst > 1e-3 {
			t.Errorf("no class gives image %d of the recorded run; the nearest one differs by %.2g", n, worst)
		}
	}
}

func TestParameters(t *testing.T) {
	if n := Default(Class).Parameters(); n != 2019201 {
		t.Errorf("dim 64 with 10 classes has %d parameters, want 2,019,201", n)
	}
}
