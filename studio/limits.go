package studio

import (
	"bytes"
	"image"
	"math"
	"regexp"

	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
)

// Limits bound what one request may ask for.
var Limits = struct {
	Body        int64 // bytes
	Prompts     int   // of a request, or of a part of an illusion
	Text        int   // bytes of a prompt
	Images      int   // drawn for one job, candidates counted too
	Evaluations int   // of the network for each of them
	Pixels      int   // of a picture that is sent
	Queue       int   // waiting jobs
	Sets        int   // of pictures that are sent to be trained on
	SetPictures int   // in one of them
}{Body: 24 << 20, Prompts: 64, Text: 4000, Images: 64, Evaluations: 4000, Pixels: 16_000_000, Queue: 32,
	Sets: 16, SetPictures: 5000}

var variantName = regexp.MustCompile(`^[A-Za-z0-9]*$`)

// check refuses what a request may not ask for, before anything is opened or decoded for it.
func (s *Studio) check(r lab.Request) error { return s.checkAt(r, 0) }

// maxRefine bounds how often candidates are drawn on.
const maxRefine = 10

// mostGuidance bounds guidance, which the network's numbers would run over at.
const mostGuidance = 1000.0

// mostBranches bounds how many drawings go on from another.
const mostBranches = 8

func (s *Studio) checkAt(r lab.Request, depth int) error {
	name := func(field, name string) error {
		if _, ok := s.models.path(name); !ok {
			return model.Errorf(field, "%q is no model of this studio; see /api/models", name)
		}
		return nil
	}
	if depth == 0 || r.Model != "" { // a branch's other drawing is the same model's
		if err := name("model", r.Model); err != nil {
			return err
		}
	}
	if r.Upscale != nil {
		if err := name("upscale.model", r.Upscale.Model); err != nil {
			return err
		}
		if !variantName.MatchString(r.Upscale.Variant) {
			return model.Errorf("upscale.variant", "expected letters and digits, found %q", r.Upscale.Variant)
		}
	}
	switch {
	case r.Embeds != "":
		return model.Errorf("embeds", "a studio opens no files by name")
	case r.Backend != s.options.Lab.Backend && r.Backend != "":
		return model.Errorf("backend", "expected the studio's own, found %q", r.Backend)
	case !variantName.MatchString(r.Variant):
		return model.Errorf("variant", "expected letters and digits, found %q", r.Variant)
	case r.Batch < 0 || r.Batch > Limits.Images:
		return model.Errorf("batch", "expected at most %d, found %d", Limits.Images, r.Batch)
	case r.Count > Limits.Images:
		return model.Errorf("count", "expected at most %d, found %d", Limits.Images, r.Count)
	}
	if g := r.Guidance; g != nil && math.Abs(*g) > mostGuidance {
		return model.Errorf("guidance", "expected at most %g, found %g", mostGuidance, *g)
	}
	if err := checkTexts("prompts", r.Prompts); err != nil {
		return err
	}
	if err := checkTexts("negative", []string{r.Negative}); err != nil {
		return err
	}
	if err := checkVary(r.Vary); err != nil {
		return err
	}
	if b := r.Branch; b != nil {
		if depth > mostBranches {
			return model.Errorf("branch", "expected at most %d branches of branches", mostBranches)
		}
		if err := s.checkAt(b.From, depth+1); err != nil {
			return model.Errorf("branch.from", "%w", err)
		}
	}
	return checkTechniques(r)
}

func checkTexts(field string, texts []string) error {
	if len(texts) > Limits.Prompts {
		return model.Errorf(field, "expected at most %d, found %d", Limits.Prompts, len(texts))
	}
	for _, text := range texts {
		if len(text) > Limits.Text {
			return model.Errorf(field, "expected at most %d bytes of text, found %d", Limits.Text, len(text))
		}
	}
	return nil
}

func checkVary(all []lab.Vary) error {
	n := 1
	for _, v := range all {
		if n *= max(len(v.Values), 1); n > Limits.Images {
			return model.Errorf("vary", "expected at most %d combinations", Limits.Images)
		}
		if err := checkTexts("vary", v.Values); err != nil {
			return err
		}
	}
	return nil
}

// checkTechniques looks at what an edit, an inpainting or an illusion brings along.
func checkTechniques(r lab.Request) error {
	if r.Strip != nil {
		if err := checkPicture("strip.picture", r.Strip.Picture.Data); err != nil {
			return err
		}
	}
	if r.Edit != nil {
		if err := checkPicture("edit.picture", r.Edit.Picture.Data); err != nil {
			return err
		}
	}
	if r.Inpaint != nil {
		if err := checkPicture("inpaint.picture", r.Inpaint.Picture.Data); err != nil {
			return err
		}
		if len(r.Inpaint.Mask.Data) > 0 {
			if err := checkPicture("inpaint.mask", r.Inpaint.Mask.Data); err != nil {
				return err
			}
		}
	}
	i := r.Illusion
	if i == nil {
		return nil
	}
	if len(i.Views)+len(i.Bands) > 4 {
		return model.Errorf("illusion", "expected 2 to 4 views or bands, found %d", len(i.Views)+len(i.Bands))
	}
	groups := 1
	for _, parts := range [][]lab.Part{i.Views, i.Bands} {
		for _, p := range parts {
			groups = max(groups, len(p.Prompts))
			if err := checkTexts("illusion", append(p.Prompts, p.As)); err != nil {
				return err
			}
			if p.Picture != nil {
				if err := checkPicture("illusion", p.Picture.Data); err != nil {
					return err
				}
			}
		}
	}
	if r := i.Refine; r != nil && (*r < 0 || *r > maxRefine) {
		return model.Errorf("illusion.refine", "expected 0 to %d, found %d", maxRefine, *r)
	}
	if i.Candidates*groups > Limits.Images || i.Candidates < 0 {
		return model.Errorf("illusion.candidates", "expected at most %d, found %d for each of %d pictures",
			Limits.Images/groups, i.Candidates, groups)
	}
	return nil
}

// checkPicture looks at a picture's size without decoding it.
func checkPicture(field string, data []byte) error {
	c, _, err := image.DecodeConfig(bytes.NewReader(data))
	if err == nil && c.Width > 0 && c.Width > Limits.Pixels/max(c.Height, 1) {
		return model.Errorf(field, "the picture is %d×%d pixels, expected at most %d million: make it smaller first",
			c.Width, c.Height, Limits.Pixels/1_000_000)
	}
	return nil // what can't be read is told when it is decoded
}

// checkOutline refuses what is too much, once the request is complete.
func checkOutline(o lab.Outline) error {
	if o.Images > Limits.Images {
		return model.Errorf("count", "expected at most %d images for one job, found %d", Limits.Images, o.Images)
	}
	if o.Steps > Limits.Evaluations || o.Evaluations*max(o.Request.Images(), 1) > Limits.Evaluations*Limits.Images {
		return model.Errorf("steps", "expected at most %d steps, found %d", Limits.Evaluations, o.Steps)
	}
	return nil
}
