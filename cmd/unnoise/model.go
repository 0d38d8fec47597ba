package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/pretrained"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/text2image"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/training/mnist"
	"github.com/unnoise/unnoise/weights"
)

func newModel() *cobra.Command {
	return group("model", "List, explain, export and fetch models", newModelList(), newModelInfo(), newModelExport(),
		newModelPull())
}

func newModelList() *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List the models that come with the program", Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			for _, name := range pretrained.Names() {
				s, err := pretrained.Summary(name)
				if err != nil {
					return err
				}
				if _, _, ok := pretrained.Stage(name); ok {
					if err := listStage(cmd, name, s); err != nil {
						return err
					}
					continue
				}
				c, err := mnist.Of(s.Config)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				n := c.Network
				_, err = fmt.Fprintf(cmd.OutOrStdout(),
					"%-14s condition %s (%s), dim %d, %d parameters, %d of %d epochs on %s\n",
					name, n.Condition, n.Learns(), n.Dim, n.Parameters(), s.Epoch, s.Config.Epochs, s.Config.Data.Name)
				if err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// listStage prints the line of a stage for pictures.
func listStage(cmd *cobra.Command, name string, s training.Summary) error {
	about := ""
	if n, err := text2image.Read(s.Config.Network); err == nil {
		about = fmt.Sprintf("draws %d×%d from captions, %d parameters", n.Side(), n.Side(), n.Parameters())
	} else {
		second, err := text2image.ReadSecondStage(s.Config.Network)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		about = fmt.Sprintf("makes them %d×%d, %d parameters", second.Side(), second.Side(), second.Parameters())
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%-14s %s, %d of %d steps on emoji\n", name, about, s.Epoch,
		s.Config.Steps)
	return err
}

// lastEpoch is the newest epoch of which a run keeps the model.
func lastEpoch(run string) (int, error) {
	epochs, err := training.Epochs(run)
	if err != nil {
		return 0, err
	}
	if len(epochs) == 0 {
		return 0, fmt.Errorf("%s is not a training run with a model in it", run)
	}
	return epochs[len(epochs)-1], nil
}

func newModelInfo() *cobra.Command {
	var f modelInfoFlags
	cmd := &cobra.Command{
		Use: "info MODEL", Short: "Tell what a model is, how it was trained, what it needs",
		Long: `Tells a model's network and recipe, seed, commit and losses. MODEL is a run's folder, an exported model's, or one of
'unnoise model list'.

Of a pipeline of DeepFloyd IF, a folder or OWNER/NAME in the hub's cache, it tells the parts, their weights' files, dtypes and
sizes, and what to expect here: the memory, and the time of one evaluation. The time is an estimate: the network's
multiply-adds at the rate of one convolution and one product, which are run for a second.`,
		Example: "  unnoise model info mnist-class\n  unnoise model info DeepFloyd/IF-I-M-v1.0 --variant fp16",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usagef("%s: expected one model, found %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return pretrained.Names(), cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if place, ok, err := f.pipeline(args[0]); ok || err != nil {
				if err != nil {
					return err
				}
				return f.describePipeline(cmd, place)
			}
			if err := f.check(cmd); err != nil {
				return err
			}
			place, err := registry.Find(args[0])
			if err != nil {
				return err
			}
			s, err := place.Summary()
			if err != nil {
				return err
			}
			if f.json {
				return printJSON(cmd.OutOrStdout(), s)
			}
			_, err = io.WriteString(cmd.OutOrStdout(), registry.Describe(s))
			return err
		},
	}
	f.add(cmd)
	return cmd
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
				return usagef("%s: expected %s or nothing, found %q", cmd.CommandPath(), pretrained.Emoji, args)
			}
			return nil
		},
		ValidArgs: []string{pretrained.Emoji},
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if err := refuse(cmd, "the name of a model", "run", "epoch", "dtype"); err != nil {
					return err
				}
				run = args[0]
			}
			for _, of := range []struct{ flag, folder string }{{"run", run}, {"out", out}} {
				if of.folder == "" {
					return usagef("--%s: expected a folder, found nothing", of.flag)
				}
			}
			if len(args) == 1 {
				if err := pretrained.Export(out); err != nil {
					return err
				}
				_, err := fmt.Fprintf(cmd.OutOrStdout(), "%[1]s: %[2]s/stage1, %[2]s/stage2\n", args[0], out)
				return err
			}
			if epoch == 0 {
				var err error
				if epoch, err = lastEpoch(run); err != nil {
					return err
				}
			}
			d := map[string]weights.DType{"f32": weights.F32, "f16": weights.F16, "bf16": weights.BF16}[dtype]
			if err := training.Export(run, epoch, out, d); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "epoch %d of %s: %s\n", epoch, run, out)
			return err
		},
	}
	cmd.Flags().StringVar(&run, "run", "", "the run's folder (required)")
	completeFolder(cmd, "run")
	cmd.Flags().StringVar(&out, "out", "", "folder to write (required)")
	completeFolder(cmd, "out")
	intFlag(cmd, &epoch, "epoch", 0, 0, 1_000_000_000, "the epoch, or the step of a run without epochs; 0: the newest")
	choiceFlag(cmd, &dtype, "dtype", "f16", "how matrices and kernels are stored", "f16", "bf16", "f32")
	return cmd
}
