package training

import (
	"slices"

	"github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

// Task is what a run learns: a network, the data, and what the network is to estimate of them.
type Task struct {
	Network   Network
	Data      Dataset
	Objective Objective
}

// Network is what learns. Its JSON stands in the run's config.json.
type Network interface {
	// Params lists the parameters and the running statistics.
	Params() []nn.Param
	// Loss builds one forward pass over a batch, whose arrays are in by name, and returns the mean loss: a float32
	// scalar.
	Loss(l *nn.Layers, in map[string]*graph.Node) *graph.Node
	// Save writes a model folder with these values, named as Params names them. The folder is new and empty.
	Save(dir string, values map[string]weights.Tensor) error
}

// Dataset is what a network learns from.
type Dataset interface {
	// Describe names the data and sums all of them up. A run goes on only with data of the same sum.
	Describe() Data
	// Fill begins a batch: the clean images of these indices, by [Batch.Images], and what the network is told of each,
	// such as a class or a text. It depends on nothing but the indices and g, and is called by one goroutine.
	//
	// Of a set of n images, each epoch has every index from 0 to n-1 once. Data without end get the indices 0, 1, 2 …
	// over the whole run.
	Fill(b *Batch, indices []int, g *diffusion.Generator) error
}

// Objective says what the network is to estimate of what.
type Objective interface {
	// Fill completes a batch: what the network is given for its clean images, "x" and perhaps "t", and what it should
	// make of that, "target", perhaps with a "weight" for each image. It depends on nothing but the batch and g.
	Fill(b *Batch, g *diffusion.Generator) error
}

// Batch is what one step learns from. Its memory is used again for later steps.
type Batch struct {
	N     int       // images
	Shape []int     // of one image, as the network takes it
	Clean []float32 // the images, N of Shape

	arrays []nn.Input // what the network is given, in the order in which it was asked for
	clean  []float32
	spare  map[string]nn.Input
}

// Images begins a batch of n images of a shape, and returns the memory for them.
func (b *Batch) Images(n int, shape ...int) []float32 {
	if b.spare == nil {
		b.spare = map[string]nn.Input{}
	}
	for _, a := range b.arrays {
		b.spare[a.Name] = a
	}
	b.N, b.Shape, b.arrays = n, slices.Clone(shape), b.arrays[:0]
	b.clean = sized(b.clean, n*nn.Size(shape))
	b.Clean = b.clean
	return b.Clean
}

// Inputs are the batch's arrays, in the order in which they were asked for.
func (b *Batch) Inputs() []nn.Input { return b.arrays }

// Float32 returns the batch's array of this name, a row of the given shape for each image, to be filled. What it holds
// is undefined.
func (b *Batch) Float32(name string, shape ...int) []float32 { return array[float32](b, name, shape) }

// Int32 is Float32 for whole numbers, such as tokens.
func (b *Batch) Int32(name string, shape ...int) []int32 { return array[int32](b, name, shape) }

func array[T float32 | int32](b *Batch, name string, shape []int) []T {
	old, _ := b.spare[name].Values.([]T)
	values := sized(old, b.N*nn.Size(shape))
	b.arrays = append(b.arrays, nn.Input{Name: name, Shape: slices.Concat([]int{b.N}, shape), Values: values})
	return values
}

// sized returns a slice of n values, in the same memory if there is enough.
func sized[T any](v []T, n int) []T {
	if cap(v) < n {
		return make([]T, n)
	}
	return v[:n]
}
