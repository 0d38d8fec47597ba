package course

import (
	"context"
	"fmt"

	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/training/mnist"
	"github.com/unnoise/unnoise/writeup"
)

// DefaultSubjects are those that suit a model.
func DefaultSubjects(l *lab.Lab, name, variant string) (Subjects, error) {
	spec, _, err := l.About(lab.Request{Model: name, Variant: variant})
	if err != nil {
		return Subjects{}, err
	}
	return Defaults(spec), nil
}

// Own puts a person's own pictures into the subjects: each list replaces that of the defaults, with the prompt that
// says least.
func (s *Subjects) Own(photos, web, drawings []string) {
	own := func(list *[]Start, files []string) {
		if len(files) == 0 {
			return
		}
		prompt := s.Plain
		if prompt == "" && len(s.Prompts) > 0 {
			prompt = s.Prompts[0]
		}
		*list = nil
		for _, file := range files {
			*list = append(*list, Start{file, prompt})
		}
	}
	own(&s.Photos, photos)
	own(&s.Web, web)
	own(&s.Drawings, drawings)
	if len(photos) > 0 {
		s.Subject = photos[0]
	}
}

// About says what the course's model is, for people.
func (c *Course) About() string {
	about := fmt.Sprintf("%s in %d×%d pixels", c.Model, c.spec.Width, c.spec.Height)
	if up := c.guided(0).Upscale; up != nil {
		about += " and made larger by " + up.Model
	}
	return about
}

// Complete makes a page show the models of the program where it has no runs.
func Complete(p *writeup.Page) (err error) {
	for _, m := range []struct {
		to   **writeup.ShownRun
		name string
		kind writeup.Kind
	}{
		{&p.None, "mnist-none", writeup.DenoiserRun}, {&p.Time, "mnist-time", writeup.TimeRun},
		{&p.Class, "mnist-class", writeup.ClassRun},
	} {
		if *m.to != nil {
			continue
		}
		if *m.to, err = writeup.OpenBundled(m.name, m.kind); err != nil {
			return err
		}
	}
	return nil
}

// TrainPure trains, or goes on with, a denoiser of pure noise in dir, and makes a page show it. It is a small network
// that sees few digits, since all it can learn is their mean. A run that is there is taken as it is.
func TrainPure(ctx context.Context, p *writeup.Page, dir string) error {
	c := mnist.Choice{Condition: mnistunet.None, PureNoise: true, Dim: 8}.Config()
	c.Batch, c.LearningRate = 64, 1e-3
	c.Seed, c.DType, c.Backend = p.Seed, engine.Name(p.DType), p.BackendName
	train, test, err := mnist.OpenData(mnist.Embedded)
	if err != nil {
		return err
	}
	train = train.Head(10000)
	task, err := c.Task(train, mnist.Embedded)
	if err != nil {
		return err
	}
	o := training.Options{Backend: p.Backend, Draw: writeup.EpochDrawer(p.Backend, p.DType, p.Draw, test, c.Seed),
		OnStep: func(s training.Progress) {
			p.Update(func() string { return "training on pure noise: " + s.String() })
		}}
	if training.IsRun(dir) {
		_, err = training.Resume(ctx, dir, task, o)
	} else {
		_, err = training.Train(ctx, dir, c.Config, task, o)
	}
	if err != nil {
		return err
	}
	return p.Open(dir, writeup.PureRun)
}

// Page puts the first half, where it is asked for, and the checklist onto a page of runs.
func (c *Course) Page(ctx context.Context, p *writeup.Page, half bool) (err error) {
	var s *Subjects
	if half {
		if p.Course, err = c.Sections(ctx, nil); err != nil {
			return err
		}
		s, p.Drawn = &c.Subjects, "drawn by "+c.About()
	}
	var r *Runs
	if p.HasRuns() {
		r = &Runs{Denoiser: p.None, Pure: p.Pure, Time: p.Time, Class: p.Class, Flat: p.Flat, FlowTime: p.FlowTime,
			Flow: p.Flow}
	}
	p.Deliverables = Checklist(s, r)
	return nil
}
