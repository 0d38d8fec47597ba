package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/internal/memory"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/registry"
)

// drawFlags are the flags of every verb that draws: they fill in a request, and say where its pictures go.
type drawFlags struct {
	computing
	request lab.Request
	upscale lab.Upscale
	output  lab.Output
	prompts string
	recipe  string
	noCache bool
	json    bool
}

// none is what --upscale is told to leave the images as they are.
const none = "none"

// ofUpscale are the flags of a second stage, but for the one that names it.
var ofUpscale = []string{"upscale-sampler", "upscale-steps", "upscale-timesteps", "upscale-eta", "upscale-guidance",
	"noise-level"}

// add adds the flags. fallback is the model where none is named.
func (f *drawFlags) add(cmd *cobra.Command, fallback, out string) {
	flags, r := cmd.Flags(), &f.request
	modelFlag(cmd, &r.Model, fallback)
	flags.StringVar(&r.Variant, "variant", "", "weights to take where the model's folder has several, such as fp16")
	flags.StringArrayVar(&r.Prompts, "prompt", nil,
		"what the images show: a text, or a class of a model that knows classes, or all of them; may be given more "+
			"than once")
	completePrompts(cmd, "prompt")
	flags.StringVar(&f.prompts, "prompts", "",
		"file with a prompt on each line: each is drawn into a file of its own, named by it; those that are there "+
			"are skipped")
	flags.StringVar(&r.Negative, "negative", "", "prompt that guidance leads away from")
	flags.StringVar(&r.Embeds, "embeds", "",
		"safetensors or .pth file with the prompts' embeddings, instead of the model's text encoder")
	flags.BoolVar(&f.noCache, "no-cache", false, "neither use nor keep embeddings in the cache folder")
	cli.Int(cmd, &r.Count, "count", 1, 1, 100_000, "images of each prompt")
	samplingFlags(cmd, &r.Sampling, "", "images")
	cli.Folder(cmd, &f.upscale.Model, "upscale", "",
		"stage of super-resolution that makes the images larger: a folder, OWNER/NAME in the hub's cache, or none "+
			"(default: emoji-128 with --model emoji, without --animate and --previews)")
	samplingFlags(cmd, &f.upscale.Sampling, "upscale-", "larger images")
	cli.Pointer(cmd, &f.upscale.NoiseLevel, "noise-level", "int",
		"timestep that the small images are noised to before they are made larger (default 250, 100 with "+
			"emoji-128)", cli.ParseInt(0, 1<<20))
	cli.Pointer(cmd, &r.Seed, "seed", "int", "seed of PyTorch's random numbers; without, one is chosen and told",
		cli.ParseSeed)
	varyFlag(cmd, &r.Vary)
	cli.Int(cmd, &r.Batch, "batch", 0, 0, 10_000,
		"images in one evaluation, guided ones counted twice; fewer need less memory; 0: what the model thinks fit")
	flags.StringVar(&f.recipe, "recipe", "",
		"JSON file with a request, or a picture that carries its recipe; other flags change it")
	flags.StringArrayVar(&f.output.Files, "out", []string{out},
		"file to write, .png or .safetensors (the raw numbers); may be given more than once")
	flags.StringVar(&f.output.Animate, "animate", "", "write how the images came out of noise too, .png or .gif")
	cli.Int(cmd, &f.output.Previews, "previews", 0, 0, 1_000_000,
		"write a picture of the estimated images at every k-th step; 0: none")
	showFlag(cmd, &f.output.Show,
		"what --animate and --previews show, with commas: x_t, x0 (what it is estimated to become), epsilon (the "+
			"noise seen in it); default: x_t and x0")
	cli.Int(cmd, &f.output.Scale, "scale", 0, 0, 32,
		"pixels of the picture for each pixel of an image; 0: more than 1 for small images")
	computeFlags(cmd, &f.computing)
	cli.JSONFlag(cmd, &f.json, "print a JSON object instead of progress")
}

// showFlag adds --show.
func showFlag(cmd *cobra.Command, target *[]lab.Quantity, usage string) {
	var names []string
	for _, q := range lab.Quantities() {
		names = append(names, string(q))
	}
	cli.List(cmd, target, "show", "names", cli.Expected("some of "+cli.Alternatives(names)+" with commas"),
		func(s string) (lab.Quantity, bool) {
			return lab.Quantity(s), slices.Contains(names, s)
		}, func(q lab.Quantity) string { return string(q) }, usage)
}

// varyFlag adds --vary.
func varyFlag(cmd *cobra.Command, target *[]lab.Vary) {
	cli.Each(cmd, target, "vary", "field=values",
		"draw several times side by side, with other values of a field, as in steps=10,20,100; given twice, every "+
			"combination: the last goes along the rows", func(s string) (v lab.Vary, err error) {
			field, values, ok := strings.Cut(s, "=")
			if !ok || values == "" || !slices.Contains(lab.Variable(), field) {
				return v, cli.Expected("FIELD=VALUE,VALUE,... with one of the fields " +
					cli.Alternatives(lab.Variable()))
			}
			return lab.Vary{Field: field, Values: strings.Split(values, ",")}, nil
		})
	cli.CompleteBy(cmd, "vary", func(*cobra.Command, []string, string) (all []string, _ cobra.ShellCompDirective) {
		for _, field := range lab.Variable() {
			all = append(all, field+"=")
		}
		return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	})
}

// samplingFlags add how a model goes from noise to images.
func samplingFlags(cmd *cobra.Command, s *model.Sampling, prefix, what string) {
	cli.Choice(cmd, &s.Sampler, prefix+"sampler", "", "how to go from noise to "+what+" (default: the model's)",
		model.Samplers()...)
	cli.Int(cmd, &s.Steps, prefix+"steps", 0, 0, 1<<20, "steps from noise to "+what+"; 0: the sampler's usual number")
	cli.Choice(cmd, &s.Timesteps, prefix+"timesteps", "",
		"a published list of timesteps instead of steps, for DeepFloyd IF", deepfloyd.TimestepNames()...)
	cli.Float(cmd, &s.Eta, prefix+"eta", 0, 0, 1, "ddim's share of fresh noise")
	cli.Pointer(cmd, &s.Guidance, prefix+"guidance", "float",
		"classifier-free guidance scale γ for "+what+": 0 ignores the prompt, 1 is the model without guidance, more "+
			"exaggerates it (default: the model's)",
		cli.ParseFloat(-100, 100))
}

// fill makes the request of the flags, on top of a recipe if there is one.
func (f *drawFlags) fill(cmd *cobra.Command) error {
	if f.recipe == "" {
		return f.fillFrom(cmd, nil)
	}
	recipe, err := lab.ReadRequest(f.recipe)
	if err != nil {
		return fmt.Errorf("--recipe: %w", err)
	}
	return f.fillFrom(cmd, &recipe)
}

func (f *drawFlags) fillFrom(cmd *cobra.Command, recipe *lab.Request) error {
	changed := cmd.Flags().Changed
	r := &f.request
	r.DType, r.Backend = f.dtype, f.other()
	if recipe != nil {
		if f.upscale.Model != none {
			r.Upscale = &f.upscale
		}
		recipe.Change(*r, func(field string) bool { return changed(strings.TrimPrefix(flagOf(cmd, field), "--")) })
		*r = *recipe
	} else {
		for _, prefix := range []string{"", "upscale-"} {
			if changed(prefix+"steps") && changed(prefix+"timesteps") {
				return cli.Usagef("--%ssteps can't be given with --%[1]stimesteps", prefix)
			}
		}
		larger, ok := registry.Larger(r.Model)
		switch ok = ok && f.output.Animate == "" && f.output.Previews == 0 && r.Strip == nil; {
		case f.upscale.Model == "" && ok:
			f.upscale.Model = larger
			r.Upscale = &f.upscale
		case f.upscale.Model != "" && f.upscale.Model != none:
			f.upscale.Variant, f.upscale.Sampler = r.Variant, cmp.Or(f.upscale.Sampler, r.Sampler)
			r.Upscale = &f.upscale
		}
	}
	if r.Upscale == nil {
		if err := cli.Refuse(cmd, "has no meaning without --upscale", ofUpscale...); err != nil {
			return err
		}
	}
	switch {
	case r.Embeds != "" && f.noCache:
		return cli.Usagef("--no-cache has no meaning with --embeds")
	case f.prompts != "" && (changed("prompt") || r.Embeds != ""):
		return cli.Usagef("--prompts can't be given with --prompt or --embeds")
	}
	return f.checkFiles()
}

func (f *drawFlags) checkFiles() error {
	o := f.output
	for _, path := range o.Files {
		if err := cli.CheckOutput("out", path, ".png", ".safetensors"); err != nil {
			return err
		}
		switch {
		case f.request.Embeds != "" && cli.SameFile(path, f.request.Embeds):
			return cli.Usagef("--out: expected another file than --embeds', found %s", path)
		case o.Animate != "" && cli.SameFile(path, o.Animate):
			return cli.Usagef("--animate: expected another file than --out's, found %s", o.Animate)
		}
	}
	if err := errors.Join(cli.CheckOutput("animate", o.Animate, ".png", ".gif"),
		cli.CheckOutput("perform", o.Perform, ".gif", ".png"), cli.CheckOutput("sheet", o.Sheet, ".png")); err != nil {
		return err
	}
	if o.Previews > 0 && o.Picture() == "" {
		return cli.Usagef("--previews needs --out with a file name that ends with .png: previews lie beside it")
	}
	return nil
}

// run fills in the request and draws it. Files that nobody named are not replaced: they took long to make.
func (f *drawFlags) run(cmd *cobra.Command) error {
	if err := f.fill(cmd); err != nil {
		return err
	}
	return f.draw(cmd)
}

func (f *drawFlags) draw(cmd *cobra.Command) error {
	l := f.lab()
	defer l.Close()
	if f.prompts != "" {
		return f.drawPrompts(cmd, l)
	}
	if err := cli.RefuseUnnamed(cmd, f.output.Files[0]); err != nil {
		return err
	}
	return f.drawOne(cmd, l, f.request, f.output)
}

func (f *drawFlags) lab() *lab.Lab {
	memory.Save()
	return lab.New(lab.Options{Backend: f.other(), Threads: f.threads, NoCache: f.noCache})
}

// drawPrompts draws every prompt of a file. All are checked before the first is drawn.
func (f *drawFlags) drawPrompts(cmd *cobra.Command, l *lab.Lab) error {
	prompts, err := lab.ReadPrompts(f.prompts)
	if err != nil {
		return fmt.Errorf("--prompts: %w", err)
	}
	jobs, err := l.Jobs(f.request, f.output, prompts)
	if err != nil {
		return err
	}
	if skipped := len(prompts) - len(jobs); skipped > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d of %s are there already\n", skipped, counted(len(prompts), "prompt"))
	}
	var requests []lab.Request
	for _, job := range jobs {
		requests = append(requests, job.Request)
	}
	p := cli.Progress(cmd, false)
	err = l.Encode(cmd.Context(), requests, p.Loading)
	p.Clear()
	for _, job := range jobs {
		if err != nil {
			break
		}
		if cause := context.Cause(cmd.Context()); cause != nil {
			return fmt.Errorf("stopped by %w", cause)
		}
		err = f.drawOne(cmd, l, job.Request, job.Output)
	}
	return err
}

// drawOne draws a request, and says how far it is and what came of it.
func (f *drawFlags) drawOne(cmd *cobra.Command, l *lab.Lab, r lab.Request, o lab.Output) error {
	p := cli.Progress(cmd, f.json)
	var starts time.Time
	result, files, err := o.Draw(cmd.Context(), l, r, func(e lab.Event) {
		switch {
		case e.Warning != "":
			p.Warn(e.Warning)
		case e.Outline != nil && e.Outline.Repeated:
			p.Print("%d evaluations of the network for each image", e.Outline.Evaluations)
		case e.Loading != nil:
			p.Loading(e.Loading.Part, e.Loading.Done, e.Loading.Total)
		case e.Step != nil:
			if e.Step.Index == 0 {
				starts = time.Now()
			}
			p.Update(func() string { return e.Line(starts) })
		}
	})
	p.Clear()
	if err != nil {
		return err
	}
	x, r := result.Images, result.Request
	if f.json {
		return cli.JSON(cmd, map[string]any{"version": cli.Version, "images": x.N, "height": x.H,
			"width": x.W, "steps": r.Steps, "evaluations": result.Evaluations,
			"seconds": result.Duration.Seconds(), "peak_bytes": memory.Peak(), "files": files, "request": r})
	}
	if len(result.LeftOut) > 0 {
		p.Print("left out, as they check or mark finished pictures only: %s", strings.Join(result.LeftOut, ", "))
	}
	seed := ""
	if f.request.Seed == nil {
		seed = fmt.Sprintf(", seed %d", *r.Seed)
	}
	return cli.Printf(cmd, "%s of %d×%d in %s%s: %s", counted(x.N, "image"), x.W, x.H, duration.Format(result.Duration),
		seed, strings.Join(files, ", "))
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func newGenerate() *cobra.Command {
	var f drawFlags
	cmd := &cobra.Command{
		Use: "generate", Short: "Draw images from prompts",
		Long: `Draws images from noise, as prompts say: with a model that comes with the program, with one that you
trained, or with DeepFloyd IF as the hub has it. Models that know classes take them as prompts.
emoji, the default, draws small pictures of everyday things, and emoji-128 makes them larger.

The PNG carries its recipe, from which 'unnoise again' draws it again. A .safetensors file gets the raw
numbers: images [N,C,H,W], labels [N] of classes, and with --upscale also small, the images before.
With --dtype f32, a seed makes the picture of DeepFloyd IF that diffusers makes of it on the CPU.`,
		Example: `  unnoise generate --prompt "a rocket"
  unnoise generate --prompt "a red apple on a blue background, flat style" --count 8 --upscale none
  unnoise generate --model mnist-class --prompt 3 --prompt 8 --count 4
  unnoise generate --model mnist-class --prompt all --count 4 --seed 7 --out digits.png --animate digits.gif
  unnoise generate --model IF-I-XL-v1.0 --prompt "a red fox in the snow" --seed 7 --out fox.png
  unnoise generate --model IF-I-XL-v1.0 --upscale IF-II-L-v1.0 --prompt "a red fox" --timesteps smart50 --out fox.png`,
		Args: cli.NoArgs, RunE: cli.Run(f.run),
	}
	f.add(cmd, registry.Default(), "generated.png")
	return cmd
}

// newSample is generate by its older name. Without --prompt, --count is the number of images in all, going round the
// classes.
func newSample() *cobra.Command {
	var f drawFlags
	var classes []string
	cmd := &cobra.Command{
		Use: "sample", Short: "Another name for generate, which draws all classes",
		Long: `The same as 'unnoise generate', but without --prompt it draws all classes of the model: --count is then the
number of images in all, going round the classes (default: ten rounds, or 40 images without classes).`,
		Example: "  unnoise sample --model runs/digits --count 80 --guidance 5 --seed 7 --out digits.png",
		Args:    cli.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.fill(cmd); err != nil {
				return err
			}
			l := f.lab()
			defer l.Close()
			if f.prompts != "" {
				return f.drawPrompts(cmd, l)
			}
			if f.recipe == "" && len(f.request.Prompts) == 0 && f.request.Embeds == "" {
				var err error
				if f.request, err = l.GoRound(f.request, classes, f.request.Count); err != nil {
					return err
				}
			}
			return f.drawOne(cmd, l, f.request, f.output)
		},
	}
	f.add(cmd, "mnist-class", "samples.png")
	f.request.Count, f.request.Seed = 0, new(uint64) // of all classes, and told in --help
	cmd.Flags().StringSliceVar(&classes, "class", nil,
		"classes to draw, with commas, or all: an older form of --prompt")
	cli.Hide(cmd, "class")
	return cmd
}
