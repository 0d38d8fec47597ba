package writeup

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/atomicfile"
)

// DemoData is what the demo's page shows: a class-conditional model's training and its samples.
type DemoData struct {
	Parameters figure.Parameters // command, seed, commit, model, …: shown as a table in this order, and written into the PNG files

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

	Trajectory       []Frame // in the sampler's order, the first near pure noise, the last the result; at most 60 are shown
	TrajectoryLabels []int   // one per image of a frame
}

// Frame is one moment of sampling.
type Frame struct {
	Timestep int
	X        diffusion.Images // x_t
	X0       diffusion.Images // the estimate of x_0 at that moment; empty in all frames: not shown
}

// Demo writes the demo's page: dir/index.html, which needs nothing beside it, and the same figures as files: samples.png,
// trajectory.png (animated) and loss.svg. It makes dir where it is missing and replaces what has these names. It returns the page's path.
func Demo(dir string, d DemoData) (page string, err error) {
	if err := d.check(); err != nil {
		return "", fmt.Errorf("cannot make the demo's page: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	view := demoView{
		DemoData: d,
		Style:    template.CSS(style),
		Script:   template.JS(playerScript),
		Training: spokenTime(d.TrainingTime),
		Sampling: spokenTime(d.SamplingTime),
		Images:   spokenCount(d.ImagesSeen),
	}
	if view.Curve, err = d.curve(dir); err != nil {
		return "", err
	}
	if view.Grid, err = d.grid(dir); err != nil {
		return "", err
	}
	if view.Player, err = d.player(dir); err != nil {
		return "", err
	}
	page = filepath.Join(dir, "index.html")
	return page, atomicfile.Write(page, func(w io.Writer) error { return demoTemplate.Execute(w, view) })
}

func (d DemoData) check() error {
	if len(d.Loss) == 0 {
		return fmt.Errorf("there is no training loss")
	}
	if len(d.Labels) != d.Samples.N {
		return fmt.Errorf("%d samples have %d labels", d.Samples.N, len(d.Labels))
	}
	if len(d.Trajectory) < 2 {
		return fmt.Errorf("a trajectory has at least 2 frames, found %d", len(d.Trajectory))
	}
	first := d.Trajectory[0]
	if len(d.TrajectoryLabels) != first.X.N {
		return fmt.Errorf("the trajectory's %d images have %d labels", first.X.N, len(d.TrajectoryLabels))
	}
	for i, f := range d.Trajectory {
		if !f.X.SameShape(first.X) {
			return fmt.Errorf("frame %d of the trajectory has shape %s, the first %s", i, f.X.Shape(), first.X.Shape())
		}
		if (f.X0.N > 0) != (first.X0.N > 0) || f.X0.N > 0 && !f.X0.SameShape(f.X) {
			return fmt.Errorf("frame %d of the trajectory has estimates of shape %s, expected %s", i, f.X0.Shape(), first.X.Shape())
		}
	}
	return nil
}

type demoView struct {
	DemoData
	Style                      template.CSS
	Script                     template.JS
	Training, Sampling, Images string
	Curve                      curveView
	Grid                       gridView
	Player                     playerView
}

type curveView struct {
	Wide, Narrow template.HTML
	First, Last  string // mean loss of the first and last steps
	Fall         bool
}

func (d DemoData) curve(dir string) (curveView, error) {
	c := figure.Curve{
		Title:  "Training loss",
		XLabel: "training step",
		YLabel: "mean squared error",
		LogY:   true,
	}
	if d.Batch > 0 {
		c.XLabel = fmt.Sprintf("training step (%d images each)", d.Batch)
	}
	for i, loss := range d.Loss {
		c.X, c.Y = append(c.X, float64(i+1)), append(c.Y, loss)
	}
	if d.StepsPerEpoch > 0 {
		for epoch := 1; epoch*d.StepsPerEpoch < len(d.Loss); epoch++ {
			c.Marks = append(c.Marks, figure.Mark{X: float64(epoch * d.StepsPerEpoch), Label: fmt.Sprintf("epoch %d", epoch)})
		}
	}
	wide, err := c.SVG()
	if err != nil {
		return curveView{}, err
	}
	if err := c.WriteSVG(filepath.Join(dir, "loss.svg")); err != nil {
		return curveView{}, err
	}
	c.Width, c.Height = 380, 300 // for phones, where the wide one's text would be too small
	narrow, err := c.SVG()
	if err != nil {
		return curveView{}, err
	}
	few := max(1, min(50, len(d.Loss)/10))
	first, last := d.Loss[0], mean(d.Loss[len(d.Loss)-few:])
	return curveView{Wide: template.HTML(wide), Narrow: template.HTML(narrow), First: significant(first), Last: significant(last), Fall: last < first}, nil
}

type gridView struct {
	PNG           template.URL
	Width, Height int
	Labels        []string // of the columns; none where the samples are in no such order
}

func (d DemoData) grid(dir string) (gridView, error) {
	samples, columns := d.byClass()
	g := figure.Grid{Images: samples, Columns: len(columns), Padding: 1, Background: screenGray}
	if columns == nil {
		g.Columns = 10
	}
	small, err := g.Draw()
	if err != nil {
		return gridView{}, err
	}
	url, err := pngURL(small)
	if err != nil {
		return gridView{}, err
	}
	g.Scale, g.Padding, g.Background, g.ColumnLabels = 2, 4, nil, columns
	large, err := g.Draw()
	if err != nil {
		return gridView{}, err
	}
	if err := figure.WritePNG(filepath.Join(dir, "samples.png"), large, d.Parameters); err != nil {
		return gridView{}, err
	}
	return gridView{PNG: url, Width: small.Bounds().Dx(), Height: small.Bounds().Dy(), Labels: columns}, nil
}

// byClass arranges the samples so that each column of a grid shows one class. Where the classes have different numbers of samples,
// it leaves them in their order and returns no column labels.
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

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}

// significant rounds to two or three digits, as one says a loss.
func significant(v float64) string {
	if v >= 0.1 {
		return fmt.Sprintf("%.2f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

func spokenTime(d time.Duration) string {
	plural := func(n int, unit string) string {
		if n == 1 {
			return "1 " + unit
		}
		return fmt.Sprintf("%d %ss", n, unit)
	}
	switch s := int(d.Round(time.Second).Seconds()); {
	case d <= 0:
		return ""
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f seconds", d.Seconds())
	case s < 120:
		return plural(s, "second")
	case s < 600 && s%60 != 0:
		return plural(s/60, "minute") + " " + plural(s%60, "second")
	case s < 7200:
		return plural((s+30)/60, "minute")
	default:
		return plural(s/3600, "hour") + " " + plural(s%3600/60, "minute")
	}
}

// spokenCount parts the thousands by commas.
func spokenCount(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

var (
	//go:embed assets/style.css
	style string
	//go:embed assets/player.js
	playerScript string
	//go:embed assets/demo.html
	demoPage string

	demoTemplate = template.Must(template.New("demo").Parse(demoPage))
)
