package lab

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/illusion"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/model"
)

// views makes parts of views and prompts in turns.
func views(words ...string) (parts []Part) {
	for i := 0; i < len(words); i += 2 {
		parts = append(parts, Part{As: words[i], Prompts: []string{words[i+1]}})
	}
	return parts
}

// A recipe draws the same pictures to the bit, whatever was drawn: by a lab that has drawn others, and after JSON.
func TestAgain(t *testing.T) {
	ramp := newIdeal(thousand(t), 1, 28).image("ramp")
	gray := pictureOf(t, ramp, model.MinusOneToOne)
	number := func(v float64) *float64 { return &v }
	box := Mask{Box: "0,0,50%,100%"}
	mixed := views("identity", "3", "rotate_180", "7", "flip", "5", "negate", "1")
	weighed := views("identity", "6", "rotate_180", "9")
	weighed[0].Weight, weighed[1].Weight, weighed[1].WeightEnd, weighed[1].Guidance = number(2), number(1), number(0),
		number(3)
	number6984 := []Part{{As: "identity", Prompts: []string{"6", "8"}}, {As: "rotate_180", Prompts: []string{"9", "8"}}}
	held := []Part{{As: "low_pass", Picture: &gray}, {As: "high_pass", Prompts: []string{"8"}}}
	requests := map[string]Request{
		"generate":  {Prompts: []string{"3", "5"}, Count: 2},
		"ancestral": {Prompts: []string{"3"}, Sampling: model.Sampling{Sampler: "ddpm"}},
		"edit":      {Prompts: []string{"3"}, Edit: &Edit{Picture: gray}},
		"edits":     {Prompts: []string{"3"}, Edit: &Edit{Picture: gray}, Vary: []Vary{{"start", []string{"0", "2"}}}},
		"varied": {Prompts: []string{"3"}, Vary: []Vary{{"guidance", []string{"1", "5"}}, {"steps",
			[]string{"2", "3"}}}},
		"course": {Prompts: []string{"3"}, Inpaint: &Inpaint{Picture: gray, Mask: box}},
		"repaint": {Prompts: []string{"3"}, Inpaint: &Inpaint{Picture: gray, Mask: box, Method: RePaint, Length: 2,
			Repeats: 2}},
		"diffusers":  {Prompts: []string{"3"}, Inpaint: &Inpaint{Picture: gray, Mask: box, Method: Diffusers}},
		"candidates": {Illusion: &Illusion{Views: mixed[:2], Candidates: 3, Keep: 2}},
		"raced":      {Illusion: &Illusion{Views: mixed[:2], Candidates: 3, Race: true}},
		"weighed":    {Illusion: &Illusion{Views: weighed}},
		"travelled":  {Illusion: &Illusion{Views: mixed[:2], Repeats: 2}},
		"ambigram":   {Illusion: &Illusion{Views: number6984, Candidates: 2}},
		"hybrid":     {Illusion: &Illusion{Bands: views("low", "3", "mid", "5", "high", "8")}},
		"held":       {Illusion: &Illusion{Bands: held}},
		"strip":      {Strip: &Strip{Picture: gray, Every: 1}},
		"noise":      {Strip: &Strip{Picture: gray, Forward: true}},
	}
	for n := 2; n <= 4; n++ {
		for _, how := range []illusion.Reduction{illusion.Mean, illusion.Alternate, illusion.Rectified} {
			requests[string(how)+" of "+string(rune('0'+n))] = Request{Illusion: &Illusion{Views: mixed[:n],
				Combine: how}}
		}
	}
	for name, r := range requests {
		r.Model = "mnist-class"
		if r.Steps == 0 && r.Vary == nil || r.Edit != nil {
			r.Steps = 4
		}
		requests[name] = r
	}

	first, second := New(Options{}), New(Options{})
	defer first.Close()
	defer second.Close()
	for name, r := range requests {
		again(t, name, first, second, r)
	}

	flow := flowModel(t)
	for name, r := range requests {
		switch name {
		case "generate", "ancestral", "edits", "course", "repaint", "candidates", "weighed", "hybrid", "held", "strip",
			"noise", "alternate of 2", "rectified of 3":
			if r.Model = flow; r.Steps == 0 {
				r.Steps = 3
			}
			again(t, "flow, "+name, first, second, r)
		}
	}

	dir := golden.Dir(t)
	red := Part{As: "grayscale", Picture: &gray}
	for name, r := range map[string]Request{
		"generate": {Prompts: []string{"a fox"}},
		"edit":     {Prompts: []string{"a fox"}, Edit: &Edit{Picture: gray}},
		"inpaint":  {Prompts: []string{"a fox"}, Inpaint: &Inpaint{Picture: gray, Mask: box}},
		"anagram":  {Illusion: &Illusion{Views: views("identity", "a fox", "rotate_cw", "an owl")}},
		"hybrid":   {Illusion: &Illusion{Bands: views("low_pass", "a fox", "high_pass", "an owl")}},
		"colored":  {Illusion: &Illusion{Bands: append(views("color", "a fox"), red)}},
	} {
		r.Model, r.Steps = filepath.Join(dir, "if_tiny"), 3
		r.Upscale = &Upscale{Model: filepath.Join(dir, "if_sr_tiny"), Sampling: model.Sampling{Steps: 2}}
		result := again(t, "if_tiny, "+name, first, second, r)
		if name == "inpaint" {
			keeps(t, result)
		}
	}
}

// flowModel is the folder of a small flow for digits, as it is before it is trained.
func flowModel(t *testing.T) string {
	t.Helper()
	b, _, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Finalize()
	c := mnistunet.Default(mnistunet.Class).ForFlow()
	c.Dim = 4
	m, err := mnistunet.New(b, c, dtypes.Float32, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	dir := t.TempDir()
	if err := m.Save(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// again draws a request, and its recipe in another lab.
func again(t *testing.T, name string, first, second *Lab, r Request) Result {
	t.Helper()
	one, err := Run(first.Draw(t.Context(), r), nil)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	text, err := one.Request.JSON()
	if err != nil {
		t.Fatal(err)
	}
	recipe, err := ParseRequest(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	two, err := Run(second.Draw(t.Context(), recipe), nil)
	if err != nil {
		t.Fatalf("%s, again: %v", name, err)
	}
	if one.Images.N == 0 || !slices.Equal(one.Images.Data, two.Images.Data) {
		t.Errorf("%s: drawn again it is another picture", name)
	}
	if text2, err := two.Request.JSON(); err != nil || string(text2) != string(text) {
		t.Errorf("%s: the recipe became\n%s\nof\n%s", name, text2, text)
	}
	return one
}

// keeps checks that the known half of a larger picture is the original to the bit.
func keeps(t *testing.T, r Result) {
	t.Helper()
	x := r.Images
	original, err := r.Request.Inpaint.Picture.images(x.C, r.Range)
	if err != nil {
		t.Fatal(err)
	}
	mask, err := decodePNG(r.Request.Inpaint.Mask.Data, 1, x.H, x.W, model.ZeroToOne)
	if err != nil {
		t.Fatal(err)
	}
	kept, changed := 0, 0
	for i, v := range x.Data {
		if mask.Data[i%(x.H*x.W)] == 0 {
			kept++
			if v != original.Data[i] {
				t.Fatalf("value %d is %g, and it was %g", i, v, original.Data[i])
			}
		} else if v != original.Data[i] {
			changed++
		}
	}
	if kept == 0 || changed == 0 {
		t.Errorf("%d values were kept and %d changed", kept, changed)
	}
}

// larger is an ideal model that enlarges. It remembers the small images that it was shown.
type larger struct{ ideal }

func (m larger) Beside(small, noise diffusion.Images, _ int) (diffusion.Images, error) {
	x := noise.Like()
	for n := range x.N {
		for c := range x.C {
			for i := range x.H * x.W {
				y, col := i/x.W*small.H/x.H, i%x.W*small.W/x.W
				x.Data[(n*x.C+c)*x.H*x.W+i] = small.Data[((n*small.C+c)*small.H+y)*small.W+col]
			}
		}
	}
	return x, nil
}

// Both stages see the same view: the second one's small image is turned as its x_t is.
func TestViewsOfStages(t *testing.T) {
	for _, view := range []string{"rotate_cw", "flip", "negate", "patch_permute:4,3"} {
		first := newIdeal(thousand(t), 1, 8)
		var asked []diffusion.Images
		second := larger{newIdeal(thousand(t), 1, 16)}
		second.spec.Upscales, second.spec.MaxLevel, second.asked = true, 999, &asked
		d := drawing{ctx: t.Context(), yield: func(e Event, err error) bool {
			if err != nil {
				t.Fatal(err)
			}
			return true
		}}
		d.model, d.upscaler = &opened{model: first, spec: first.spec}, &opened{model: second, spec: second.spec}
		r := Request{Version: RequestVersion, Seed: seedOf(1), Sampling: model.Sampling{Steps: 3},
			Upscale:  &Upscale{Sampling: model.Sampling{Steps: 2}},
			Illusion: &Illusion{Views: views("identity", "ramp", view, "light")}}
		if err := d.fill(r); err != nil {
			t.Fatal(err)
		}
		if err := d.encode(); err != nil {
			t.Fatal(err)
		}
		images, small, err := d.one(&d.variants[0])
		if err != nil {
			t.Fatal(err)
		}
		v, err := illusion.ParseView(view)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			x diffusion.Images
			m ideal
		}{{small, first}, {images, second.ideal}} {
			want := c.m.image("ramp")
			for i, value := range v.Invert(c.m.image("light")).Data { // the mean of what both views ask for
				want.Data[i] = (want.Data[i] + value) / 2
			}
			near(t, view, c.x.Data, want.Data, 1e-3)
		}
		if len(asked) != 1 || asked[0].N != 2 {
			t.Fatalf("%s: the second stage was bound %d times", view, len(asked))
		}
		near(t, view+", beside", v.Invert(asked[0].Slice(1, 2)).Data, asked[0].Slice(0, 1).Data, 1e-6)
	}
}

// A performance of several views has frames of one size.
func TestPerform(t *testing.T) {
	m := newIdeal(thousand(t), 1, 8)
	r := Request{Seed: seedOf(1), Sampling: model.Sampling{Steps: 2},
		Illusion: &Illusion{Views: views("rotate_180", "ramp", "flip", "dark", "negate", "light", "jigsaw", "dark")}}
	a, err := Perform(drawn(t, m, r), 5)
	if err != nil {
		t.Fatal(err)
	}
	for i, f := range a.Frames {
		if f.Bounds().Size() != a.Frames[0].Bounds().Size() {
			t.Errorf("frame %d of %d is %v, the first %v", i, len(a.Frames), f.Bounds(), a.Frames[0].Bounds())
		}
	}
}
