// Package nn is what networks are made of: parameters as PyTorch names and lays them out, layers as GoMLX graph functions,
// compiled graphs, and Adam.
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

// Finalize releases buffers; nil ones are skipped.
func Finalize(buffers []compute.Buffer) {
	for _, b := range buffers {
		if b != nil {
			_ = b.Finalize()
		}
	}
}

// Compile makes an executable of a graph. GoMLX's Graph would keep it and wrap every output of every run in a tensor; the
// executable alone takes and returns buffers, and the graph is free to go.
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
