package evaluation

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/mat"

	"github.com/unnoise/unnoise/diffusion"
)

// random returns n rows of d correlated features.
func random(seed uint64, n, d int) []float32 {
	g := diffusion.NewGenerator(seed)
	mix, x, out := make([]float32, d*d), make([]float32, d), make([]float32, n*d)
	g.Normal(mix)
	for i := range n {
		g.Normal(x)
		for j := range d {
			out[i*d+j] = float32(seed)
			for k, v := range x {
				out[i*d+j] += mix[j*d+k] * v
			}
		}
	}
	return out
}

func fit(t *testing.T, features []float32, d int) Gaussian {
	t.Helper()
	g, err := Fit(features, d)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func distance(t *testing.T, a, b Gaussian) float64 {
	t.Helper()
	d, err := FrechetDistance(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s: %g, want %g within %g", what, got, want, tolerance)
	}
}

func TestFit(t *testing.T) {
	g := fit(t, []float32{1, 2, 3, 6, 5, 1}, 2)
	near(t, "mean 0", g.Mean[0], 3, 1e-12)
	near(t, "mean 1", g.Mean[1], 3, 1e-12)
	near(t, "variance 0", g.Covariance.At(0, 0), 4, 1e-12)
	near(t, "variance 1", g.Covariance.At(1, 1), 7, 1e-12)
	near(t, "covariance", g.Covariance.At(0, 1), -1, 1e-12)
	for _, bad := range [][]float32{{1, 2}, {1, 2, 3}, {1, 2, 3, float32(math.NaN())}} {
		if _, err := Fit(bad, 2); err == nil {
			t.Errorf("%v was fitted", bad)
		}
	}
}

// TestFrechetClosedForms compares with what the formula comes to without a matrix root.
func TestFrechetClosedForms(t *testing.T) {
	one := func(m, v float64) Gaussian {
		return Gaussian{Mean: []float64{m}, Covariance: mat.NewSymDense(1, []float64{v})}
	}
	near(t, "one dimension", distance(t, one(1, 4), one(3, 9)), 4+1, 1e-12)

	diagonal := func(m []float64, v ...float64) Gaussian {
		c := mat.NewSymDense(len(v), nil)
		for i, v := range v {
			c.SetSym(i, i, v)
		}
		return Gaussian{Mean: m, Covariance: c}
	}
	near(t, "diagonal", distance(t, diagonal([]float64{0, 1, 2}, 1, 4, 0), diagonal([]float64{0, 1, 0}, 9, 25, 16)),
		4+4+9+16, 1e-12)

	// For two dimensions Tr M^½ = √(Tr M + 2 √det M).
	a, b := fit(t, random(1, 50, 2), 2), fit(t, random(2, 50, 2), 2)
	var m mat.Dense
	m.Mul(a.Covariance, b.Covariance)
	mean := math.Hypot(a.Mean[0]-b.Mean[0], a.Mean[1]-b.Mean[1])
	want := mean*mean + mat.Trace(a.Covariance) +
		mat.Trace(b.Covariance) - 2*math.Sqrt(mat.Trace(&m)+2*math.Sqrt(mat.Det(&m)))
	near(t, "two dimensions", distance(t, a, b), want, 1e-9)

	if _, err := FrechetDistance(a, one(0, 1)); err == nil {
		t.Error("distributions of 2 and 1 features have a distance")
	}
}

func TestFrechetProperties(t *testing.T) {
	const d = 12
	x, y := random(3, 200, d), random(4, 300, d)
	a, b := fit(t, x, d), fit(t, y, d)
	ab := distance(t, a, b)
	if ab < 1 {
		t.Errorf("the distance of unlike sets is %g", ab)
	}
	near(t, "to itself", distance(t, a, a), 0, 1e-6*ab)
	near(t, "the other way round", distance(t, b, a), ab, 1e-9*ab)

	few := fit(t, x[:5*d], d) // of rank 4
	near(t, "few images to themselves", distance(t, few, few), 0, 1e-5*ab)
	near(t, "few images the other way round", distance(t, few, b), distance(t, b, few), 1e-5*ab)

	var qr mat.QR
	square := mat.NewDense(d, d, nil)
	for i, v := range random(5, d, d) {
		square.Set(i/d, i%d, float64(v))
	}
	qr.Factorize(square)
	var rotation mat.Dense
	qr.QTo(&rotation)
	rotate := func(g Gaussian) Gaussian {
		var mean mat.VecDense
		var c mat.Dense
		mean.MulVec(&rotation, mat.NewVecDense(d, g.Mean))
		c.Product(&rotation, g.Covariance, rotation.T())
		return Gaussian{Mean: mean.RawVector().Data, Covariance: symmetric(&c)}
	}
	near(t, "rotated", distance(t, rotate(a), rotate(b)), ab, 1e-9*ab)

	root, err := squareRoot(a.Covariance)
	if err != nil {
		t.Fatal(err)
	}
	var again mat.Dense
	again.Mul(root, root)
	if !mat.EqualApprox(&again, a.Covariance, 1e-9) {
		t.Error("the root's square is not the covariance")
	}
}
