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
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/picture"
)

// Event is something that happened while a request was drawn. One of the fields is set, Stage beside it.
type Event struct {
	Stage             Stage
	Variant, Variants int // which of the drawings that a request stands for, from 0, and how many there are

	Outline *Outline // the first event of [Lab.Draw]: what will be drawn
	Loading *Loading
	Step    *Step
	Judged  *Judged
	Warning string
	Result  *Result // the last event
}

// Line says how far a drawing is, after a step. The stage started at a time.
func (e Event) Line(started time.Time) string {
	s := e.Step
	rest, of := "", ""
	if s.Index > 0 {
		rest = "  " + duration.Left(started, s.Index, s.Total-1) + " left"
	}
	if e.Variants > 1 {
		of = fmt.Sprintf(" of %d/%d", e.Variant+1, e.Variants)
	}
	return fmt.Sprintf("%d×%d: step %d/%d%s%s", s.X.W, s.X.H, s.Index+1, s.Total, of, rest)
}

// Stage says what a drawing is at.
type Stage string

// The stages.
const (
	Encoding  Stage = "encode"  // prompts
	Drawing   Stage = "draw"    // images
	Judging   Stage = "judge"   // candidates
	Upscaling Stage = "upscale" // larger images
)

// Judged says how much of the judgement of candidates is done, and what is thought of those of one group so far.
type Judged struct {
	Done, Total int
	Begins      bool // the first of a judgement
	Group       int
	Images      diffusion.Images // in the range Range
	Range       model.Range
	Verdicts    []Verdict // of each image
	Prompts     []string  // the columns of the verdicts' matrices
	Looks       []string  // their rows
}

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
	Ranking     *Ranking   // of candidates, if they were ranked
	Duration    time.Duration
}

// Draw draws a request. Events come as they happen, the result as the last one. The iterator stops after the first
// error; an error in a field is a [model.FieldError]. A warning comes before the event that follows it.
func (l *Lab) Draw(ctx context.Context, r Request) iter.Seq2[Event, error] {
	return l.DrawTogether(ctx, r, nil)
}

// DrawTogether draws as [Lab.Draw] does, and has the work on candidates shared. A nil spread shares nothing.
func (l *Lab) DrawTogether(ctx context.Context, r Request, spread Spread) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		select {
		case <-l.turn:
		case <-ctx.Done():
			yield(Event{}, context.Cause(ctx))
			return
		}
		defer func() { l.turn <- struct{}{} }()
		d := drawing{lab: l, ctx: ctx, yield: yield, start: time.Now(), spread: spread}
		l.warnings = func(text string) { d.send(Event{Warning: text}) }
		defer func() { l.warnings = nil }()
		for _, text := range l.untold {
			l.warnings(text)
		}
		l.untold = nil
		var err error
		if d.plan, err = l.complete(r); err == nil {
			outline := d.outline()
			if d.send(Event{Outline: &outline}); !d.stopped {
				err = d.run()
			}
		}
		d.fail(err)
	}
}

// DrawWith draws a request with a model that is the caller's, as training does between two steps. What the request says
// of the model, of what computes and of enlarging is not heeded.
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

// Run ranges over the events of a drawing and returns its result. each is called with every event before that; it may
// be nil.
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
	return Result{}, errNoResult
}

var errNoResult = errors.New("the drawing ended without a result")

// errStopped says that who ranges over the events has stopped.
var errStopped = errors.New("stopped")

// drawing is a request on its way.
type drawing struct {
	plan
	lab     *Lab
	ctx     context.Context
	yield   func(Event, error) bool
	stopped bool
	start   time.Time
	at      int // the variant
	prompts map[string]model.Prompt
	noise   noise
	ranking *Ranking
	spread  Spread
	drawn   map[uint64]*diffusion.Generator // what candidates were drawn by here, as it is after that
}

// noise draws standard normal noise: from one generator for all images, as PyTorch does, or from one for each image, so
// that each can be drawn again alone.
type noise []*diffusion.Generator

func (n noise) normal(x diffusion.Images) {
	if len(n) == 1 {
		n[0].Normal(x.Data)
		return
	}
	for i, g := range n {
		g.Normal(x.Slice(i, i+1).Data)
	}
}

func (n noise) source(_ int, _ float64, x diffusion.Images) error {
	n.normal(x)
	return nil
}

func seeded(seeds ...uint64) (n noise) {
	for _, seed := range seeds {
		n = append(n, diffusion.NewGenerator(seed))
	}
	return n
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
	if err := d.encode(); err != nil {
		return err
	}
	result := Result{Request: d.Request, Range: d.model.spec.Range, Spec: d.model.spec, LeftOut: d.model.spec.LeftOut,
		Evaluations: d.outline().Evaluations}
	if d.upscaler != nil {
		result.LeftOut = append(slices.Clone(result.LeftOut), d.upscaler.spec.LeftOut...)
	}
	slices.Sort(result.LeftOut)
	result.LeftOut = slices.Compact(result.LeftOut)
	var images, small []diffusion.Images
	for i, v := range d.variants {
		d.at = i
		v.Prompts = d.Prompts // which a file of embeddings may have named
		x, before, err := d.one(&v)
		if err != nil {
			return err
		}
		images, small = append(images, x), append(small, before)
	}
	columns := 1
	if n := len(d.Vary); n > 0 {
		columns = len(d.Vary[n-1].Values)
	}
	var err error
	if result.Images, err = woven(images, columns); err != nil {
		return err
	}
	if result.Small, err = woven(small, columns); err != nil {
		return err
	}
	if d.ranking != nil {
		result.Ranking = d.ranking
		result.Request.Illusion = d.variants[0].Illusion
	}
	result.Duration = time.Since(d.start)
	d.send(Event{Result: &result})
	return nil
}

// woven joins the variants' images so that those of a row of variants stand beside each other: the first image of each,
// then the second.
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
func (d *drawing) one(v *variant) (images, small diffusion.Images, err error) {
	s := d.first(v)
	d.noise = seeded(*v.Seed)
	if v.Strip != nil {
		images, err = d.strip(v)
		return images, small, err
	}
	if i := v.Illusion; i != nil && i.Candidates > 0 {
		if images, err = d.best(&s); err != nil {
			return images, small, err
		}
		d.variants[d.at].Illusion = s.variant.Illusion
	} else {
		for k := range s.images {
			s.show = append(s.show, v.PromptOf(k))
		}
		if images, err = d.draw(s); err != nil {
			return images, small, err
		}
	}
	if v.Upscale == nil {
		return images, small, nil
	}
	small = images
	s.name, s.model, s.sampler, s.how = Upscaling, d.upscaler, v.larger, v.Upscale.Sampling
	s.small, s.ask.Level = small, *v.Upscale.NoiseLevel
	if images, err = d.draw(s); err != nil && !errors.Is(err, errStopped) {
		err = &SmallError{Err: err, Small: small, Range: d.model.spec.Range, Request: v.Request}
	}
	return images, small, err
}

// first is the stage that draws a variant from noise.
func (d *drawing) first(v *variant) stage {
	return stage{name: Drawing, variant: *v, model: d.model, sampler: v.sampler, how: v.Sampling, images: v.Images(),
		ask: model.Ask{Batch: v.Batch}}
}

// best draws candidates, each from a seed of its own, and returns the best. What was ranked before is drawn at once.
func (d *drawing) best(s *stage) (diffusion.Images, error) {
	i := *s.variant.Illusion
	groups, n := i.Groups(), i.Candidates*i.Groups()
	if len(i.Seeds) == 0 {
		i.Parents = map[uint64]uint64{}
		for k := range n {
			i.Seeds = append(i.Seeds, *s.variant.Seed+uint64(k))
		}
		if i.Race {
			s.until = max(len(s.sampler.Path)*2/5, 1)
		}
		images, err := d.candidates(*s, i.Seeds, diffusion.Images{})
		s.until = 0
		if err != nil {
			return images, err
		}
		if err := d.sort(&i, images, 0); err != nil {
			return images, err
		}
		for round := range *i.Refine {
			if err := d.refine(*s, &i, round); err != nil {
				return images, err
			}
		}
		if !i.Race && d.model.spec.WeightBytes > smallModels { // drawing again would take long
			return d.ranked(s, &i)
		}
		if i.Race { // the best tenth is finished and judged again
			if err := d.finish(s, &i); err != nil {
				return images, err
			}
		}
	}
	s.variant.Illusion = &i
	s.images = i.Keep * groups
	return d.again(*s, &i)
}

// ranked returns the best of what was ranked, with the noise that goes on from there.
func (d *drawing) ranked(s *stage, i *Illusion) (x diffusion.Images, err error) {
	s.variant.Illusion, s.images = i, i.Keep*i.Groups()
	x = d.ranking.Images.Slice(0, s.images)
	d.noise = nil
	for _, seed := range i.Seeds[:s.images] {
		if g := d.drawn[seed]; g != nil {
			d.noise = append(d.noise, g)
		} else if s.variant.Upscale != nil { // another process has it
			_, err = d.again(*s, i)
			return x, err
		}
	}
	return x, nil
}

// finish draws the best tenth of raced candidates to the end, and ranks them anew.
func (d *drawing) finish(s *stage, i *Illusion) error {
	groups := i.Groups()
	few := *i
	few.Candidates = max(i.Keep, (i.Candidates+9)/10)
	few.Seeds = slices.Clone(i.Seeds[:few.Candidates*groups])
	images, err := d.candidates(*s, few.Seeds, diffusion.Images{})
	if err != nil {
		return err
	}
	if err := d.sort(&few, images, 1); err != nil {
		return err
	}
	i.Seeds = append(few.Seeds, i.Seeds[len(few.Seeds):]...)
	return nil
}

// sort ranks candidates, group by group, and puts their seeds in that order.
func (d *drawing) sort(i *Illusion, images diffusion.Images, round int) error {
	m, err := d.lab.use(d.model)
	if err != nil {
		return err
	}
	groups := i.Groups()
	seeds := slices.Clone(i.Seeds)
	ranking := &Ranking{Images: images.Like(), Keep: i.Keep}
	parts, _ := i.parts()
	for _, p := range parts {
		if p.Picture == nil {
			ranking.Looks = append(ranking.Looks, p.As)
		}
	}
	for g := range groups {
		var own []diffusion.Images
		var ownSeeds []uint64
		for k := g; k < images.N; k += groups {
			own, ownSeeds = append(own, images.Slice(k, k+1)), append(ownSeeds, seeds[k])
		}
		x, err := diffusion.Concat(own...)
		if err != nil {
			return err
		}
		verdicts, prompts, err := d.rank(m, i, g, x, ownSeeds, round)
		if err != nil {
			return err
		}
		order := make([]int, len(verdicts))
		for k := range order {
			order[k] = k
		}
		slices.SortStableFunc(order, func(a, b int) int { return verdicts[a].Compare(verdicts[b]) })
		var sorted []Verdict
		for rank, k := range order {
			sorted = append(sorted, verdicts[k])
			at := rank*groups + g
			i.Seeds[at] = ownSeeds[k]
			copy(ranking.Images.Slice(at, at+1).Data, own[k].Data)
		}
		ranking.Verdicts, ranking.Prompts = append(ranking.Verdicts, sorted), append(ranking.Prompts, prompts)
	}
	d.ranking = ranking
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

// encode asks for what the models take for all prompts and the negative one.
func (d *drawing) encode() error {
	guided := d.Scale() != 1 || d.Upscale != nil && d.Upscale.Scale() != 1 || len(d.Vary) > 0 || d.Illusion != nil
	if d.Negative != "" && !guided {
		return model.Errorf("negative", "it has no meaning without guidance, with γ = 1")
	}
	d.prompts = map[string]model.Prompt{}
	if d.Strip != nil && d.Strip.Forward {
		return nil
	}
	if d.Embeds != "" {
		return d.readEmbeds(guided)
	}
	texts := slices.Clone(d.Prompts)
	if i := d.Illusion; i != nil {
		texts = i.texts()
		if i.Candidates > 0 && len(i.Seeds) == 0 {
			texts = append(texts, i.others(d.model.spec, texts)...)
		}
	}
	if len(texts) == 0 {
		texts = []string{""}
	}
	if guided {
		for _, v := range d.variants {
			texts = append(texts, v.Negative)
		}
	}
	for b := d.Branch; b != nil; b = b.From.Branch {
		texts = append(append(texts, b.From.Prompts...), b.From.Negative)
		if b.From.Illusion != nil {
			texts = append(texts, b.From.Illusion.texts()...)
		}
	}
	slices.Sort(texts)
	texts = slices.Compact(texts)
	m, err := d.lab.use(d.model)
	if err != nil {
		return err
	}
	prompts, err := m.Encode(d.ctx, texts, d.report(Encoding))
	if d.stopped {
		return errStopped
	}
	if err != nil {
		return err
	}
	for i, text := range texts {
		d.prompts[text] = prompts[i]
	}
	return nil
}

// readEmbeds takes the prompts from a file.
func (d *drawing) readEmbeds(guided bool) error {
	if !d.model.spec.Texts {
		return model.Errorf("embeds", "%s reads no texts", d.model.spec.ID)
	}
	all, err := deepfloyd.ReadPrompts(d.Embeds)
	if err != nil {
		return &model.FieldError{Field: "embeds", Err: err}
	}
	if len(d.Prompts) == 0 {
		negative := all.Find(d.Negative)
		for i, text := range all.Texts {
			if !slices.Contains(negative, i) {
				d.Prompts = append(d.Prompts, text)
			}
		}
		if len(d.Prompts) == 0 {
			return inFile("embeds", fmt.Errorf("%s has no prompt but the negative one", d.Embeds))
		}
		if err := d.completeCount(); err != nil {
			return err
		}
	}
	for _, text := range d.Prompts {
		one, err := all.Select(text)
		if err != nil {
			return inFile("embeds", fmt.Errorf("%s: %w", d.Embeds, err))
		}
		d.prompts[text] = model.Prompt{Text: text, Embedding: one}
	}
	if guided {
		for _, v := range d.variants {
			one, err := all.Select(v.Negative)
			if err != nil {
				return inFile("embeds",
					fmt.Errorf("%s, for the negative prompt: %w (without guidance, γ = 1, there is none)", d.Embeds,
						err))
			}
			d.prompts[v.Negative] = model.Prompt{Text: v.Negative, Embedding: one}
		}
	}
	return nil
}

// stage is the part of a drawing that one model does.
type stage struct {
	name    Stage
	variant variant
	model   *opened
	sampler diffusion.Sampler
	how     model.Sampling
	ask     model.Ask
	images  int
	show    []string         // the prompt of each image; an illusion's parts have their own
	small   diffusion.Images // for super-resolution
	until   int              // steps after which what the images are estimated to become is enough; 0: all
	noisy   bool             // after so many, x_t is asked for, and not that estimate
	total   int              // steps of the drawing that this is the beginning of; 0: it is the whole
	first   int              // of the path's moves that is made
	again   diffusion.Images // what is noised to where that begins; none: the start is noise

	share, shares int // the part of the candidates that is drawn, from 0, and how many there are
}

// draw draws with one model. It asks the generator for what diffusers' pipelines ask PyTorch's, in their order: the
// start, the noise of the small images, the noise of each step, all for all images at once.
func (d *drawing) draw(s stage) (x diffusion.Images, err error) {
	m, err := d.lab.use(s.model)
	if err != nil {
		return x, err
	}
	x, known, err := d.begin(s)
	if err != nil {
		return x, err
	}
	s.sampler.Noise = d.noise.source
	if s.small.N > 0 {
		noise := x.Like()
		d.noise.normal(noise)
		if s.ask.Beside, err = m.(model.Upscaler).Beside(s.small, noise, s.ask.Level); err != nil {
			return x, err
		}
	} else {
		s.ask.Level = 0
	}
	s.ask.Guidance, s.ask.Report, s.ask.Away = s.how.Scale(), d.report(s.name), d.prompts[s.variant.Negative]
	denoiser, err := d.denoiser(m, s, x.N)
	if err != nil {
		return x, err
	}
	var held func(iter.Seq2[diffusion.Step, error]) iter.Seq2[diffusion.Step, error]
	if s.variant.Illusion != nil {
		if held, err = d.hold(s, x); err != nil {
			return x, err
		}
	}
	steps := s.sampler.Steps(d.ctx, denoiser, x)
	if known != nil {
		steps = known.Keep(steps)
	}
	if held != nil {
		steps = held(steps)
	}
	for step, err := range steps {
		if d.stopped {
			return x, errStopped
		}
		if err != nil {
			return x, d.stopReason(err)
		}
		x = step.X
		end := step.Index+1 == s.until
		if s.name == Drawing {
			step.Index, step.Total = s.told(step.Index)
		}
		d.send(Event{Stage: s.name, Variant: d.at, Variants: len(d.variants), Step: &Step{step, s.model.spec.Range}})
		if d.stopped {
			return x, errStopped
		}
		if end && !s.noisy {
			return step.X0, nil
		}
		if end {
			return x, nil
		}
	}
	return x, nil
}

// stopReason says what stopped a run, or why it failed.
func (d *drawing) stopReason(err error) error {
	if cause := context.Cause(d.ctx); cause != nil {
		return fmt.Errorf("stopped by %w", cause)
	}
	return err
}

// denoiser binds the model for n images of a stage.
func (d *drawing) denoiser(m model.Model, s stage, n int) (diffusion.Denoiser, error) {
	if i := s.variant.Illusion; i != nil {
		groups := make([]int, n)
		for k := range groups {
			groups[k] = k % i.Groups()
		}
		return d.illude(m, s, s.ask, groups)
	}
	s.ask.Show = nil
	for _, text := range s.show {
		s.ask.Show = append(s.ask.Show, d.prompts[text])
	}
	if len(s.variant.Prompts) <= 1 {
		s.ask.Show = s.ask.Show[:1] // one serves all images
	}
	return m.Bind(d.ctx, s.ask)
}

// begin returns what a stage starts from: noise, or a picture with noise. known is the part of it that stays, if there
// is one.
func (d *drawing) begin(s stage) (x diffusion.Images, known *diffusion.Known, err error) {
	spec, v := s.model.spec, s.variant
	if v.before != nil && s.name == Drawing {
		x, err = d.branch(s)
		return x, nil, err
	}
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
		original = repeated(original, s.images)
	}
	x = diffusion.NewImages(s.images, spec.Channels, height, width)
	d.noise.normal(x)
	if s.again.N > 0 {
		x, err = s.sampler.Start(s.again, x)
		return x, nil, err
	}
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
	known = &diffusion.Known{Process: spec.Process, Images: original, Mask: mask, Noise: d.noise.source,
		Clean: v.Inpaint.Method == Diffusers}
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
