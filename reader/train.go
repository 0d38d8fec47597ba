package reader

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

// The recipe of the reader's networks.
const (
	epochs       = 6
	images       = 125  // of a step
	learningRate = 4e-3 // falls linearly to 0

	// how training digits are distorted, at random and uniformly
	maxTurn  = 15 * math.Pi / 180 // either way
	maxScale = 1.2                // larger or smaller
	maxShear = 0.2
	maxShift = 2.5 // pixels
)

// Loss is the cross-entropy of "x" [N,28,28,1] and the one-hot "class" [N,Digits].
func (n network) Loss(l *nn.Layers, in map[string]*Node) *Node {
	return Neg(ReduceAllMean(ReduceSum(Mul(in["class"], n.forward(l, in["x"])), -1)))
}

// Train trains the reader's networks on a set of digits and returns what the program embeds. The first one has this
// seed, the others the seeds after it. each is told of every step.
func Train(ctx context.Context, b compute.Backend, set *dataset.Labeled, seed uint64,
	each func(done, total int, loss float64)) (map[string]weights.Tensor, error) {
	if err := set.Check(Size, Size); err != nil {
		return nil, fmt.Errorf("training the reader: %w", err)
	}
	steps := epochs * (set.Len() / images)
	tensors := map[string]weights.Tensor{}
	for i, n := range all() {
		t, err := n.train(ctx, b, set, seed+uint64(i), steps, func(step int, loss float64) {
			each(i*steps+step, networks*steps, loss)
		})
		if err != nil {
			return nil, err
		}
		maps.Copy(tensors, t)
	}
	for name, t := range tensors {
		if len(t.Shape) > 1 {
			half, err := t.As(weights.F16)
			if err != nil {
				return nil, err
			}
			tensors[name] = half
		}
	}
	return tensors, nil
}

func (n network) train(ctx context.Context, b compute.Backend, set *dataset.Labeled, seed uint64, steps int,
	each func(step int, loss float64)) (map[string]weights.Tensor, error) {
	initial := diffusion.NewGenerator(seed)
	trainer, err := nn.NewTrainer(b, n, nn.TrainerOptions{DType: dtypes.Float32},
		func(p nn.Param) ([]float32, error) { return p.Initial(initial), nil })
	if err != nil {
		return nil, err
	}
	defer trainer.Close()
	random := rand.New(rand.NewPCG(seed, 0))
	clean, x := make([]float32, images*Size*Size), make([]float32, images*Size*Size)
	labels, class := make([]int32, images), make([]float32, images*Digits)
	batch := []nn.Input{{Name: "x", Shape: []int{images, Size, Size, 1}, Values: x},
		{Name: "class", Shape: []int{images, Digits}, Values: class}}
	var order []int
	for step := range steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(order) < images {
			order = random.Perm(set.Len())
		}
		set.Batch(order[:images], clean, labels)
		order = order[images:]
		clear(class)
		for i, label := range labels {
			class[i*Digits+int(label)] = 1
			distort(x[i*Size*Size:(i+1)*Size*Size], clean[i*Size*Size:(i+1)*Size*Size], random)
		}
		s, err := trainer.Step(batch, learningRate*(1-float64(step)/float64(steps)), 0)
		if err != nil {
			return nil, err
		}
		each(step+1, s.Loss)
	}
	return trainer.Tensors()
}

// distort writes a turned, scaled, sheared and moved digit to y: what lies outside of x is 0.
func distort(y, x []float32, random *rand.Rand) {
	within := func(most float64) float64 { return most * (2*random.Float64() - 1) }
	sin, cos := math.Sincos(within(maxTurn))
	scale, shear := math.Pow(maxScale, within(1)), within(maxShear)
	dx, dy := within(maxShift), within(maxShift)
	const middle = (Size - 1) / 2.0
	at := func(row, column int) float64 {
		if row < 0 || row >= Size || column < 0 || column >= Size {
			return 0
		}
		return float64(x[row*Size+column])
	}
	for row := range Size {
		for column := range Size {
			u, v := (float64(column)-middle-dx)*scale, (float64(row)-middle-dy)*scale
			u += shear * v
			u, v = cos*u-sin*v+middle, sin*u+cos*v+middle
			left, top := int(math.Floor(u)), int(math.Floor(v))
			u, v = u-float64(left), v-float64(top)
			y[row*Size+column] = float32((1-v)*((1-u)*at(top, left)+u*at(top, left+1)) +
				v*((1-u)*at(top+1, left)+u*at(top+1, left+1)))
		}
	}
}
