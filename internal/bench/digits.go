package bench

import (
	"context"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/mnistunet"
)

// TrainDigits returns a training step of a network for digits, and what releases it.
func TrainDigits(b compute.Backend, c mnistunet.Config, dtype dtypes.DType, n int) (step func() error, release func(),
	err error) {
	random := diffusion.NewGenerator(0)
	t, err := nn.NewTrainer(b, c, nn.TrainerOptions{DType: dtype},
		func(p nn.Param) ([]float32, error) { return p.Initial(random), nil })
	if err != nil {
		return nil, nil, err
	}
	in := randomBatch(c, n).inputs(c)
	return func() error { _, err := t.Step(in, 1e-3, 0); return err }, t.Close, nil
}

// EvaluateDigits returns an evaluation of n images by a network for digits, and what releases it.
func EvaluateDigits(ctx context.Context, b compute.Backend, c mnistunet.Config, dtype dtypes.DType,
	n int) (once func() error, release func(), err error) {
	m, err := mnistunet.New(b, c, dtype, 0)
	if err != nil {
		return nil, nil, err
	}
	in := randomBatch(c, n)
	x := diffusion.Images{N: n, C: 1, H: mnistunet.Size, W: mnistunet.Size, Data: in.x}
	return func() error { _, err := m.Evaluate(ctx, x, in.t, in.class); return err }, m.Close, nil
}

// batch is what a step of n images learns from.
type batch struct {
	n                   int
	x, target, t, class []float32
}

// randomBatch is a batch of noise: times don't depend on the values.
func randomBatch(c mnistunet.Config, n int) batch {
	const size = mnistunet.Size * mnistunet.Size
	g := diffusion.NewGenerator(0)
	b := batch{n: n, x: make([]float32, n*size), target: make([]float32, n*size)}
	g.Normal(b.x)
	g.Normal(b.target)
	if c.Condition != mnistunet.None {
		b.t = make([]float32, n)
		g.Uniform(b.t)
	}
	if c.Condition == mnistunet.Class {
		b.class = make([]float32, n*c.Classes)
		for i := range n {
			b.class[i*c.Classes+i%c.Classes] = 1
		}
	}
	return b
}

// inputs are the arrays that the network takes in training.
func (b batch) inputs(c mnistunet.Config) []nn.Input {
	image := []int{b.n, mnistunet.Size, mnistunet.Size, 1}
	in := []nn.Input{{Name: "x", Shape: image, Values: b.x}, {Name: "target", Shape: image, Values: b.target}}
	if b.t != nil {
		in = append(in, nn.Input{Name: "t", Shape: []int{b.n, 1}, Values: b.t})
	}
	if b.class != nil {
		in = append(in, nn.Input{Name: "class", Shape: []int{b.n, c.Classes}, Values: b.class})
	}
	return in
}
