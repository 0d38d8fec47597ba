// Package nn is what networks are made of: parameters as PyTorch names and lays them out, layers as GoMLX graph
// functions, compiled graphs, and Adam.
package nn

import (
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
)

// Buffer puts float32 values on the backend.
func Buffer(b compute.Backend, v []float32, shape ...int) (compute.Buffer, error) {
	return b.BufferFromFlatData(0, v, shapes.Make(dtypes.Float32, shape...))
}

// Array is float32 values and their shape.
type Array struct {
	Values []float32
	Shape  []int
}

// Put puts arrays on the backend.
func Put(b compute.Backend, arrays ...Array) ([]compute.Buffer, error) {
	var all []compute.Buffer
	for _, a := range arrays {
		buffer, err := Buffer(b, a.Values, a.Shape...)
		if err != nil {
			Finalize(all)
			return nil, err
		}
		all = append(all, buffer)
	}
	return all, nil
}

// Run runs an executable on arrays and then values, which stay, and writes its results to outputs.
func Run(b compute.Backend, e compute.Executable, arrays []Array, values []compute.Buffer, outputs ...[]float32) error {
	in, err := Put(b, arrays...)
	if err != nil {
		return err
	}
	donate := make([]bool, len(in)+len(values))
	for i := range in {
		donate[i] = true
	}
	out, err := e.Execute(append(in, values...), donate, 0)
	if err != nil {
		return err
	}
	defer Finalize(out)
	for i, to := range outputs {
		if err := out[i].ToFlatData(to); err != nil {
			return err
		}
	}
	return nil
}

// Finalize releases buffers; nil ones are skipped.
func Finalize(buffers []compute.Buffer) {
	for _, b := range buffers {
		if b != nil {
			_ = b.Finalize()
		}
	}
}

// Compile makes an executable of a graph. GoMLX's Graph would keep it and wrap every output of every run in a tensor;
// the executable alone takes and returns buffers, and the graph is free to go.
func Compile(b compute.Backend, name string, build func(g *Graph) []*Node) (compute.Executable, error) {
	c := &capture{Backend: b}
	err := try(func() {
		g := NewGraph(c, name)
		if err := g.Compile(build(g)...); err != nil {
			panic(err)
		}
	})
	return c.executable, err
}

// capture is a backend that keeps the executable that is compiled on it.
type capture struct {
	compute.Backend
	executable compute.Executable
}

func (c *capture) Builder(name string) compute.Builder {
	return &captureBuilder{c.Backend.Builder(name), c}
}

type captureBuilder struct {
	compute.Builder
	to *capture
}

func (b *captureBuilder) Compile() (compute.Executable, error) {
	e, err := b.Builder.Compile()
	b.to.executable = e
	return e, err
}

// try turns GoMLX's panics into errors.
func try(f func()) (err error) {
	defer func() {
		if r := recover(); r != nil {
			e, ok := r.(error)
			if !ok {
				e = fmt.Errorf("%v", r)
			}
			err = fmt.Errorf("the network: %w", e)
		}
	}()
	f()
	return nil
}
