package main

import (
	"cmp"
	"errors"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/terminal"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
)

// explain says what people are told of an error, and reports whether it is a mistake in the command line. A field of a
// request is called by its flag.
func explain(cmd *cobra.Command, err error) (message string, usage bool) {
	var field *model.FieldError
	var file *lab.FileError
	if _, usage := errors.AsType[cli.UsageError](err); usage || !errors.As(err, &field) {
		return strings.TrimSpace(err.Error()), usage
	}
	return flagOf(cmd, field.Field) + ": " + field.Err.Error(), !errors.As(err, &file)
}

// newRoot builds the command tree.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use: "unnoise", Short: "A diffusion-model laboratory",
		Long: `Unnoise trains diffusion models on your own CPU, samples from them and shows
every curve and every sample on the way.

Start with 'unnoise demo': in two minutes it shows what there is, and trains a network.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			cli.ExpandHome(cmd, "prompt", "negative")
			return cli.RefuseEmpty(cmd, "negative", "variant")
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, ok := terminal.Width(os.Stdout); ok && isTerminal(os.Stdin) {
				return offer(cmd, os.Stdin)
			}
			return cmd.Help()
		},
	}
	root.Version = build.Read().String()
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(cli.FlagError)
	cli.WrapHelp(root)
	root.AddCommand(newDemo(), newTrain(), newGenerate(), newSample(), newEdit(), newInpaint(), newAnagram(),
		newHybrid(), newAmbigram(), newViews(), newAgain(), newRecipe(), newNoise(), newDenoise(), newEmbed(),
		newEval(), newModel(), newWriteup(), newStudio(), newWorker(), newDataset(), newBench(), newDoctor(),
		newVersion())
	return root
}

// flagNames are flags that are called otherwise than the fields of requests that they fill in.
var flagNames = map[string]string{"prompts": "prompt", "prompts_file": "prompts", "views": "view", "bands": "band",
	"upscale.model": "upscale", "upscale.noise_level": "noise-level",
	"branch.at": "branch"}

// flagOf names the flag of a command that fills in a field of a request, or the field where there is none.
func flagOf(cmd *cobra.Command, field string) string {
	flag := cmp.Or(flagNames[field], strings.NewReplacer(".", "-", "_", "-").Replace(field))
	if cmd.Flags().Changed("class") && field == "prompts" {
		flag = "class"
	}
	if _, last, ok := strings.Cut(field, "."); ok && cmd.Flags().Lookup(flag) == nil {
		flag = last // of a technique, whose verb it is
	}
	switch {
	case cmd.Flags().Lookup(flag) != nil:
		return "--" + flag
	case flag == "picture": // an argument
		return flag
	}
	return field
}
