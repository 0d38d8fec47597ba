package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/deepfloyd/synthetic"
	"github.com/unnoise/unnoise/internal/bench"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/memory"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/onednn"
)

// benchFlags are the flags that all benchmarks have.
type benchFlags struct {
	computing
	batch, warmup, runs int
	profile, json       bool
}

// verb adds the flags to a benchmark's, and runs it.
func (f *benchFlags) verb(cmd *cobra.Command, batch, runs int, batchUsage string,
	measure func(context.Context, bench.Setting) (bench.Report, error)) *cobra.Command {
	cmd.Args = cli.NoArgs
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		b, info, dtype, err := f.open(cmd)
		if err != nil {
			return err
		}
		defer b.Finalize()
		s := bench.Setting{Backend: b, Info: info, DType: dtype, Batch: f.batch,
			Runs: bench.Runs{Warmup: f.warmup, Counted: f.runs}}
		if f.profile {
			s.Profile = cmd.ErrOrStderr()
		}
		r, err := measure(cmd.Context(), s)
		if err != nil {
			return err
		}
		return cli.Print(cmd, f.json, r)
	}
	cli.Int(cmd, &f.batch, "batch", batch, 1, 65536, batchUsage)
	cli.Int(cmd, &f.runs, "runs", runs, 1, 100_000, "counted runs")
	computeFlags(cmd, &f.computing)
	all := onednn.Optimizations()
	cli.List(cmd, &f.without, "without", "strings", cli.Expected(cli.Alternatives(all)+", with commas"),
		func(s string) (string, bool) { return s, slices.Contains(all, s) }, func(s string) string { return s },
		"optimizations to leave out, to see what they earn: "+strings.Join(all, ", "))
	cmd.Flags().BoolVar(&f.profile, "profile", false,
		"print what each operation takes to stderr, from as many runs again")
	cli.JSONFlag(cmd, &f.json, "print a JSON object")
	return cmd
}

func newBench() *cobra.Command {
	return cli.Group("bench", "Time the engine on this machine",
		newBenchDigits("train", "Time a training step of the UNet for digits", "images at once"),
		newBenchDigits("evaluate", "Time an evaluation of the UNet for digits",
			"images; a network evaluates at most 256 at once"),
		newBenchModel(), newBenchText2Image())
}

func newBenchDigits(what, short, images string) *cobra.Command {
	var f benchFlags
	var condition string
	var dim int
	cmd := &cobra.Command{Use: what, Short: short}
	cli.Choice(cmd, &condition, "condition", "class", "what the network is told besides the image", "none", "time",
		"class")
	cli.Int(cmd, &dim, "dim", 64, 1, 4096, "channels of the network's first level")
	cli.Int(cmd, &f.warmup, "warmup", 2, 0, 1000, "runs before those that count")
	return f.verb(cmd, 128, 8, images, func(ctx context.Context, s bench.Setting) (bench.Report, error) {
		c := mnistunet.Default(mnistunet.Condition(condition))
		c.Dim = dim
		return s.Digits(ctx, c, what == "train")
	})
}

func newBenchModel() *cobra.Command {
	f := benchFlags{warmup: 1}
	var size, dir string
	cmd := &cobra.Command{
		Use: "model", Short: "Time a network of DeepFloyd IF in full size",
		Long: `Times one evaluation of a network of DeepFloyd IF in its full size: stage I's UNet for images of 64×64
(M, L, XL), stage II's for 256×256 (sr-M), or its text encoder for texts of 77 tokens (t5-xxl).

The weights are random numbers, written once to a folder in the hub's layout: no download, no licence.
They take 2 bytes a parameter: 0.7 GB (M), 1.3 GB (sr-M), 1.9 GB (L), 8.6 GB (XL), 9.5 GB (t5-xxl).`,
		Example: "  unnoise bench model --size M\n  unnoise bench model --size XL --dir /data/random --json",
	}
	cli.Choice(cmd, &size, "size", "M", "the network", synthetic.Sizes()...)
	cli.Folder(cmd, &dir, "dir", "", "folder for the networks' folders (default: unnoise/random in the cache folder)")
	return f.verb(cmd, 2, 3, "images or texts at once", func(ctx context.Context, s bench.Setting) (r bench.Report,
		err error) {
		memory.Save()
		p := cli.Progress(cmd, f.json)
		defer p.Clear()
		return s.Model(ctx, size, dir, func(folder string, written synthetic.Progress) {
			if written.Done == 0 {
				p.Print("writing %.1f GB of random weights, once: %s", float64(written.Total)/1e9, folder)
				return
			}
			p.Update(func() string {
				return fmt.Sprintf("%s of %s", megabytes(written.Done), megabytes(written.Total))
			})
		})
	})
}

func newBenchText2Image() *cobra.Command {
	f := benchFlags{warmup: 2}
	var folder string
	cmd := &cobra.Command{
		Use: "text2image", Short: "Time training and evaluating the text-to-image network",
		Long: `Times a training step of the first stage of 'unnoise train text2image' at 32×32, text encoder and UNet
together, and a guided evaluation of one image: both texts encoded, and the UNet with both. Values and
texts are random.`,
		Example: "  unnoise bench text2image\n  unnoise bench text2image --batch 64 --dtype f32 --json",
	}
	cli.Folder(cmd, &folder, "folder", "",
		"also write the network with its values to this folder, in the hub's layout, for other programs' benchmarks")
	return f.verb(cmd, 32, 5, "images a training step", func(ctx context.Context, s bench.Setting) (r bench.Report,
		err error) {
		if err := f.trains(); err != nil {
			return r, err
		}
		return s.Text2Image(ctx, folder)
	})
}
