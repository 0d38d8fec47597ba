package nn

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/weights"
)

// Param is one parameter or running statistic: its name and shape as PyTorch keeps it, and its order in the graph.
type Param struct {
	Name  string
	Shape []int   // PyTorch's
	Stat  bool    // not trained: a running statistic, or a parameter that stays as it is
	Rate  float64 // what its learning rate is multiplied by; 0: 1
	order []int   // graph axis i is PyTorch's axis order[i]; nil: the same
	fanIn int     // PyTorch's, for the initial values; 0: normal, ones or zeros
	sigma float64 // of normal initial values
	ones  bool
	pass  bool // initial weights of a product or a 1×1 convolution let the first inputs pass
}

// Normal is a parameter of normally distributed initial values of the deviation sigma.
func Normal(name string, sigma float64, shape ...int) Param {
	return Param{Name: name, Shape: shape, sigma: sigma}
}

// Zeros is the parameter with initial values of zero.
func (p Param) Zeros() Param {
	p.fanIn, p.sigma, p.ones, p.pass = 0, 0, false, false
	return p
}

// Passing is the parameter, the weights of a product or a 1×1 convolution, with initial values that let the first
// inputs pass and the others not.
func (p Param) Passing() Param {
	p = p.Zeros()
	p.pass = true
	return p
}

// Affine lists the scale and the offset of a norm of n channels, which begin as ones and zeros.
func Affine(name string, n int) []Param {
	return []Param{{Name: name + ".weight", Shape: []int{n}, ones: true}, {Name: name + ".bias", Shape: []int{n}}}
}

// Gain is a parameter of n values that begin as ones.
func Gain(name string, n int) Param { return Param{Name: name, Shape: []int{n}, ones: true} }

// The orders of axes: PyTorch's layout to the graph's, which has channels last.
var (
	ConvOrder      = []int{2, 3, 1, 0} // OIHW → HWIO
	LinearOrder    = []int{1, 0}       // OI → IO
	UpOrder        = []int{2, 3, 0, 1} // transposed 4×4: IOHW → HWIO
	UnflattenOrder = []int{0, 2, 3, 1} // transposed 7×7: IOHW → IHWO
)

// Layer lists the weight and the bias of a convolution or product with out outputs.
func Layer(name string, shape, order []int, fanIn, out int) []Param {
	return []Param{{Name: name + ".weight", Shape: shape, order: order, fanIn: fanIn},
		{Name: name + ".bias", Shape: []int{out}, fanIn: fanIn}}
}

// Norm lists what batch normalization of n channels has.
func Norm(name string, n int) []Param {
	return append(Affine(name, n), Param{Name: name + ".running_mean", Shape: []int{n}, Stat: true},
		Param{Name: name + ".running_var", Shape: []int{n}, ones: true, Stat: true})
}

// Block lists what [Layers.Block] has.
func Block(name string, in, out int) []Param {
	return append(Layer(name+".0", []int{out, in, 3, 3}, ConvOrder, 9*in, out), Norm(name+".1", out)...)
}

// Linear lists what [Layers.Linear] has.
func Linear(name string, in, out int) []Param {
	return Layer(name, []int{out, in}, LinearOrder, in, out)
}

// Size returns the number of elements of a shape.
func Size(shape []int) int {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return n
}

// Count returns the number of values of all parameters together.
func Count(params []Param) (n int) {
	for _, p := range params {
		n += Size(p.Shape)
	}
	return n
}

// Shapes returns the parameters' shapes, in PyTorch's layout, by name.
func Shapes(params []Param) map[string][]int {
	shapes := make(map[string][]int, len(params))
	for _, p := range params {
		shapes[p.Name] = p.Shape
	}
	return shapes
}

// Bytes returns how much memory the parameters take, each in its dtype.
func Bytes(params []Param, dtype func(Param) dtypes.DType) int {
	n := 0
	for _, p := range params {
		n += Size(p.Shape) * dtype(p).Size()
	}
	return n
}

// GraphShape is the shape in the graph's order.
func (p Param) GraphShape() []int {
	if p.order == nil {
		return p.Shape
	}
	s := make([]int, len(p.order))
	for i, axis := range p.order {
		s[i] = p.Shape[axis]
	}
	return s
}

// permute reorders values of PyTorch's layout to the graph's, or back.
func (p Param) permute(v []float32, back bool) []float32 {
	if p.order == nil {
		return v
	}
	stride := make([]int, len(p.Shape))
	n := 1
	for i := len(p.Shape) - 1; i >= 0; i-- {
		stride[i] = n
		n *= p.Shape[i]
	}
	out := make([]float32, len(v))
	shape, index := p.GraphShape(), make([]int, len(p.Shape))
	for i := range v {
		at := 0
		for a, axis := range p.order {
			at += index[a] * stride[axis]
		}
		if back {
			out[at] = v[i]
		} else {
			out[i] = v[at]
		}
		for a := len(index) - 1; a >= 0; a-- {
			if index[a]++; index[a] < shape[a] {
				break
			}
			index[a] = 0
		}
	}
	return out
}

// Initial draws the initial values in the graph's layout, by default PyTorch's: uniform in ±1/√fan-in for weights and
// biases (He et al. 2015, arXiv:1502.01852, with a = √5), ones and zeros for norms.
func (p Param) Initial(g *diffusion.Generator) []float32 {
	v := make([]float32, Size(p.Shape))
	switch {
	case p.fanIn > 0:
		g.Uniform(v)
		bound := float32(1 / math.Sqrt(float64(p.fanIn)))
		for i, u := range v {
			// rounded once, as PyTorch's fused multiply-add does
			v[i] = float32(float64(u)*float64(2*bound) - float64(bound))
		}
	case p.sigma > 0:
		g.Normal(v)
		for i := range v {
			v[i] *= float32(p.sigma)
		}
	case p.ones:
		for i := range v {
			v[i] = 1
		}
	case p.pass:
		for i := range p.Shape[0] {
			v[i*p.Shape[1]+i] = 1
		}
	}
	return p.permute(v, false)
}

// Read takes a parameter out of a file, where it stands under prefix + name in PyTorch's layout.
func (p Param) Read(f *weights.File, prefix string) ([]float32, error) {
	t, err := p.find(f, prefix)
	if err != nil {
		return nil, err
	}
	v, err := t.Float32()
	if err != nil {
		return nil, fmt.Errorf("%s: tensor %q: %w", f.Path(), prefix+p.Name, err)
	}
	return p.permute(v, false), nil
}

// find returns the file's tensor for p, which has p's shape.
func (p Param) find(f *weights.File, prefix string) (weights.Tensor, error) {
	t, err := f.Tensor(prefix + p.Name)
	if err == nil && !slices.Equal(t.Shape, p.Shape) {
		err = fmt.Errorf("%s: tensor %q has shape %v; this network wants %v", f.Path(), prefix+p.Name, t.Shape, p.Shape)
	}
	return t, err
}

// Tensor is the parameter's values in PyTorch's layout, for a file.
func (p Param) Tensor(v []float32) weights.Tensor {
	return weights.FromFloat32(p.Shape, p.permute(v, true))
}

// Buffers puts the values that value gives for each parameter, in the graph's layout, on the backend.
func Buffers(b compute.Backend, params []Param, value func(Param) ([]float32, error)) ([]compute.Buffer, error) {
	var all []compute.Buffer
	for _, p := range params {
		v, err := value(p)
		if err == nil {
			var buffer compute.Buffer
			if buffer, err = Buffer(b, v, p.GraphShape()...); err == nil {
				all = append(all, Freeze(buffer))
				continue
			}
		}
		Finalize(all)
		return nil, err
	}
	return all, nil
}

// Tensors returns the values of parameters under prefix + PyTorch's names and in its layouts.
func Tensors(params []Param, values []compute.Buffer, prefix string) (map[string]weights.Tensor, error) {
	t := make(map[string]weights.Tensor, len(params))
	for i, p := range params {
		v := make([]float32, Size(p.Shape))
		if err := values[i].ToFlatData(v); err != nil {
			return nil, err
		}
		t[prefix+p.Name] = p.Tensor(v)
	}
	return t, nil
}

// FromTensors returns the values of parameters, in the graph's layout, from tensors under PyTorch's names and in its
// layouts, which must be these parameters and no others, but for PyTorch's counters of batches. Errors name the model.
func FromTensors(model string, params []Param, tensors map[string]weights.Tensor) (func(Param) ([]float32, error),
	error) {
	known := map[string]bool{}
	for _, p := range params {
		known[p.Name] = true
		if t, ok := tensors[p.Name]; !ok || !slices.Equal(t.Shape, p.Shape) {
			found := "none"
			if ok {
				found = fmt.Sprint(t.Shape)
			}
			return nil, fmt.Errorf("%s does not fit the network: expected a tensor %q of shape %v, found %s", model,
				p.Name, p.Shape, found)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		if !known[name] && !strings.HasSuffix(name, ".num_batches_tracked") {
			return nil, fmt.Errorf("%s does not fit the network, which has no place for the tensor %q", model, name)
		}
	}
	return func(p Param) ([]float32, error) {
		v, err := tensors[p.Name].Float32()
		if err != nil {
			return nil, fmt.Errorf("%s: tensor %q: %w", model, p.Name, err)
		}
		return p.permute(v, false), nil
	}, nil
}
