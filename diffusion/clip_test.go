package diffusion

import (
	"math"
	"slices"
	"testing"
)

func TestClip(t *testing.T) {
	// Two images: thresholds are each image's own.
	x := Images{N: 2, C: 1, H: 1, W: 5, Data: []float32{0, 1, -2, 3, -4, 0.1, -0.2, 0.3, -0.4, 0.5}}
	for _, c := range []struct {
		clip Clip
		want []float32
	}{
		{Clip{}, x.Data},
		{Clip{Limit: 2.5}, []float32{0, 1, -2, 2.5, -2.5, 0.1, -0.2, 0.3, -0.4, 0.5}},
		// s = 3; s < 1 is clipping to 1
		{Clip{Limit: 10, Quantile: 0.75}, []float32{0, 1. / 3, -2. / 3, 1, -1, 0.1, -0.2, 0.3, -0.4, 0.5}},
		// s is at most 2
		{Clip{Limit: 2, Quantile: 0.75}, []float32{0, 0.5, -1, 1, -1, 0.1, -0.2, 0.3, -0.4, 0.5}},
		{Clip{Limit: 10, Quantile: 1}, []float32{0, 0.25, -0.5, 0.75, -1, 0.1, -0.2, 0.3, -0.4, 0.5}},
	} {
		got := x.Clone()
		c.clip.apply(got)
		for i := range got.Data {
			if !(math.Abs(float64(got.Data[i]-c.want[i])) <= 1e-6) {
				t.Errorf("%+v: got %v, expected %v", c.clip, got.Data, c.want)
				break
			}
		}
	}
}

func TestQuantileAbs(t *testing.T) {
	values := []float32{-3, 1, 4, -2, 0}
	kept := slices.Clone(values)
	for q, want := range map[float32]float64{0: 0, 0.25: 1, 0.5: 2, 0.6: 2.4, 0.95: 3.8, 1: 4} {
		if got := quantileAbs(values, q); !(math.Abs(float64(got)-want) <= 1e-5) {
			t.Errorf("quantile %g is %g, expected %g", q, got, want)
		}
	}
	if !slices.Equal(values, kept) {
		t.Error("the values were reordered")
	}
}
