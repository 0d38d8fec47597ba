// Package lab draws: a [Request] goes in, [Event]s come out. It owns what computes and what is in memory, and knows no
// flags, no terminal and no HTTP. The command line, pages, evaluations and servers draw through it.
package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/onednn"
	"github.com/unnoise/unnoise/pretrained"
	"github.com/unnoise/unnoise/reader"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/training"
)

// Options say what computes.
type Options struct {
	Backend string   // for requests that name none; empty: onednn
	Threads int      // of onednn; 0: one for each CPU
	Without []string // optimizations of onednn to leave out
	NoCache bool     // keep no embeddings of prompts in the cache folder
}

// Lab draws requests, one at a time. It is safe for concurrent use.
type Lab struct {
	options  Options
	turn     chan struct{} // holds one token
	engines  map[engineKey]*computer
	models   []*opened // in memory, the last used at the end
	warnings func(string)
	untold   []string // warnings of before there was somebody to tell
}

type engineKey struct {
	backend string
	exact   bool // sums in the order that PyTorch has them in
}

// computer is what computes, with what is known of it.
type computer struct {
	compute.Backend
	info   engine.Info
	reader *reader.Reader // nil before it is needed
}

// opened is a model that was opened. Its memory may have been needed for another since.
type opened struct {
	modelKey
	model  model.Model
	spec   model.Spec
	closed bool
}

type modelKey struct {
	name, variant string
	engine        engineKey
	dtype         dtypes.DType
}

// New makes a lab. Nothing is started before it is needed.
func New(o Options) *Lab {
	l := &Lab{options: o, turn: make(chan struct{}, 1), engines: map[engineKey]*computer{}}
	l.turn <- struct{}{}
	return l
}

// Close releases everything. It waits for the drawing in progress.
func (l *Lab) Close() {
	<-l.turn
	defer func() { l.turn <- struct{}{} }()
	for _, m := range l.models {
		m.model.Close()
	}
	l.models = nil
	for _, c := range l.engines {
		if c.reader != nil {
			c.reader.Close()
		}
		c.Finalize()
	}
	clear(l.engines)
}

// engine starts what computes, once.
func (l *Lab) engine(key engineKey) (*computer, error) {
	if c := l.engines[key]; c != nil {
		return c, nil
	}
	without := l.options.Without
	if key.exact && key.backend == "" {
		without = append(slices.Clone(without), "winograd")
	}
	b, info, err := engine.New(engine.Options{Backend: key.backend, Threads: l.options.Threads, Without: without})
	if errors.Is(err, engine.ErrUnknown) {
		return nil, &model.FieldError{Field: "backend", Err: err}
	}
	if err != nil {
		return nil, err
	}
	if w := info.Warning(); w != "" && len(l.engines) == 0 {
		l.warn(w)
	}
	c := &computer{Backend: b, info: info}
	l.engines[key] = c
	return c, nil
}

func (l *Lab) warn(text string) {
	if l.warnings == nil {
		l.untold = append(l.untold, text)
		return
	}
	l.warnings(text)
}

// smallModels is how many bytes of weights are kept in memory beside the model that draws.
const smallModels = 512 << 20

// open opens a model, or returns the one that is open.
func (l *Lab) open(key modelKey) (*opened, error) {
	if i := slices.IndexFunc(l.models, func(o *opened) bool { return o.modelKey == key && !o.closed }); i >= 0 {
		o := l.models[i]
		l.models = append(slices.Delete(l.models, i, i+1), o)
		return o, nil
	}
	c, err := l.engine(key.engine)
	if err != nil {
		return nil, err
	}
	options := registry.Options{Backend: c.Backend, BackendName: key.engine.backend, DType: key.dtype,
		Variant: key.variant, Warn: l.warn}
	if !l.options.NoCache {
		if options.Embeddings, err = deepfloyd.CacheDir(); err != nil {
			l.warn(fmt.Sprintf("%v; embeddings of prompts are not kept", err))
		}
	}
	m, err := registry.Open(key.name, options)
	if err != nil {
		return nil, inFile("model", err)
	}
	o := &opened{modelKey: key, model: m, spec: m.Spec()}
	l.models = append(l.models, o)
	return o, nil
}

// use returns a model whose weights may be read: others that would not fit beside it are closed, the longest unused
// first.
func (l *Lab) use(o *opened) (model.Model, error) {
	if l == nil { // the model is the caller's
		return o.model, nil
	}
	if o.closed {
		again, err := l.open(o.modelKey)
		if err != nil {
			return nil, err
		}
		*o = *again
	}
	total := o.spec.WeightBytes
	for i := len(l.models) - 1; i >= 0; i-- {
		other := l.models[i]
		if other.model == o.model {
			continue
		}
		if total += other.spec.WeightBytes; total > smallModels {
			other.model.Close()
			other.closed = true
			l.models = slices.Delete(l.models, i, i+1)
			debug.FreeOSMemory() // gigabytes, which the collector would leave until as many more are asked for
		}
	}
	return o.model, nil
}

// plan is a completed request with what it opened.
type plan struct {
	Request
	model, upscaler *opened
	key             modelKey // of the model
	variants        []variant
}

// variant is one of the drawings that a request stands for.
type variant struct {
	Request
	sampler, larger diffusion.Sampler
	before          *variant // that it goes on from
}

// guided reports whether there is anything that a negative prompt is for.
func (v variant) guided() bool { return v.Scale() != 1 || v.Upscale != nil && v.Upscale.Scale() != 1 }

// Outline is what is known of a request before it is drawn.
type Outline struct {
	Request     Request      // completed
	Specs       []model.Spec // of the model that draws and, where there is one, of the one that enlarges
	Images      int          // that are drawn, of all variants
	Evaluations int          // of networks, for each image
	Steps       int          // of the longest path
	Repeated    bool         // steps are made again, so that there are many more evaluations than steps
}

// GoRound completes the prompts of a request for total images that go round the classes of its model: all of them, or
// those given. 0: ten rounds, or 40 images of a model without classes.
func (l *Lab) GoRound(r Request, classes []string, total int) (Request, error) {
	<-l.turn
	defer func() { l.turn <- struct{}{} }()
	key, err := l.keyOf(&r)
	if err != nil {
		return r, err
	}
	o, err := l.open(key)
	if err != nil {
		return r, err
	}
	if len(classes) > 0 && !slices.Equal(classes, []string{"all"}) {
		r.Prompts = classes
	} else if r.Prompts = slices.Clone(o.spec.Vocabulary); len(r.Prompts) == 0 {
		r.Count = cmp.Or(total, 40)
		return r, nil
	}
	k := len(r.Prompts)
	total = cmp.Or(total, 10*k)
	r.Order, r.Count = InRounds, total/k
	if total%k != 0 { // the last round is not whole: name each image's
		round := r.Prompts
		r.Prompts, r.Count = nil, 1
		for i := range total {
			r.Prompts = append(r.Prompts, round[i%k])
		}
	}
	return r, nil
}

// Encode encodes the prompts of requests of one model, so that their embeddings lie in the cache: a text encoder may be
// too large to be read for each request again.
func (l *Lab) Encode(ctx context.Context, requests []Request, report model.Report) error {
	<-l.turn
	defer func() { l.turn <- struct{}{} }()
	var texts []string
	var m *opened
	for _, r := range requests {
		key, err := l.keyOf(&r)
		if err == nil {
			m, err = l.open(key)
		}
		if err != nil {
			return err
		}
		texts = append(append(texts, r.Prompts...), r.Negative)
	}
	if m == nil || !m.spec.Texts || l.options.NoCache {
		return nil
	}
	used, err := l.use(m)
	if err != nil {
		return err
	}
	slices.Sort(texts)
	_, err = used.Encode(ctx, slices.Compact(texts), report)
	return err
}

// Complete fills in every field of a request, and refuses what can't be drawn before anything takes long.
func (l *Lab) Complete(r Request) (Outline, error) {
	<-l.turn
	defer func() { l.turn <- struct{}{} }()
	p, err := l.complete(r)
	if err != nil {
		return Outline{}, err
	}
	return p.outline(), nil
}

func (p plan) outline() Outline {
	o := Outline{Request: p.Request, Specs: []model.Spec{p.model.spec}, Images: len(p.variants) * p.Request.Images()}
	r := p.Request
	o.Repeated = r.Inpaint != nil && r.Inpaint.Method == RePaint || r.Illusion != nil && r.Illusion.Repeats > 1
	if p.upscaler != nil {
		o.Specs = append(o.Specs, p.upscaler.spec)
	}
	for _, v := range p.variants {
		o.Evaluations += evaluations(v.sampler, v.Sampling)
		for b := v.before; b != nil; b = b.before {
			o.Evaluations += evaluations(b.sampler, b.Sampling)
		}
		o.Steps = max(o.Steps, len(v.sampler.Path), len(v.larger.Path))
		if v.Upscale != nil {
			o.Evaluations += evaluations(v.larger, v.Upscale.Sampling)
		}
	}
	return o
}

// keyOf completes what a request says of what computes, and returns what its model is opened by.
func (l *Lab) keyOf(r *Request) (modelKey, error) {
	r.Backend = cmp.Or(r.Backend, l.options.Backend)
	if r.Backend == onednn.BackendName {
		r.Backend = ""
	}
	key := modelKey{name: r.Model, variant: r.Variant, engine: engineKey{backend: r.Backend}}
	var err error
	if key.dtype, err = engine.DType(cmp.Or(r.DType, "auto"), r.Backend); err != nil {
		return key, &model.FieldError{Field: "dtype", Err: err}
	}
	r.DType = engine.Name(key.dtype)
	place, err := registry.Find(r.Model)
	if err != nil {
		return key, inFile("model", err)
	}
	// Who asks for float32 wants diffusers' picture: many steps magnify what other sums round.
	key.engine.exact = place.Kind == registry.Pipeline && !place.InProgram() && key.dtype == dtypes.Float32
	return key, nil
}

func (l *Lab) complete(r Request) (p plan, err error) {
	if err := r.completeVersion(); err != nil {
		return p, err
	}
	if p.key, err = l.keyOf(&r); err != nil {
		return p, err
	}
	if p.model, err = l.open(p.key); err != nil {
		return p, err
	}
	if r.Upscale != nil {
		key := p.key
		key.name, key.variant = r.Upscale.Model, r.Upscale.Variant
		if p.upscaler, err = l.open(key); err != nil {
			return p, under("upscale", err)
		}
	}
	return p, p.fill(r)
}

// fill completes the request and its variants for the models that were opened.
func (p *plan) fill(r Request) error {
	base, err := p.completeOne(r)
	if err != nil {
		return err
	}
	p.Request = base.Request
	all, err := p.Request.variants()
	if err != nil {
		return err
	}
	for _, one := range all {
		v, err := p.completeOne(one)
		if err != nil {
			return err
		}
		p.variants = append(p.variants, v)
	}
	if r.Negative != "" && !slices.ContainsFunc(p.variants, variant.guided) {
		return model.Errorf("negative", "it has no meaning without guidance, with γ = 1")
	}
	return nil
}

// completeOne fills in what depends on the models.
func (p *plan) completeOne(r Request) (v variant, err error) {
	spec := p.model.spec
	if spec.Upscales {
		return v, model.Errorf("model",
			"%s is a stage of super-resolution: expected it as upscale, and a first stage as model", spec.ID)
	}
	if r.Model, r.Revision, err = identify(spec, r.Revision); err != nil {
		return v, err
	}
	if r.Seed == nil {
		seed := uint64(rand.Uint32())
		r.Seed = &seed
	}
	if err := r.completePrompts(spec); err != nil {
		return v, err
	}
	if r.Illusion != nil {
		i := *r.Illusion
		if err := i.complete(spec, p.upscaler); err != nil {
			return v, err
		}
		r.Illusion = &i
	}
	if err := r.completeCount(); err != nil {
		return v, err
	}
	if r.Illusion != nil && r.Guidance == nil && len(r.Illusion.Views) > 0 &&
		(len(spec.Vocabulary) > 0 || pretrained.Has(spec.ID)) {
		guidance := viewGuidance
		r.Guidance = &guidance
	}
	if r.Sampling, v.sampler, err = p.model.model.Plan(r.Sampling); err != nil {
		return v, err
	}
	if r.Upscale != nil {
		u := *r.Upscale
		if v.larger, err = completeUpscale(&u, p.upscaler, spec); err != nil {
			return v, under("upscale", err)
		}
		r.Upscale = &u
	}
	if err := p.completePictures(&r, &v); err != nil {
		return v, err
	}
	v.Request = r
	return v, nil
}

// completePictures completes the techniques that begin with a picture.
func (p *plan) completePictures(r *Request, v *variant) (err error) {
	if countTrue(r.Edit != nil, r.Inpaint != nil, r.Illusion != nil, r.Strip != nil) > 1 {
		return model.Errorf("inpaint", "expected one of an edit, an inpainting, an illusion and a strip, found more")
	}
	if r.Branch != nil {
		if err := p.completeBranch(r, v); err != nil {
			return under("branch", err)
		}
	}
	if r.Strip != nil {
		s := *r.Strip
		switch {
		case len(r.Vary) > 0:
			return model.Errorf("vary", "a strip has its rows already")
		case r.Upscale != nil:
			return model.Errorf("upscale", "a strip shows the process of one model")
		}
		if err := s.complete(p.model.spec, v.sampler.Path); err != nil {
			return under("strip", err)
		}
		r.Strip = &s
		return nil
	}
	if i := r.Illusion; i != nil {
		if i.Candidates > 0 && len(r.Vary) > 0 {
			return model.Errorf("vary", "candidates are ranked, not set side by side; expected one of both")
		}
		if i.Repeats > 1 {
			for _, s := range []*diffusion.Sampler{&v.sampler, &v.larger} {
				if s.Path == nil {
					continue
				}
				if s.Path, err = diffusion.Resample(s.Path, 1, i.Repeats, 0.2, 0.8); err != nil {
					return model.Errorf("repeats", "%w", err)
				}
			}
		}
		return nil
	}
	last := p.model.spec
	if p.upscaler != nil {
		last = p.upscaler.spec
	}
	t := target{last.Channels, last.Height, last.Width, last.SideFactor, len(last.Vocabulary) > 0 && last.Channels == 1}
	if p.upscaler != nil { // the small images' sides must be whole too
		t.step = p.model.spec.SideFactor * last.Height / p.model.spec.Height
	}
	switch {
	case r.Edit != nil:
		e := *r.Edit
		if err := e.complete(t, len(v.sampler.Path)); err != nil {
			return under("edit", err)
		}
		r.Edit = &e
		v.sampler = v.sampler.From(*e.Start)
	case r.Inpaint != nil:
		f := *r.Inpaint
		if err := f.complete(t); err != nil {
			return under("inpaint", err)
		}
		r.Inpaint = &f
		if f.Method == RePaint {
			for _, s := range []*diffusion.Sampler{&v.sampler, &v.larger} {
				if s.Path == nil {
					continue
				}
				if s.Path, err = diffusion.Resample(s.Path, f.Length, f.Repeats, 0, 1); err != nil {
					return model.Errorf("inpaint.repeats", "%w", err)
				}
			}
		}
	}
	return nil
}

func completeUpscale(u *Upscale, o *opened, small model.Spec) (sampler diffusion.Sampler, err error) {
	spec := o.spec
	if !spec.Upscales {
		return sampler, model.Errorf("model", "%s draws from a text alone: expected a stage of super-resolution",
			spec.ID)
	}
	if spec.Channels != small.Channels || spec.Range != small.Range {
		return sampler, model.Errorf("model", "%s enlarges images of %d channels, and %s draws ones of %d", spec.ID,
			spec.Channels, small.ID, small.Channels)
	}
	if u.Model, u.Revision, err = identify(spec, u.Revision); err != nil {
		return sampler, err
	}
	if u.NoiseLevel == nil {
		level := spec.NoiseLevel
		u.NoiseLevel = &level
	}
	if *u.NoiseLevel < 0 || *u.NoiseLevel > spec.MaxLevel {
		return sampler, model.Errorf("noise_level",
			"expected at most %d, the last timestep of the image_noising_scheduler, found %d", spec.MaxLevel,
			*u.NoiseLevel)
	}
	u.Sampling, sampler, err = o.model.Plan(u.Sampling)
	return sampler, err
}

// identify returns what a recipe calls a model, which must be of the revision that the recipe asks for.
func identify(spec model.Spec, revision string) (id, found string, err error) {
	switch {
	case revision == "" || spec.Revision == "" || revision == spec.Revision:
	case training.IsRun(spec.ID):
		return "", "", model.Errorf("revision", "the picture was drawn with %s of the run %s, which has come to %s: to "+
			"draw with that, name the model again, or leave revision out", revision, spec.ID, spec.Revision)
	default:
		return "", "", model.Errorf("revision", "expected the commit %s of %s, found %s in the hub's cache", revision,
			spec.ID, spec.Revision)
	}
	return spec.ID, spec.Revision, nil
}
