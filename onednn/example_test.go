package onednn_test

import (
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"

	_ "github.com/unnoise/unnoise/onednn"
)

func Example() {
	backend, err := compute.NewWithConfig("onednn")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer backend.Finalize()
	square := graph.MustNewExec(backend, func(x *graph.Node) *graph.Node { return graph.Mul(x, x) })
	fmt.Println(square.MustExec([]float32{1, 2, 3})[0].Value())
	// Output: [1 4 9]
}
