package mnistunet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

// Model is a network with its values, ready to evaluate. It is safe for concurrent use.
type Model struct {
	Name    string // what people call it: see [model.Spec]
	Config  Config
	backend compute.Backend
	dtype   dtypes.DType
	params  []nn.Param
	values  []compute.Buffer // in the order of params, in the graph's layout

	mu    sync.Mutex
	evals map[int]compute.Executable // by batch size
}

// New makes a network with PyTorch's default initial values, drawn from seed. dtype is what convolutions and products
// compute in: Float32 or BFloat16.
func New(b compute.Backend, c Config, dtype dtypes.DType, seed uint64) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("the model's configuration: %w", err)
	}
	g := diffusion.NewGenerator(seed)
	return newModel(b, c, dtype, func(p nn.Param) ([]float32, error) { return p.Initial(g), nil })
}

// File names of a model folder.
const (
	ConfigFile  = "config.json"
	WeightsFile = "model.safetensors"
)

// Load reads a model folder: config.json and model.safetensors with PyTorch's names and layouts.
func Load(b compute.Backend, dir string, dtype dtypes.DType) (*Model, error) {
	config, err := os.ReadFile(filepath.Join(dir, ConfigFile))
	if err != nil {
		return nil, fmt.Errorf("reading the model's configuration: %w", err)
	}
	f, err := weights.Open(filepath.Join(dir, WeightsFile))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return Parse(b, config, dtype, f)
}

// Parse makes a network from the contents of a model folder.
func Parse(b compute.Backend, config []byte, dtype dtypes.DType, f *weights.File) (*Model, error) {
	c, err := parseConfig(filepath.Join(filepath.Dir(f.Path()), ConfigFile), config)
	if err != nil {
		return nil, err
	}
	return FromFile(b, c, dtype, f, "")
}

// FromFile makes a network with the values that stand in a file under prefix + PyTorch's name.
func FromFile(b compute.Backend, c Config, dtype dtypes.DType, f *weights.File, prefix string) (*Model, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("the model's configuration: %w", err)
	}
	if err := c.checkNames(f, prefix); err != nil {
		return nil, err
	}
	return newModel(b, c, dtype, func(p nn.Param) ([]float32, error) { return p.Read(f, prefix) })
}

// checkNames refuses a file with values that this network has no place for. PyTorch's counters of batches are no
// values.
func (c Config) checkNames(f *weights.File, prefix string) error {
	known := map[string]bool{}
	for _, p := range c.Params() {
		known[p.Name] = true
	}
	for _, name := range f.Names() {
		short, ok := strings.CutPrefix(name, prefix)
		if ok && !known[short] && !strings.HasSuffix(short, ".num_batches_tracked") {
			return fmt.Errorf("%s: tensor %q has no place in a network of condition %q: is its configuration another "+
				"model's?", f.Path(), name, c.Condition)
		}
	}
	return nil
}

func newModel(b compute.Backend, c Config, dtype dtypes.DType, value func(nn.Param) ([]float32, error)) (*Model,
	error) {
	if dtype != dtypes.Float32 && dtype != dtypes.BFloat16 {
		return nil, fmt.Errorf("the network computes in Float32 or BFloat16, not %s", dtype)
	}
	m := &Model{Config: c, backend: b, dtype: dtype, params: c.Params(), evals: map[int]compute.Executable{}}
	var err error
	if m.values, err = nn.Buffers(b, m.params, value); err != nil {
		return nil, err
	}
	return m, nil
}

var errClosed = errors.New("the model was closed")

// Close releases the model's values and compiled graphs.
func (m *Model) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	nn.Finalize(m.values)
	m.values = nil
	for _, e := range m.evals {
		e.Finalize()
	}
	clear(m.evals)
}

// Tensors returns the values under PyTorch's names and in its layouts.
func (m *Model) Tensors() (map[string]weights.Tensor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values == nil {
		return nil, errClosed
	}
	return nn.Tensors(m.params, m.values, "")
}

// Save writes a model folder that Load reads; see ConfigFile and WeightsFile.
func (m *Model) Save(dir string) error {
	t, err := m.Tensors()
	if err != nil {
		return err
	}
	return m.Config.Save(dir, t)
}

// Save writes a model folder with these values, under PyTorch's names and in its layouts.
func (c Config) Save(dir string, tensors map[string]weights.Tensor) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the model's folder: %w", err)
	}
	if err := weights.Write(filepath.Join(dir, WeightsFile), tensors, map[string]string{"format": "pt"}); err != nil {
		return err
	}
	return atomicfile.WriteJSON(filepath.Join(dir, ConfigFile), c)
}

// evaluator returns the compiled evaluation for a batch size.
func (m *Model) evaluator(batch int) (compute.Executable, error) {
	if e := m.evals[batch]; e != nil {
		return e, nil
	}
	e, err := nn.Compile(m.backend, fmt.Sprintf("evaluate %d", batch), func(g *Graph) []*Node {
		x, t, class := m.Config.inputs(g, batch)
		n := &network{Layers: nn.NewLayers(g, m.params, m.dtype, false), config: m.Config}
		return []*Node{n.forward(x, t, class)}
	})
	if err == nil {
		m.evals[batch] = e
	}
	return e, err
}

// maxBatch bounds the images, and so the memory, of one evaluation.
const maxBatch = 256

// Evaluate applies the network to x [N,1,28,28]; t is t/T or a flow's t for each image, from 0 to 1, class [N,Classes]
// a row for each image: 1 at its class and 0 else, or 0 everywhere for none. A cancelled context is noticed before each
// batch that the images are cut into.
func (m *Model) Evaluate(ctx context.Context, x diffusion.Images, t, class []float32) (diffusion.Images, error) {
	if x.C != 1 || x.H != Size || x.W != Size || x.N < 1 || len(x.Data) != x.N*Size*Size {
		return diffusion.Images{}, fmt.Errorf("the network takes images [N,1,%d,%d], got %v", Size, Size, x.Shape())
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.values == nil {
		return diffusion.Images{}, errClosed
	}
	if err := checkTimes(t); err != nil {
		return diffusion.Images{}, err
	}
	y := x.Like()
	for from := 0; from < x.N; from += maxBatch {
		if err := ctx.Err(); err != nil {
			return diffusion.Images{}, err
		}
		to := min(from+maxBatch, x.N)
		rows := func(v []float32) []float32 { return v[from*len(v)/x.N : to*len(v)/x.N] }
		if err := m.evaluateInto(y.Slice(from, to), x.Slice(from, to), rows(t), rows(class)); err != nil {
			return diffusion.Images{}, err
		}
	}
	return y, nil
}

// evaluateInto writes the network's estimate for one batch to y.
func (m *Model) evaluateInto(y, x diffusion.Images, t, class []float32) error {
	e, err := m.evaluator(x.N)
	if err != nil {
		return err
	}
	return nn.Run(m.backend, e, m.Config.arrays(x.N, x.Data, t, class), m.values, y.Data)
}

// checkTimes refuses timesteps where the network takes t/T.
func checkTimes(t []float32) error {
	for i, v := range t {
		if !(v >= 0 && v <= 1) {
			return fmt.Errorf("image %d has the time %g, expected t/T or a flow's t, from 0 to 1", i, v)
		}
	}
	return nil
}

// arrays are what Config.inputs takes.
func (c Config) arrays(batch int, x, t, class []float32) []nn.Array {
	arrays := []nn.Array{{Values: x, Shape: []int{batch, Size, Size, 1}}}
	if c.Condition != None {
		arrays = append(arrays, nn.Array{Values: t, Shape: []int{batch, 1}})
	}
	if c.Condition == Class {
		arrays = append(arrays, nn.Array{Values: class, Shape: []int{batch, c.Classes}})
	}
	return arrays
}

// Denoise maps noisy images to clean ones, both [N,1,28,28]; for models of condition none.
func (m *Model) Denoise(ctx context.Context, x diffusion.Images) (diffusion.Images, error) {
	if m.Config.Condition != None {
		return diffusion.Images{}, fmt.Errorf("a model of condition %q estimates noise at a timestep; Denoise wants "+
			"condition none", m.Config.Condition)
	}
	return m.Evaluate(ctx, x, nil, nil)
}

// Schedule returns the noise schedule the model was trained on.
func (m *Model) Schedule() (*diffusion.Schedule, error) {
	if m.Config.Condition == None {
		return nil, fmt.Errorf("a model of condition none has no noise schedule")
	}
	if m.Config.Objective == Flow {
		return nil, fmt.Errorf("a model of objective flow has no noise schedule")
	}
	return diffusion.Linear(m.Config.Timesteps, m.Config.BetaStart, m.Config.BetaEnd)
}

func (m *Model) oneHot(labels []int, n int) ([]float32, error) {
	if m.Config.Condition != Class {
		if labels != nil {
			return nil, fmt.Errorf("the model's condition is %q: it takes no classes", m.Config.Condition)
		}
		return nil, nil
	}
	if len(labels) != n {
		return nil, fmt.Errorf("got %d classes for %d images", len(labels), n)
	}
	v := make([]float32, n*m.Config.Classes)
	for i, c := range labels {
		if c >= m.Config.Classes {
			return nil, fmt.Errorf("class %d; the model knows 0 to %d", c, m.Config.Classes-1)
		}
		if c >= 0 {
			v[i*m.Config.Classes+c] = 1
		}
	}
	return v, nil
}

// estimate evaluates the network with the same time for all images, in the clock of the model's process.
func (m *Model) estimate(ctx context.Context, x diffusion.Images, t float64, labels []int) (diffusion.Estimate, error) {
	c := m.Config
	last, scale := 1.0, 1.0
	switch {
	case c.Condition == None:
		return diffusion.Estimate{}, fmt.Errorf("a model of condition none removes noise of one level: it draws " +
			"nothing from noise")
	case c.Objective == Noise:
		last, scale = float64(c.Timesteps-1), float64(c.Timesteps)
	}
	if !(t >= 0 && t <= last) {
		return diffusion.Estimate{}, fmt.Errorf("time %g; the model knows 0 to %g", t, last)
	}
	class, err := m.oneHot(labels, x.N)
	if err != nil {
		return diffusion.Estimate{}, err
	}
	value, err := m.Evaluate(ctx, x, slices.Repeat([]float32{float32(t) / float32(scale)}, x.N), class)
	return diffusion.Estimate{Value: value, Of: c.prediction()}, err
}

// Denoiser estimates the noise or, with objective flow, the velocity of x [N,1,28,28]. labels gives each image's class,
// -1 for none, where the model's condition is class; it is nil otherwise.
func (m *Model) Denoiser(labels []int) diffusion.Denoiser {
	return func(ctx context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
		return m.estimate(ctx, x, t, labels)
	}
}

// GuidedDenoiser is classifier-free guidance (Ho & Salimans 2022, arXiv:2207.12598) away from no class, with both
// estimates from one evaluation of twice the batch. A scale of 1 is the conditional estimate alone.
func (m *Model) GuidedDenoiser(labels []int, scale float32) diffusion.Denoiser {
	return m.guided(labels, slices.Repeat([]int{-1}, len(labels)), scale)
}

func (m *Model) guided(labels, away []int, scale float32) diffusion.Denoiser {
	if scale == 1 {
		return m.Denoiser(labels)
	}
	return func(ctx context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
		if m.Config.Condition != Class {
			return diffusion.Estimate{},
				fmt.Errorf("a guidance scale of %g needs a model of condition class, and this one's is %q", scale,
					m.Config.Condition)
		}
		if len(labels) != x.N {
			return diffusion.Estimate{}, fmt.Errorf("got %d classes for %d images", len(labels), x.N)
		}
		twice, err := diffusion.Concat(x, x)
		if err != nil {
			return diffusion.Estimate{}, err
		}
		both, err := m.estimate(ctx, twice, t, slices.Concat(labels, away))
		if err != nil {
			return diffusion.Estimate{}, err
		}
		return diffusion.Guide(both.Slice(0, x.N), both.Slice(x.N, 2*x.N), scale)
	}
}
