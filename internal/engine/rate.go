package engine

import (
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/internal/nn"
)

// Rates are how fast the engine computes, in multiply-adds a second.
type Rates struct{ Convolution, Product float64 }

// MeasureRates runs a 3×3 convolution and a product of the sizes that large networks have, each for half a second.
func MeasureRates(b compute.Backend, dtype dtypes.DType) (Rates, error) {
	const images, size, channels = 2, 32, 256
	conv, err := rate(b, dtype, []int{images, size, size, channels}, []int{channels, channels, 3, 3},
		images*size*size*channels*channels*9, func(x, w *Node) *Node {
			return ConvGeneral(x, w, nn.KernelOIHW(), nil, [][2]int{{1, 1}, {1, 1}}, nil, nil, 1, 1)
		})
	if err != nil {
		return Rates{}, err
	}
	const rows, width = 256, 2048
	product, err := rate(b, dtype, []int{rows, width}, []int{width, width}, rows*width*width, func(x, w *Node) *Node {
		return Dot(x, w).General([]int{1}, nil, []int{1}, nil)
	})
	return Rates{conv, product}, err
}

// rate measures an operation of x and weights w, which stay the same. Their values are zeros: times don't depend on
// them.
func rate(b compute.Backend, dtype dtypes.DType, x, w []int, multiplyAdds int, f func(x, w *Node) *Node) (float64,
	error) {
	var in []compute.Buffer
	defer func() { nn.Finalize(in) }()
	for _, dims := range [][]int{x, w} {
		shape := shapes.Make(dtype, dims...)
		buffer, err := b.BufferFromFlatData(0, dtypes.MakeAnySlice(dtype, shape.Size()), shape)
		if err != nil {
			return 0, err
		}
		in = append(in, nn.Freeze(buffer))
	}
	run, err := nn.Compile(b, "rate", func(g *Graph) []*Node {
		return []*Node{f(Parameter(g, "x", shapes.Make(dtype, x...)), Parameter(g, "w", shapes.Make(dtype, w...)))}
	})
	if err != nil {
		return 0, err
	}
	defer run.Finalize()
	best := 0.0
	for start, runs := time.Now(), 0; runs < 2 || time.Since(start) < time.Second/2; runs++ {
		began := time.Now()
		out, err := run.Execute(in, nil, 0)
		if err != nil {
			return 0, err
		}
		nn.Finalize(out)
		if runs > 0 { // the first one lays weights out
			best = max(best, float64(multiplyAdds)/time.Since(began).Seconds())
		}
	}
	return best, nil
}
