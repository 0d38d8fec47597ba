package text2image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/filelock"
	"github.com/unnoise/unnoise/weights"
)

const version = 1

// Source gives the n pictures from number first on, size × size, each 3·size² values from -1 to 1, and their captions. The same
// numbers always give the same.
type Source func(first, n, size int) (pixels []float32, captions []string, err error)

// Leg is a part of a run with images of one size.
type Leg struct {
	Size  int `json:"size"`
	Batch int `json:"batch"`
	Steps int `json:"steps"`
}

// Recipe is how a run learns: its config.json.
type Recipe struct {
	Version      int      `json:"version"`
	Legs         []Leg    `json:"legs"`
	LearningRate float64  `json:"learning_rate"` // after the warm-up and before the decay
	Warmup       int      `json:"warmup"`        // steps over which it rises from 0
	Decay        float64  `json:"decay"`         // the part of all steps, at the end, over which it falls to 0
	Dropout      float64  `json:"dropout"`       // the chance that a caption is empty
	Seed         uint64   `json:"seed"`
	Words        int      `json:"words"`   // of the vocabulary, at most
	Prompts      []string `json:"prompts"` // of the sheets
	Guidance     float64  `json:"guidance"`
	SheetEvery   int      `json:"sheet_every"` // steps
}

// Default is the recipe of the first stage.
func Default() Recipe {
	return Recipe{
		Version: version, Legs: []Leg{{16, 64, 4000}, {32, 32, 40000}}, LearningRate: 1e-3, Warmup: 300, Decay: 0.2, Dropout: 0.1, Words: 6000, Guidance: 3, SheetEvery: 1000,
		Prompts: []string{"a rocket", "a cat", "an old man", "a campfire", "a red apple", "a skull", "a mountain", "a dog", "two cats", "a blue car on a yellow ground", "a tree", "a house on a green ground",
			"a smiling face", "a pizza", "a red heart", "a fish"},
	}
}

// Steps of all legs.
func (r Recipe) Steps() (n int) {
	for _, l := range r.Legs {
		n += l.Steps
	}
	return n
}

// at returns the leg of a step, from 0, and the number of the step's first picture.
func (r Recipe) at(step int) (leg Leg, first int) {
	for i, l := range r.Legs {
		if step < l.Steps || i == len(r.Legs)-1 {
			return l, first + step*l.Batch
		}
		first += l.Steps * l.Batch
		step -= l.Steps
	}
	return leg, first
}

// rate is the learning rate of a step, from 0.
func (r Recipe) rate(step int) float64 {
	total, k := float64(r.Steps()), float64(step)
	rate := r.LearningRate
	if r.Warmup > 0 {
		rate *= min(1, (k+1)/float64(r.Warmup))
	}
	if fall := r.Decay * total; fall > 0 {
		rate *= min(1, (total-k)/fall)
	}
	return rate
}

// Options are what a run needs besides its recipe.
type Options struct {
	Backend  compute.Backend
	DType    dtypes.DType
	Train    Source
	Held     Source        // pictures that are not learned from, to measure by; may be nil
	HeldSize int           // how many
	Every    time.Duration // between checkpoints
	Log      func(string, ...any)
}

// The names in a run's folder.
const (
	recipeFile  = "config.json"
	metricsFile = "metrics.jsonl"
	modelDir    = "model"
	latestFile  = "checkpoints/latest.safetensors"
	beforeFile  = "checkpoints/previous.safetensors"
	lockFile    = "lock"
)

// Begin makes a run's folder.
func Begin(dir string, r Recipe, captions []string) error {
	if _, err := os.Stat(filepath.Join(dir, recipeFile)); err == nil {
		return fmt.Errorf("%s is a run already: resume it, or give another folder", dir)
	}
	for _, sub := range []string{"checkpoints", "samples"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return err
		}
	}
	if err := Create(filepath.Join(dir, modelDir), captions, r.Words); err != nil {
		return err
	}
	return atomicfile.WriteJSON(filepath.Join(dir, recipeFile), r)
}

// run is a run in progress.
type run struct {
	Options
	dir       string
	recipe    Recipe
	folder    *Folder
	objective Objective
	trainer   *Trainer
	metrics   *os.File
}

// Resume goes on with the run in dir until its last step, or until ctx ends, which leaves a checkpoint.
func Resume(ctx context.Context, dir string, o Options) error {
	data, err := os.ReadFile(filepath.Join(dir, recipeFile))
	if err != nil {
		return err
	}
	r := &run{Options: o, dir: dir}
	if err := json.Unmarshal(data, &r.recipe); err != nil {
		return fmt.Errorf("%s: %w", recipeFile, err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if !filelock.Take(lock) {
		return fmt.Errorf("the run in %s is being trained by another process: wait for it, or stop it first", dir)
	}
	if r.folder, err = Open(filepath.Join(dir, modelDir)); err != nil {
		return err
	}
	if r.objective, err = NewObjective(r.recipe.Dropout); err != nil {
		return err
	}
	if err := r.restore(); err != nil {
		return err
	}
	defer r.trainer.Close()
	if r.metrics, err = os.OpenFile(filepath.Join(dir, metricsFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644); err != nil {
		return err
	}
	defer r.metrics.Close()
	r.Log("%.1f M parameters, step %d of %d", float64(r.folder.Network.Parameters())/1e6, r.trainer.Steps(), r.recipe.Steps())
	return r.loop(ctx)
}

func (r *run) restore() error {
	for _, name := range []string{latestFile, beforeFile} {
		f, err := weights.Open(filepath.Join(r.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			r.Log("%v; trying the checkpoint before", err)
			continue
		}
		defer f.Close()
		step, err := strconv.Atoi(f.Metadata()["step"])
		if err != nil {
			return fmt.Errorf("%s: its step is %q, expected a number", name, f.Metadata()["step"])
		}
		r.trainer, err = Restore(r.Backend, r.folder.Network, r.DType, f, step)
		return err
	}
	var err error
	r.trainer, err = New(r.Backend, r.folder.Network, r.DType, r.recipe.Seed)
	return err
}

func (r *run) save() error {
	state, err := r.trainer.State()
	if err != nil {
		return err
	}
	for name, t := range state {
		v, err := t.Float32()
		if err != nil {
			return err
		}
		if !diffusion.Finite(v) {
			return fmt.Errorf("step %d: %s is not finite: the training diverged; a smaller learning rate may help", r.trainer.Steps(), name)
		}
	}
	latest := filepath.Join(r.dir, latestFile)
	if err := weights.Write(latest+".next", state, map[string]string{"version": "1", "step": strconv.Itoa(r.trainer.Steps())}); err != nil {
		return err
	}
	if err := os.Rename(latest, filepath.Join(r.dir, beforeFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(latest+".next", latest)
}

type drawn struct {
	batch Batch
	err   error
}

// batch makes the batch of a step, from 0.
func (r *run) batch(step int) drawn {
	leg, first := r.recipe.at(step)
	pixels, captions, err := r.Train(first, leg.Batch, leg.Size)
	if err != nil {
		return drawn{err: err}
	}
	pictures := diffusion.Images{N: leg.Batch, C: Channels, H: leg.Size, W: leg.Size, Data: pixels}
	return drawn{batch: r.objective.Batch(r.folder, pictures, captions, generator(r.recipe.Seed, step))}
}

// generator returns a step's: a resumed run needs no generator's state.
func generator(seed uint64, step int) *diffusion.Generator {
	x := (seed+1)*0x9e3779b97f4a7c15 + uint64(step)
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return diffusion.NewGenerator(x ^ x>>31)
}

func (r *run) loop(ctx context.Context) error {
	feeding, stop := context.WithCancel(context.Background())
	defer stop()
	ready, first := make(chan drawn, 2), r.trainer.Steps()
	go func() {
		for step := first; step < r.recipe.Steps(); step++ {
			select {
			case ready <- r.batch(step):
			case <-feeding.Done():
				return
			}
		}
	}()
	saved, begun, shown := time.Now(), r.trainer.Steps(), time.Now()
	mean, pictures := 0.0, 0
	for r.trainer.Steps() < r.recipe.Steps() {
		if ctx.Err() != nil {
			if r.trainer.Steps() > begun {
				if err := r.save(); err != nil {
					return err
				}
			}
			r.Log("stopped at step %d", r.trainer.Steps())
			return context.Cause(ctx)
		}
		d := <-ready
		if d.err != nil {
			return d.err
		}
		rate := r.recipe.rate(r.trainer.Steps())
		start := time.Now()
		l, err := r.trainer.Step(d.batch, rate)
		if err != nil {
			return err
		}
		if math.IsNaN(l.Loss) || math.IsInf(l.Loss, 0) {
			return fmt.Errorf("step %d: the loss is %g: the training diverged", r.trainer.Steps(), l.Loss)
		}
		step := r.trainer.Steps()
		if err := r.log(map[string]any{"event": "step", "step": step, "size": d.batch.X.H, "loss": round(l.Loss), "norm": round(l.Norm), "rate": round(rate), "seconds": round(time.Since(start).Seconds())}); err != nil {
			return err
		}
		mean += l.Loss
		pictures += d.batch.X.N
		if step%100 == 0 {
			r.Log("step %d: loss %.4f, norm %.3f, %.1f pictures/s", step, mean/100, l.Norm, float64(pictures)/time.Since(shown).Seconds())
			mean, pictures, shown = 0, 0, time.Now()
		}
		if step%r.recipe.SheetEvery == 0 || step == r.recipe.Steps() {
			if err := r.milestone(ctx, d.batch.X.H); err != nil {
				return err
			}
			saved = time.Now()
		} else if time.Since(saved) > r.Every {
			if err := r.save(); err != nil {
				return err
			}
			saved = time.Now()
		}
	}
	return nil
}

// round leaves five digits, which are enough for a curve.
func round(x float64) float64 {
	y, _ := strconv.ParseFloat(strconv.FormatFloat(x, 'g', 5, 64), 64)
	return y
}

func (r *run) log(line map[string]any) error {
	data, err := json.Marshal(line)
	if err != nil {
		return err
	}
	_, err = r.metrics.Write(append(data, '\n'))
	return err
}

// milestone saves, measures on the held-out pictures, and draws the prompts.
func (r *run) milestone(ctx context.Context, size int) error {
	if err := r.save(); err != nil {
		return err
	}
	step := r.trainer.Steps()
	if r.Held != nil {
		bands, err := r.held(size)
		if err != nil {
			return err
		}
		r.Log("step %d: held-out error by band of t %.4f", step, bands)
		if err := r.log(map[string]any{"event": "held", "step": step, "size": size, "bands": bands}); err != nil {
			return err
		}
	}
	x, err := r.trainer.Draw(ctx, r.folder, r.objective, r.recipe.Prompts, size, 25, float32(r.recipe.Guidance), 0)
	if err != nil {
		return err
	}
	if err := r.trainer.SaveWeights(r.folder.Dir, weights.F32); err != nil {
		return err
	}
	return r.sheet(filepath.Join(r.dir, "samples", fmt.Sprintf("step-%06d.png", step)), x)
}

// bands of t, in which the error on held-out pictures is told apart.
const bands = 5

// held is the mean squared error of v on the held-out pictures in each band of t, with the same noise each time.
func (r *run) held(size int) ([]float64, error) {
	sum, count := make([]float64, bands), make([]float64, bands)
	const n = 32
	for first := 0; first < r.HeldSize; first += n {
		pixels, captions, err := r.Held(first, n, size)
		if err != nil {
			return nil, err
		}
		o := r.objective
		o.Dropout = 0
		b := o.Batch(r.folder, diffusion.Images{N: n, C: Channels, H: size, W: size, Data: pixels}, captions, generator(0, -1-first))
		l, err := r.trainer.Loss(b)
		if err != nil {
			return nil, err
		}
		for i, t := range b.T {
			band := t * bands / Timesteps
			sum[band] += float64(l.Each[i])
			count[band]++
		}
	}
	for i := range sum {
		sum[i] = round(sum[i] / max(count[i], 1))
	}
	return sum, nil
}

// sheet writes images in rows of four, enlarged.
func (r *run) sheet(path string, x diffusion.Images) error {
	scale := max(1, 128/x.H)
	var cells []image.Image
	for i := range x.N {
		one := image.NewRGBA(image.Rect(0, 0, x.W*scale, x.H*scale))
		v := x.Slice(i, i+1).Data
		for y := range x.H * scale {
			for c := range x.W * scale {
				at := y/scale*x.W + c/scale
				p := one.PixOffset(c, y)
				for k := range 3 {
					one.Pix[p+k] = uint8(math.Round(127.5 * float64(min(max(v[k*x.H*x.W+at], -1), 1)+1)))
				}
				one.Pix[p+3] = 255
			}
		}
		cells = append(cells, one)
	}
	const columns = 4
	w, h := x.W*scale+4, x.H*scale+4
	all := image.NewRGBA(image.Rect(0, 0, columns*w, (len(cells)+columns-1)/columns*h))
	for i, c := range cells {
		m := c.(*image.RGBA)
		for y := range m.Rect.Dy() {
			copy(all.Pix[all.PixOffset(i%columns*w+2, i/columns*h+2+y):], m.Pix[y*m.Stride:y*m.Stride+4*m.Rect.Dx()])
		}
	}
	return figure.WritePNG(path, all, nil)
}
