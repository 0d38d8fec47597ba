package main

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/internal/drawdigits"
	"github.com/unnoise/unnoise/internal/modeltest"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/training/mnist"
)

// What is drawn is what the settings say: a walk made by hand has the same pixels, and each setting changes them.
func TestSamplingIsHeeded(t *testing.T) {
	c := mnistunet.Default(mnistunet.Class)
	labels := []int{3, 8}
	for _, x := range []struct {
		config  mnistunet.Config
		setting evaluation.Sampling
		walk    func(m *mnistunet.Model, x diffusion.Images, g *diffusion.Generator) (diffusion.Images, error)
		others  map[string]func(*evaluation.Sampling)
	}{
		{c, evaluation.Sampling{Sampler: "ddim", Steps: 3, Eta: 0.6, Guidance: 4, Seed: 5},
			func(m *mnistunet.Model, x diffusion.Images, g *diffusion.Generator) (diffusion.Images, error) {
				schedule, err := m.Schedule()
				if err != nil {
					return x, err
				}
				path, err := schedule.Path(3, diffusion.Trailing)
				if err != nil {
					return x, err
				}
				return diffusion.Sampler{Process: schedule, Path: path, Method: diffusion.DDIM{Eta: 0.6},
					Noise: g.Noise}.Sample(t.Context(), m.GuidedDenoiser(labels, 4), x)
			}, map[string]func(*evaluation.Sampling){
				"guidance": func(s *evaluation.Sampling) { s.Guidance = 1 },
				"eta":      func(s *evaluation.Sampling) { s.Eta = 0 }, "seed": func(s *evaluation.Sampling) { s.Seed = 6 },
				"steps": func(s *evaluation.Sampling) { s.Steps = 4 },
				"ddpm":  func(s *evaluation.Sampling) { s.Sampler, s.Eta = "ddpm", 0 },
				"dpm++": func(s *evaluation.Sampling) { s.Sampler, s.Eta = "dpm++", 0 },
			}},
		{c.ForFlow(), evaluation.Sampling{Sampler: "midpoint", Steps: 3, Guidance: 4, Seed: 5},
			func(m *mnistunet.Model, x diffusion.Images, _ *diffusion.Generator) (diffusion.Images, error) {
				path, err := diffusion.Flow{}.Path(3, "")
				if err != nil {
					return x, err
				}
				return diffusion.Sampler{Process: diffusion.Flow{}, Path: path,
					Method: diffusion.Midpoint{}}.Sample(t.Context(), m.GuidedDenoiser(labels, 4), x)
			}, map[string]func(*evaluation.Sampling){
				"guidance": func(s *evaluation.Sampling) { s.Guidance = 1 },
				"seed":     func(s *evaluation.Sampling) { s.Seed = 6 },
				"steps":    func(s *evaluation.Sampling) { s.Steps = 4 },
				"euler":    func(s *evaluation.Sampling) { s.Sampler = "euler" },
			}},
	} {
		m := modeltest.Untrained(t, x.config)
		draw := func(s evaluation.Sampling) []float32 {
			t.Helper()
			frames, err := drawdigits.Draw(t.Context(), m, evaluation.Drawing{Sampling: s, Labels: labels, Count: 2,
				Frames: 1})
			if err != nil {
				t.Fatal(err)
			}
			return frames[0].X.Data
		}
		drawn := draw(x.setting)
		g := diffusion.NewGenerator(5)
		noise := diffusion.NewImages(2, 1, mnistunet.Size, mnistunet.Size)
		g.Normal(noise.Data)
		want, err := x.walk(m, noise, g)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(drawn, want.Data) {
			t.Errorf("%+v draws otherwise than the walk by hand", x.setting)
		}
		seen := map[string][]float32{"": drawn}
		for what, change := range x.others {
			s := x.setting
			change(&s)
			y := draw(s)
			for other, z := range seen {
				if slices.Equal(y, z) {
					t.Errorf("%s: %q and %q draw the same", x.setting.Sampler, what, other)
				}
			}
			seen[what] = y
		}
	}
}

// The flags are the recipe, and the command on the page is those flags.
func TestTrainFlags(t *testing.T) {
	config := func(args ...string) mnist.Config {
		t.Helper()
		var f trainFlags
		cmd := f.verb()
		if err := cmd.ParseFlags(args); err != nil {
			t.Fatal(err)
		}
		c, err := f.config(cmd, nil)
		if err != nil {
			t.Error(err)
		}
		return c
	}
	want := mnist.Default(mnistunet.Class)
	want.Network = want.Network.ForTimesteps(50)
	want.Network.Dim, want.Epochs, want.Batch, want.LearningRate, want.Decay, want.Dropout, want.Seed, want.DType = 8,
		3, 32, 0.01, 0.5, 0.3, 4, "f32"
	if got := config("--epochs", "3", "--batch", "32", "--lr", "0.01", "--decay", "0.5", "--seed", "4", "--condition",
		"class", "--dim", "8", "--timesteps", "50", "--dropout", "0.3", "--dtype", "f32"); !reflect.DeepEqual(got, want) {
		t.Errorf("the flags give %+v, want %+v", got, want)
	}
	want.Threads, want.Data = 2, training.Data{Name: mnist.Embedded, Images: 60000}
	if got, line := want.Command(false, "r"),
		"unnoise train mnist --condition class --dim 8 --timesteps 50 --epochs 3 --batch 32 --lr 0.01 --decay 0.5 "+
			"--dropout 0.3 --seed 4 --dtype f32 --threads 2 --out r"; got != line {
		t.Errorf("%s, want %s", got, line)
	}
	want.DecaySteps = true
	if got, line := want.Command(true, "r"),
		"unnoise demo --epochs 3 --dim 8 --limit 60000 --seed 4 --dtype f32 --threads 2"; !strings.HasPrefix(got,
		line) {
		t.Errorf("%s, want %s", got, line)
	}
	if got := config("--condition", "none", "--sigma", "0.2"); got.Network.Sigma != 0.2 ||
		got.Network.Condition != mnistunet.None {
		t.Errorf("σ = 0.2 gives %+v", got)
	}
	pure := config("--condition", "none", "--pure-noise", "--dim", "16")
	if !pure.Network.PureNoise || pure.Network.Sigma != 0 || pure.Epochs != 5 {
		t.Errorf("pure noise gives %+v", pure)
	}
	if got, line := pure.Command(false, "r"),
		"unnoise train mnist --condition none --pure-noise --dim 16 --data "; !strings.HasPrefix(got, line) {
		t.Errorf("%s, want %s", got, line)
	}
	if got := config("--condition", "time", "--objective", "flow"); got.Network.Objective != mnistunet.Flow ||
		got.Network.Timesteps != 0 || got.Batch != 128 || got.Decay != 0.1 {
		t.Errorf("the objective flow gives %+v", got)
	}
	if got := config("--schedule", "cosine", "--warmup", "9", "--clip", "1", "--ema", "0.9"); got.Schedule !=
		training.Cosine || got.Decay != 0 || got.Warmup != 9 || got.Clip != 1 || got.EMA != 0.9 || got.Dropout != 0.1 {
		t.Errorf("a cosine gives %+v", got)
	}
	if got := config("--decay", "0"); got.Decay != 0.1 {
		t.Errorf("--decay 0 gives %g, expected the recipe's", got.Decay)
	}
}
