package mnistunet

import (
	"fmt"
	"maps"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

// Trainer is a Model that learns: one compiled graph makes a whole step. Not safe for concurrent use.
type Trainer struct {
	*Model
	adam  *nn.Adam
	steps map[int]compute.Executable // by batch size
}

// Batch is what one step learns from: N images [N,1,28,28], each with its target of the same size (the clean image for
// condition none, the noise or the flow's velocity else), t/T or the flow's t, from 0 to 1, for time and class, and for class [N,Classes] a
// row for each image: 1 at its class and 0 else, or 0 everywhere where the class is hidden.
type Batch struct {
	N                   int
	X, Target, T, Class []float32
}

// NewTrainer makes a trainer of m with moments of zero. m may be evaluated and saved between two steps; the trainer's Close closes it.
func NewTrainer(m *Model) (*Trainer, error) {
	adam, err := nn.NewAdam(m.backend, m.params)
	if err != nil {
		return nil, err
	}
	return &Trainer{Model: m, adam: adam, steps: map[int]compute.Executable{}}, nil
}

// Close releases the trainer and its model.
func (t *Trainer) Close() {
	t.adam.Close()
	for _, e := range t.steps {
		e.Finalize()
	}
	clear(t.steps)
	t.Model.Close()
}

// lossOf builds the forward pass in training and its mean squared error. x, time and class are the graph's inputs.
func (t *Trainer) lossOf(g *Graph, batch int) (n *network, output, loss *Node) {
	x, time, class := t.Config.inputs(g, batch)
	target := Parameter(g, "target", shapes.Make(dtypes.Float32, batch, Size, Size, 1))
	n = &network{Layers: nn.NewLayers(g, t.params, t.dtype, true), config: t.Config}
	output = n.forward(x, time, class)
	return n, output, ReduceAllMean(Square(Sub(output, target)))
}

func (t *Trainer) gradients(n *network, loss *Node) []*Node {
	return gradients(loss, n.ups, t.adam.Wanted(n.Layers))
}

// compiled returns the compiled step for a batch size: (inputs, target, params, moments, rates) → (params, moments, loss).
func (t *Trainer) compiled(batch int) (compute.Executable, error) {
	if e := t.steps[batch]; e != nil {
		return e, nil
	}
	e, err := nn.Compile(t.backend, fmt.Sprintf("train %d", batch), func(g *Graph) []*Node {
		n, _, loss := t.lossOf(g, batch)
		return append(t.adam.Update(g, n.Layers, t.gradients(n, loss)), loss)
	})
	if err == nil {
		t.steps[batch] = e
	}
	return e, err
}

func (t *Trainer) put(b Batch) ([]compute.Buffer, error) {
	return nn.Put(t.backend, append(t.Config.arrays(b.N, b.X, b.T, b.Class), nn.Array{Values: b.Target, Shape: []int{b.N, Size, Size, 1}})...)
}

// Step learns from a batch with the learning rate lr and returns the batch's mean squared error before the step.
func (t *Trainer) Step(b Batch, lr float64) (loss float64, err error) {
	if t.values == nil {
		return 0, errClosed
	}
	if err := checkTimes(b.T); err != nil {
		return 0, err
	}
	e, err := t.compiled(b.N)
	if err != nil {
		return 0, err
	}
	in, err := t.put(b)
	if err != nil {
		return 0, err
	}
	out, err := t.adam.Step(e, in, &t.values, lr)
	if err != nil {
		return 0, err
	}
	var l [1]float32
	err = out[0].ToFlatData(l[:])
	nn.Finalize(out)
	return float64(l[0]), err
}

// Gradients returns the output and the loss of a forward pass in training, and the gradients under PyTorch's names and in
// its layouts. Nothing is learned.
func (t *Trainer) Gradients(b Batch) (output []float32, loss float64, gradients map[string]weights.Tensor, err error) {
	e, err := nn.Compile(t.backend, "gradients", func(g *Graph) []*Node {
		n, output, loss := t.lossOf(g, b.N)
		return append(t.gradients(n, loss), output, loss)
	})
	if err != nil {
		return nil, 0, nil, err
	}
	defer e.Finalize()
	in, err := t.put(b)
	if err != nil {
		return nil, 0, nil, err
	}
	defer nn.Finalize(in)
	all := append(in[:len(in):len(in)], t.values...)
	out, err := e.Execute(all, nil, 0)
	if err != nil {
		return nil, 0, nil, err
	}
	defer nn.Finalize(out)
	trained := t.adam.Trained()
	if gradients, err = nn.Tensors(trained, out, ""); err != nil {
		return nil, 0, nil, err
	}
	output = make([]float32, b.N*Size*Size)
	var l [1]float32
	if err = out[len(trained)].ToFlatData(output); err == nil {
		err = out[len(trained)+1].ToFlatData(l[:])
	}
	return output, float64(l[0]), gradients, err
}

// paramPrefix stands before the names of parameters and running statistics in a trainer's state.
const paramPrefix = "param."

// State returns everything that the next steps depend on but the number of steps: parameters, running statistics and
// Adam's moments.
func (t *Trainer) State() (map[string]weights.Tensor, error) {
	if t.values == nil {
		return nil, errClosed
	}
	state, err := t.adam.Tensors()
	if err != nil {
		return nil, err
	}
	params, err := nn.Tensors(t.params, t.values, paramPrefix)
	maps.Copy(state, params)
	return state, err
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
	if err := t.adam.Restore(f, steps); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}
