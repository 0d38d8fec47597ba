// Package registry finds models by their names. It is the only place that knows what a name may be: that of a model in
// the program, the folder of a training run, of a model or of a pipeline as the hub has it, or OWNER/NAME in the hub's
// cache.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/modelfile"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/pretrained"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/weights/hub"
)

// Kind is a kind of place where models lie.
type Kind int

// The kinds.
const (
	Bundled  Kind = iota // a network for digits in the program
	Folder               // a network for digits: config.json and model.safetensors
	Pipeline             // the hub's layout, with a model_index.json; in the program too
)

// Place is where a model lies.
type Place struct {
	Kind Kind
	Name string // what it was asked for
	Dir  string // the model's folder; of a run, that of its newest epoch. Empty for Bundled

	usual deepfloyd.Usual
}

// InProgram reports whether the model comes with the program.
func (p Place) InProgram() bool { return p.Kind == Bundled || modelfile.IsInProgram(p.Dir) }

// Names lists the models in the program.
func Names() []string { return pretrained.Names() }

// Drawing lists the models in the program that draw from noise. The denoiser of one noise level and the second stage do
// not.
func Drawing() (names []string) {
	for _, name := range Names() {
		if name != "mnist-none" && name != pretrained.EmojiLarge {
			names = append(names, name)
		}
	}
	return names
}

// Default is the model that draws where none is named.
func Default() string {
	if pretrained.Has(pretrained.Emoji) {
		return pretrained.Emoji
	}
	return "mnist-class"
}

// Larger returns the model in the program that makes a model's images larger, where it has one.
func Larger(name string) (string, bool) {
	p, err := Find(name)
	return pretrained.EmojiLarge, err == nil && p.InProgram() && name == pretrained.Emoji &&
		pretrained.Has(pretrained.EmojiLarge)
}

// Find finds a model. One in the program goes before a folder, which ./NAME is then, and that before the hub's cache.
func Find(name string) (Place, error) {
	p := Place{Name: name, Dir: name}
	_, err := os.Stat(name)
	if dir, ok, err := hub.Snapshot(name); ok {
		p.Kind, p.Dir = Pipeline, dir
		return p, err
	}
	switch {
	case name == "":
		return p, errors.New("expected a model, found nothing")
	case pretrained.Has(name):
		p.Kind, p.Dir = Bundled, ""
		if dir, usual, ok := pretrained.Stage(name); ok {
			p.Kind, p.Dir, p.usual = Pipeline, dir, usual
		}
		return p, nil
	case err != nil && hub.IsRepo(name):
		if p.Dir, err = hub.Cached(name, "main"); err != nil {
			return p, fmt.Errorf("there is no folder %s, and %w (fetch it with 'unnoise model pull %s')", name, err,
				name)
		}
		p.Kind = Pipeline
		return p, nil
	case errors.Is(err, fs.ErrNotExist):
		return p, fmt.Errorf("there is no folder %s, and the models that come with the program are %s", name,
			strings.Join(pretrained.Names(), ", "))
	case err != nil:
		return p, err
	}
	p.Kind = Folder
	if p.Dir, err = training.ModelDir(name); err != nil {
		return p, err
	}
	if _, err := os.Stat(filepath.Join(p.Dir, hub.IndexFile)); err == nil {
		p.Kind = Pipeline
	}
	return p, nil
}

// Options say how models are opened.
type Options struct {
	Backend     compute.Backend
	BackendName string // if it is not onednn
	DType       dtypes.DType
	Variant     string // of a pipeline's weights
	Embeddings  string // folder where a pipeline keeps prompts' embeddings; empty: nowhere
	Warn        func(string)
}

// Open finds and opens a model.
func Open(name string, o Options) (model.Model, error) {
	p, err := Find(name)
	if err != nil {
		return nil, err
	}
	return p.Open(o)
}

// Open opens the model at a place.
func (p Place) Open(o Options) (model.Model, error) {
	if p.Kind != Pipeline {
		return p.Digits(o)
	}
	return deepfloyd.OpenPipeline(o.Backend, p.Dir, deepfloyd.Options{
		ID: p.Name, Variant: o.Variant, DType: o.DType, Cache: o.Embeddings, Backend: o.BackendName, Warn: o.Warn,
		Usual: p.usual,
	})
}

// OpenDigits finds and opens a network for digits.
func OpenDigits(name string, o Options) (*mnistunet.Model, error) {
	p, err := Find(name)
	if err != nil {
		return nil, err
	}
	return p.Digits(o)
}

// Digits opens the model at a place as a network for digits.
func (p Place) Digits(o Options) (m *mnistunet.Model, err error) {
	id := p.Dir
	switch p.Kind {
	case Bundled:
		id = p.Name
		m, err = pretrained.Load(o.Backend, p.Name, o.DType)
	case Folder:
		m, err = mnistunet.Load(o.Backend, p.Dir, o.DType)
	default:
		return nil, fmt.Errorf("%s is a pipeline as the hub has it; expected a network for digits", p.Name)
	}
	if err != nil {
		return nil, err
	}
	m.Name = id
	return m, nil
}

// Start opens a network for digits as what a run begins with, and returns what it is.
func Start(b compute.Backend, name string) (mnistunet.Config, training.Start, error) {
	m, err := OpenDigits(name, Options{Backend: b, DType: dtypes.Float32})
	if err != nil {
		return mnistunet.Config{}, training.Start{}, err
	}
	defer m.Close()
	values, err := m.Tensors()
	return m.Config, training.Start{Name: name, Values: values}, err
}

// FindPipeline finds a model that reads texts.
func FindPipeline(name string) (Place, error) {
	p, err := Find(name)
	if err == nil && p.Kind != Pipeline {
		err = fmt.Errorf("%s reads no texts; expected the folder of a pipeline as the hub has it", name)
	}
	return p, err
}

// Encode encodes texts with a pipeline's text encoder, and writes the embeddings to a safetensors file. It returns how
// many texts there are: each is kept once.
func (p Place) Encode(ctx context.Context, o Options, report model.Report, path string, texts ...string) (int, error) {
	e := deepfloyd.TextEncoder{Dir: p.Dir, Variant: o.Variant, DType: o.DType, Backend: o.BackendName,
		Cache: o.Embeddings, Warn: o.Warn, Progress: func(done, total int) {
			report(filepath.Join(p.Dir, "text_encoder"), done, total)
		}}
	prompts, err := e.Encode(ctx, o.Backend, texts...)
	if err != nil {
		return 0, err
	}
	return len(prompts.Texts), prompts.Write(path, map[string]string{"Software": "unnoise " + build.Commit(),
		"model": p.Name, "dtype": engine.Name(o.DType)})
}

// Summary tells how a network for digits was trained: one of the program's own, an exported one, or a run's newest
// epoch.
func (p Place) Summary() (training.Summary, error) {
	if p.InProgram() {
		return pretrained.Summary(p.Name)
	}
	if s, err := training.ReadSummary(p.Dir); !errors.Is(err, fs.ErrNotExist) {
		return s, err
	}
	epoch, err := training.LastEpoch(p.Name)
	if err != nil {
		return training.Summary{}, fmt.Errorf("%w, nor a folder with a %s", err, training.SummaryFile)
	}
	return training.Summarize(p.Name, epoch)
}

// Data returns which images the model at a place was trained on. Where that is not told, the error wraps
// fs.ErrNotExist.
func (p Place) Data() (training.Data, error) {
	if !p.InProgram() {
		return training.DataOf(p.Name)
	}
	s, err := p.Summary()
	return s.Config.Data, err
}
