package text2image

import (
	"context"
	"fmt"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/training"
)

// FromCaptions returns a new network with the words of a source's captions.
func FromCaptions(from captioned.Source, seed uint64) (*Network, error) {
	captions := make([]string, Captions)
	for i := range captions {
		var err error
		if captions[i], err = from.Caption(seed, i); err != nil {
			return nil, err
		}
	}
	return New(captions, Words)
}

// Task is what a network learns from pictures that can be opened again by name.
func Task(n *Network, from captioned.Source, name string, c training.Config) (training.Task, error) {
	pictures, err := NewPictures(Pictures{Source: from, Network: n, Name: name, Seed: c.Seed, Dropout: c.Dropout})
	if err != nil {
		return training.Task{}, err
	}
	o, err := NewObjective()
	o.Noisy = !n.Even
	return training.Task{Network: n, Data: pictures, Objective: o}, err
}

// Look looks at models that are kept.
type Look struct {
	Backend compute.Backend
	DType   dtypes.DType
	Side    int              // of its pictures
	Held    captioned.Source // nil where nothing is held out
}

func (l Look) open(k training.Kept) (*deepfloyd.Pipeline, error) {
	return deepfloyd.OpenPipeline(l.Backend, k.ModelDir, deepfloyd.Options{DType: l.DType})
}

// Draw draws a sheet of prompts.
func (l Look) Draw(ctx context.Context, k training.Kept) error {
	m, err := l.open(k)
	if err != nil {
		return err
	}
	defer m.Close()
	const columns, guidance, steps, pixels = 4, 3, 20, 128
	x, err := Draw(ctx, m, Prompts, Sampling{Size: l.Side, Steps: steps, Guidance: guidance})
	if err != nil {
		return err
	}
	parameters := about(k)
	parameters.Add("prompts", strings.Join(Prompts, "; "))
	parameters.Add("sampler", "dpm++")
	parameters.Add("steps", steps)
	parameters.Add("guidance", guidance)
	return figure.Grid{Images: x, Columns: columns, Scale: max(1, pixels/x.H), Padding: 4}.WritePNG(k.Sample,
		parameters)
}

func about(k training.Kept) (parameters figure.Parameters) {
	parameters.Add("Software", "unnoise "+build.Commit())
	parameters.Add("model", k.ModelDir)
	return parameters
}

// Measure tells the errors on pictures that are held out, by band of t.
func (l Look) Measure(ctx context.Context, k training.Kept) (map[string]float64, error) {
	if l.Held == nil {
		return nil, nil
	}
	m, err := l.open(k)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	const pictures = 64
	all, err := Errors(ctx, m, l.Held, l.Side, pictures)
	return scores(all), err
}

const bandPrefix = "error_t"

func scores(all [Bands]float64) map[string]float64 {
	scores := map[string]float64{}
	for band, e := range all {
		scores[fmt.Sprintf("%s%d", bandPrefix, band*Timesteps/Bands)] = e
	}
	return scores
}
