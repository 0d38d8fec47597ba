package diffusion_test

import (
	"math"
	"slices"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

func TestNormalMoments(t *testing.T) {
	values := make([]float32, 1<<20)
	diffusion.NewGenerator(11).Normal(values)
	var moments [5]float64
	for _, v := range values {
		power := 1.0
		for i := range moments {
			moments[i] += power / float64(len(values))
			power *= float64(v)
		}
	}
	for i, want := range [5]float64{1, 0, 1, 0, 3} {
		if math.Abs(moments[i]-want) > 0.02 { // more than four standard errors of each
			t.Errorf("moment %d is %.4f, expected %g", i, moments[i], want)
		}
	}
}

func TestIntegersStayInRange(t *testing.T) {
	g := diffusion.NewGenerator(12)
	for _, high := range []int{1, 2, 300, 1<<28 - 1, 1 << 28, math.MaxInt} {
		values := make([]int, 1000)
		g.IntN(values, high)
		if low, top := slices.Min(values), slices.Max(values); low < 0 || top >= high {
			t.Errorf("bound %d: values from %d to %d", high, low, top)
		}
	}
	for _, n := range []int{0, 1, 2, 1000} {
		perm := g.Perm(n)
		slices.Sort(perm)
		for i, v := range perm {
			if v != i {
				t.Fatalf("Perm(%d) has %d in place of %d", n, v, i)
			}
		}
	}
}

// One training step's noise: 128 images of 28 x 28.
func BenchmarkNormal(b *testing.B) {
	g := diffusion.NewGenerator(0)
	values := make([]float32, 128*28*28)
	b.SetBytes(4 * int64(len(values)))
	for b.Loop() {
		g.Normal(values)
	}
}
