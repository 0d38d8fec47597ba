package reader

import (
	"math"
	"slices"
	"testing"

	"github.com/gomlx/compute"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/weights"
)

func backend(t *testing.T) compute.Backend {
	t.Helper()
	b, _, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	return b
}

// The reader that comes with the program reads digits that it was not trained on.
func TestRead(t *testing.T) {
	r, err := Open(backend(t))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, test, err := dataset.MNIST()
	if err != nil {
		t.Fatal(err)
	}
	const n = 1000
	x, labels := diffusion.NewImages(n, 1, Size, Size), make([]int32, n)
	test.Batch(upTo(n), x.Data, labels)
	rows, err := r.Read(t.Context(), x)
	if err != nil {
		t.Fatal(err)
	}
	right := 0
	for i, row := range rows {
		sum := 0.0
		for _, v := range row {
			sum += math.Exp(v)
		}
		if math.Abs(sum-1) > 1e-5 {
			t.Fatalf("image %d: the probabilities' sum is %g, expected 1", i, sum)
		}
		if slices.Index(row, slices.Max(row)) == int(labels[i]) {
			right++
		}
	}
	if right < 980 {
		t.Errorf("%d of %d test digits are read, expected at least 980", right, n)
	}
	t.Logf("%d of %d test digits are read", right, n)
	if _, err := r.Read(t.Context(), diffusion.NewImages(1, 1, 14, 14)); err == nil {
		t.Error("an image of 14×14 was not refused")
	}
	x.Data[0] = float32(math.NaN())
	if _, err := r.Read(t.Context(), x); err == nil {
		t.Error("an image with NaN was not refused")
	}
}

// Training gives the tensors that the program embeds, learns, and comes to the same from the same seed.
func TestTrain(t *testing.T) {
	b := backend(t)
	train, _, err := dataset.MNIST()
	if err != nil {
		t.Fatal(err)
	}
	f, err := weights.Parse("reader.safetensors", embedded)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var tensors [2]map[string]weights.Tensor
	for i := range tensors {
		var losses []float64
		tensors[i], err = Train(t.Context(), b, train.Head(3*images), 5, func(_, _ int, loss float64) {
			losses = append(losses, loss)
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(losses); n != networks*epochs*3 || losses[n-1] > 0.8*losses[n-epochs*3] {
			t.Errorf("the losses are %v, expected %d of them and falling ones", losses, networks*epochs*3)
		}
	}
	if len(tensors[0]) != len(f.Names()) {
		t.Errorf("training gives %d tensors, expected the file's %d", len(tensors[0]), len(f.Names()))
	}
	for _, name := range f.Names() {
		want, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		got, again := tensors[0][name], tensors[1][name]
		if got.DType != want.DType || !slices.Equal(got.Shape, want.Shape) {
			t.Errorf("%s is %s %v, expected the file's %s %v", name, got.DType, got.Shape, want.DType, want.Shape)
		}
		if !slices.Equal(got.Data, again.Data) {
			t.Errorf("%s is another one with the same seed", name)
		}
	}
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
