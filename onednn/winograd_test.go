package onednn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// TestWinograd compares 3×3 convolutions and their gradients with GoMLX's Go backend: pictures that are no multiple of
// the tiles, all paddings, on every instruction set and several threads.
func TestWinograd(t *testing.T) {
	t.Cleanup(func() { limitISA(2) })
	for level := range ownLevel() + 1 {
		limitISA(level)
		for _, config := range []string{"threads=1", "threads=2", "portable,threads=5"} {
			t.Run(ownISA()+" "+config, func(t *testing.T) {
				configure(t, config)
				r := rand.New(rand.NewPCG(23, uint64(level)))
				for _, c := range []struct {
					batch, height, width, in, out int
					pad                           [][2]int
				}{
					{1, 28, 28, 32, 32, [][2]int{{1, 1}, {1, 1}}}, {3, 9, 13, 48, 32, [][2]int{{0, 2}, {2, 0}}},
					{2, 4, 7, 16, 64, [][2]int{{0, 0}, {1, 2}}},
					{5, 3, 3, 16, 32, [][2]int{{2, 2}, {1, 1}}}, {1, 33, 5, 128, 96, [][2]int{{1, 1}, {1, 1}}},
					{40, 5, 6, 32, 32, [][2]int{{2, 1}, {0, 1}}},
					{128, 1, 1, 256, 96, [][2]int{{1, 1}, {1, 1}}}, {240, 1, 1, 288, 64, [][2]int{{1, 1}, {1, 1}}},
					{9, 3, 5, 64, 320, [][2]int{{0, 2}, {1, 1}}},
				} {
					requireWinograd(t, dtypes.Float32, c.batch, c.height, c.width, c.in, c.out)
					name := fmt.Sprintf("%dx%dx%d %d→%d %v", c.batch, c.height, c.width, c.in, c.out, c.pad)
					agree(t, name, 5e-5, withGradients(func(in []*Node) *Node {
						y := Convolve(in[0], in[1]).PaddingPerDim(c.pad).Done()
						return Add(y, ExpandLeftToRank(in[2], 4))
					}), random(r, c.batch, c.height, c.width, c.in), random(r, 3, 3, c.in, c.out), random(r, c.out))
				}
				if Library().AMX {
					return // multiplies bfloat16 as it stands
				}
				requireWinograd(t, dtypes.BFloat16, 12, 19, 15, 64, 32)
				agree(t, "bfloat16", 0.02, withGradients(func(in []*Node) *Node {
					y := Convolve(ConvertDType(in[0], dtypes.BFloat16),
						ConvertDType(in[1], dtypes.BFloat16)).PadSame().Done()
					return ConvertDType(y, dtypes.Float32)
				}), random(r, 12, 19, 15, 64), random(r, 3, 3, 64, 32))
			})
		}
	}
}

// TestWinogradKernelLayout compares 3×3 convolutions of many channels whose kernels lie as PyTorch's do, [out, in, 3,
// 3].
func TestWinogradKernelLayout(t *testing.T) {
	t.Cleanup(func() { limitISA(2) })
	axes := ConvolveAxesConfig{
		InputBatch: 0, InputSpatial: []int{1, 2}, InputChannels: 3, KernelOutputChannels: 0, KernelInputChannels: 1,
		KernelSpatial: []int{2, 3},
		OutputBatch:   0, OutputSpatial: []int{1, 2}, OutputChannels: 3,
	}
	for level := range ownLevel() + 1 {
		limitISA(level)
		configure(t, "portable,threads=3")
		r := rand.New(rand.NewPCG(37, 38))
		for dtype, tolerance := range map[dtypes.DType]float64{dtypes.Float32: 5e-5, dtypes.BFloat16: 0.02} {
			if dtype == dtypes.BFloat16 && Library().AMX {
				continue
			}
			f := func(in []*Node) []*Node {
				y := ConvGeneral(ConvertDType(in[0], dtype), ConvertDType(in[1], dtype), axes, nil,
					[][2]int{{1, 1}, {1, 1}}, nil, nil, 1, 1)
				return []*Node{ConvertDType(y, dtypes.Float32)}
			}
			x, w := random(r, 10, 2, 5, 160), random(r, 128, 160, 3, 3)
			agree(t, fmt.Sprintf("%s on %s", dtype, ownISA()), tolerance, f, x, w)
			if table := profiled(t, f, x, w); !strings.Contains(table, "Winograd") {
				t.Errorf("%s on %s is computed in another way:\n%s", dtype, ownISA(), table)
			}
			gradients := withGradients(func(in []*Node) *Node { return f(in)[0] })
			agree(t, fmt.Sprintf("gradients, %s on %s", dtype, ownISA()), tolerance, gradients,
				random(r, 140, 2, 3, 288), random(r, 32, 288, 3, 3))
		}
	}
}

// TestWinogradStrided compares 4×4 convolutions with steps of 2, and the two kinds of gradients that they have as
// transposed convolutions, with GoMLX's Go backend.
func TestWinogradStrided(t *testing.T) {
	t.Cleanup(func() { limitISA(2) })
	two := []int{2, 2}
	for level := range 2 * (ownLevel() + 1) {
		limitISA(level / 2)
		configure(t, []string{"threads=1", "portable,threads=3"}[level%2])
		r := rand.New(rand.NewPCG(31, 32))
		for _, c := range []struct{ batch, height, width, in, out, padLow, padHigh int }{
			{1, 14, 14, 32, 32, 1, 1}, {3, 7, 7, 64, 32, 1, 1}, {2, 5, 9, 32, 32, 0, 2}, {5, 2, 3, 32, 96, 1, 1},
			{20, 6, 4, 32, 32, 2, 0},
		} {
			pads := [][2]int{{c.padLow, c.padHigh}, {c.padLow, c.padHigh}}
			backPads := [][2]int{{3 - c.padLow, 3 - c.padHigh}, {3 - c.padLow, 3 - c.padHigh}}
			large := random(r, c.batch, 2*c.height, 2*c.width, c.in)
			small := random(r, c.batch, c.height, c.width, c.out)
			weights := random(r, 4, 4, c.in, c.out)
			axes := func(kernelIn, kernelOut int) ConvolveAxesConfig {
				return ConvolveAxesConfig{
					InputBatch: 0, InputSpatial: []int{1, 2}, InputChannels: 3, KernelSpatial: []int{0, 1},
					KernelInputChannels: kernelIn, KernelOutputChannels: kernelOut,
					OutputBatch: 0, OutputSpatial: []int{1, 2}, OutputChannels: 3,
				}
			}
			for name, f := range map[string]func(x, y, w *Node) *Node{
				"forward": func(x, y, w *Node) *Node {
					return ConvGeneral(x, w, axes(2, 3), two, pads, nil, nil, 1,
						1)
				},
				"data": func(x, y, w *Node) *Node {
					return ConvGeneral(y, Reverse(w, 0, 1), axes(3, 2), nil, backPads, two, nil, 1, 1)
				},
				"weights": func(x, y, w *Node) *Node {
					swapped := ConvolveAxesConfig{
						InputBatch: 3, InputSpatial: []int{1, 2}, InputChannels: 0, KernelSpatial: []int{1, 2},
						KernelInputChannels: 0, KernelOutputChannels: 3,
						OutputBatch: 2, OutputSpatial: []int{0, 1}, OutputChannels: 3,
					}
					return ConvGeneral(x, y, swapped, nil, pads, nil, two, 1, 1)
				},
			} {
				one := func(in []*Node) []*Node { return []*Node{f(in[0], in[1], in[2])} }
				agree(t, fmt.Sprintf("%s %+v", name, c), 5e-5, one, large, small, weights)
				if table := profiled(t, one, large, small, weights); !strings.Contains(table, "Winograd F(4×4, 2×2)") {
					t.Errorf("%s %+v on %s is computed in another way:\n%s", name, c, ownISA(), table)
				}
			}
		}
	}
}

// profiled runs a computation and returns the profile's table.
func profiled(t *testing.T, f func([]*Node) []*Node, in ...*tensors.Tensor) string {
	t.Helper()
	b, err := New(configuration)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Finalize()
	exec, err := NewExec(b, f)
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	args := make([]any, len(in))
	for i, x := range in {
		if args[i], err = x.LocalClone(); err != nil {
			t.Fatal(err)
		}
	}
	StartProfile(b)
	if _, err := exec.Exec(args...); err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	StopProfile(b, &table)
	return table.String()
}

// requireWinograd fails if a convolution of these sizes and its gradients would be computed in another way.
func requireWinograd(t *testing.T, dtype dtypes.DType, batch, height, width, in, out int) {
	t.Helper()
	r := rand.New(rand.NewPCG(1, 1))
	table := profiled(t, withGradients(func(in []*Node) *Node {
		return ConvertDType(Convolve(ConvertDType(in[0], dtype), ConvertDType(in[1], dtype)).PadSame().Done(),
			dtypes.Float32)
	}), random(r, batch, height, width, in), random(r, 3, 3, in, out))
	want := 3
	if in%32 != 0 || max(in, out) > 256 {
		want = 2 // the gradient for the input has too few channels where vectors are long, that for weights too many
	}
	if n := strings.Count(table, "Winograd"); n < want {
		t.Fatalf("%d of %d convolutions by Winograd's algorithm:\n%s", n, want, table)
	}
}

// TestWinogradPrecision: errors on a layer of the network stay within a few of those of plain float32 sums.
func TestWinogradPrecision(t *testing.T) {
	const channels = 64
	r := rand.New(rand.NewPCG(29, 30))
	xs, ws := floats(t, random(r, 4, 28, 28, channels)), floats(t, random(r, 3, 3, channels, channels))
	scale := 1 / math.Sqrt(9*channels)
	errorsOf := func(config string) (largest, usual float64) {
		b, err := New(config)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Finalize()
		exec, err := NewExec(b, func(x, w *Node) *Node { return Convolve(x, MulScalar(w, scale)).PadSame().Done() })
		if err != nil {
			t.Fatal(err)
		}
		defer exec.Finalize()
		out, err := exec.Exec(tensors.FromFlatDataAndDimensions(xs, 4, 28, 28, channels),
			tensors.FromFlatDataAndDimensions(ws, 3, 3, channels, channels))
		if err != nil {
			t.Fatal(err)
		}
		y := floats(t, out[0])
		n := 0
		for i := 0; i < len(y); i += 97 { // the results have a standard deviation of 1
			o, column, row, image := i%channels, i/channels%28, i/channels/28%28, i/channels/28/28
			want := 0.0
			for k := range 9 {
				py, px := row+k/3-1, column+k%3-1
				if py < 0 || py >= 28 || px < 0 || px >= 28 {
					continue
				}
				for c := range channels {
					want += float64(xs[((image*28+py)*28+px)*channels+c]) * float64(float32(scale)*ws[(k*channels+c)*channels+o])
				}
			}
			d := math.Abs(float64(y[i]) - want)
			largest, usual, n = max(largest, d), usual+d*d, n+1
		}
		return largest, math.Sqrt(usual / float64(n))
	}
	largest, usual := errorsOf("")
	plain, plainUsual := errorsOf("without=winograd")
	t.Logf("largest error %.2g (plain sums %.2g), root mean square %.2g (%.2g)", largest, plain, usual, plainUsual)
	if largest > 2e-5 || usual > 2.5e-6 {
		t.Errorf("largest error %g, root mean square %g; expected at most 2e-5 and 2.5e-6", largest, usual)
	}
}

// OpenMP may give fewer threads than it was asked for.
func TestWinogradWithFewerThreads(t *testing.T) {
	if os.Getenv("OMP_THREAD_LIMIT") != "" {
		t.Skip("the number of threads is limited already")
	}
	if os.Getenv("UNNOISE_TEST_EXEC") != "" {
		t.Skip("emulated, it would take minutes: see the processor that is here")
	}
	c := exec.Command(os.Args[0], "-test.run=^TestWinograd$/threads=2")
	c.Env = append(os.Environ(), "OMP_THREAD_LIMIT=1")
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}
