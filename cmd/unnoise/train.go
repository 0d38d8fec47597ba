package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/internal/shell"
	"github.com/unnoise/unnoise/internal/terminal"
	"github.com/unnoise/unnoise/onednn"
	"github.com/unnoise/unnoise/training"
)

func newTrain() *cobra.Command {
	return cli.Group("train", "Train a model", newTrainMNIST(), newTrainText2Image())
}

const aboutRuns = `The run is a folder: config.json, metrics.jsonl, checkpoints/ and samples/. Ctrl-C stops after the
step at hand, as do SIGTERM and SIGHUP; --resume goes on from there, or from the latest checkpoint
after a crash, to the same numbers (with another --threads they are added up in another order).`

// recipeFlags are what all trainings can be told.
type recipeFlags struct {
	computing
	data, out, resume, from string
	given                   training.Config
	checkpointEvery         int
	noSamples, json         bool
}

// add adds the flags. What c leaves at 0, it leaves to another recipe. seconds are between checkpoints.
func (f *recipeFlags) add(cmd *cobra.Command, c training.Config, seconds int) {
	flags, g := cmd.Flags(), &f.given
	cli.Folder(cmd, &f.out, "out", "", "folder for the run (default: one with the date in runs)")
	cli.Folder(cmd, &f.resume, "resume", "", "go on with the run in this folder")
	flags.StringVar(&f.from, "from", "",
		"begin with this model's weights: a run's folder, a model's, or one of 'unnoise model list'")
	completeModels(cmd, "from")
	cli.Int(cmd, &g.Batch, "batch", c.Batch, 0, 65536, "images a step; 0: the recipe's")
	cli.Float(cmd, &g.LearningRate, "lr", c.LearningRate, 0, 10,
		"Adam's learning rate before it falls; 0: the recipe's")
	cli.Choice(cmd, &g.Schedule, "schedule", cmp.Or(c.Schedule, training.Exponential),
		"how the learning rate falls: by the same factor, by as much after each step, or as half a cosine",
		training.Exponential, training.Linear, training.Cosine)
	cli.Float(cmd, &g.Decay, "decay", c.Decay, 0, 1,
		"what the learning rate falls to, as a part of --lr; 1 keeps it; 0: nothing, or with exponential the recipe's")
	cli.Int(cmd, &g.Warmup, "warmup", c.Warmup, 0, 1_000_000, "steps over which the learning rate rises at first")
	cli.Float(cmd, &g.Clip, "clip", c.Clip, 0, 1e6,
		"largest norm of the gradients of a step; larger ones are scaled down; 0: any")
	cli.Float(cmd, &g.EMA, "ema", c.EMA, 0, 0.999999,
		"decay of the moving average of the parameters, which the kept models have then; 0: none")
	cli.Seed(cmd, &g.Seed, "seed of everything random")
	cli.Int(cmd, &f.checkpointEvery, "checkpoint-every", seconds, 1, 1_000_000,
		"seconds between checkpoints; there is one with each kept model besides")
	flags.BoolVar(&f.noSamples, "no-samples", false, "draw no samples when a model is kept")
	cli.JSONFlag(cmd, &f.json, "print JSON lines instead of progress")
	computeFlags(cmd, &f.computing)
}

// fixed are the flags that a run that goes on can't be given.
var fixed = []string{"from", "out", "batch", "lr", "schedule", "decay", "warmup", "clip", "ema", "dropout", "seed",
	"dtype"}

const goesOn = "can't be given with --resume: the run goes on as it was begun"

// change changes a recipe as the flags say.
func (f *recipeFlags) change(cmd *cobra.Command, c *training.Config) error {
	f.given.DType = f.dtype
	if err := c.Change(f.given, cmd.Flags().Changed); err != nil {
		return cli.UsageError{Err: err}
	}
	return nil
}

// length is that of the run, in epochs or steps, or 0.
func (f *recipeFlags) length() int { return max(f.given.Epochs, f.given.Steps) }

// goOn takes what a run has been computed by, where no flag says another.
func (f *recipeFlags) goOn(cmd *cobra.Command, c training.Config) {
	if !cmd.Flags().Changed("backend") {
		f.backend = cmp.Or(c.Backend, onednn.BackendName)
	}
	if !cmd.Flags().Changed("threads") && f.backend == onednn.BackendName {
		f.threads = c.Threads
	}
	f.dtype = c.DType
}

// folder is the run's.
func (f *recipeFlags) folder(name string) string {
	return cmp.Or(f.resume, f.out, fmt.Sprintf("runs/%s-%s", name, time.Now().Format("2006-01-02-150405")))
}

// trainRun is a run that is about to begin or to go on.
type trainRun struct {
	*recipeFlags
	dir     string
	config  training.Config
	task    training.Task
	options training.Options // without what is printed
	kept    func() error     // is told of kept models; or nil
	about   []string         // of the network and the data, to be printed
	notes   []string         // warnings
	then    string           // what can be done with the model, after the run
}

// run trains, and prints how far it is.
func (t trainRun) run(cmd *cobra.Command) error {
	out := cmd.OutOrStdout()
	p := terminal.NewProgress(out, cmd.ErrOrStderr())
	if t.json {
		p = cli.Progress(cmd, true)
		if err := cli.JSON(cmd, map[string]any{"version": cli.Version, "event": "start", "run": t.dir}); err != nil {
			return err
		}
	}
	planned := t.config
	planned.Data = t.task.Data.Describe()
	if t.resume != "" && t.length() > 0 {
		planned = planned.WithLength(t.length())
	}
	for _, line := range append(t.about, "run folder "+t.dir, "learning rate (Adam): "+planned.Rate()) {
		p.Print("%s", line)
	}
	for _, note := range t.notes {
		p.Warn(note)
	}
	o := t.options
	o.Length, o.CheckpointEvery, o.Warn = t.length(), time.Duration(t.checkpointEvery)*time.Second, p.Warn
	made := 0 // steps
	o.OnStep = func(s training.Progress) {
		made++
		p.Update(s.String)
	}
	o.OnKept = func(k training.Kept) error {
		if t.kept != nil {
			if err := t.kept(); err != nil {
				return err
			}
		}
		if t.noSamples {
			k.Sample = ""
		}
		if t.json {
			return cli.JSON(cmd, k)
		}
		p.Print("%s", k)
		return nil
	}

	var r training.Result
	var err error
	start := time.Now()
	if t.resume != "" {
		r, err = training.Resume(cmd.Context(), t.dir, t.task, o)
	} else {
		r, err = training.Train(cmd.Context(), t.dir, t.config, t.task, o)
	}
	p.Clear()
	if err != nil {
		return howToGoOn(err, strings.TrimPrefix(cmd.CommandPath(), "unnoise "), t.dir)
	}
	if t.json {
		return cli.JSON(cmd, map[string]any{"version": cli.Version, "event": "end", "run": r.Dir, "model": r.ModelDir,
			"steps": r.Steps, "mean_loss": r.MeanLoss, "seconds": time.Since(start).Seconds()})
	}
	last, longer := "the last epoch", "--epochs"
	if planned.Data.Images == 0 {
		last, longer = "the last ones", "--steps"
	}
	if made == 0 {
		p.Print("The run was finished already. It goes on with a larger %s.", longer)
	}
	p.Print("%d steps, mean loss of %s %.4f, %s", r.Steps, last, r.MeanLoss, duration.Format(time.Since(start)))
	if t.then != "" {
		p.Print("%s", t.then)
	}
	return nil
}

// howToGoOn says with what stopped a run how to go on.
func howToGoOn(err error, verb, dir string) error {
	resume := fmt.Sprintf("unnoise %s --resume %s", verb, shell.Quote(dir))
	var stopped *training.StoppedError
	var exists *training.ExistsError
	var diverged *training.DivergedError
	switch full := errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT); {
	case errors.As(err, &stopped), errors.As(err, &exists):
		return fmt.Errorf("%w\nGo on with: %s", err, resume)
	case errors.As(err, &diverged):
		return fmt.Errorf("%w (--lr, --clip, --dtype f32, --out)", err)
	case full && training.IsRun(dir):
		return fmt.Errorf("%w\nMake room, then go on with: %s", err, resume)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w\nChoose a folder that can be written to with --out", err)
	case full:
		return fmt.Errorf("%w\nMake room, or choose a folder on another disk with --out", err)
	}
	return err
}
