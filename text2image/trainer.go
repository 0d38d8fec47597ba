package text2image

import (
	"fmt"
	"maps"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

// Batch is what one step learns from: N images, each with its timestep, its text and what the network should say of it.
type Batch struct {
	X         diffusion.Images // x_t, for super-resolution with the noised small image behind it on the channel axis
	T         []int
	Class     []int     // timesteps that the small images were noised to, for super-resolution
	IDs, Mask [][]int32 // as the tokenizer encodes a text
	Target    diffusion.Images
	Weight    []float32 // of each image's squared error
}

// Tokens is the length of the texts.
func (b Batch) Tokens() int { return len(b.IDs[0]) }

// shape is what a graph is compiled for.
type shape struct{ images, height, width, tokens int }

func (b Batch) shape() shape { return shape{b.X.N, b.X.H, b.X.W, b.Tokens()} }

// Trainer is a network that learns: one compiled graph makes a whole step. Not safe for concurrent use.
type Trainer struct {
	Network Network
	backend compute.Backend
	dtype   dtypes.DType
	params  []nn.Param
	values  []compute.Buffer // in the order of params
	adam    *nn.Adam
	steps   map[shape]compute.Executable
	losses  map[shape]compute.Executable
	evals   map[shape]compute.Executable
}

// Optimizer is how a trainer learns: AdamW, with the gradients clipped, and running means of the parameters, which are what
// is kept in the end.
var Optimizer = nn.AdamOptions{Clip: 1, Decay: 0.01, Average: 0.9995}

// New makes a trainer with initial values, which the seed determines.
func New(b compute.Backend, n Network, dtype dtypes.DType, seed uint64) (*Trainer, error) {
	g := diffusion.NewGenerator(seed)
	return newTrainer(b, n, dtype, func(p nn.Param) ([]float32, error) { return p.Initial(g), nil })
}

func newTrainer(b compute.Backend, n Network, dtype dtypes.DType, value func(nn.Param) ([]float32, error)) (*Trainer, error) {
	t := &Trainer{Network: n, backend: b, dtype: dtype, params: n.params(), steps: map[shape]compute.Executable{}, losses: map[shape]compute.Executable{}, evals: map[shape]compute.Executable{}}
	var err error
	if t.values, err = nn.Buffers(b, t.params, value); err != nil {
		return nil, err
	}
	if t.adam, err = nn.NewAdamWith(b, t.params, t.values, Optimizer); err != nil {
		nn.Finalize(t.values)
		return nil, err
	}
	return t, nil
}

// Close releases the trainer.
func (t *Trainer) Close() {
	nn.Finalize(t.values)
	t.adam.Close()
	for _, all := range []map[shape]compute.Executable{t.steps, t.losses, t.evals} {
		for _, e := range all {
			e.Finalize()
		}
		clear(all)
	}
	t.values = nil
}

// lossOf builds the forward pass: the mean squared error of each image [N], and the weighted mean of them.
func (t *Trainer) lossOf(g *Graph, s shape) (l *nn.Layers, each, loss *Node) {
	in := t.Network.inputs(g, s)
	target := Parameter(g, "target", shapes.Make(dtypes.Float32, s.images, t.channels(), s.height, s.width))
	weight := Parameter(g, "weight", shapes.Make(dtypes.Float32, s.images))
	l = nn.NewLayers(g, t.params, dtypes.Float32, true)
	y := t.Network.forward(l.Params, t.dtype, in)
	if t.channels() < t.Network.UNet.OutChannels { // the others are a variance, which nothing teaches
		y = Slice(y, AxisRange(), AxisRange(0, t.channels()), AxisRange(), AxisRange())
	}
	each = ReduceMean(Square(Sub(y, target)), 1, 2, 3)
	return l, each, ReduceAllMean(Mul(each, weight))
}

// channels is the number of an image's channels; out_channels may be twice as many.
func (t *Trainer) channels() int { return Channels }

func (t *Trainer) put(b Batch) ([]compute.Buffer, error) {
	return nn.Put(t.backend, append(t.Network.arrays(b),
		nn.Array{Values: b.Target.Data, Shape: []int{b.Target.N, b.Target.C, b.Target.H, b.Target.W}},
		nn.Array{Values: b.Weight, Shape: []int{len(b.Weight)}})...)
}

// compiled returns the compiled step for a shape: (inputs, params, moments, rates) → (params, moments, loss, each, norm).
func (t *Trainer) compiled(s shape) (compute.Executable, error) {
	if e := t.steps[s]; e != nil {
		return e, nil
	}
	e, err := nn.Compile(t.backend, fmt.Sprintf("train %v", s), func(g *Graph) []*Node {
		l, each, loss := t.lossOf(g, s)
		gradients := Gradient(loss, t.adam.Wanted(l)...)
		norm := nn.Norm2(gradients)
		return append(t.adam.Update(g, l, gradients), loss, each, norm)
	})
	if err == nil {
		t.steps[s] = e
	}
	return e, err
}

// Loss is what a step, or [Trainer.Loss], says of a batch.
type Loss struct {
	Loss float64   // the weighted mean
	Each []float32 // the mean squared error of each image
	Norm float64   // of the gradients, before they are clipped
}

// Step learns from a batch with the learning rate lr, and returns the loss before the step.
func (t *Trainer) Step(b Batch, lr float64) (Loss, error) {
	e, err := t.compiled(b.shape())
	if err != nil {
		return Loss{}, err
	}
	in, err := t.put(b)
	if err != nil {
		return Loss{}, err
	}
	out, err := t.adam.Step(e, in, &t.values, lr)
	if err != nil {
		return Loss{}, err
	}
	defer nn.Finalize(out)
	var loss, norm [1]float32
	l := Loss{Each: make([]float32, b.X.N)}
	for i, to := range [][]float32{loss[:], l.Each, norm[:]} {
		if err := out[i].ToFlatData(to); err != nil {
			return Loss{}, err
		}
	}
	l.Loss, l.Norm = float64(loss[0]), float64(norm[0])
	return l, nil
}

// Steps returns the number of steps made.
func (t *Trainer) Steps() int { return t.adam.Steps() }

// Loss returns the loss of a batch with the running means of the parameters. Nothing is learned.
func (t *Trainer) Loss(b Batch) (Loss, error) {
	s := b.shape()
	e := t.losses[s]
	if e == nil {
		var err error
		if e, err = nn.Compile(t.backend, fmt.Sprintf("loss %v", s), func(g *Graph) []*Node {
			_, each, loss := t.lossOf(g, s)
			return []*Node{loss, each}
		}); err != nil {
			return Loss{}, err
		}
		t.losses[s] = e
	}
	in, err := t.put(b)
	if err != nil {
		return Loss{}, err
	}
	defer nn.Finalize(in)
	out, err := e.Execute(append(in[:len(in):len(in)], t.adam.Averages()...), nil, 0)
	if err != nil {
		return Loss{}, err
	}
	defer nn.Finalize(out)
	var loss [1]float32
	l := Loss{Each: make([]float32, b.X.N)}
	if err := out[0].ToFlatData(loss[:]); err != nil {
		return Loss{}, err
	}
	l.Loss = float64(loss[0])
	return l, out[1].ToFlatData(l.Each)
}

// Evaluate applies the network with the running means of the parameters.
func (t *Trainer) Evaluate(b Batch) (diffusion.Images, error) {
	s := b.shape()
	e := t.evals[s]
	if e == nil {
		var err error
		if e, err = nn.Compile(t.backend, fmt.Sprintf("evaluate %v", s), func(g *Graph) []*Node {
			in := t.Network.inputs(g, s)
			return []*Node{t.Network.forward(nn.NewLayers(g, t.params, dtypes.Float32, false).Params, t.dtype, in)}
		}); err != nil {
			return diffusion.Images{}, err
		}
		t.evals[s] = e
	}
	y := diffusion.NewImages(b.X.N, t.Network.UNet.OutChannels, b.X.H, b.X.W)
	return y, nn.Run(t.backend, e, t.Network.arrays(b), t.adam.Averages(), y.Data)
}

// Gradients returns the loss of a batch and the gradients under the names of [Trainer.State]. Nothing is learned.
func (t *Trainer) Gradients(b Batch) (Loss, map[string]weights.Tensor, error) {
	e, err := nn.Compile(t.backend, "gradients", func(g *Graph) []*Node {
		l, each, loss := t.lossOf(g, b.shape())
		return append(Gradient(loss, t.adam.Wanted(l)...), loss, each)
	})
	if err != nil {
		return Loss{}, nil, err
	}
	defer e.Finalize()
	in, err := t.put(b)
	if err != nil {
		return Loss{}, nil, err
	}
	defer nn.Finalize(in)
	out, err := e.Execute(append(in[:len(in):len(in)], t.values...), nil, 0)
	if err != nil {
		return Loss{}, nil, err
	}
	defer nn.Finalize(out)
	gradients, err := nn.Tensors(t.params, out, "")
	if err != nil {
		return Loss{}, nil, err
	}
	var loss [1]float32
	l := Loss{Each: make([]float32, b.X.N)}
	if err := out[len(t.params)].ToFlatData(loss[:]); err != nil {
		return Loss{}, nil, err
	}
	l.Loss = float64(loss[0])
	return l, gradients, out[len(t.params)+1].ToFlatData(l.Each)
}

// averages returns the running means of the parameters.
func (t *Trainer) averages() (map[string]weights.Tensor, error) {
	return nn.Tensors(t.params, t.adam.Averages(), "")
}

// paramPrefix stands before the names of parameters in a trainer's state.
const paramPrefix = "param."

// State returns everything that the next steps depend on but their number: parameters, running means and Adam's moments.
func (t *Trainer) State() (map[string]weights.Tensor, error) {
	state, err := t.adam.Tensors()
	if err != nil {
		return nil, err
	}
	params, err := nn.Tensors(t.params, t.values, paramPrefix)
	maps.Copy(state, params)
	return state, err
}

// Restore makes a trainer from a file that holds a State, after the given number of steps.
func Restore(b compute.Backend, n Network, dtype dtypes.DType, f *weights.File, steps int) (*Trainer, error) {
	t, err := newTrainer(b, n, dtype, func(p nn.Param) ([]float32, error) { return p.Read(f, paramPrefix) })
	if err != nil {
		return nil, err
	}
	if err := t.adam.Restore(f, steps); err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}
