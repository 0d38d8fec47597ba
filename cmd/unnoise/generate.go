package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/weights"
)

// stageFlags say how one stage of a cascade draws.
type stageFlags struct {
	prefix    string // of its flags
	steps     int    // 0: ancestral for DDPM, 50 else
	ancestral int
	named     string
	guidance  float64
	stage     *deepfloyd.Stage
	timesteps []int
}

// add adds the stage's flags; ancestral and guidance are what diffusers' pipelines take.
func (f *stageFlags) add(cmd *cobra.Command, prefix, what string, ancestral int, guidance float64) {
	f.prefix, f.ancestral = prefix, ancestral
	intFlag(cmd, &f.steps, prefix+"steps", 0, 0, 1_000_000, fmt.Sprintf("steps from noise to %s; 0: %d for ddpm, 50 else", what, ancestral))
	choiceFlag(cmd, &f.named, prefix+"timesteps", "", "a published list of timesteps instead", deepfloyd.TimestepNames()...)
	floatFlag(cmd, &f.guidance, prefix+"guidance", guidance, -100, 100, "classifier-free guidance scale γ for "+what+": 0 ignores the prompt, 1 is the model without guidance")
}

// schedulerClasses are diffusers' names of the samplers.
var schedulerClasses = map[string]string{
	"ddpm": deepfloyd.DDPMScheduler, "ddim": deepfloyd.DDIMScheduler, "dpm++": deepfloyd.DPMSolverMultistepScheduler,
}

// open opens the stage's folder and settles its timesteps.
func (f *stageFlags) open(dir, variant, sampler string) (err error) {
	if dir, err = pipelineDir(dir); err != nil {
		return err
	}
	if f.stage, err = deepfloyd.OpenStage(dir, variant); err != nil {
		return err
	}
	if sampler != "" {
		if err := f.stage.Use(schedulerClasses[sampler]); err != nil {
			return fmt.Errorf("--sampler %s: %w", sampler, err)
		}
	}
	if err := f.stage.Scheduler.Check(); err != nil {
		return fmt.Errorf("%w (--sampler %s)", err, alternatives(noiseSamplers))
	}
	if f.named != "" {
		f.timesteps, err = deepfloyd.NamedTimesteps(f.named)
		if last := f.stage.Scheduler.Schedule.Len() - 1; err == nil && f.timesteps[0] > last {
			err = usagef("--%stimesteps: %s begins at %d, and the schedule of %s ends at %d", f.prefix, f.named, f.timesteps[0], dir, last)
		}
		return err
	}
	usual := f.steps == 0
	if usual {
		f.steps = 50
		if f.stage.Scheduler.Class() == deepfloyd.DDPMScheduler {
			f.steps = f.ancestral
		}
		f.steps = min(f.steps, f.stage.Scheduler.Schedule.Len())
	}
	f.timesteps, err = f.stage.Scheduler.Timesteps(f.steps)
	for usual && err != nil && f.steps > 1 { // schedules may be too short for as many
		f.steps--
		f.timesteps, err = f.stage.Scheduler.Timesteps(f.steps)
	}
	if err != nil {
		return usagef("--%ssteps: %w", f.prefix, err)
	}
	return nil
}

// describe adds the stage's parameters; given is what the command line calls its folder.
func (f *stageFlags) describe(p *figure.Parameters, given string) {
	if f.stage.Dir != given { // the hub's cache has it, by its commit
		p.Add(f.prefix+"revision", filepath.Base(f.stage.Dir))
	}
	p.Add(f.prefix+"scheduler", f.stage.Scheduler.Class())
	if f.named != "" {
		p.Add(f.prefix+"timesteps", f.named)
	} else {
		p.Add(f.prefix+"steps", f.steps)
	}
	p.Add(f.prefix+"guidance", f.guidance)
}

type generateFlags struct {
	computing
	prompting
	first, second              stageFlags
	upscale, embeds, sampler   string
	count, batch, noise, scale int
	previews                   int
	seed                       uint64
	out                        []string
	json                       bool

	unwritten error // of the first preview that failed
}

func newGenerate() *cobra.Command {
	var f generateFlags
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Draw images from prompts with DeepFloyd IF",
		Long: `Draws images from prompts with a DeepFloyd IF pipeline's folder as the hub has it, and makes them
larger with the folder of a stage of super-resolution. The PNG carries the parameters that made it.
With --dtype f32 a seed makes the picture that diffusers makes of it on the CPU. A .safetensors file
gets the raw numbers: images [N,3,H,W] in [-1,1], with --upscale also small, the images before.`,
		Example: `  unnoise generate --model IF-I-XL-v1.0 --prompt "a red fox in the snow" --seed 7 --out fox.png
  unnoise generate --model IF-I-XL-v1.0 --upscale IF-II-L-v1.0 --prompt "a red fox" --timesteps smart50 --out fox.png
  unnoise generate --model IF-I-XL-v1.0 --embeds prompts.safetensors --prompt "a red fox" --sampler dpm++ --steps 25`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	promptFlags(cmd, &f.prompting)
	flags.StringVar(&f.embeds, "embeds", "", "safetensors or .pth file with the prompts' embeddings, instead of the model's text encoder")
	flags.StringVar(&f.upscale, "upscale", "", "folder of a stage of super-resolution, or OWNER/NAME in the hub's cache")
	completeFolder(cmd, "upscale")
	intFlag(cmd, &f.count, "count", 1, 1, 10_000, "images of each prompt")
	choiceFlag(cmd, &f.sampler, "sampler", "", "how to go from noise to image, with the scheduler's settings otherwise; the folder's own if not given", noiseSamplers...)
	f.first.add(cmd, "", "images", 100, 7)
	f.second.add(cmd, "upscale-", "larger images", 50, 4)
	intFlag(cmd, &f.noise, "noise-level", 250, 0, 1<<20, "timestep that the small images are noised to before they are made larger")
	seedFlag(cmd, &f.seed, "seed of PyTorch's random numbers")
	intFlag(cmd, &f.batch, "batch", 0, 0, 10_000, "images in one evaluation, guided ones counted twice; fewer need less memory; 0: 16 of 64×64, 2 of 256×256")
	flags.StringArrayVar(&f.out, "out", []string{"generated.png"}, "file to write, .png or .safetensors; may be given more than once")
	intFlag(cmd, &f.previews, "previews", 0, 0, 1_000_000, "write a picture of the estimated images at every k-th step; 0: none")
	intFlag(cmd, &f.scale, "scale", 1, 1, 32, "pixels of the picture for each pixel of an image")
	computeFlags(cmd, &f.computing)
	jsonFlag(cmd, &f.json, "print a JSON object instead of progress")
	return cmd
}

// check tells what is wrong with the command line alone.
func (f *generateFlags) check(cmd *cobra.Command) error {
	if err := f.prompting.check(); err != nil {
		return err
	}
	if len(f.prompts) == 0 && f.embeds == "" {
		return usagef("--prompt: expected a prompt, found nothing")
	}
	for _, path := range f.out {
		if err := checkOutput("out", path, ".png", ".safetensors"); err != nil {
			return err
		}
		if f.embeds != "" && sameFile(path, f.embeds) {
			return usagef("--out: expected another file than --embeds', found %s", path)
		}
	}
	if err := refuseUnnamed(cmd, f.out[0]); err != nil {
		return err
	}
	if f.previews > 0 && f.picture() == "" {
		return usagef("--previews needs --out with a file name that ends with .png: previews lie beside it")
	}
	for _, prefix := range []string{"", "upscale-"} {
		if cmd.Flags().Changed(prefix+"steps") && cmd.Flags().Changed(prefix+"timesteps") {
			return usagef("--%ssteps can't be given with --%[1]stimesteps", prefix)
		}
	}
	if f.upscale == "" {
		for _, flag := range []string{"upscale-steps", "upscale-timesteps", "upscale-guidance", "noise-level"} {
			if cmd.Flags().Changed(flag) {
				return usagef("--%s has no meaning without --upscale", flag)
			}
		}
	}
	if cmd.Flags().Changed("negative") && !f.guided() && (f.embeds == "" || len(f.prompts) > 0) {
		return usagef("--negative has no meaning without guidance, with γ = 1")
	}
	if f.embeds != "" && f.noCache {
		return usagef("--no-cache has no meaning with --embeds")
	}
	return nil
}

// guided tells whether there is anything that the negative prompt is for.
func (f *generateFlags) guided() bool {
	return f.first.guidance != 1 || f.upscale != "" && f.second.guidance != 1
}

// picture is the first of the PNG files to write.
func (f *generateFlags) picture() string {
	for _, path := range f.out {
		if strings.EqualFold(filepath.Ext(path), ".png") {
			return path
		}
	}
	return ""
}

// open opens the folders and tells what in them does not go together, before anything takes long.
func (f *generateFlags) open(cmd *cobra.Command) error {
	if err := f.first.open(f.model, f.variant, f.sampler); err != nil {
		return err
	}
	if f.first.stage.Noising != nil {
		return usagef("--model: %s is a stage of super-resolution (%s); give it as --upscale, and the folder of a first stage as --model", f.model, f.first.stage.Index.Class)
	}
	if f.upscale == "" {
		return nil
	}
	if err := f.second.open(f.upscale, f.variant, f.sampler); err != nil {
		return err
	}
	if f.second.stage.Noising == nil {
		return usagef("--upscale: %s draws from a text alone (%s); expected a stage of super-resolution", f.upscale, f.second.stage.Index.Class)
	}
	if last := f.second.stage.Noising.Schedule.Len() - 1; f.noise > last {
		return usagef("--noise-level: expected at most %d, the last timestep of the image_noising_scheduler, found %d", last, f.noise)
	}
	return nil
}

// fits tells whether the pictures can be drawn, before anything takes long.
func (f *generateFlags) fits() error {
	path := f.picture()
	if path == "" {
		return nil
	}
	shown := []stageFlags{f.first}
	if f.upscale != "" {
		shown = append(shown, f.second)
	}
	if f.previews == 0 {
		shown = shown[len(shown)-1:]
	}
	longest := 0
	for _, s := range shown {
		x := s.stage.Shape(len(f.prompts) * f.count)
		if err := drawable(path, f.layout(x)); err != nil {
			return err
		}
		longest = max(longest, len(s.timesteps))
	}
	if f.previews >= longest {
		return usagef("--previews: expected fewer than the %d steps, found %d", longest, f.previews)
	}
	return nil
}

// text returns the prompts' embeddings, one for each image or one for all, and those of the negative prompt.
func (f *generateFlags) text(cmd *cobra.Command, b compute.Backend, dtype dtypes.DType, p *progress, w *deepfloyd.Walk) error {
	guided := f.guided()
	var all deepfloyd.Prompts
	var err error
	if f.embeds != "" {
		if all, err = deepfloyd.ReadPrompts(f.embeds); err != nil {
			return err
		}
		if len(f.prompts) == 0 {
			away := all.Find(f.negative)
			for i, text := range all.Texts {
				if !slices.Contains(away, i) {
					f.prompts = append(f.prompts, text)
				}
			}
		}
		if len(f.prompts) == 0 {
			return fmt.Errorf("--embeds: %s has no prompt but the negative one", f.embeds)
		}
	}
	if err := f.fits(); err != nil {
		return err
	}
	if f.embeds == "" {
		texts := slices.Clone(f.prompts)
		if guided {
			texts = append(texts, f.negative)
		}
		if all, err = f.encode(cmd, b, f.other(), dtype, p, texts); err != nil {
			return err
		}
	}
	texts := f.prompts // one serves all images
	if len(f.prompts) > 1 {
		texts = nil
		for _, prompt := range f.prompts {
			texts = append(texts, slices.Repeat([]string{prompt}, f.count)...)
		}
	}
	if w.Text, err = all.Select(texts...); err != nil {
		return fmt.Errorf("%s: %w", f.embeds, err)
	}
	if guided {
		if w.Negative, err = all.Select(f.negative); err != nil {
			unguided := "--guidance 1"
			if f.upscale != "" {
				unguided += " --upscale-guidance 1"
			}
			return fmt.Errorf("%s, for the negative prompt: %w (without guidance, %s, there is none)", f.embeds, err, unguided)
		}
	}
	for _, s := range []stageFlags{f.first, f.second} {
		if s.stage != nil && s.stage.Config.TextDim() != all.Embeds.Dim {
			return fmt.Errorf("the prompts' embeddings have %d numbers a token, and the UNet of %s takes %d: are they another text encoder's?", all.Embeds.Dim, s.stage.Dir, s.stage.Config.TextDim())
		}
	}
	return nil
}

func (f *generateFlags) run(cmd *cobra.Command) error {
	if err := f.check(cmd); err != nil {
		return err
	}
	defer func() {
		for _, s := range []stageFlags{f.first, f.second} {
			if s.stage != nil {
				s.stage.Close()
			}
		}
	}()
	if err := f.open(cmd); err != nil {
		return err
	}
	saveMemory()
	if f.dtype == "f32" && f.other() == "" {
		f.without = []string{"winograd"} // who asks for float32 wants diffusers' picture: walks magnify what other sums round
	}
	b, _, dtype, err := f.computing.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()

	start := time.Now()
	var w io.Writer = io.Discard
	if !f.json {
		w = cmd.ErrOrStderr()
	}
	p := newProgress(w)
	defer p.clear()
	if parts := f.leftOut(); len(parts) > 0 {
		p.print("left out, as they check or mark finished pictures only: %s", strings.Join(parts, ", "))
	}
	var walk deepfloyd.Walk
	if err := f.text(cmd, b, dtype, p, &walk); err != nil {
		return err
	}
	parameters := f.parameters(dtype)
	g := diffusion.NewGenerator(f.seed)
	images, err := f.draw(cmd, b, dtype, f.first, walk, g, p, parameters)
	if err != nil {
		return err
	}
	tensors := map[string]weights.Tensor{"images": tensorOf(images)}
	if f.upscale != "" {
		walk.Small, walk.NoiseLevel = images, f.noise
		if images, err = f.draw(cmd, b, dtype, f.second, walk, g, p, parameters); err != nil {
			return f.keepSmall(cmd, walk.Small, parameters, err)
		}
		tensors = map[string]weights.Tensor{"images": tensorOf(images), "small": tensorOf(walk.Small)}
	}

	if err := errors.Join(f.write(f.out, images, tensors, parameters), f.unwritten); err != nil {
		return err
	}
	seconds := time.Since(start)
	if f.json {
		return printJSON(cmd.OutOrStdout(), map[string]any{"version": jsonVersion, "images": images.N, "height": images.H, "width": images.W, "seconds": seconds.Seconds(), "peak_bytes": peakMemory(), "files": f.out})
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d images of %d×%d in %s: %s\n", images.N, images.W, images.H, pretty(seconds), strings.Join(f.out, ", "))
	return err
}

// keepSmall writes the small images, of which err keeps the large ones from being made, beside where these would have been.
func (f *generateFlags) keepSmall(cmd *cobra.Command, small diffusion.Images, parameters figure.Parameters, err error) error {
	if cause := context.Cause(cmd.Context()); cause != nil {
		err = fmt.Errorf("stopped by %w", cause)
	}
	var paths []string
	for _, path := range f.out {
		ending := filepath.Ext(path)
		paths = append(paths, strings.TrimSuffix(path, ending)+"-small"+ending)
	}
	parameters = slices.Clone(parameters)
	parameters.Add("stopped", "before the images were larger")
	if failed := f.write(paths, small, map[string]weights.Tensor{"images": tensorOf(small)}, parameters); failed != nil {
		return errors.Join(err, failed)
	}
	return fmt.Errorf("%w\nThe small images are kept: %s", err, strings.Join(paths, ", "))
}

// write writes every file that it can.
func (f *generateFlags) write(paths []string, images diffusion.Images, tensors map[string]weights.Tensor, parameters figure.Parameters) error {
	var failed []error
	for _, path := range paths {
		if isRaw(path) {
			failed = append(failed, writeRaw(path, tensors, parameters))
		} else {
			failed = append(failed, writeGrid(path, f.grid(images), parameters))
		}
	}
	return errors.Join(failed...)
}

// leftOut are the folders' parts that are not run.
func (f *generateFlags) leftOut() (parts []string) {
	for _, s := range []stageFlags{f.first, f.second} {
		if s.stage != nil {
			parts = append(parts, s.stage.Index.LeftOut...)
		}
	}
	slices.Sort(parts)
	return slices.Compact(parts)
}

// draw loads a stage, draws with it and closes it: two at once may not fit into memory.
func (f *generateFlags) draw(cmd *cobra.Command, b compute.Backend, dtype dtypes.DType, s stageFlags, w deepfloyd.Walk, g *diffusion.Generator, p *progress, parameters figure.Parameters) (diffusion.Images, error) {
	defer p.clear()
	p.show("loading " + s.stage.Dir)
	s.stage.Progress = p.loading(s.stage.Dir)
	if err := s.stage.Load(b, dtype); err != nil {
		return diffusion.Images{}, err
	}
	defer s.stage.Close()
	x := s.stage.Shape(len(f.prompts) * f.count)
	s.stage.UNet.Batch = f.batch
	if f.batch == 0 {
		s.stage.UNet.Batch = max(2, 16*64*64/max(x.H*x.W, 1))
	}
	w.Timesteps, w.Guidance = s.timesteps, float32(s.guidance)
	start := time.Now()
	for step, err := range s.stage.Steps(cmd.Context(), w, x.N, g) {
		if err != nil {
			return diffusion.Images{}, err
		}
		x = step.X
		done := step.Index + 1
		if f.unwritten == nil && f.previews > 0 && done%f.previews == 0 && done < step.Total {
			if f.unwritten = f.preview(s, step, parameters); f.unwritten != nil {
				p.warn(cmd)(fmt.Sprintf("%v; it goes on without previews", f.unwritten))
			}
		}
		p.update(func() string {
			return fmt.Sprintf("%d×%d: step %d/%d  %s left", x.W, x.H, done, step.Total, left(start, done, step.Total))
		})
	}
	return x, nil
}

// preview writes what the images are estimated to become, beside the picture.
func (f *generateFlags) preview(s stageFlags, step diffusion.Step, parameters figure.Parameters) error {
	path := f.picture()
	ending := filepath.Ext(path)
	path = fmt.Sprintf("%s-%sstep%0*d%s", strings.TrimSuffix(path, ending), s.prefix, len(strconv.Itoa(step.Total)), step.Index+1, ending)
	parameters = slices.Clone(parameters)
	parameters.Add("preview", fmt.Sprintf("%sstep %d of %d, timestep %d", s.prefix, step.Index+1, step.Total, step.Timestep))
	return writeGrid(path, f.grid(step.X0), parameters)
}

// grid shows images in [-1,1].
func (f *generateFlags) grid(x diffusion.Images) figure.Grid {
	x = x.Clone()
	for i, v := range x.Data {
		x.Data[i] = v/2 + 0.5
	}
	return f.layout(x)
}

// layout has a row for each prompt, or a square of one prompt's images.
func (f *generateFlags) layout(x diffusion.Images) figure.Grid {
	g := figure.Grid{Images: x, Columns: f.count, Scale: f.scale}
	if len(f.prompts) == 1 {
		g.Columns = int(math.Ceil(math.Sqrt(float64(f.count))))
	}
	if x.N > 1 {
		g.Padding = 2 * f.scale
	}
	return g
}

func (f *generateFlags) parameters(dtype dtypes.DType) figure.Parameters {
	var p figure.Parameters
	p.Add("Software", "unnoise "+build.Commit())
	p.Add("model", f.model)
	if f.upscale != "" {
		p.Add("upscale", f.upscale)
	}
	if f.variant != "" {
		p.Add("variant", f.variant)
	}
	if f.embeds != "" {
		p.Add("embeds", f.embeds)
	}
	for i, text := range f.prompts {
		name := "prompt"
		if len(f.prompts) > 1 {
			name = fmt.Sprintf("prompt %d", i+1)
		}
		p.Add(name, text)
	}
	p.Add("negative", f.negative)
	p.Add("count", f.count)
	f.first.describe(&p, f.model)
	if f.upscale != "" {
		f.second.describe(&p, f.upscale)
		p.Add("noise-level", f.noise)
	}
	p.Add("seed", f.seed)
	f.computing.describe(&p, dtype)
	return p
}
