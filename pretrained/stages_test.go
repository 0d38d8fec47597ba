package pretrained

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/text2image"
)

// The cascade draws a red heart, and makes it larger. What is exported is the same.
func TestStages(t *testing.T) {
	if !Has(Emoji) {
		t.Skip("this program was built without it")
	}
	b, _, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Finalize()
	out := t.TempDir()
	if err := Export(out); err != nil {
		t.Fatal(err)
	}
	dir, usual, ok := Stage(Emoji)
	if !ok {
		t.Fatal("the first stage is there and has no folder")
	}
	draw := func(dir string) diffusion.Images {
		m, err := deepfloyd.OpenPipeline(b, dir, deepfloyd.Options{DType: dtypes.Float32, Usual: usual})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if s := m.Spec(); s.Guidance != usual.Guidance {
			t.Errorf("guidance is %g by default, want %g", s.Guidance, usual.Guidance)
		}
		x, err := text2image.Draw(t.Context(), m, []string{"a red heart"}, text2image.Sampling{Size: 32, Steps: 20,
			Guidance: 3, Seed: 1})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	heart, again := draw(dir), draw(filepath.Join(out, "stage1"))
	if off := difference(heart, again); off > 1e-6 {
		t.Errorf("what is exported draws another picture, by %g", off)
	}
	const pixels = 32 * 32
	var light [3]float64
	for i, v := range heart.Data {
		light[i/pixels] += float64(v) / pixels
	}
	if red, green, blue := light[0], light[1], light[2]; red < green+0.1 || red < blue+0.1 {
		t.Errorf("a red heart has %.2f of red, %.2f of green and %.2f of blue", red, green, blue)
	}

	large, err := deepfloyd.OpenPipeline(b, filepath.Join(out, "stage2"), deepfloyd.Options{DType: dtypes.Float32})
	if err != nil {
		t.Fatal(err)
	}
	defer large.Close()
	small := heart.Clone()
	for i, v := range small.Data {
		small.Data[i] = 2*v - 1
	}
	x, err := text2image.Enlarge(t.Context(), large, small, text2image.Enlarging{Steps: 8, Level: 50})
	if err != nil {
		t.Fatal(err)
	}
	down := small.Like()
	for i, v := range x.Data {
		plane, row, column := i/(x.H*x.W), i/x.W%x.H, i%x.W
		down.Data[(plane*down.H+row/text2image.Scale)*down.W+column/text2image.Scale] += v / (text2image.Scale *
			text2image.Scale)
	}
	if off := difference(down, small); !(off < 0.15) {
		t.Errorf("the larger image is off the small one by %g, want less than 0.15", off)
	}
	for _, stage := range []string{"stage1", "stage2"} {
		if _, err := os.Stat(filepath.Join(out, stage, "NOTICE.md")); err != nil {
			t.Errorf("%s is exported without its notice: %v", stage, err)
		}
	}
}

// difference is the mean absolute one.
func difference(a, b diffusion.Images) float64 {
	sum := 0.0
	for i, v := range a.Data {
		sum += math.Abs(float64(v-b.Data[i])) / float64(len(a.Data))
	}
	return sum
}
