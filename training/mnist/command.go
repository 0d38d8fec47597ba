package mnist

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/unnoise/unnoise/internal/shell"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training"
)

// Command is the line that trains the run in dir again, which learned from all images of its set or from the first ones
// only.
func (c Config) Command(limited bool, dir string) string {
	usual := Default(c.Network.Condition)
	if c.Network.Objective == mnistunet.Flow {
		usual.Network = usual.Network.ForFlow()
	}
	if c.Network.PureNoise {
		usual.Network = usual.Network.ForPureNoise()
	}
	var line strings.Builder
	add := func(flag string, value, usual any) {
		if value != usual {
			fmt.Fprintf(&line, " --%s %v", flag, value)
		}
	}
	if c.DecaySteps { // only the demo trains so
		fmt.Fprintf(&line, "unnoise demo --epochs %d --dim %d", c.Epochs, c.Network.Dim)
	} else {
		line.WriteString("unnoise train mnist")
		if c.From != "" {
			fmt.Fprintf(&line, " --from %s", shell.Quote(c.From))
		} else {
			fmt.Fprintf(&line, " --condition %s", c.Network.Condition)
			add("objective", c.Network.Objective, mnistunet.Noise)
			if c.Network.PureNoise {
				line.WriteString(" --pure-noise")
			}
			add("dim", c.Network.Dim, usual.Network.Dim)
			add("timesteps", c.Network.Timesteps, usual.Network.Timesteps)
			add("sigma", c.Network.Sigma, usual.Network.Sigma)
		}
		add("epochs", cmp.Or(c.Planned, c.Epochs), usual.Epochs)
		add("batch", c.Batch, usual.Batch)
		add("lr", c.LearningRate, usual.LearningRate)
		add("decay", c.Decay, usual.Decay)
		add("schedule", cmp.Or(c.Schedule, training.Exponential), training.Exponential)
		add("warmup", c.Warmup, 0)
		add("clip", c.Clip, 0.)
		add("ema", c.EMA, 0.)
		add("dropout", c.Dropout, usual.Dropout)
		if c.Data.Name != Embedded {
			fmt.Fprintf(&line, " --data %s", shell.Quote(c.Data.Name))
		}
	}
	if limited {
		fmt.Fprintf(&line, " --limit %d", c.Data.Images)
	}
	fmt.Fprintf(&line, " --seed %d --dtype %s", c.Seed, c.DType)
	if c.Backend != "" {
		fmt.Fprintf(&line, " --backend %s", shell.Quote(c.Backend))
	} else {
		fmt.Fprintf(&line, " --threads %d", c.Threads)
	}
	if c.DecaySteps { // the page's folder, in which the run is
		dir = filepath.Dir(filepath.Clean(dir))
	}
	fmt.Fprintf(&line, " --out %s", shell.Quote(dir))
	if c.Planned > 0 && c.Epochs > c.Planned { // it went on past its end
		fmt.Fprintf(&line, " && unnoise train mnist --resume %s --epochs %d", shell.Quote(dir), c.Epochs)
	}
	return line.String()
}
