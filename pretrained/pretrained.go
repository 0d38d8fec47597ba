// Package pretrained holds models for digits of our own training, embedded in the program. Each is a folder here, made
// by `unnoise model export`: config.json and model.safetensors as mnistunet writes them, training.json with the recipe,
// seed, commit and each epoch's loss; and, not embedded, metrics.jsonl.gz with every step's.
package pretrained

import (
	"embed"
	"fmt"
	"path"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/weights"
)

//go:embed mnist-*/config.json mnist-*/model.safetensors mnist-*/training.json
var files embed.FS

// Names lists the models.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the embedded root always opens
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// Has reports whether there is a model of this name.
func Has(name string) bool { return slices.Contains(Names(), name) }

// Load makes the model of this name.
func Load(b compute.Backend, name string, dtype dtypes.DType) (*mnistunet.Model, error) {
	config, err := read(name, mnistunet.ConfigFile)
	if err != nil {
		return nil, err
	}
	f, err := Weights(name)
	if err != nil {
		return nil, err
	}
	return mnistunet.Parse(b, config, dtype, f)
}

// Weights returns the model's values, under PyTorch's names.
func Weights(name string) (*weights.File, error) {
	data, err := read(name, mnistunet.WeightsFile)
	if err != nil {
		return nil, err
	}
	return weights.Parse(path.Join(name, mnistunet.WeightsFile), data)
}

// Summary tells how the model was trained.
func Summary(name string) (training.Summary, error) {
	b, err := read(name, training.SummaryFile)
	if err != nil {
		return training.Summary{}, err
	}
	return training.ParseSummary(path.Join(name, training.SummaryFile), b)
}

func read(name, file string) ([]byte, error) {
	if !Has(name) {
		return nil, fmt.Errorf("there is no model %q in the program: it has %v", name, Names())
	}
	return files.ReadFile(path.Join(name, file))
}
