package onednn

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
)

// TestGradientOfBF16 compares gradients of weights with GoMLX's Go backend: windows, steps, dilations and paddings of
// all kinds, pixels that are no multiple of a tile's, several blocks of channels, and more images than are laid out at
// once.
func TestGradientOfBF16(t *testing.T) {
	how := "pairs of pixels"
	switch l := Library(); {
	case l.AMX:
		how = "AMX tiles"
	case os.Getenv("UNNOISE_REQUIRE_AMX") == "1":
		t.Fatalf("AMX is not in use: %s", l)
	case !l.BF16:
		t.Skip("the CPU has no instructions for bfloat16")
	case !hasBF16Gradient:
		t.Skip("the C compiler is older than gcc 11")
	}
	// The gradient is the convolution of x and dy with batch and channels swapped.
	swapped := ConvolveAxesConfig{
		InputBatch: 3, InputSpatial: []int{1, 2}, InputChannels: 0, KernelSpatial: []int{1, 2}, KernelInputChannels: 0,
		KernelOutputChannels: 3,
		OutputBatch:          2, OutputSpatial: []int{0, 1}, OutputChannels: 3,
	}
	for _, config := range []string{"threads=1,without=winograd", "threads=3,without=winograd"} {
		configure(t, config)
		r := rand.New(rand.NewPCG(43, 44))
		for _, c := range []struct{ batch, height, width, in, out, window, stride, dilation, pad int }{
			{5, 28, 28, 64, 32, 3, 1, 1, 1}, {37, 7, 7, 32, 96, 3, 1, 1, 1}, {3, 14, 14, 32, 64, 3, 2, 1, 1},
			{4, 14, 12, 32, 32, 4, 2, 1, 1}, {7, 14, 12, 32, 64, 4, 2, 1, 1},
			{3, 8, 17, 64, 32, 2, 3, 2, 2}, {4, 9, 8, 32, 32, 1, 2, 1, 0}, {3, 27, 26, 32, 32, 3, 4, 2, 1},
			{3, 16, 16, 32, 32, 3, 1, 2, 0}, {8, 16, 16, 32, 32, 3, 1, 2, 0},
			{12, 31, 31, 32, 32, 5, 1, 1, 2}, {10, 8, 8, 64, 32, 3, 1, 1, 1},
		} {
			extent := (c.window-1)*c.dilation + 1
			high, wide := (c.height+2*c.pad-extent)/c.stride+1, (c.width+2*c.pad-extent)/c.stride+1
			pads := [][2]int{{c.pad, (high-1)*c.stride + extent - c.height - c.pad},
				{c.pad, (wide-1)*c.stride + extent - c.width - c.pad}}
			turned, narrow := c.batch%4 == 0, c.batch > 6 // narrow: the result stays so
			f := func(in []*Node) []*Node {
				x, dy := ConvertDType(in[0], dtypes.BFloat16), ConvertDType(in[1], dtypes.BFloat16)
				axes := swapped
				switch {
				case turned: // the channels of x are last
					axes.OutputBatch, axes.OutputChannels = 3, 2
				case c.batch%5 == 0: // PyTorch's order
					axes.OutputBatch, axes.OutputChannels, axes.OutputSpatial = 1, 0, []int{2, 3}
				}
				dw := ConvGeneral(x, dy, axes, []int{c.dilation, c.dilation}, pads, nil, []int{c.stride, c.stride}, 1,
					1)
				if narrow {
					dw = Reverse(dw, 1)
				}
				return []*Node{ConvertDType(dw, dtypes.Float32)}
			}
			x, dy := random(r, c.batch, c.height, c.width, c.in), random(r, c.batch, high, wide, c.out)
			agree(t, fmt.Sprintf("%s %+v", config, c), 1e-2, f, x, dy)
			if table := profiled(t, f, x, dy); !strings.Contains(table, how) {
				t.Errorf("%+v is computed in another way:\n%s", c, table)
			}
		}
	}
}
