package onednn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// randomConv is a convolution with everything that ConvGeneral knows.
type randomConv struct {
	input, kernel                            []int
	axes                                     compute.ConvolveAxesConfig
	strides, inputDilations, kernelDilations []int
	paddings                                 [][2]int
	channelGroups, batchGroups               int
	reverse                                  bool
	dtype                                    dtypes.DType
}

func newRandomConv(r *rand.Rand) randomConv {
	nd := 1 + r.IntN(3)
	rank := nd + 2
	c := randomConv{channelGroups: 1, batchGroups: 1, reverse: r.IntN(3) == 0,
		dtype: []dtypes.DType{dtypes.Float32, dtypes.Float32, dtypes.BFloat16, dtypes.Float16}[r.IntN(4)]}
	layout := func() []int {
		p := r.Perm(rank)
		if r.IntN(2) == 0 { // channels last
			for i := range p {
				p[i] = i
			}
			p = append([]int{0, rank - 1}, p[1:rank-1]...)
		}
		return p
	}
	in, k, out := layout(), layout(), layout()
	c.axes = compute.ConvolveAxesConfig{
		InputBatch: in[0], InputChannels: in[1], InputSpatial: in[2:],
		KernelInputChannels: k[0], KernelOutputChannels: k[1], KernelSpatial: k[2:],
		OutputBatch: out[0], OutputChannels: out[1], OutputSpatial: out[2:],
	}
	batch := 1 + r.IntN(5)
	channels := func() int { return []int{1, 2, 3, 7, 16, 33, 70}[r.IntN(7)] }
	inChannels, outChannels := channels(), channels()
	switch r.IntN(6) {
	case 0:
		c.channelGroups = 2 + r.IntN(3)
	case 1:
		c.batchGroups = 2 + r.IntN(2)
	}
	c.input, c.kernel = make([]int, rank), make([]int, rank)
	c.input[in[0]], c.input[in[1]] = batch*c.batchGroups, inChannels*c.channelGroups
	c.kernel[k[0]], c.kernel[k[1]] = inChannels, outChannels*c.channelGroups*c.batchGroups
	low := func(n int) int { return 1 + max(0, r.IntN(2*n)-n) } // often 1
	for i := range nd {
		size, window := 3+r.IntN(7), 1+r.IntN(4)
		stride, spread, dilation := low(3), low(3), low(3)
		pad := [2]int{r.IntN(4) - 1, r.IntN(4) - 1}
		for (size-1)*spread+1+pad[0]+pad[1] < (window-1)*dilation+1 {
			pad[1]++
		}
		c.input[in[2+i]], c.kernel[k[2+i]] = size, window
		c.strides, c.inputDilations, c.kernelDilations = append(c.strides, stride), append(c.inputDilations, spread),
			append(c.kernelDilations, dilation)
		c.paddings = append(c.paddings, pad)
	}
	return c
}

// want computes the convolution from its definition, in float64. (GoMLX's Go backend mistakes the axes of some of
// these.)
func (c randomConv) want(out shapes.Shape, x, w []float32) []float64 {
	nd := len(c.strides)
	xStride, wStride := graph.RowMajor(shapes.Make(dtypes.Float32, c.input...)),
		graph.RowMajor(shapes.Make(dtypes.Float32, c.kernel...))
	channels := c.kernel[c.axes.KernelInputChannels]
	perGroup := c.kernel[c.axes.KernelOutputChannels] / (c.channelGroups * c.batchGroups)
	window := make([]int, nd)
	for i, a := range c.axes.KernelSpatial {
		window[i] = c.kernel[a]
	}
	y := make([]float64, out.Size())
	for flat, at := range out.Iter() {
		o := at[c.axes.OutputChannels]
		group := o / perGroup
		xBase, wBase := at[c.axes.OutputBatch]*xStride[c.axes.InputBatch], o*wStride[c.axes.KernelOutputChannels]
		if c.batchGroups > 1 {
			xBase += group * out.Dimensions[c.axes.OutputBatch] * xStride[c.axes.InputBatch]
		} else {
			xBase += group * channels * xStride[c.axes.InputChannels]
		}
	taps:
		for _, tap := range shapes.Make(dtypes.Float32, window...).Iter() {
			xAt, wAt := xBase, wBase
			for i, k := range tap {
				p := at[c.axes.OutputSpatial[i]]*c.strides[i] + k*c.kernelDilations[i] - c.paddings[i][0]
				if p < 0 || p%c.inputDilations[i] != 0 || p/c.inputDilations[i] >= c.input[c.axes.InputSpatial[i]] {
					continue taps
				}
				if c.reverse {
					k = window[i] - 1 - k
				}
				xAt += p / c.inputDilations[i] * xStride[c.axes.InputSpatial[i]]
				wAt += k * wStride[c.axes.KernelSpatial[i]]
			}
			for i := range channels {
				y[flat] += float64(x[xAt+i*xStride[c.axes.InputChannels]]) * float64(
					w[wAt+i*wStride[c.axes.KernelInputChannels]])
			}
		}
	}
	return y
}

// run computes the convolution on a backend.
func (c randomConv) run(t *testing.T, b compute.Backend, x, w []float32) ([]float32, shapes.Shape) {
	t.Helper()
	value := func(v compute.Value, err error) compute.Value {
		t.Helper()
		if err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		return v
	}
	builder := b.Builder("convolution")
	f := builder.Main()
	in := value(f.ConvertDType(value(f.Parameter("x", shapes.Make(dtypes.Float32, c.input...), nil)), c.dtype))
	kernel := value(f.ConvertDType(value(f.Parameter("w", shapes.Make(dtypes.Float32, c.kernel...), nil)), c.dtype))
	if c.reverse {
		kernel = value(f.Reverse(kernel, c.axes.KernelSpatial...))
	}
	y := value(f.ConvGeneral(in, kernel, c.axes, c.strides, c.paddings, c.inputDilations, c.kernelDilations,
		c.channelGroups, c.batchGroups))
	if err := f.Return([]compute.Value{value(f.ConvertDType(y, dtypes.Float32))}, nil); err != nil {
		t.Fatal(err)
	}
	exec, err := builder.Compile()
	if err != nil {
		t.Fatalf("%+v: %v", c, err)
	}
	defer exec.Finalize()
	native(t, exec)
	var buffers []compute.Buffer
	for i, v := range [][]float32{x, w} {
		buffer, err := b.BufferFromFlatData(0, v, shapes.Make(dtypes.Float32, [][]int{c.input, c.kernel}[i]...))
		if err != nil {
			t.Fatal(err)
		}
		buffers = append(buffers, buffer)
	}
	out, err := exec.Execute(buffers, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	result := make([]float32, exec.Outputs()[0].Size())
	if err := out[0].ToFlatData(result); err != nil {
		t.Fatal(err)
	}
	return result, exec.Outputs()[0]
}

// native checks that of a computation nothing but conversions of scalars runs on GoMLX's Go backend.
func native(t *testing.T, exec compute.Executable) {
	t.Helper()
	for _, s := range exec.(*executable).steps {
		if s.fallback != nil && s.fallback.node.Op != compute.OpTypeConvertDType {
			t.Errorf("%s went to the fallback", s.fallback.node.Op)
		}
	}
}

// TestRandomConvolutions compares convolutions of all kinds with their definition: 1 to 3 spatial axes, axes in any
// order, strides, dilations, paddings, groups, and windows that are reversed, as for gradients.
func TestRandomConvolutions(t *testing.T) {
	b, _ := backends(t)
	r := rand.New(rand.NewPCG(11, 12))
	for range 100 {
		c := newRandomConv(r)
		// Small multiples of 1/4 are exact in every element type.
		quarters := func(dims []int) []float32 {
			v := make([]float32, shapes.Make(dtypes.Float32, dims...).Size())
			for i := range v {
				v[i] = float32(r.IntN(17)-8) / 4
			}
			return v
		}
		x, w := quarters(c.input), quarters(c.kernel)
		got, shape := c.run(t, b, x, w)
		tolerance := map[dtypes.DType]float64{dtypes.Float32: 1e-6, dtypes.BFloat16: 4e-3,
			dtypes.Float16: 5e-4}[c.dtype]
		for i, want := range c.want(shape, x, w) {
			if d := math.Abs(float64(got[i]) - want); !(d <= tolerance*(1e-3+math.Abs(want))) {
				t.Fatalf("%+v element %d: got %g, want %g", c, i, got[i], want)
			}
		}
	}
}

// Where the input is spread wide, few of the phases have pixels.
func TestWideSpread(t *testing.T) {
	b, _ := backends(t)
	axes := compute.ConvolveAxesConfig{InputBatch: 0, InputChannels: 3, InputSpatial: []int{1, 2},
		KernelInputChannels: 2, KernelOutputChannels: 3, KernelSpatial: []int{0, 1},
		OutputBatch: 0, OutputChannels: 3, OutputSpatial: []int{1, 2}}
	for _, c := range []randomConv{
		{input: []int{1, 1, 1, 8}, kernel: []int{1, 1, 8, 3}, inputDilations: []int{1 << 16, 1 << 16},
			paddings: [][2]int{{0, 0}, {0, 0}}},
		{input: []int{1, 2, 1, 8}, kernel: []int{1, 2, 8, 3}, inputDilations: []int{3, 100},
			paddings: [][2]int{{0, 1}, {1, 1}}},
	} {
		c.axes, c.strides, c.kernelDilations, c.channelGroups, c.batchGroups, c.dtype = axes, []int{1, 1}, []int{1, 1},
			1, 1, dtypes.Float32
		x, w := make([]float32, shapes.Make(dtypes.Float32, c.input...).Size()),
			make([]float32, shapes.Make(dtypes.Float32, c.kernel...).Size())
		for i := range x {
			x[i] = float32(i%5 + 1)
		}
		for i := range w {
			w[i] = float32(i%7 - 2)
		}
		got, shape := c.run(t, b, x, w)
		for i, want := range c.want(shape, x, w) {
			if float64(got[i]) != want {
				t.Fatalf("%+v element %d: got %g, want %g", c, i, got[i], want)
			}
		}
	}
}

// TestConvolutionGradients compares gradients of convolutions with GoMLX's Go backend, in all element types.
func TestConvolutionGradients(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	for i := range 24 {
		nd, groups := 1+r.IntN(3), 1+max(0, r.IntN(4)-2)
		in, out := []int{1, 3, 16, 40}[r.IntN(4)], []int{1, 5, 16, 33}[r.IntN(4)]
		x, w := []int{1 + r.IntN(4)}, []int{}
		stride, dilation := 1+r.IntN(2), 1
		if stride == 1 {
			dilation = 1 + r.IntN(2)
		}
		var pads [][2]int
		for range nd {
			size, window := 5+r.IntN(4), 1+r.IntN(3)
			x, w = append(x, size), append(w, window)
			extent := (window-1)*dilation + 1 // GoMLX differentiates no wider padding
			pads = append(pads, [2]int{r.IntN((extent-1)/2 + 1), r.IntN(extent/2 + 1)})
		}
		x, w = append(x, in*groups), append(w, in, out*groups)
		dtype := []dtypes.DType{dtypes.Float32, dtypes.BFloat16, dtypes.Float16}[i%3]
		tolerance := []float64{2e-5, 1e-2, 1e-3}[i%3]
		name := fmt.Sprintf("%s %v %v stride %d dilation %d padding %v groups %d", dtype, x, w, stride, dilation, pads,
			groups)
		agree(t, name, tolerance, withGradients(func(in []*Node) *Node {
			narrow := func(x *Node) *Node {
				x = ConvertDType(x, dtype)
				if x.Graph().Backend().Name() != BackendName {
					x = ConvertDType(x, dtypes.Float32)
				}
				return x
			}
			y := Convolve(narrow(in[0]),
				narrow(in[1])).Strides(stride).Dilations(dilation).PaddingPerDim(pads).ChannelGroupCount(groups).Done()
			bias := ExpandLeftToRank(narrow(in[2]), nd+2)
			if dtype != dtypes.Float32 { // its gradient is a sum of values that nearly cancel
				bias = StopGradient(bias)
			}
			return ConvertDType(Add(y, bias), dtypes.Float32)
		}), random(r, x...), random(r, w...), random(r, out*groups))
	}
}
