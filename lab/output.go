package lab

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/model"
)

// Output says which files are written of a drawing. Errors in its fields are [model.FieldError]s.
type Output struct {
	Files    []string   // .png, or .safetensors for the raw numbers
	Animate  string     // how the images came out of noise, .png or .gif; empty: none
	Previews int        // a picture of the estimated images at every k-th step, beside the first PNG file; 0: none
	Show     []Quantity // what Animate and Previews show; none: x_t and x0
	Scale    int        // as in [Request.Grid]
	Perform  string     // the animation that performs an illusion, .gif or .png; empty: none
	Sheet    string     // a contact sheet of an illusion's candidates, .png; empty: none
}

// The frames of animations.
const (
	filmFrames    = 40 // at most
	performFrames = 24 // of one movement
)

// Picture is the first of the PNG files, or empty.
func (o Output) Picture() string {
	if i := slices.IndexFunc(o.Files, func(path string) bool { return !IsRaw(path) }); i >= 0 {
		return o.Files[i]
	}
	return ""
}

// Named returns the output with a name put into those of all files.
func (o Output) Named(name string) Output {
	with := func(path string) string {
		if path == "" {
			return ""
		}
		ending := filepath.Ext(path)
		return strings.TrimSuffix(path, ending) + "-" + name + ending
	}
	o.Files = slices.Clone(o.Files)
	for i, path := range o.Files {
		o.Files[i] = with(path)
	}
	o.Animate = with(o.Animate)
	return o
}

// Check refuses what can't be written of a drawing, before anything takes long.
func (o Output) Check(of Outline) error {
	for _, f := range []struct {
		field string
		given bool
	}{{"animate", o.Animate != ""}, {"previews", o.Previews > 0}} {
		s := of.Request.Strip
		switch {
		case f.given && len(of.Request.Vary) > 0:
			return model.Errorf(f.field, "it has no meaning with vary")
		case f.given && s != nil && (s.Forward || len(s.At) > 1):
			return model.Errorf(f.field, "it shows one way from noise: expected one time, found %d", len(s.At))
		}
	}
	if o.Previews >= of.Steps {
		return model.Errorf("previews", "expected fewer than the %d steps, found %d", of.Steps, o.Previews)
	}
	for i, spec := range of.Specs {
		if o.Picture() == "" && o.Animate == "" || i < len(of.Specs)-1 && o.Previews == 0 {
			continue
		}
		shape := diffusion.Images{N: of.Images, C: spec.Channels, H: spec.Height, W: spec.Width}
		if _, err := of.Request.Grid(shape, model.ZeroToOne, o.Scale).Bounds(); err != nil {
			return fmt.Errorf("%s: %w; ask for fewer images (--count), a lower --scale, or for a .safetensors file "+
				"only", o.Picture(), err)
		}
	}
	return nil
}

// Draw draws a request in a lab and writes every file that it can. It returns the result and those files. each is told
// of every event.
func (o Output) Draw(ctx context.Context, l *Lab, r Request, each func(Event)) (Result, []string, error) {
	film := Film{Stage: Drawing, Most: filmFrames, Show: o.shown(Noisy)}
	if r.Upscale != nil {
		film.Stage = Upscaling
	}
	var unwritten error // the first preview that failed
	for e, err := range l.Draw(ctx, r) {
		switch {
		case err != nil:
			return Result{}, nil, o.keepSmall(ctx, err)
		case e.Result != nil:
			files, err := o.write(*e.Result, film)
			return *e.Result, files, errors.Join(err, unwritten)
		case e.Outline != nil:
			r = e.Outline.Request
			if err := o.Check(*e.Outline); err != nil {
				return Result{}, nil, err
			}
		case e.Step != nil:
			if o.Animate != "" {
				film.Add(e)
			}
			done := e.Step.Index + 1
			if unwritten == nil && o.Previews > 0 && done%o.Previews == 0 && done < e.Step.Total {
				if unwritten = r.SavePreview(o.Picture(), e, o.shown(Estimated), o.Scale); unwritten != nil {
					each(Event{Warning: fmt.Sprintf("%v; it goes on without previews", unwritten)})
				}
			}
		}
		each(e)
	}
	return Result{}, nil, errNoResult
}

func (o Output) shown(usual Quantity) []Quantity {
	if len(o.Show) == 0 {
		return []Quantity{usual}
	}
	return o.Show
}

// write writes every file that it can, and lists those.
func (o Output) write(r Result, film Film) ([]string, error) {
	var failed error
	files := []string{}
	wrote := func(path string, err error) {
		if failed = errors.Join(failed, err); err == nil {
			files = append(files, path)
		}
	}
	for _, path := range o.Files {
		wrote(path, r.Save(path, o.Scale))
	}
	if o.Animate != "" {
		wrote(o.Animate, r.SaveFilm(o.Animate, film, o.Scale))
	}
	if o.Perform != "" {
		wrote(o.Perform, r.savePerformance(o.Perform))
	}
	if o.Sheet != "" {
		wrote(o.Sheet, r.saveSheet(o.Sheet))
	}
	return files, failed
}

func (r Result) savePerformance(path string) error {
	frames, err := Perform(r, performFrames)
	if err != nil {
		return err
	}
	p, err := r.Request.Parameters()
	if err != nil {
		return err
	}
	return figure.WriteAnimation(path, frames, p)
}

func (r Result) saveSheet(path string) error {
	if r.Ranking == nil {
		return errors.New("the recipe's candidates were ranked before; give --candidates to rank new ones")
	}
	sheet, err := r.Ranking.Sheet(r.Range)
	if err != nil {
		return err
	}
	p, err := r.Request.Parameters()
	if err != nil {
		return err
	}
	return figure.WritePNG(path, sheet, p)
}

// keepSmall writes small images that could not be made larger beside where these would have been.
func (o Output) keepSmall(ctx context.Context, err error) error {
	var small *SmallError
	if !errors.As(err, &small) {
		return err
	}
	if cause := context.Cause(ctx); cause != nil {
		err = fmt.Errorf("stopped by %w", cause)
	}
	files, failed := Output{Files: o.Named("small").Files, Scale: o.Scale}.write(small.Result(), Film{})
	if failed != nil {
		return errors.Join(err, failed)
	}
	return fmt.Errorf("%w\nThe small images are kept: %s", err, strings.Join(files, ", "))
}
