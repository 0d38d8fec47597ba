package writeup

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/internal/checksum"
	"github.com/unnoise/unnoise/internal/shell"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/pretrained"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/training/mnist"
)

// ShownRun is a run of which the page shows some epochs.
type ShownRun struct {
	Run
	Dir         string
	bundled     bool // Dir is the name of a model in the program, of the last epoch
	epochs      []int
	train, test *dataset.Labeled
}

// Limited reports whether the run learned from the first images of its set only.
func (r ShownRun) Limited() bool { return r.Data.Images < r.train.Len() }

// Bundled reports whether it is that of a model in the program, Dir.
func (r ShownRun) Bundled() bool { return r.bundled }

// Epochs are those that the page shows.
func (r ShownRun) Epochs() []int { return r.epochs }

func (r ShownRun) last() stored { return r.at(r.epochs[len(r.epochs)-1]) }

func (r ShownRun) at(epoch int) stored {
	if r.bundled {
		return stored{bundled: r.Dir}
	}
	return stored{dir: training.EpochDir(r.Dir, epoch)}
}

// stored is where a model lies: in a folder, or in the program.
type stored struct{ dir, bundled string }

// name is what --model calls it.
func (s stored) name() string { return cmp.Or(s.bundled, s.dir) }

// checksums are those of the model's weights and of its configuration.
func (s stored) checksums() (of, config string, err error) {
	if s.bundled != "" {
		of, err = pretrained.Checksum(s.bundled)
		return of, "", err
	}
	if of, err = checksum.File(filepath.Join(s.dir, mnistunet.WeightsFile)); err == nil {
		config, err = checksum.File(filepath.Join(s.dir, mnistunet.ConfigFile))
	}
	if err != nil {
		err = fmt.Errorf("reading the model: %w", err)
	}
	return of, config, err
}

func (s stored) load(b compute.Backend, dtype dtypes.DType) (*mnistunet.Model, error) {
	if s.bundled != "" {
		return pretrained.Load(b, s.bundled, dtype)
	}
	return mnistunet.Load(b, s.dir, dtype)
}

// Kind is what a page shows a run as.
type Kind struct {
	name      string
	condition mnistunet.Condition
	objective mnistunet.Objective
	pure      bool  // learned from nothing but noise
	epochs    []int // that are shown, where the run has them, besides its last
}

var byEpoch = []int{1, 5, 10, 15, 20}

// The kinds of runs that a page shows.
var (
	DenoiserRun = Kind{"denoiser", mnistunet.None, mnistunet.Noise, false, []int{1, 5}}
	PureRun     = Kind{"denoiser of pure noise", mnistunet.None, mnistunet.Noise, true, []int{1, 5}}
	TimeRun     = Kind{"time-conditional", mnistunet.Time, mnistunet.Noise, false, byEpoch}
	ClassRun    = Kind{"class-conditional", mnistunet.Class, mnistunet.Noise, false, byEpoch}
	FlatRun     = Kind{"class-conditional, constant rate", mnistunet.Class, mnistunet.Noise, false, nil}
	FlowRun     = Kind{"flow matching", mnistunet.Class, mnistunet.Flow, false, byEpoch}
	FlowTimeRun = Kind{"flow matching without classes", mnistunet.Time, mnistunet.Flow, false, byEpoch}
)

// OpenBundled reads the run of a model that comes with the program. Of its epochs there is the last one.
func OpenBundled(name string, kind Kind) (*ShownRun, error) {
	run, err := readBundled(name)
	if err != nil {
		return nil, err
	}
	run.Name, run.Command = kind.name, run.Config.Command(false, filepath.Join("runs", name))
	r := &ShownRun{Run: run, Dir: name, bundled: true, epochs: []int{run.Done()}}
	r.train, r.test, err = mnist.OpenDataOf(name, run.Data)
	return r, err
}

// OpenRun reads a run that is to be shown as one of a kind.
func OpenRun(dir string, kind Kind) (*ShownRun, error) {
	run, err := ReadRun(dir)
	if err != nil {
		return nil, err
	}
	if got := run.Network.Condition; got != kind.condition {
		return nil, fmt.Errorf("expected a run of condition %s, %s has condition %s", kind.condition, dir, got)
	}
	switch got := run.Network.Objective; {
	case kind.pure && !run.Network.PureNoise:
		return nil, fmt.Errorf("expected a run trained with --pure-noise, %s was trained without", dir)
	case run.Network.PureNoise && !kind.pure:
		return nil, fmt.Errorf("%s was trained with --pure-noise; give it to --pure-noise", dir)
	case kind.objective == mnistunet.Flow && got != kind.objective:
		return nil, fmt.Errorf("expected a run trained with --objective flow, %s was trained without", dir)
	case got != kind.objective && kind.condition == mnistunet.Class:
		return nil, fmt.Errorf("%s was trained with --objective %s; give it to --flow", dir, got)
	case got != kind.objective:
		return nil, fmt.Errorf("%s was trained with --objective %s; give it to --flow-time", dir, got)
	}
	train, test, err := mnist.OpenDataOf(dir, run.Data)
	if err != nil {
		return nil, fmt.Errorf("%w. Say where they are now with: unnoise train mnist --resume %s --data FOLDER", err,
			shell.Quote(dir))
	}
	all, err := training.Epochs(dir)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("the run %s keeps no model of any epoch", dir)
	}
	r := &ShownRun{Run: run, Dir: dir, train: train, test: test}
	for i, epoch := range all {
		if slices.Contains(kind.epochs, epoch) || i == len(all)-1 {
			r.epochs = append(r.epochs, epoch)
		}
	}
	r.Name = kind.name
	return r, nil
}
