// Package reader reads handwritten digits: it gives the probability of each of the ten for an image. Its three small
// networks come with the program and choose among candidates; they take no part in measuring, which is package
// evaluation's, whose classifier has another seed and saw other distortions.
package reader

import (
	"context"
	_ "embed"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"gonum.org/v1/gonum/floats"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

// Digits is how many there are; Size is the images' height and width.
const (
	Digits = 10
	Size   = 28
)

// networks is how many read an image: where they disagree it is no clear digit.
const networks = 3

// batch is the number of images that are read at once.
const batch = 64

//go:embed reader.safetensors
var embedded []byte

// Reader reads images of 28×28, in float32. Not safe for concurrent use.
type Reader struct {
	backend compute.Backend
	values  []compute.Buffer
	read    compute.Executable
}

// network is one of the networks: four 3×3 convolutions with batch normalization and GELU (14×14, 14×14, 7×7, 7×7), the
// mean over what is left of the image, and a linear layer. Names begin with its prefix.
type network struct{ prefix string }

func (n network) Params() []nn.Param {
	return slices.Concat(nn.Block(n.prefix+"conv1", 1, 16), nn.Block(n.prefix+"conv2", 16, 32),
		nn.Block(n.prefix+"conv3", 32, 64), nn.Block(n.prefix+"conv4", 64, 64), nn.Linear(n.prefix+"fc", 64, Digits))
}

// forward maps x [N,28,28,1] to log probabilities [N,Digits].
func (n network) forward(l *nn.Layers, x *Node) *Node {
	y := l.Block(n.prefix+"conv2", l.Block(n.prefix+"conv1", x, 2), 1)
	y = l.Block(n.prefix+"conv4", l.Block(n.prefix+"conv3", y, 2), 1)
	return LogSoftmax(l.Linear(n.prefix+"fc", ReduceMean(y, 1, 2)))
}

func all() (members []network) {
	for i := range networks {
		members = append(members, network{fmt.Sprintf("%d.", i)})
	}
	return members
}

// Open makes the reader that comes with the program.
func Open(b compute.Backend) (*Reader, error) {
	f, err := weights.Parse("reader.safetensors", embedded)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var params []nn.Param
	for _, n := range all() {
		params = append(params, n.Params()...)
	}
	r := &Reader{backend: b}
	if r.values, err = nn.Buffers(b, params, func(p nn.Param) ([]float32, error) { return p.Read(f, "") }); err != nil {
		return nil, err
	}
	r.read, err = nn.Compile(b, "read digits", func(g *Graph) []*Node {
		x := Parameter(g, "x", shapes.Make(dtypes.Float32, batch, Size, Size, 1))
		l := nn.NewLayers(g, params, dtypes.Float32, false)
		var sum *Node
		for _, n := range all() {
			if y := n.forward(l, x); sum == nil {
				sum = y
			} else {
				sum = Add(sum, y)
			}
		}
		return []*Node{MulScalar(sum, 1.0/networks)}
	})
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// Close releases the reader.
func (r *Reader) Close() {
	nn.Finalize(r.values)
	r.values = nil
	if r.read != nil {
		r.read.Finalize()
	}
}

// Read returns a row of Digits log probabilities for each of images [N,1,28,28]: the mean over the networks and over
// the image moved by up to a pixel, normalized. Values count as a picture shows them: those outside [0,1] as 0 or 1.
func (r *Reader) Read(ctx context.Context, images diffusion.Images) ([][]float64, error) {
	if images.C != 1 || images.H != Size || images.W != Size || len(images.Data) != images.N*Size*Size {
		return nil, fmt.Errorf("digits are read in images [N,1,%d,%d], got %s", Size, Size, images.Shape())
	}
	pixels, out := make([]float32, batch*Size*Size), make([]float32, batch*Digits)
	rows := make([][]float64, images.N)
	for from := 0; from < images.N; from += batch {
		to := min(from+batch, images.N)
		for n := from; n < to; n++ {
			rows[n] = make([]float64, Digits)
		}
		for move := range 9 {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			clear(pixels)
			moved(pixels, images.Slice(from, to).Data, move%3-1, move/3-1)
			x := nn.Array{Values: pixels, Shape: []int{batch, Size, Size, 1}}
			if err := nn.Run(r.backend, r.read, []nn.Array{x}, r.values, out); err != nil {
				return nil, err
			}
			for n := from; n < to; n++ {
				for k := range Digits {
					rows[n][k] += float64(out[(n-from)*Digits+k]) / 9
				}
			}
		}
	}
	for n, row := range rows {
		sum := floats.LogSumExp(row)
		if math.IsNaN(sum) {
			return nil, fmt.Errorf("image %d is not read: it has values that are not finite", n)
		}
		floats.AddConst(-sum, row)
	}
	return rows, nil
}

// moved writes images to pixels, dx to the right and dy down.
func moved(pixels, images []float32, dx, dy int) {
	for i, v := range images {
		row, column := i/Size%Size+dy, i%Size+dx
		if row >= 0 && row < Size && column >= 0 && column < Size {
			pixels[i+dy*Size+dx] = min(max(v, 0), 1)
		}
	}
}
