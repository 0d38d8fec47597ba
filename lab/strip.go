package lab

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/illusion"
	"github.com/unnoise/unnoise/model"
)

// Strip shows the process instead of drawing something new: a picture, noised to several times, and what becomes of it.
//
// Forward, the picture and x_t stand in one row. Otherwise each time has a row: the picture, x_t, its Gaussian blur,
// the estimate of x_0 from one evaluation, and what the sampler makes of it step by step.
type Strip struct {
	Picture Picture `json:"picture"`
	// times of the model's process, or shares of noise as in 50%; default 25%, 50%, 75%
	At      []string `json:"at,omitempty"`
	Forward bool     `json:"forward,omitempty"` // show the forward process only; no network is asked
	Side    int      `json:"side,omitempty"`    // forward: pixels a side, in color; 0: images as the model's
	// show the iterative way too: x at every so many steps of the sampler's path
	Every int        `json:"every,omitempty"`
	Blur  float64    `json:"blur,omitempty"` // standard deviation of the blur for 64 pixels a side; default 2
	Show  []Quantity `json:"show,omitempty"` // what is shown of each moment; default x_t

	times         []float64 // At
	moments       []float64 // of the path, that are shown
	rows, columns []string  // labels
}

// complete settles what is shown. path is the sampler's, spec the model's.
func (s *Strip) complete(spec model.Spec, path []diffusion.Move) error {
	if len(s.At) == 0 {
		s.At = []string{"25%", "50%", "75%"}
	}
	if len(s.At) > maxVariants {
		return model.Errorf("at", "expected at most %d times, found %d", maxVariants, len(s.At))
	}
	s.At, s.times, s.moments = slices.Clone(s.At), nil, nil
	for i, text := range s.At {
		t, err := timeOf(spec.Process, text)
		if err != nil {
			return &model.FieldError{Field: "at", Err: err}
		}
		if !s.Forward && noiseShare(spec.Process, t) == 0 {
			return model.Errorf("at", "there is no noise at %s: expected a time with some", text)
		}
		s.At[i], s.times = strconv.FormatFloat(t, 'g', -1, 64), append(s.times, t)
	}
	if len(s.Show) == 0 {
		s.Show = []Quantity{Noisy}
	}
	for _, q := range s.Show {
		if !slices.Contains(Quantities(), q) {
			return model.Errorf("show", "expected %s, %s or %s, found %q", Noisy, Estimated, Noise, q)
		}
		if s.Forward && q == Estimated {
			return model.Errorf("show", "the forward process has no %s: expected %s or %s", Estimated, Noisy, Noise)
		}
	}
	if s.Forward && (s.Every != 0 || s.Blur != 0) {
		return model.Errorf("every", "the forward process takes one step to each time, and blurs nothing")
	}
	if !s.Forward && s.Side != 0 {
		return model.Errorf("side", "the model's network sees images of its own size; expected 0")
	}
	if s.Side < 0 || s.Side > 1024 {
		return model.Errorf("side", "expected 1 to 1024 pixels, or 0 for the model's, found %d", s.Side)
	}
	if !s.Forward && s.Blur == 0 {
		s.Blur = 2
	}
	if s.Blur < 0 || s.Blur > 64 {
		return model.Errorf("blur", "expected a number above 0 and at most 64, found %g", s.Blur)
	}
	if s.Every < 0 {
		return model.Errorf("every", "expected 1 or more, or 0 for none, found %d", s.Every)
	}
	most := 0.0
	for _, t := range s.times {
		most = max(most, noiseShare(spec.Process, t))
	}
	for i, m := range path {
		if s.Every > 0 && i%s.Every == 0 && noiseShare(spec.Process, m.From) < most {
			s.moments = append(s.moments, m.From)
		}
	}
	s.rows, s.columns = s.names(spec.Process)
	t := target{spec.Channels, spec.Height, spec.Width, spec.SideFactor, len(spec.Vocabulary) > 0 && spec.Channels == 1}
	if s.Side > 0 {
		t = target{channels: 3, height: s.Side, width: s.Side}
	}
	return s.Picture.complete(t, nil)
}

// timeOf reads a time of a process, or a share of noise in percent: the clean image is at 0%, noise at 100%.
func timeOf(p diffusion.Process, text string) (float64, error) {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	t, err := strconv.ParseFloat(number, 64)
	schedule, scheduled := p.(*diffusion.Schedule)
	if err != nil || percent && !(t >= 0 && t <= 100) {
		return 0, fmt.Errorf("expected times such as %s, or shares from 0%% to 100%%, found %q", exampleTime(scheduled),
			text)
	}
	switch {
	case percent && scheduled:
		t = math.Round(t/100*float64(schedule.Len())) - 1
	case percent:
		t = 1 - t/100
	}
	if signal, _ := p.Levels(t); math.IsNaN(signal) {
		return 0, fmt.Errorf("the process has no time %g; %v", t, p)
	}
	return t, nil
}

func exampleTime(scheduled bool) string {
	if scheduled {
		return "250"
	}
	return "0.25"
}

func timeLabel(p diffusion.Process, t float64) string {
	if _, scheduled := p.(*diffusion.Schedule); scheduled {
		return fmt.Sprintf("t = %g", t)
	}
	return fmt.Sprintf("t = %.2f", t)
}

// noiseShare is the share of noise in x_t, from 0 to 1.
func noiseShare(p diffusion.Process, t float64) float64 {
	_, noise := diffusion.Shares(p, t)
	return noise
}

// rest is the part of a path from time t on.
func rest(p diffusion.Process, path []diffusion.Move, t float64) []diffusion.Move {
	for i, m := range path {
		if noiseShare(p, m.To) < noiseShare(p, t) {
			return append([]diffusion.Move{{From: t, To: m.To}}, path[i+1:]...)
		}
	}
	return nil
}

// shape returns how many rows and columns of images there are.
func (s *Strip) shape() (rows, columns int) {
	if s.Forward {
		return len(s.Show), 1 + len(s.At)
	}
	return len(s.At) * len(s.Show), 5 + len(s.moments)
}

// names are the labels of the rows and columns.
func (s *Strip) names(p diffusion.Process) (rows, columns []string) {
	if s.Forward {
		columns = []string{"original"}
		for _, t := range s.times {
			columns = append(columns, timeLabel(p, t))
		}
		if len(s.Show) > 1 || s.Show[0] != Noisy {
			for _, q := range s.Show {
				rows = append(rows, string(q))
			}
		}
		return rows, columns
	}
	for _, t := range s.times {
		for k, q := range s.Show {
			label := string(q)
			if len(s.Show) == 1 && q == Noisy {
				label = ""
			}
			if k == 0 {
				label = strings.TrimSpace(timeLabel(p, t) + "  " + label)
			}
			rows = append(rows, label)
		}
	}
	columns = []string{"original", "noisy", "blurred", "one step"}
	for _, t := range s.moments {
		columns = append(columns, timeLabel(p, t))
	}
	return rows, append(columns, "iterative")
}

// quantityOf returns what the images of a row are.
func (s *Strip) quantityOf(row int) Quantity { return s.Show[row%len(s.Show)] }

// strip draws a strip, row by row.
func (d *drawing) strip(v *variant) (diffusion.Images, error) {
	s := v.Strip
	spec := d.model.spec
	c := spec.Channels
	if s.Side > 0 {
		c = 3
	}
	original, err := s.Picture.images(c, spec.Range)
	if err != nil {
		return original, err
	}
	d.noise = seeded(*v.Seed)
	noise := original.Like()
	d.noise.normal(noise)
	if s.Forward {
		return s.forward(spec, original, noise)
	}
	m, err := d.lab.use(d.model)
	if err != nil {
		return original, err
	}
	ask := model.Ask{Batch: v.Batch, Guidance: v.Scale(), Report: d.report(Drawing), Away: d.prompts[v.Negative]}
	ask.Show = []model.Prompt{d.prompts[v.PromptOf(0)]}
	denoiser, err := m.Bind(d.ctx, ask)
	if err != nil {
		return original, err
	}
	rows, columns := s.shape()
	all := diffusion.NewImages(rows*columns, c, original.H, original.W)
	for k := range all.N { // where there is nothing it is white
		white := spec.Range.High
		if s.quantityOf(k/columns) == Noise && k%columns > 0 {
			white = noiseShown
		}
		cell := all.Slice(k, k+1).Data
		for i := range cell {
			cell[i] = white
		}
	}
	for i, t := range s.times {
		d.noise = seeded(*v.Seed) // a row is the same with others or alone
		d.noise.normal(noise)
		noisy, err := diffusion.AddNoise(spec.Process, original, noise, t)
		if err != nil {
			return all, err
		}
		put := func(q Quantity, column int, x diffusion.Images) {
			for k, shown := range s.Show {
				if shown == q {
					at := (i*len(s.Show)+k)*columns + column
					copy(all.Slice(at, at+1).Data, x.Data)
				}
			}
		}
		if err := d.row(v, denoiser, noisy, t, put); err != nil {
			return all, err
		}
		put(Noisy, 0, original)
	}
	return all, nil
}

// row fills one row of a strip, but for the original.
func (d *drawing) row(v *variant, denoiser diffusion.Denoiser, noisy diffusion.Images, t float64,
	put func(Quantity, int, diffusion.Images)) error {
	s, spec := v.Strip, d.model.spec
	blur, err := illusion.ParseBand(fmt.Sprintf("low_pass:%g", s.Blur))
	if err != nil {
		return err
	}
	if err := illusion.Fits(blur, noisy.C, noisy.H, noisy.W); err != nil {
		return model.Errorf("blur", "%w", err)
	}
	put(Noisy, 1, noisy)
	put(Noisy, 2, blur.Filter(noisy))
	clean := v.sampler.Path[len(v.sampler.Path)-1].To
	once := v.sampler
	once.Path, once.Method = []diffusion.Move{{From: t, To: clean}}, diffusion.DDIM{}
	for step, err := range once.Steps(d.ctx, denoiser, noisy) {
		if err != nil {
			return d.stopReason(err)
		}
		put(Noisy, 3, step.X0)
		put(Estimated, 1, step.X0)
		put(Noise, 1, step.Epsilon)
	}
	whole := v.sampler
	whole.Path, whole.Noise = rest(spec.Process, v.sampler.Path, t), d.noise.source
	for step, err := range whole.Steps(d.ctx, denoiser, noisy) {
		if err != nil {
			return d.stopReason(err)
		}
		if k := slices.Index(s.moments, step.From); k >= 0 && step.Index > 0 {
			put(Noisy, 4+k, step.Input)
			put(Estimated, 4+k, step.X0)
			put(Noise, 4+k, step.Epsilon)
		}
		put(Noisy, 4+len(s.moments), step.X)
		d.send(Event{Stage: Drawing, Variant: d.at, Variants: len(d.variants), Step: &Step{step, spec.Range}})
		if d.stopped {
			return errStopped
		}
	}
	return nil
}

// forward draws the picture and what the forward process makes of it.
func (s *Strip) forward(spec model.Spec, original, noise diffusion.Images) (diffusion.Images, error) {
	var all []diffusion.Images
	for _, q := range s.Show {
		all = append(all, original)
		for _, t := range s.times {
			x := noise
			if q == Noisy {
				var err error
				if x, err = diffusion.AddNoise(spec.Process, original, noise, t); err != nil {
					return x, err
				}
			}
			all = append(all, x)
		}
	}
	return diffusion.Concat(all...)
}

// arrange makes a grid of a strip's images. x are the raw ones.
func (s *Strip) arrange(g *figure.Grid, x diffusion.Images) {
	var rows int
	rows, g.Columns = s.shape()
	g.RowLabels, g.ColumnLabels = s.rows, s.columns
	if len(x.Data) == 0 || rows*g.Columns != x.N {
		return
	}
	g.Images = g.Images.Clone()
	for k := range x.N {
		if s.quantityOf(k/g.Columns) == Noise && k%g.Columns > 0 {
			copy(g.Images.Slice(k, k+1).Data, shownNoise(x.Slice(k, k+1)).Data)
		}
	}
}
