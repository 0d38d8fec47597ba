package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/terminal"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/training/mnist"
	"github.com/unnoise/unnoise/writeup"
)

type demoFlags struct {
	computing
	out         string
	epochs, dim int
	limit       int
	seed        uint64
	fresh       bool
}

func newDemo() *cobra.Command {
	var f demoFlags
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Train on MNIST for one epoch, draw digits, make a page of it",
		Long: `Trains the class-conditional UNet on all of MNIST for one epoch, draws all ten digits with guidance
γ = 5, and writes a page with the training curve, the digits and how they came out of noise.

A second run uses the trained model again, or goes on where the first was stopped; --fresh starts
over. Where networks compute in float32, for want of bfloat16 units or of oneDNN, this one has 32
channels instead of 64, so that it takes minutes there too; --dim changes that.`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	cli.Folder(cmd, &f.out, "out", "out/demo", "folder for the run and the page")
	cli.Int(cmd, &f.epochs, "epochs", 1, 1, 1000, "times to go through the 60,000 digits")
	cli.Int(cmd, &f.dim, "dim", 0, 0, 4096, "channels of the network's first level; 0: 64, or 32 in float32")
	cli.Int(cmd, &f.limit, "limit", 0, 0, 1<<31-1, "train on the first digits only; 0: all")
	cli.Seed(cmd, &f.seed, "seed of everything random")
	cmd.Flags().BoolVar(&f.fresh, "fresh", false, "train again from the start")
	computeFlags(cmd, &f.computing)
	return cmd
}

func (f *demoFlags) run(cmd *cobra.Command) error {
	start := time.Now()
	if err := f.trains(); err != nil {
		return err
	}
	if err := writeup.Check(f.out); err != nil {
		return fmt.Errorf("--out: %w", err)
	}
	train, _, err := mnist.OpenData(mnist.Embedded)
	if err != nil {
		return err
	}
	if f.limit > 0 {
		train = train.Head(f.limit)
	}
	b, info, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	p := terminal.NewProgress(cmd.OutOrStdout(), cmd.ErrOrStderr())
	p.Print("%s, %s", info, engine.Name(dtype))

	c := mnist.ForDemo(engine.Name(dtype), f.dim)
	c.Epochs, c.Seed, c.Backend = f.epochs, f.seed, f.other()
	dir := filepath.Join(f.out, "run")
	if f.fresh {
		if err := training.Remove(dir); err != nil {
			return err
		}
	}
	r, err := c.Ensure(cmd.Context(), dir, train, training.Options{Backend: b, Warn: p.Warn,
		OnStep: func(s training.Progress) { p.Update(func() string { return "training: " + s.String() }) }}, p.Print)
	p.Clear()
	if err != nil {
		var stopped *training.StoppedError
		if errors.As(err, &stopped) {
			return fmt.Errorf("stopped after step %d of %d (%w); the same command without --fresh goes on",
				stopped.Step, stopped.Total, stopped.Cause)
		}
		return err
	}
	if c, err = mnist.ReadConfig(dir); err != nil {
		return err
	}

	m, err := mnistunet.Load(b, r.ModelDir, dtype)
	if err != nil {
		return err
	}
	defer m.Close()
	d, err := writeup.DrawDemo(cmd.Context(), m, drawDigits, dir, f.seed, func(done, total int) {
		p.Update(func() string { return fmt.Sprintf("drawing: step %d/%d", done, total) })
	})
	p.Clear()
	if err != nil {
		return err
	}
	page, err := d.Write(f.out, f.command(cmd, c), info.Device)
	if err != nil {
		return err
	}
	if full, err := filepath.Abs(page); err == nil {
		page = full
	}
	p.Print("trained in %s, drew %d digits in %s, %s in all", duration.Format(d.TrainingTime), d.Samples.N,
		duration.Format(d.SamplingTime), duration.Format(time.Since(start)))
	p.Print("The page: %s", page)
	return nil
}

// command is the line that makes the page again: the recipe, spelled out because the machine may have chosen it, and
// the other flags that were given.
func (f *demoFlags) command(cmd *cobra.Command, c mnist.Config) string {
	line := fmt.Sprintf("unnoise demo --epochs %d --dim %d --seed %d --dtype %s", c.Epochs, c.Network.Dim, c.Seed,
		c.DType)
	if c.Backend == "" {
		line += fmt.Sprintf(" --threads %d", c.Threads)
	}
	return line + cli.Given(cmd, "limit", "backend", "out")
}
