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

// Adam trains the parameters of a network: Update is its part of the graph of a step, Step executes that graph, with
// the parameters, the moments and the running statistics donated from step to step. Not safe for concurrent use.
type Adam struct {
	backend       compute.Backend
	params        []Param
	trained       []Param          // those that are not Stat
	first, second []compute.Buffer // moments, in the order of trained
	steps         int
}

// NewAdam makes moments of zero.
func NewAdam(b compute.Backend, params []Param) (*Adam, error) {
	a := &Adam{backend: b, params: params}
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
	return a, nil
}

// Close releases the moments.
func (a *Adam) Close() {
	Finalize(a.first)
	Finalize(a.second)
	a.first, a.second = nil, nil
}

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

// Update makes the step's parameters for the moments and the rates, and returns what the step's graph must begin its
// results with: the new parameters, running statistics and moments. The gradients are in the order of Wanted.
func (a *Adam) Update(g *Graph, l *Layers, gradients []*Node) []*Node {
	moment := func(which string) (all []*Node) {
		for _, p := range a.trained {
			all = append(all, Parameter(g, which+p.Name, shapes.Make(dtypes.Float32, p.GraphShape()...)))
		}
		return all
	}
	first, second := moment("first "), moment("second ")
	// rate = lr/(1 − β₁ᵏ), correction = 1/√(1 − β₂ᵏ) at step k.
	rate := Parameter(g, "rate", shapes.Make(dtypes.Float32))
	correction := Parameter(g, "correction", shapes.Make(dtypes.Float32))
	updated := map[string]*Node{}
	for j, gradient := range gradients {
		name := a.trained[j].Name
		first[j] = Add(MulScalar(first[j], adamBeta1), MulScalar(gradient, 1-adamBeta1))
		second[j] = Add(MulScalar(second[j], adamBeta2), MulScalar(Square(gradient), 1-adamBeta2))
		denominator := AddScalar(Mul(Sqrt(second[j]), correction), adamEpsilon)
		own := rate
		if r := a.trained[j].Rate; r != 0 {
			own = MulScalar(rate, r)
		}
		updated[name] = Sub(l.Params[name], Div(Mul(first[j], own), denominator))
	}
	var out []*Node
	for _, p := range a.params {
		switch {
		case !p.Stat:
			out = append(out, updated[p.Name])
		case l.Stats[p.Name] != nil:
			out = append(out, l.Stats[p.Name])
		default:
			out = append(out, l.Params[p.Name])
		}
	}
	return append(append(out, first...), second...)
}

// Step executes a step's graph with the learning rate lr. data are the inputs that come before the parameters, and
// belong to Step; values are the parameters, which Step replaces. It returns the results behind Update's.
func (a *Adam) Step(e compute.Executable, data []compute.Buffer, values *[]compute.Buffer,
	lr float64) ([]compute.Buffer, error) {
	k := float64(a.steps + 1)
	rate, err := Buffer(a.backend, []float32{float32(lr / (1 - math.Pow(adamBeta1, k)))})
	if err != nil {
		return nil, err
	}
	correction, err := Buffer(a.backend, []float32{float32(1 / math.Sqrt(1-math.Pow(adamBeta2, k)))})
	if err != nil {
		return nil, err
	}
	in := append(append(append(append(data[:len(data):len(data)], *values...), a.first...), a.second...), rate,
		correction)
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
	a.steps++
	return out, nil
}

// Prefixes of the moments' tensors.
const (
	firstPrefix  = "first."
	secondPrefix = "second."
)

// Tensors returns the moments.
func (a *Adam) Tensors() (map[string]weights.Tensor, error) {
	all, err := Tensors(a.trained, a.first, firstPrefix)
	if err != nil {
		return nil, err
	}
	second, err := Tensors(a.trained, a.second, secondPrefix)
	maps.Copy(all, second)
	return all, err
}

// Restore takes the moments from a file that holds Tensors, after the given number of steps.
func (a *Adam) Restore(f *weights.File, steps int) error {
	a.steps = steps
	for prefix, list := range map[string][]compute.Buffer{firstPrefix: a.first, secondPrefix: a.second} {
		for j, p := range a.trained {
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
