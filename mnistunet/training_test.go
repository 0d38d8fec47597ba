package mnistunet

import (
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/nn"
)

// batch is what one step learns from: n images.
type batch struct {
	n                   int
	x, target, t, class []float32
}

// inputs are the arrays that Config.Loss takes.
func (b batch) inputs() []nn.Input {
	in := []nn.Input{{Name: "x", Shape: []int{b.n, Size, Size, 1}, Values: b.x},
		{Name: "target", Shape: []int{b.n, Size, Size, 1}, Values: b.target}}
	if b.t != nil {
		in = append(in, nn.Input{Name: "t", Shape: []int{b.n, 1}, Values: b.t})
	}
	if b.class != nil {
		in = append(in, nn.Input{Name: "class", Shape: []int{b.n, len(b.class) / b.n}, Values: b.class})
	}
	return in
}

// noiseBatch is a batch of noise for a network of condition class.
func noiseBatch(c Config, n int) batch {
	b := batch{n: n, x: make([]float32, n*Size*Size), target: make([]float32, n*Size*Size), t: make([]float32, n),
		class: make([]float32, n*c.Classes)}
	g := diffusion.NewGenerator(1)
	g.Normal(b.x)
	g.Normal(b.target)
	g.Uniform(b.t)
	for i := range n {
		b.class[i*c.Classes+i%c.Classes] = 1
	}
	return b
}

// newTrainer trains the network that value gives the values of, or that seed 7 does.
func newTrainer(t testing.TB, b compute.Backend, c Config, dtype dtypes.DType,
	value func(nn.Param) ([]float32, error)) *nn.Trainer {
	t.Helper()
	if value == nil {
		g := diffusion.NewGenerator(7)
		value = func(p nn.Param) ([]float32, error) { return p.Initial(g), nil }
	}
	trainer, err := nn.NewTrainer(b, c, nn.TrainerOptions{DType: dtype}, value)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(trainer.Close)
	return trainer
}

// trainingOutput is the network's output in training, where batch normalization takes the batch's statistics.
func trainingOutput(t testing.TB, m *Model, b batch) []float32 {
	t.Helper()
	e, err := nn.Compile(m.backend, "output", func(g *Graph) []*Node {
		x, time, class := m.Config.inputs(g, b.n)
		n := &network{Layers: nn.NewLayers(g, m.params, m.dtype, true), config: m.Config}
		return []*Node{n.forward(x, time, class)}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Finalize()
	y := make([]float32, len(b.x))
	if err := nn.Run(m.backend, e, m.Config.arrays(b.n, b.x, b.t, b.class), m.values, y); err != nil {
		t.Fatal(err)
	}
	return y
}
