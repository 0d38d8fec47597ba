package pretrained

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training/mnist"
)

// Each model loads, tells where it comes from, and estimates better than knowing nothing would.
func TestModels(t *testing.T) {
	b, _, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Finalize()
	for _, name := range Digits() {
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
		if c, err := mnist.Of(s.Config); err != nil || m.Config != c.Network {
			t.Errorf("%s: the network is %+v, the recipe's %+v, %v", name, m.Config, c.Network, err)
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
			if was, is := meanSquare(noisy, clean), meanSquare(denoised, clean); !(is <= was/5) {
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
		estimate, err := m.Denoiser(labels)(t.Context(), x, float64(m.Config.Timesteps-1))
		if err != nil {
			t.Fatal(err)
		}
		if off := meanSquare(estimate.Value, x); !(off <= 0.1) {
			t.Errorf("%s: the estimate of pure noise is off by %g (mean square)", name, off)
		}
		if m.Config.Condition == mnistunet.Class {
			heedsClass(t, name, m)
		}
	}
}

// heedsClass reports whether the right class helps to find the noise in test digits, and a wrong one hinders.
func heedsClass(t *testing.T, name string, m *mnistunet.Model) {
	t.Helper()
	_, test, err := dataset.MNIST()
	if err != nil {
		t.Fatal(err)
	}
	schedule, err := m.Schedule()
	if err != nil {
		t.Fatal(err)
	}
	const n = 20
	indices, right, wrong := make([]int, n), make([]int, n), make([]int, n)
	for i := range n {
		indices[i], right[i], wrong[i] = i, int(test.Labels[i]), (int(test.Labels[i])+1)%10
	}
	clean := diffusion.NewImages(n, 1, mnistunet.Size, mnistunet.Size)
	test.Batch(indices, clean.Data, nil)
	noise := clean.Like()
	diffusion.NewGenerator(2).Normal(noise.Data)
	at := m.Config.Timesteps * 2 / 3
	noisy, err := schedule.AddNoise(clean, noise, at)
	if err != nil {
		t.Fatal(err)
	}
	off := func(labels []int) float64 {
		estimate, err := m.Denoiser(labels)(t.Context(), noisy, float64(at))
		if err != nil {
			t.Fatal(err)
		}
		return meanSquare(estimate.Value, noise)
	}
	if with, without, against := off(right), off(slices.Repeat([]int{-1}, n)),
		off(wrong); !(with < without && without < against) {
		t.Errorf("%s: estimates are off by %g with the right class, %g without, %g with a wrong one", name, with,
			without, against)
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
