package onednn_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/onednn"
)

// How a random graph is built.
type mode int

const (
	asGiven   mode = iota
	primitive      // batch normalization from primitives: GoMLX's Go backend has none of its own
	precise        // primitive, and all floats are Float64
	perturbed      // precise, and every result that rounds is disturbed by as much
)

const batchNormEpsilon = 0.125

// try turns a panic into an error.
func try(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	f()
	return nil
}

// values are a leaf's.
func (t *term) values() []float64 {
	r := rand.New(rand.NewPCG(uint64(t.seed), 0x76616c))
	v := make([]float64, t.size())
	step := math.Ldexp(1, -t.frac)
	lo, hi := math.Ceil(t.lo/step)*step, math.Floor(t.hi/step)*step
	for i := range v {
		v[i] = min(max(math.Round((t.lo+r.Float64()*(t.hi-t.lo))/step)*step, lo), hi)
	}
	return v
}

// flatOf is a slice of the dtype's Go type.
func flatOf(dtype dtypes.DType, v []float64) any {
	s := reflect.MakeSlice(reflect.SliceOf(dtype.GoType()), len(v), len(v))
	switch flat := s.Interface().(type) {
	case []bfloat16.BFloat16:
		for i, x := range v {
			flat[i] = bfloat16.FromFloat32(float32(x))
		}
	case []float16.Float16:
		for i, x := range v {
			flat[i] = float16.FromFloat32(float32(x))
		}
	case []bool:
		for i, x := range v {
			flat[i] = x != 0
		}
	default:
		for i, x := range v {
			s.Index(i).Set(reflect.ValueOf(x).Convert(dtype.GoType()))
		}
	}
	return s.Interface()
}

// float64s is the opposite of flatOf.
func float64s(flat any) []float64 {
	var v []float64
	switch flat := flat.(type) {
	case []float32:
		for _, x := range flat {
			v = append(v, float64(x))
		}
	case []float64:
		v = slices.Clone(flat)
	case []bfloat16.BFloat16:
		for _, x := range flat {
			v = append(v, x.Float64())
		}
	case []float16.Float16:
		for _, x := range flat {
			v = append(v, float64(x.Float32()))
		}
	case []int32:
		for _, x := range flat {
			v = append(v, float64(x))
		}
	case []bool:
		for _, x := range flat {
			if x {
				v = append(v, 1)
			} else {
				v = append(v, 0)
			}
		}
	default:
		panic(fmt.Sprintf("a %T", flat))
	}
	return v
}

func (m mode) dtype(d dtypes.DType) dtypes.DType {
	if m >= precise && d.IsFloat() {
		return dtypes.Float64
	}
	return d
}

// build makes a GoMLX graph of a random one and returns its outputs: those of the random graph, then the gradients.
func (g *randomGraph) build(b compute.Backend, m mode) (*Graph, []*Node) {
	gg := NewGraph(b, fmt.Sprintf("seed %d", g.seed))
	nodes := make([]*Node, len(g.terms))
	var wanted []*Node
	for i := range g.terms {
		t := &g.terms[i]
		dtype := m.dtype(t.dtype)
		switch t.op {
		case "Parameter":
			nodes[i] = Parameter(gg, fmt.Sprintf("x%d", i), shapes.Make(dtype, t.dims...))
			if t.float() {
				wanted = append(wanted, nodes[i])
			}
			continue
		case "Constant":
			nodes[i] = constant(gg, dtype, t.values(), t.dims)
			continue
		}
		in := make([]*Node, len(t.in))
		for k, j := range t.in {
			in[k] = nodes[j]
			if g.gradients && withoutGradient[t.op] {
				in[k] = StopGradient(in[k])
			}
		}
		if m == perturbed && sums[t.op] && t.float() && !t.exact {
			for k, x := range in { // sums round with every element
				amplitude := 2 * math.Sqrt(float64(x.Shape().Size())) * math.Ldexp(1, -max(24, t.digits()))
				in[k] = Mul(x, disturbance(gg, 1000*(k+1)+i, amplitude, x.Shape().Dimensions))
			}
		}
		nodes[i] = t.build(in, m)
		t.dims = slices.Clone(nodes[i].Shape().Dimensions) // as the shrinking of leaves has left it
		if t.size() == 0 {
			panic("an array without elements") // the Go backend has trouble with those
		}
		if m == perturbed && t.float() && !t.exact {
			y, noise := nodes[i], disturbance(gg, i, math.Ldexp(2, -t.digits()), t.dims)
			nodes[i] = Mul(y, noise)
			switch t.op { // two differences that cancel: 1 + erf, and x − mean
			case "Gelu":
				nodes[i] = Add(y, Mul(in[0], AddScalar(noise, -1)))
			case "BatchNormTraining", "BatchNormInference":
				scale := &g.terms[t.in[1]]
				nodes[i] = Add(y, Mul(MulScalar(in[0], max(-scale.lo, scale.hi)/math.Sqrt(batchNormEpsilon)),
					AddScalar(noise, -1)))
			}
		}
	}
	var outputs []*Node
	for _, o := range g.outputs {
		outputs = append(outputs, nodes[o])
	}
	if g.gradients && len(wanted) > 0 {
		dtype := m.dtype(dtypes.Float32)
		loss := ScalarZero(gg, dtype)
		for _, o := range g.outputs {
			if t := &g.terms[o]; t.float() && !t.leaf() {
				weights := make([]float64, t.size())
				for k := range weights {
					weights[k] = math.Ldexp(math.Round(math.Ldexp(math.Sin(float64(k)+1), 6)), -6)
				}
				loss = Add(loss, ReduceAllSum(Mul(ConvertDType(nodes[o], dtype), constant(gg, dtype, weights, t.dims))))
			}
		}
		if loss.Type() != NodeTypeConstant {
			outputs = append(outputs, Gradient(loss, wanted...)...)
		}
	}
	return gg, outputs
}

// sums are the operations that add up many products or elements.
var sums = map[string]bool{
	"Einsum": true, "Conv": true, "ReduceSum": true, "ReduceMean": true, "BatchNormTraining": true,
	"BatchNormInference": true, "MeanPool": true,
}

// disturbance is an array of 1 ± amplitude, with more of them above.
func disturbance(g *Graph, seed int, amplitude float64, dims []int) *Node {
	r := rand.New(rand.NewPCG(uint64(seed), 0x6e6f69))
	v := make([]float64, product(dims))
	for i := range v {
		v[i] = 1 + []float64{-1, 1, 1}[r.IntN(3)]*amplitude // the bias is what sums of equal numbers have
	}
	return constant(g, dtypes.Float64, v, dims)
}

func constant(g *Graph, dtype dtypes.DType, v []float64, dims []int) *Node {
	return Reshape(Const(g, flatOf(dtype, v)), dims...)
}

// withoutGradient are the operations for which there is no gradient in GoMLX or in its Go backend.
var withoutGradient = map[string]bool{
	"Rsqrt": true, "Expm1": true, "Floor": true, "Ceil": true, "Round": true, "Sign": true, "Reverse": true,
	"Pad": true, "ReduceMultiply": true,
	"ArgMax": true, "ArgMin": true, "BatchNormInference": true, "MaxPool": true, // GoMLX has it, its Go backend has not
}

var unaryBuilders = map[string]func(*Node) *Node{
	"Exp": Exp, "Expm1": Expm1, "Log": Log, "Log1p": Log1p, "Sqrt": Sqrt, "Rsqrt": Rsqrt, "Tanh": Tanh, "Erf": Erf,
	"Sigmoid": Sigmoid, "Sin": Sin, "Cos": Cos,
	"Gelu": gelu, "Neg": Neg, "Abs": Abs, "Square": Square, "Floor": Floor, "Ceil": Ceil, "Round": Round, "Sign": Sign,
	"LogicalNot": LogicalNot,
}

func gelu(x *Node) *Node {
	y, _ := InternalFusedOpCaller(func() *Node { return BackendFusedGelu(x, true) }, func() *Node {
		return Mul(MulScalar(x, 0.5), AddScalar(Erf(MulScalar(x, math.Sqrt(0.5))), 1))
	}, true)
	return y
}

var binaryBuilders = map[string]func(x, y *Node) *Node{
	"Add": Add, "Sub": Sub, "Mul": Mul, "Div": Div, "Pow": Pow, "Max": Max, "Min": Min,
	"Equal": Equal, "NotEqual": NotEqual, "LessThan": LessThan, "LessOrEqual": LessOrEqual, "GreaterThan": GreaterThan,
	"GreaterOrEqual": GreaterOrEqual,
	"LogicalAnd":     LogicalAnd, "LogicalOr": LogicalOr, "LogicalXor": LogicalXor,
}

var reduceBuilders = map[string]func(x *Node, axes ...int) *Node{
	"ReduceSum": ReduceSum, "ReduceMean": ReduceMean, "ReduceMax": ReduceMax, "ReduceMin": ReduceMin,
	"ReduceMultiply": ReduceMultiply,
	"LogSoftmax":     LogSoftmax, "Reverse": Reverse,
}

func (t *term) build(in []*Node, m mode) *Node {
	x := in[0]
	if f := unaryBuilders[t.op]; f != nil {
		return f(x)
	}
	if f := binaryBuilders[t.op]; f != nil {
		return f(x, in[1])
	}
	if f := reduceBuilders[t.op]; f != nil {
		return f(x, t.args...)
	}
	switch t.op {
	case "Softmax":
		if m == asGiven {
			return Softmax(x, t.args...)
		}
		// GoMLX's own wants Float32 or Float64 of the Go backend
		e := Exp(Sub(x, StopGradient(ReduceAndKeep(x, ReduceMax, t.args...))))
		return Div(e, ReduceAndKeep(e, ReduceSum, t.args...))
	case "Where":
		return Where(x, in[1], in[2])
	case "Convert":
		return ConvertDType(x, m.dtype(t.dtype))
	case "Transpose":
		return TransposeAllAxes(x, t.args...)
	case "Reshape":
		return Reshape(x, t.args...)
	case "Slice":
		var axes []SliceAxisSpec
		for a := range x.Rank() {
			axes = append(axes, AxisRange(t.args[3*a], t.args[3*a+1]).Stride(t.args[3*a+2]))
		}
		return Slice(x, axes...)
	case "Concatenate":
		return Concatenate(in, t.args[0])
	case "Pad":
		fill := ScalarZero(x.Graph(), x.DType())
		if len(in) > 1 {
			fill = in[1]
		}
		var axes []compute.PadAxis
		for a := range x.Rank() {
			axes = append(axes, compute.PadAxis{Start: t.args[3*a], End: t.args[3*a+1], Interior: t.args[3*a+2]})
		}
		return Pad(x, fill, axes...)
	case "Spread":
		rank := len(t.args) - x.Rank()
		var added []int
		for a := range rank {
			if !slices.Contains(t.args[rank:], a) {
				added = append(added, a)
			}
		}
		return ExpandAndBroadcast(x, t.args[:rank], added)
	case "Einsum":
		var equation strings.Builder
		for i, k, ends := 0, 0, []string{",", "->", ""}; i < len(t.args); i++ {
			if t.args[i] >= 0 {
				equation.WriteByte(byte('a' + t.args[i]))
				continue
			}
			equation.WriteString(ends[k])
			k++
		}
		return Einsum(equation.String(), x, in[1])
	case "Conv":
		n := x.Rank() - 2
		var strides, dilations, inputDilations []int
		var paddings [][2]int
		for k := range n {
			a := t.args[convPerAxis+k*axisArgs:]
			strides, dilations, inputDilations = append(strides, a[axisStride]), append(dilations, a[axisDilation]),
				append(inputDilations, a[axisInputDilation])
			paddings = append(paddings, [2]int{a[axisPadLo], a[axisPadHi]})
		}
		a := t.args[convPerAxis+n*axisArgs:]
		inAxes, kernelAxes, outAxes := a[:n+2], a[n+2:2*n+4], a[2*n+4:]
		c := Convolve(x, in[1]).AxesConfig(ConvolveAxesConfig{InputBatch: inAxes[0], InputChannels: inAxes[1],
			InputSpatial:         inAxes[2:],
			KernelOutputChannels: kernelAxes[0], KernelInputChannels: kernelAxes[1], KernelSpatial: kernelAxes[2:],
			OutputBatch: outAxes[0], OutputChannels: outAxes[1], OutputSpatial: outAxes[2:]}).
			StridePerAxis(strides...).DilationPerAxis(dilations...).PaddingPerDim(paddings).
			ChannelGroupCount(t.args[convGroups]).BatchGroupCount(t.args[convBatchGroups])
		if t.args[convSame] == 1 {
			c.PadSame()
		}
		if slices.Max(inputDilations) > 1 {
			c.InputDilationPerAxis(inputDilations...)
		}
		return c.Done()
	case "BatchNormTraining":
		if m == asGiven {
			y, _, _ := InternalBatchNormForTraining(x, in[1], in[2], batchNormEpsilon, t.args[0])
			return y
		}
		axes := otherAxes(x.Rank(), t.args[0])
		mean := ReduceMean(x, axes...)
		centred := Sub(x, along(mean, x, t.args[0]))
		return normalized(x, in[1], in[2], mean, ReduceMean(Square(centred), axes...), t.args[0])
	case "BatchNormInference":
		if m == asGiven {
			return InternalBatchNormForInference(x, in[1], in[2], in[3], in[4], batchNormEpsilon, t.args[0])
		}
		return normalized(x, in[1], in[2], in[3], in[4], t.args[0])
	case "MaxPool":
		return MaxPool(x).Window(2).Done()
	case "MeanPool":
		return MeanPool(x).Window(2).Done()
	case "ArgMax":
		return ArgMax(x, t.args[0])
	case "ArgMin":
		return ArgMin(x, t.args[0])
	case "Gather":
		return Gather(x, in[1])
	}
	panic("no such operation: " + t.op)
}

func otherAxes(rank, axis int) []int {
	var axes []int
	for a := range rank {
		if a != axis {
			axes = append(axes, a)
		}
	}
	return axes
}

// along spreads a vector over x's axis.
func along(v, x *Node, axis int) *Node {
	return ExpandAndBroadcast(v, x.Shape().Dimensions, otherAxes(x.Rank(), axis))
}

func normalized(x, scale, offset, mean, variance *Node, axis int) *Node {
	deviation := Sqrt(AddScalar(variance, batchNormEpsilon))
	return Add(Mul(Div(Sub(x, along(mean, x, axis)), along(deviation, x, axis)), along(scale, x, axis)),
		along(offset, x, axis))
}

// computation is a compiled graph with its inputs.
type computation struct {
	backend compute.Backend
	graph   *Graph
	inputs  []compute.Buffer
	leaves  []any
	shapes  []shapes.Shape
}

func (g *randomGraph) compile(b compute.Backend, m mode) (c *computation, err error) {
	c = &computation{backend: b}
	err = try(func() {
		graph, outputs := g.build(b, m)
		c.graph = graph
		if err := graph.Compile(outputs...); err != nil {
			panic(err)
		}
	})
	if err != nil {
		c.finalize()
		return nil, err
	}
	var leaves []any
	for i := range g.terms {
		if t := &g.terms[i]; t.op == "Parameter" {
			dtype := m.dtype(t.dtype)
			leaves = append(leaves, flatOf(dtype, t.values()))
			c.shapes = append(c.shapes, shapes.Make(dtype, t.dims...))
		}
	}
	if err := c.feed(leaves); err != nil {
		c.finalize()
		return nil, err
	}
	return c, nil
}

// feed makes new inputs.
func (c *computation) feed(leaves []any) error {
	for _, b := range c.inputs {
		_ = b.Finalize()
	}
	c.inputs, c.leaves = nil, leaves
	for i, flat := range leaves {
		buffer, err := c.backend.BufferFromFlatData(0, flat, c.shapes[i])
		if err != nil {
			return err
		}
		c.inputs = append(c.inputs, buffer)
	}
	return nil
}

func (c *computation) freeze() {
	for _, b := range c.inputs {
		b.(*onednn.Buffer).Freeze()
	}
}

func zeros(leaves []any) []any {
	z := make([]any, len(leaves))
	for i, flat := range leaves {
		n := reflect.ValueOf(flat).Len()
		z[i] = reflect.MakeSlice(reflect.TypeOf(flat), n, n).Interface()
	}
	return z
}

func (c *computation) run(donate bool) (outputs [][]float64, err error) {
	flags := make([]bool, len(c.inputs))
	for i := range flags {
		flags[i] = donate
	}
	err = try(func() {
		for _, t := range c.graph.RunWithBuffers(c.inputs, flags, 0) {
			var v []float64
			t.MustConstFlatData(func(flat any) { v = float64s(flat) })
			outputs = append(outputs, v)
			t.MustFinalizeAll()
		}
	})
	if donate {
		c.inputs = nil
	}
	return outputs, err
}

func (c *computation) finalize() {
	for _, b := range c.inputs {
		_ = b.Finalize()
	}
	if c.graph != nil {
		c.graph.Finalize()
	}
}
