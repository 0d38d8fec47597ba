package pretrained

import (
	"math"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
)

// Each model loads, tells where it comes from, and estimates better than knowing nothing would.
func TestModels(t *testing.T) {
	b, _, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Finalize()
	for _, name := range Names() {
		s, err := Summary(name)
		if err != nil {
			t.Fatal(err)
		}
		if s.Config.Program.Commit == "" || strings.HasSuffix(s.Config.Program.Commit, "-dirty") {
			t.Errorf("%s was trained by a program of commit %q with changes", name, s.Config.Program.Commit)
		}
		if s.Epoch < 1 || s.Epoch > s.Config.Epochs || len(s.Epochs) != s.Epoch {
			t.Errorf("%s is of epoch %d of %d, with losses of %d", name, s.Epoch, s.Config.Epochs, len(s.Epochs))
		}
		m, err := Load(b, name, dtypes.Float32)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if m.Config != s.Config.Network {
			t.Errorf("%s: the network is %+v, the recipe's %+v", name, m.Config, s.Config.Network)
		}
		x := diffusion.NewImages(4, 1, mnistunet.Size, mnistunet.Size)
		diffusion.NewGenerator(1).Normal(x.Data)
		if m.Config.Condition == mnistunet.None {
			clean := x.Like()
			_, test, err := dataset.MNIST()
			if err != nil {
				t.Fatal(err)
			}
			test.Batch([]int{0, 1, 2, 3}, clean.Data, nil)
			noisy := x.Like()
			for i, v := range clean.Data {
				noisy.Data[i] = v + float32(m.Config.Sigma)*x.Data[i]
			}
			denoised, err := m.Denoise(t.Context(), noisy)
			if err != nil {
				t.Fatal(err)
			}
			if was, is := meanSquare(noisy, clean), meanSquare(denoised, clean); is > was/5 {
				t.Errorf("%s: of a mean square of %g of noise it leaves %g", name, was, is)
			}
			continue
		}
		if m.Config.Objective == mnistunet.Flow {
			t.Fatalf("%s: this test knows no flows", name)
		}
		// At the last timestep x is nearly pure noise, so that the noise is nearly x.
		var labels []int
		if m.Config.Condition == mnistunet.Class {
			labels = []int{3, 1, 4, -1}
		}
		estimate, err := m.Denoiser(labels)(t.Context(), x, m.Config.Timesteps-1)
		if err != nil {
			t.Fatal(err)
		}
		if off := meanSquare(estimate.Noise, x); off > 0.1 {
			t.Errorf("%s: the estimate of pure noise is off by %g (mean square)", name, off)
		}
	}
}

func meanSquare(a, b diffusion.Images) float64 {
	sum := 0.0
	for i, v := range a.Data {
		sum += math.Pow(float64(v-b.Data[i]), 2)
	}
	return sum / float64(len(a.Data))
}

func TestUnknown(t *testing.T) {
	for _, name := range []string{"", "mnist", "../training", "mnist-class/config.json"} {
		if Has(name) {
			t.Errorf("there is a model %q", name)
		}
		if _, err := Load(nil, name, dtypes.Float32); err == nil || !strings.Contains(err.Error(), "mnist-class") {
			t.Errorf("loading %q: %v", name, err)
		}
	}
}
