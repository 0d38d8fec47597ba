package main

import (
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/memory"
	"github.com/unnoise/unnoise/registry"
)

type embedFlags struct {
	computing
	model, variant, negative, out string
	prompts                       []string
	noCache                       bool
}

func newEmbed() *cobra.Command {
	var f embedFlags
	cmd := &cobra.Command{
		Use: "embed", Short: "Encode prompts for later use",
		Long: `Encodes prompts, and the negative prompt, with the text encoder of a DeepFloyd IF pipeline and writes
the embeddings to a safetensors file for 'unnoise generate --embeds', also on machines that are too
small for the text encoder.`,
		Example: `  unnoise embed --model IF-I-XL-v1.0 --prompt "a red fox in the snow" --out prompts.safetensors`,
		Args:    cli.NoArgs, RunE: cli.Run(f.run),
	}
	flags := cmd.Flags()
	cli.Folder(cmd, &f.model, "model", "",
		"folder of a DeepFloyd IF pipeline, as the hub has it, or OWNER/NAME in the hub's cache (required)")
	flags.StringVar(&f.variant, "variant", "", "weights to take where the folder has several, such as fp16")
	flags.StringArrayVar(&f.prompts, "prompt", nil, "what the images show; may be given more than once")
	flags.StringVar(&f.negative, "negative", "", "prompt that guidance leads away from")
	flags.BoolVar(&f.noCache, "no-cache", false, "neither use nor keep embeddings in the cache folder")
	flags.StringVar(&f.out, "out", "prompts.safetensors", "file to write")
	computeFlags(cmd, &f.computing)
	return cmd
}

func (f *embedFlags) run(cmd *cobra.Command) error {
	if f.model == "" {
		return cli.Usagef("--model: expected the folder of a DeepFloyd IF pipeline, found nothing")
	}
	texts := append(slices.Clone(f.prompts), f.negative)
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return cli.Usagef("the prompt %q is not text: it has invalid UTF-8", text)
		}
	}
	if len(f.prompts) == 0 {
		return cli.Usagef("--prompt: expected a prompt, found nothing")
	}
	if err := cli.CheckNewFile(cmd, f.out, ".safetensors"); err != nil {
		return err
	}
	memory.Save()
	b, _, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	place, err := registry.FindPipeline(f.model)
	if err != nil {
		return fmt.Errorf("--model: %w", err)
	}
	p := cli.Progress(cmd, false)
	o := registry.Options{Backend: b, BackendName: f.other(), DType: dtype, Variant: f.variant, Warn: p.Warn}
	if !f.noCache {
		if o.Embeddings, err = deepfloyd.CacheDir(); err != nil {
			return fmt.Errorf("%w; or do without the cache, by --no-cache", err)
		}
	}
	p.Show("reading the prompts")
	n, err := place.Encode(cmd.Context(), o, p.Loading, f.out, texts...)
	p.Clear()
	if err != nil {
		return err
	}
	return cli.Printf(cmd, "%d prompts: %s", n, f.out)
}
