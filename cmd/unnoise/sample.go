package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/weights"
	"github.com/unnoise/unnoise/writeup"
)

// The samplers for each objective; the first is how models are measured and shown where nothing else is asked for.
var (
	noiseSamplers = []string{"ddpm", "ddim", "dpm++"}
	flowSamplers  = []string{string(diffusion.Euler), string(diffusion.Midpoint)}
)

// sampling says how images are drawn from noise.
type sampling struct {
	sampler  string // "": the objective's first
	steps    int    // 0: the sampler's default
	eta      float64
	guidance float64
	seed     uint64
	guided   bool // the model has classes, and so a use for guidance
}

// choose chooses a sampler for a model of noise, if none is asked for: by docs/results.md the ancestral walk draws better with little
// guidance or none, 50 steps of it no worse than 300, and DPM-Solver++ with much.
func (s *sampling) choose(c mnistunet.Config) {
	switch {
	case s.sampler != "" || c.Objective != mnistunet.Noise:
	case s.guidance >= 2:
		s.sampler = "dpm++"
	default:
		s.sampler = "ddpm"
		if s.steps == 0 {
			s.steps = min(50, c.Timesteps)
		}
	}
}

// complete fills in the defaults for a model, and tells what does not go with it.
func (s *sampling) complete(c mnistunet.Config) error {
	s.guided = c.Condition == mnistunet.Class
	objective, samplers := "noise", noiseSamplers
	if c.Objective == mnistunet.Flow {
		objective, samplers = "flow", flowSamplers
	}
	if s.sampler == "" {
		s.sampler = samplers[0]
	}
	if !slices.Contains(samplers, s.sampler) {
		return usagef("--sampler %s can't draw with a model of objective %s: expected %s", s.sampler, objective, alternatives(samplers))
	}
	if s.eta != 0 && s.sampler != "ddim" {
		return usagef("--eta has no meaning with --sampler %s", s.sampler)
	}
	most := mostSteps(c)
	if s.steps == 0 {
		switch s.sampler {
		case "ddpm":
			s.steps = most
		case "dpm++":
			s.steps = min(20, most)
		default:
			s.steps = min(50, most)
		}
	}
	if s.steps > most {
		return usagef("--steps: expected at most %d with this model, found %d", most, s.steps)
	}
	return nil
}

// mostSteps is how many steps a walk can have: as many as there are timesteps, or a bound where time is continuous.
func mostSteps(c mnistunet.Config) int {
	if c.Objective == mnistunet.Noise {
		return c.Timesteps
	}
	return 1 << 20
}

func (s sampling) describe(p *figure.Parameters) {
	p.Add("sampler", s.sampler)
	p.Add("steps", s.steps)
	if s.guided {
		p.Add("guidance", s.guidance)
	}
	p.Add("seed", s.seed)
	if s.sampler == "ddim" {
		p.Add("eta", s.eta)
	}
}

func (s sampling) flow() diffusion.FlowSampler {
	return diffusion.FlowSampler{N: s.steps, Method: diffusion.FlowMethod(s.sampler)}
}

// evaluations is how often the network is evaluated for an image.
func (s sampling) evaluations() int {
	n := s.flow().Evaluations() // other samplers ask once in a step too
	if s.guided && s.guidance != 1 {
		n *= 2 // with the class and without
	}
	return n
}

// noise is what the walk to n images starts from, and the generator of the noise on the way.
func (s sampling) noise(n int) (diffusion.Images, *diffusion.Generator) {
	g := diffusion.NewGenerator(s.seed)
	x := diffusion.NewImages(n, 1, mnistunet.Size, mnistunet.Size)
	g.Normal(x.Data)
	return x, g
}

// run draws n images; each is called with every step, if not nil. It returns the images and the network evaluations for each.
func (s sampling) run(ctx context.Context, m *mnistunet.Model, labels []int, n int, each func(diffusion.Step)) (diffusion.Images, int, error) {
	if err := s.complete(m.Config); err != nil {
		return diffusion.Images{}, 0, err
	}
	x, g := s.noise(n)
	steps, err := s.walk(ctx, m, labels, x, g)
	if err != nil {
		return diffusion.Images{}, 0, err
	}
	for step, err := range steps {
		if err != nil {
			return diffusion.Images{}, 0, err
		}
		x = step.X
		if each != nil {
			each(step)
		}
	}
	return x, s.evaluations(), nil
}

// walk returns the steps from x.
func (s sampling) walk(ctx context.Context, m *mnistunet.Model, labels []int, x diffusion.Images, g *diffusion.Generator) (iter.Seq2[diffusion.Step, error], error) {
	if m.Config.Objective == mnistunet.Flow {
		v := m.Velocity(labels)
		if s.guided {
			v = m.GuidedVelocity(labels, float32(s.guidance))
		}
		return s.flow().Steps(ctx, v, x), nil
	}
	schedule, err := m.Schedule()
	if err != nil {
		return nil, err
	}
	timesteps, method, err := s.plan(schedule)
	if err != nil {
		return nil, err
	}
	d := m.Denoiser(labels)
	if s.guided {
		d = m.GuidedDenoiser(labels, float32(s.guidance))
	}
	return diffusion.Sampler{Schedule: schedule, Timesteps: timesteps, Method: method, Noise: g.Noise}.Steps(ctx, d, x), nil
}

// plan returns the timesteps of a walk, from the schedule's last one down, and how to go from each to the next.
func (s sampling) plan(schedule *diffusion.Schedule) ([]int, diffusion.Method, error) {
	spacing, method := diffusion.Trailing, diffusion.Method(diffusion.DPMSolver{})
	switch s.sampler {
	case "ddim":
		method = diffusion.DDIM{Eta: float32(s.eta)}
	case "ddpm":
		method = diffusion.DDPM{Variance: diffusion.FixedLarge}
		if s.steps < schedule.Len() {
			method = diffusion.DDPM{Variance: diffusion.FixedSmall} // the larger one is too noisy between distant timesteps
		}
		if s.steps > 1 {
			spacing = diffusion.Linspace
		}
	}
	timesteps, err := schedule.Timesteps(s.steps, spacing)
	return timesteps, method, err
}

// film is a walk in at most so many frames, from pure noise to the result.
type film struct {
	most   int
	x      diffusion.Images // the next step's start
	frames []writeup.Frame
}

func (s sampling) film(n, most int) *film {
	x, _ := s.noise(n)
	return &film{most: most, x: x}
}

// add takes the walk's next step.
func (f *film) add(s diffusion.Step) {
	caption, result := fmt.Sprintf("t = %d", s.Timestep), "result"
	if s.Timestep < 0 { // a flow's
		caption, result = fmt.Sprintf("t = %.2f", float64(s.Index)/float64(s.Total)), "t = 1.00"
	}
	f.keep(s.Index, s.Total, writeup.Frame{Caption: caption, X: f.x, X0: s.X0})
	f.x = s.X
	if s.Index == s.Total-1 {
		f.keep(s.Total, s.Total, writeup.Frame{Caption: result, X: s.X, X0: s.X})
	}
}

func (f *film) keep(i, last int, frame writeup.Frame) {
	if writeup.Kept(i, last, f.most) {
		f.frames = append(f.frames, frame)
	}
}

type sampleFlags struct {
	computing
	sampling
	model        string
	classes      []string
	count, scale int
	out          []string
	animate      string
	json         bool
}

func newSample() *cobra.Command {
	var f sampleFlags
	cmd := &cobra.Command{
		Use:   "sample",
		Short: "Draw images with a trained model",
		Long: `Draws images from noise with a model of condition time or class: one that comes with the program, or
one that 'unnoise train mnist' trained. The PNG carries the parameters that made it; the same parameters
and seed make the same picture. A .safetensors file gets the raw numbers: images [N,1,28,28], labels [N].`,
		Example: `  unnoise sample --class 7 --out sevens.png
  unnoise sample --model runs/digits --class all --count 80 --guidance 5 --seed 7 --out digits.png
  unnoise sample --model runs/digits --class 3,8 --sampler ddim --steps 30 --out a.png --out a.safetensors
  unnoise sample --model runs/digits --out digits.png --animate trajectory.gif`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	modelFlag(cmd, &f.model, "mnist-class")
	flags.StringSliceVar(&f.classes, "class", []string{"all"}, "classes to draw: numbers with commas, or all")
	complete(cmd, "class", "all", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
	intFlag(cmd, &f.count, "count", 0, 0, 100_000, "images to draw, going round the classes; 0: ten rounds (40 without classes)")
	choiceFlag(cmd, &f.sampler, "sampler", "", "how to go from noise to image: ddpm, ddim or dpm++; without, dpm++, or 50 steps of ddpm if γ is below 2; with objective flow euler (default) or midpoint", slices.Concat(noiseSamplers, flowSamplers)...)
	intFlag(cmd, &f.steps, "steps", 0, 0, 1_000_000, "steps from noise to image; 0: 20 for dpm++, all timesteps for ddpm, whose variance is β̃ with fewer, 50 else")
	floatFlag(cmd, &f.guidance, "guidance", 5, -100, 100, "classifier-free guidance scale γ: 0 ignores the class, 1 is the model without guidance, more exaggerates the class")
	floatFlag(cmd, &f.eta, "eta", 0, 0, 1, "ddim's share of fresh noise")
	seedFlag(cmd, &f.seed, "seed of PyTorch's random numbers")
	flags.StringArrayVar(&f.out, "out", []string{"samples.png"}, "file to write, .png or .safetensors; may be given more than once")
	flags.StringVar(&f.animate, "animate", "", "write the trajectory as an animation too, .png or .gif")
	intFlag(cmd, &f.scale, "scale", 2, 1, 32, "pixels of the picture for each pixel of an image")
	computeFlags(cmd, &f.computing)
	jsonFlag(cmd, &f.json, "print a JSON object instead of progress")
	return cmd
}

// all tells whether all classes are to be drawn.
func (f *sampleFlags) all() bool { return slices.Equal(f.classes, []string{"all"}) }

// labels lists the classes to draw, one for each image.
func (f *sampleFlags) labels(c mnistunet.Config) (labels []int, n int, err error) {
	if c.Condition != mnistunet.Class {
		n = f.count
		if n == 0 {
			n = 40
		}
		return nil, n, nil
	}
	occurring := c.Occurring()
	classes := occurring
	if !f.all() {
		classes = nil
		for _, word := range f.classes {
			i, err := strconv.Atoi(strings.TrimSpace(word))
			if err != nil || !slices.Contains(occurring, i) {
				numbers := fmt.Sprintf("from 0 to %d", c.Classes-1)
				if c.Labels != "" {
					numbers = "of " + c.Labels
				}
				return nil, 0, usagef("--class: expected all or numbers %s with commas, found %q", numbers, strings.Join(f.classes, ","))
			}
			classes = append(classes, i)
		}
	}
	n = f.count
	if n == 0 {
		n = 10 * len(classes)
	}
	for i := range n {
		labels = append(labels, classes[i%len(classes)])
	}
	return labels, n, nil
}

// sameFile tells whether two paths name the same file, which need not exist.
func sameFile(a, b string) bool {
	a, errA := filepath.Abs(a)
	b, errB := filepath.Abs(b)
	return errA == nil && errB == nil && a == b
}

func (f *sampleFlags) run(cmd *cobra.Command) error {
	for _, path := range f.out {
		if err := checkOutput("out", path, ".png", ".safetensors"); err != nil {
			return err
		}
	}
	if f.animate != "" {
		if err := checkOutput("animate", f.animate, ".png", ".gif"); err != nil {
			return err
		}
	}
	if slices.ContainsFunc(f.out, func(path string) bool { return f.animate != "" && sameFile(path, f.animate) }) {
		return usagef("--animate: expected another file than --out's, found %s", f.animate)
	}
	b, _, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	m, dir, err := openModel(b, f.model, dtype)
	if err != nil {
		return err
	}
	defer m.Close()
	c := m.Config
	if c.Condition == mnistunet.None {
		return fmt.Errorf("%s is a denoiser of one noise level (condition none): it does not draw from noise. Use a model of condition time or class, or: unnoise denoise --model %s", f.model, quote(f.model))
	}
	if c.Condition != mnistunet.Class {
		for _, flag := range []string{"class", "guidance"} {
			if cmd.Flags().Changed(flag) {
				return usagef("--%s needs a model of condition class; %s has condition %s", flag, f.model, c.Condition)
			}
		}
		f.guidance = 1
	}
	f.choose(c)
	if err := f.complete(c); err != nil {
		return err
	}
	labels, n, err := f.labels(c)
	if err != nil {
		return err
	}
	columns := min(n, 10)
	if k := len(f.classes); c.Condition == mnistunet.Class && !f.all() {
		columns = min(n, max(k, 10/k*k)) // whole rounds
	}
	grid := figure.Grid{Images: diffusion.Images{N: n, C: 1, H: mnistunet.Size, W: mnistunet.Size}, Columns: columns, Scale: f.scale, Padding: 2 * f.scale}
	for _, path := range append(f.out, f.animate) {
		if path != "" && !isRaw(path) {
			if err := drawable(path, grid); err != nil {
				return err
			}
		}
	}

	p := newProgress(cmd.ErrOrStderr())
	var film *film
	if f.animate != "" {
		film = f.film(n, trajectory)
	}
	start := time.Now()
	images, evaluations, err := f.sampling.run(cmd.Context(), m, labels, n, func(s diffusion.Step) {
		if film != nil {
			film.add(s)
		}
		if !f.json {
			p.update(func() string {
				return fmt.Sprintf("step %d/%d  %s left", s.Index+1, s.Total, left(start, s.Index+1, s.Total))
			})
		}
	})
	p.clear()
	if err != nil {
		return err
	}
	seconds := time.Since(start)

	var parameters figure.Parameters
	parameters.Add("Software", "unnoise "+build.Commit())
	parameters.Add("model", dir)
	if labels != nil {
		parameters.Add("class", strings.Join(f.classes, ","))
	}
	parameters.Add("count", n)
	f.sampling.describe(&parameters)
	f.computing.describe(&parameters, dtype)
	grid.Images = images
	written := []string{}
	var failed error // one file's failure leaves the others
	wrote := func(path string, err error) {
		if failed = errors.Join(failed, err); err == nil {
			written = append(written, path)
		}
	}
	for _, path := range f.out {
		if isRaw(path) {
			wrote(path, writeRaw(path, map[string]weights.Tensor{"images": tensorOf(images), "labels": labelsOf(labels, n)}, parameters))
		} else {
			wrote(path, writeGrid(path, grid, parameters))
		}
	}
	if film != nil {
		wrote(f.animate, writeAnimation(f.animate, grid, film.frames, parameters))
	}
	if failed != nil {
		return failed
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), map[string]any{"version": jsonVersion, "images": n, "steps": f.steps, "evaluations": evaluations, "seconds": seconds.Seconds(), "files": written})
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d images in %s: %s\n", n, pretty(seconds), strings.Join(written, ", "))
	return err
}

func isRaw(path string) bool { return strings.EqualFold(filepath.Ext(path), ".safetensors") }

// drawable tells whether writeGrid can draw images of the grid's shape.
func drawable(path string, g figure.Grid) error {
	if _, err := g.Bounds(); err != nil {
		return fmt.Errorf("%s: %w; ask for fewer images (--count), a lower --scale, or for a .safetensors file only", path, err)
	}
	return nil
}

func writeGrid(path string, g figure.Grid, p figure.Parameters) error {
	picture, err := g.Draw()
	if err != nil {
		return err
	}
	return figure.WritePNG(path, picture, p)
}

func writeAnimation(path string, g figure.Grid, frames []writeup.Frame, p figure.Parameters) error {
	var a figure.Animation
	for _, f := range frames {
		g.Images = f.X
		picture, err := g.Draw()
		if err != nil {
			return err
		}
		a.Frames = append(a.Frames, picture)
	}
	return figure.WriteAnimation(path, a, p)
}

// writeRaw writes tensors to a safetensors file, with parameters as metadata.
func writeRaw(path string, tensors map[string]weights.Tensor, p figure.Parameters) error {
	metadata := map[string]string{}
	for _, x := range p {
		metadata[x.Key] = x.Value
	}
	return weights.Write(path, tensors, metadata)
}

func tensorOf(x diffusion.Images) weights.Tensor {
	return weights.FromFloat32([]int{x.N, x.C, x.H, x.W}, x.Data)
}

// labelsOf are the classes of n images, -1 where there are none.
func labelsOf(labels []int, n int) weights.Tensor {
	classes := make([]int32, n)
	for i := range classes {
		classes[i] = -1
		if labels != nil {
			classes[i] = int32(labels[i])
		}
	}
	return weights.FromInt32([]int{n}, classes)
}
