package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/weights/hub"
)

type modelInfoFlags struct {
	computing
	variant string
	json    bool
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
		Args:    cli.Arg("model"),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return registry.Names(), cobra.ShellCompDirectiveDefault
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			place, err := registry.Find(args[0])
			if err != nil {
				return err
			}
			if place.Kind == registry.Pipeline {
				return f.pipeline(cmd, place)
			}
			why := fmt.Sprintf("is for pipelines of the hub, with a %s in their folder", hub.IndexFile)
			if err := cli.Refuse(cmd, why, "variant", "backend", "dtype", "threads"); err != nil {
				return err
			}
			s, err := place.Summary()
			if err != nil {
				return err
			}
			return cli.Print(cmd, f.json, registry.Trained{Summary: s})
		},
	}
	cmd.Flags().StringVar(&f.variant, "variant", "",
		"weights to take where a pipeline's folder has several, such as fp16")
	computeFlags(cmd, &f.computing)
	cli.JSONFlag(cmd, &f.json, "print a JSON object")
	return cmd
}

// pipeline tells what a pipeline's folder has and needs, and how one of the program's own was trained.
func (f *modelInfoFlags) pipeline(cmd *cobra.Command, place registry.Place) error {
	b, info, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	r, err := registry.ReportPipeline(b, info, dtype, place.Dir, f.variant)
	if err != nil {
		return err
	}
	if err := cli.Print(cmd, f.json, r); err != nil || f.json || !place.InProgram() {
		return err
	}
	s, err := place.Summary()
	if err != nil {
		return err
	}
	return cli.Printf(cmd, "\n%s", strings.TrimSpace(registry.Trained{Summary: s}.String()))
}
