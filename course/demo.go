package course

import (
	"context"
	"fmt"
	"html/template"
	"time"

	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/writeup"
)

// Demo shows what the program does, part by part.
type Demo struct {
	Course
	Digits string // the model of digits, for numbers
}

// DemoPart is a part of the demo.
type DemoPart struct {
	Name string // for people: what is done
	draw func(context.Context) (writeup.Section, error)
}

// Parts are the demo's, in their order.
func (d *Demo) Parts() ([]DemoPart, error) {
	var err error
	if d.spec, _, err = d.Lab.About(d.request()); err != nil {
		return nil, err
	}
	d.Subjects = Defaults(d.spec)
	d.Candidates = demoCandidates
	digits := len(d.spec.Vocabulary) > 0
	if !digits {
		d.Candidates /= 2
	}
	parts := []DemoPart{
		{"pictures from words", d.ask}, {"noise taken away, step by step", d.unnoise}, {"a drawing drawn anew", d.redraw},
		{"a hole filled", d.fill}, {"an anagram", d.turn}, {"a hybrid", d.far}, {"a number that turns", d.number},
	}
	if !digits {
		parts = append(parts, DemoPart{"digits by class", d.digits})
	}
	return parts, nil
}

// Draw draws a part and returns how long it took.
func (p DemoPart) Draw(ctx context.Context) (writeup.Section, time.Duration, error) {
	start := time.Now()
	s, err := p.draw(ctx)
	return s, time.Since(start), err
}

// The demo's pictures take few steps, and its illusions have few candidates: it is to be quick.
const (
	demoSteps      = 20
	demoCandidates = 8
	numberTries    = 4 // of each digit
)

func (d *Demo) ask(ctx context.Context) (s writeup.Section, err error) {
	r := filmed(d.guided(demoSteps))
	r.Prompts = demoPrompts
	if len(d.spec.Vocabulary) > 0 {
		r.Prompts = d.spec.Vocabulary
	}
	f := shown{name: "words", title: "Pictures out of noise, as words asked for", request: r}
	one, err := d.draw(ctx, f, writeup.MostFrames)
	if err != nil {
		return s, err
	}
	g, err := f.figure(one)
	g.Frames, g.Width = one.frames, 5
	if len(d.spec.Vocabulary) == 0 {
		g.Width, g.Note = 4, fmt.Sprint(r.Prompts)
	}
	return d.section("words", "Words in, pictures out", demoWords, g), err
}

var demoPrompts = []string{
	"a red heart on a pink background", "a panda face", "a blue car", "a smiling face, 3d style",
	"a cat face", "a tree", "a red apple", "a sunflower",
}

func (d *Demo) unnoise(ctx context.Context) (s writeup.Section, err error) {
	r, err := d.strip()
	if err != nil {
		return s, err
	}
	r.Steps, r.Strip.Every, r.Strip.At = demoSteps, 3, []string{"60%"}
	if len(d.spec.Vocabulary) > 0 {
		r.Prompts = []string{"7"}
	}
	f := shown{name: "denoise", title: "A drawing in noise, and the noise taken away", request: r}
	one, err := d.draw(ctx, f, 0)
	if err != nil {
		return s, err
	}
	g, err := f.figure(one)
	g.Columns, g.Width = one.columns, len(one.columns)
	g.Rows = []writeup.Row{{Images: one.images, Blank: empty(one.images)}}
	return d.section("denoise", "Noise taken away", demoDenoise, g), err
}

func (d *Demo) redraw(ctx context.Context) (s writeup.Section, err error) {
	d.Starts = []int{4, 7, 10, 13}
	d.Steps = demoSteps
	start := Start{"three", "8"}
	if len(d.spec.Vocabulary) == 0 {
		start = Start{"house", "a castle"}
	}
	g, err := d.edit(ctx, "edit", start)
	return d.section("edit", "A drawing, drawn anew", demoEdit, g), err
}

func (d *Demo) fill(ctx context.Context) (s writeup.Section, err error) {
	g, err := d.hole(ctx, "hole", d.Holes[0], lab.Course)
	return d.section("hole", "A hole, filled", demoHole, g), err
}

func (d *Demo) turn(ctx context.Context) (s writeup.Section, err error) {
	figures, err := d.illusion(ctx, "anagram", lab.Illusion{Views: d.Anagrams[0]})
	return d.section("anagram", "One picture, two readings", demoAnagram, figures...), err
}

func (d *Demo) far(ctx context.Context) (s writeup.Section, err error) {
	figures, err := d.illusion(ctx, "hybrid", lab.Illusion{Bands: d.Hybrids[0]})
	text := template.HTML(demoHybrid)
	if len(d.spec.Vocabulary) > 0 {
		text += demoHybridOfDigits
	}
	return d.section("hybrid", "From near and from far", text, figures...), err
}

// number is 2026 that turns into 9202.
func (d *Demo) number(ctx context.Context) (s writeup.Section, err error) {
	r := d.request()
	r.Model = d.Digits
	r.Illusion = &lab.Illusion{Candidates: numberTries, Views: []lab.Part{
		{As: "identity", Prompts: []string{"2", "0", "2", "6"}},
		{As: "rotate_180", Prompts: []string{"2", "0", "2", "9"}}}}
	f := shown{name: "number", title: "2026, and 9202 when the page is turned", request: r}
	one, err := d.draw(ctx, f, 0)
	if err != nil {
		return s, err
	}
	g, err := d.performed(f, one, "2026", "9202")
	g.Width = 4
	return d.section("number", "A number that turns", demoNumber, g), err
}

func (d *Demo) digits(ctx context.Context) (s writeup.Section, err error) {
	r := d.request()
	r.Model, r.Prompts, r.Count = d.Digits, []string{"all"}, 2
	f := shown{name: "digits", title: "Two of each digit", request: r}
	one, err := d.draw(ctx, f, writeup.MostFrames)
	if err != nil {
		return s, err
	}
	g, err := f.figure(one)
	g.Frames, g.Width = one.frames, 10
	return d.section("digits", "Digits by class", demoDigits, g), err
}

const (
	demoWords template.HTML = `<p>Each picture began as pure noise. Point at them, or use the button: the network
looked at the noise twenty times, and each time took away a part of what it held for noise.</p>`

	demoDenoise = `<p>A drawing is covered with noise. Blurring only smears it. The network says what it takes for
noise: all of it at once gives a vague picture, little by little a sharp one.</p>`

	demoEdit = `<p>Noise, but not too much, hides the details and leaves the outline. What comes out of it keeps the
place of things, and becomes what the words say. To the right more of
the drawing is kept.</p>`

	demoHole = `<p>What is white in the mask is drawn anew, three times. The rest stays as it is, to the bit.</p>`

	demoAnagram = `<p>It reads as one thing upright and as another when it is turned: at each step the noise is
estimated in both views, and their mean taken away. Turn it with the slider.</p>`

	demoHybrid = `<p>From afar you see the coarse part, from near the lines. Each comes from another wish.</p>`

	demoHybridOfDigits = `<p>Digits make it hard: their strokes are coarse and fine at once.</p>`

	demoNumber = `<p>The same trick, digit by digit: the best of four attempts each.</p>`

	demoDigits = `<p>A smaller network knows ten classes instead of words.</p>`
)
