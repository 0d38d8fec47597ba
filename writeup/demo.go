package writeup

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training/mnist"
)

// DemoData is what the demo's page shows: a class-conditional model's training and its samples.
type DemoData struct {
	// command, seed, commit, model, …: shown as a table in this order, and written into the PNG files
	Parameters figure.Parameters

	Loss          []float64 // of every step of the training, mean squared error per pixel
	StepsPerEpoch int       // 0: the curve marks no epochs
	Batch         int       // images in a step
	ImagesSeen    int       // in the whole training, each as often as it was seen

	TrainingTime time.Duration
	SamplingTime time.Duration // of Samples

	Samples  diffusion.Images // [N,C,H,W], values in [0,1]
	Labels   []int            // the class asked for, one per sample
	Guidance float32
	Steps    int // of the sampler

	Sections []Section // what is shown before the training
	Next     string    // what is being drawn: the page shows itself again until there is nothing more
	Stopped  bool      // before all was there
	Try      []string  // commands to try next

	Trajectory       []Frame // in the sampler's order, from pure noise to the result; at most DemoFrames are shown
	TrajectoryLabels []int   // one per image of a frame
}

// Demo writes the demo's page: dir/index.html, which needs nothing beside it, and the same figures as files:
// samples.png, trajectory.png (animated) and loss.svg. When all of them are made it makes dir where it is missing and
// replaces what has these names. It returns the page's path.
func Demo(dir string, d DemoData) (page string, err error) {
	if err := d.check(); err != nil {
		return "", fmt.Errorf("cannot make the demo's page: %w", err)
	}
	var f files
	view := demoView{
		DemoData: d,
		Training: spokenTime(d.TrainingTime),
		Sampling: spokenTime(d.SamplingTime),
		Images:   spokenCount(d.ImagesSeen),
	}
	for _, s := range d.Sections {
		section, err := s.view(&f)
		if err != nil {
			return "", err
		}
		view.Sections = append(view.Sections, section)
	}
	if len(d.Loss) > 0 {
		if err := view.training(&f); err != nil {
			return "", err
		}
	}
	if err := f.add("index.html", func(w io.Writer) error { return demoTemplate.Execute(w, view) }); err != nil {
		return "", err
	}
	return f.write(dir)
}

// training makes the figures of the training.
func (view *demoView) training(f *files) (err error) {
	d := view.DemoData
	if view.Curve, err = lossCurve(f, "loss.svg", "Training loss", d.Loss, d.StepsPerEpoch, d.Batch, ""); err != nil {
		return err
	}
	if view.Grid, err = d.grid().view(f, d.Parameters); err != nil {
		return err
	}
	view.Player, err = d.player(f)
	return err
}

func (d DemoData) check() error {
	if len(d.Loss) == 0 {
		if len(d.Sections) == 0 {
			return fmt.Errorf("there is no training loss")
		}
		return nil
	}
	if len(d.Labels) != d.Samples.N {
		return fmt.Errorf("%d samples have %d labels", d.Samples.N, len(d.Labels))
	}
	if err := checkFrames(d.Trajectory); err != nil {
		return err
	}
	if n := d.Trajectory[0].X.N; len(d.TrajectoryLabels) != n {
		return fmt.Errorf("the trajectory's %d images have %d labels", n, len(d.TrajectoryLabels))
	}
	return nil
}

// demoSteps are enough for what a short training has learned.
const demoSteps = 100

// demoRows is how many digits of each class the demo draws.
const demoRows = 4

// DemoRun is a run with what its model draws, for the demo's page.
type DemoRun struct {
	DemoData
	config mnist.Config
}

// Config is the run's recipe.
func (d DemoRun) Config() mnist.Config { return d.config }

// DrawDemo draws four digits of each class with the model of the run in dir, and keeps how the first row came out of
// noise.
func DrawDemo(ctx context.Context, m *mnistunet.Model, draw evaluation.Draw, dir string, seed uint64,
	each func(done, total int)) (DemoRun, error) {
	run, err := ReadRun(dir)
	if err != nil {
		return DemoRun{}, err
	}
	c := run.Config
	d := DemoRun{config: c, DemoData: DemoData{
		Loss: run.Loss, StepsPerEpoch: run.StepsPerEpoch, Batch: c.Batch, ImagesSeen: c.Epochs * c.Data.Images,
		TrainingTime: run.Time,
		Guidance:     usualGuidance, Steps: min(demoSteps, c.Network.Timesteps),
	}}
	classes := m.Config.Classes
	for i := range demoRows * classes {
		d.Labels = append(d.Labels, i%classes)
	}
	d.TrajectoryLabels = d.Labels[:classes]
	start := time.Now()
	frames, err := draw(ctx, m, evaluation.Drawing{
		Sampling: evaluation.Sampling{Sampler: "ddpm", Steps: d.Steps, Guidance: usualGuidance, Seed: seed},
		Labels:   d.Labels, Count: len(d.Labels), Frames: DemoFrames, OnStep: each,
	})
	if err != nil {
		return DemoRun{}, err
	}
	d.Samples, d.SamplingTime = frames[len(frames)-1].X, time.Since(start)
	for _, f := range frames {
		f.X, f.X0 = f.X.Slice(0, classes), f.X0.Slice(0, classes)
		d.Trajectory = append(d.Trajectory, f)
	}
	return d, nil
}

// Write writes the demo's page. command makes it again; device is what drew it. It returns the page's path.
func (d DemoRun) Write(dir, command, device string) (string, error) {
	c := d.config
	d.Parameters.Add("command", command)
	if c.Program.Commit != "" {
		d.Parameters.Add("commit", c.Program.Commit)
	}
	if by := build.Commit(); by != c.Program.Commit {
		d.Parameters.Add("drawn by commit", by)
	}
	d.Parameters.Add("network", fmt.Sprintf("class-conditional UNet, dim %d, %d parameters", c.Network.Dim,
		c.Network.Parameters()))
	d.Parameters.Add("sampler", fmt.Sprintf("ddpm, %d steps, guidance %g", d.Steps, usualGuidance))
	d.Parameters.Add("seed", c.Seed)
	d.Parameters.Add("dtype", c.DType)
	d.Parameters.Add("engine", device)
	return Demo(dir, d.DemoData)
}

type demoView struct {
	DemoData
	Sections                   []sectionView
	Training, Sampling, Images string
	Curve                      curveView
	Grid                       pictureView
	Player                     playerView
}

func (d DemoData) grid() Picture {
	samples, columns := d.byClass()
	p := Picture{Name: "samples", Title: fmt.Sprintf("A grid of %d digits drawn by the network", samples.N), Width: 10,
		Rows: []Row{{Images: samples}}}
	if columns != nil {
		p.Width, p.Columns = len(columns), columns
	}
	return p
}

// player makes the page's player, and trajectory.png.
func (d DemoData) player(f *files) (v playerView, err error) {
	frames := thin(d.Trajectory, DemoFrames)
	if err := v.setCaptions(frames); err != nil {
		return v, err
	}
	v.Name = "Animation of sampling the digits " +
		strings.Trim(strings.Join(strings.Fields(fmt.Sprint(d.TrajectoryLabels)), ", "), "[]")
	const columns = 5
	v.File, v.Width = "trajectory", columns
	noisy, estimates := batches(frames)
	screen, err := newScreen("The picture in the making", "what the sampler holds: noise and digit, mixed", noisy,
		columns)
	if err != nil {
		return v, err
	}
	v.Screens = append(v.Screens, screen)
	if len(estimates) > 0 {
		screen, err := newScreen("What the network expects", "its guess, at this moment, of how the digit will end",
			estimates, columns)
		if err != nil {
			return v, err
		}
		v.Screens = append(v.Screens, screen)
	}
	return v, addTrajectory(f, "trajectory.png", noisy, columns, 3, d.Parameters)
}

// DemoFrames are shown of the demo's trajectory, at most.
const DemoFrames = 60

// byClass arranges the samples so that each column of a grid shows one class. Where the classes have different numbers
// of samples, it leaves them in their order and returns no column labels.
func (d DemoData) byClass() (samples diffusion.Images, columns []string) {
	of := map[int][]int{}
	most := 0
	for i, label := range d.Labels {
		of[label] = append(of[label], i)
		most = max(most, label)
	}
	var classes []int
	for label := 0; label <= most; label++ {
		if n := len(of[label]); n > 0 && n*len(of) != d.Samples.N {
			return d.Samples, nil
		} else if n > 0 {
			classes = append(classes, label)
			columns = append(columns, fmt.Sprint(label))
		}
	}
	if len(classes) != len(of) { // a negative label: the null class
		return d.Samples, nil
	}
	samples = d.Samples.Like()
	size := samples.Size()
	for i := range samples.N {
		from := of[classes[i%len(classes)]][i/len(classes)]
		copy(samples.Data[i*size:], d.Samples.Data[from*size:(from+1)*size])
	}
	return samples, columns
}

var (
	//go:embed assets/demo.html
	demoPage string

	demoTemplate = pageTemplate(demoPage)
)
