package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/pretrained"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/weights"
)

func newModel() *cobra.Command {
	return cli.Group("model", "List, explain, export and fetch models", newModelList(), newModelInfo(),
		newModelExport(), newModelPull())
}

func newModelList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the models that come with the program", Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			lines, err := registry.List()
			if err != nil {
				return err
			}
			return cli.Printf(cmd, "%s", strings.Join(lines, "\n"))
		},
	}
}

func newModelExport() *cobra.Command {
	var run, out, dtype string
	var epoch int
	cmd := &cobra.Command{
		Use: "export [MODEL]", Short: "Write a run's model to a small folder, with how it was trained",
		Long: `Writes the model that a run kept after an epoch: config.json, model.safetensors (PyTorch's names and
layouts; matrices and kernels in --dtype, the rest in f32), training.json (recipe, seed, commit, each
epoch's loss) and metrics.jsonl.gz (each step's).

With emoji for MODEL, it writes both stages of the cascade that comes with the program to the folders stage1 and
stage2 in --out, as they are. diffusers' IFPipeline and IFSuperResolutionPipeline load them.`,
		Example: "  unnoise model export --run runs/digits --out digits\n  unnoise model export emoji --out emoji",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 || len(args) == 1 && args[0] != pretrained.Emoji {
				return cli.Usagef("%s: expected %s or nothing, found %q", cmd.CommandPath(), pretrained.Emoji, args)
			}
			return nil
		},
		ValidArgs: []string{pretrained.Emoji},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if err := cli.Refuse(cmd, "can't be given with the name of a model", "run", "epoch", "dtype"); err != nil {
					return err
				}
				run = args[0]
			}
			for _, of := range []struct{ flag, folder string }{{"run", run}, {"out", out}} {
				if of.folder == "" {
					return cli.Usagef("--%s: expected a folder, found nothing", of.flag)
				}
			}
			if len(args) == 1 {
				if err := pretrained.Export(out); err != nil {
					return err
				}
				return cli.Printf(cmd, "%[1]s: %[2]s/stage1, %[2]s/stage2", args[0], out)
			}
			if epoch == 0 {
				var err error
				if epoch, err = training.LastEpoch(run); err != nil {
					return err
				}
			}
			d := map[string]weights.DType{"f32": weights.F32, "f16": weights.F16, "bf16": weights.BF16}[dtype]
			if err := training.Export(run, epoch, out, d); err != nil {
				return err
			}
			return cli.Printf(cmd, "epoch %d of %s: %s", epoch, run, out)
		},
	}
	cli.Folder(cmd, &run, "run", "", "the run's folder (required)")
	cli.Folder(cmd, &out, "out", "", "folder to write (required)")
	cli.Int(cmd, &epoch, "epoch", 0, 0, 1_000_000_000, "the epoch, or the step of a run without epochs; 0: the newest")
	cli.Choice(cmd, &dtype, "dtype", "f16", "how matrices and kernels are stored", "f16", "bf16", "f32")
	return cmd
}
