package lab

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
)

// Event is something that happened while a request was drawn. One of the fields is set, Stage beside it.
type Event struct {
	Stage   Stage
	Loading *Loading
	Step    *Step
	Warning string
	Result  *Result // the last event
}

// Stage says what a drawing is at.
type Stage string

// The stages.
const (
	Encoding  Stage = "encode"  // prompts
	Drawing   Stage = "draw"    // images
	Upscaling Stage = "upscale" // larger images
)

// Loading says how many bytes of a model's weights were read.
type Loading struct {
	Part        string // the folder
	Done, Total int
}

// Step is a sampler's step, with the range that its images' values have.
type Step struct {
	diffusion.Step
	Range model.Range
}

// Result is what was drawn.
type Result struct {
	Request     Request          // completed: the recipe
	Images      diffusion.Images // in the range Range
	Small       diffusion.Images // what they were enlarged from, if they were
	Range       model.Range
	Spec        model.Spec // of the model that drew them first
	LeftOut     []string   // parts of the models' folders that were not run
	Evaluations int        // of the network, for each image
	Duration    time.Duration
}

// Draw draws a request. Events come as they happen, the result as the last one. The iterator stops after the first error; an error in
// a field is a [model.FieldError]. A warning comes before the event that follows it.
func (l *Lab) Draw(ctx context.Context, r Request) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		select {
		case <-l.turn:
		case <-ctx.Done():
			yield(Event{}, context.Cause(ctx))
			return
		}
		defer func() { l.turn <- struct{}{} }()
		d := drawing{lab: l, ctx: ctx, yield: yield, start: time.Now()}
		l.warnings = func(text string) { d.send(Event{Warning: text}) }
		defer func() { l.warnings = nil }()
		var err error
		if d.plan, err = l.complete(r); err == nil {
			err = d.run()
		}
		d.fail(err)
	}
}

// DrawWith draws a request with a model that is the caller's, as training does between two steps. What the request says of the model,
// of what computes and of enlarging is not heeded.
func DrawWith(ctx context.Context, m model.Model, r Request) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		d := drawing{ctx: ctx, yield: yield, start: time.Now()}
		d.Request, d.model = r, &opened{model: m, spec: m.Spec()}
		d.Revision, d.Upscale = "", nil
		err := d.completeVersion()
		if err == nil {
			err = d.completeFor(d.model)
		}
		if err == nil {
			err = d.run()
		}
		d.fail(err)
	}
}

// Run ranges over the events of a drawing and returns its result. each is called with every event before that; it may be nil.
func Run(events iter.Seq2[Event, error], each func(Event)) (Result, error) {
	for event, err := range events {
		if err != nil {
			return Result{}, err
		}
		if event.Result != nil {
			return *event.Result, nil
		}
		if each != nil {
			each(event)
		}
	}
	return Result{}, errors.New("the drawing ended without a result")
}

// errStopped says that who ranges over the events has stopped.
var errStopped = errors.New("stopped")

// drawing is a request on its way.
type drawing struct {
	plan
	lab       *Lab
	ctx       context.Context
	yield     func(Event, error) bool
	stopped   bool
	start     time.Time
	generator *diffusion.Generator
}

// send hands an event on, unless nobody listens any more.
func (d *drawing) send(e Event) {
	if !d.stopped && !d.yield(e, nil) {
		d.stopped = true
	}
}

func (d *drawing) report(stage Stage) model.Report {
	return func(part string, done, total int) { d.send(Event{Stage: stage, Loading: &Loading{part, done, total}}) }
}

// fail hands the error on that ended the drawing, if there is one.
func (d *drawing) fail(err error) {
	if err != nil && !d.stopped {
		d.yield(Event{}, err)
	}
}

func (d *drawing) run() error {
	prompts, away, err := d.encode()
	if err != nil {
		return err
	}
	d.generator = diffusion.NewGenerator(*d.Seed)
	show := make([]model.Prompt, d.Images())
	for i := range show {
		show[i] = prompts[d.promptOf(i)]
	}
	if len(d.Prompts) <= 1 {
		show = show[:1] // one serves all images
	}
	ask := model.Ask{Show: show, Away: away, Batch: d.Batch}
	images, err := d.draw(Drawing, d.model, d.sampler, d.Sampling, ask, diffusion.Images{}, 0)
	if err != nil {
		return err
	}
	result := Result{
		Request: d.Request, Images: images, Range: d.model.spec.Range, Spec: d.model.spec, LeftOut: d.model.spec.LeftOut,
		Evaluations: evaluations(d.sampler, d.Sampling),
	}
	if u := d.Upscale; u != nil {
		if result.Images, err = d.draw(Upscaling, d.upscaler, d.larger, u.Sampling, ask, images, *u.NoiseLevel); err != nil {
			return &SmallError{Err: err, Small: images, Range: result.Range, Request: d.Request}
		}
		result.Small = images
		result.LeftOut = append(slices.Clone(result.LeftOut), d.upscaler.spec.LeftOut...)
		result.Evaluations += evaluations(d.larger, u.Sampling)
	}
	slices.Sort(result.LeftOut)
	result.LeftOut = slices.Compact(result.LeftOut)
	result.Duration = time.Since(d.start)
	d.send(Event{Result: &result})
	return nil
}

// SmallError says why images could not be made larger. The small ones are there.
type SmallError struct {
	Err     error
	Small   diffusion.Images
	Range   model.Range
	Request Request
}

func (e *SmallError) Error() string { return e.Err.Error() }
func (e *SmallError) Unwrap() error { return e.Err }

// evaluations is how often a network is asked for each image.
func evaluations(s diffusion.Sampler, how model.Sampling) int {
	n := s.Evaluations()
	if how.Scale() != 1 {
		n *= 2 // with the prompt and without
	}
	return n
}

// encode returns what the models take for the prompts and the negative one.
func (d *drawing) encode() (prompts []model.Prompt, away model.Prompt, err error) {
	guided := d.Scale() != 1 || d.Upscale != nil && d.Upscale.Scale() != 1
	if d.Negative != "" && !guided {
		return nil, away, model.Errorf("negative", "it has no meaning without guidance, with γ = 1")
	}
	if d.Embeds != "" {
		return d.readEmbeds(guided)
	}
	texts := slices.Clone(d.Prompts)
	if len(texts) == 0 {
		texts = []string{""}
	}
	if guided {
		texts = append(texts, d.Negative)
	}
	m, err := d.lab.use(d.model)
	if err != nil {
		return nil, away, err
	}
	prompts, err = m.Encode(d.ctx, texts, d.report(Encoding))
	if d.stopped {
		return nil, away, errStopped
	}
	if err != nil {
		return nil, away, err
	}
	if guided {
		away, prompts = prompts[len(prompts)-1], prompts[:len(prompts)-1]
	}
	return prompts, away, nil
}

// readEmbeds takes the prompts from a file.
func (d *drawing) readEmbeds(guided bool) (prompts []model.Prompt, away model.Prompt, err error) {
	if !d.model.spec.Texts {
		return nil, away, model.Errorf("embeds", "%s reads no texts", d.model.spec.ID)
	}
	all, err := deepfloyd.ReadPrompts(d.Embeds)
	if err != nil {
		return nil, away, &model.FieldError{Field: "embeds", Err: err}
	}
	if len(d.Prompts) == 0 {
		negative := all.Find(d.Negative)
		for i, text := range all.Texts {
			if !slices.Contains(negative, i) {
				d.Prompts = append(d.Prompts, text)
			}
		}
		if len(d.Prompts) == 0 {
			return nil, away, model.Errorf("embeds", "%s has no prompt but the negative one", d.Embeds)
		}
		if err := d.completeCount(); err != nil {
			return nil, away, err
		}
	}
	for _, text := range d.Prompts {
		one, err := all.Select(text)
		if err != nil {
			return nil, away, model.Errorf("embeds", "%s: %w", d.Embeds, err)
		}
		prompts = append(prompts, model.Prompt{Text: text, Embedding: one})
	}
	if guided {
		one, err := all.Select(d.Negative)
		if err != nil {
			return nil, away, model.Errorf("embeds", "%s, for the negative prompt: %w (without guidance, γ = 1, there is none)", d.Embeds, err)
		}
		away = model.Prompt{Text: d.Negative, Embedding: one}
	}
	return prompts, away, nil
}

// draw draws with one model. It asks the generator for what diffusers' pipelines ask PyTorch's, in their order: the start, the noise of
// the small images, the noise of each step, all for all images at once.
func (d *drawing) draw(stage Stage, o *opened, sampler diffusion.Sampler, how model.Sampling, ask model.Ask, small diffusion.Images, level int) (diffusion.Images, error) {
	m, err := d.lab.use(o)
	if err != nil {
		return diffusion.Images{}, err
	}
	x := o.spec.Images(d.Images())
	d.generator.Normal(x.Data)
	if small.N > 0 {
		noise := x.Like()
		d.generator.Normal(noise.Data)
		if ask.Beside, err = m.(model.Upscaler).Beside(small, noise, level); err != nil {
			return diffusion.Images{}, err
		}
		ask.Level = level
	}
	ask.Guidance, ask.Report = how.Scale(), d.report(stage)
	denoiser, err := m.Bind(d.ctx, ask)
	if err != nil {
		return diffusion.Images{}, err
	}
	sampler.Noise = d.generator.Noise
	for step, err := range sampler.Steps(d.ctx, denoiser, x) {
		if d.stopped {
			return diffusion.Images{}, errStopped
		}
		if err != nil {
			if cause := context.Cause(d.ctx); cause != nil {
				err = fmt.Errorf("stopped by %w", cause)
			}
			return diffusion.Images{}, err
		}
		x = step.X
		d.send(Event{Stage: stage, Step: &Step{step, o.spec.Range}})
		if d.stopped {
			return diffusion.Images{}, errStopped
		}
	}
	return x, nil
}
