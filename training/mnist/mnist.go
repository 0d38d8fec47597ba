// Package mnist trains the networks of package mnistunet: their recipes, and what a run's config.json says of them.
package mnist

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/ranges"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training"
)

// Config is the recipe of a run that trains a UNet for digits.
type Config struct {
	training.Config                  // but for its Network
	Network         mnistunet.Config `json:"network"`
}

// Default returns the recipe for a condition.
//
// none: noise of σ = 0.5, dim 128, 5 epochs of batches of 256, Adam 1e-4. time and class: 300 timesteps, β from 1e-4 to
// 0.02, dim 64, 20 epochs of batches of 128, Adam 1e-3 falling to a tenth, the class hidden from one image in ten. For
// pure noise and for flow matching the recipe is the same; see [mnistunet.Config.ForPureNoise] and
// [mnistunet.Config.ForFlow].
func Default(condition mnistunet.Condition) Config {
	c := Config{training.Config{Epochs: 20, Batch: 128, LearningRate: 1e-3, Decay: 0.1, DType: "auto"},
		mnistunet.Default(condition)}
	switch condition {
	case mnistunet.None:
		c.Epochs, c.Batch, c.LearningRate, c.Decay = 5, 256, 1e-4, 1
	case mnistunet.Class:
		c.Dropout = 0.1
	}
	return c
}

// Choice is what may be chosen of a recipe. Zeros leave what [Default] has.
type Choice struct {
	Condition      mnistunet.Condition
	Flow           bool // of time and class
	Dim, Timesteps int
	Sigma          float64           // of none
	PureNoise      bool              // of none
	From           *mnistunet.Config // the network of the model to begin with, which decides all
}

// Config is the recipe that was chosen.
func (o Choice) Config() Config {
	c := Default(o.Condition)
	n := &c.Network
	switch {
	case o.From != nil:
		c = Default(o.From.Condition)
		*n = *o.From
	case o.Flow:
		*n = n.ForFlow()
	case o.PureNoise:
		*n = n.ForPureNoise()
	case n.Condition == mnistunet.None:
		n.Sigma = cmp.Or(o.Sigma, n.Sigma)
	case o.Timesteps > 0:
		*n = n.ForTimesteps(o.Timesteps)
	}
	n.Dim = cmp.Or(o.Dim, n.Dim)
	return c
}

// Measure returns what measures the loss on held-out images, of each model that a run keeps.
func (c Config) Measure(held *dataset.Labeled, name string) (func(context.Context, training.Kept) (map[string]float64,
	error), error) {
	task, err := c.Task(held, name)
	return func(ctx context.Context, k training.Kept) (map[string]float64, error) {
		loss, err := k.Loss(ctx, task.Data, held.Len())
		return map[string]float64{"test_loss": loss}, err
	}, err
}

// About tells people of the network, and of the images that it learns from.
func (c Config) About(images *dataset.Labeled) string {
	about := fmt.Sprintf("%d parameters, %d images", c.Network.Parameters(), images.Len())
	if c.Network.Condition == mnistunet.Class {
		classes := c.Network.Occurring()
		about += fmt.Sprintf(" of %d classes (%s)", len(classes), ranges.Format(classes))
	}
	return about
}

// ReadConfig reads a run folder's config.json.
func ReadConfig(dir string) (Config, error) {
	c, err := training.ReadConfig(dir)
	if err != nil {
		return Config{}, err
	}
	mnist, err := Of(c)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", filepath.Join(dir, "config.json"), err)
	}
	return mnist, nil
}

// Of returns the recipe of a run, which must be one of a UNet for digits.
func Of(c training.Config) (Config, error) {
	mnist := Config{Config: c}
	mnist.Config.Network = nil // it has another place
	d := json.NewDecoder(bytes.NewReader(c.Network))
	d.DisallowUnknownFields()
	if err := d.Decode(&mnist.Network); err != nil {
		return Config{}, fmt.Errorf("network: expected that of a UNet for digits, found another: %w", err)
	}
	if err := mnist.Network.Validate(); err != nil {
		return Config{}, fmt.Errorf("network: %w", err)
	}
	return mnist, nil
}

// Task is the recipe's task. name is where the images can be opened again, for people.
func (c Config) Task(images *dataset.Labeled, name string) (training.Task, error) {
	n := c.Network
	if err := n.Validate(); err != nil {
		return training.Task{}, fmt.Errorf("the recipe: network: %w", err)
	}
	if err := images.Check(mnistunet.Size, mnistunet.Size); err != nil {
		return training.Task{}, err
	}
	d := &digits{Labeled: images, name: name, dropout: c.Dropout}
	if n.Condition == mnistunet.Class {
		d.classes = n.Classes
		for i, label := range images.Labels {
			if int(label) >= n.Classes {
				return training.Task{}, fmt.Errorf("image %d has label %d, but the network has %d classes: 0 to %d", i,
					label, n.Classes, n.Classes-1)
			}
		}
	}
	o, err := objective(n)
	return training.Task{Network: n, Data: d, Objective: o}, err
}

func objective(n mnistunet.Config) (training.Objective, error) {
	switch {
	case n.PureNoise:
		return training.PureNoise{}, nil
	case n.Condition == mnistunet.None:
		return training.Denoising{Sigma: n.Sigma}, nil
	case n.Objective == mnistunet.Flow:
		return training.Flow{}, nil
	}
	s, err := diffusion.Linear(n.Timesteps, n.BetaStart, n.BetaEnd)
	return training.Diffusion{Schedule: s, Prediction: diffusion.Epsilon, Relative: true}, err
}

// digits are a set's images, and their classes one-hot, or 0 everywhere where the class is hidden.
type digits struct {
	*dataset.Labeled
	name    string
	classes int // 0: none are told
	dropout float64

	labels  []int32
	uniform []float32
}

func (d *digits) Describe() training.Data {
	return training.Data{Name: d.name, Images: d.Len(), Checksum: d.Checksum()}
}

func (d *digits) Fill(b *training.Batch, indices []int, g *diffusion.Generator) error {
	n := len(indices)
	if len(d.labels) < n {
		d.labels, d.uniform = make([]int32, n), make([]float32, n)
	}
	d.Batch(indices, b.Images(n, mnistunet.Size, mnistunet.Size, 1), d.labels[:n])
	if d.classes == 0 {
		return nil
	}
	class := b.Float32("class", d.classes)
	clear(class)
	g.Uniform(d.uniform[:n])
	for i, u := range d.uniform[:n] {
		if float64(u) >= d.dropout {
			class[i*d.classes+int(d.labels[i])] = 1
		}
	}
	return nil
}
