package lab

import (
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
)

// Branch goes on from a moment of another drawing: with other prompts, another seed or another sampler. That drawing is
// made again up to there, so that a recipe needs no other file.
//
// Where the seed and the number of images are those of the other drawing, its noise goes on too: a branch that changes
// nothing comes to the same images, but for samplers that remember estimates of earlier steps.
type Branch struct {
	From Request `json:"from"` // the recipe of the other drawing
	At   int     `json:"at"`   // steps of it that are made
	// one of its images, from 0, that all images go on from; else there are as many images as it has
	Image *int `json:"image,omitempty"`
}

// mostBranches bounds how many drawings go on from another.
const mostBranches = 8

// completeBranch settles what a variant goes on from, and its own path from there.
func (p *plan) completeBranch(r *Request, v *variant) error {
	b := *r.Branch
	for depth := 0; b.From.Branch != nil && b.At <= b.From.Branch.At; depth++ { // of the one before that
		if b.From.Branch.Image != nil {
			b.Image = b.From.Branch.Image
		}
		b.From = b.From.Branch.From
		if depth > mostBranches {
			return model.Errorf("from", "expected at most %d branches of branches", mostBranches)
		}
	}
	f := &b.From
	f.Upscale = nil
	switch {
	case r.Edit != nil || r.Inpaint != nil || r.Strip != nil:
		return model.Errorf("from", "a branch begins with no other picture: expected no edit, inpainting or strip")
	case r.Illusion != nil && r.Illusion.Candidates > 0, f.Illusion != nil && f.Illusion.Candidates > 0:
		return model.Errorf("from", "expected an illusion without candidates: one of them that was not refined is "+
			"drawn alone by its own seed, and refined ones can't be gone on from")
	case f.Strip != nil || len(f.Vary) > 0:
		return model.Errorf("from", "expected a drawing, found a strip or several side by side")
	case r.branches() > mostBranches:
		return model.Errorf("from", "expected at most %d branches of branches", mostBranches)
	case f.Model != r.Model && f.Model != p.key.name && f.Model != "":
		return model.Errorf("from.model", "expected %s, which the branch is drawn with, found %s", r.Model, f.Model)
	}
	f.Version, f.Model, f.Backend, f.DType = r.Version, r.Model, r.Backend, r.DType
	before, err := p.completeOne(*f)
	if err != nil {
		return under("from", err)
	}
	b.From = before.Request
	if n := before.made() + len(before.moves()); b.At < 1 || b.At >= n {
		return model.Errorf("at", "expected 1 to %d, the steps before the last one, found %d", n-1, b.At)
	}
	switch n := b.From.Images(); {
	case b.Image != nil && (*b.Image < 0 || *b.Image >= n):
		return model.Errorf("image", "expected 0 to %d, found %d", n-1, *b.Image)
	case b.Image == nil && n == 1:
		b.Image = new(int)
	case b.Image == nil && n != r.Images():
		return model.Errorf("image", "the drawing has %d images and the branch %d: expected as many, or one of them", n,
			r.Images())
	}
	t := before.moves()[b.At-before.made()-1].To
	if v.sampler.Path = rest(p.model.spec.Process, v.sampler.Path, t); len(v.sampler.Path) == 0 {
		return model.Errorf("at", "the path of the branch has no step after time %g", t)
	}
	v.before, r.Branch = &before, &b
	return nil
}

// branches is how many drawings go on from another.
func (r Request) branches() (n int) {
	for b := r.Branch; b != nil; b = b.From.Branch {
		n++
	}
	return n
}

// made is how many steps a variant leaves to the drawing that it goes on from.
func (v variant) made() int {
	if v.Branch == nil {
		return 0
	}
	return v.Branch.At
}

// moves are those of the steps that a variant makes itself.
func (v variant) moves() []diffusion.Move {
	if v.Edit != nil {
		return v.sampler.Path[*v.Edit.Start:]
	}
	return v.sampler.Path
}

// branch draws what a stage goes on from.
func (d *drawing) branch(s stage) (diffusion.Images, error) {
	b, before := s.variant.Branch, s.variant.before
	d.noise = seeded(*before.Seed)
	first := stage{name: Drawing, variant: *before, model: s.model, sampler: before.sampler, how: before.Sampling,
		images: before.Images(), ask: model.Ask{Batch: before.Batch}, until: b.At - before.made(), noisy: true,
		total: s.steps()}
	for k := range first.images {
		first.show = append(first.show, before.PromptOf(k))
	}
	x, err := d.draw(first)
	if err != nil {
		return x, err
	}
	if *before.Seed != *s.variant.Seed || before.Images() != s.images {
		d.noise = seeded(*s.variant.Seed)
	}
	if b.Image != nil {
		x = repeated(x.Slice(*b.Image, *b.Image+1), s.images)
	}
	return x, nil
}

// steps is how many a stage has, with those that were made before it.
func (s stage) steps() int {
	if s.total > 0 {
		return s.total
	}
	return s.variant.made() + len(s.variant.moves())
}

// told returns a step's place among all that are made, and how many these are: of candidates, each share's.
func (s stage) told(index int) (at, total int) {
	n := s.steps()
	if s.shares <= 1 {
		return s.variant.made() + index, n
	}
	if s.until > 0 {
		n = s.until
	}
	return s.share*n + index, s.shares * n
}
