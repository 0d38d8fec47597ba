package evaluation

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/mnistunet"
)

// The classifier's recipe. RecipeVersion grows with every change of it or of the network.
const (
	RecipeVersion = 1

	epochs       = 4
	batchSize    = 125
	learningRate = 4e-3 // falls linearly to 0
	maxShift     = 2    // pixels, each way, at random
)

// Features is the number of features that an image has before the classifier's last layer.
const Features = 64

// readBatch is the number of images that are read at once.
const readBatch = 250

const size = mnistunet.Size

// Classifier reads images of 28×28: four convolutions with batch normalization and GELU (14×14, 14×14, 7×7, 7×7), the
// mean over what is left of the image, which are its features, and a linear layer. It computes in float32. Not safe for
// concurrent use.
type Classifier struct {
	Classes  int
	Accuracy float64 // on the test images, 0 to 1
	Seed     uint64

	backend compute.Backend
	params  []nn.Param
	values  []compute.Buffer
	reader  compute.Executable
}

// network is the classifier as it is trained.
type network struct{ classes int }

func (n network) Params() []nn.Param {
	return slices.Concat(nn.Block("conv1", 1, 16), nn.Block("conv2", 16, 32), nn.Block("conv3", 32, Features),
		nn.Block("conv4", Features, Features),
		nn.Linear("fc", Features, n.classes))
}

// Loss is the cross-entropy of "x" [N,28,28,1] and the one-hot "class" [N,classes].
func (n network) Loss(l *nn.Layers, in map[string]*Node) *Node {
	logits, _ := forward(l, in["x"])
	return Neg(ReduceAllMean(ReduceSum(Mul(in["class"], LogSoftmax(logits)), -1)))
}

// forward maps x [N,28,28,1] to the logits [N,Classes] and the features [N,Features].
func forward(l *nn.Layers, x *Node) (logits, features *Node) {
	y := l.Block("conv2", l.Block("conv1", x, 2), 1)
	y = l.Block("conv4", l.Block("conv3", y, 2), 1)
	features = ReduceMean(y, 1, 2)
	return l.Linear("fc", features), features
}

func newClassifier(b compute.Backend, classes int, value func(nn.Param) ([]float32, error)) (*Classifier, error) {
	c := &Classifier{Classes: classes, backend: b, params: network{classes}.Params()}
	var err error
	if c.values, err = nn.Buffers(b, c.params, value); err != nil {
		return nil, err
	}
	c.reader, err = nn.Compile(b, "read", func(g *Graph) []*Node {
		x := Parameter(g, "x", shapes.Make(dtypes.Float32, readBatch, size, size, 1))
		logits, features := forward(nn.NewLayers(g, c.params, dtypes.Float32, false), x)
		return []*Node{logits, features}
	})
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Close releases the classifier.
func (c *Classifier) Close() {
	nn.Finalize(c.values)
	c.values = nil
	if c.reader != nil {
		c.reader.Finalize()
	}
}

// Reading is what a classifier makes of N images.
type Reading struct {
	Classes  []int     // N
	Features []float32 // N rows of Features
}

// Read reads images [N,1,28,28]. Values count as a picture shows them: those outside [0,1] as 0 or 1.
func (c *Classifier) Read(ctx context.Context, images diffusion.Images) (Reading, error) {
	if images.C != 1 || images.H != size || images.W != size || len(images.Data) != images.N*size*size {
		return Reading{}, fmt.Errorf("the classifier reads images [N,1,%d,%d], got %s", size, size, images.Shape())
	}
	return c.read(ctx, images.N, func(from, to int, pixels []float32) {
		for i, v := range images.Data[from*size*size : to*size*size] {
			pixels[i] = min(max(v, 0), 1)
		}
	})
}

// ReadSet reads a set's images.
func (c *Classifier) ReadSet(ctx context.Context, set *dataset.Labeled) (Reading, error) {
	if err := set.Check(size, size); err != nil {
		return Reading{}, fmt.Errorf("reading images: %w", err)
	}
	all := upTo(set.Len())
	return c.read(ctx, set.Len(), func(from, to int, pixels []float32) { set.Batch(all[from:to], pixels, nil) })
}

// read reads n images, of which fill gives the pixels.
func (c *Classifier) read(ctx context.Context, n int, fill func(from, to int, pixels []float32)) (Reading, error) {
	r := Reading{Classes: make([]int, n), Features: make([]float32, n*Features)}
	pixels := make([]float32, readBatch*size*size)
	logits, features := make([]float32, readBatch*c.Classes), make([]float32, readBatch*Features)
	for from := 0; from < n; from += readBatch {
		if err := ctx.Err(); err != nil {
			return Reading{}, err
		}
		to := min(from+readBatch, n)
		fill(from, to, pixels)
		x := nn.Array{Values: pixels, Shape: []int{readBatch, size, size, 1}}
		if err := nn.Run(c.backend, c.reader, []nn.Array{x}, c.values, logits, features); err != nil {
			return Reading{}, err
		}
		copy(r.Features[from*Features:to*Features], features)
		for i := range to - from {
			row := logits[i*c.Classes : (i+1)*c.Classes]
			best := slices.Max(row)
			if math.IsNaN(float64(best)) {
				return Reading{}, fmt.Errorf(
					"image %d: the classifier's result is NaN: the image's values, or the classifier's, are not finite",
					from+i)
			}
			r.Classes[from+i] = slices.Index(row, best)
		}
	}
	return r, nil
}

// accuracy is the share of images whose label is read.
func (r Reading) accuracy(labels []byte) float64 {
	right := 0
	for i, label := range labels {
		if r.Classes[i] == int(label) {
			right++
		}
	}
	return float64(right) / float64(len(labels))
}

// TrainProgress is how far a classifier's training is.
type TrainProgress struct {
	Step, Steps int
	Loss        float64
}

// Train trains a classifier on one set and measures it on another. The seed and the backend's number of threads
// determine the result. each is called after every step, if not nil.
func Train(ctx context.Context, b compute.Backend, train, test *dataset.Labeled, seed uint64,
	each func(TrainProgress)) (*Classifier, error) {
	for _, set := range []*dataset.Labeled{train, test} {
		if err := set.Check(size, size); err != nil {
			return nil, fmt.Errorf("training the classifier: %w", err)
		}
	}
	random := diffusion.NewGenerator(seed)
	n := network{train.Classes()}
	trainer, err := nn.NewTrainer(b, n, nn.TrainerOptions{DType: dtypes.Float32},
		func(p nn.Param) ([]float32, error) { return p.Initial(random), nil })
	if err != nil {
		return nil, err
	}
	defer trainer.Close()
	images := min(batchSize, train.Len())
	t := newBatch(images, n.classes)
	steps := train.Len() / images // images that are left over have their turn in another epoch's order
	for step := range epochs * steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if step%steps == 0 {
			t.order = random.Perm(train.Len())
		}
		from := step % steps * images
		t.fill(train, t.order[from:from+images], random)
		s, err := trainer.Step(t.inputs(), learningRate*(1-float64(step)/float64(epochs*steps)), 0)
		if err != nil {
			return nil, err
		}
		if each != nil {
			each(TrainProgress{step + 1, epochs * steps, s.Loss})
		}
	}
	values, err := trainer.Tensors()
	if err != nil {
		return nil, err
	}
	value, err := nn.FromTensors("the classifier", n.Params(), values)
	if err != nil {
		return nil, err
	}
	c, err := newClassifier(b, n.classes, value)
	if err != nil {
		return nil, err
	}
	c.Seed = seed
	r, err := c.ReadSet(ctx, test)
	if err != nil {
		c.Close()
		return nil, err
	}
	c.Accuracy = r.accuracy(test.Labels)
	return c, nil
}

// batch is what a step learns from: as many images each time.
type batch struct {
	n, classes    int
	order         []int
	clean, pixels []float32
	labels        []int32
	shifts        []int
	oneHot        []float32
}

func newBatch(n, classes int) *batch {
	pixels := n * size * size
	return &batch{n: n, classes: classes, clean: make([]float32, pixels), pixels: make([]float32, pixels),
		labels: make([]int32, n),
		shifts: make([]int, 2*n), oneHot: make([]float32, n*classes)}
}

func (b *batch) inputs() []nn.Input {
	return []nn.Input{{Name: "x", Shape: []int{b.n, size, size, 1}, Values: b.pixels},
		{Name: "class", Shape: []int{b.n, b.classes}, Values: b.oneHot}}
}

// fill prepares a batch of shifted images.
func (b *batch) fill(set *dataset.Labeled, indices []int, random *diffusion.Generator) {
	set.Batch(indices, b.clean, b.labels)
	random.IntN(b.shifts, 2*maxShift+1)
	clear(b.pixels)
	clear(b.oneHot)
	for i, label := range b.labels {
		b.oneHot[i*b.classes+int(label)] = 1
		dx, dy := b.shifts[2*i]-maxShift, b.shifts[2*i+1]-maxShift
		from, to := b.clean[i*size*size:(i+1)*size*size], b.pixels[i*size*size:(i+1)*size*size]
		for y := max(0, -dy); y < min(size, size-dy); y++ {
			left, right := max(0, -dx), min(size, size-dx)
			copy(to[(y+dy)*size+left+dx:], from[y*size+left:y*size+right])
		}
	}
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
