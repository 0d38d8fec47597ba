package text2image

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

// TestGradients compares the loss and the gradients of both networks with PyTorch's, as scripts/golden_text2image.py recorded them.
func TestGradients(t *testing.T) {
	n, dir := tiny(t), filepath.Join(golden.Dir(t), "if_tiny")
	files := map[string]*weights.File{}
	for prefix, part := range map[string]string{unetPrefix: "unet", textPrefix: "text_encoder"} {
		f, err := weights.OpenFolder(filepath.Join(dir, part), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[prefix] = f
	}
	tr, err := newTrainer(enginetest.Backend(t), n, dtypes.Float32, func(p nn.Param) ([]float32, error) {
		for prefix, f := range files {
			if own, ok := strings.CutPrefix(p.Name, prefix); ok {
				p.Name = own
				return p.Read(f, "")
			}
		}
		panic(p.Name)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()

	f, err := weights.Open(filepath.Join("testdata", "gradients.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	floats := func(name string) []float32 {
		tensor, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		v, err := tensor.Float32()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	ints := func(name string) (rows [][]int32) {
		tensor, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		v, err := tensor.Int32()
		if err != nil {
			t.Fatal(err)
		}
		size := len(v) / 2
		return [][]int32{v[:size], v[size:]}
	}
	side := n.UNet.SampleSize.H
	images := func(name string) diffusion.Images {
		return diffusion.Images{N: 2, C: 3, H: side, W: side, Data: floats(name)}
	}
	steps := ints("t")
	got, gradients, err := tr.Gradients(Batch{X: images("x"), Target: images("target"), T: []int{int(steps[0][0]), int(steps[1][0])},
		Weight: floats("weight"), IDs: ints("ids"), Mask: ints("mask")})
	if err != nil {
		t.Fatal(err)
	}
	golden.Close(t, got.Each, floats("each"), 1e-4, "errors")
	golden.Close(t, []float32{float32(got.Loss)}, floats("loss"), 1e-4, "loss")
	for _, p := range tr.params {
		v, err := gradients[p.Name].Float32()
		if err != nil {
			t.Fatal(err)
		}
		norm := 0.0
		for _, x := range v {
			norm += float64(x) * float64(x)
		}
		norm = math.Sqrt(norm)
		want := floats("norm." + p.Name)[0]
		if !(math.Abs(norm-float64(want)) <= 1e-3*float64(want)+1e-7) {
			t.Errorf("the gradient of %s has norm %g, PyTorch's %g", p.Name, norm, want)
		}
		stride := max(1, len(v)/32)
		for i, w := range floats("gradient." + p.Name) {
			if g := v[i*stride]; !(math.Abs(float64(g-w)) <= 2e-3*float64(want)+1e-7) {
				t.Errorf("the gradient of %s at %d is %g, PyTorch's %g; the norm is %g", p.Name, i*stride, g, w, want)
				break
			}
		}
	}
}
