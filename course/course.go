package course

import (
	"context"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/picture"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/writeup"
)

// Course is the first half of a write-up: what a trained model can do.
type Course struct {
	Artist
	Subjects
	Model   string
	Variant string
	Upscale string // a stage of super-resolution; empty: the model's own in the program, where it has one
	Seed    uint64

	spec   model.Spec
	number int // of figures so far
}

// frames is how many moments of a movement are shown.
const frames = 25

// shown is a figure on its way: what is drawn, and how it is told of.
type shown struct {
	name, title, note string
	request           lab.Request
}

// request is what all of the course's requests have in common.
func (c *Course) request() lab.Request {
	seed := c.Seed
	return lab.Request{Model: c.Model, Variant: c.Variant, Seed: &seed}
}

func (c *Course) guided(steps int) lab.Request {
	r := c.request()
	guidance := c.Guidance
	r.Steps, r.Guidance = steps, &guidance
	larger, ok := registry.Larger(c.Model)
	if c.Upscale != "" {
		larger, ok = c.Upscale, true
	}
	if ok {
		r.Upscale = &lab.Upscale{Model: larger, Variant: c.Variant}
	}
	return r
}

// filmed is a request of which the way from noise is shown: it has one stage.
func filmed(r lab.Request) lab.Request {
	r.Upscale = nil
	return r
}

// Sections draws the first half and returns its sections. each is called with what is there after each section; it may
// be nil.
func (c *Course) Sections(ctx context.Context, each func([]writeup.Section) error) ([]writeup.Section, error) {
	var err error
	if c.spec, _, err = c.Lab.About(c.request()); err != nil {
		return nil, err
	}
	var all []writeup.Section
	for _, make := range []func(context.Context) (writeup.Section, error){
		c.steps, c.forward, c.denoising, c.iterative, c.sampling, c.guidance, c.edits, c.foreign, c.texts, c.holes,
		c.anagrams, c.hybrids,
	} {
		s, err := make(ctx)
		if err != nil {
			return all, err
		}
		all = append(all, s)
		if each != nil {
			if err := each(all); err != nil {
				return all, err
			}
		}
	}
	return all, nil
}

func (c *Course) section(id, title string, text template.HTML, figures ...writeup.Figure) writeup.Section {
	return writeup.Section{ID: id, Title: title, Text: text, Figures: figures}
}

// draw draws a figure. most is how many frames of its way are kept.
func (c *Course) draw(ctx context.Context, s shown, most int) (drawn, error) {
	return c.Artist.draw(ctx, s.title, s.request, most)
}

// figure tells of what was drawn: the command and the recipe.
func (s shown) figure(d drawn) (writeup.Figure, error) {
	g := writeup.Figure{Picture: writeup.Picture{Name: s.name, Title: s.title, Note: s.note,
		Command: Command(s.request, s.name+".png")}}
	p, err := d.request.Parameters()
	if err != nil {
		return g, err
	}
	g.Carried = p
	g.Recipe, err = readable(d.request)
	for _, key := range []string{"model", "sampler", "steps", "guidance", "seed"} {
		varied := slices.ContainsFunc(d.request.Vary, func(v lab.Vary) bool { return v.Field == key })
		if value, ok := p.Get(key); ok && !varied && (d.request.Strip == nil || !d.request.Strip.Forward || key == "seed") {
			g.Parameters.Add(key, value)
		}
	}
	if d.time >= time.Second/10 {
		g.Parameters.Add("drawn in", fmt.Sprintf("%.1f s", d.time.Seconds()))
	}
	return g, err
}

// readable is a recipe without its pictures' bytes.
func readable(r lab.Request) (string, error) {
	short := func(p *lab.Picture) {
		if len(p.Data) > 0 {
			p.Data = []byte{}
		}
	}
	if r.Edit != nil {
		e := *r.Edit
		short(&e.Picture)
		r.Edit = &e
	}
	if r.Strip != nil {
		s := *r.Strip
		short(&s.Picture)
		r.Strip = &s
	}
	if r.Inpaint != nil {
		i := *r.Inpaint
		short(&i.Picture)
		i.Mask.Data = nil
		r.Inpaint = &i
	}
	text, err := r.JSON()
	return strings.ReplaceAll(string(text), `"data":""`, `"data":"…"`), err
}

// picture reads a picture's file, or one of the program's.
func read(name string) (lab.Picture, error) {
	data, err := picture.ReadFile(name)
	return lab.Picture{Name: name, Data: data}, err
}

// original is the picture as the model sees it.
func original(r lab.Request, x diffusion.Images) (diffusion.Images, error) {
	var p lab.Picture
	switch {
	case r.Edit != nil:
		p = r.Edit.Picture
	case r.Inpaint != nil:
		p = r.Inpaint.Picture
	}
	return decode(p.Data, x)
}

func decode(data []byte, like diffusion.Images) (diffusion.Images, error) {
	m, err := picture.Decode(data)
	if err != nil {
		return diffusion.Images{}, err
	}
	f, err := picture.Fit{C: like.C, H: like.H, W: like.W, High: 1, Mode: picture.Stretch}.Picture(m)
	return f.Images, err
}

// pick returns the images at indices.
func pick(x diffusion.Images, indices ...int) diffusion.Images {
	y := diffusion.NewImages(len(indices), x.C, x.H, x.W)
	for k, i := range indices {
		copy(y.Data[k*x.Size():], x.Data[i*x.Size():(i+1)*x.Size()])
	}
	return y
}

// empty lists the fields of a strip where nothing is.
func empty(x diffusion.Images) (fields []int) {
	for i := range x.N {
		if slices.Min(x.Slice(i, i+1).Data) == 1 {
			fields = append(fields, i)
		}
	}
	return fields
}

func (c *Course) steps(ctx context.Context) (s writeup.Section, err error) {
	r := c.guided(0)
	r.Prompts = c.Prompts
	r.Vary = []lab.Vary{{Field: "steps", Values: []string{"10", "20", "100"}}}
	f := shown{name: "a-steps", title: "Three prompts, in 10, 20 and 100 steps", request: r,
		note: "Rows: the number of steps. Columns: the prompts. All began with the same noise."}
	d, err := c.draw(ctx, f, 0)
	if err != nil {
		return s, err
	}
	g, err := f.figure(d)
	g.Columns, g.Width = short(c.Prompts), len(c.Prompts)
	for k, steps := range r.Vary[0].Values { // images of a prompt stand beside each other
		var row []int
		for p := range c.Prompts {
			row = append(row, p*len(r.Vary[0].Values)+k)
		}
		g.Rows = append(g.Rows, writeup.Row{Label: steps + " steps", Images: pick(d.images, row...)})
	}
	s = c.section("steps", "Words in, pictures out", textSteps, g)
	s.Part = "Part A: what a trained model can do"
	return s, err
}

// short cuts prompts to what stands above a column.
func short(prompts []string) (all []string) {
	for _, p := range prompts {
		if len([]rune(p)) > 34 {
			p = string([]rune(p)[:32]) + "…"
		}
		all = append(all, p)
	}
	return all
}

func (c *Course) forward(ctx context.Context) (s writeup.Section, err error) {
	p, err := read("cat")
	if err != nil {
		return s, err
	}
	r := c.request()
	r.Strip = &lab.Strip{Picture: p, At: []string{"25%", "50%", "75%"}, Forward: true, Side: 128}
	f := shown{name: "a-forward", title: "A photograph, and what noise makes of it", request: r}
	d, err := c.draw(ctx, f, 0)
	if err != nil {
		return s, err
	}
	g, err := f.figure(d)
	g.Columns, g.Width = d.columns, len(d.columns)
	g.Rows = []writeup.Row{{Images: d.images}}
	return c.section("forward", "Adding noise", textForward, g), err
}

// strip is the process on the subject: drawn once, for three sections.
func (c *Course) strip() (r lab.Request, err error) {
	p, err := read(c.Subject)
	r = c.request()
	r.Steps = c.Steps
	if c.Plain != "" {
		r.Prompts = []string{c.Plain}
		guidance := 1.0
		r.Guidance = &guidance
	}
	r.Strip = &lab.Strip{Picture: p, At: []string{"25%", "50%", "75%"}, Every: 5}
	return r, err
}

func (c *Course) denoising(ctx context.Context) (s writeup.Section, err error) {
	r, err := c.strip()
	if err != nil {
		return s, err
	}
	f := shown{name: "a-denoise", title: "The noised picture, blurred, and denoised in one step", request: r,
		note: "Gaussian blur against one evaluation of the network, at three noise levels."}
	d, err := c.draw(ctx, f, 0)
	if err != nil {
		return s, err
	}
	g, err := f.figure(d)
	g.Columns, g.Width = d.columns[:4], 4
	for row := range d.rows {
		k := row * len(d.columns)
		g.Rows = append(g.Rows, writeup.Row{Label: d.rows[row], Images: d.images.Slice(k, k+4)})
	}
	return c.section("denoise", "Taking it away at once", textDenoise, g), err
}

func (c *Course) iterative(ctx context.Context) (s writeup.Section, err error) {
	r, err := c.strip()
	if err != nil {
		return s, err
	}
	f := shown{name: "a-iterative", title: "Denoised step by step", request: r,
		note: "xₜ at every fifth step of the sampler, from three noise levels on; last, what it comes to."}
	d, err := c.draw(ctx, f, 0)
	if err != nil {
		return s, err
	}
	g, err := f.figure(d)
	n := len(d.columns)
	g.Corner, g.Columns, g.Width = "t", []string{d.columns[1]}, n-3
	for _, column := range d.columns[4 : n-1] {
		g.Columns = append(g.Columns, strings.TrimPrefix(column, "t = "))
	}
	g.Columns = append(g.Columns, "result")
	for row := range d.rows {
		indices := []int{row*n + 1}
		for k := 4; k < n; k++ {
			indices = append(indices, row*n+k)
		}
		images := pick(d.images, indices...)
		g.Rows = append(g.Rows, writeup.Row{Label: d.rows[row], Images: images, Blank: empty(images)})
	}
	all := writeup.Figure{Picture: writeup.Picture{Name: "a-compared", Width: 5, Carried: g.Carried, Command: g.Command,
		Title:   "The picture, noised, and three ways to take the noise away",
		Note:    "The picture, noised, and three ways to take the noise away.",
		Columns: []string{"original", "noisy", "blur", "one step", "iterative"}}}
	for row := range d.rows {
		k := row * n
		all.Rows = append(all.Rows, writeup.Row{Label: d.rows[row], Images: pick(d.images, k, k+1, k+2, k+3, k+n-1)})
	}
	return c.section("iterative", "Taking it away little by little", textIterative, g, all), err
}

// fromNoise is five images of the plain prompt, or of a digit.
func (c *Course) fromNoise() lab.Request {
	r := c.guided(c.Steps)
	r.Prompts, r.Count = []string{c.Plain}, 5
	if c.Plain == "" {
		r.Prompts = c.Prompts[:1]
		if len(c.spec.Vocabulary) >= 5 {
			r.Prompts, r.Count = c.spec.Vocabulary[:5], 1
		}
	}
	return r
}

func (c *Course) sampling(ctx context.Context) (s writeup.Section, err error) {
	r := filmed(c.fromNoise())
	*r.Guidance = 1
	f := shown{name: "a-sampling", title: "Five images out of pure noise, without guidance", request: r}
	d, err := c.draw(ctx, f, writeup.MostFrames)
	if err != nil {
		return s, err
	}
	g, err := f.figure(d)
	g.Frames, g.Width = d.frames, d.images.N
	return c.section("sampling", "Starting from noise alone", textSampling, g), err
}

func (c *Course) guidance(ctx context.Context) (s writeup.Section, err error) {
	r := c.fromNoise()
	r.Guidance = nil
	values := []string{"1", fmt.Sprint(c.Guidance), fmt.Sprint(2 * c.Guidance)}
	r.Vary = []lab.Vary{{Field: "guidance", Values: values}}
	f := shown{name: "a-guidance", title: "The same noise at three scales of guidance", request: r}
	d, err := c.draw(ctx, f, 0)
	if err != nil {
		return s, err
	}
	g, err := f.figure(d)
	n := d.images.N / len(values)
	g.Width = n
	for k, value := range values {
		var row []int
		for i := range n {
			row = append(row, i*len(values)+k)
		}
		g.Rows = append(g.Rows, writeup.Row{Label: "γ = " + value, Images: pick(d.images, row...)})
	}
	return c.section("guidance", "Guidance", textGuidance, g), err
}

// edit shows a picture and what becomes of it, from late starts to early ones.
func (c *Course) edit(ctx context.Context, name string, s Start) (g writeup.Figure, err error) {
	p, err := read(s.Picture)
	if err != nil {
		return g, err
	}
	r := c.guided(c.Steps)
	r.Prompts = []string{s.Prompt}
	r.Edit = &lab.Edit{Picture: p}
	var values []string
	for _, start := range c.Starts {
		values = append(values, fmt.Sprint(start))
	}
	r.Vary = []lab.Vary{{Field: "start", Values: values}}
	f := shown{name: name, title: fmt.Sprintf("%s, towards “%s”", s.Picture, s.Prompt), request: r}
	f.note = f.title
	d, err := c.draw(ctx, f, 0)
	if err != nil {
		return g, err
	}
	g, err = f.figure(d)
	g.Corner, g.Columns, g.Width = "start", append([]string{"original"}, values...), d.images.N
	g.Rows = []writeup.Row{{Images: d.images}}
	return g, err
}

func (c *Course) editSection(ctx context.Context, s writeup.Section, prefix string, lists ...[]Start) (writeup.Section,
	error) {
	n := 0
	for _, list := range lists {
		for _, start := range list {
			n++
			g, err := c.edit(ctx, fmt.Sprintf("%s-%d", prefix, n), start)
			if err != nil {
				return s, err
			}
			s.Figures = append(s.Figures, g)
		}
	}
	return s, nil
}

func (c *Course) edits(ctx context.Context) (writeup.Section, error) {
	return c.editSection(ctx, c.section("edit", "From a picture to another", textEdit), "a-photo", c.Photos)
}

func (c *Course) foreign(ctx context.Context) (writeup.Section, error) {
	return c.editSection(ctx, c.section("drawings", "From the web, and by hand", textDrawings), "a-drawing", c.Web,
		c.Drawings)
}

func (c *Course) texts(ctx context.Context) (writeup.Section, error) {
	return c.editSection(ctx, c.section("words", "Led by words", textWords), "a-words", c.TextEdits)
}

func (c *Course) holes(ctx context.Context) (s writeup.Section, err error) {
	s = c.section("holes", "Filling holes", textHoles)
	for i, h := range c.Holes {
		g, err := c.hole(ctx, fmt.Sprintf("a-hole-%d", i+1), h, lab.RePaint)
		if err != nil {
			return s, err
		}
		s.Figures = append(s.Figures, g)
	}
	return s, nil
}

func (c *Course) hole(ctx context.Context, name string, h Hole, method lab.Fill) (g writeup.Figure, err error) {
	p, err := read(h.Picture)
	if err != nil {
		return g, err
	}
	r := c.guided(c.Steps)
	r.Prompts, r.Count = []string{h.Prompt}, 3
	r.Inpaint = &lab.Inpaint{Picture: p, Mask: lab.Mask{Box: h.Box}, Method: method}
	f := shown{name: name, title: fmt.Sprintf("%s, with “%s” in the hole", h.Picture, h.Prompt), request: r}
	f.note = f.title
	d, err := c.draw(ctx, f, 0)
	if err != nil {
		return g, err
	}
	first, err := original(d.request, d.images)
	if err != nil {
		return g, err
	}
	mask, err := decode(d.request.Inpaint.Mask.Data, d.images)
	if err != nil {
		return g, err
	}
	if g, err = f.figure(d); err != nil {
		return g, err
	}
	known := first.Clone()
	for i := range known.Data {
		known.Data[i] *= 1 - mask.Data[i]
	}
	all, err := diffusion.Concat(first, mask, known, d.images)
	g.Columns, g.Width = []string{"picture", "mask", "known", "filled", "again", "again"}, all.N
	g.Rows = []writeup.Row{{Images: all}}
	return g, err
}

// illusion draws candidates, and shows the best performed, and all of them ranked.
func (c *Course) illusion(ctx context.Context, name string, i lab.Illusion) (figures []writeup.Figure, err error) {
	r := c.guided(0)
	i.Candidates = c.Candidates
	r.Illusion = &i
	if c.Guidance == c.spec.Guidance {
		r.Guidance = nil // views have a default of their own
	}
	parts := append(i.Views, i.Bands...)
	var words []string
	for _, p := range parts {
		words = append(words, fmt.Sprintf("“%s” %s", p.Prompts[0], seen(p.As)))
	}
	f := shown{name: name, title: strings.Join(words, ", "), request: r}
	d, err := c.draw(ctx, f, 0)
	if err != nil {
		return nil, err
	}
	ends := []string{seen(parts[0].As), seen(parts[len(parts)-1].As)}
	if len(i.Bands) > 0 {
		ends = []string{seen("high_pass"), seen("low_pass")}
	}
	g, err := c.performed(f, d, ends...)
	if err != nil {
		return nil, err
	}
	ranked := writeup.Figure{Picture: writeup.Picture{Name: name + "-candidates", Width: min(8, d.candidates.N),
		Title: "The candidates, best first", Carried: g.Carried,
		Command: g.Command + " --sheet " + name + "-candidates.png",
		Note: "The candidates, best first. What is recognized, and the score: " + strings.ReplaceAll(
			strings.Join(d.verdicts[:min(4, len(d.verdicts))], ", "), " -", " −") + ", …"}}
	ranked.Rows = []writeup.Row{{Images: d.candidates}}
	return []writeup.Figure{g, ranked}, nil
}

// seen says under which view, or in which band, something is seen.
func seen(as string) string {
	switch as {
	case "identity":
		return "as it is"
	case "rotate_180":
		return "upside down"
	case "rotate_cw":
		return "turned right"
	case "flip":
		return "flipped"
	case "low_pass":
		return "from far"
	case "high_pass":
		return "from near"
	}
	return "under " + strings.ReplaceAll(as, "_", " ")
}

// performed is a figure that performs an illusion.
func (c *Course) performed(f shown, d drawn, ends ...string) (g writeup.Figure, err error) {
	if g, err = f.figure(d); err != nil {
		return g, err
	}
	a, err := lab.Perform(lab.Result{Request: d.request, Images: d.images, Range: model.ZeroToOne}, frames)
	g.Turning, g.Turned, g.Width, g.Note = a.Frames, ends, 3, f.title
	return g, err
}

func (c *Course) anagrams(ctx context.Context) (s writeup.Section, err error) {
	s = c.section("anagrams", "Anagrams", textAnagrams)
	for k, views := range c.Anagrams {
		figures, err := c.illusion(ctx, fmt.Sprintf("a-anagram-%d", k+1), lab.Illusion{Views: views})
		if err != nil {
			return s, err
		}
		s.Figures = append(s.Figures, figures...)
	}
	return s, nil
}

func (c *Course) hybrids(ctx context.Context) (s writeup.Section, err error) {
	s = c.section("hybrids", "Hybrids", textHybrids)
	for k, bands := range c.Hybrids {
		figures, err := c.illusion(ctx, fmt.Sprintf("a-hybrid-%d", k+1), lab.Illusion{Bands: bands})
		if err != nil {
			return s, err
		}
		s.Figures = append(s.Figures, figures...)
	}
	return s, nil
}
