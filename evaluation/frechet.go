package evaluation

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"
)

// Gaussian is a normal distribution of features.
type Gaussian struct {
	Mean       []float64
	Covariance *mat.SymDense
}

// Fit fits a Gaussian to rows of d features: their mean, and their covariance with N−1 below.
func Fit(features []float32, d int) (Gaussian, error) {
	if d < 1 || len(features) < 2*d || len(features)%d != 0 {
		return Gaussian{}, fmt.Errorf("a Gaussian of %d features is fitted to at least 2 images, got %d values", d,
			len(features))
	}
	n := len(features) / d
	x := mat.NewDense(n, d, nil)
	g := Gaussian{Mean: make([]float64, d), Covariance: mat.NewSymDense(d, nil)}
	for i, v := range features {
		if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
			return Gaussian{}, fmt.Errorf("a feature of image %d is %v, expected finite numbers", i/d, v)
		}
		x.Set(i/d, i%d, float64(v))
		g.Mean[i%d] += float64(v) / float64(n)
	}
	stat.CovarianceMatrix(g.Covariance, x, nil)
	return g, nil
}

// FrechetDistance is the squared distance of two Gaussians (Dowson & Landau 1982; Heusel et al. 2017, arXiv:1706.08500,
// eq. 6):
//
//	|m₁ − m₂|² + Tr(C₁ + C₂ − 2 (C₁C₂)^½)
//
// With the classifier's features it is no FID, whose features are those of another network.
func FrechetDistance(a, b Gaussian) (float64, error) {
	if len(a.Mean) != len(b.Mean) {
		return 0, fmt.Errorf("the distributions are of %d and %d features, expected as many", len(a.Mean), len(b.Mean))
	}
	d2 := 0.0
	for i := range a.Mean {
		d2 += (a.Mean[i] - b.Mean[i]) * (a.Mean[i] - b.Mean[i])
	}
	// C₁C₂ has the eigenvalues of C₁^½ C₂ C₁^½, which is symmetric: the trace of its root is the sum of their roots.
	root, err := squareRoot(a.Covariance)
	if err != nil {
		return 0, err
	}
	var product mat.Dense
	product.Product(root, b.Covariance, root)
	values, _, err := eigen(symmetric(&product), false)
	if err != nil {
		return 0, err
	}
	d2 += mat.Trace(a.Covariance) + mat.Trace(b.Covariance)
	for _, v := range values {
		d2 -= 2 * math.Sqrt(v)
	}
	return max(d2, 0), nil
}

// squareRoot is the positive root of a covariance.
func squareRoot(c mat.Symmetric) (*mat.Dense, error) {
	values, vectors, err := eigen(c, true)
	if err != nil {
		return nil, err
	}
	for i, v := range values {
		values[i] = math.Sqrt(v)
	}
	var root mat.Dense
	root.Product(vectors, mat.NewDiagDense(len(values), values), vectors.T())
	return &root, nil
}

// eigen decomposes a positive semidefinite matrix; eigenvalues that rounding made negative are 0.
func eigen(c mat.Symmetric, withVectors bool) (values []float64, vectors *mat.Dense, err error) {
	var e mat.EigenSym
	if !e.Factorize(c, withVectors) {
		return nil, nil, fmt.Errorf("the eigenvalues of a covariance of %d features were not found", c.SymmetricDim())
	}
	values = e.Values(nil)
	for i := range values {
		values[i] = max(values[i], 0)
	}
	vectors = new(mat.Dense)
	if withVectors {
		e.VectorsTo(vectors)
	}
	return values, vectors, nil
}

// symmetric is the symmetric part of a matrix that is symmetric up to rounding.
func symmetric(m *mat.Dense) *mat.SymDense {
	n, _ := m.Dims()
	s := mat.NewSymDense(n, nil)
	for i := range n {
		for j := range i + 1 {
			s.SetSym(i, j, (m.At(i, j)+m.At(j, i))/2)
		}
	}
	return s
}
