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

// TestTiles compares gradients of weights on AMX tiles with GoMLX's Go backend: windows, steps, dilations and paddings of all kinds, pixels that
// are no multiple of a tile's, several blocks of channels, and more images than are laid out at once.
func TestTiles(t *testing.T) {
	if !Library().AMX {
		if os.Getenv("UNNOISE_REQUIRE_AMX") == "1" {
			t.Fatalf("AMX is not in use: %s", Library())
		}
		t.Skip("the processor has no AMX; 'make test-amx' emulates it")
	}
	// The gradient is the convolution of x and dy with batch and channels swapped.
	swapped := ConvolveAxesConfig{
		InputBatch: 3, InputSpatial: []int{1, 2}, InputChannels: 0, KernelSpatial: []int{1, 2}, KernelInputChannels: 0, KernelOutputChannels: 3,
		OutputBatch: 2, OutputSpatial: []int{0, 1}, OutputChannels: 3,
	}
	for _, threads := range []string{"threads=1", "threads=3"} {
		configure(t, threads)
		r := rand.New(rand.NewPCG(43, 44))
		for _, c := range []struct{ batch, height, width, in, out, window, stride, dilation, pad int }{
			{5, 28, 28, 64, 32, 3, 1, 1, 1}, {37, 7, 7, 32, 96, 3, 1, 1, 1}, {3, 14, 14, 32, 64, 3, 2, 1, 1}, {4, 12, 9, 32, 32, 4, 2, 1, 1},
			{3, 5, 11, 64, 32, 2, 3, 2, 2}, {7, 1, 1, 32, 32, 1, 1, 1, 0}, {3, 9, 6, 32, 32, 3, 1, 2, 0}, {24, 31, 31, 32, 64, 5, 1, 1, 2},
		} {
			extent := (c.window-1)*c.dilation + 1
			high, wide := (c.height+2*c.pad-extent)/c.stride+1, (c.width+2*c.pad-extent)/c.stride+1
			pads := [][2]int{{c.pad, (high-1)*c.stride + extent - c.height - c.pad}, {c.pad, (wide-1)*c.stride + extent - c.width - c.pad}}
			f := func(in []*Node) []*Node {
				x, dy := ConvertDType(in[0], dtypes.BFloat16), ConvertDType(in[1], dtypes.BFloat16)
				dw := ConvGeneral(x, dy, swapped, []int{c.dilation, c.dilation}, pads, nil, []int{c.stride, c.stride}, 1, 1)
				return []*Node{ConvertDType(dw, dtypes.Float32)}
			}
			x, dy := random(r, c.batch, c.height, c.width, c.in), random(r, c.batch, high, wide, c.out)
			agree(t, fmt.Sprintf("%s %+v", threads, c), 1e-2, f, x, dy)
			if table := profiled(t, f, x, dy); !strings.Contains(table, "AMX tiles") {
				t.Errorf("%+v is computed in another way:\n%s", c, table)
			}
		}
	}
}
