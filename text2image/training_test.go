package text2image

import (
	"context"
	"image"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/training"
)

// flat are pictures of one color each, which their captions name.
type flat struct{}

func (flat) Len() int { return 2 }

func (flat) Caption(_ uint64, i int) (string, error) {
	return []string{"a red rocket", "two cats"}[i%2], nil
}

func (f flat) At(seed uint64, i, size int) (captioned.Example, error) {
	m := image.NewRGBA(image.Rect(0, 0, size, size))
	for at := range m.Pix {
		if at%4 == 3 || at%4 == i%2 {
			m.Pix[at] = 255
		}
	}
	caption, _ := f.Caption(seed, i)
	return captioned.Example{Image: m, Caption: caption}, nil
}

// TestBatch looks at what a step gets.
func TestBatch(t *testing.T) {
	n := tiny(t)
	n.Half = 4
	p, err := NewPictures(Pictures{Source: flat{}, Network: n, Dropout: 0.5})
	if err != nil {
		t.Fatal(err)
	}
	o, err := NewObjective()
	if err != nil {
		t.Fatal(err)
	}
	fill := func(first, images int) *training.Batch {
		var b training.Batch
		g := diffusion.NewGenerator(uint64(first))
		indices := make([]int, images)
		for i := range indices {
			indices[i] = first + i
		}
		if err := p.Fill(&b, indices, g); err != nil {
			t.Fatal(err)
		}
		if err := o.Fill(&b, g); err != nil {
			t.Fatal(err)
		}
		return &b
	}
	if small, full := fill(0, 4), fill(4, 4); !slices.Equal(small.Shape, []int{3, 8, 8}) ||
		!slices.Equal(full.Shape, []int{3, 16, 16}) {
		t.Errorf("the first pictures are %v and the next %v, want half the size and the whole", small.Shape, full.Shape)
	}
	const images = 64
	b := fill(4, images)
	in := map[string]any{}
	for _, a := range b.Inputs() {
		in[a.Name] = a.Values
	}
	x, target, steps, weight, ids := in["x"].([]float32), in["target"].([]float32), in["t"].([]float32),
		in["weight"].([]float32), in["ids"].([]int32)
	size, hidden := len(x)/images, 0
	for i := range images {
		if at := int(steps[i]) * images / Timesteps; at != i && at != i-1 {
			t.Errorf("timestep %d of %d is %g, want one in each part of the schedule", i, images, steps[i])
		}
		signal, noise := o.levels(int(steps[i]))
		for j := i * size; j < (i+1)*size; j += 37 { // x_t and v give x_0 again
			if clean := float32(signal)*x[j] - float32(noise)*target[j]; math.Abs(float64(clean-b.Clean[j])) > 1e-4 {
				t.Fatalf("x_0 of x_t and v is %g at %d, want %g", clean, j, b.Clean[j])
			}
		}
		snr := signal * signal / (noise * noise)
		if want := min(1, 6/(snr+1)); math.Abs(float64(weight[i])-want) > 1e-4 {
			t.Errorf("at SNR %g the weight is %g, want %g", snr, weight[i], want)
		}
		if ids[i*TrainTokens] == 1 { // </s> alone
			hidden++
		}
	}
	if hidden < images/4 || hidden > 3*images/4 {
		t.Errorf("%d of %d captions are hidden, want about half", hidden, images)
	}
	o.Noisy = true
	late := 0
	for _, in := range fill(4, images).Inputs() {
		if in.Name == "t" {
			for _, at := range in.Values.([]float32) {
				if at >= 3*Timesteps/4 {
					late++
				}
			}
		}
	}
	if late < images/2-1 || late > images/2+1 {
		t.Errorf("%d of %d timesteps are in the schedule's last quarter, want half", late, images)
	}
}

// TestTrain makes a short run, and looks at the model that it keeps.
func TestTrain(t *testing.T) {
	n := tiny(t)
	n.Half = 8
	p, err := NewPictures(Pictures{Source: flat{}, Network: n, Name: "flat", Dropout: 0.1})
	if err != nil {
		t.Fatal(err)
	}
	o, err := NewObjective()
	if err != nil {
		t.Fatal(err)
	}
	b := enginetest.Backend(t)
	c := Recipe()
	c.Steps, c.KeepEvery, c.Batch, c.LearningRate, c.Warmup, c.DType = 60, 60, 4, 3e-3, 5, "f32"
	dir := filepath.Join(t.TempDir(), "run")
	kept := false
	options := training.Options{Backend: b, Validate: func(ctx context.Context, k training.Kept) (map[string]float64,
		error) {
		kept = true
		m, err := deepfloyd.OpenPipeline(b, k.ModelDir, deepfloyd.Options{DType: dtypes.Float32})
		if err != nil {
			return nil, err
		}
		defer m.Close()
		errors, err := Errors(ctx, m, flat{}, 16, 4)
		if high := errors[Bands-1]; !(high < 0.8) { // a network that has learned nothing is off by 1
			t.Errorf("the error where there is most noise is %g, want less than 0.8: flat colors are soon learned",
				high)
		}
		return map[string]float64{"error": errors[0]}, err
	}}
	if _, err := training.Train(t.Context(), dir, c, training.Task{Network: n, Data: p, Objective: o},
		options); err != nil {
		t.Fatal(err)
	}
	if !kept {
		t.Error("no model was kept")
	}
	again, err := training.ReadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	if read, err := Read(again.Network); err != nil || read.Half != n.Half {
		t.Errorf("the run's network is read as %v, %v", read, err)
	}
}
