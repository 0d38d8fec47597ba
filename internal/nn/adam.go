package nn

import (
	"maps"
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/weights"
)

// Adam's constants (Kingma & Ba 2015, arXiv:1412.6980), as PyTorch has them by default.
const (
	adamBeta1   = 0.9
	adamBeta2   = 0.999
	adamEpsilon = 1e-8
)

// Adam trains the parameters of a network: Update is its part of the graph of a step, Step executes that graph, with the
// parameters, the moments and the running statistics donated from step to step. Not safe for concurrent use.
type Adam struct {
	AdamOptions
	backend       compute.Backend
	params        []Param
	trained       []Param          // those that are no running statistics
	first, second []compute.Buffer // moments, in the order of trained
	mean          []compute.Buffer // running means of the parameters, in the order of trained
	steps         int
}

// AdamOptions change what Adam does; the zero value is plain Adam.
type AdamOptions struct {
	Clip    float64 // the largest norm of all gradients together, to which they are scaled down (Pascanu et al. 2013, arXiv:1211.5063); 0: none
	Decay   float64 // of the weights with two and more axes, by as much times the learning rate (Loshchilov & Hutter 2019, arXiv:1711.05101)
	Average float64 // keeps a running mean of the parameters, so much of which stays at each step; 0: none
}

// NewAdam makes moments of zero.
func NewAdam(b compute.Backend, params []Param) (*Adam, error) {
	return NewAdamWith(b, params, nil, AdamOptions{})
}

// NewAdamWith makes moments of zero, and running means that begin as the values, which are in the order of params.
func NewAdamWith(b compute.Backend, params []Param, values []compute.Buffer, o AdamOptions) (*Adam, error) {
	a := &Adam{AdamOptions: o, backend: b, params: params}
	for _, p := range params {
		if !p.Stat {
			a.trained = append(a.trained, p)
		}
	}
	for _, list := range []*[]compute.Buffer{&a.first, &a.second} {
		for _, p := range a.trained {
			zeros, err := Buffer(b, make([]float32, Size(p.Shape)), p.GraphShape()...)
			if err != nil {
				a.Close()
				return nil, err
			}
			*list = append(*list, zeros)
		}
	}
	for i, p := range params {
		if p.Stat || o.Average == 0 {
			continue
		}
		v := make([]float32, Size(p.Shape))
		err := values[i].ToFlatData(v)
		if err == nil {
			var mean compute.Buffer
			mean, err = Buffer(b, v, p.GraphShape()...)
			a.mean = append(a.mean, mean)
		}
		if err != nil {
			a.Close()
			return nil, err
		}
	}
	return a, nil
}

// Close releases the moments.
func (a *Adam) Close() {
	Finalize(a.first)
	Finalize(a.second)
	Finalize(a.mean)
	a.first, a.second, a.mean = nil, nil, nil
}

// Averages returns the running means, in the order of Trained.
func (a *Adam) Averages() []compute.Buffer { return a.mean }

// Steps returns the number of steps made.
func (a *Adam) Steps() int { return a.steps }

// Trained lists the parameters that are no running statistics.
func (a *Adam) Trained() []Param { return a.trained }

// Wanted returns the nodes of the trained parameters, to ask for gradients at.
func (a *Adam) Wanted(l *Layers) []*Node {
	var all []*Node
	for _, p := range a.trained {
		all = append(all, l.Params[p.Name])
	}
	return all
}

// Update makes the step's parameters for the moments, the means and the rates, and returns what the step's graph must begin its
// results with: the new parameters, running statistics, moments and means. The gradients are in the order of Wanted.
func (a *Adam) Update(g *Graph, l *Layers, gradients []*Node) []*Node {
	moment := func(which string) (all []*Node) {
		for _, p := range a.trained {
			all = append(all, Parameter(g, which+p.Name, shapes.Make(dtypes.Float32, p.GraphShape()...)))
		}
		return all
	}
	first, second := moment("first "), moment("second ")
	// rate = lr/(1 − β₁ᵏ), correction = 1/√(1 − β₂ᵏ) at step k.
	rate, correction := Parameter(g, "rate", shapes.Make(dtypes.Float32)), Parameter(g, "correction", shapes.Make(dtypes.Float32))
	var mean []*Node
	var kept, decay *Node
	if a.Average > 0 {
		mean, kept = moment("mean "), Parameter(g, "kept", shapes.Make(dtypes.Float32))
	}
	if a.Decay > 0 {
		decay = Parameter(g, "decay", shapes.Make(dtypes.Float32))
	}
	if a.Clip > 0 {
		shrink := MinScalar(Div(Scalar(g, dtypes.Float32, a.Clip), AddScalar(Norm2(gradients), 1e-6)), 1)
		clipped := make([]*Node, len(gradients))
		for j, gradient := range gradients {
			clipped[j] = Mul(gradient, shrink)
		}
		gradients = clipped
	}
	updated := map[string]*Node{}
	for j, gradient := range gradients {
		name := a.trained[j].Name
		first[j] = Add(MulScalar(first[j], adamBeta1), MulScalar(gradient, 1-adamBeta1))
		second[j] = Add(MulScalar(second[j], adamBeta2), MulScalar(Square(gradient), 1-adamBeta2))
		denominator := AddScalar(Mul(Sqrt(second[j]), correction), adamEpsilon)
		old := l.Params[name]
		if a.Decay > 0 && len(a.trained[j].Shape) > 1 {
			old = Sub(old, Mul(old, decay))
		}
		updated[name] = Sub(old, Div(Mul(first[j], rate), denominator))
		if a.Average > 0 {
			mean[j] = Add(Mul(mean[j], kept), Mul(updated[name], OneMinus(kept)))
		}
	}
	var out []*Node
	for _, p := range a.params {
		if p.Stat {
			out = append(out, l.Stats[p.Name])
		} else {
			out = append(out, updated[p.Name])
		}
	}
	return append(append(append(out, first...), second...), mean...)
}

// Norm2 is the Euclidean norm of all values of nodes together.
func Norm2(nodes []*Node) *Node {
	var sum *Node
	for _, n := range nodes {
		s := ReduceAllSum(Square(n))
		if sum == nil {
			sum = s
		} else {
			sum = Add(sum, s)
		}
	}
	return Sqrt(sum)
}

// Step executes a step's graph with the learning rate lr. data are the inputs that come before the parameters, and belong to
// Step; values are the parameters, which Step replaces. It returns the results behind Update's.
func (a *Adam) Step(e compute.Executable, data []compute.Buffer, values *[]compute.Buffer, lr float64) ([]compute.Buffer, error) {
	k := float64(a.steps + 1)
	rate, err := Buffer(a.backend, []float32{float32(lr / (1 - math.Pow(adamBeta1, k)))})
	if err != nil {
		return nil, err
	}
	correction, err := Buffer(a.backend, []float32{float32(1 / math.Sqrt(1-math.Pow(adamBeta2, k)))})
	if err != nil {
		return nil, err
	}
	in := append(append(append(append(data[:len(data):len(data)], *values...), a.first...), a.second...), rate, correction)
	in = append(in, a.mean...)
	var more []float64
	if a.Average > 0 {
		more = append(more, min(a.Average, k/(k+9))) // the plain mean at first, so that the initial values are forgotten
	}
	if a.Decay > 0 {
		more = append(more, lr*a.Decay)
	}
	for _, x := range more {
		scalar, err := Buffer(a.backend, []float32{float32(x)})
		if err != nil {
			return nil, err
		}
		in = append(in, scalar)
	}
	donate := make([]bool, len(in))
	for i := range donate {
		donate[i] = true
	}
	out, err := e.Execute(in, donate, 0)
	if err != nil {
		return nil, err
	}
	*values, out = out[:len(a.params):len(a.params)], out[len(a.params):]
	a.first, out = out[:len(a.trained):len(a.trained)], out[len(a.trained):]
	a.second, out = out[:len(a.trained):len(a.trained)], out[len(a.trained):]
	if a.Average > 0 {
		a.mean, out = out[:len(a.trained):len(a.trained)], out[len(a.trained):]
	}
	a.steps++
	return out, nil
}

// Prefixes of the moments' tensors.
const (
	firstPrefix  = "first."
	secondPrefix = "second."
	meanPrefix   = "mean."
)

// Tensors returns the moments and the running means.
func (a *Adam) Tensors() (map[string]weights.Tensor, error) {
	all, err := Tensors(a.trained, a.first, firstPrefix)
	if err != nil {
		return nil, err
	}
	second, err := Tensors(a.trained, a.second, secondPrefix)
	if err != nil {
		return nil, err
	}
	maps.Copy(all, second)
	if a.Average > 0 {
		mean, err := Tensors(a.trained, a.mean, meanPrefix)
		if err != nil {
			return nil, err
		}
		maps.Copy(all, mean)
	}
	return all, nil
}

// Restore takes the moments and the running means from a file that holds Tensors, after the given number of steps.
func (a *Adam) Restore(f *weights.File, steps int) error {
	a.steps = steps
	for prefix, list := range map[string][]compute.Buffer{firstPrefix: a.first, secondPrefix: a.second, meanPrefix: a.mean} {
		for j, p := range a.trained[:len(list)] {
			v, err := p.Read(f, prefix)
			if err != nil {
				return err
			}
			_ = list[j].Finalize()
			if list[j], err = Buffer(a.backend, v, p.GraphShape()...); err != nil {
				return err
			}
		}
	}
	return nil
}
