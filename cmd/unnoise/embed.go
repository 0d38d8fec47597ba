package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/memory"
	"github.com/unnoise/unnoise/registry"
)

// prompting says which prompts are read, and by which model.
type prompting struct {
	model, variant string
	prompts        []string
	negative       string
	noCache        bool
}

func promptFlags(cmd *cobra.Command, p *prompting) {
	flags := cmd.Flags()
	flags.StringVar(&p.model, "model", "",
		"folder of a DeepFloyd IF pipeline, as the hub has it, or OWNER/NAME in the hub's cache (required)")
	completeFolder(cmd, "model")
	flags.StringVar(&p.variant, "variant", "", "weights to take where the folder has several, such as fp16")
	flags.StringArrayVar(&p.prompts, "prompt", nil, "what the images show; may be given more than once")
	flags.StringVar(&p.negative, "negative", "", "prompt that guidance leads away from")
	flags.BoolVar(&p.noCache, "no-cache", false, "neither use nor keep embeddings in the cache folder")
}

func (p *prompting) check() error {
	if p.model == "" {
		return usagef("--model: expected the folder of a DeepFloyd IF pipeline, found nothing")
	}
	for _, text := range append(slices.Clone(p.prompts), p.negative) {
		if !utf8.ValidString(text) {
			return usagef("the prompt %q is not text: it has invalid UTF-8", text)
		}
	}
	return nil
}

// encode encodes texts with the model's text encoder; name is that of the backend if it is not onednn.
func (p *prompting) encode(cmd *cobra.Command, b compute.Backend, name string, dtype dtypes.DType, shown *progress,
	texts []string) (deepfloyd.Prompts, error) {
	place, err := registry.Find(p.model)
	if err == nil && place.Kind != registry.Pipeline {
		err = fmt.Errorf("%s reads no texts; expected the folder of a DeepFloyd IF pipeline", p.model)
	}
	if err != nil {
		return deepfloyd.Prompts{}, fmt.Errorf("--model: %w", err)
	}
	dir := place.Dir
	e := deepfloyd.TextEncoder{Dir: dir, Variant: p.variant, DType: dtype, Backend: name, Warn: shown.warn(cmd)}
	if !p.noCache {
		if e.Cache, err = deepfloyd.CacheDir(); err != nil {
			return deepfloyd.Prompts{}, fmt.Errorf("%w; or do without the cache, by --no-cache", err)
		}
	}
	e.Progress = shown.loading(filepath.Join(dir, "text_encoder"))
	shown.show("reading the prompts")
	return e.Encode(cmd.Context(), b, texts...)
}

func newEmbed() *cobra.Command {
	var (
		f   computing
		p   prompting
		out string
	)
	cmd := &cobra.Command{
		Use:   "embed",
		Short: "Encode prompts for later use",
		Long: `Encodes prompts, and the negative prompt, with the text encoder of a DeepFloyd IF pipeline and writes
the embeddings to a safetensors file for 'unnoise generate --embeds', also on machines that are too
small for the text encoder.`,
		Example: `  unnoise embed --model IF-I-XL-v1.0 --prompt "a red fox in the snow" --out prompts.safetensors`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.check(); err != nil {
				return err
			}
			if len(p.prompts) == 0 {
				return usagef("--prompt: expected a prompt, found nothing")
			}
			if err := checkOutput("out", out, ".safetensors"); err != nil {
				return err
			}
			if err := refuseUnnamed(cmd, out); err != nil {
				return err
			}
			memory.Save()
			b, _, dtype, err := f.open(cmd)
			if err != nil {
				return err
			}
			defer b.Finalize()
			shown := newProgress(cmd.ErrOrStderr())
			prompts, err := p.encode(cmd, b, f.other(), dtype, shown, append(slices.Clone(p.prompts), p.negative))
			shown.clear()
			if err != nil {
				return err
			}
			err = prompts.Write(out, map[string]string{"Software": "unnoise " + build.Commit(), "model": p.model,
				"dtype": engine.Name(dtype)})
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d prompts: %s\n", len(prompts.Texts), out)
			return err
		},
	}
	promptFlags(cmd, &p)
	cmd.Flags().StringVar(&out, "out", "prompts.safetensors", "file to write")
	computeFlags(cmd, &f)
	return cmd
}
