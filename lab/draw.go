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
	"github.com/unnoise/unnoise/picture"
)

// Event is something that happened while a request was drawn. One of the fields is set, Stage beside it.
type Event struct {
	Stage             Stage
	Variant, Variants int // which of the drawings that a request stands for, from 0, and how many there are

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
		d.model = &opened{model: m, spec: m.Spec()}
		r.Revision, r.Upscale = "", nil
		err := r.completeVersion()
		if err == nil {
			err = d.fill(r)
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
	at        int // the variant
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
	result := Result{Request: d.Request, Range: d.model.spec.Range, Spec: d.model.spec, LeftOut: d.model.spec.LeftOut, Evaluations: d.outline().Evaluations}
	if d.upscaler != nil {
		result.LeftOut = append(slices.Clone(result.LeftOut), d.upscaler.spec.LeftOut...)
	}
	slices.Sort(result.LeftOut)
	result.LeftOut = slices.Compact(result.LeftOut)
	var images, small []diffusion.Images
	for i, v := range d.variants {
		d.at = i
		v.Prompts = d.Prompts // which a file of embeddings may have named
		x, before, err := d.one(v, prompts, away)
		if err != nil {
			return err
		}
		images, small = append(images, x), append(small, before)
	}
	columns := 1
	if n := len(d.Vary); n > 0 {
		columns = len(d.Vary[n-1].Values)
	}
	if result.Images, err = woven(images, columns); err != nil {
		return err
	}
	if result.Small, err = woven(small, columns); err != nil {
		return err
	}
	result.Duration = time.Since(d.start)
	d.send(Event{Result: &result})
	return nil
}

// woven joins the variants' images so that those of a row of variants stand beside each other: the first image of each, then the second.
func woven(all []diffusion.Images, columns int) (diffusion.Images, error) {
	var parts []diffusion.Images
	for row := 0; row < len(all); row += columns {
		for n := range all[row].N {
			for _, x := range all[row:min(row+columns, len(all))] {
				parts = append(parts, x.Slice(n, n+1))
			}
		}
	}
	return diffusion.Concat(parts...)
}

// one draws one variant, and returns the small images too where they were enlarged.
func (d *drawing) one(v variant, prompts []model.Prompt, away map[string]model.Prompt) (images, small diffusion.Images, err error) {
	d.generator = diffusion.NewGenerator(*v.Seed)
	show := make([]model.Prompt, v.Images())
	for i := range show {
		show[i] = prompts[v.promptOf(i)]
	}
	if len(v.Prompts) <= 1 {
		show = show[:1] // one serves all images
	}
	s := stage{name: Drawing, variant: v, model: d.model, sampler: v.sampler, how: v.Sampling, ask: model.Ask{Show: show, Away: away[v.Negative], Batch: v.Batch}}
	if images, err = d.draw(s); err != nil || v.Upscale == nil {
		return images, small, err
	}
	small = images
	s.name, s.model, s.sampler, s.how = Upscaling, d.upscaler, v.larger, v.Upscale.Sampling
	s.small, s.ask.Level = small, *v.Upscale.NoiseLevel
	if images, err = d.draw(s); err != nil && !errors.Is(err, errStopped) {
		err = &SmallError{Err: err, Small: small, Range: d.model.spec.Range, Request: v.Request}
	}
	return images, small, err
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

// encode returns what the models take for the prompts, and for the negative ones by their texts.
func (d *drawing) encode() (prompts []model.Prompt, away map[string]model.Prompt, err error) {
	var negative []string
	for _, v := range d.variants {
		if v.guided() && !slices.Contains(negative, v.Negative) {
			negative = append(negative, v.Negative)
		}
	}
	if d.Embeds != "" {
		return d.readEmbeds(negative)
	}
	texts := slices.Clone(d.Prompts)
	if len(texts) == 0 {
		texts = []string{""}
	}
	texts = append(texts, negative...)
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
	away = map[string]model.Prompt{}
	for _, p := range prompts[len(prompts)-len(negative):] {
		away[p.Text] = p
	}
	return prompts[:len(prompts)-len(negative)], away, nil
}

// readEmbeds takes the prompts from a file.
func (d *drawing) readEmbeds(negative []string) (prompts []model.Prompt, away map[string]model.Prompt, err error) {
	if !d.model.spec.Texts {
		return nil, away, model.Errorf("embeds", "%s reads no texts", d.model.spec.ID)
	}
	all, err := deepfloyd.ReadPrompts(d.Embeds)
	if err != nil {
		return nil, away, inFile("embeds", err)
	}
	if len(d.Prompts) == 0 {
		var others []int
		for _, text := range append([]string{d.Negative}, negative...) {
			others = append(others, all.Find(text)...)
		}
		for i, text := range all.Texts {
			if !slices.Contains(others, i) {
				d.Prompts = append(d.Prompts, text)
			}
		}
		if len(d.Prompts) == 0 {
			return nil, away, inFile("embeds", fmt.Errorf("%s has no prompt but the negative one", d.Embeds))
		}
		if err := d.completeCount(); err != nil {
			return nil, away, err
		}
	}
	for _, text := range d.Prompts {
		one, err := all.Select(text)
		if err != nil {
			return nil, away, inFile("embeds", fmt.Errorf("%s: %w", d.Embeds, err))
		}
		prompts = append(prompts, model.Prompt{Text: text, Embedding: one})
	}
	away = map[string]model.Prompt{}
	for _, text := range negative {
		one, err := all.Select(text)
		if err != nil {
			return nil, away, inFile("embeds", fmt.Errorf("%s, for the negative prompt: %w (without guidance, γ = 1, there is none)", d.Embeds, err))
		}
		away[text] = model.Prompt{Text: text, Embedding: one}
	}
	return prompts, away, nil
}

// stage is the part of a drawing that one model does.
type stage struct {
	name    Stage
	variant variant
	model   *opened
	sampler diffusion.Sampler
	how     model.Sampling
	ask     model.Ask
	small   diffusion.Images // for super-resolution
}

// draw draws with one model. It asks the generator for what diffusers' pipelines ask PyTorch's, in their order: the start, the noise of
// the small images, the noise of each step, all for all images at once.
func (d *drawing) draw(s stage) (x diffusion.Images, err error) {
	m, err := d.lab.use(s.model)
	if err != nil {
		return x, err
	}
	s.sampler.Noise = d.generator.Noise
	x, known, err := d.begin(s)
	if err != nil {
		return x, err
	}
	if s.small.N > 0 {
		noise := x.Like()
		d.generator.Normal(noise.Data)
		if s.ask.Beside, err = m.(model.Upscaler).Beside(s.small, noise, s.ask.Level); err != nil {
			return x, err
		}
	} else {
		s.ask.Level = 0
	}
	s.ask.Guidance, s.ask.Report = s.how.Scale(), d.report(s.name)
	denoiser, err := m.Bind(d.ctx, s.ask)
	if err != nil {
		return x, err
	}
	steps := s.sampler.Steps(d.ctx, denoiser, x)
	if known != nil {
		steps = known.Keep(steps)
	}
	for step, err := range steps {
		if d.stopped {
			return x, errStopped
		}
		if err != nil {
			if cause := context.Cause(d.ctx); cause != nil {
				err = fmt.Errorf("stopped by %w", cause)
			}
			return x, err
		}
		x = step.X
		d.send(Event{Stage: s.name, Variant: d.at, Variants: len(d.variants), Step: &Step{step, s.model.spec.Range}})
		if d.stopped {
			return x, errStopped
		}
	}
	return x, nil
}

// begin returns what a stage starts from: noise, or a picture with noise. known is the part of it that stays, if there is one.
func (d *drawing) begin(s stage) (x diffusion.Images, known *diffusion.Known, err error) {
	spec, v := s.model.spec, s.variant
	var source *Picture
	switch {
	case v.Inpaint != nil:
		source = &v.Inpaint.Picture
	case v.Edit != nil && s.name == Drawing:
		source = &v.Edit.Picture
	}
	height, width := spec.Height, spec.Width
	if s.small.N > 0 { // which need not be square
		height, width = s.small.H*spec.Height/d.model.spec.Height, s.small.W*spec.Width/d.model.spec.Width
	}
	var original diffusion.Images
	if source != nil {
		if original, err = d.original(*source, s, &height, &width); err != nil {
			return x, nil, err
		}
		original = repeated(original, v.Images())
	}
	x = diffusion.NewImages(v.Images(), spec.Channels, height, width)
	d.generator.Normal(x.Data)
	if v.Inpaint == nil {
		if source != nil {
			x, err = s.sampler.Start(original, x)
		}
		return x, nil, err
	}
	mask, err := decodePNG(v.Inpaint.Mask.Data, 1, height, width, model.ZeroToOne)
	if err != nil {
		return x, nil, err
	}
	known = &diffusion.Known{Process: spec.Process, Images: original, Mask: mask, Noise: d.generator.Noise, Clean: v.Inpaint.Method == Diffusers}
	if v.Inpaint.Method == Diffusers { // it starts from the picture with noise, where that is drawn anew
		if x, err = s.sampler.Start(original, x); err == nil {
			err = known.Overwrite(x, s.sampler.Path[0].From)
		}
	}
	return x, known, err
}

// original returns the picture as an image of a stage, and its sides.
func (d *drawing) original(p Picture, s stage, height, width *int) (diffusion.Images, error) {
	full, err := picture.Decode(p.Data)
	if err != nil {
		return diffusion.Images{}, err
	}
	if size := full.Bounds().Size(); s.small.N == 0 { // the picture has the size of the last stage
		last := d.model.spec
		if d.upscaler != nil {
			last = d.upscaler.spec
		}
		*height, *width = size.Y*d.model.spec.Height/last.Height, size.X*d.model.spec.Width/last.Width
	}
	return decodePNG(p.Data, s.model.spec.Channels, *height, *width, s.model.spec.Range)
}
