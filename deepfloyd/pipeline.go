package deepfloyd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/modelfile"
	"github.com/unnoise/unnoise/model"
)

// Options say how a pipeline is opened.
type Options struct {
	ID      string // what people call it; empty: its folder
	Variant string // of the weights; see [weights.OpenFolder]
	DType   dtypes.DType
	Cache   string       // where embeddings are kept; see [TextEncoder]
	Backend string       // what computes, if not onednn; see [TextEncoder]
	Warn    func(string) // told what does not stop the work; may be nil
	Usual   Usual
}

// Usual is how one samples with a folder, where that is not said. What is zero is as diffusers' pipelines have it.
type Usual struct {
	Sampler    string
	Steps      int // of that sampler
	Guidance   float64
	NoiseLevel int
}

// Pipeline is a folder's stage and its text encoder as a model that one can draw with. Text encoder and UNet are not in
// memory at the same time, unless Encode is called after Bind.
type Pipeline struct {
	options Options
	backend compute.Backend
	stage   *Stage
}

var _ model.Upscaler = (*Pipeline)(nil)

// OpenPipeline opens a pipeline's folder. Configurations and weights' headers are checked; weights are not read.
func OpenPipeline(b compute.Backend, dir string, o Options) (*Pipeline, error) {
	stage, err := OpenStage(dir, o.Variant)
	if err != nil {
		return nil, err
	}
	o.ID = cmp.Or(o.ID, dir)
	return &Pipeline{options: o, backend: b, stage: stage}, nil
}

// The samplers of [model.Samplers] by diffusers' names.
var classOf = map[string]string{"ddpm": DDPMScheduler, "ddim": DDIMScheduler, "dpm++": DPMSolverMultistepScheduler}

// Spec describes the pipeline.
func (p *Pipeline) Spec() model.Spec {
	s := p.stage
	shape := s.Shape(1)
	spec := model.Spec{
		ID: p.options.ID, Family: "deepfloyd-if",
		Channels: shape.C, Height: shape.H, Width: shape.W, SideFactor: 1 << (len(s.Config.BlockOutChannels) - 1),
		Range: model.MinusOneToOne, Process: s.Scheduler.Schedule, Prediction: s.Scheduler.Prediction(),
		Texts: true, Guidance: cmp.Or(p.options.Usual.Guidance, 7), LeftOut: s.Index.LeftOut,
	}
	if s.Dir != p.options.ID && !modelfile.IsInProgram(s.Dir) { // the hub's cache has it, by its commit
		spec.Revision = filepath.Base(s.Dir)
	}
	for _, name := range model.Samplers() {
		if class, ok := classOf[name]; !ok || s.checkAs(class) == nil {
			spec.Samplers = append(spec.Samplers, name)
		}
	}
	if s.Noising != nil {
		spec.Upscales, spec.Guidance = true, cmp.Or(p.options.Usual.Guidance, 4)
		if !s.Config.ReadsText() {
			spec.Guidance = 1
		}
		spec.MaxLevel = s.Noising.Schedule.Len() - 1
		spec.NoiseLevel = min(cmp.Or(p.options.Usual.NoiseLevel, 250), spec.MaxLevel)
	}
	if s.weights != nil {
		spec.WeightBytes = int64(s.Config.Parameters() * p.options.DType.Size())
	}
	return spec
}

// own is the name of the folder's own sampler; empty where it is one that this program has not.
func (p *Pipeline) own() string {
	for name, class := range classOf {
		if class == p.stage.Scheduler.Class() {
			return name
		}
	}
	return ""
}

// Plan completes how to sample: with the folder's scheduler by default, 100 steps of ancestral sampling, 50 in
// super-resolution and of the others, as diffusers' pipelines do, or as [Options] say.
func (p *Pipeline) Plan(s model.Sampling) (model.Sampling, diffusion.Sampler, error) {
	s.Sampler = cmp.Or(s.Sampler, p.options.Usual.Sampler, p.own())
	scheduler := p.stage.Scheduler
	if s.Sampler == "" {
		return s, diffusion.Sampler{}, &model.FieldError{Field: "sampler", Err: scheduler.Check()}
	}
	if class, ok := classOf[s.Sampler]; ok && class != scheduler.Class() {
		var err error
		if scheduler, err = p.stage.as(class); err != nil {
			return s, diffusion.Sampler{}, &model.FieldError{Field: "sampler", Err: err}
		}
	}
	list, s, err := p.timesteps(scheduler, s)
	if err != nil {
		return s, diffusion.Sampler{}, err
	}
	given := s.Steps
	s.Steps = min(len(list), scheduler.Schedule.Len())
	s, sampler, err := model.Plan(p.Spec(), s, "")
	s.Steps = given
	if err != nil {
		return s, sampler, err
	}
	if _, ok := classOf[s.Sampler]; !ok { // a solver that the folder knows nothing of
		sampler.Clip = p.stage.Scheduler.Clip
		if s.Timesteps != "" {
			sampler.Path = diffusion.Visit(list...)
		}
		return s, sampler, nil
	}
	method := sampler.Method
	sampler = scheduler.Sampler(list, nil)
	if s.Sampler == "ddim" { // with eta
		sampler.Method = method
	}
	return s, sampler, nil
}

// timesteps returns those that a scheduler visits, and completes the number of steps if it is not given.
func (p *Pipeline) timesteps(scheduler *Scheduler, s model.Sampling) ([]int, model.Sampling, error) {
	if s.Timesteps != "" {
		list, err := NamedTimesteps(s.Timesteps)
		if err != nil {
			return nil, s, &model.FieldError{Field: "timesteps", Err: err}
		}
		if last := scheduler.Schedule.Len() - 1; list[0] > last {
			return nil, s, model.Errorf("timesteps", "%s begins at %d, and the schedule of %s ends at %d", s.Timesteps,
				list[0], p.options.ID, last)
		}
		if s.Steps != 0 {
			return nil, s, model.Errorf("steps", "they can't be given with timesteps")
		}
		return list, s, nil
	}
	usual := s.Steps == 0
	if usual {
		s.Steps = 50
		switch u := p.options.Usual; {
		case u.Steps > 0 && s.Sampler == u.Sampler:
			s.Steps = u.Steps
		case s.Sampler == "ddpm" && p.stage.Noising == nil:
			s.Steps = 100
		}
		s.Steps = min(s.Steps, scheduler.Schedule.Len())
	}
	list, err := scheduler.Timesteps(s.Steps)
	for usual && err != nil && s.Steps > 1 { // schedules may be too short for as many
		s.Steps--
		list, err = scheduler.Timesteps(s.Steps)
	}
	if err != nil {
		return nil, s, &model.FieldError{Field: "steps", Err: err}
	}
	return list, s, nil
}

// Encode reads texts with the folder's text encoder.
func (p *Pipeline) Encode(ctx context.Context, texts []string, report model.Report) ([]model.Prompt, error) {
	e := TextEncoder{Dir: p.stage.Dir, Variant: p.options.Variant, DType: p.options.DType, Cache: p.options.Cache,
		Backend: p.options.Backend, Warn: p.options.Warn}
	if report != nil {
		e.Progress = func(done, total int) { report(filepath.Join(p.stage.Dir, "text_encoder"), done, total) }
	}
	all, err := e.Encode(ctx, p.backend, texts...)
	if err != nil {
		return nil, err
	}
	var prompts []model.Prompt
	for _, text := range texts {
		one, err := all.Select(text)
		if err != nil {
			return nil, err
		}
		prompts = append(prompts, model.Prompt{Text: text, Embedding: one})
	}
	return prompts, nil
}

// Bind loads the UNet.
func (p *Pipeline) Bind(_ context.Context, ask model.Ask) (diffusion.Denoiser, error) {
	condition := unet.Condition{Beside: ask.Beside, Class: ask.Level}
	var away model.Embeddings
	if p.stage.Config.ReadsText() {
		var err error
		if condition.Text, err = p.texts(ask.Show); err != nil {
			return nil, err
		}
		if ask.Guidance != 1 {
			if away, err = p.texts([]model.Prompt{ask.Away}); err != nil {
				return nil, fmt.Errorf("the negative prompt: %w", err)
			}
		}
	}
	switch upscales := p.stage.Noising != nil; {
	case upscales && ask.Beside.N == 0:
		return nil, errors.New("the stage enlarges images: expected small ones, found none")
	case !upscales && ask.Beside.N != 0:
		return nil, errors.New("the stage draws from a text alone, and got small images")
	}
	if p.stage.UNet == nil {
		p.stage.Progress = nil
		if ask.Report != nil {
			p.stage.Progress = func(done, total int) { ask.Report(p.stage.Dir, done, total) }
		}
		if err := p.stage.Load(p.backend, p.options.DType); err != nil {
			return nil, err
		}
	}
	shape := p.stage.Shape(1)
	p.stage.UNet.Batch = cmp.Or(ask.Batch, max(2, 16*64*64/max(shape.H*shape.W, 1)))
	return p.stage.UNet.GuidedDenoiser(condition, away, ask.Guidance), nil
}

// texts joins the embeddings of prompts.
func (p *Pipeline) texts(prompts []model.Prompt) (all model.Embeddings, err error) {
	for i, prompt := range prompts {
		e := prompt.Embedding
		if e.N != 1 {
			return all, fmt.Errorf("the prompt %q has no embeddings: encode it first", prompt.Text)
		}
		if want := p.stage.Config.TextDim(); e.Dim != want {
			return all, fmt.Errorf("the prompts' embeddings have %d numbers a token, and the UNet of %s takes %d: "+
				"are they another text encoder's?", e.Dim, p.stage.Dir, want)
		}
		if i > 0 && e.Tokens != all.Tokens {
			return all, fmt.Errorf("the embeddings of the prompt %q are of %d tokens and those of %q of %d, expected "+
				"the same", prompt.Text, e.Tokens, prompts[0].Text, all.Tokens)
		}
		all.Tokens, all.Dim = e.Tokens, e.Dim
		all.N++
	}
	if all.N == 1 {
		all.Data = prompts[0].Embedding.Data
		return all, nil
	}
	all.Data = make([]float32, 0, all.N*all.Tokens*all.Dim)
	for _, prompt := range prompts {
		all.Data = append(all.Data, prompt.Embedding.Data...)
	}
	return all, nil
}

// Beside is [Stage.Beside].
func (p *Pipeline) Beside(small, noise diffusion.Images, level int) (diffusion.Images, error) {
	return p.stage.Beside(small, noise, level)
}

// Close releases the UNet.
func (p *Pipeline) Close() { p.stage.Close() }
