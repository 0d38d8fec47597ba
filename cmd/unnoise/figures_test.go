package main

import (
	"context"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/training/mnist"
)

// untrained is a network of 4 channels with its first values.
func untrained(t *testing.T, c mnistunet.Config) *mnistunet.Model {
	t.Helper()
	b, _, err := engine.New(engine.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	c.Dim = 4
	m, err := mnistunet.New(b, c, dtypes.Float32, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// What is drawn is what the settings say: a walk made by hand has the same pixels, and each setting changes them.
func TestSamplingIsHeeded(t *testing.T) {
	c := mnistunet.Default(mnistunet.Class)
	labels := []int{3, 8}
	for _, x := range []struct {
		config  mnistunet.Config
		setting sampling
		walk    func(m *mnistunet.Model, x diffusion.Images, g *diffusion.Generator) (diffusion.Images, error)
		others  map[string]func(*sampling)
	}{
		{c, sampling{sampler: "ddim", steps: 3, eta: 0.6, guidance: 4, seed: 5}, func(m *mnistunet.Model, x diffusion.Images, g *diffusion.Generator) (diffusion.Images, error) {
			schedule, err := m.Schedule()
			if err != nil {
				return x, err
			}
			path, err := schedule.Path(3, diffusion.Trailing)
			if err != nil {
				return x, err
			}
			return diffusion.Sampler{Process: schedule, Path: path, Method: diffusion.DDIM{Eta: 0.6}, Noise: g.Noise}.Sample(t.Context(), m.GuidedDenoiser(labels, 4), x)
		}, map[string]func(*sampling){
			"guidance": func(s *sampling) { s.guidance = 1 }, "eta": func(s *sampling) { s.eta = 0 }, "seed": func(s *sampling) { s.seed = 6 },
			"steps": func(s *sampling) { s.steps = 4 }, "ddpm": func(s *sampling) { s.sampler, s.eta = "ddpm", 0 }, "dpm++": func(s *sampling) { s.sampler, s.eta = "dpm++", 0 },
		}},
		{c.ForFlow(), sampling{sampler: "midpoint", steps: 3, guidance: 4, seed: 5}, func(m *mnistunet.Model, x diffusion.Images, _ *diffusion.Generator) (diffusion.Images, error) {
			path, err := diffusion.Flow{}.Path(3, "")
			if err != nil {
				return x, err
			}
			return diffusion.Sampler{Process: diffusion.Flow{}, Path: path, Method: diffusion.Midpoint{}}.Sample(t.Context(), m.GuidedDenoiser(labels, 4), x)
		}, map[string]func(*sampling){
			"guidance": func(s *sampling) { s.guidance = 1 }, "seed": func(s *sampling) { s.seed = 6 }, "steps": func(s *sampling) { s.steps = 4 }, "euler": func(s *sampling) { s.sampler = "euler" },
		}},
	} {
		m := untrained(t, x.config)
		draw := func(s sampling) []float32 {
			t.Helper()
			images, _, err := s.run(t.Context(), m, labels, 2, nil)
			if err != nil {
				t.Fatal(err)
			}
			return images.Data
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
					t.Errorf("%s: %q and %q draw the same", x.setting.sampler, what, other)
				}
			}
			seen[what] = y
		}
	}
}

// Columns are named by the digits that are asked for in them.
func TestRowsOfClasses(t *testing.T) {
	labels, n, columns := rowsOfClasses(mnistunet.Default(mnistunet.Class))
	if n != len(labels) || n != sampleRows*10 || len(columns) != 10 {
		t.Fatalf("%d images, %d labels, columns %q", n, len(labels), columns)
	}
	for i, label := range labels {
		if columns[i%len(columns)] != fmt.Sprint(label) {
			t.Errorf("image %d of a %d stands under %s", i, label, columns[i%len(columns)])
		}
	}
}

// The page's numbers and pictures of the denoiser, of images that are known.
func TestDenoiserFigures(t *testing.T) {
	set, _, err := dataset.MNIST()
	if err != nil {
		t.Fatal(err)
	}
	clean := firstImages(set, 3)
	pixels := make([]float32, 3*mnistunet.Size*mnistunet.Size)
	set.Batch([]int{0, 1, 2}, pixels, nil)
	if !slices.Equal(clean.Data, pixels) {
		t.Error("the first images are others")
	}
	noisy := addNoise(clean, noiseLevels, 4)
	perfect, err := diffusion.Concat(slices.Repeat([]diffusion.Images{clean}, len(noiseLevels))...)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range levelErrors(noisy, perfect, clean) {
		sigma := noiseLevels[i]
		if e.Sigma != sigma || e.Denoised != 0 || !(math.Abs(e.Noisy-sigma*sigma) <= 0.1*sigma*sigma) {
			t.Errorf("σ = %g: %+v", sigma, e)
		}
	}
	// Of one example, level by level, beginning with none.
	picture := levelPicture(noisy, perfect, 3, nil)
	for i, row := range picture.Rows {
		at := func(x diffusion.Images, k int) []float32 { return x.Slice(k, k+1).Data }
		if want := []string{"noisy", "denoised"}[i%2]; row.Label != want || row.Images.N != len(noiseLevels) {
			t.Errorf("row %d is %q of %d images", i, row.Label, row.Images.N)
		}
		digit := at(clean, i/2)
		if !slices.Equal(at(row.Images, 0), digit) || slices.Equal(at(row.Images, len(noiseLevels)-1), digit) != (i%2 == 1) {
			t.Errorf("row %d shows other images", i)
		}
	}
	two := &dataset.Labeled{Rows: 1, Cols: 2, Images: []byte{255, 0, 51, 102}, Labels: []byte{0, 1}}
	if mean := meanOfSet(two).Data; !near(mean, 0.6, 0.2) {
		t.Errorf("the mean image is %v", mean)
	}
	x := diffusion.NewImages(2, 1, 1, 2)
	copy(x.Data, []float32{1, 0, 0.2, 0.4})
	if mean := meanOfBatch(x).Data; !near(mean, 0.6, 0.2) {
		t.Errorf("the mean of two answers is %v", mean)
	}
}

func near(got []float32, want ...float64) bool {
	return slices.EqualFunc(got, want, func(a float32, b float64) bool { return math.Abs(float64(a)-b) < 1e-6 })
}

// The rows of noisy, denoised and clean digits are what their labels say.
func TestDenoisedRows(t *testing.T) {
	m := untrained(t, mnistunet.Default(mnistunet.None))
	_, test, err := dataset.MNIST()
	if err != nil {
		t.Fatal(err)
	}
	x, err := denoised(t.Context(), m, test, 0.3, 5, 2)
	if err != nil {
		t.Fatal(err)
	}
	noisy, estimates, clean := x.Slice(0, 5), x.Slice(5, 10), x.Slice(10, 15)
	want, err := m.Denoise(context.Background(), noisy)
	if err != nil {
		t.Fatal(err)
	}
	variance := 0.0
	for i, v := range clean.Data {
		variance += math.Pow(float64(noisy.Data[i]-v)/0.3, 2) / float64(len(clean.Data))
	}
	if !slices.Equal(clean.Data, firstImages(test, 5).Data) || !slices.Equal(estimates.Data, want.Data) || !(math.Abs(variance-1) < 0.1) {
		t.Errorf("the rows are mixed up, or the noise has another level: variance %g", variance)
	}
}

// Tables have each number in its column.
func TestReportTables(t *testing.T) {
	r := evaluation.Report{Complete: true, Model: "m", Data: "MNIST", Denoising: []evaluation.NoiseLevel{{Sigma: 0.5, Images: 50, Model: 0.01, Noisy: 0.25, Constant: 0.07}}}
	if row := fmt.Sprint(reportTables(r)[0].Rows[0]); row != "[0.5 0.01000 0.25000 0.07000]" {
		t.Errorf("a noise level's row is %s", row)
	}
	classes := make([]evaluation.ClassScore, 2)
	classes[1] = evaluation.ClassScore{Class: 1, Read: 3}
	r = evaluation.Report{Complete: true, Model: "m", Data: "MNIST", Classifier: &evaluation.ClassifierInfo{Accuracy: 0.9921}, Floors: []evaluation.FloorDistance{{Images: 12, Groups: 3, Even: true, Frechet: 1.5, Deviation: 0.25}},
		Rows: []evaluation.Row{{Sampler: "ddpm", Steps: 300, Evaluations: 300, Seconds: 6, ImagesPerSecond: 2, Score: evaluation.Score{Images: 12, Frechet: 2.5, Classes: classes}}}}
	tables := reportTables(r)
	if row := fmt.Sprint(tables[0].Rows[0]); row != "[ddpm:300 12 - 2.500 300 6.0s 2.0]" {
		t.Errorf("a sampler's row is %s", row)
	}
	if want := "Training images that go round the classes, in place of samples, get 1.500 for 12 (mean of 3 groups; their standard deviation is 0.250)."; !slices.Contains(strings.Split(tables[0].Note, "\n"), "The Fréchet distance is that of its features to the test images. "+want) {
		t.Errorf("the note is %q, want %q", tables[0].Note, want)
	}
	if row := fmt.Sprint(tables[1].Rows[0]); row != "[ddpm:300 0.0 25.0]" {
		t.Errorf("the row of what is read is %s", row)
	}
}

// Floors of digits that go round the classes are for samples that do.
func TestGoesRound(t *testing.T) {
	for _, c := range []struct {
		labels  []int
		classes []int
		want    bool
	}{{[]int{0, 1, 2, 0}, []int{0, 1, 2}, true}, {[]int{3, 8, 3}, []int{3, 8}, true}, {[]int{3, 3, 3, 1}, []int{1, 2, 3}, false}, {[]int{0, 1, 2, 0, 0}, []int{0, 1, 2}, false},
		{[]int{0, 1, 2, -1}, []int{0, 1, 2}, false}, {nil, []int{0}, false}} {
		if got := goesRound(c.labels, c.classes); got != c.want {
			t.Errorf("%v of %d classes: %v", c.labels, c.classes, got)
		}
	}
}

// The flags are the recipe, and the command on the page is those flags.
func TestTrainFlags(t *testing.T) {
	f := trainFlags{condition: "class", epochs: 3, batch: 32, dim: 8, timesteps: 50, lr: 0.01, decay: 0.5, dropout: 0.3, seed: 4}
	f.dtype = "f32"
	want := mnist.Default(mnistunet.Class)
	want.Network = want.Network.ForTimesteps(50)
	want.Network.Dim, want.Epochs, want.Batch, want.LearningRate, want.Decay, want.Dropout, want.Seed, want.DType = 8, 3, 32, 0.01, 0.5, 0.3, 4, "f32"
	if got := f.config(nil); !reflect.DeepEqual(got, want) {
		t.Errorf("the flags give %+v, want %+v", got, want)
	}
	want.Threads, want.Data = 2, training.Data{Name: embeddedData, Images: 60000}
	if got, line := trainCommand(want, false, "r"), "unnoise train mnist --condition class --dim 8 --timesteps 50 --epochs 3 --batch 32 --lr 0.01 --decay 0.5 --dropout 0.3 --seed 4 --dtype f32 --threads 2 --out r"; got != line {
		t.Errorf("%s, want %s", got, line)
	}
	want.DecaySteps = true
	if got, line := trainCommand(want, true, "r"), "unnoise demo --epochs 3 --dim 8 --limit 60000 --seed 4 --dtype f32 --threads 2"; !strings.HasPrefix(got, line) {
		t.Errorf("%s, want %s", got, line)
	}
	f = trainFlags{condition: "none", sigma: 0.2}
	if got := f.config(nil); got.Network.Sigma != 0.2 || got.Network.Condition != mnistunet.None {
		t.Errorf("σ = 0.2 gives %+v", got)
	}
	f = trainFlags{condition: "time", objective: "flow"}
	if got := f.config(nil); got.Network.Objective != mnistunet.Flow || got.Network.Timesteps != 0 {
		t.Errorf("the objective flow gives %+v", got)
	}
}
