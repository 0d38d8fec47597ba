package studio

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/gomlx/compute"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/dataset/emoji"
	"github.com/unnoise/unnoise/internal/drawdigits"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/text2image"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/training/mnist"
	"github.com/unnoise/unnoise/writeup"
)

// TrainRequest says what to train. Fields that are zero are the recipe's.
type TrainRequest struct {
	Data      string  `json:"data" doc:"a set of /api/data"`
	Condition string  `json:"condition,omitempty" enum:"time,class" doc:"digits: what the network is told; default class"`
	Objective string  `json:"objective,omitempty" enum:"noise,flow" doc:"digits: what it estimates; default noise"`
	Dim       int     `json:"dim,omitempty" minimum:"0" maximum:"128" doc:"digits: channels of the first level"`
	Limit     int     `json:"limit,omitempty" minimum:"0" doc:"digits: only the first images"`
	Epochs    int     `json:"epochs,omitempty" minimum:"0" maximum:"1000" doc:"digits: times to go through the set"`
	Steps     int     `json:"steps,omitempty" minimum:"0" maximum:"1000000" doc:"captions: steps of the run"`
	KeepEvery int     `json:"keep_every,omitempty" minimum:"0" doc:"captions: steps between kept models and samples"`
	Batch     int     `json:"batch,omitempty" minimum:"0" maximum:"1024"`
	Rate      float64 `json:"learning_rate,omitempty" minimum:"0" maximum:"10"`
	Seed      uint64  `json:"seed,omitempty"`
}

// trainee is a run that can be begun or gone on with.
type trainee struct {
	config  training.Config
	task    training.Task
	options training.Options
}

// newTrainee makes a run of a request. path is the data's.
func newTrainee(b compute.Backend, r TrainRequest, path string, captions bool) (t trainee, err error) {
	if captions {
		c := text2image.Recipe()
		c.Steps, c.KeepEvery = cmp.Or(r.Steps, c.Steps), cmp.Or(r.KeepEvery, c.KeepEvery)
		c.Batch, c.LearningRate, c.Seed = cmp.Or(r.Batch, c.Batch), cmp.Or(r.Rate, c.LearningRate), r.Seed
		return captionTrainee(b, c, nil, path)
	}
	c := mnist.Default(mnistunet.Condition(cmp.Or(r.Condition, "class")))
	if r.Objective == "flow" {
		c.Network = c.Network.ForFlow()
	}
	c.Network.Dim, c.Epochs, c.Seed = cmp.Or(r.Dim, c.Network.Dim), cmp.Or(r.Epochs, c.Epochs), r.Seed
	c.Batch, c.LearningRate = cmp.Or(r.Batch, c.Batch), cmp.Or(r.Rate, c.LearningRate)
	name, err := mnist.DataName(path)
	if err != nil {
		return t, err
	}
	images, test, err := mnist.OpenData(name)
	if err != nil {
		return t, err
	}
	if r.Limit > 0 {
		images = images.Head(r.Limit)
	}
	if c.Network.Condition == mnistunet.Class {
		c.Network = c.Network.ForClasses(images.Occurring())
	}
	return digitTrainee(b, c, images, test, name)
}

// oldTrainee makes a run of what is in its folder.
func oldTrainee(b compute.Backend, dir string) (t trainee, err error) {
	c, err := training.ReadConfig(dir)
	if err != nil {
		return t, err
	}
	if isDigits(c) {
		c, err := mnist.Of(c)
		if err != nil {
			return t, err
		}
		images, test, err := mnist.OpenDataOf(dir, c.Data)
		if err != nil {
			return t, err
		}
		return digitTrainee(b, c, images.Head(c.Data.Images), test, c.Data.Name)
	}
	n, err := text2image.Read(c.Network)
	if err != nil {
		return t, fmt.Errorf("%s: network: %w", filepath.Base(dir), err)
	}
	return captionTrainee(b, c, n, c.Data.Name)
}

// isDigits reports whether a run trains a UNet for digits.
func isDigits(c training.Config) bool {
	_, err := mnist.Of(c)
	return err == nil
}

func digitTrainee(b compute.Backend, c mnist.Config, images, test *dataset.Labeled,
	name string) (t trainee, err error) {
	t.config = c.Config
	if t.task, err = c.Task(images, name); err != nil {
		return t, err
	}
	dtype, err := engine.DType(c.DType, c.Backend)
	if err != nil {
		return t, err
	}
	t.options = training.Options{Backend: b, Draw: writeup.EpochDrawer(b, dtype, drawdigits.Draw, test, c.Seed)}
	return t, nil
}

// captionTrainee makes a run that learns from a folder of captioned pictures. n is nil for a new network.
func captionTrainee(b compute.Backend, c training.Config, n *text2image.Network, path string) (t trainee, err error) {
	train, held, err := emoji.OpenAny(path)
	if err != nil {
		return t, err
	}
	if n == nil {
		if n, err = text2image.FromCaptions(train, c.Seed); err != nil {
			return t, err
		}
		n.Half = min(text2image.Half, c.Steps*c.Batch/6) // as large a part as of the recipe's
	}
	dtype, err := engine.DType(c.DType, c.Backend)
	if err != nil {
		return t, err
	}
	r, err := text2image.FirstRun(n, c, text2image.Set{Name: path, Train: train, Held: held})
	return trainee{config: r.Config, task: r.Task, options: r.Options(b, dtype, true)}, err
}

// errData says that a request names no set of the studio.
func errData(name string) error {
	return model.Errorf("data", "%q is no set of this studio; see /api/data", name)
}

var errTraining = errors.New("a training is running: stop it first")
