package registry

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/ranges"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/pretrained"
	"github.com/unnoise/unnoise/text2image"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/training/mnist"
)

// Trained tells how a model was trained.
type Trained struct{ training.Summary }

// String tells people what the summary says.
func (s Trained) String() string {
	var text strings.Builder
	c := s.Config
	row := func(name, format string, values ...any) {
		fmt.Fprintf(&text, "%-10s %s\n", name, fmt.Sprintf(format, values...))
	}
	if digits, err := mnist.Of(c); err == nil {
		n := digits.Network
		row("network", "%s, condition %s, dim %d, %d parameters", n.Model, n.Condition, n.Dim, n.Parameters())
		row("learns", "%s", n.Learns())
		if n.Condition == mnistunet.Class {
			classes := n.Occurring()
			row("classes", "%d (%s), hidden for %.4g %% of the images", len(classes), ranges.Format(classes),
				100*c.Dropout)
		}
	} else if n, err := text2image.Read(c.Network); err == nil {
		row("network", "first stage of %d×%d, %d parameters", n.Side(), n.Side(), n.Parameters())
		row("learns", "v, from captions, hidden for %.4g %% of the images", 100*c.Dropout)
	} else if n, err := text2image.ReadSecondStage(c.Network); err == nil {
		row("network", "second stage of %d×%d, %d parameters", n.Side(), n.Side(), n.Parameters())
		row("learns", "v, from crops and small images")
	} else {
		row("network", "%s", compact(c.Network))
	}
	if c.Data.Images > 0 {
		row("data", "%s, %d images (%s)", c.Data.Name, c.Data.Images, c.Data.Checksum)
		row("recipe", "epoch %d of %d, batches of %d, seed %d", s.Epoch, c.Epochs, c.Batch, c.Seed)
	} else {
		row("data", "%s, without end (%s)", c.Data.Name, c.Data.Checksum)
		row("recipe", "step %d of %d, batches of %d, seed %d", s.Epoch, c.Steps, c.Batch, c.Seed)
	}
	row("rate", "Adam, %s", c.Rate())
	if c.Clip > 0 {
		row("clipped", "gradients of a norm above %g", c.Clip)
	}
	if c.EMA > 0 {
		row("averages", "of the parameters, decay %g", c.EMA)
	}
	if c.From != "" {
		row("began as", "%s", c.From)
	}
	row("trained", "in %s on %s, commit %s, %s", c.DType, engine.Computer(c.Backend, c.Threads), c.Program.Commit,
		c.Program.Go)
	for _, m := range s.Resumed {
		row("resumed", "after step %d on %s, commit %s", m.Step, engine.Computer(m.Backend, m.Threads), m.Commit)
	}
	for _, m := range s.Epochs {
		at := fmt.Sprintf("epoch %d", m.Epoch)
		if m.Epoch == 0 {
			at = fmt.Sprintf("step %d", m.Step)
		}
		row(at, "mean loss %.4f, %.0f images/s", m.MeanLoss, m.ImagesPerSecond)
	}
	return text.String()
}

// List describes the models in the program, a line for each.
func List() (lines []string, err error) {
	for _, name := range Names() {
		s, err := pretrained.Summary(name)
		if err != nil {
			return nil, err
		}
		about, err := briefly(s.Config)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		done := fmt.Sprintf("%d of %d epochs", s.Epoch, s.Config.Epochs)
		data := s.Config.Data.Name
		if s.Config.Epochs == 0 {
			done, data = fmt.Sprintf("%d of %d steps", s.Epoch, s.Config.Steps), filepath.Base(data)
		}
		lines = append(lines, fmt.Sprintf("%-14s %s, %s on %s", name, about, done, data))
	}
	return lines, nil
}

// briefly tells what a run's network does.
func briefly(c training.Config) (string, error) {
	if n, err := text2image.Read(c.Network); err == nil {
		return fmt.Sprintf("draws %d×%d from captions, %d parameters", n.Side(), n.Side(), n.Parameters()), nil
	}
	if n, err := text2image.ReadSecondStage(c.Network); err == nil {
		return fmt.Sprintf("makes them %d×%d, %d parameters", n.Side(), n.Side(), n.Parameters()), nil
	}
	digits, err := mnist.Of(c)
	n := digits.Network
	return fmt.Sprintf("condition %s (%s), dim %d, %d parameters", n.Condition, n.Learns(), n.Dim, n.Parameters()), err
}

// compact is JSON without spaces, shortened.
func compact(j json.RawMessage) string {
	var text bytes.Buffer
	if json.Compact(&text, j) != nil {
		return string(j)
	}
	if s := text.String(); len(s) > 200 {
		return s[:200] + " …"
	}
	return text.String()
}
