package training

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/gomlx/compute"

	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/otherfile"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/onednn"
)

const version = 1

// Config is the recipe of a run, and what is needed to repeat it. It is the run folder's config.json.
type Config struct {
	Version      int              `json:"version"` // of this format: 1
	Network      mnistunet.Config `json:"network"`
	Epochs       int              `json:"epochs"`
	Batch        int              `json:"batch"`                 // images a step; the last one of an epoch may have fewer
	LearningRate float64          `json:"learning_rate"`         // of the first epoch
	Decay        float64          `json:"decay"`                 // the learning rate falls by Decay^(1/Epochs) after each epoch; 1 keeps it
	DecaySteps   bool             `json:"decay_steps,omitempty"` // it falls a little after each step instead, by as much in all
	Dropout      float64          `json:"dropout"`               // the chance that an image's class is hidden, for condition class
	Seed         uint64           `json:"seed"`
	DType        string           `json:"dtype"`             // f32 or bf16; Train takes auto too
	Threads      int              `json:"threads"`           // the sums' order, and so their last bits, depend on it
	Backend      string           `json:"backend,omitempty"` // as --backend names it, if it is not onednn
	Data         Data             `json:"data"`
	Program      Program          `json:"program"`
}

// Data tells which images a run learns from.
type Data struct {
	Name     string `json:"name"` // for people
	Images   int    `json:"images"`
	Checksum string `json:"checksum"` // of pixels and labels
}

// Program tells which build began the run.
type Program struct {
	Commit string `json:"commit,omitempty"` // with -dirty if there were changes beside it
	Go     string `json:"go"`
	OneDNN string `json:"onednn,omitempty"` // the library's version and instruction set
}

// Default returns the recipe for a condition.
//
// none: noise of σ = 0.5, dim 128, 5 epochs of batches of 256, Adam 1e-4. time and class: 300 timesteps, β from 1e-4 to
// 0.02, dim 64, 20 epochs of batches of 128, Adam 1e-3 falling to a tenth, the class hidden from one image in ten. For
// flow matching the recipe is the same; see [mnistunet.Config.ForFlow].
func Default(condition mnistunet.Condition) Config {
	c := Config{Version: version, Network: mnistunet.Default(condition), Epochs: 20, Batch: 128, LearningRate: 1e-3, Decay: 0.1, DType: "auto"}
	switch condition {
	case mnistunet.None:
		c.Epochs, c.Batch, c.LearningRate, c.Decay = 5, 256, 1e-4, 1
	case mnistunet.Class:
		c.Dropout = 0.1
	}
	return c
}

// Validate tells what is wrong with the recipe.
func (c Config) Validate() error {
	switch {
	case c.Version != version:
		return fmt.Errorf("version is %d, expected %d: the run was written by another version of the program", c.Version, version)
	case c.Epochs < 1 || c.Epochs > 1e6:
		return fmt.Errorf("epochs is %d, expected 1 to 1000000", c.Epochs)
	case c.Batch < 1 || c.Batch > 1<<16:
		return fmt.Errorf("batch is %d, expected 1 to 65536", c.Batch)
	case !(c.LearningRate > 0 && c.LearningRate <= math.MaxFloat32):
		return fmt.Errorf("learning_rate is %g, expected a positive number", c.LearningRate)
	case !(c.Decay > 0 && c.Decay <= 1):
		return fmt.Errorf("decay is %g, expected a number above 0 and at most 1", c.Decay)
	case !(c.Dropout >= 0 && c.Dropout <= 1):
		return fmt.Errorf("dropout is %g, expected a number from 0 to 1", c.Dropout)
	case c.DType != "f32" && c.DType != "bf16":
		return fmt.Errorf("dtype is %q, expected f32 or bf16", c.DType)
	}
	if err := c.Network.Validate(); err != nil {
		return fmt.Errorf("network: %w", err)
	}
	return nil
}

// rate returns the learning rate of a step, counted from 0, in a run with perEpoch steps an epoch.
func (c Config) rate(step, perEpoch int) float64 {
	done := float64(step / perEpoch)
	if c.DecaySteps {
		done = float64(step) / float64(perEpoch)
	}
	return c.LearningRate * math.Pow(c.Decay, done/float64(c.Epochs))
}

// ReadConfig reads a run folder's config.json.
func ReadConfig(dir string) (Config, error) {
	path := filepath.Join(dir, configFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Config{}, fmt.Errorf("%s is not a training run: it has no %s", dir, configFile)
	}
	if err != nil {
		return Config{}, fmt.Errorf("reading the run's configuration: %w", err)
	}
	var c Config
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return Config{}, fmt.Errorf("%s is not the configuration of a training run: %w", path, otherfile.Explain(b, err))
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

func (c Config) write(dir string) error {
	return atomicfile.WriteJSON(filepath.Join(dir, configFile), c)
}

// complete fills in what the run itself knows.
func (c *Config) complete(o Options) {
	c.Version = version
	c.Data = describe(o.Data, o.DataName)
	by := computer(o.Backend)
	c.Program = Program{Commit: build.Commit(), Go: runtime.Version(), OneDNN: by.library}
	c.Threads, c.Backend = by.threads, cmp.Or(c.Backend, by.backend)
	if d, err := engine.DType(c.DType, c.Backend); err == nil {
		c.DType = engine.Name(d)
	}
}

// computedBy is what sums' last bits depend on.
type computedBy struct {
	threads int    // of onednn
	library string // of onednn
	backend string // another one's name
}

func computer(b compute.Backend) computedBy {
	if t, ok := b.(*onednn.Backend); ok {
		l := onednn.Library()
		return computedBy{threads: t.Threads(), library: strings.TrimSpace(l.Version + " " + l.ISA)}
	}
	return computedBy{backend: b.Name()}
}
