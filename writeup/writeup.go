package writeup

import (
	"bytes"
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/mnistunet"
)

// Data is what the write-up shows: noise, a denoiser of one level, models that draw from noise, and tables. What is
// missing is left out.
type Data struct {
	Command    string            // makes the page again
	Parameters figure.Parameters // of all figures: written into the PNG files with the command, and shown at the end
	Item       string            // what an image shows, such as "digit"

	Course []Section // the first half: what a trained model can do
	Drawn  string    // what draws there, for people

	Forward  *Picture // a row for each noise level
	Denoiser *Denoiser
	Pure     *Pure
	Models   []Model
	Tables   []Table

	Deliverables []Deliverable // what a course asks for, ticked off
}

// Denoiser is the section on a model that removes noise of one level.
type Denoiser struct {
	Run
	Digits Picture // noisy, denoised, clean
	Levels Picture // noise levels from low to high, and what the model makes of them
	Errors []Level // measured with them
	Tested int     // images that Errors are measured on
	Answers
}

// Answers are what a denoiser makes of pure noise.
type Answers struct {
	Noise  Picture          // pure noise, and what the model makes of it
	Set    diffusion.Images // [1,C,H,W]: the mean of the training images
	Answer diffusion.Images // [1,C,H,W]: the mean of the answers
	Count  int              // of answers
}

func (a Answers) check(of string) error {
	if a.Set.N != 1 || !a.Answer.SameShape(a.Set) {
		return fmt.Errorf("the %s's mean answer has shape %s, the mean image %s; expected one image each", of,
			a.Answer.Shape(), a.Set.Shape())
	}
	return nil
}

// Pure is the section on a denoiser that learned from nothing but noise.
type Pure struct {
	Run
	Answers
	Best float64 // the mean squared error of the training images' mean, which no answer to noise can be below
}

// Level is a noise level with the mean squared errors, per pixel, of the noisy images and of the denoised ones.
type Level struct{ Sigma, Noisy, Denoised float64 }

// Model is the section on a model that draws images from noise.
type Model struct {
	Run
	Kind         string // which text it gets, one of kinds; one of each at most
	Columns      []string
	Trajectories []Trajectory      // by rising epoch, with equally many frames
	Sampling     figure.Parameters // of the trajectories
	ByGuidance   []Picture
	BySteps      []Picture
	Flat         *Flat
}

var kinds = []string{"time", "class", "flow-time", "flow"} // as writeup.html has texts for

// Trajectory is how images came out of noise after an epoch of training.
type Trajectory struct {
	Epoch   int
	Frames  []Frame // the last is the result
	Command string  // draws it again
}

// Flat is the same training without the fall of the learning rate.
type Flat struct {
	Run
	ByGuidance []Picture // in the order of the model's
}

// Table is a table of words and numbers.
type Table = evaluation.Table

const (
	gridColumns = 10         // images side by side where no classes say otherwise
	mostBytes   = 15_000_000 // of the page
)

// MostFrames are shown of a trajectory.
const MostFrames = 40

// Write writes the write-up: dir/index.html, which needs nothing beside it, and the same figures as PNG and SVG files.
// When all of them are made it makes dir where it is missing and replaces what has these names. The page stays under 15
// MB: where there are too many trajectories they are shown with fewer frames. It returns the page's path.
func Write(dir string, d Data) (page string, err error) { return d.write(dir, mostBytes) }

func (d Data) write(dir string, most int) (page string, err error) {
	if err := d.check(); err != nil {
		return "", fmt.Errorf("cannot make the write-up: %w", err)
	}
	var f files
	view, err := d.view(&f)
	if err != nil {
		return "", err
	}
	var html bytes.Buffer
	for frames := MostFrames; ; {
		if err := view.setPlayers(frames); err != nil {
			return "", err
		}
		html.Reset()
		if err := writeupTemplate.Execute(&html, view); err != nil {
			return "", err
		}
		if html.Len() <= most {
			break
		}
		if frames <= 4 {
			return "", fmt.Errorf("the page would have %.1f MB, and may have %.1f: leave out a model",
				float64(html.Len())/1e6, float64(most)/1e6)
		}
		frames = max(4, min(frames-1, frames*most/html.Len()))
	}
	f.keep("index.html", html.Bytes())
	return f.write(dir)
}

func (d Data) check() error {
	if d.Denoiser == nil && d.Pure == nil && len(d.Models) == 0 && len(d.Course) == 0 {
		return fmt.Errorf("it needs at least one model")
	}
	for _, r := range d.runs() {
		if err := r.check(); err != nil {
			return err
		}
	}
	if n := d.Denoiser; n != nil {
		if err := n.Answers.check(n.Name); err != nil {
			return err
		}
	}
	if n := d.Pure; n != nil {
		if err := n.Answers.check(n.Name); err != nil {
			return err
		}
	}
	seen := map[string]bool{}
	for _, m := range d.Models {
		if !slices.Contains(kinds, m.Kind) || seen[m.Kind] {
			return fmt.Errorf("the %s model is of kind %q, expected one of each of %s at most", m.Name, m.Kind,
				strings.Join(kinds, ", "))
		}
		seen[m.Kind] = true
		if len(m.Trajectories) == 0 {
			return fmt.Errorf("the %s model has no trajectory", m.Name)
		}
		if m.Flat != nil && len(m.Flat.ByGuidance) != len(m.ByGuidance) {
			return fmt.Errorf("the %s model has pictures of %d guidance scales, the one beside it of %d", m.Name,
				len(m.ByGuidance), len(m.Flat.ByGuidance))
		}
		for _, t := range m.Trajectories {
			err := checkFrames(t.Frames)
			if err == nil && len(t.Frames) != len(m.Trajectories[0].Frames) {
				err = fmt.Errorf("it has %d frames, the first epoch's trajectory %d", len(t.Frames),
					len(m.Trajectories[0].Frames))
			}
			if err != nil {
				return fmt.Errorf("the %s model, epoch %d: %w", m.Name, t.Epoch, err)
			}
		}
	}
	for _, t := range d.Tables {
		for i, row := range t.Rows {
			if len(row) != len(t.Header) {
				return fmt.Errorf("row %d of the table %q has %d cells, its header %d", i+1, t.Caption, len(row),
					len(t.Header))
			}
		}
	}
	return nil
}

// runs lists all runs that the page shows.
func (d Data) runs() []Run {
	var all []Run
	if d.Denoiser != nil {
		all = append(all, d.Denoiser.Run)
	}
	if d.Pure != nil {
		all = append(all, d.Pure.Run)
	}
	for _, m := range d.Models {
		all = append(all, m.Run)
		if m.Flat != nil {
			all = append(all, m.Flat.Run)
		}
	}
	return all
}

type writeupView struct {
	Data
	Course   []sectionView
	Time     string // of all training
	Forward  *pictureView
	Denoiser *denoiserView
	Pure     *pureView
	Models   []*modelView
	Runs     []Run
	RunTable Table
	Files    []string
}

type denoiserView struct {
	Denoiser
	UNet           template.HTML
	Curve          curveView
	Digits, Levels pictureView
	Answers        answersView
	Untouched      string // the mean squared error of leaving the noise where it is
	LevelTable     Table
	CleanError     string // what denoising does to images without noise; empty where that was not measured
}

type answersView struct {
	Answers
	Noise, Means       pictureView
	Correlation, Error float64
	MeanDigit          bool // the mean answer looks like the mean image
}

type pureView struct {
	Pure
	Curve   curveView
	Answers answersView
	Best    string
	Explain bool // why the answer is the mean, as no other section does
}

type modelView struct {
	Model
	UNet                template.HTML // of the first with timesteps, and the first with classes
	Curve               curveView
	Player              playerView
	ByGuidance, BySteps []pictureView
	Flat                *flatView
	LastTimestep        int
	Slowing             bool    // nearly all of the loss's fall is in the first epoch
	Introduces          bool    // the first with timesteps: explains them
	Explains            bool    // the first UNet: explains it
	Straight            bool    // a flow
	Explained           bool    // flows were explained before
	Renames             bool    // a flow behind a model of x₀
	Guides              bool    // the first with classes: explains guidance
	Signal              float64 // what is left of the image at the last timestep: √ᾱ
	Hidden              string  // per cent of the classes
}

type flatView struct {
	Flat
	Curve   curveView
	Samples []pictureView // with and without the fall, by turns
	Falling Run
	Alike   bool
}

// view draws everything but the trajectories for the page, and all files beside it.
func (d Data) view(f *files) (_ *writeupView, err error) {
	v := &writeupView{Data: d, Runs: d.runs()}
	v.RunTable = runsTable(v.Runs)
	var total time.Duration
	for _, r := range v.Runs {
		total += r.Time
	}
	v.Time = spokenTime(total)
	var carried figure.Parameters
	carried.Add("command", d.Command)
	carried = slices.Concat(carried, d.Parameters)
	picture := func(p Picture) (pictureView, error) {
		p.Command = cmp.Or(p.Command, d.Command)
		return p.view(f, carried)
	}
	curve := func(file string, r Run, name string, others ...figure.Line) (curveView, error) {
		title := "Training loss, " + r.Name
		for _, o := range others {
			title = fmt.Sprintf("%s, %s and %s", title, name, o.Name)
		}
		v, err := lossCurve(f, file, title, r.Loss, r.StepsPerEpoch, r.Batch, name, others...)
		v.Command = r.Command
		return v, err
	}
	for _, s := range d.Course {
		section, err := s.view(f)
		if err != nil {
			return nil, err
		}
		v.Course = append(v.Course, section)
	}
	if d.Forward != nil {
		p, err := picture(*d.Forward)
		if err != nil {
			return nil, err
		}
		v.Forward = &p
	}
	network := func(kind string, c mnistunet.Config) template.HTML {
		drawing := unet(c)
		f.keep(kind+"-unet.svg", drawing)
		return template.HTML(drawing)
	}
	if d.Denoiser != nil {
		n, err := d.Denoiser.view(d.Item, picture, curve)
		if err != nil {
			return nil, err
		}
		n.UNet = network("denoiser", n.Network)
		v.Denoiser = n
	}
	if d.Pure != nil {
		n := &pureView{Pure: *d.Pure, Best: significant(d.Pure.Best), Explain: d.Denoiser == nil}
		if n.Answers, err = d.Pure.Answers.view("pure-noise", d.Item, picture); err != nil {
			return nil, err
		}
		if n.Curve, err = curve("pure-noise-loss.svg", d.Pure.Run, ""); err != nil {
			return nil, err
		}
		v.Pure = n
	}
	introduced, guided, drawn, straight := false, false, d.Denoiser != nil, false
	for _, m := range d.Models {
		n, err := m.view(picture, curve)
		if err != nil {
			return nil, err
		}
		n.Straight = strings.HasPrefix(m.Kind, "flow")
		n.Explained = n.Straight && straight
		straight = straight || n.Straight
		n.Introduces = !n.Straight && !introduced
		introduced = introduced || n.Introduces
		n.Guides = len(m.Columns) > 0 && !guided
		guided = guided || n.Guides
		if n.Introduces || n.Guides {
			n.UNet, n.Explains = network(m.Kind, m.Network), !drawn
			drawn = true
		}
		n.Renames = n.Straight && (introduced || d.Denoiser != nil || d.Forward != nil)
		v.Models = append(v.Models, n)
		for _, t := range m.Trajectories {
			noisy, _ := batches(thin(t.Frames, MostFrames))
			if err := addTrajectory(f, fmt.Sprintf("%s-epoch-%02d.png", m.Kind, t.Epoch), noisy, m.columns(), 2,
				slices.Concat(carried, m.parameters(t.Epoch))); err != nil {
				return nil, err
			}
		}
	}
	v.Files = f.names()
	return v, nil
}

type (
	drawPicture func(Picture) (pictureView, error)
	drawCurve   func(file string, r Run, name string, others ...figure.Line) (curveView, error)
)

func (n Denoiser) view(item string, picture drawPicture, curve drawCurve) (*denoiserView, error) {
	v := &denoiserView{Denoiser: n, Untouched: significant(n.Network.Sigma * n.Network.Sigma)}
	t := Table{Caption: fmt.Sprintf("Mean squared error over %d test images", n.Tested), Header: []string{"σ"},
		Rows: [][]string{{"noisy"}, {"denoised"}}}
	for _, e := range n.Errors {
		t.Header = append(t.Header, fmt.Sprint(e.Sigma))
		t.Rows[0] = append(t.Rows[0], fmt.Sprintf("%.3f", e.Noisy))
		t.Rows[1] = append(t.Rows[1], fmt.Sprintf("%.3f", e.Denoised))
		if e.Sigma == 0 {
			v.CleanError = significant(e.Denoised)
		}
	}
	v.LevelTable = t
	var err error
	if v.Digits, err = picture(n.Digits); err != nil {
		return nil, err
	}
	if v.Levels, err = picture(n.Levels); err != nil {
		return nil, err
	}
	if v.Answers, err = n.Answers.view("denoiser", item, picture); err != nil {
		return nil, err
	}
	v.Curve, err = curve("denoiser-loss.svg", n.Run, "")
	return v, err
}

// view compares the answers with the mean image. name is what its file's name begins with.
func (a Answers) view(name, item string, picture drawPicture) (v answersView, err error) {
	v.Answers = a
	v.Correlation, v.Error = compare(a.Answer.Data, a.Set.Data)
	v.MeanDigit = v.Correlation >= 0.95 && v.Error < 0.005
	means, err := diffusion.Concat(a.Set, a.Answer)
	if err != nil {
		return v, err
	}
	if v.Noise, err = picture(a.Noise); err != nil {
		return v, err
	}
	title := fmt.Sprintf("Left the mean %s of the training set, right the mean of %d answers to pure noise", item,
		a.Count)
	v.Means, err = picture(Picture{Name: name + "-mean", Rows: []Row{{Images: means}}, Parameters: a.Noise.Parameters,
		Title: title, Note: title + "."})
	return v, err
}

func (m Model) columns() int {
	if len(m.Columns) > 0 {
		return len(m.Columns)
	}
	return gridColumns
}

// parameters are what made the samples of an epoch, besides the page's.
func (m Model) parameters(epoch int) (p figure.Parameters) {
	p.Add("model", m.Name)
	p.Add("epoch", epoch)
	return append(p, m.Sampling...)
}

func (m Model) view(picture drawPicture, curve drawCurve) (v *modelView, err error) {
	done := m.Done()
	early, late := m.Loss[0]-m.EpochLoss[0], m.EpochLoss[0]-m.EpochLoss[done-1]
	v = &modelView{Model: m, LastTimestep: m.Network.Timesteps - 1, Slowing: done > 2 && early > 0 && early > 3*late,
		Hidden: fmt.Sprintf("%.4g", 100*m.Dropout)}
	if m.Network.Timesteps > 0 {
		schedule, err := diffusion.Linear(m.Network.Timesteps, m.Network.BetaStart, m.Network.BetaEnd)
		if err != nil {
			return nil, fmt.Errorf("the %s model: %w", m.Name, err)
		}
		v.Signal = math.Sqrt(float64(schedule.AlphasCumprod[schedule.Len()-1]))
	}
	if v.Curve, err = curve(m.Kind+"-loss.svg", m.Run, ""); err != nil {
		return nil, err
	}
	several := func(pictures []Picture) (views []pictureView, err error) {
		for _, p := range pictures {
			v, err := picture(p)
			if err != nil {
				return nil, err
			}
			views = append(views, v)
		}
		return views, nil
	}
	if v.ByGuidance, err = several(m.ByGuidance); err != nil {
		return nil, err
	}
	if v.BySteps, err = several(m.BySteps); err != nil {
		return nil, err
	}
	if f := m.Flat; f != nil {
		v.Flat = &flatView{Flat: *f, Falling: m.Run, Alike: m.Run.Alike(f.Run)}
		constant, err := several(f.ByGuidance)
		if err != nil {
			return nil, err
		}
		for i, falling := range v.ByGuidance {
			falling.Name += "-again" // it stands on the page twice
			for _, p := range []struct {
				pictureView
				rate string
			}{{falling, "Falling rate"}, {constant[i], "Constant rate"}} {
				p.Note = p.rate + ", " + p.Note
				p.Title = p.Note + ", " + m.Name
				v.Flat.Samples = append(v.Flat.Samples, p.pictureView)
			}
		}
		if v.Flat.Curve, err = curve(m.Kind+"-flat-loss.svg", m.Run, "falling rate",
			lossLine("constant rate", f.Loss)); err != nil {
			return nil, err
		}
	}
	return v, nil
}

// setPlayers makes the players with at most so many frames.
func (v *writeupView) setPlayers(frames int) error {
	for _, m := range v.Models {
		p := playerView{File: m.Kind + "-samples", Name: fmt.Sprintf("Sampling with the %s model", m.Name),
			Width: m.columns(), Columns: m.Columns, Across: across("", m.Columns),
			Command: m.Trajectories[len(m.Trajectories)-1].Command}
		for _, t := range m.Trajectories {
			shown := thin(t.Frames, frames)
			if err := p.setCaptions(shown); err != nil {
				return err
			}
			noisy, _ := batches(shown)
			s, err := newScreen(fmt.Sprintf("After epoch %d", t.Epoch), "", noisy, m.columns())
			if err != nil {
				return fmt.Errorf("the %s model, epoch %d: %w", m.Name, t.Epoch, err)
			}
			p.Screens = append(p.Screens, s)
		}
		p.How = how(m.Sampling)
		m.Player = p
	}
	return nil
}

// compare returns Pearson's correlation of two pictures' pixels, and their mean squared difference.
func compare(a, b []float32) (correlation, squared float64) {
	var ma, mb float64
	n := float64(len(a))
	for i := range a {
		ma, mb = ma+float64(a[i])/n, mb+float64(b[i])/n
	}
	var ab, aa, bb float64
	for i := range a {
		x, y := float64(a[i])-ma, float64(b[i])-mb
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
		d := float64(a[i]) - float64(b[i])
		squared += d * d / n
	}
	if aa == 0 || bb == 0 {
		return 0, squared
	}
	return ab / math.Sqrt(aa*bb), squared
}

var (
	//go:embed assets/writeup.html
	writeupPage string

	writeupTemplate = pageTemplate(writeupPage)
)
