package nn

import (
	"math"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/diffusion"
)

// TestAdam compares steps with other gradients and rates with Algorithm 1 of Kingma & Ba in float64. After a single
// step, whatever the gradient, all β give the same. The parameter has half the rate.
func TestAdam(t *testing.T) {
	const n = 16
	b, err := compute.NewWithConfig("onednn")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Finalize()
	params := []Param{{Name: "w", Shape: []int{n}, Rate: 0.5}}
	a, err := NewAdam(b, params)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	step, err := Compile(b, "step", func(g *Graph) []*Node {
		gradient := Parameter(g, "gradient", shapes.Make(dtypes.Float32, n))
		return a.Update(g, NewLayers(g, params, dtypes.Float32, true), []*Node{gradient})
	})
	if err != nil {
		t.Fatal(err)
	}
	defer step.Finalize()

	g := diffusion.NewGenerator(3)
	start := make([]float32, n)
	g.Normal(start)
	w, err := Buffer(b, start, n)
	if err != nil {
		t.Fatal(err)
	}
	values := []compute.Buffer{w}
	defer func() { Finalize(values) }()
	var want, m, v [n]float64
	for i, x := range start {
		want[i] = float64(x)
	}
	for k := 1; k <= 8; k++ {
		rate := 0.1 / float64(k)
		gradient := make([]float32, n)
		g.Normal(gradient)
		gradient[0] = 0
		for i := 1; i < n; i += 2 { // as small as ε
			gradient[i] *= 1e-8
		}
		in, err := Buffer(b, gradient, n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.Step(step, []compute.Buffer{in}, &values, rate); err != nil {
			t.Fatal(err)
		}
		got := make([]float32, n)
		if err := values[0].ToFlatData(got); err != nil {
			t.Fatal(err)
		}
		for i, x := range gradient {
			d := float64(x)
			m[i] = 0.9*m[i] + 0.1*d
			v[i] = 0.999*v[i] + 0.001*d*d
			mean, square := m[i]/(1-math.Pow(0.9, float64(k))), v[i]/(1-math.Pow(0.999, float64(k)))
			want[i] -= 0.5 * rate * mean / (math.Sqrt(square) + 1e-8)
			if !(math.Abs(float64(got[i])-want[i]) <= 1e-6) {
				t.Fatalf("after step %d value %d is %g, want %g", k, i, got[i], want[i])
			}
		}
	}
}
