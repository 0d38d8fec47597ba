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

// Classifier reads images of 28×28: four convolutions with batch normalisation and GELU (14×14, 14×14, 7×7, 7×7), the mean over
// what is left of the image, which are its features, and a linear layer. It computes in float32. Not safe for concurrent use.
type Classifier struct {
	Classes  int
	Accuracy float64 // on the test images, 0 to 1
	Seed     uint64

	backend compute.Backend
	params  []nn.Param
	values  []compute.Buffer
	reader  compute.Executable
}

func classifierParams(classes int) []nn.Param {
	return slices.Concat(nn.Block("conv1", 1, 16), nn.Block("conv2", 16, 32), nn.Block("conv3", 32, Features), nn.Block("conv4", Features, Features),
		nn.Linear("fc", Features, classes))
}

// forward maps x [N,28,28,1] to the logits [N,Classes] and the features [N,Features].
func forward(l *nn.Layers, x *Node) (logits, features *Node) {
	y := l.Block("conv2", l.Block("conv1", x, 2), 1)
	y = l.Block("conv4", l.Block("conv3", y, 2), 1)
	features = ReduceMean(y, 1, 2)
	return l.Linear("fc", features), features
}

func newClassifier(b compute.Backend, classes int, value func(nn.Param) ([]float32, error)) (*Classifier, error) {
	c := &Classifier{Classes: classes, backend: b, params: classifierParams(classes)}
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
	pixels, logits, features := make([]float32, readBatch*size*size), make([]float32, readBatch*c.Classes), make([]float32, readBatch*Features)
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
				return Reading{}, fmt.Errorf("image %d: the classifier's result is NaN: the image's values, or the classifier's, are not finite", from+i)
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

// Train trains a classifier on one set and measures it on another. The seed and the backend's number of threads determine the
// result. each is called after every step, if not nil.
func Train(ctx context.Context, b compute.Backend, train, test *dataset.Labeled, seed uint64, each func(TrainProgress)) (_ *Classifier, err error) {
	for _, set := range []*dataset.Labeled{train, test} {
		if err := set.Check(size, size); err != nil {
			return nil, fmt.Errorf("training the classifier: %w", err)
		}
	}
	random := diffusion.NewGenerator(seed)
	c, err := newClassifier(b, train.Classes(), func(p nn.Param) ([]float32, error) { return p.Initial(random), nil })
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	c.Seed = seed
	batch := min(batchSize, train.Len())
	t, err := newTrainer(c, batch)
	if err != nil {
		return nil, err
	}
	defer t.close()
	steps := train.Len() / batch // images that are left over have their turn in another epoch's order
	for step := range epochs * steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if step%steps == 0 {
			t.order = random.Perm(train.Len())
		}
		from := step % steps * batch
		t.fill(train, t.order[from:from+batch], random)
		loss, err := t.step(learningRate * (1 - float64(step)/float64(epochs*steps)))
		if err != nil {
			return nil, err
		}
		if each != nil {
			each(TrainProgress{step + 1, epochs * steps, loss})
		}
	}
	r, err := c.ReadSet(ctx, test)
	if err != nil {
		return nil, err
	}
	c.Accuracy = r.accuracy(test.Labels)
	return c, nil
}

// trainer makes the steps of a training, all with the same number of images.
type trainer struct {
	*Classifier
	adam          *nn.Adam
	compiled      compute.Executable
	batch         int
	order         []int
	clean, pixels []float32
	labels        []int32
	shifts        []int
	oneHot        []float32
}

func newTrainer(c *Classifier, batch int) (*trainer, error) {
	pixels := batch * size * size
	t := &trainer{Classifier: c, batch: batch, clean: make([]float32, pixels), pixels: make([]float32, pixels), labels: make([]int32, batch),
		shifts: make([]int, 2*batch), oneHot: make([]float32, batch*c.Classes)}
	var err error
	if t.adam, err = nn.NewAdam(c.backend, c.params); err != nil {
		return nil, err
	}
	t.compiled, err = nn.Compile(c.backend, "train", func(g *Graph) []*Node {
		x, class := Parameter(g, "x", shapes.Make(dtypes.Float32, batch, size, size, 1)), Parameter(g, "class", shapes.Make(dtypes.Float32, batch, c.Classes))
		l := nn.NewLayers(g, c.params, dtypes.Float32, true)
		logits, _ := forward(l, x)
		loss := Neg(ReduceAllMean(ReduceSum(Mul(class, LogSoftmax(logits)), -1))) // cross-entropy
		return append(t.adam.Update(g, l, Gradient(loss, t.adam.Wanted(l)...)), loss)
	})
	if err != nil {
		t.adam.Close()
		return nil, err
	}
	return t, nil
}

func (t *trainer) close() {
	t.adam.Close()
	t.compiled.Finalize()
}

// fill prepares a batch of shifted images.
func (t *trainer) fill(set *dataset.Labeled, indices []int, random *diffusion.Generator) {
	set.Batch(indices, t.clean, t.labels)
	random.IntN(t.shifts, 2*maxShift+1)
	clear(t.pixels)
	clear(t.oneHot)
	for i, label := range t.labels {
		t.oneHot[i*t.Classes+int(label)] = 1
		dx, dy := t.shifts[2*i]-maxShift, t.shifts[2*i+1]-maxShift
		from, to := t.clean[i*size*size:(i+1)*size*size], t.pixels[i*size*size:(i+1)*size*size]
		for y := max(0, -dy); y < min(size, size-dy); y++ {
			left, right := max(0, -dx), min(size, size-dx)
			copy(to[(y+dy)*size+left+dx:], from[y*size+left:y*size+right])
		}
	}
}

// step learns from what fill prepared and returns the cross-entropy before the step.
func (t *trainer) step(rate float64) (float64, error) {
	in, err := nn.Put(t.backend, nn.Array{Values: t.pixels, Shape: []int{t.batch, size, size, 1}}, nn.Array{Values: t.oneHot, Shape: []int{t.batch, t.Classes}})
	if err != nil {
		return 0, err
	}
	out, err := t.adam.Step(t.compiled, in, &t.values, rate)
	if err != nil {
		return 0, err
	}
	defer nn.Finalize(out)
	var loss [1]float32
	err = out[0].ToFlatData(loss[:])
	return float64(loss[0]), err
}

func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
