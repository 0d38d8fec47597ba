// Package unet is diffusers' UNet2DConditionModel in the variants of DeepFloyd IF, as GoMLX graph functions: resnets
// with scaled and shifted norms, attention to pixels and text at once (added keys and values), and attention pooling of
// the text for the time embedding. Parameters keep the hub's names and PyTorch's layouts.
package unet

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/weights"
)

// Model is a network with its values, ready to evaluate. It is safe for concurrent use.
type Model struct {
	Config Config
	// Batch is the most images of one evaluation, each estimate of guidance counted; 0: all at once. More take more
	// memory. It is set before the first evaluation.
	Batch int
	// Of is what the network estimates; empty is the noise. The folder's scheduler says it.
	Of diffusion.Prediction

	backend compute.Backend
	dtype   dtypes.DType
	params  []nn.Param
	values  []compute.Buffer // in the order of params

	mu      sync.Mutex
	readers map[shape]compute.Executable // of texts, with no height and width
	evals   map[shape]compute.Executable
	read    []reading // the texts of the last evaluation
}

// shape is what an evaluation is compiled for.
type shape struct{ images, height, width, tokens int }

// reading is what the network made of texts: walks tell it the same ones at each step.
type reading struct {
	text model.Embeddings
	told []compute.Buffer
}

// New makes a network with the values of a file, which must stay open until the model's Close. dtype is what
// convolutions and products compute in, and what their weights are kept in: Float32 or BFloat16. progress, if not nil,
// is told what is read, which may be as late as in the first evaluation.
func New(b compute.Backend, c Config, dtype dtypes.DType, f *weights.File, progress nn.Progress) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("the UNet's configuration: %w", err)
	}
	if dtype != dtypes.Float32 && dtype != dtypes.BFloat16 {
		return nil, fmt.Errorf("the network computes in Float32 or BFloat16, not %s", dtype)
	}
	m := &Model{Config: c, backend: b, dtype: dtype, params: c.Params(), readers: map[shape]compute.Executable{},
		evals: map[shape]compute.Executable{}}
	var err error
	m.values, err = nn.Load(b, m.params, func(p nn.Param) dtypes.DType { return paramDType(p, dtype) }, f, progress)
	if err != nil {
		return nil, err
	}
	return m, nil
}

// Close releases the model's values and compiled graphs.
func (m *Model) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	nn.Finalize(m.values)
	m.values = nil
	m.keep(nil)
	for _, all := range []map[shape]compute.Executable{m.readers, m.evals} {
		for _, e := range all {
			e.Finalize()
		}
		clear(all)
	}
}

// texts gives the texts of the images from (included) to to (excluded): there may be no room for those of all images at
// once.
type texts func(from, to int) model.Embeddings

// texts checks the texts of n images, one for each or one for all. Where the network reads none, all will do.
func (m *Model) texts(e model.Embeddings, n int) (texts, error) {
	if !m.Config.ReadsText() {
		return nil, nil
	}
	if e.N < 1 || e.Tokens < 1 || e.Dim < 1 || len(e.Data) != e.N*e.Tokens*e.Dim {
		return nil, fmt.Errorf("text embeddings of shape [%d,%d,%d] with %d numbers", e.N, e.Tokens, e.Dim, len(e.Data))
	}
	if e.N != n && e.N != 1 {
		return nil, fmt.Errorf("text embeddings of %d texts for %d images, expected 1 or %d", e.N, n, n)
	}
	if want := m.Config.TextDim(); e.Dim != want {
		return nil, fmt.Errorf("text embeddings of %d numbers a token, the network takes %d: are they another "+
			"encoder's?", e.Dim, want)
	}
	if e.N == n {
		return e.Slice, nil
	}
	return func(from, to int) model.Embeddings {
		return model.Embeddings{N: to - from, Tokens: e.Tokens, Dim: e.Dim, Data: slices.Repeat(e.Data, to-from)}
	}, nil
}

// before gives a's texts for the first n images, then b's.
func (a texts) before(b texts, n int) texts {
	return func(from, to int) model.Embeddings {
		switch {
		case to <= n:
			return a(from, to)
		case from >= n:
			return b(from-n, to-n)
		}
		x, y := a(from, n), b(0, to-n)
		return model.Embeddings{N: to - from, Tokens: x.Tokens, Dim: x.Dim, Data: slices.Concat(x.Data, y.Data)}
	}
}

func (r reading) is(other reading) bool { return &r.told[0] == &other.told[0] }

// keep replaces the readings that are kept, each of which is there once.
func (m *Model) keep(read []reading) {
	for _, old := range m.read {
		if !slices.ContainsFunc(read, old.is) {
			nn.Finalize(old.told)
		}
	}
	m.read = read
}

// tell returns the network's reading of texts, one of those that there are if it is among them.
func (m *Model) tell(text model.Embeddings, read []reading) (reading, error) {
	if i := slices.IndexFunc(read, func(r reading) bool { return r.text.Equal(text) }); i >= 0 {
		return read[i], nil
	}
	e, err := compiled(m.readers, shape{images: text.N, tokens: text.Tokens},
		func(s shape) (compute.Executable, error) {
			return nn.Compile(m.backend, fmt.Sprintf("unet's text %v", s), func(g *Graph) []*Node {
				x := Parameter(g, "text", shapes.Make(dtypes.Float32, s.images, s.tokens, text.Dim))
				return m.Config.toldNodes(newNetwork(g, m.Config, m.params, m.dtype).tell(x))
			})
		})
	if err != nil {
		return reading{}, err
	}
	in, err := nn.Buffer(m.backend, text.Data, text.N, text.Tokens, text.Dim)
	if err != nil {
		return reading{}, err
	}
	defer nn.Finalize([]compute.Buffer{in})
	out, err := e.Execute(append([]compute.Buffer{in}, m.values...), nil, 0)
	text.Data = slices.Clone(text.Data)
	return reading{text, out}, err
}

// compiled returns what build makes of a shape, once for each.
func compiled(all map[shape]compute.Executable, s shape, build func(shape) (compute.Executable,
	error)) (compute.Executable, error) {
	e := all[s]
	if e != nil {
		return e, nil
	}
	e, err := build(s)
	if err == nil {
		all[s] = e
	}
	return e, err
}

// evaluator returns the compiled evaluation for a shape.
func (m *Model) evaluator(s shape) (compute.Executable, error) {
	c := m.Config
	return compiled(m.evals, s, func(s shape) (compute.Executable, error) {
		return nn.Compile(m.backend, fmt.Sprintf("unet %v", s), func(g *Graph) []*Node {
			parameter := func(name string, dtype dtypes.DType, dims ...int) *Node {
				return Parameter(g, name, shapes.Make(dtype, dims...))
			}
			x := parameter("x", dtypes.Float32, s.images, c.InChannels, s.height, s.width)
			time := parameter("time", dtypes.Float32, s.images, c.BlockOutChannels[0])
			var class *Node
			if c.ClassEmbedType != nil {
				class = parameter("class", dtypes.Float32, s.images, c.BlockOutChannels[0])
			}
			text := c.toldBy(m.dtype, s.images, s.tokens, parameter)
			return []*Node{newNetwork(g, c, m.params, m.dtype).forward(x, time, class, text)}
		})
	})
}

// Evaluate applies the network to x [N,in_channels,H,W] at timesteps t, one for each image, and texts, one for each
// image or one for all. class are the timestep class labels, one for each image, where the configuration has them, and
// nil otherwise. The result is [N,out_channels,H,W]. A cancelled context is noticed before each part that [Model.Batch]
// makes.
func (m *Model) Evaluate(ctx context.Context, x diffusion.Images, t []float64, text model.Embeddings,
	class []float64) (diffusion.Images, error) {
	all, err := m.texts(text, x.N)
	if err != nil {
		return diffusion.Images{}, err
	}
	return m.tellAndEvaluate(ctx, x, t, all, class)
}

func (m *Model) tellAndEvaluate(ctx context.Context, x diffusion.Images, t []float64, texts texts,
	class []float64) (diffusion.Images, error) {
	c := m.Config
	if factor := 1 << (len(c.BlockOutChannels) - 1); x.C != c.InChannels || x.N < 1 || x.H < 1 || x.W < 1 ||
		x.H%factor != 0 || x.W%factor != 0 || len(x.Data) != x.N*x.Size() {
		return diffusion.Images{}, fmt.Errorf("the network takes images [N,%d,H,W] with H and W multiples of %d, got "+
			"%s with %d numbers", c.InChannels, factor, x.Shape(), len(x.Data))
	}
	if len(t) != x.N {
		return diffusion.Images{}, fmt.Errorf("got %d timesteps for %d images", len(t), x.N)
	}
	if c.ClassEmbedType == nil && class != nil {
		return diffusion.Images{}, fmt.Errorf("got class labels, and class_embed_type is null: the network takes none")
	}
	if c.ClassEmbedType != nil && len(class) != x.N {
		return diffusion.Images{}, fmt.Errorf("got %d class labels for %d images", len(class), x.N)
	}

	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values == nil {
		return diffusion.Images{}, fmt.Errorf("the model was closed")
	}
	y := diffusion.NewImages(x.N, c.OutChannels, x.H, x.W)
	var read []reading
	defer func() { m.keep(read) }()
	for from, to := range m.parts(x.N) {
		if err := ctx.Err(); err != nil {
			return diffusion.Images{}, err
		}
		var r reading
		if c.ReadsText() {
			var err error
			if r, err = m.tell(texts(from, to), slices.Concat(read, m.read)); err != nil {
				return diffusion.Images{}, err
			}
			if !slices.ContainsFunc(read, r.is) {
				read = append(read, r)
			}
		}
		var part []float64
		if class != nil {
			part = class[from:to]
		}
		if err := m.evaluate(x.Slice(from, to), t[from:to], r, part, y.Slice(from, to).Data); err != nil {
			return diffusion.Images{}, err
		}
	}
	return y, nil
}

// parts cuts n images into as few evaluations as Batch allows, of sizes as equal as can be: each size is compiled for
// itself.
func (m *Model) parts(n int) iter.Seq2[int, int] {
	count := 1
	if m.Batch > 0 {
		count = (n + m.Batch - 1) / m.Batch
	}
	return func(yield func(from, to int) bool) {
		for i := range count {
			if !yield(n*i/count, n*(i+1)/count) {
				return
			}
		}
	}
}

// evaluate applies the network once and writes what it returns to y.
func (m *Model) evaluate(x diffusion.Images, t []float64, r reading, class []float64, y []float32) error {
	c := m.Config
	e, err := m.evaluator(shape{x.N, x.H, x.W, r.text.Tokens})
	if err != nil {
		return err
	}
	first := c.BlockOutChannels[0]
	in := []nn.Array{{Values: x.Data, Shape: []int{x.N, x.C, x.H, x.W}},
		{Values: c.sinusoids(t), Shape: []int{x.N, first}}}
	if c.ClassEmbedType != nil {
		in = append(in, nn.Array{Values: c.sinusoids(class), Shape: []int{x.N, first}})
	}
	return nn.Run(m.backend, e, in, slices.Concat(r.told, m.values), y)
}

// frequencies are those of the sinusoidal embeddings.
func (c Config) frequencies() []float32 {
	f := make([]float32, c.BlockOutChannels[0]/2)
	for j := range f {
		f[j] = float32(math.Exp(float64(float32(-math.Log(10000)) * float32(j) / float32(float64(len(f))-c.FreqShift))))
	}
	return f
}

// sinusoids are the embeddings of timesteps (DDPM, section 4 and appendix B, as diffusers has them), [len(t),
// block_out_channels[0]].
func (c Config) sinusoids(t []float64) []float32 {
	dim, frequencies := c.BlockOutChannels[0], c.frequencies()
	half := len(frequencies)
	v := make([]float32, len(t)*dim)
	for i, t := range t {
		row := v[i*dim : (i+1)*dim]
		sines, cosines := row[:half], row[half:2*half]
		if c.FlipSinToCos {
			sines, cosines = cosines, sines
		}
		for j, f := range frequencies {
			angle := float64(float32(t) * f)
			sines[j], cosines[j] = float32(math.Sin(angle)), float32(math.Cos(angle))
		}
	}
	return v
}

// Condition is what the network is told besides x_t and t.
type Condition struct {
	Text model.Embeddings // one for each image, or one for all; empty where the network reads none
	// Beside, if not empty, is one image for each, or one for all, that is laid beside x_t on the channel axis: the
	// noised small image of super-resolution.
	Beside diffusion.Images
	// Class is the class label where the configuration has class_embed_type timestep: the timestep that Beside was
	// noised to.
	Class int
}

// Denoiser estimates the noise in x, and the variance where out_channels says that the network learned it.
func (m *Model) Denoiser(c Condition) diffusion.Denoiser {
	return func(ctx context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
		all, err := m.texts(c.Text, x.N)
		if err != nil {
			return diffusion.Estimate{}, err
		}
		return m.estimate(ctx, x, t, c, all)
	}
}

// GuidedDenoiser is classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598) with both estimates from one
// evaluation of twice the batch; negative takes the text's place in the unconditional one. A scale of 1 is the
// conditional estimate alone, and so is any where the network reads no text.
func (m *Model) GuidedDenoiser(c Condition, negative model.Embeddings, scale float32) diffusion.Denoiser {
	if scale == 1 || !m.Config.ReadsText() {
		return m.Denoiser(c)
	}
	return func(ctx context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
		both, all, err := m.twice(c, negative, x.N)
		if err != nil {
			return diffusion.Estimate{}, err
		}
		xx, err := diffusion.Concat(x, x)
		if err != nil {
			return diffusion.Estimate{}, err
		}
		e, err := m.estimate(ctx, xx, t, both, all)
		if err != nil {
			return diffusion.Estimate{}, err
		}
		return diffusion.Guide(e.Slice(0, x.N), e.Slice(x.N, 2*x.N), scale)
	}
}

// twice is the condition of 2n images and their texts: n with the text, n with the negative one.
func (m *Model) twice(c Condition, negative model.Embeddings, n int) (Condition, texts, error) {
	with, err := m.texts(c.Text, n)
	if err != nil {
		return c, nil, err
	}
	without, err := m.texts(negative, n)
	if err != nil {
		return c, nil, fmt.Errorf("the negative prompt: %w", err)
	}
	if negative.Tokens != c.Text.Tokens {
		return c, nil, fmt.Errorf("the prompt's embeddings are of %d tokens and the negative prompt's of %d, "+
			"expected the same", c.Text.Tokens, negative.Tokens)
	}
	if c.Beside.N > 1 {
		c.Beside, err = diffusion.Concat(c.Beside, c.Beside)
	}
	return c, with.before(without, n), err
}

func (m *Model) estimate(ctx context.Context, x diffusion.Images, t float64, c Condition,
	texts texts) (diffusion.Estimate, error) {
	if m.Config.ClassEmbedType == nil && c.Class != 0 {
		return diffusion.Estimate{}, fmt.Errorf("the class label is %d, and class_embed_type is null: the network "+
			"takes none", c.Class)
	}
	out := m.Config.OutChannels
	if out != x.C && out != 2*x.C {
		return diffusion.Estimate{}, fmt.Errorf("the network has %d output channels, and images of %d channels need "+
			"%d, or %d with variance", out, x.C, x.C, 2*x.C)
	}
	seen, err := beside(x, c.Beside)
	if err != nil {
		return diffusion.Estimate{}, err
	}
	var class []float64
	if m.Config.ClassEmbedType != nil {
		class = slices.Repeat([]float64{float64(c.Class)}, x.N)
	}
	y, err := m.tellAndEvaluate(ctx, seen, slices.Repeat([]float64{t}, x.N), texts, class)
	if err != nil {
		return diffusion.Estimate{}, err
	}
	if out == x.C {
		return diffusion.Estimate{Value: y, Of: m.Of}, nil
	}
	value, variance := x.Like(), x.Like()
	for n := range x.N {
		values := y.Slice(n, n+1).Data
		copy(value.Slice(n, n+1).Data, values[:x.Size()])
		copy(variance.Slice(n, n+1).Data, values[x.Size():])
	}
	return diffusion.Estimate{Value: value, Of: m.Of, Variance: &variance}, nil
}

// beside joins images on the channel axis; other may be one image for all, or empty.
func beside(x, other diffusion.Images) (diffusion.Images, error) {
	if other.N == 0 {
		return x, nil
	}
	if other.N != x.N && other.N != 1 || other.H != x.H || other.W != x.W || len(other.Data) != other.N*other.Size() {
		return diffusion.Images{}, fmt.Errorf("the images beside x_t are %s, expected [%d,C,%d,%d] or one of them",
			other.Shape(), x.N, x.H, x.W)
	}
	all := diffusion.NewImages(x.N, x.C+other.C, x.H, x.W)
	for n := range x.N {
		o := min(n, other.N-1)
		values := all.Slice(n, n+1).Data
		copy(values, x.Slice(n, n+1).Data)
		copy(values[x.Size():], other.Slice(o, o+1).Data)
	}
	return all, nil
}
