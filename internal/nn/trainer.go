package nn

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/weights"
)

// Network is a network as training sees it.
type Network interface {
	// Params lists the parameters and the running statistics.
	Params() []Param
	// Loss builds one forward pass over a batch, whose arrays are in by name, and returns the mean loss: a float32
	// scalar. Running statistics go to l.Stats in training.
	Loss(l *Layers, in map[string]*Node) *Node
}

// Input is one array of a batch. Values is a []float32 or an []int32.
type Input struct {
	Name   string
	Shape  []int
	Values any
}

// MeanSquare is the mean squared error of an estimate. weight, if not nil, has one factor for each image.
func MeanSquare(estimate, target, weight *Node) *Node {
	square := Square(Sub(estimate, target))
	if weight == nil {
		return ReduceAllMean(square)
	}
	perImage := ReduceMean(Reshape(square, square.Shape().Dimensions[0], -1), 1)
	return ReduceAllMean(Mul(perImage, Reshape(weight, perImage.Shape().Dimensions...)))
}

// TrainerOptions say how a network is trained.
type TrainerOptions struct {
	DType dtypes.DType // of convolutions and products: Float32 or BFloat16
	// gradients are scaled down to this norm, of all of them together (Pascanu et al. 2013); 0: never
	Clip    float64
	Average bool // moving averages of parameters and running statistics are kept beside them
}

// Trainer is a network that learns by Adam. One compiled graph makes a whole step: forward, backward, the new
// parameters, moments and averages, all of which stay on the backend. There is a graph for each shape of batch. Not
// safe for concurrent use.
type Trainer struct {
	backend compute.Backend
	network Network
	options TrainerOptions
	params  []Param
	adam    *Adam
	values  []compute.Buffer // in the order of params
	average []compute.Buffer // as values; none without Average

	steps, losses map[string]compute.Executable // by shapes
}

// NewTrainer makes a trainer with moments of zero. value gives each parameter's first value in the graph's layout.
func NewTrainer(b compute.Backend, n Network, o TrainerOptions,
	value func(Param) ([]float32, error)) (*Trainer, error) {
	if o.DType != dtypes.Float32 && o.DType != dtypes.BFloat16 {
		return nil, fmt.Errorf("expected a network that computes in Float32 or BFloat16, found %s", o.DType)
	}
	t := &Trainer{
		backend: b, network: n, options: o, params: n.Params(),
		steps: map[string]compute.Executable{}, losses: map[string]compute.Executable{},
	}
	var err error
	if t.adam, err = NewAdam(b, t.params); err != nil {
		return nil, err
	}
	if t.values, err = Buffers(b, t.params, value); err == nil && o.Average {
		t.average, err = t.copies()
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// copies are buffers of the same values.
func (t *Trainer) copies() ([]compute.Buffer, error) {
	i := -1
	return Buffers(t.backend, t.params, func(p Param) ([]float32, error) {
		i++
		v := make([]float32, Size(p.Shape))
		return v, t.values[i].ToFlatData(v)
	})
}

// Close releases the trainer.
func (t *Trainer) Close() {
	t.adam.Close()
	Finalize(t.values)
	Finalize(t.average)
	t.values, t.average = nil, nil
	for _, all := range []map[string]compute.Executable{t.steps, t.losses} {
		for _, e := range all {
			e.Finalize()
		}
		clear(all)
	}
}

var inputTypes = map[bool]dtypes.DType{false: dtypes.Float32, true: dtypes.Int32}

func (i Input) shape() shapes.Shape {
	_, whole := i.Values.([]int32)
	return shapes.Make(inputTypes[whole], i.Shape...)
}

// nodes makes the graph's parameters for a batch.
func nodes(g *Graph, batch []Input) map[string]*Node {
	in := map[string]*Node{}
	for _, i := range batch {
		in[i.Name] = Parameter(g, i.Name, i.shape())
	}
	return in
}

// put puts a batch on the backend.
func (t *Trainer) put(batch []Input) ([]compute.Buffer, error) {
	var all []compute.Buffer
	for _, i := range batch {
		buffer, err := t.backend.BufferFromFlatData(0, i.Values, i.shape())
		if err != nil {
			Finalize(all)
			return nil, fmt.Errorf("the batch's %q: %w", i.Name, err)
		}
		all = append(all, buffer)
	}
	return all, nil
}

// compiled returns the executable for a batch's shapes.
func (t *Trainer) compiled(all map[string]compute.Executable, name string, batch []Input,
	build func(g *Graph) []*Node) (compute.Executable, error) {
	var key strings.Builder
	for _, i := range batch {
		fmt.Fprintf(&key, " %s%v", i.Name, i.shape())
	}
	if e := all[key.String()]; e != nil {
		return e, nil
	}
	e, err := Compile(t.backend, name+key.String(), build)
	if err == nil {
		all[key.String()] = e
	}
	return e, err
}

// step builds a step: (batch, averages and their decay, parameters, moments, rates) → (parameters, moments, averages,
// loss, norm).
func (t *Trainer) step(g *Graph, batch []Input) []*Node {
	in := nodes(g, batch)
	var average []*Node
	var decay *Node
	if t.options.Average {
		for _, p := range t.params {
			average = append(average, Parameter(g, "average "+p.Name, shapes.Make(dtypes.Float32, p.GraphShape()...)))
		}
		decay = Parameter(g, "decay", shapes.Make(dtypes.Float32))
	}
	l := NewLayers(g, t.params, t.options.DType, true)
	loss := t.network.Loss(l, in)
	gradients := l.Gradients(loss, t.adam.Wanted(l))
	var norm []*Node
	if t.options.Clip > 0 {
		gradients, norm = clip(gradients, t.options.Clip)
	}
	out := t.adam.Update(g, l, gradients)
	for i, a := range average {
		out = append(out, Add(out[i], Mul(decay, Sub(a, out[i]))))
	}
	return append(append(out, loss), norm...)
}

// clip scales gradients down to a norm of at most most, and returns their norm before.
func clip(gradients []*Node, most float64) (clipped, norm []*Node) {
	var sum *Node
	for _, g := range gradients {
		square := ReduceAllSum(Square(g))
		if sum == nil {
			sum = square
		} else {
			sum = Add(sum, square)
		}
	}
	n := Sqrt(sum)
	scale := Div(ScalarOne(n.Graph(), dtypes.Float32), MaxScalar(DivScalar(n, most), 1))
	for _, g := range gradients {
		clipped = append(clipped, Mul(g, scale))
	}
	return clipped, []*Node{n}
}

// StepResult is what a step tells.
type StepResult struct {
	Loss float64 // the batch's, before the step
	Norm float64 // of the gradients before they were clipped; 0 without Clip
}

// Step learns from a batch with the learning rate. The averages become decay·average + (1-decay)·value.
//
// Data-parallel training divides this graph in two, at the gradients: they are averaged over processes before clip and
// Update.
func (t *Trainer) Step(batch []Input, rate, decay float64) (StepResult, error) {
	if t.values == nil {
		return StepResult{}, errClosed
	}
	e, err := t.compiled(t.steps, "train", batch, func(g *Graph) []*Node { return t.step(g, batch) })
	if err != nil {
		return StepResult{}, err
	}
	in, err := t.put(batch)
	if err != nil {
		return StepResult{}, err
	}
	if t.options.Average {
		d, err := Buffer(t.backend, []float32{float32(decay)})
		if err != nil {
			Finalize(in)
			return StepResult{}, err
		}
		in = append(append(in, t.average...), d)
	}
	out, err := t.adam.Step(e, in, &t.values, rate)
	if err != nil {
		return StepResult{}, err
	}
	n := len(t.average)
	t.average, out = out[:n:n], out[n:]
	defer Finalize(out)
	var numbers [2]float32
	for i, b := range out {
		if err := b.ToFlatData(numbers[i : i+1]); err != nil {
			return StepResult{}, err
		}
	}
	return StepResult{Loss: float64(numbers[0]), Norm: float64(numbers[1])}, nil
}

// Loss returns the loss of a batch as the kept model has it: see [Trainer.Tensors]. Batch normalization takes the
// running statistics.
func (t *Trainer) Loss(batch []Input) (float64, error) {
	if t.values == nil {
		return 0, errClosed
	}
	e, err := t.compiled(t.losses, "loss", batch, func(g *Graph) []*Node {
		in := nodes(g, batch)
		return []*Node{t.network.Loss(NewLayers(g, t.params, t.options.DType, false), in)}
	})
	if err != nil {
		return 0, err
	}
	in, err := t.put(batch)
	if err != nil {
		return 0, err
	}
	donate := make([]bool, len(in)+len(t.values))
	for i := range in {
		donate[i] = true
	}
	out, err := e.Execute(append(in, t.kept()...), donate, 0)
	if err != nil {
		return 0, err
	}
	defer Finalize(out)
	var loss [1]float32
	err = out[0].ToFlatData(loss[:])
	return float64(loss[0]), err
}

// kept are the values of the model that is kept, in the order of params.
func (t *Trainer) kept() []compute.Buffer {
	if t.options.Average {
		return t.average
	}
	return t.values
}

// Gradients returns the loss of a batch in training and the gradients, under PyTorch's names and in its layouts.
// Nothing is learned.
func (t *Trainer) Gradients(batch []Input) (loss float64, gradients map[string]weights.Tensor, err error) {
	e, err := Compile(t.backend, "gradients", func(g *Graph) []*Node {
		in := nodes(g, batch)
		l := NewLayers(g, t.params, t.options.DType, true)
		loss := t.network.Loss(l, in)
		return append(l.Gradients(loss, t.adam.Wanted(l)), loss)
	})
	if err != nil {
		return 0, nil, err
	}
	defer e.Finalize()
	in, err := t.put(batch)
	if err != nil {
		return 0, nil, err
	}
	defer Finalize(in)
	out, err := e.Execute(append(in[:len(in):len(in)], t.values...), nil, 0)
	if err != nil {
		return 0, nil, err
	}
	defer Finalize(out)
	trained := t.adam.Trained()
	if gradients, err = Tensors(trained, out, ""); err != nil {
		return 0, nil, err
	}
	var l [1]float32
	err = out[len(trained)].ToFlatData(l[:])
	return float64(l[0]), gradients, err
}

var errClosed = errors.New("the trainer was closed")

// Prefixes of names in a trainer's state.
const (
	paramPrefix   = "param."
	averagePrefix = "ema."
)

// Tensors returns the values of the model under PyTorch's names and in its layouts: the averages if there are any.
func (t *Trainer) Tensors() (map[string]weights.Tensor, error) {
	if t.values == nil {
		return nil, errClosed
	}
	return Tensors(t.params, t.kept(), "")
}

// State returns everything that the next steps depend on but the number of steps: parameters, running statistics,
// Adam's moments, and averages if there are any.
func (t *Trainer) State() (map[string]weights.Tensor, error) {
	if t.values == nil {
		return nil, errClosed
	}
	state, err := t.adam.Tensors()
	if err != nil {
		return nil, err
	}
	params, err := Tensors(t.params, t.values, paramPrefix)
	if err != nil {
		return nil, err
	}
	maps.Copy(state, params)
	average, err := Tensors(t.params[:len(t.average)], t.average, averagePrefix)
	maps.Copy(state, average)
	return state, err
}

// Restore makes a trainer from a file that holds a State, after the given number of steps.
func Restore(b compute.Backend, n Network, o TrainerOptions, f *weights.File, steps int) (*Trainer, error) {
	if err := checkState(n.Params(), o, f); err != nil {
		return nil, err
	}
	t, err := NewTrainer(b, n, o, func(p Param) ([]float32, error) { return p.Read(f, paramPrefix) })
	if err != nil {
		return nil, err
	}
	if err = t.adam.Restore(f, steps); err == nil && o.Average {
		Finalize(t.average)
		t.average, err = Buffers(b, t.params, func(p Param) ([]float32, error) { return p.Read(f, averagePrefix) })
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// checkState refuses a state with values that the network has no place for.
func checkState(params []Param, o TrainerOptions, f *weights.File) error {
	known := map[string]bool{}
	for _, p := range params {
		known[paramPrefix+p.Name], known[averagePrefix+p.Name] = true, o.Average
		if !p.Stat {
			known[firstPrefix+p.Name], known[secondPrefix+p.Name] = true, true
		}
	}
	for _, name := range f.Names() {
		if !known[name] {
			return fmt.Errorf("%s: tensor %q has no place in this network: is its configuration another model's?",
				f.Path(), name)
		}
	}
	return nil
}
