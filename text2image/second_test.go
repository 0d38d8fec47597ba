package text2image

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/training"
)

// tinySecond is a second stage for 32×32 with a few channels.
func tinySecond(t testing.TB) *SecondStage {
	n, err := NewSecondStage()
	if err != nil {
		t.Fatal(err)
	}
	var c map[string]any
	if err := json.Unmarshal(n.UNetConfig, &c); err != nil {
		t.Fatal(err)
	}
	c["sample_size"], c["norm_num_groups"] = 32, 4
	c["block_out_channels"], c["layers_per_block"] = []int{8, 8, 16}, 1
	for _, blocks := range []string{"down_block_types", "up_block_types"} {
		c[blocks] = c[blocks].([]any)[:3]
	}
	c["attention_head_dim"] = 8
	if n.UNetConfig, err = json.Marshal(c); err != nil {
		t.Fatal(err)
	}
	if n, err = n.parse(); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestCrops looks at what a step gets: a part of a picture of one color, and that color with noise beside.
func TestCrops(t *testing.T) {
	n := tinySecond(t)
	c, err := NewCrops(n, flat{}, "flat", 1)
	if err != nil {
		t.Fatal(err)
	}
	var b training.Batch
	const images = 64
	indices := make([]int, images)
	for i := range indices {
		indices[i] = i
	}
	if err := c.Fill(&b, indices, diffusion.NewGenerator(3)); err != nil {
		t.Fatal(err)
	}
	if want := []int{Channels, 16, 16}; !slices.Equal(b.Shape, want) {
		t.Fatalf("crops are %v, want %v", b.Shape, want)
	}
	in := map[string][]float32{}
	for _, a := range b.Inputs() {
		in[a.Name] = a.Values.([]float32)
	}
	size := len(b.Clean) / images
	schedule, err := diffusion.SquaredCosine(Timesteps)
	if err != nil {
		t.Fatal(err)
	}
	low, high := math.Inf(1), 0.0
	for i := range images {
		level := float64(in["level"][i])
		low, high = min(low, level), max(high, level)
		signal, noise := schedule.Levels(level)
		var sum, square float64
		for j := i * size; j < (i+1)*size; j++ {
			d := float64(in["beside"][j] - float32(signal)*b.Clean[j])
			sum, square = sum+d/float64(size), square+d*d/float64(size)
		}
		if math.Abs(sum) > 0.2*float64(noise) || math.Abs(math.Sqrt(square)/float64(noise)-1) > 0.15 {
			t.Errorf("at level %g, beside is off the picture by %g with deviation %g, want 0 and %g", level, sum,
				math.Sqrt(square), noise)
		}
	}
	if low < 0 || low > levels/8 || high >= levels || high < levels*7/8 {
		t.Errorf("levels go from %g to %g, want from near 0 to near %d", low, high, levels)
	}
}

// TestTrainSecondStage makes a short run, and looks at the model that it keeps.
func TestTrainSecondStage(t *testing.T) {
	n := tinySecond(t)
	c := SecondRecipe()
	c.Steps, c.KeepEvery, c.Batch, c.LearningRate, c.Warmup, c.EMA, c.DType = 40, 40, 4, 5e-3, 5, 0.9, "f32"
	task, err := SecondTask(n, flat{}, "flat", c)
	if err != nil {
		t.Fatal(err)
	}
	b := enginetest.Backend(t)
	look := SecondLook{Backend: b, DType: dtypes.Float32, Network: n, Source: flat{}}
	var kept training.Kept
	dir := filepath.Join(t.TempDir(), "run")
	if _, err := training.Train(t.Context(), dir, c, task, training.Options{Backend: b, Draw: look.Draw,
		Validate: look.Measure, OnKept: func(k training.Kept) error {
			kept = k
			return nil
		}}); err != nil {
		t.Fatal(err)
	}
	if e := kept.Scores["error_t800"]; !(e < 0.5) { // a network that has learned nothing is off by 1
		t.Errorf("the error where there is most noise is %g, want less than 0.5: the small picture tells the colors", e)
	}
	if _, err := os.Stat(kept.Sample); err != nil {
		t.Error(err)
	}
	m, err := deepfloyd.OpenPipeline(b, kept.ModelDir, deepfloyd.Options{DType: dtypes.Float32})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if s := m.Spec(); !s.Upscales || s.Guidance != 1 {
		t.Errorf("the model is %+v, want one that enlarges, with nothing to be guided by", s)
	}

	again, err := training.ReadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSecondStage(again.Network); err != nil {
		t.Error(err)
	}
	if _, err := Read(again.Network); err == nil {
		t.Error("a second stage is read as a first")
	}
}
