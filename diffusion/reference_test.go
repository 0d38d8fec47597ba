package diffusion_test

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

// reference is testdata/reference.json, recorded by testdata/record.py.
type reference struct {
	Draws map[string][]struct {
		Call   string
		High   int
		Values []float64
	}
	Timesteps []struct {
		T         int
		Spacing   diffusion.Spacing
		Timesteps []int
	}
	Walks []struct {
		Name      string
		Seed      uint64
		Timesteps []int
		X         [][]float32
	}
}

func readReference(t *testing.T) (r reference) {
	t.Helper()
	data, err := os.ReadFile("testdata/reference.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// One generator, calls of all kinds in a row.
func TestDrawsEqualPyTorch(t *testing.T) {
	for seed, draws := range readReference(t).Draws {
		number, err := strconv.ParseUint(seed, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		g := diffusion.NewGenerator(number)
		for i, draw := range draws {
			n := len(draw.Values)
			tolerance := 0.0
			var got []float64
			switch draw.Call {
			case "randn", "rand":
				values := make([]float32, n)
				if draw.Call == "rand" {
					g.Uniform(values)
				} else {
					tolerance = 1e-5
					if n == 32 { // the end of a longer draw
						values = make([]float32, 700)
					}
					g.Normal(values)
					values = values[len(values)-n:]
				}
				for _, v := range values {
					got = append(got, float64(v))
				}
			case "randperm":
				for _, v := range g.Perm(n) {
					got = append(got, float64(v))
				}
			case "randint":
				values := make([]int, n)
				g.IntN(values, draw.High)
				for _, v := range values {
					got = append(got, float64(v))
				}
			default:
				t.Fatalf("unknown call %q", draw.Call)
			}
			for j := range got {
				if !(math.Abs(got[j]-draw.Values[j]) <= tolerance) {
					t.Fatalf("seed %s, call %d, %s: value %d is %g, expected %g", seed, i, draw.Call, j, got[j],
						draw.Values[j])
				}
			}
		}
	}
}

func TestTimestepsEqualDiffusers(t *testing.T) {
	for _, want := range readReference(t).Timesteps {
		got, err := linear(t, want.T).Timesteps(len(want.Timesteps), want.Spacing)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want.Timesteps) {
			t.Errorf("T = %d, %s: got %d, expected %d", want.T, want.Spacing, got, want.Timesteps)
		}
	}
}

// Whole runs with a known denoiser and noise from the generator.
func TestWalksEqualDiffusers(t *testing.T) {
	methods := map[string]diffusion.Sampler{
		"ddpm fixed_large": {Method: diffusion.DDPM{Variance: diffusion.FixedLarge}},
		"ddpm fixed_small_log": {Method: diffusion.DDPM{Variance: diffusion.FixedSmallLog},
			Clip: diffusion.Clip{Limit: 0.7}},
		"ddpm trailing": {Method: diffusion.DDPM{}},
		"ddim":          {Method: diffusion.DDIM{}},
		"ddim eta":      {Method: diffusion.DDIM{Eta: 0.6}, Clip: diffusion.Clip{Limit: 1.2, Quantile: 0.9}},
		"dpmsolver":     {Method: diffusion.DPMSolver{}},
	}
	schedule := linear(t, 300)
	for _, walk := range readReference(t).Walks {
		sampler, ok := methods[walk.Name]
		if !ok {
			t.Fatalf("unknown walk %q", walk.Name)
		}
		g := diffusion.NewGenerator(walk.Seed)
		x := diffusion.NewImages(2, 1, 4, 4)
		g.Normal(x.Data)
		sampler.Process, sampler.Path, sampler.Noise = schedule, diffusion.Visit(walk.Timesteps...), g.Noise
		steps := 0
		for step, err := range sampler.Steps(t.Context(), twoValues(schedule, 0.8), x) {
			if err != nil {
				t.Fatal(err)
			}
			for i, want := range walk.X[step.Index] {
				if got := step.X.Data[i]; !(math.Abs(float64(got-want)) <= 2e-5) {
					t.Fatalf("%s, %d steps: after timestep %g, value %d is %g, expected %g", walk.Name, len(walk.X),
						step.From, i, got, want)
				}
			}
			steps++
		}
		if steps != len(walk.X) {
			t.Errorf("%s: %d steps, expected %d", walk.Name, steps, len(walk.X))
		}
	}
}
