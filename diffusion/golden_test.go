package diffusion_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/weights"
)

func goldenJSON(t *testing.T, name string, into any) {
	t.Helper()
	path := filepath.Join(golden.Dir(t), filepath.FromSlash(name))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func goldenImages(t *testing.T, f *weights.File, name string) diffusion.Images {
	t.Helper()
	values, shape := golden.Float32(t, f, name)
	if len(shape) != 4 {
		t.Fatalf("%s: shape %d, expected four dimensions", name, shape)
	}
	return diffusion.Images{N: shape[0], C: shape[1], H: shape[2], W: shape[3], Data: values}
}

// The names are rand.seed42.n50, randn.seed0.second100 (a second draw after one of as many), randint1000.seed0.n50.
var drawName = regexp.MustCompile(`^(randn|rand|randint([0-9]+))\.seed([0-9]+)\.(n|second)([0-9]+)$`)

func TestGoldenGenerator(t *testing.T) {
	f := golden.Open(t, "torch_generator.safetensors")
	for _, name := range f.Names() {
		part := drawName.FindStringSubmatch(name)
		if part == nil {
			t.Errorf("%s: the name says no draw that this test knows", name)
			continue
		}
		seed, err := strconv.ParseUint(part[3], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		n, _ := strconv.Atoi(part[5])
		g := diffusion.NewGenerator(seed)
		draws := 1
		if part[4] == "second" {
			draws = 2
		}
		if part[2] != "" {
			high, _ := strconv.Atoi(part[2])
			tensor, err := f.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			want, err := tensor.Int32()
			if err != nil {
				t.Fatal(err)
			}
			got := make([]int, n)
			for range draws {
				g.IntN(got, high)
			}
			for i := range got {
				if i >= len(want) || got[i] != int(want[i]) {
					t.Fatalf("%s: got %d, expected %d", name, got, want)
				}
			}
			continue
		}
		want, _ := golden.Float32(t, f, name)
		got := make([]float32, n)
		for range draws {
			if part[1] == "rand" {
				g.Uniform(got)
			} else {
				g.Normal(got)
			}
		}
		golden.Close(t, got, want, 1e-5, name)
	}
}

func TestGoldenSchedules(t *testing.T) {
	var schedules map[string]struct {
		Betas         []float32
		AlphasCumprod []float32 `json:"alphas_cumprod"`
		Timesteps     map[string][]int
	}
	goldenJSON(t, "schedules.json", &schedules)
	for name, want := range schedules {
		var s *diffusion.Schedule
		var err error
		last := len(want.Betas) - 1
		switch {
		case strings.Contains(name, "linear"):
			s, err = diffusion.Linear(len(want.Betas), float64(want.Betas[0]), float64(want.Betas[last]))
		case strings.Contains(name, "cosine"):
			s, err = diffusion.SquaredCosine(len(want.Betas))
		default:
			t.Errorf("%s: the name says no schedule that this test knows", name)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for i := range want.Betas { // by ratios: what is tiny counts
			beta, alphaBar := float64(s.Betas[i]/want.Betas[i]), float64(s.AlphasCumprod[i]/want.AlphasCumprod[i])
			if !(math.Abs(beta-1) <= 1e-5) || !(math.Abs(alphaBar-1) <= 1e-5) {
				t.Fatalf("%s, timestep %d: β = %g, ᾱ = %g, want %g and %g", name, i, s.Betas[i], s.AlphasCumprod[i],
					want.Betas[i], want.AlphasCumprod[i])
			}
		}
		for steps, list := range want.Timesteps {
			n, err := strconv.Atoi(steps)
			if err != nil {
				t.Fatal(err)
			}
			if got := timesteps(t, s, n, diffusion.Leading); !slices.Equal(got, list) {
				t.Errorf("%s, %d steps: got %d, expected %d", name, n, got, list)
			}
		}
	}
}

// deepFloyd returns the tiny DeepFloyd scheduler's schedule and clipping.
func deepFloyd(t *testing.T) (*diffusion.Schedule, diffusion.Clip) {
	t.Helper()
	var config struct {
		Timesteps int     `json:"num_train_timesteps"`
		Schedule  string  `json:"beta_schedule"`
		Threshold bool    `json:"thresholding"`
		Quantile  float32 `json:"dynamic_thresholding_ratio"`
		Limit     float32 `json:"sample_max_value"`
	}
	goldenJSON(t, "if_tiny/scheduler/scheduler_config.json", &config)
	if config.Schedule != "squaredcos_cap_v2" || !config.Threshold {
		t.Fatalf("the tiny model's scheduler is another one than this test knows: %+v", config)
	}
	s, err := diffusion.SquaredCosine(config.Timesteps)
	if err != nil {
		t.Fatal(err)
	}
	return s, diffusion.Clip{Limit: config.Limit, Quantile: config.Quantile}
}

// The names are learned_range.n20.t450.sample: the variance type or ddim, the number of steps, the timestep.
var stepName = regexp.MustCompile(`^((\w+)\.n([0-9]+)\.t([0-9]+))\.sample$`)

func TestGoldenSchedulerSteps(t *testing.T) {
	schedule, threshold := deepFloyd(t)
	f := golden.Open(t, "scheduler_steps.safetensors")
	names := f.Names()
	tested := 0
	for _, name := range names {
		part := stepName.FindStringSubmatch(name)
		if part == nil {
			continue
		}
		prefix := part[1]
		n, _ := strconv.Atoi(part[3])
		timestep, _ := strconv.Atoi(part[4])
		sampler := diffusion.Sampler{Process: schedule, Path: path(t, schedule, n, diffusion.Leading)}
		if part[2] == "ddim" {
			sampler.Method = diffusion.DDIM{}
		} else {
			sampler.Method = diffusion.DDPM{Variance: diffusion.Variance(part[2])}
			sampler.Clip = threshold
		}
		if recorded := prefix + ".noise"; slices.Contains(names, recorded) {
			sampler.Noise = func(_ int, _ float64, dst diffusion.Images) error {
				copy(dst.Data, goldenImages(t, f, recorded).Data)
				return nil
			}
		}
		x := goldenImages(t, f, name)
		estimate, err := split(goldenImages(t, f, prefix+".model_output"), x.C)
		if err != nil {
			t.Fatalf("%s: %v", prefix, err)
		}
		d := func(context.Context, diffusion.Images, float64) (diffusion.Estimate, error) { return estimate, nil }
		for step, err := range sampler.From(slices.Index(timesteps(t, schedule, n, diffusion.Leading),
			timestep)).Steps(t.Context(), d, x) {
			if err != nil {
				t.Fatalf("%s: %v", prefix, err)
			}
			golden.Close(t, step.X.Data, goldenImages(t, f, prefix+".prev_sample").Data, 1e-5, prefix+" prev_sample")
			if original := prefix + ".pred_original"; slices.Contains(names, original) {
				golden.Close(t, step.X0.Data, goldenImages(t, f, original).Data, 1e-5, original)
			}
			break
		}
		tested++
	}
	if tested == 0 {
		t.Error("scheduler_steps.safetensors holds no step that this test knows")
	}
}

// split takes a network's output apart: noise, and variance where it has twice the channels.
func split(output diffusion.Images, channels int) (diffusion.Estimate, error) {
	if output.C == channels {
		return diffusion.Estimate{Value: output}, nil
	}
	if output.C != 2*channels {
		return diffusion.Estimate{}, fmt.Errorf("the output has %d channels, expected %d or %d", output.C, channels,
			2*channels)
	}
	noise := diffusion.NewImages(output.N, channels, output.H, output.W)
	variance := noise.Like()
	for n := range output.N {
		image := output.Slice(n, n+1).Data
		copy(noise.Slice(n, n+1).Data, image[:noise.Size()])
		copy(variance.Slice(n, n+1).Data, image[noise.Size():])
	}
	return diffusion.Estimate{Value: noise, Variance: &variance}, nil
}

// The forward process to the first timestep of the image-to-image trace.
func TestGoldenStart(t *testing.T) {
	schedule, threshold := deepFloyd(t)
	var traces []struct {
		Technique string
		Steps     int
		First     int `json:"first_step"`
	}
	goldenJSON(t, "traces.json", &traces)
	f := golden.Open(t, "sdedit_start.safetensors")
	found := false
	for _, trace := range traces {
		if trace.Technique != "sdedit" {
			continue
		}
		found = true
		sampler := diffusion.Sampler{Process: schedule, Path: path(t, schedule, trace.Steps, diffusion.Leading),
			Method: diffusion.DDPM{}, Clip: threshold}
		x, err := sampler.From(trace.First).Start(goldenImages(t, f, "image"), goldenImages(t, f, "noise"))
		if err != nil {
			t.Fatal(err)
		}
		golden.Close(t, x.Data, goldenImages(t, f, "noised").Data, 1e-5, "noised")
	}
	if !found {
		t.Error("traces.json holds no sdedit trace")
	}
}
