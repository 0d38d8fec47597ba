package training

import (
	"math"
	"slices"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/mnistunet"
)

// filled is a batch of n digits that an objective has completed.
func filled(t *testing.T, o Objective, n int) *Batch {
	t.Helper()
	var b Batch
	g := diffusion.NewGenerator(5)
	err := labeled{digits(), 0}.Fill(&b, count(0, n), g)
	if err == nil {
		err = o.Fill(&b, g)
	}
	if err != nil {
		t.Fatal(err)
	}
	return &b
}

// of is the batch's array of this name; nil if there is none.
func (b *Batch) of(name string) []float32 {
	for _, a := range b.arrays {
		if a.Name == name {
			return a.Values.([]float32)
		}
	}
	return nil
}

// checkUnit compares mean and variance of values with those of standard normal ones.
func checkUnit(t *testing.T, values []float64) {
	t.Helper()
	var sum, squares float64
	for _, v := range values {
		sum, squares = sum+v, squares+v*v
	}
	n := float64(len(values))
	if mean, variance := sum/n, squares/n; !(math.Abs(mean) < 6/math.Sqrt(n)) ||
		!(math.Abs(variance-1) < 9/math.Sqrt(n)) {
		t.Errorf("noise of mean %g and variance %g", mean, variance)
	}
}

func TestDenoising(t *testing.T) {
	b := filled(t, Denoising{Sigma: 0.25}, 16)
	if !slices.Equal(b.of("target"), b.Clean) || b.of("t") != nil {
		t.Error("it learns something else than clean images, or is told a time")
	}
	var noise []float64
	for i, x := range b.of("x") {
		noise = append(noise, float64(x-b.Clean[i])/0.25)
	}
	checkUnit(t, noise)
}

func TestPureNoise(t *testing.T) {
	b := filled(t, PureNoise{}, 16)
	if !slices.Equal(b.of("target"), b.Clean) || b.of("t") != nil {
		t.Error("it learns something else than clean images, or is told a time")
	}
	var noise []float64
	correlation, squares := 0., 0.
	for i, x := range b.of("x") {
		noise = append(noise, float64(x))
		correlation += float64(x * b.Clean[i])
		squares += float64(b.Clean[i] * b.Clean[i])
	}
	checkUnit(t, noise)
	if deviation := math.Sqrt(squares); !(math.Abs(correlation) < 4*deviation) {
		t.Errorf("the noise tells of the images: %g, with a standard deviation of %g", correlation, deviation)
	}
}

// The velocity leads from x_t, in the time that is left, to the digit, and back to noise.
func TestFlow(t *testing.T) {
	b := filled(t, Flow{}, 16)
	x, u, size := b.of("x"), b.of("target"), nn.Size(b.Shape)
	var noise []float64
	for i := range x {
		time := float64(b.of("t")[i/size])
		if time < 0 || time >= 1 {
			t.Fatalf("the time is %g", time)
		}
		if d := math.Abs(float64(x[i]) + (1-time)*float64(u[i]) - float64(b.Clean[i])); d > 1e-5 {
			t.Fatalf("the velocity leads %g beside the digit", d)
		}
		noise = append(noise, float64(x[i])-time*float64(u[i]))
	}
	checkUnit(t, noise)
}

// x_t and the target give back the clean image and unit noise, by each prediction's definition.
func TestDiffusion(t *testing.T) {
	schedule, err := diffusion.Linear(50, 1e-4, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	for prediction, solve := range map[diffusion.Prediction]func(signal, noise, x, target float64) (clean, e float64){
		diffusion.Epsilon: func(s, n, x, e float64) (float64, float64) { return (x - n*e) / s, e },
		diffusion.Sample:  func(s, n, x, c float64) (float64, float64) { return c, (x - s*c) / n },
		diffusion.V:       func(s, n, x, v float64) (float64, float64) { return s*x - n*v, n*x + s*v },
	} {
		b := filled(t, Diffusion{Schedule: schedule, Prediction: prediction}, 16)
		var noise []float64
		size := nn.Size(b.Shape)
		for i, x := range b.of("x") {
			at := b.of("t")[i/size]
			a := float64(schedule.AlphasCumprod[int(at)])
			clean, e := solve(math.Sqrt(a), math.Sqrt(1-a), float64(x), float64(b.of("target")[i]))
			if d := math.Abs(clean - float64(b.Clean[i])); !(d < 1e-4) {
				t.Fatalf("%s at timestep %g: %g beside the digit", prediction, at, d)
			}
			noise = append(noise, e)
		}
		checkUnit(t, noise)
	}

	two, err := diffusion.Linear(2, 1e-4, 0.1)
	if err != nil {
		t.Fatal(err)
	}
	relative := Diffusion{Schedule: two, Prediction: diffusion.Epsilon, Relative: true}
	if at := filled(t, relative, 16).of("t"); slices.Min(at) != 0 || slices.Max(at) != 0.5 {
		t.Errorf("of two timesteps the network is told %v", at)
	}
	if err := (Diffusion{Schedule: two}).Fill(filled(t, Flow{}, 1), diffusion.NewGenerator(1)); err == nil {
		t.Error("no prediction, and no error")
	}
}

// Weighted errors of all predictions are the same errors of x_0, min(SNR, γ) times (Hang et al., eq. 5 to 8).
func TestMinSNR(t *testing.T) {
	schedule, err := diffusion.Linear(50, 1e-4, 0.3)
	if err != nil {
		t.Fatal(err)
	}
	// squared error of the estimate for one of x_0 of 1
	for prediction, perError := range map[diffusion.Prediction]func(a float64) float64{
		diffusion.Epsilon: func(a float64) float64 { return a / (1 - a) },
		diffusion.Sample:  func(float64) float64 { return 1 },
		diffusion.V:       func(a float64) float64 { return 1 / (1 - a) },
	} {
		b := filled(t, Diffusion{Schedule: schedule, Prediction: prediction, MinSNR: 5}, 38)
		for i, w := range b.of("weight") {
			a := float64(schedule.AlphasCumprod[int(b.of("t")[i])])
			if got, want := float64(w)*perError(a), min(a/(1-a), 5); !(math.Abs(got-want) < 1e-4*want) {
				t.Errorf("%s: an error of x_0 counts %g at ᾱ = %g, want %g", prediction, got, a, want)
			}
		}
	}
}

// Batches are the same whenever they are made, an epoch has every image once, and each epoch and seed has an order of
// its own.
func TestBatches(t *testing.T) {
	c := tiny(mnistunet.Class)
	c.Data = c.task().Data.Describe()
	all := newBatches(c.Config, c.task())
	var b Batch
	fill := func(from *batches, step int) map[string][]float32 {
		if err := from.fill(&b, step); err != nil {
			t.Fatal(err)
		}
		arrays := map[string][]float32{}
		for _, a := range b.arrays {
			arrays[a.Name] = slices.Clone(a.Values.([]float32))
		}
		return arrays
	}
	seen := map[int]bool{}
	for step, images := range []int{16, 16, 6} {
		fill(all, step)
		if b.N != images {
			t.Errorf("step %d has %d images, want %d", step, b.N, images)
		}
		for _, i := range all.indices(step) {
			seen[i] = true
		}
	}
	if len(seen) != 38 {
		t.Errorf("an epoch has %d images, want 38", len(seen))
	}
	third, fourth := fill(all, 3), fill(all, 4)
	if slices.Equal(third["target"], fourth["target"]) || slices.Equal(third["t"], fourth["t"]) {
		t.Error("steps 3 and 4 have the same noise or timesteps")
	}
	for name, values := range fill(newBatches(c.Config, c.task()), 4) {
		if !slices.Equal(values, fourth[name]) {
			t.Errorf("step 4 alone has another %s than after others", name)
		}
	}
	first := all.indices(0)
	c.Seed++
	if slices.Equal(first, all.indices(3)) || slices.Equal(first, newBatches(c.Config, c.task()).indices(0)) {
		t.Error("two epochs, or two seeds, have the same order")
	}
	c.Data.Images, c.Epochs, c.Steps, c.KeepEvery = 0, 0, 10, 5
	if got := newBatches(c.Config, c.task()).indices(2); !slices.Equal(got, count(32, 16)) {
		t.Errorf("data without end are asked for %v in their third step", got)
	}
}
