package writeup

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/internal/modeltest"
	"github.com/unnoise/unnoise/mnistunet"
)

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
	noisy := addNoise(clean, evaluation.NoiseLevels, 4)
	perfect, err := diffusion.Concat(slices.Repeat([]diffusion.Images{clean}, len(evaluation.NoiseLevels))...)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range levelErrors(noisy, perfect, clean) {
		sigma := evaluation.NoiseLevels[i]
		if e.Sigma != sigma || e.Denoised != 0 || !(math.Abs(e.Noisy-sigma*sigma) <= 0.1*sigma*sigma) {
			t.Errorf("σ = %g: %+v", sigma, e)
		}
	}
	// Of one example, level by level, beginning with none.
	picture := levelPicture(noisy, perfect, 3, nil)
	for i, row := range picture.Rows {
		at := func(x diffusion.Images, k int) []float32 { return x.Slice(k, k+1).Data }
		if want := []string{"noisy", "denoised"}[i%2]; row.Label != want ||
			row.Images.N != len(evaluation.NoiseLevels) {
			t.Errorf("row %d is %q of %d images", i, row.Label, row.Images.N)
		}
		digit := at(clean, i/2)
		if !slices.Equal(at(row.Images, 0), digit) || slices.Equal(at(row.Images, len(evaluation.NoiseLevels)-1),
			digit) != (i%2 == 1) {
			t.Errorf("row %d shows other images", i)
		}
	}
	two := &dataset.Labeled{Rows: 1, Cols: 2, Images: []byte{255, 0, 51, 102}, Labels: []byte{0, 1}}
	if mean, squared := meanOfSet(two); !near(mean.Data, 0.6, 0.2) || math.Abs(squared-0.1) > 1e-9 {
		t.Errorf("the mean image is %v, its squared error %g", mean.Data, squared)
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
	m := modeltest.Untrained(t, mnistunet.Default(mnistunet.None))
	_, test, err := dataset.MNIST()
	if err != nil {
		t.Fatal(err)
	}
	x, err := Denoised(t.Context(), m, test, 0.3, 5, 2)
	if err != nil {
		t.Fatal(err)
	}
	c := mnistunet.Default(mnistunet.None).ForPureNoise()
	blind := modeltest.Untrained(t, c)
	if y, err := Denoised(t.Context(), blind, test, 0, 5, 2); err != nil || DenoisedGrid(y, c).Columns != 5 ||
		slices.Equal(y.Data[:5*y.Size()], firstImages(test, 5).Data) {
		t.Errorf("of pure noise there are %d images, %v", y.N, err)
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
	if !slices.Equal(clean.Data, firstImages(test, 5).Data) || !slices.Equal(estimates.Data, want.Data) ||
		!(math.Abs(variance-1) < 0.1) {
		t.Errorf("the rows are mixed up, or the noise has another level: variance %g", variance)
	}
}
