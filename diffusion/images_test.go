package diffusion_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

func TestSliceAndConcat(t *testing.T) {
	x := normal(0, 5, 3, 2, 4)
	joined, err := diffusion.Concat(x.Slice(0, 2), x.Slice(2, 2), x.Slice(2, 5))
	if err != nil {
		t.Fatal(err)
	}
	if !joined.SameShape(x) || !slices.Equal(joined.Data, x.Data) {
		t.Errorf("the parts of %s join to another batch, %s", x.Shape(), joined.Shape())
	}
	part := x.Slice(1, 2)
	part.Data[0] = 7
	if x.Data[3*2*4] != 7 {
		t.Error("a slice does not share its values")
	}
	clone := x.Clone()
	clone.Data[0]++
	if clone.Data[0] == x.Data[0] {
		t.Error("a clone shares its values")
	}
	_ = append(part.Data, 9)
	if x.Data[2*3*2*4] == 9 {
		t.Error("appending to a slice's values writes into the next image")
	}
}

func TestConcatErrors(t *testing.T) {
	if _, err := diffusion.Concat(diffusion.NewImages(1, 1, 2, 2), diffusion.NewImages(1, 3, 2, 2)); err == nil ||
		!strings.Contains(err.Error(), "batch 1 is [1,3,2,2]") {
		t.Errorf("different channels: %v", err)
	}
	if _, err := diffusion.Concat(diffusion.Images{N: 1, C: 1, H: 2, W: 2}); err == nil {
		t.Error("a batch without values joins")
	}
	if none, err := diffusion.Concat(); err != nil || none.N != 0 {
		t.Errorf("nothing joins to %v, %v", none, err)
	}
}
