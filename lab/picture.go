package lab

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/weights"
)

// RecipeKey is the keyword of the chunk of a PNG that holds its recipe.
const RecipeKey = "recipe"

// ReadRecipe reads the recipe in a PNG file, or in one of raw numbers.
func ReadRecipe(path string) (Request, error) {
	text, err := recipeIn(path)
	if err != nil {
		return Request{}, err
	}
	if text == "" {
		return Request{}, fmt.Errorf("%s carries no recipe: it was drawn by an older program or another one, or "+
			"saved again without its texts", path)
	}
	r, err := ParseRequest([]byte(text))
	if err != nil {
		return Request{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

func recipeIn(path string) (string, error) {
	if IsRaw(path) {
		f, err := weights.Open(path)
		if err != nil {
			return "", err
		}
		defer f.Close()
		return f.Metadata()[RecipeKey], nil
	}
	p, err := figure.ReadParametersFile(path)
	text, _ := p.Get(RecipeKey)
	return text, err
}

// ReadRequest reads a request from a JSON file, or the recipe that a PNG file or one of raw numbers carries.
func ReadRequest(path string) (Request, error) {
	if IsRaw(path) || strings.EqualFold(filepath.Ext(path), ".png") {
		return ReadRecipe(path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return Request{}, err
	}
	r, err := ParseRequest(text)
	if err != nil {
		return Request{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// Parameters tells what made a picture: for people to read, and the recipe.
func (r Request) Parameters() (figure.Parameters, error) {
	var p figure.Parameters
	p.Add("Software", "unnoise "+build.Commit())
	add := func(key string, value any, told bool) {
		if told {
			p.Add(key, value)
		}
	}
	p.Add("model", r.Model)
	add("revision", r.Revision, r.Revision != "")
	add("variant", r.Variant, r.Variant != "")
	add("embeds", r.Embeds, r.Embeds != "")
	short := !slices.ContainsFunc(r.Prompts, func(text string) bool { return len(text) > 3 })
	switch {
	case len(r.Prompts) == 1 || short && len(r.Prompts) > 0:
		p.Add("prompt", strings.Join(r.Prompts, ","))
	default:
		for i, text := range r.Prompts {
			p.Add(fmt.Sprintf("prompt %d", i+1), text)
		}
	}
	add("negative", r.Negative, r.Negative != "")
	p.Add("count", r.Count)
	describe(&p, "", r.Sampling, len(r.Prompts) > 0 || r.Illusion != nil)
	if u := r.Upscale; u != nil {
		p.Add("upscale", u.Model)
		add("upscale-revision", u.Revision, u.Revision != "")
		describe(&p, "upscale-", u.Sampling, true)
		if u.NoiseLevel != nil {
			p.Add("noise-level", *u.NoiseLevel)
		}
	}
	if e := r.Edit; e != nil {
		p.Add("edit", e.Picture.Name)
		p.Add("start", *e.Start)
	}
	if b := r.Branch; b != nil {
		p.Add("branch", fmt.Sprintf("after step %d of seed %d", b.At, *b.From.Seed))
	}
	if i := r.Illusion; i != nil {
		kind := "band"
		parts, views := i.parts()
		if views {
			kind = "view"
		}
		for k, part := range parts {
			shows := strings.Join(part.Prompts, ",")
			if part.Picture != nil {
				shows = part.Picture.Name
			}
			p.Add(fmt.Sprintf("%s %d", kind, k+1), part.As+"="+shows)
		}
		p.Add("combine", i.Combine)
		add("repeats", i.Repeats, i.Repeats > 1)
		add("candidates", i.Candidates, i.Candidates > 0)
		if i.Refine != nil {
			p.Add("refine", *i.Refine)
		}
	}
	if s := r.Strip; s != nil {
		p.Add("picture", s.Picture.Name)
		p.Add("at", strings.Join(s.At, ","))
		add("every", s.Every, s.Every > 0)
	}
	if f := r.Inpaint; f != nil {
		p.Add("inpaint", f.Picture.Name)
		p.Add("method", f.Method)
	}
	for _, v := range r.Vary {
		p.Add("vary "+v.Field, strings.Join(v.Values, ","))
	}
	if r.Seed != nil {
		p.Add("seed", *r.Seed)
	}
	p.Add("dtype", r.DType)
	add("backend", r.Backend, r.Backend != "")
	recipe, err := r.JSON()
	if err != nil {
		return nil, err
	}
	p.Add(RecipeKey, string(recipe))
	return p, nil
}

func describe(p *figure.Parameters, prefix string, s model.Sampling, prompted bool) {
	p.Add(prefix+"sampler", s.Sampler)
	if s.Timesteps != "" {
		p.Add(prefix+"timesteps", s.Timesteps)
	} else {
		p.Add(prefix+"steps", s.Steps)
	}
	if s.Guidance != nil && prompted {
		p.Add(prefix+"guidance", *s.Guidance)
	}
	if s.Sampler == "ddim" {
		p.Add(prefix+"eta", s.Eta)
	}
}

// Grid arranges images of a completed request. scale is the picture's pixels for each pixel of an image; 0 is what
// suits the eye.
func (r Request) Grid(x diffusion.Images, of model.Range, scale int) figure.Grid {
	g := figure.Grid{Images: of.To(model.ZeroToOne, x), Columns: r.columns(x.N), Scale: scale}
	if r.Strip != nil {
		r.Strip.arrange(&g, x)
	} else if original := r.original(); original != nil && len(r.Vary) > 0 {
		showOriginal(&g, original)
	}
	if scale == 0 {
		g.Scale = 1
		if r.Strip != nil && x.H <= 128 { // labels need room
			g.Scale = (112 + x.W - 1) / x.W
		} else if x.H <= 32 { // too small to be judged
			g.Scale = min(max(600/(g.Columns*(x.W+2)), 2), 8)
		}
	}
	if x.N > 1 {
		g.Padding = 2 * g.Scale
	}
	if rows, columns := r.labels(); len(r.Vary) > 0 {
		g.ColumnLabels = append(g.ColumnLabels, columns...)
		for _, row := range rows {
			for n := range r.Images() {
				label := row
				if n > 0 {
					label = ""
				}
				g.RowLabels = append(g.RowLabels, label)
			}
		}
		if len(rows) < 2 {
			g.RowLabels = nil
		}
		g.Padding = max(g.Padding, 2*g.Scale)
	}
	return g
}

// original is the picture that the images began as, if there is one.
func (r Request) original() *Picture {
	switch {
	case r.Edit != nil:
		return &r.Edit.Picture
	case r.Inpaint != nil:
		return &r.Inpaint.Picture
	}
	return nil
}

// showOriginal gives a grid a first column with the picture.
func showOriginal(g *figure.Grid, p *Picture) {
	x := g.Images
	rows := x.N / g.Columns
	g.ColumnLabels = []string{"original"}
	if g.Images.N, g.Images.Data = x.N+rows, nil; len(x.Data) > 0 { // else only the shape is asked for
		original, err := decodePNG(p.Data, x.C, x.H, x.W, model.ZeroToOne)
		if err != nil { // a completed one is sound
			original = diffusion.NewImages(1, x.C, x.H, x.W)
		}
		for row := range rows {
			g.Images.Data = append(g.Images.Data, original.Data...)
			g.Images.Data = append(g.Images.Data, x.Slice(row*g.Columns, (row+1)*g.Columns).Data...)
		}
	}
	g.Columns++
}

// Moment arranges what [Step.Shown] returns of quantities.
func (r Request) Moment(shown diffusion.Images, quantities []Quantity, scale int) figure.Grid {
	k := len(quantities)
	r.Strip = nil
	n := shown.N / k
	one := shown
	one.N, one.Data = n, nil
	g := r.Grid(one, model.ZeroToOne, scale)
	g.Images = shown
	g.Columns *= k
	if k > 1 {
		g.Padding = 2 * g.Scale
		g.ColumnLabels = nil
		for range g.Columns / k {
			for _, q := range quantities {
				g.ColumnLabels = append(g.ColumnLabels, string(q))
			}
		}
	}
	return g
}

// columns is how many of n images stand side by side.
func (r Request) columns(n int) int {
	const usual = 10
	k := period(r.Prompts)
	switch {
	case len(r.Vary) > 0:
		return len(r.Vary[len(r.Vary)-1].Values)
	case k == 0 || r.Order == InRounds && k > 2*usual:
		return min(n, usual)
	case r.Order == InRounds:
		return min(n, max(k, usual/k*k)) // whole rounds
	case k == 1:
		return int(math.Ceil(math.Sqrt(float64(n))))
	}
	return r.Count
}

// period is after how many prompts they begin again, as those of a round of classes do that was not whole.
func period(prompts []string) int {
	for k := 1; k < len(prompts); k++ {
		if slices.Equal(prompts[k:], prompts[:len(prompts)-k]) {
			return k
		}
	}
	return len(prompts)
}
