package lab

import (
	"cmp"
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/illusion"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/pretrained"
)

// Illusion is a picture that shows several things: each under a view of it (an anagram) or in a band of it (a hybrid).
type Illusion struct {
	Views   []Part             `json:"views,omitempty"`
	Bands   []Part             `json:"bands,omitempty"`
	Combine illusion.Reduction `json:"combine,omitempty"` // of views' estimates: mean, alternate or rectified
	// how often steps between 20 and 80 % of the path are made ("time travel"); default 1
	Repeats int `json:"repeats,omitempty"`

	// Candidates are drawn, ranked, and the best Keep of them kept. 0: as many as the request's count, not ranked.
	Candidates int `json:"candidates,omitempty"`
	Keep       int `json:"keep,omitempty"`
	// Judge says who ranks them. Empty: the reader with the program's own model of digits, else the model.
	Judge JudgeName `json:"judge,omitempty"`
	// Race: candidates are judged after 40 % of the steps, and only the best tenth is finished.
	Race bool `json:"race,omitempty"`
	// Refine says how often the best quarter of the candidates is noised again, to 60 % of the path, and drawn on, in
	// place of all others. Nil: without a race 8 where the reader ranks, which costs little, else 3 with models of a
	// small vocabulary.
	Refine *int `json:"refine,omitempty"`
	// Seeds are those of all candidates, the best first, once they were ranked: of them the first Keep are drawn again.
	Seeds []uint64 `json:"seeds,omitempty"`
	// Parents has the seeds of refined candidates, and of each the seed of the candidate that it goes on from.
	Parents map[uint64]uint64 `json:"parents,omitempty"`
}

// JudgeName says who ranks candidates.
type JudgeName string

// The judges.
const (
	ByModel  JudgeName = "model"  // the model's own judgement: see [Judge]
	ByReader JudgeName = "reader" // package reader's, of digits
)

// Part is one thing that an illusion shows.
type Part struct {
	As      string   `json:"as"`                // a view or a band; see [illusion.ParseView] and [illusion.ParseBand]
	Prompts []string `json:"prompts,omitempty"` // what is seen so; image n shows the n-th of them, again and again
	Weight  *float64 `json:"weight,omitempty"`  // of its estimate, default 1
	// WeightEnd: the weight goes there in equal steps of the process's time, from Weight at the noise to this at the
	// image.
	WeightEnd *float64 `json:"weight_end,omitempty"`
	Guidance  *float64 `json:"guidance,omitempty"` // default: the request's
	Picture   *Picture `json:"picture,omitempty"`  // of a band: the component stays this picture's
}

// viewGuidance is γ for views by default, with models of digits and the program's own: docs/results.md.
const viewGuidance = 7.0

// parts returns the parts, and whether they are views.
func (i *Illusion) parts() ([]Part, bool) {
	if len(i.Views) > 0 {
		return i.Views, true
	}
	return i.Bands, false
}

// Groups is how many different pictures are asked for: an ambigram's digits.
func (i *Illusion) Groups() int {
	n := 1
	parts, _ := i.parts()
	for _, p := range parts {
		n = max(n, len(p.Prompts))
	}
	return n
}

func (i *Illusion) complete(spec model.Spec, upscaler *opened) error {
	if len(i.Views) > 0 && len(i.Bands) > 0 {
		return model.Errorf("bands", "they can't be asked for beside views")
	}
	parts, views := i.parts()
	field := "bands"
	if views {
		field = "views"
	}
	if len(parts) < 2 || len(parts) > 4 {
		return model.Errorf(field, "expected 2 to 4 of them, found %d", len(parts))
	}
	parts = slices.Clone(parts)
	for k := range parts {
		if err := parts[k].complete(field, views, spec, upscaler); err != nil {
			return err
		}
		if n := len(parts[k].Prompts); n > 0 && n != i.Groups() {
			return model.Errorf(field, "%s has %d prompts and another part %d: expected as many", parts[k].As, n,
				i.Groups())
		}
	}
	if views {
		i.Views = parts
	} else {
		i.Bands = parts
		if err := i.completeBands(spec); err != nil {
			return err
		}
	}
	switch i.Combine {
	case "":
		i.Combine = illusion.Mean
		if !views {
			i.Combine = illusion.Sum
		}
	case illusion.Mean, illusion.Alternate, illusion.Rectified:
		if !views {
			return model.Errorf("combine", "%s is for views; the bands of a hybrid are added", i.Combine)
		}
	case illusion.Sum:
		if views {
			return model.Errorf("combine", "sum is for bands; expected mean, alternate or rectified")
		}
	default:
		return model.Errorf("combine", "expected mean, alternate or rectified, found %q", i.Combine)
	}
	if err := i.checkWeights(parts); err != nil {
		return err
	}
	i.Repeats = cmp.Or(i.Repeats, 1)
	if i.Repeats < 1 || i.Repeats > 100 {
		return model.Errorf("repeats", "expected 1 to 100, found %d", i.Repeats)
	}
	return i.completeCandidates(spec)
}

// checkWeights refuses weights that a path would stumble over.
func (i *Illusion) checkWeights(parts []Part) error {
	var first, last float64
	for _, p := range parts {
		if i.Combine == illusion.Alternate && (p.Weight != nil || p.WeightEnd != nil) {
			return model.Errorf("combine", "parts that alternate have no weights")
		}
		first += orOne(p.Weight)
		last += orOne(cmp.Or(p.WeightEnd, p.Weight))
	}
	if first == 0 || last == 0 {
		return model.Errorf("weights", "all of them are 0 at one end of the path")
	}
	return nil
}

func (i *Illusion) completeCandidates(spec model.Spec) error {
	if i.Candidates < 0 || i.Candidates > 10_000 {
		return model.Errorf("candidates", "expected 1 to 10000, found %d", i.Candidates)
	}
	if i.Candidates == 0 {
		switch {
		case i.Keep != 0 || i.Race:
			return model.Errorf("keep", "it has no meaning without candidates")
		case i.Refine != nil:
			return model.Errorf("refine", "it has no meaning without candidates")
		case i.Judge != "":
			return model.Errorf("judge", "it has no meaning without candidates")
		}
		return nil
	}
	if err := i.completeJudge(spec); err != nil {
		return err
	}
	switch {
	case i.Refine == nil:
		i.Refine = new(int)
		switch {
		case i.Race || len(spec.Vocabulary) == 0:
		case i.Judge == ByReader:
			*i.Refine = readRounds
		default:
			*i.Refine = refineRounds
		}
	case *i.Refine < 0 || *i.Refine > maxRefine:
		return model.Errorf("refine", "expected 0 to %d, found %d", maxRefine, *i.Refine)
	case *i.Refine > 0 && i.Race:
		return model.Errorf("refine", "raced candidates are not refined: expected one of both")
	}
	i.Keep = cmp.Or(i.Keep, 1)
	if i.Keep < 1 || i.Keep > i.Candidates {
		return model.Errorf("keep", "expected 1 to %d, the candidates, found %d", i.Candidates, i.Keep)
	}
	if n := len(i.Seeds); n != 0 && n != i.Candidates*i.Groups() {
		return model.Errorf("seeds", "expected %d, as many as candidates, found %d", i.Candidates*i.Groups(), n)
	}
	return nil
}

func (i *Illusion) completeJudge(spec model.Spec) error {
	if i.Judge == "" {
		i.Judge = ByModel
		if readable(spec) && pretrained.Has(spec.ID) { // other models' classes may be no digits
			i.Judge = ByReader
		}
	}
	switch {
	case i.Judge != ByModel && i.Judge != ByReader:
		return model.Errorf("judge", "expected model or reader, found %q", i.Judge)
	case i.Judge == ByReader && !readable(spec):
		return model.Errorf("judge", "the reader knows digits of 28×28, which %s does not draw: expected model", spec.ID)
	}
	return nil
}

// completeBands checks that the bands are a whole picture.
func (i *Illusion) completeBands(spec model.Spec) error {
	var all []illusion.Band
	free := 0
	for _, p := range i.Bands {
		band, err := illusion.ParseBand(p.As)
		if err != nil {
			return &model.FieldError{Field: "bands", Err: err}
		}
		all = append(all, band)
		if p.Picture == nil {
			free++
		}
	}
	if free == 0 {
		return model.Errorf("bands", "all of them are pictures': there is nothing to draw")
	}
	if err := illusion.Complete(spec.Channels, spec.Height, spec.Width, all...); err != nil {
		return &model.FieldError{Field: "bands", Err: err}
	}
	return nil
}

func (p *Part) complete(field string, view bool, spec model.Spec, upscaler *opened) error {
	specs := []model.Spec{spec}
	if upscaler != nil {
		specs = append(specs, upscaler.spec)
	}
	parsed, err := p.parse(view)
	if err != nil {
		return &model.FieldError{Field: field, Err: err}
	}
	p.As = fmt.Sprint(parsed) // with its parameters
	for _, s := range specs {
		if err := illusion.Fits(parsed, s.Channels, s.Height, s.Width); err != nil {
			return &model.FieldError{Field: field, Err: err}
		}
	}
	if p.Picture != nil {
		if view || len(p.Prompts) > 0 {
			return model.Errorf(field, "%s has a picture; expected one for a band without a prompt only", p.As)
		}
		last := specs[len(specs)-1]
		picture := *p.Picture
		if err := picture.complete(target{last.Channels, last.Height, last.Width, last.SideFactor,
			len(last.Vocabulary) > 0}, nil); err != nil {
			return under(field, err)
		}
		p.Picture = &picture
		return nil
	}
	if len(p.Prompts) == 0 {
		return model.Errorf(field, "%s has no prompt", p.As)
	}
	for _, text := range p.Prompts {
		if err := spec.CheckPrompt(text); err != nil {
			return &model.FieldError{Field: field, Err: fmt.Errorf("%s: %w", p.As, err)}
		}
	}
	if p.WeightEnd == nil && p.Weight != nil && !(*p.Weight > 0) {
		return model.Errorf(field, "the weight of %s is %g, expected a positive number", p.As, *p.Weight)
	}
	for _, w := range []*float64{p.Weight, p.WeightEnd} {
		if w != nil && !(*w >= 0 && *w <= math.MaxFloat32) {
			return model.Errorf(field, "the weight of %s is %g, expected a number from 0", p.As, *w)
		}
	}
	return nil
}

func (p Part) parse(view bool) (any, error) {
	if view {
		return illusion.ParseView(p.As)
	}
	return illusion.ParseBand(p.As)
}

// combine makes the combination's part. The completed text parses. path is that of the drawing.
func (p Part) combine(view bool, denoiser diffusion.Denoiser, path []diffusion.Move) (c illusion.Part, err error) {
	c.Denoiser = denoiser
	if view {
		c.View, err = illusion.ParseView(p.As)
	} else {
		c.Band, err = illusion.ParseBand(p.As)
	}
	if p.Weight != nil {
		weight := float32(*p.Weight)
		c.Weight = func(float64) float32 { return weight }
	}
	if p.WeightEnd != nil && len(path) > 1 {
		c.Weight = illusion.Ramp(float32(orOne(p.Weight)), float32(*p.WeightEnd), path[0].From, path[len(path)-1].From)
	}
	return c, err
}

func orOne(v *float64) float64 {
	if v == nil {
		return 1
	}
	return *v
}

// texts lists the prompts of all parts.
func (i *Illusion) texts() (all []string) {
	parts, _ := i.parts()
	for _, p := range parts {
		all = append(all, p.Prompts...)
	}
	return all
}

// illude binds the model for an illusion of n images; groups says which of the prompts each shows.
func (d *drawing) illude(m model.Model, s stage, ask model.Ask, groups []int) (diffusion.Denoiser, error) {
	i := s.variant.Illusion
	all, views := i.parts()
	var parts []Part // those that the network draws
	for _, p := range all {
		if p.Picture == nil {
			parts = append(parts, p)
		}
	}
	if len(parts) == 1 { // the rest of the picture is held
		return d.bind(m, s, ask, parts, groups)
	}
	c := illusion.Combination{Reduction: i.Combine, Process: s.model.spec.Process,
		Middle: (s.model.spec.Range.Low + s.model.spec.Range.High) / 2}
	apart := i.Combine == illusion.Alternate
	for _, p := range parts {
		apart = apart || p.Guidance != nil
	}
	for _, p := range parts {
		var own diffusion.Denoiser
		if apart {
			var err error
			if own, err = d.bind(m, s, ask, []Part{p}, groups); err != nil {
				return nil, err
			}
		}
		part, err := p.combine(views, own, s.sampler.Path)
		if err != nil {
			return nil, err
		}
		c.Parts = append(c.Parts, part)
	}
	if apart {
		c.Turn = illusion.Turns(s.sampler.Path)
		return c.Denoise, nil
	}
	var err error
	c.Together, err = d.bind(m, s, ask, parts, groups)
	return c.Denoise, err
}

// bind binds the model for images that show the given parts: all of the first part, then all of the second.
func (d *drawing) bind(m model.Model, s stage, ask model.Ask, parts []Part, groups []int) (diffusion.Denoiser, error) {
	var besides []diffusion.Images
	ask.Show = nil
	for _, p := range parts {
		for _, g := range groups {
			ask.Show = append(ask.Show, d.prompts[p.Prompts[g]])
		}
		if p.Guidance != nil {
			ask.Guidance = float32(*p.Guidance)
		}
		beside := ask.Beside
		if view, err := illusion.ParseView(p.As); err == nil && len(s.variant.Illusion.Views) > 0 && beside.N > 0 {
			beside = view.Apply(beside) // the small images are turned as the large ones are
		}
		besides = append(besides, beside)
	}
	var err error
	if ask.Beside.N > 0 {
		if ask.Beside, err = diffusion.Concat(besides...); err != nil {
			return nil, err
		}
	}
	return m.Bind(d.ctx, ask)
}

// hold returns what wraps a run so that components of pictures stay in it, and begins with them.
func (d *drawing) hold(s stage, x diffusion.Images) (func(iter.Seq2[diffusion.Step, error]) iter.Seq2[diffusion.Step,
	error], error) {
	var all []illusion.Held
	for _, p := range s.variant.Illusion.Bands {
		if p.Picture == nil {
			continue
		}
		band, err := illusion.ParseBand(p.As)
		if err != nil {
			return nil, err
		}
		original, err := decodePNG(p.Picture.Data, x.C, x.H, x.W, s.model.spec.Range)
		if err != nil {
			return nil, err
		}
		h := illusion.Held{Process: s.model.spec.Process, Images: repeated(original, x.N), Band: band,
			Noise: d.noise.source}
		if err := h.Replace(x, s.sampler.Path[s.first].From); err != nil {
			return nil, err
		}
		all = append(all, h)
	}
	return func(steps iter.Seq2[diffusion.Step, error]) iter.Seq2[diffusion.Step, error] {
		for _, h := range all {
			steps = h.Keep(steps)
		}
		return steps
	}, nil
}

// Looks returns the ways to look at an illusion that are judged, of one group.
func (i *Illusion) Looks(spec model.Spec, group int) ([]Look, error) {
	parts, views := i.parts()
	var looks []Look
	middle := (spec.Range.Low + spec.Range.High) / 2
	for _, p := range parts {
		if p.Picture != nil {
			continue
		}
		c, err := p.combine(views, nil, nil)
		if err != nil {
			return nil, err
		}
		see := func(x diffusion.Images) diffusion.Images {
			if c.View != nil {
				return shifted(c.View.Apply(shifted(x, -middle)), middle)
			}
			if sees, ok := c.Band.(interface{ Far() bool }); ok && !sees.Far() {
				return x
			}
			if strings.HasPrefix(p.As, "high_pass") || strings.HasPrefix(p.As, "color") {
				return x // which is seen from near, with the rest
			}
			return shifted(c.Band.Filter(shifted(x, -middle)), middle)
		}
		looks = append(looks, Look{Name: p.As, Prompt: p.Prompts[group], See: see})
	}
	return looks, nil
}

func shifted(x diffusion.Images, by float32) diffusion.Images {
	if by == 0 {
		return x
	}
	y := x.Clone()
	for i := range y.Data {
		y.Data[i] += by
	}
	return y
}

// others are prompts that an illusion's looks may be taken for instead of the asked ones.
func (i *Illusion) others(spec model.Spec, asked []string) []string {
	var all []string
	candidates := append(slices.Clone(spec.Vocabulary), i.texts()...)
	if len(spec.Vocabulary) == 0 {
		candidates = append(candidates, "a photo of a face", "an animal", "a landscape", "")
	}
	for _, text := range candidates {
		if !slices.Contains(asked, text) && !slices.Contains(all, text) {
			all = append(all, text)
		}
	}
	return all
}

// Ranking is how the candidates of a request were judged.
type Ranking struct {
	Images   diffusion.Images // all that were finished, the best first, group by group
	Verdicts [][]Verdict      // of each group, the best first
	Prompts  [][]string       // of each group: the columns of its verdicts' matrices
	Looks    []string         // the rows
	Keep     int              // of each group: the result
}

// rank judges candidates and returns the best first. images are those of one group.
func (d *drawing) rank(m model.Model, i *Illusion, group int, images diffusion.Images, seeds []uint64,
	round int) ([]Verdict, []string, error) {
	j, looks, err := d.judge(m, i, group, round)
	if err != nil {
		return nil, nil, err
	}
	told := Judged{Begins: true, Group: group, Images: images, Range: d.model.spec.Range}
	for _, p := range j.Prompts {
		told.Prompts = append(told.Prompts, p.Text)
	}
	for _, look := range looks {
		told.Looks = append(told.Looks, look.Name)
	}
	shown := images.Clone() // as a picture shows them
	for k, v := range shown.Data {
		shown.Data[k] = min(max(v, told.Range.Low), told.Range.High)
	}
	if i.Judge == ByReader {
		verdicts, err := d.readDigits(shown, seeds, looks, told.Prompts)
		if err != nil {
			return nil, nil, err
		}
		i.tellParents(verdicts)
		told.Done, told.Total, told.Verdicts = 1, 1, verdicts
		if d.send(Event{Stage: Judging, Judged: &told}); d.stopped {
			return nil, nil, errStopped
		}
		return verdicts, told.Prompts, nil
	}
	j.Progress = func(done, total int, soFar []Verdict) {
		i.tellParents(soFar)
		now := told
		now.Done, now.Total, now.Verdicts = done, total, soFar
		d.send(Event{Stage: Judging, Judged: &now})
		told.Begins = false
	}
	if d.spread != nil {
		j.together = d.judgeTogether(j, Judgement{Group: group, Round: round})
	}
	verdicts, err := j.Rank(d.ctx, shown, seeds, looks)
	i.tellParents(verdicts)
	if d.stopped {
		return nil, nil, errStopped
	}
	if err != nil {
		return nil, nil, errors.Join(err)
	}
	return verdicts, told.Prompts, nil
}

// judge prepares to judge the candidates of a group, after some rounds.
func (d *drawing) judge(m model.Model, i *Illusion, group, round int) (j Judge, looks []Look, err error) {
	if looks, err = i.Looks(d.model.spec, group); err != nil {
		return j, nil, err
	}
	var asked []string
	for _, look := range looks {
		asked = append(asked, look.Prompt)
	}
	j = Judge{Model: m, Draws: i.drawsAt(round), Seed: uint64(round)}
	for _, text := range append(slices.Clone(asked), i.others(d.model.spec, asked)...) {
		p, ok := d.prompts[text]
		if !ok {
			return j, nil, fmt.Errorf("the prompt %q was not encoded", text)
		}
		j.Prompts = append(j.Prompts, p)
	}
	return j, looks, nil
}
