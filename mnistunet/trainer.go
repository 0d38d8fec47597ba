package mnistunet

import (
	"fmt"
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

// Trainer is a Model that learns: one compiled graph makes a whole step, with the parameters, Adam's moments and the
// running statistics donated from step to step. Not safe for concurrent use.
type Trainer struct {
	*Model
	first, second []compute.Buffer // Adam's moments of the trained parameters, in the order of trained
	trained       []int            // indices of params that are trained
	step          int
	steps         map[int]compute.Executable // by batch size
}

// Batch is what one step learns from: N images [N,1,28,28], each with its target of the same size (the clean image for
// condition none, the noise or the flow's velocity else), t/T or the flow's t for time and class, one-hot rows for class.
type Batch struct {
	N                   int
	X, Target, T, Class []float32
}

// NewTrainer makes a trainer of m with moments of zero; m must not be used otherwise until Close.
func NewTrainer(m *Model) (*Trainer, error) {
	t := &Trainer{Model: m, steps: map[int]compute.Executable{}}
	for i, p := range m.params {
		if p.stat {
			continue
		}
		t.trained = append(t.trained, i)
		for _, list := range []*[]compute.Buffer{&t.first, &t.second} {
			b, err := toBuffer(m.backend, make([]float32, size(p.shape)), p.graphShape()...)
			if err != nil {
				t.Close()
				return nil, err
			}
			*list = append(*list, b)
		}
	}
	return t, nil
}

// Close releases the trainer and its model.
func (t *Trainer) Close() {
	finalize(t.first)
	finalize(t.second)
	t.first, t.second = nil, nil
	for _, e := range t.steps {
		e.Finalize()
	}
	clear(t.steps)
	t.Model.Close()
}

// Steps returns the number of steps made.
func (t *Trainer) Steps() int { return t.step }

// lossOf builds the forward pass in training and its mean squared error. x, time and class are the graph's inputs.
func (t *Trainer) lossOf(g *Graph, batch int) (n *network, output, loss *Node) {
	x, time, class := t.Config.inputs(g, batch)
	target := Parameter(g, "target", shapes.Make(dtypes.Float32, batch, Size, Size, 1))
	n = &network{config: t.Config, dtype: t.dtype, training: true, params: map[string]*Node{}, stats: map[string]*Node{}}
	for _, p := range t.params {
		n.params[p.name] = Parameter(g, p.name, shapes.Make(dtypes.Float32, p.graphShape()...))
	}
	output = n.forward(x, time, class)
	return n, output, ReduceAllMean(Square(Sub(output, target)))
}

func (t *Trainer) gradients(n *network, loss *Node) []*Node {
	var wanted []*Node
	for _, i := range t.trained {
		wanted = append(wanted, n.params[t.params[i].name])
	}
	return gradients(loss, n.ups, wanted)
}

// compiled returns the compiled step for a batch size: (inputs, target, params, moments, rates) → (params, moments, loss).
func (t *Trainer) compiled(batch int) (compute.Executable, error) {
	if e := t.steps[batch]; e != nil {
		return e, nil
	}
	e, err := compiled(t.backend, fmt.Sprintf("train %d", batch), func(g *Graph) []*Node {
		n, _, loss := t.lossOf(g, batch)
		moment := func(which string) (all []*Node) {
			for _, i := range t.trained {
				all = append(all, Parameter(g, which+t.params[i].name, shapes.Make(dtypes.Float32, t.params[i].graphShape()...)))
			}
			return all
		}
		first, second := moment("first "), moment("second ")
		// rate = lr/(1 − β₁ᵏ), correction = 1/√(1 − β₂ᵏ) at step k.
		rate, correction := Parameter(g, "rate", shapes.Make(dtypes.Float32)), Parameter(g, "correction", shapes.Make(dtypes.Float32))
		for j, gradient := range t.gradients(n, loss) {
			name := t.params[t.trained[j]].name
			first[j] = Add(MulScalar(first[j], adamBeta1), MulScalar(gradient, 1-adamBeta1))
			second[j] = Add(MulScalar(second[j], adamBeta2), MulScalar(Square(gradient), 1-adamBeta2))
			denominator := AddScalar(Mul(Sqrt(second[j]), correction), adamEpsilon)
			n.params[name] = Sub(n.params[name], Div(Mul(first[j], rate), denominator))
		}
		var out []*Node
		for _, p := range t.params {
			if p.stat {
				out = append(out, n.stats[p.name])
			} else {
				out = append(out, n.params[p.name])
			}
		}
		return append(append(append(out, first...), second...), loss)
	})
	if err == nil {
		t.steps[batch] = e
	}
	return e, err
}

func (t *Trainer) dataBuffers(b Batch) ([]compute.Buffer, error) {
	data, err := t.Config.inputBuffers(t.backend, b.N, b.X, b.T, b.Class)
	if err != nil {
		return nil, err
	}
	target, err := toBuffer(t.backend, b.Target, b.N, Size, Size, 1)
	if err != nil {
		finalize(data)
		return nil, err
	}
	return append(data, target), nil
}

// Step learns from a batch with the learning rate lr and returns the batch's mean squared error before the step.
func (t *Trainer) Step(b Batch, lr float64) (loss float64, err error) {
	e, err := t.compiled(b.N)
	if err != nil {
		return 0, err
	}
	in, err := t.dataBuffers(b)
	if err != nil {
		return 0, err
	}
	k := float64(t.step + 1)
	rate, err := toBuffer(t.backend, []float32{float32(lr / (1 - math.Pow(adamBeta1, k)))})
	if err != nil {
		return 0, err
	}
	correction, err := toBuffer(t.backend, []float32{float32(1 / math.Sqrt(1-math.Pow(adamBeta2, k)))})
	if err != nil {
		return 0, err
	}
	in = append(append(append(append(in, t.values...), t.first...), t.second...), rate, correction)
	donate := make([]bool, len(in))
	for i := range donate {
		donate[i] = true
	}
	out, err := e.Execute(in, donate, 0)
	if err != nil {
		return 0, err
	}
	t.values, out = out[:len(t.params):len(t.params)], out[len(t.params):]
	t.first, out = out[:len(t.trained):len(t.trained)], out[len(t.trained):]
	t.second, out = out[:len(t.trained):len(t.trained)], out[len(t.trained):]
	t.step++
	var l [1]float32
	err = out[0].ToFlatData(l[:])
	finalize(out)
	return float64(l[0]), err
}

// Gradients returns the output and the loss of a forward pass in training, and the gradients under PyTorch's names and in
// its layouts. Nothing is learned.
func (t *Trainer) Gradients(b Batch) (output []float32, loss float64, gradients map[string]weights.Tensor, err error) {
	e, err := compiled(t.backend, "gradients", func(g *Graph) []*Node {
		n, output, loss := t.lossOf(g, b.N)
		return append(t.gradients(n, loss), output, loss)
	})
	if err != nil {
		return nil, 0, nil, err
	}
	defer e.Finalize()
	in, err := t.dataBuffers(b)
	if err != nil {
		return nil, 0, nil, err
	}
	defer finalize(in)
	all := append(in[:len(in):len(in)], t.values...)
	out, err := e.Execute(all, nil, 0)
	if err != nil {
		return nil, 0, nil, err
	}
	defer finalize(out)
	var trained []param
	for _, i := range t.trained {
		trained = append(trained, t.params[i])
	}
	if gradients, err = tensorsOf(trained, out, ""); err != nil {
		return nil, 0, nil, err
	}
	output = make([]float32, b.N*Size*Size)
	var l [1]float32
	if err = out[len(trained)].ToFlatData(output); err == nil {
		err = out[len(trained)+1].ToFlatData(l[:])
	}
	return output, float64(l[0]), gradients, err
}

// Prefixes of the tensors in a trainer's state.
const (
	paramPrefix  = "param."
	firstPrefix  = "first."
	secondPrefix = "second."
)

// State returns everything that the next steps depend on but the number of steps: parameters, running statistics and
// Adam's moments.
func (t *Trainer) State() (map[string]weights.Tensor, error) {
	state, err := tensorsOf(t.params, t.values, paramPrefix)
	if err != nil {
		return nil, err
	}
	var trained []param
	for _, i := range t.trained {
		trained = append(trained, t.params[i])
	}
	for prefix, list := range map[string][]compute.Buffer{firstPrefix: t.first, secondPrefix: t.second} {
		moments, err := tensorsOf(trained, list, prefix)
		if err != nil {
			return nil, err
		}
		for name, v := range moments {
			state[name] = v
		}
	}
	return state, nil
}

// Restore makes a trainer from a file that holds a State, after the given number of steps.
func Restore(b compute.Backend, c Config, dtype dtypes.DType, f *weights.File, steps int) (*Trainer, error) {
	m, err := FromFile(b, c, dtype, f, paramPrefix)
	if err != nil {
		return nil, err
	}
	t, err := NewTrainer(m)
	if err != nil {
		m.Close()
		return nil, err
	}
	t.step = steps
	for prefix, list := range map[string][]compute.Buffer{firstPrefix: t.first, secondPrefix: t.second} {
		for j, i := range t.trained {
			v, err := m.params[i].read(f, prefix)
			if err == nil {
				_ = list[j].Finalize()
				list[j], err = toBuffer(b, v, m.params[i].graphShape()...)
			}
			if err != nil {
				t.Close()
				return nil, err
			}
		}
	}
	return t, nil
}
