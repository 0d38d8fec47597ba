package mnistunet

import (
	"context"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/weights"
)

func small(t testing.TB, condition Condition) *Model { return smallOf(t, Default(condition)) }

func smallFlow(t testing.TB, condition Condition) *Model {
	return smallOf(t, Default(condition).ForFlow())
}

func smallOf(t testing.TB, c Config) *Model {
	t.Helper()
	c.Dim = 4
	m, err := New(enginetest.Backend(t), c, dtypes.Float32, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func noise(seed uint64, n int) diffusion.Images {
	x := diffusion.NewImages(n, 1, Size, Size)
	diffusion.NewGenerator(seed).Normal(x.Data)
	return x
}

func closeTo(t *testing.T, what string, got, want diffusion.Images) {
	t.Helper()
	if !got.SameShape(want) {
		t.Fatalf("%s: shape %s, want %s", what, got.Shape(), want.Shape())
	}
	for i, w := range want.Data {
		if d := math.Abs(float64(got.Data[i] - w)); !(d < 1e-5) {
			t.Fatalf("%s: value %d is %g, want %g", what, i, got.Data[i], w)
		}
	}
}

// The same seed gives the values that PyTorch gives the same modules, bit by bit. The checksum was taken there:
// zlib.crc32 over the state's tensors in the order of their names, after torch.manual_seed(3).
func TestInitialValues(t *testing.T) {
	c := Default(Class)
	c.Dim = 8
	m, err := New(enginetest.Backend(t), c, dtypes.Float32, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	values, err := m.Tensors()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := weights.Write(path, values, nil); err != nil {
		t.Fatal(err)
	}
	f, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	sum := uint32(0)
	for _, name := range f.Names() {
		v, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		sum = crc32.Update(sum, crc32.IEEETable, v.Data)
	}
	if sum != 0x1608c9f3 {
		t.Errorf("the values' checksum is %#x, want 0x1608c9f3", sum)
	}
}

func TestSaveAndLoad(t *testing.T) {
	for _, m := range []*Model{small(t, None), small(t, Time), small(t, Class), smallFlow(t, Time),
		smallFlow(t, Class)} {
		condition, objective := m.Config.Condition, m.Config.Objective
		dir := filepath.Join(t.TempDir(), "model")
		if err := m.Save(dir); err != nil {
			t.Fatal(err)
		}
		again, err := Load(m.backend, dir, dtypes.Float32)
		if err != nil {
			t.Fatal(err)
		}
		defer again.Close()
		if again.Config != m.Config {
			t.Errorf("config %+v, want %+v", again.Config, m.Config)
		}
		apply := func(m *Model) diffusion.Images {
			x := noise(2, 2)
			if condition == None {
				y, err := m.Denoise(t.Context(), x)
				if err != nil {
					t.Fatal(err)
				}
				return y
			}
			var labels []int
			if condition == Class {
				labels = []int{3, -1}
			}
			at, of := 100.0, diffusion.Epsilon
			if objective == Flow {
				at, of = 0.3, diffusion.Velocity
			}
			e, err := m.Denoiser(labels)(t.Context(), x, at)
			if err != nil {
				t.Fatal(err)
			}
			if e.Of != of {
				t.Errorf("%s %s estimates %q, expected %q", condition, objective, e.Of, of)
			}
			return e.Value
		}
		closeTo(t, fmt.Sprint(condition, objective), apply(again), apply(m))
		// Folders of noise estimation stay what they were before there were objectives.
		written, err := os.ReadFile(filepath.Join(dir, ConfigFile))
		if err != nil || strings.Contains(string(written), "objective") != (objective == Flow) {
			t.Errorf("configuration of condition %s, objective %q: %s, %v", condition, objective, written, err)
		}
	}
}

func TestBrokenFolders(t *testing.T) {
	m := small(t, Class)
	for what, c := range map[string]struct {
		spoil func(dir string) error
		words string
	}{
		"no configuration": {func(dir string) error { return os.Remove(filepath.Join(dir, ConfigFile)) },
			ConfigFile},
		"no weights": {func(dir string) error { return os.Remove(filepath.Join(dir, WeightsFile)) },
			WeightsFile},
		"damaged configuration": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, ConfigFile),
				[]byte("{"), 0o644)
		}, ConfigFile},
		"truncated weights": {func(dir string) error { return os.Truncate(filepath.Join(dir, WeightsFile), 5000) },
			WeightsFile},
		"another dim": {replaceIn(`"dim": 4`, `"dim": 8`), "shape"},
		"another condition": {replaceIn(`"condition": "class"`, `"condition": "time"`),
			`"c_fc1.0.bias" has no place`},
		"another model": {replaceIn("mnist-unet", "cat"), `"cat"`},
		"absurd dim":    {replaceIn(`"dim": 4`, `"dim": 400000000`), "dim 400000000"},
		"another objective": {replaceIn(`"dim": 4`, `"dim": 4, "objective": "score"`),
			`objective "score"; want flow`},
		"no noise": {replaceIn(`"beta_start": 0.0001`, `"beta_start": 1e-9`),
			"ᾱ at timestep 0 is 1 in float32"},
		"flow with a schedule": {replaceIn(`"dim": 4`, `"dim": 4, "objective": "flow"`),
			"timesteps 300 and betas 0.0001 to 0.02 with objective flow"},
		"flow without a time": {replaceIn(`"condition": "class"`, `"condition": "none", "objective": "flow"`),
			"objective flow with condition none"},
	} {
		dir := filepath.Join(t.TempDir(), "model")
		if err := m.Save(dir); err != nil {
			t.Fatal(err)
		}
		if err := c.spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Load(m.backend, dir, dtypes.Float32); err == nil || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v; want a word on %q", what, err, c.words)
		}
	}
}

func replaceIn(from, to string) func(string) error {
	return func(dir string) error {
		path := filepath.Join(dir, ConfigFile)
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(path, []byte(strings.Replace(string(b), from, to, 1)), 0o644)
	}
}

// One evaluation of twice the batch gives what two evaluations give.
func TestGuidedDenoiser(t *testing.T) {
	m := small(t, Class)
	x, labels := noise(4, 3), []int{0, 5, 9}
	for _, scale := range []float32{0, 1, 5} {
		got, err := m.GuidedDenoiser(labels, scale)(t.Context(), x, 7)
		if err != nil {
			t.Fatal(err)
		}
		want, err := diffusion.Guided(m.Denoiser(labels), m.Denoiser([]int{-1, -1, -1}), scale)(t.Context(), x, 7)
		if err != nil {
			t.Fatal(err)
		}
		closeTo(t, "guided", got.Value, want.Value)
	}
}

// The same for velocities; and the network is told the time as it is.
func TestGuidedVelocity(t *testing.T) {
	m := smallFlow(t, Class)
	x, labels := noise(4, 3), []int{0, 5, 9}
	for _, scale := range []float32{0, 1, 5} {
		got, err := m.GuidedDenoiser(labels, scale)(t.Context(), x, 0.7)
		if err != nil {
			t.Fatal(err)
		}
		cond, err := m.Denoiser(labels)(t.Context(), x, 0.7)
		if err != nil {
			t.Fatal(err)
		}
		uncond, err := m.Evaluate(t.Context(), x, []float32{0.7, 0.7, 0.7}, make([]float32, 30))
		if err != nil {
			t.Fatal(err)
		}
		want, err := diffusion.Guide(cond, diffusion.Estimate{Value: uncond, Of: diffusion.Velocity}, scale)
		if err != nil {
			t.Fatal(err)
		}
		if got.Of != diffusion.Velocity {
			t.Errorf("guided velocities are %q", got.Of)
		}
		closeTo(t, "guided", got.Value, want.Value)
	}
}

// More images than one evaluation takes are split.
func TestManyImages(t *testing.T) {
	m := small(t, Class)
	x, labels := noise(5, maxBatch+3), make([]int, maxBatch+3)
	for i := range labels {
		labels[i] = i % 10
	}
	all, err := m.Denoiser(labels)(t.Context(), x, 200)
	if err != nil {
		t.Fatal(err)
	}
	last := x.Slice(maxBatch-1, maxBatch+3)
	some, err := m.Denoiser(labels[maxBatch-1:])(t.Context(), last, 200)
	if err != nil {
		t.Fatal(err)
	}
	closeTo(t, "the last four", all.Value.Slice(maxBatch-1, maxBatch+3), some.Value)
}

func TestMisuse(t *testing.T) {
	none, time, class := small(t, None), small(t, Time), small(t, Class)
	flow, classFlow := smallFlow(t, Time), smallFlow(t, Class)
	ctx := t.Context()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	x := noise(6, 2)
	estimate := func(ctx context.Context, d diffusion.Denoiser, x diffusion.Images, at float64) error {
		_, err := d(ctx, x, at)
		return err
	}
	denoise := func(m *Model, x diffusion.Images) error {
		_, err := m.Denoise(ctx, x)
		return err
	}
	for what, c := range map[string]struct {
		err   error
		words string
	}{
		"no labels":           {estimate(ctx, class.Denoiser(nil), x, 0), "0 classes for 2 images"},
		"one label":           {estimate(ctx, class.GuidedDenoiser([]int{1}, 5), x, 0), "1 classes for 2 images"},
		"class 10":            {estimate(ctx, class.Denoiser([]int{1, 10}), x, 0), "class 10"},
		"labels for time":     {estimate(ctx, time.Denoiser([]int{1, 2}), x, 0), `"time"`},
		"guidance for time":   {estimate(ctx, time.GuidedDenoiser(nil, 5), x, 0), "guidance"},
		"timestep 300":        {estimate(ctx, time.Denoiser(nil), x, 300), "time 300; the model knows 0 to 299"},
		"timestep -1":         {estimate(ctx, time.Denoiser(nil), x, -1), "time -1;"},
		"denoiser of none":    {estimate(ctx, none.Denoiser(nil), x, 0), "condition none removes noise of one level"},
		"Denoise of time":     {denoise(time, x), `"time"`},
		"another size":        {denoise(none, diffusion.NewImages(1, 1, 32, 32)), "[1,1,32,32]"},
		"color":               {denoise(none, diffusion.NewImages(1, 3, 28, 28)), "[1,3,28,28]"},
		"no images":           {denoise(none, diffusion.NewImages(0, 1, 28, 28)), "[0,1,28,28]"},
		"an ended context":    {estimate(ended, time.Denoiser(nil), x, 0), "canceled"},
		"schedule of no time": {func() error { _, err := none.Schedule(); return err }(), "no noise schedule"},
		"schedule of a flow": {func() error { _, err := flow.Schedule(); return err }(),
			"objective flow has no noise schedule"},
		"Denoise of a flow":   {denoise(flow, x), "condition none"},
		"guided none":         {estimate(ctx, none.GuidedDenoiser(nil, 5), x, 0), "guidance"},
		"velocity at 150":     {estimate(ctx, flow.Denoiser(nil), x, 150), "time 150; the model knows 0 to 1"},
		"velocity before 0":   {estimate(ctx, flow.Denoiser(nil), x, -0.1), "time -0.1;"},
		"velocity at NaN":     {estimate(ctx, flow.Denoiser(nil), x, math.NaN()), "time NaN;"},
		"velocity, labels":    {estimate(ctx, flow.Denoiser([]int{1, 2}), x, 0), `"time"`},
		"velocity, one label": {estimate(ctx, classFlow.GuidedDenoiser([]int{1}, 5), x, 0), "1 classes for 2 images"},
		"velocity, guidance":  {estimate(ctx, flow.GuidedDenoiser(nil, 5), x, 0), "guidance"},
		"velocity, ended":     {estimate(ended, flow.Denoiser(nil), x, 0), "canceled"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.words) {
			t.Errorf("%s: %v; want a word on %q", what, c.err, c.words)
		}
	}
}

// Fewer or more timesteps add the same noise in all, a handful more.
func TestForTimesteps(t *testing.T) {
	left := func(c Config) float64 {
		s, err := diffusion.Linear(c.Timesteps, c.BetaStart, c.BetaEnd)
		if err != nil {
			t.Fatal(err)
		}
		return float64(s.AlphasCumprod[s.Len()-1])
	}
	recipe := Default(Time)
	for _, n := range []int{2, 10, 20, 100, 300, 1000, 4000} {
		if got, want := left(recipe.ForTimesteps(n)), left(recipe); got > 1.1*want || got <= 0 || n >= 300 &&
			math.Abs(got/want-1) > 0.1 {
			t.Errorf("at the last of %d timesteps ᾱ = %.4g, of 300 %.4g", n, got, want)
		}
	}
}
