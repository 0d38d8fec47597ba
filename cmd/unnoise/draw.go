package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/internal/memory"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/writeup"
)

// drawFlags are the flags of every verb that draws: they fill in a request, and say where its pictures go.
type drawFlags struct {
	computing
	request  lab.Request
	upscale  lab.Upscale
	prompts  string
	recipe   string
	out      []string
	animate  string
	previews int
	show     []lab.Quantity
	scale    int
	noCache  bool
	json     bool

	round     func(*lab.Lab, lab.Request) (lab.Request, error) // completes the prompts; nil: they are given
	also      []func(lab.Result) (path string, err error)      // further files to write
	unwritten error                                            // of the first preview that failed
}

// none is what --upscale is told to leave the images as they are.
const none = "none"

// add adds the flags. fallback is the model where none is named.
func (f *drawFlags) add(cmd *cobra.Command, fallback, out string) {
	flags, r := cmd.Flags(), &f.request
	modelFlag(cmd, &r.Model, fallback)
	flags.StringVar(&r.Variant, "variant", "", "weights to take where the model's folder has several, such as fp16")
	flags.StringArrayVar(&r.Prompts, "prompt", nil,
		"what the images show: a text, or a class of a model that knows classes, or all of them; may be given more "+
			"than once")
	flags.StringVar(&f.prompts, "prompts", "",
		"file with a prompt on each line: each is drawn into a file of its own, named by it; those that are there "+
			"are skipped")
	flags.StringVar(&r.Negative, "negative", "", "prompt that guidance leads away from")
	flags.StringVar(&r.Embeds, "embeds", "",
		"safetensors or .pth file with the prompts' embeddings, instead of the model's text encoder")
	flags.BoolVar(&f.noCache, "no-cache", false, "neither use nor keep embeddings in the cache folder")
	intFlag(cmd, &r.Count, "count", 1, 1, 100_000, "images of each prompt")
	samplingFlags(cmd, &r.Sampling, "", "images")
	flags.StringVar(&f.upscale.Model, "upscale", "",
		"stage of super-resolution that makes the images larger: a folder, OWNER/NAME in the hub's cache, or none "+
			"(default: emoji-128 with --model emoji, without --animate and --previews)")
	completeFolder(cmd, "upscale")
	samplingFlags(cmd, &f.upscale.Sampling, "upscale-", "larger images")
	pointerFlag(cmd, &f.upscale.NoiseLevel, "noise-level", "int",
		"timestep that the small images are noised to before they are made larger (default 250, 100 with "+
			"emoji-128)", parseInt(0, 1<<20))
	pointerFlag(cmd, &r.Seed, "seed", "int", "seed of PyTorch's random numbers; without, one is chosen and told",
		parseSeed)
	varyFlag(cmd, &r.Vary)
	intFlag(cmd, &r.Batch, "batch", 0, 0, 10_000,
		"images in one evaluation, guided ones counted twice; fewer need less memory; 0: what the model thinks fit")
	flags.StringVar(&f.recipe, "recipe", "",
		"JSON file with a request, or a picture that carries its recipe; other flags change it")
	flags.StringArrayVar(&f.out, "out", []string{out},
		"file to write, .png or .safetensors (the raw numbers); may be given more than once")
	flags.StringVar(&f.animate, "animate", "", "write how the images came out of noise too, .png or .gif")
	intFlag(cmd, &f.previews, "previews", 0, 0, 1_000_000,
		"write a picture of the estimated images at every k-th step; 0: none")
	showFlag(cmd, &f.show,
		"what --animate and --previews show, with commas: x_t, x0 (what it is estimated to become), epsilon (the "+
			"noise seen in it); default: x_t and x0")
	intFlag(cmd, &f.scale, "scale", 0, 0, 32,
		"pixels of the picture for each pixel of an image; 0: more than 1 for small images")
	computeFlags(cmd, &f.computing)
	jsonFlag(cmd, &f.json, "print a JSON object instead of progress")
}

// showFlag adds --show.
func showFlag(cmd *cobra.Command, target *[]lab.Quantity, usage string) {
	var names []string
	for _, q := range lab.Quantities() {
		names = append(names, string(q))
	}
	listFlag(cmd, target, "show", "names", expected("some of "+alternatives(names)+" with commas"),
		func(s string) (lab.Quantity, bool) {
			return lab.Quantity(s), slices.Contains(names, s)
		}, func(q lab.Quantity) string { return string(q) }, usage)
}

// varyFlag adds --vary.
func varyFlag(cmd *cobra.Command, target *[]lab.Vary) {
	want := expected("FIELD=VALUE,VALUE,... with one of the fields " + alternatives(lab.Variable()))
	cmd.Flags().Var(flagValue[[]lab.Vary]{target, "field=values", func(s string) ([]lab.Vary, error) {
		field, values, ok := strings.Cut(s, "=")
		if !ok || values == "" || !slices.Contains(lab.Variable(), field) {
			return nil, want
		}
		return append(*target, lab.Vary{Field: field, Values: strings.Split(values, ",")}), nil
	}, func([]lab.Vary) string { return "" }}, "vary",
		"draw several times side by side, with other values of a field, as in steps=10,20,100; given twice, every "+
			"combination: the last goes along the rows")
}

// samplingFlags add how a model goes from noise to images.
func samplingFlags(cmd *cobra.Command, s *model.Sampling, prefix, what string) {
	choiceFlag(cmd, &s.Sampler, prefix+"sampler", "", "how to go from noise to "+what+" (default: the model's)",
		model.Samplers()...)
	intFlag(cmd, &s.Steps, prefix+"steps", 0, 0, 1<<20, "steps from noise to "+what+"; 0: the sampler's usual number")
	choiceFlag(cmd, &s.Timesteps, prefix+"timesteps", "",
		"a published list of timesteps instead of steps, for DeepFloyd IF", deepfloyd.TimestepNames()...)
	floatFlag(cmd, &s.Eta, prefix+"eta", 0, 0, 1, "ddim's share of fresh noise")
	pointerFlag(cmd, &s.Guidance, prefix+"guidance", "float",
		"classifier-free guidance scale γ for "+what+": 0 ignores the prompt, 1 is the model without guidance, more "+
			"exaggerates it (default: the model's)",
		parseFloat(-100, 100))
}

// fill makes the request of the flags, on top of a recipe if there is one.
func (f *drawFlags) fill(cmd *cobra.Command) error {
	changed := cmd.Flags().Changed
	r := &f.request
	if f.recipe != "" {
		recipe, err := readRequest(f.recipe)
		if err != nil {
			return fmt.Errorf("--recipe: %w", err)
		}
		if err := f.change(cmd, &recipe); err != nil {
			return err
		}
		f.request = recipe
	} else {
		for _, prefix := range []string{"", "upscale-"} {
			if changed(prefix+"steps") && changed(prefix+"timesteps") {
				return usagef("--%ssteps can't be given with --%[1]stimesteps", prefix)
			}
		}
		r.DType, r.Backend = f.dtype, f.other()
		larger, ok := registry.Larger(r.Model)
		switch ok = ok && f.animate == "" && f.previews == 0 && r.Strip == nil; {
		case f.upscale.Model == "" && ok:
			f.upscale.Model = larger
			r.Upscale = &f.upscale
		case f.upscale.Model != "" && f.upscale.Model != none:
			f.upscale.Variant = r.Variant
			if f.upscale.Sampler == "" {
				f.upscale.Sampler = r.Sampler
			}
			r.Upscale = &f.upscale
		}
	}
	return f.check(cmd)
}

// check tells what is wrong with the flags together, and with the files that are to be written.
func (f *drawFlags) check(cmd *cobra.Command) error {
	changed := cmd.Flags().Changed
	if f.request.Upscale == nil {
		for _, flag := range []string{"upscale-sampler", "upscale-steps", "upscale-timesteps", "upscale-eta",
			"upscale-guidance", "noise-level"} {
			if changed(flag) {
				return usagef("--%s has no meaning without --upscale", flag)
			}
		}
	}
	if f.request.Embeds != "" && f.noCache {
		return usagef("--no-cache has no meaning with --embeds")
	}
	return f.checkFiles()
}

// change puts what the flags say into a recipe. What hangs on something that was changed takes its default again.
func (f *drawFlags) change(cmd *cobra.Command, r *lab.Request) error {
	given := f.request
	changed := cmd.Flags().Changed
	set := func(flag string, do func()) {
		if changed(flag) {
			do()
		}
	}
	set("model", func() {
		r.Model, r.Revision, r.Prompts, r.Negative, r.Order, r.Sampling, r.Upscale = given.Model, "", nil, "", "",
			model.Sampling{}, nil
	})
	set("variant", func() { r.Variant = given.Variant })
	set("prompt", func() { r.Prompts, r.Order = given.Prompts, "" })
	set("negative", func() { r.Negative = given.Negative })
	set("embeds", func() { r.Embeds = given.Embeds })
	set("count", func() { r.Count = given.Count })
	set("seed", func() { r.Seed = given.Seed })
	if i := r.Illusion; i != nil && (changed("seed") || changed("model")) { // other candidates, which are to be ranked
		other := *i
		other.Seeds = nil
		r.Illusion = &other
	}
	set("batch", func() { r.Batch = given.Batch })
	set("vary", func() { r.Vary = given.Vary })
	set("dtype", func() { r.DType = f.dtype })
	set("backend", func() { r.Backend = f.other() })
	changeSampling(changed, "", &r.Sampling, given.Sampling)
	set("upscale", func() {
		r.Upscale = nil
		if f.upscale.Model != none {
			r.Upscale = &lab.Upscale{Model: f.upscale.Model, Variant: given.Variant}
		}
	})
	if u := r.Upscale; u != nil {
		changeSampling(changed, "upscale-", &u.Sampling, f.upscale.Sampling)
		set("noise-level", func() { u.NoiseLevel = f.upscale.NoiseLevel })
	}
	return nil
}

func changeSampling(changed func(string) bool, prefix string, s *model.Sampling, given model.Sampling) {
	if changed(prefix + "sampler") {
		s.Sampler, s.Steps, s.Timesteps, s.Eta = given.Sampler, 0, "", 0
	}
	if changed(prefix + "steps") {
		s.Steps, s.Timesteps = given.Steps, ""
	}
	if changed(prefix + "timesteps") {
		s.Steps, s.Timesteps = 0, given.Timesteps
	}
	if changed(prefix + "eta") {
		s.Eta = given.Eta
	}
	if changed(prefix + "guidance") {
		s.Guidance = given.Guidance
	}
}

// fillAndRun is what verbs do whose pictures take long to make: files that nobody named are not replaced.
func (f *drawFlags) fillAndRun(cmd *cobra.Command) error {
	if err := f.fill(cmd); err != nil {
		return err
	}
	if f.prompts != "" {
		return f.runPrompts(cmd)
	}
	if err := refuseUnnamed(cmd, f.out[0]); err != nil {
		return err
	}
	return f.run(cmd)
}

func (f *drawFlags) checkFiles() error {
	if f.prompts != "" && (len(f.request.Prompts) > 0 && f.recipe == "" || f.request.Embeds != "") {
		return usagef("--prompts can't be given with --prompt or --embeds")
	}
	for _, path := range f.out {
		if err := checkOutput("out", path, ".png", ".safetensors"); err != nil {
			return err
		}
		if f.request.Embeds != "" && sameFile(path, f.request.Embeds) {
			return usagef("--out: expected another file than --embeds', found %s", path)
		}
		if f.animate != "" && sameFile(path, f.animate) {
			return usagef("--animate: expected another file than --out's, found %s", f.animate)
		}
	}
	if f.animate != "" {
		if err := checkOutput("animate", f.animate, ".png", ".gif"); err != nil {
			return err
		}
	}
	if f.previews > 0 && f.picture() == "" {
		return usagef("--previews needs --out with a file name that ends with .png: previews lie beside it")
	}
	return nil
}

// picture is the first of the PNG files to write.
func (f *drawFlags) picture() string {
	i := slices.IndexFunc(f.out, func(path string) bool { return !lab.IsRaw(path) })
	if i < 0 {
		return ""
	}
	return f.out[i]
}

// run draws the request and writes what was asked for.
func (f *drawFlags) run(cmd *cobra.Command) error {
	memory.Save()
	l := lab.New(lab.Options{Backend: f.other(), Threads: f.threads, NoCache: f.noCache})
	defer l.Close()
	return f.draw(cmd, l)
}

// draw draws the request in a lab and writes what was asked for.
func (f *drawFlags) draw(cmd *cobra.Command, l *lab.Lab) error {
	p := newProgress(cmd.ErrOrStderr())
	defer p.clear()
	seeded := f.request.Seed != nil
	r, err := f.request, error(nil)
	if f.round != nil {
		if r, err = f.round(l, r); err != nil {
			return err
		}
	}
	o, err := l.Complete(r)
	if err != nil {
		return err
	}
	r = o.Request
	if err := f.fits(o); err != nil {
		return err
	}
	if resampled(r) && !f.json {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d evaluations of the network for each image\n", o.Evaluations)
	}
	film := lab.Film{Stage: lab.Drawing, Most: writeup.MostFrames, Show: f.shown(lab.Noisy)}
	if r.Upscale != nil {
		film.Stage = lab.Upscaling
	}
	var starts time.Time
	result, err := lab.Run(l.Draw(cmd.Context(), r), func(e lab.Event) {
		switch {
		case e.Warning != "":
			p.warn(cmd)(e.Warning)
		case e.Loading != nil && !f.json:
			p.loading(e.Loading.Part)(e.Loading.Done, e.Loading.Total)
		case e.Step != nil:
			if f.animate != "" {
				film.Add(e)
			}
			f.preview(cmd, p, r, e)
			if e.Step.Index == 0 {
				starts = time.Now()
			}
			if !f.json {
				p.update(func() string { return stepLine(e, starts) })
			}
		}
	})
	p.clear()
	if err != nil {
		return f.keepSmall(cmd, err)
	}
	files, err := f.write(result, film)
	if err := errors.Join(err, f.unwritten); err != nil {
		return err
	}
	return f.tell(cmd, result, files, seeded)
}

// resampled reports whether steps are repeated, so that a drawing takes many more evaluations than it has steps.
func resampled(r lab.Request) bool {
	return r.Inpaint != nil && r.Inpaint.Method == lab.RePaint || r.Illusion != nil && r.Illusion.Repeats > 1
}

// stepLine says how far a drawing is.
func stepLine(e lab.Event, starts time.Time) string {
	s := e.Step
	rest := ""
	if s.Index > 0 {
		rest = "  " + duration.Left(starts, s.Index, s.Total-1) + " left"
	}
	of := ""
	if e.Variants > 1 {
		of = fmt.Sprintf(" of %d/%d", e.Variant+1, e.Variants)
	}
	return fmt.Sprintf("%d×%d: step %d/%d%s%s", s.X.W, s.X.H, s.Index+1, s.Total, of, rest)
}

// fits refuses pictures that can't be drawn, before anything takes long.
func (f *drawFlags) fits(o lab.Outline) error {
	for _, flag := range []struct {
		name  string
		given bool
	}{{"animate", f.animate != ""}, {"previews", f.previews > 0}} {
		if flag.given && len(o.Request.Vary) > 0 {
			return usagef("--%s has no meaning with --vary", flag.name)
		}
		if s := o.Request.Strip; flag.given && s != nil && (s.Forward || len(s.At) > 1) {
			return usagef("--%s shows one way from noise: expected one time, found %d", flag.name, len(s.At))
		}
	}
	if f.previews >= o.Steps {
		return usagef("--previews: expected fewer than the %d steps, found %d", o.Steps, f.previews)
	}
	for i, spec := range o.Specs {
		if f.picture() == "" && f.animate == "" || i < len(o.Specs)-1 && f.previews == 0 {
			continue
		}
		shape := diffusion.Images{N: o.Images, C: spec.Channels, H: spec.Height, W: spec.Width}
		if _, err := o.Request.Grid(shape, model.ZeroToOne, f.scale).Bounds(); err != nil {
			return fmt.Errorf("%s: %w; ask for fewer images (--count), a lower --scale, or for a .safetensors file only", f.picture(), err)
		}
	}
	return nil
}

// tell says what was drawn.
func (f *drawFlags) tell(cmd *cobra.Command, result lab.Result, files []string, seeded bool) error {
	x, r := result.Images, result.Request
	if f.json {
		return printJSON(cmd.OutOrStdout(), map[string]any{"version": jsonVersion, "images": x.N, "height": x.H,
			"width": x.W, "steps": r.Steps, "evaluations": result.Evaluations,
			"seconds": result.Duration.Seconds(), "peak_bytes": memory.Peak(), "files": files, "request": r})
	}
	if len(result.LeftOut) > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "left out, as they check or mark finished pictures only: %s\n",
			strings.Join(result.LeftOut, ", "))
	}
	seed := ""
	if !seeded {
		seed = fmt.Sprintf(", seed %d", *r.Seed)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s of %d×%d in %s%s: %s\n", counted(x.N, "image"), x.W, x.H,
		duration.Format(result.Duration), seed, strings.Join(files, ", "))
	return err
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// write writes every file that it can, and lists those.
func (f *drawFlags) write(result lab.Result, film lab.Film) ([]string, error) {
	var failed error
	files := []string{}
	wrote := func(path string, err error) {
		if failed = errors.Join(failed, err); err == nil {
			files = append(files, path)
		}
	}
	for _, path := range f.out {
		wrote(path, result.Save(path, f.scale))
	}
	if f.animate != "" {
		wrote(f.animate, result.SaveFilm(f.animate, film, f.scale))
	}
	for _, do := range f.also {
		wrote(do(result))
	}
	return files, failed
}

// preview writes what the images are estimated to become, beside the picture.
func (f *drawFlags) preview(cmd *cobra.Command, p *progress, r lab.Request, e lab.Event) {
	s := e.Step
	done := s.Index + 1
	if f.unwritten != nil || f.previews == 0 || done%f.previews != 0 || done == s.Total {
		return
	}
	err := r.SavePreview(f.picture(), e, f.shown(lab.Estimated), f.scale)
	if f.unwritten = err; err != nil {
		p.warn(cmd)(fmt.Sprintf("%v; it goes on without previews", err))
	}
}

// keepSmall writes small images that could not be made larger beside where these would have been.
func (f *drawFlags) keepSmall(cmd *cobra.Command, err error) error {
	var small *lab.SmallError
	if !errors.As(err, &small) {
		return err
	}
	if cause := context.Cause(cmd.Context()); cause != nil {
		err = fmt.Errorf("stopped by %w", cause)
	}
	kept := *f
	kept.out, kept.animate, kept.also = nil, "", nil
	for _, path := range f.out {
		ending := filepath.Ext(path)
		kept.out = append(kept.out, strings.TrimSuffix(path, ending)+"-small"+ending)
	}
	files, failed := kept.write(small.Result(), lab.Film{})
	if failed != nil {
		return errors.Join(err, failed)
	}
	return fmt.Errorf("%w\nThe small images are kept: %s", err, strings.Join(files, ", "))
}

func newGenerate() *cobra.Command {
	var f drawFlags
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Draw images from prompts",
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
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.fillAndRun(cmd) },
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
		Use:   "sample",
		Short: "Another name for generate, which draws all classes",
		Long: `The same as 'unnoise generate', but without --prompt it draws all classes of the model: --count is then the
number of images in all, going round the classes (default: ten rounds, or 40 images without classes).`,
		Example: "  unnoise sample --model runs/digits --count 80 --guidance 5 --seed 7 --out digits.png",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.fill(cmd); err != nil {
				return err
			}
			if f.prompts != "" {
				return f.runPrompts(cmd)
			}
			if f.recipe == "" && len(f.request.Prompts) == 0 && f.request.Embeds == "" {
				total := 0
				if cmd.Flags().Changed("count") {
					total = f.request.Count
				}
				if !cmd.Flags().Changed("seed") {
					f.request.Seed = new(uint64)
				}
				f.round = func(l *lab.Lab, r lab.Request) (lab.Request, error) { return l.GoRound(r, classes, total) }
			}
			return f.run(cmd)
		},
	}
	f.add(cmd, "mnist-class", "samples.png")
	cmd.Flags().StringSliceVar(&classes, "class", nil,
		"classes to draw, with commas, or all: an older form of --prompt")
	cmd.Flags().Lookup("class").Hidden = true
	return cmd
}

// sameFile reports whether two paths name the same file, which need not exist.
func sameFile(a, b string) bool {
	a, errA := filepath.Abs(a)
	b, errB := filepath.Abs(b)
	return errA == nil && errB == nil && a == b
}

// shown is what moments are seen by.
func (f *drawFlags) shown(usual lab.Quantity) []lab.Quantity {
	if len(f.show) == 0 {
		return []lab.Quantity{usual}
	}
	return f.show
}
