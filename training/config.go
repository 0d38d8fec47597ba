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
	"github.com/unnoise/unnoise/onednn"
)

const version = 1

// Config is the recipe of a run, and what is needed to repeat it. It is the run folder's config.json.
type Config struct {
	Version int             `json:"version"` // of this format: 1
	Network json.RawMessage `json:"network"` // the task's network; Train fills it in

	Epochs    int `json:"epochs,omitempty"`     // times through a set of images
	Steps     int `json:"steps,omitempty"`      // of the run, where the data have no end
	KeepEvery int `json:"keep_every,omitempty"` // steps between the models that are kept, where the data have no end
	Batch     int `json:"batch"`                // images a step; the last one of an epoch may have fewer

	LearningRate float64 `json:"learning_rate"`         // after the warm-up
	Warmup       int     `json:"warmup,omitempty"`      // steps over which the learning rate rises
	Schedule     string  `json:"schedule,omitempty"`    // how it falls: exponential when empty, linear or cosine
	Decay        float64 `json:"decay"`                 // what it falls to, as a part of LearningRate; 1 keeps it
	DecaySteps   bool    `json:"decay_steps,omitempty"` // exponential: it falls after each step instead of each epoch
	// epochs (steps) over which it falls; 0: all. Behind them it is constant
	Planned int `json:"planned,omitempty"`

	Clip float64 `json:"clip,omitempty"` // largest norm of the gradients; 0: any
	EMA  float64 `json:"ema,omitempty"`  // decay of moving averages, which the kept models have for parameters; 0: none

	Dropout float64 `json:"dropout"` // the chance that an image's class or text is hidden
	Seed    uint64  `json:"seed"`
	DType   string  `json:"dtype"`             // f32 or bf16; Train takes auto too
	Threads int     `json:"threads"`           // the sums' order, and so their last bits, depend on it
	Backend string  `json:"backend,omitempty"` // as --backend names it, if it is not onednn
	From    string  `json:"from,omitempty"`    // the model that the run began with; empty: random values
	Data    Data    `json:"data"`
	Program Program `json:"program"`
}

// Data tells what a run learns from.
type Data struct {
	Name     string `json:"name"`     // for people
	Images   int    `json:"images"`   // 0: there is no end of them
	Checksum string `json:"checksum"` // of all of them, or of what they are made from
}

// Program tells which build began the run.
type Program struct {
	Commit string `json:"commit,omitempty"` // with -dirty if there were changes beside it
	Go     string `json:"go"`
	OneDNN string `json:"onednn,omitempty"` // the library's version and instruction set
}

// Validate tells what is wrong with the recipe.
func (c Config) Validate() error {
	endless := c.Data.Images == 0
	switch {
	case c.Version != version:
		return fmt.Errorf("version is %d, expected %d: the run was written by another version of the program",
			c.Version, version)
	case !endless && (c.Epochs < 1 || c.Epochs > 1e6):
		return fmt.Errorf("epochs is %d, expected 1 to 1000000", c.Epochs)
	case !endless && (c.Steps != 0 || c.KeepEvery != 0):
		return fmt.Errorf("steps is %d and keep_every %d, expected neither: they are for data without end", c.Steps,
			c.KeepEvery)
	case endless && c.Epochs != 0:
		return fmt.Errorf("epochs is %d, expected none: the data have no end", c.Epochs)
	case endless && (c.Steps < 1 || c.Steps > 1e9):
		return fmt.Errorf("steps is %d, expected 1 to 1000000000", c.Steps)
	case endless && (c.KeepEvery < 1 || c.KeepEvery > 1e9):
		return fmt.Errorf("keep_every is %d, expected 1 to 1000000000", c.KeepEvery)
	case c.Batch < 1 || c.Batch > 1<<16:
		return fmt.Errorf("batch is %d, expected 1 to 65536", c.Batch)
	case !(c.LearningRate > 0 && c.LearningRate <= math.MaxFloat32):
		return fmt.Errorf("learning_rate is %g, expected a positive number", c.LearningRate)
	case c.Warmup < 0 || c.Warmup > 1e9:
		return fmt.Errorf("warmup is %d, expected 0 to 1000000000", c.Warmup)
	case !c.exponential() && c.Schedule != Linear && c.Schedule != Cosine:
		return fmt.Errorf("schedule is %q, expected %s, %s or %s", c.Schedule, Exponential, Linear, Cosine)
	case c.exponential() && !(c.Decay > 0 && c.Decay <= 1):
		return fmt.Errorf("decay is %g, expected a number above 0 and at most 1", c.Decay)
	case !(c.Decay >= 0 && c.Decay <= 1):
		return fmt.Errorf("decay is %g, expected a number from 0 to 1", c.Decay)
	case c.Planned < 0 || c.Planned > 1e9:
		return fmt.Errorf("planned is %d, expected 0 to 1000000000", c.Planned)
	case !(c.Clip >= 0 && c.Clip <= math.MaxFloat32):
		return fmt.Errorf("clip is %g, expected 0 or a positive number", c.Clip)
	case !(c.EMA >= 0 && c.EMA < 1):
		return fmt.Errorf("ema is %g, expected 0 or a number below 1", c.EMA)
	case !(c.Dropout >= 0 && c.Dropout <= 1):
		return fmt.Errorf("dropout is %g, expected a number from 0 to 1", c.Dropout)
	case c.DType != "f32" && c.DType != "bf16":
		return fmt.Errorf("dtype is %q, expected f32 or bf16", c.DType)
	}
	return nil
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
		return Config{}, fmt.Errorf("%s is not the configuration of a training run: %w", path,
			otherfile.Explain(b, err))
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
func (c *Config) complete(t Task, o Options) error {
	network, err := json.Marshal(t.Network)
	if err != nil {
		return fmt.Errorf("the network's configuration: %w", err)
	}
	c.Version, c.Network, c.Data, c.From, c.Planned = version, network, t.Data.Describe(), o.From.Name, 0
	by := computer(o.Backend)
	c.Program = Program{Commit: build.Commit(), Go: runtime.Version(), OneDNN: by.library}
	c.Threads, c.Backend = by.threads, cmp.Or(c.Backend, by.backend)
	if d, err := engine.DType(c.DType, c.Backend); err == nil {
		c.DType = engine.Name(d)
	}
	return nil
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

// Change takes those values of another recipe that given reports, by the names of the flags of 'unnoise train'. What is
// 0 there stays as it is, where 0 has no meaning.
func (c *Config) Change(to Config, given func(flag string) bool) error {
	set := func(flag string, do func()) {
		if given(flag) {
			do()
		}
	}
	set("epochs", func() { c.Epochs = cmp.Or(to.Epochs, c.Epochs) })
	set("steps", func() { c.Steps = cmp.Or(to.Steps, c.Steps) })
	set("keep-every", func() { c.KeepEvery = cmp.Or(to.KeepEvery, c.KeepEvery) })
	set("batch", func() { c.Batch = cmp.Or(to.Batch, c.Batch) })
	set("lr", func() { c.LearningRate = cmp.Or(to.LearningRate, c.LearningRate) })
	schedule, planned := cmp.Or(c.Schedule, Exponential), c.Decay
	set("schedule", func() {
		if to.Schedule != schedule {
			schedule, c.Schedule, c.Decay = to.Schedule, to.Schedule, to.Decay
		}
	})
	set("decay", func() {
		c.Decay = to.Decay
		if schedule == Exponential {
			c.Decay = cmp.Or(to.Decay, planned)
		}
	})
	set("warmup", func() { c.Warmup = to.Warmup })
	set("clip", func() { c.Clip = to.Clip })
	set("ema", func() { c.EMA = to.EMA })
	set("dropout", func() { c.Dropout = to.Dropout })
	set("seed", func() { c.Seed = to.Seed })
	set("dtype", func() { c.DType = to.DType })
	if c.Decay == 0 && schedule == Exponential {
		return fmt.Errorf("--decay: expected a number above 0 with --schedule %s", schedule)
	}
	return nil
}
