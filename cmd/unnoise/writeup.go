package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/writeup"
)

type writeupFlags struct {
	computing
	none, time, class, flat, flow string
	out                           string
	seed                          uint64
}

func newWriteup() *cobra.Command {
	var f writeupFlags
	cmd := &cobra.Command{
		Use:   "writeup",
		Short: "Make a page that shows what runs have learned",
		Long: `Makes one page of training runs: noise, the denoiser, the training curves, samples after several epochs
as animations, guidance, flow matching, and how to make it again. What has no run is left out; a run in
progress is shown as far as it is. Drawing takes minutes with big networks; what was drawn is kept in
the page's folder, so that Ctrl-C loses little and a second page is quick.`,
		Example: `  unnoise writeup --none runs/denoiser --time runs/time --class runs/digits --class-flat runs/digits-flat
  unnoise writeup --class runs/digits --out out/digits`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	for _, r := range []struct {
		to          *string
		name, usage string
	}{
		{&f.none, "none", "run of condition none"},
		{&f.time, "time", "run of condition time"},
		{&f.class, "class", "run of condition class"},
		{&f.flat, "class-flat", "like --class, but trained without learning-rate decay (--decay 1), to compare"},
		{&f.flow, "flow", "run of condition class trained with --objective flow"},
	} {
		cmd.Flags().StringVar(r.to, r.name, "", r.usage)
		completeFolder(cmd, r.name)
	}
	cmd.Flags().StringVar(&f.out, "out", "out/writeup", "folder for the page, its figures and the drawings")
	completeFolder(cmd, "out")
	seedFlag(cmd, &f.seed, "seed of all noise")
	computeFlags(cmd, &f.computing)
	return cmd
}

// shownRun is a run of which the page shows some epochs.
type shownRun struct {
	writeup.Run
	dir    string
	epochs []int
}

func (r shownRun) last() string { return training.EpochDir(r.dir, r.epochs[len(r.epochs)-1]) }

// openRun reads the run that a flag names; nil if it names none. Of the wanted epochs it shows those that the run has, and its last.
func openRun(flag, dir, name string, condition mnistunet.Condition, objective mnistunet.Objective, wanted ...int) (*shownRun, error) {
	if dir == "" {
		return nil, nil
	}
	run, err := writeup.ReadRun(dir)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	if got := run.Network.Condition; got != condition {
		return nil, fmt.Errorf("--%s: expected a run of condition %s, %s has condition %s", flag, condition, dir, got)
	}
	switch got := run.Network.Objective; {
	case objective == mnistunet.Flow && got != objective:
		return nil, fmt.Errorf("--%s: expected a run trained with --objective flow, %s was trained without", flag, dir)
	case got != objective:
		return nil, fmt.Errorf("--%s: %s was trained with --objective %s; give it to --flow", flag, dir, got)
	}
	all, err := training.Epochs(dir)
	if err != nil {
		return nil, fmt.Errorf("--%s: %w", flag, err)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("--%s: the run %s keeps no model of any epoch", flag, dir)
	}
	r := &shownRun{Run: run, dir: dir}
	for i, epoch := range all {
		if slices.Contains(wanted, epoch) || i == len(all)-1 {
			r.epochs = append(r.epochs, epoch)
		}
	}
	r.Name, r.Command = name, trainCommand(run.Config, dir)
	return r, nil
}

const (
	sampleRows    = 4
	trajectory    = 40  // frames
	guidance      = 5.0 // of the samples by epoch
	noiseAnswers  = 256 // answers to pure noise that are averaged
	testedDigits  = 64  // for the errors at each noise level
	digitsInARow  = 10
	levelExamples = 3
)

var (
	noiseLevels    = []float64{0, 0.2, 0.4, 0.5, 0.6, 0.8, 1}
	guidanceScales = []float64{0, 1, guidance, 10}
	stepCounts     = []int{5, 10, 20}
)

func (f *writeupFlags) run(cmd *cobra.Command) error {
	start := time.Now()
	none, err := openRun("none", f.none, "denoiser", mnistunet.None, mnistunet.Noise, 1, 5)
	if err != nil {
		return err
	}
	byEpoch := []int{1, 6, 11, 16, 20}
	timed, err := openRun("time", f.time, "time-conditional", mnistunet.Time, mnistunet.Noise, byEpoch...)
	if err != nil {
		return err
	}
	class, err := openRun("class", f.class, "class-conditional", mnistunet.Class, mnistunet.Noise, byEpoch...)
	if err != nil {
		return err
	}
	flat, err := openRun("class-flat", f.flat, "class-conditional, constant rate", mnistunet.Class, mnistunet.Noise)
	if err != nil {
		return err
	}
	flow, err := openRun("flow", f.flow, "flow", mnistunet.Class, mnistunet.Flow, byEpoch...)
	if err != nil {
		return err
	}
	switch {
	case none == nil && timed == nil && class == nil && flow == nil:
		return usagef("expected the folder of a run for --none, --time, --class or --flow, found nothing (train one with 'unnoise train mnist')")
	case flat != nil && class == nil:
		return usagef("--class-flat is compared with --class, which is missing")
	case flat != nil && (flat.Decay != 1 || class.Decay == 1):
		return fmt.Errorf("--class-flat: expected a run with decay 1 beside a --class run with another, found decay %g in %s and %g in %s", flat.Decay, f.flat, class.Decay, f.class)
	case flat != nil && flat.Network.Classes != class.Network.Classes:
		return fmt.Errorf("--class-flat: %s knows %d classes, %s %d", f.flat, flat.Network.Classes, f.class, class.Network.Classes)
	}
	b, info, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	p := newProgress(cmd.ErrOrStderr())
	d := &drawings{dir: filepath.Join(f.out, "drawings"), backend: b, dtype: dtype, p: p}
	defer d.close()
	if err := os.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}

	w := writeup.Data{Command: f.command(cmd), Item: "digit"}
	w.Parameters.Add("Software", "unnoise "+buildCommit())
	w.Parameters.Add("drawn in", engine.Name(dtype))
	w.Parameters.Add("engine", fmt.Sprintf("%s, %d threads", info.Library.ISA, info.Threads))
	w.Parameters.Add("seed", f.seed)
	var data string
	for _, r := range []*shownRun{none, timed, class, flat, flow} {
		if r == nil {
			continue
		}
		if r.Data.Name != embeddedData {
			w.Item = "image"
		}
		data = r.Data.Name
		d.planned += len(r.epochs)
	}
	if class != nil {
		d.planned += len(guidanceScales)
	}
	if flow != nil {
		d.planned += len(stepCounts) + 1
		if class != nil {
			d.planned += len(stepCounts) + 1
		}
	}
	_, test, err := openData(data)
	if err != nil {
		return err
	}
	w.Forward = forward(test, f.seed)
	if none != nil {
		if w.Denoiser, err = f.denoiser(cmd.Context(), d, none); err != nil {
			return err
		}
	}
	if timed != nil {
		m, err := f.model(cmd.Context(), d, "time", timed)
		if err != nil {
			return err
		}
		w.Models = append(w.Models, m)
	}
	if class != nil {
		m, err := f.model(cmd.Context(), d, "class", class)
		if err == nil {
			m.ByGuidance, err = f.byGuidance(cmd.Context(), d, class)
		}
		if err == nil && flat != nil {
			m.Flat, err = f.flatSamples(cmd.Context(), d, flat)
		}
		if err != nil {
			return err
		}
		w.Models = append(w.Models, m)
	}
	if flow != nil {
		m, err := f.model(cmd.Context(), d, "flow", flow)
		if err == nil {
			m.BySteps, err = f.bySteps(cmd.Context(), d, flow, class)
		}
		if err != nil {
			return err
		}
		w.Models = append(w.Models, m)
	}
	p.update(func() string { return "writing the page" })
	page, err := writeup.Write(f.out, w)
	p.clear()
	if err != nil {
		return err
	}
	if full, err := filepath.Abs(page); err == nil {
		page = full
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "The page, made in %s: %s\n", pretty(time.Since(start)), page)
	return err
}

// noisy returns n test images at each noise level, level by level. All levels share their noise.
func noisy(clean diffusion.Images, levels []float64, seed uint64) diffusion.Images {
	noise := clean.Like()
	diffusion.NewGenerator(seed).Normal(noise.Data)
	all := diffusion.NewImages(clean.N*len(levels), clean.C, clean.H, clean.W)
	for k, sigma := range levels {
		for i, v := range clean.Data {
			all.Data[k*len(clean.Data)+i] = v + float32(sigma)*noise.Data[i]
		}
	}
	return all
}

// first returns a set's first n images.
func first(set *dataset.Labeled, n int) diffusion.Images {
	n = min(n, set.Len())
	x := diffusion.NewImages(n, 1, set.Rows, set.Cols)
	indices := make([]int, n)
	for i := range indices {
		indices[i] = i
	}
	set.Batch(indices, x.Data, nil)
	return x
}

// pick returns the images at indices.
func pick(x diffusion.Images, indices ...int) diffusion.Images {
	y := diffusion.NewImages(len(indices), x.C, x.H, x.W)
	for k, i := range indices {
		copy(y.Data[k*x.Size():], x.Data[i*x.Size():(i+1)*x.Size()])
	}
	return y
}

func levelNames() (names []string) {
	for _, sigma := range noiseLevels {
		names = append(names, fmt.Sprint(sigma))
	}
	return names
}

// atLevels lists where the images of one example stand in what noisy returns for n.
func atLevels(example, n int) (indices []int) {
	for k := range noiseLevels {
		indices = append(indices, k*n+example)
	}
	return indices
}

func forward(test *dataset.Labeled, seed uint64) *writeup.Picture {
	const examples = 4
	clean := first(test, examples)
	x := noisy(clean, noiseLevels, seed)
	p := &writeup.Picture{Name: "noise", Title: "Test images with rising noise", Corner: "σ", Columns: levelNames()}
	for i := range clean.N {
		p.Rows = append(p.Rows, writeup.Row{Images: pick(x, atLevels(i, clean.N)...)})
	}
	p.Parameters.Add("seed", seed)
	return p
}

func (f *writeupFlags) denoiser(ctx context.Context, d *drawings, r *shownRun) (*writeup.Denoiser, error) {
	train, test, err := openData(r.Data.Name)
	if err != nil {
		return nil, err
	}
	var p figure.Parameters
	p.Add("model", r.Name)
	p.Add("seed", f.seed)
	n := &writeup.Denoiser{Run: r.Run, Mean: mean(train.Head(r.Data.Images))}
	tested := first(test, testedDigits)
	n.Tested = tested.N
	clean := first(test, digitsInARow)
	pure := diffusion.NewImages(noiseAnswers, 1, mnistunet.Size, mnistunet.Size)
	diffusion.NewGenerator(f.seed).Normal(pure.Data)
	shown := noisy(clean, []float64{r.Network.Sigma}, f.seed)
	levels := noisy(tested, noiseLevels, f.seed)

	n.Digits = writeup.Picture{Name: "denoiser-digits", Title: "Test images", Parameters: p, Rows: []writeup.Row{{Label: "noisy", Images: shown}}}
	n.Digits.Parameters.Add("sigma", r.Network.Sigma)
	n.Noise = writeup.Picture{Name: "denoiser-noise", Title: "Pure noise", Parameters: p, Rows: []writeup.Row{{Label: "pure noise", Images: pure.Slice(0, digitsInARow)}}}
	for _, epoch := range r.epochs {
		parts := []diffusion.Images{shown, pure, levels}
		isLast := epoch == r.epochs[len(r.epochs)-1]
		if !isLast {
			parts = parts[:2]
		}
		x, err := diffusion.Concat(parts...)
		if err != nil {
			return nil, err
		}
		y, err := d.denoise(ctx, training.EpochDir(r.dir, epoch), fmt.Sprintf("%s, epoch %d", r.Name, epoch), x)
		if err != nil {
			return nil, err
		}
		label := fmt.Sprintf("after epoch %d", epoch)
		answers := y.Slice(shown.N, shown.N+pure.N)
		n.Digits.Rows = append(n.Digits.Rows, writeup.Row{Label: label, Images: y.Slice(0, shown.N)})
		n.Noise.Rows = append(n.Noise.Rows, writeup.Row{Label: label, Images: answers.Slice(0, digitsInARow)})
		if isLast {
			n.Answer, n.Answers = meanImage(answers), answers.N
			n.Levels = levelPicture(levels, y.Slice(shown.N+pure.N, y.N), tested.N, p)
			n.Errors = levelErrors(levels, y.Slice(shown.N+pure.N, y.N), tested)
		}
	}
	n.Digits.Rows = append(n.Digits.Rows, writeup.Row{Label: "clean", Images: clean})
	return n, nil
}

func levelPicture(noisy, denoised diffusion.Images, n int, p figure.Parameters) writeup.Picture {
	w := writeup.Picture{Name: "denoiser-levels", Title: "Noise levels it was not trained for", Corner: "σ", Columns: levelNames(), Parameters: p}
	for i := range min(levelExamples, n) {
		w.Rows = append(w.Rows,
			writeup.Row{Label: "noisy", Images: pick(noisy, atLevels(i, n)...)},
			writeup.Row{Label: "denoised", Images: pick(denoised, atLevels(i, n)...)})
	}
	return w
}

func levelErrors(noisy, denoised, clean diffusion.Images) (errors []writeup.Level) {
	squared := func(x diffusion.Images, k int) (sum float64) {
		for i, v := range x.Slice(k*clean.N, (k+1)*clean.N).Data {
			e := float64(v) - float64(clean.Data[i])
			sum += e * e / float64(len(clean.Data))
		}
		return sum
	}
	for k, sigma := range noiseLevels {
		errors = append(errors, writeup.Level{Sigma: sigma, Noisy: squared(noisy, k), Denoised: squared(denoised, k)})
	}
	return errors
}

// mean returns a set's mean image, with values in [0,1].
func mean(set *dataset.Labeled) diffusion.Images {
	x := diffusion.NewImages(1, 1, set.Rows, set.Cols)
	size := set.Rows * set.Cols
	sums := make([]int, size)
	for i, v := range set.Images {
		sums[i%size] += int(v)
	}
	for i, sum := range sums {
		x.Data[i] = float32(float64(sum) / 255 / float64(set.Len()))
	}
	return x
}

func meanImage(x diffusion.Images) diffusion.Images {
	m := diffusion.NewImages(1, x.C, x.H, x.W)
	for i, v := range x.Data {
		m.Data[i%x.Size()] += v / float32(x.N)
	}
	return m
}

// sampling is how the page draws with a run's model: by its usual sampler.
func (f *writeupFlags) sampling(r *shownRun, guidance float64) (sampling, error) {
	s := sampling{guidance: 1, seed: f.seed}
	if r.Network.Condition == mnistunet.Class {
		s.guidance = guidance
	}
	return s, s.complete(r.Network)
}

// labels lists the classes to draw, rows of all of them, and the columns' names; without classes only how many images there are.
func labels(c mnistunet.Config) (labels []int, n int, columns []string) {
	if c.Condition != mnistunet.Class {
		return nil, sampleRows * digitsInARow, nil
	}
	for i := range sampleRows * c.Classes {
		labels = append(labels, i%c.Classes)
	}
	for i := range c.Classes {
		columns = append(columns, fmt.Sprint(i))
	}
	return labels, len(labels), columns
}

func (f *writeupFlags) model(ctx context.Context, d *drawings, kind string, r *shownRun) (writeup.Model, error) {
	s, err := f.sampling(r, guidance)
	if err != nil {
		return writeup.Model{}, err
	}
	classes, n, columns := labels(r.Network)
	m := writeup.Model{Run: r.Run, Kind: kind, Columns: columns}
	s.describe(&m.Sampling)
	for _, epoch := range r.epochs {
		frames, err := d.sample(ctx, training.EpochDir(r.dir, epoch), fmt.Sprintf("%s, epoch %d", r.Name, epoch), s, classes, n, trajectory)
		if err != nil {
			return m, err
		}
		m.Trajectories = append(m.Trajectories, writeup.Trajectory{Epoch: epoch, Frames: frames})
	}
	return m, nil
}

func (f *writeupFlags) byGuidance(ctx context.Context, d *drawings, r *shownRun) (pictures []writeup.Picture, err error) {
	for _, scale := range guidanceScales {
		s, err := f.sampling(r, scale)
		if err != nil {
			return nil, err
		}
		p, err := f.samples(ctx, d, r, s, fmt.Sprintf("class-guidance-%g", scale), fmt.Sprintf("γ = %g", scale))
		if err != nil {
			return nil, err
		}
		pictures = append(pictures, p)
	}
	return pictures, nil
}

func (f *writeupFlags) flatSamples(ctx context.Context, d *drawings, r *shownRun) (*writeup.Flat, error) {
	s, err := f.sampling(r, guidance)
	if err != nil {
		return nil, err
	}
	p, err := f.samples(ctx, d, r, s, "class-flat", "With a constant learning rate")
	return &writeup.Flat{Run: r.Run, Samples: p}, err
}

// bySteps draws with few steps along the flow and, where there is a run of noise estimates too, by DDIM; last as each usually does.
func (f *writeupFlags) bySteps(ctx context.Context, d *drawings, flow, class *shownRun) (pictures []writeup.Picture, err error) {
	for _, steps := range append(slices.Clone(stepCounts), 0) {
		for _, r := range []*shownRun{flow, class} {
			if r == nil || r == class && steps > r.Network.Timesteps {
				continue
			}
			s := sampling{steps: steps, guidance: guidance, seed: f.seed}
			if r == class && steps > 0 {
				s.sampler = "ddim"
			}
			if err := s.complete(r.Network); err != nil {
				return nil, err
			}
			p, err := f.samples(ctx, d, r, s, fmt.Sprintf("%s-steps-%d", s.sampler, s.steps), fmt.Sprintf("%s, %d steps", samplerNames[s.sampler], s.steps))
			if err != nil {
				return nil, err
			}
			pictures = append(pictures, p)
		}
	}
	return pictures, nil
}

var samplerNames = map[string]string{"euler": "Flow, Euler", "ddim": "Noise estimates, DDIM", "ddpm": "Noise estimates, DDPM"}

// samples is a picture of what a run's last model draws.
func (f *writeupFlags) samples(ctx context.Context, d *drawings, r *shownRun, s sampling, file, title string) (writeup.Picture, error) {
	classes, n, columns := labels(r.Network)
	p := writeup.Picture{Name: file, Title: title, Note: title, Width: len(columns), Columns: columns}
	p.Parameters.Add("model", r.Name)
	p.Parameters.Add("epoch", r.epochs[len(r.epochs)-1])
	s.describe(&p.Parameters)
	kept := 1
	if usual, _ := f.sampling(r, guidance); s == usual { // that is drawn as a trajectory
		kept = trajectory
	}
	frames, err := d.sample(ctx, r.last(), r.Name+", "+title, s, classes, n, kept)
	if err != nil {
		return p, err
	}
	p.Rows = []writeup.Row{{Images: frames[len(frames)-1].X}}
	return p, nil
}

// command is the line that makes the page again.
func (f *writeupFlags) command(cmd *cobra.Command) string {
	return "unnoise writeup" + given(cmd, "none", "time", "class", "class-flat", "flow", "out", "dtype", "threads") + fmt.Sprintf(" --seed %d", f.seed)
}

// trainCommand is the line that trains a run again.
func trainCommand(c training.Config, dir string) string {
	usual := training.Default(c.Network.Condition)
	if c.Network.Objective == mnistunet.Flow {
		usual.Network = usual.Network.ForFlow()
	}
	var line strings.Builder
	add := func(flag string, value, usual any) {
		if value != usual {
			fmt.Fprintf(&line, " --%s %v", flag, value)
		}
	}
	if c.DecaySteps { // only the demo trains so
		fmt.Fprintf(&line, "unnoise demo --epochs %d --dim %d", c.Epochs, c.Network.Dim)
	} else {
		fmt.Fprintf(&line, "unnoise train mnist --condition %s", c.Network.Condition)
		add("objective", c.Network.Objective, mnistunet.Noise)
		add("epochs", c.Epochs, usual.Epochs)
		add("batch", c.Batch, usual.Batch)
		add("dim", c.Network.Dim, usual.Network.Dim)
		add("timesteps", c.Network.Timesteps, usual.Network.Timesteps)
		add("sigma", c.Network.Sigma, usual.Network.Sigma)
		add("lr", c.LearningRate, usual.LearningRate)
		add("decay", c.Decay, usual.Decay)
		add("dropout", c.Dropout, usual.Dropout)
		if c.Data.Name != embeddedData {
			fmt.Fprintf(&line, " --data %s", quote(c.Data.Name))
		}
	}
	if train, _, err := openData(c.Data.Name); err == nil && c.Data.Images < train.Len() {
		fmt.Fprintf(&line, " --limit %d", c.Data.Images)
	}
	fmt.Fprintf(&line, " --seed %d --dtype %s --threads %d", c.Seed, c.DType, c.Threads)
	if !c.DecaySteps {
		fmt.Fprintf(&line, " --out %s", quote(dir))
	}
	return line.String()
}
