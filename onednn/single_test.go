package onednn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// TestSingle compares convolutions to one channel and their weights' gradients with GoMLX's Go backend: windows up to
// 3×3, all paddings, on every instruction set, in float32 and from bfloat16.
func TestSingle(t *testing.T) {
	t.Cleanup(func() { limitISA(2) })
	// The gradient is the convolution of x and dy with batch and channels swapped; GoMLX's own fails for even windows.
	swapped := ConvolveAxesConfig{
		InputBatch: 3, InputSpatial: []int{1, 2}, InputChannels: 0, KernelSpatial: []int{1, 2}, KernelInputChannels: 0,
		KernelOutputChannels: 3,
		OutputBatch:          2, OutputSpatial: []int{0, 1}, OutputChannels: 3,
	}
	for level := range 2 * (ownLevel() + 1) {
		limitISA(level / 2)
		configure(t, []string{"threads=1", "portable,threads=3"}[level%2])
		r := rand.New(rand.NewPCG(41, uint64(level)))
		for _, c := range []struct {
			batch, height, width, in int
			window                   [2]int
			pad                      [][2]int
		}{
			{3, 28, 28, 64, [2]int{3, 3}, [][2]int{{1, 1}, {1, 1}}},
			{2, 5, 9, 32, [2]int{3, 2}, [][2]int{{0, 2}, {1, 0}}},
			{1, 1, 3, 96, [2]int{1, 3}, [][2]int{{0, 0}, {2, 2}}},
			{4, 6, 1, 32, [2]int{2, 1}, [][2]int{{1, 1}, {0, 0}}},
		} {
			convolve := func(x, w *Node) *Node { return Convolve(x, w).PaddingPerDim(c.pad).Done() }
			x, w := random(r, c.batch, c.height, c.width, c.in), random(r, c.window[0], c.window[1], c.in, 1)
			height, width := c.height+c.pad[0][0]+c.pad[0][1]-c.window[0]+1,
				c.width+c.pad[1][0]+c.pad[1][1]-c.window[1]+1
			dy := random(r, c.batch, height, width, 1)
			for name, f := range map[string]func([]*Node) []*Node{
				"forward": func(in []*Node) []*Node { return []*Node{AddScalar(convolve(in[0], in[1]), 0.5)} },
				"weights": func(in []*Node) []*Node {
					return []*Node{ConvGeneral(in[0], in[2], swapped, nil, c.pad, nil, nil, 1, 1)}
				},
				"narrow": func(in []*Node) []*Node {
					y := convolve(ConvertDType(in[0], dtypes.BFloat16), ConvertDType(in[1], dtypes.BFloat16))
					return []*Node{ConvertDType(y, dtypes.Float32)}
				},
			} {
				name := fmt.Sprintf("%s %+v", name, c)
				tolerance := 2e-5
				if strings.HasPrefix(name, "narrow") {
					tolerance = 1e-2 // of the result's rounding
				}
				agree(t, name, tolerance, f, x, w, dy)
				if table := profiled(t, f, x, w, dy); !strings.Contains(table, "to one channel") {
					t.Errorf("%s on %s is computed in another way:\n%s", name, ownISA(), table)
				}
			}
		}
	}
}

// An infinite number reaches the results whose window it is in, and no others.
func TestSingleKeepsInfinityInItsWindow(t *testing.T) {
	t.Cleanup(func() { limitISA(2) })
	for level := range ownLevel() + 1 {
		limitISA(level)
		configure(t, "threads=1")
		ours, _ := backends(t)
		for width := 1; width <= 3; width++ {
			r := rand.New(rand.NewPCG(5, uint64(width)))
			x, w := random(r, 1, 3, 9, 32), random(r, 1, width, 32, 1)
			v := tensors.MustCopyFlatData[float32](x)
			const row, column = 1, 5
			v[(row*9+column)*32] = float32(math.Inf(1))
			exec, err := NewExec(ours, func(x, w *Node) *Node { return Convolve(x, w).NoPadding().Done() })
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.Exec(tensors.FromFlatDataAndDimensions(v, 1, 3, 9, 32), w)
			if err != nil {
				t.Fatal(err)
			}
			for i, y := range tensors.MustCopyFlatData[float32](out[0]) {
				at := i % (10 - width)
				inside := i/(10-width) == row && at <= column && column < at+width
				if isFinite := y-y == 0; isFinite == inside {
					t.Errorf("%s, window of %d: result %d is %g", ownISA(), width, i, y)
				}
			}
			exec.Finalize()
		}
	}
}
