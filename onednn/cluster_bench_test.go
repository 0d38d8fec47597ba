package onednn_test

import (
	"fmt"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/unnoise/unnoise/onednn"
)

// BenchmarkCluster times what follows a convolution in the network: scale, shift and GELU, as one pass.
func BenchmarkCluster(b *testing.B) {
	for _, threads := range []int{1, 2} {
		for _, rows := range []int{1024, 100352} {
			for _, dtype := range []dtypes.DType{dtypes.Float32, dtypes.BFloat16} {
				b.Run(fmt.Sprintf("threads=%d/rows=%d/%s", threads, rows, dtype), func(b *testing.B) {
					backend, err := onednn.New(fmt.Sprintf("threads=%d", threads))
					if err != nil {
						b.Fatal(err)
					}
					defer backend.Finalize()
					exec := graph.MustNewExec(backend, func(x, scale, shift *graph.Node) *graph.Node {
						g := x.Graph()
						x = graph.ConvertDType(x, dtypes.Float32)
						y := graph.Add(graph.Mul(x, graph.ExpandAxes(scale, 0)), graph.ExpandAxes(shift, 0))
						half := graph.Scalar(g, dtypes.Float32, 0.5)
						y = graph.Mul(graph.Mul(y, half), graph.OnePlus(graph.Erf(graph.MulScalar(y, 0.70710678))))
						return graph.ConvertDType(y, dtype)
					})
					x := tensors.FromShape(shapes.Make(dtype, rows, 64))
					scale, shift := tensors.FromShape(shapes.Make(dtypes.Float32, 64)),
						tensors.FromShape(shapes.Make(dtypes.Float32, 64))
					b.SetBytes(int64(2 * rows * 64 * dtype.Size()))
					for b.Loop() {
						exec.MustExec(x, scale, shift)[0].FinalizeAll()
					}
				})
			}
		}
	}
}
