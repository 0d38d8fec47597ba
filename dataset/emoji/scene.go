package emoji

import (
	"math/rand/v2"
	"strings"

	"github.com/unnoise/unnoise/dataset/captioned"
)

// Parts of what is drawn; the rest are pairs.
const (
	plainPart     = 0.52 // one thing on white
	groundPart    = 0.14 // one thing on a colored ground
	landscapePart = 0.06 // one thing in a landscape
	colorPart     = 0.12 // one thing with its color told, natural or not
	placePart     = 0.06 // one thing, small, large or at a side
	countPart     = 0.04 // two to four of a thing
)

// scene plans example i.
func (s *Set) scene(seed uint64, i int) scene {
	r := captioned.Random(seed, i, "scene")
	plan := s.pair
	x := r.Float64()
	for _, part := range []struct {
		share float64
		plan  func(*rand.Rand, int) (scene, bool)
	}{
		{plainPart, s.plain}, {groundPart, s.onGround}, {landscapePart, s.inLandscape},
		{colorPart, s.colored}, {placePart, s.placed}, {countPart, s.counted},
	} {
		if x -= part.share; x < 0 {
			plan = part.plan
			break
		}
	}
	for range 100 { // a plan fails where the thing does not suit it, or where the two are held out
		if c, ok := plan(r, s.any(r)); ok {
			return c
		}
	}
	c, _ := s.plain(r, s.any(r))
	return c
}

// any draws a picture: a concept by its weight, then one of its styles, the usual one twice as often as another.
func (s *Set) any(r *rand.Rand) int {
	k := s.kindAt(r.Float64())
	if usual := s.inStyle(k, UsualStyle); usual >= 0 && r.IntN(len(k.pictures)+1) == 0 {
		return usual
	}
	return pick(r, k.pictures...)
}

// single is one thing in the middle, always in the same place and size: where the caption does not tell them, a small
// network would have to learn all of them, and draws their mean until it has.
func single(p int) thing { return thing{picture: p, size: 28, x: 16, y: 16} }

func jitter(r *rand.Rand, by float64) float64 { return by * (2*r.Float64() - 1) }

func (s *Set) plain(r *rand.Rand, p int) (scene, bool) {
	pic := s.pictures[p]
	name := s.name(r, pic)
	subject := withArticle(name)
	switch x := r.Float64(); {
	case x < 0.22:
		subject = bare(name)
	case x < 0.28 && len(pic.Keywords) > 0:
		subject = bare(name)
		for _, i := range r.Perm(len(pic.Keywords))[:min(2, len(pic.Keywords))] {
			if word := pic.Keywords[i]; !strings.Contains(subject, word) {
				subject += ", " + word
			}
		}
	}
	g := white
	if r.IntN(12) == 0 {
		g.phrase = "on a white " + pick(r, "background", "ground")
	}
	return s.finish(r, scene{ground: g, things: []thing{single(p)}}, subject)
}

func (s *Set) onGround(r *rand.Rand, p int) (scene, bool) {
	pic := s.pictures[p]
	color := groundColors[1+r.IntN(len(groundColors)-1)]
	if !color.fits(pic.Name, fromArray(pic.Edge)) {
		return scene{}, false
	}
	name := s.name(r, pic)
	return s.finish(r, scene{ground: newGround(r, color), things: []thing{single(p)}}, withArticle(name))
}

func (s *Set) inLandscape(r *rand.Rand, p int) (scene, bool) {
	pic := s.pictures[p]
	g, ok := newLandscape(r, pic.Name, fromArray(pic.Edge))
	if !ok {
		return scene{}, false
	}
	t := single(p)
	t.size = float64(17 + r.IntN(7))
	t.x, t.y = 16+jitter(r, (31-t.size)/2), 16+jitter(r, 2)
	if g.landscape.horizon < 1 { // on the land
		t.y = 29 - t.size/2 + jitter(r, 1)
	}
	return s.finish(r, scene{ground: g, things: []thing{t}}, withArticle(s.name(r, pic)))
}

func (s *Set) colored(r *rand.Rand, p int) (scene, bool) {
	pic := s.pictures[p]
	t := single(p)
	word := pic.Color
	if word == "" || r.IntN(4) > 0 {
		h := &hues[r.IntN(len(hues))]
		if pic.Tint[0] == 0 || colorHeldOut(pic.Name, h.word) {
			return scene{}, false
		}
		if word = h.word; word != pic.Color {
			t.color = h
		}
	}
	name, ok := s.colorless(r, pic)
	if !ok {
		return scene{}, false
	}
	g := s.maybeGround(r, t)
	for tries := 0; t.color != nil && word == "white" && g == white; tries++ { // it would not be seen
		if tries == 20 {
			return scene{}, false
		}
		g = s.maybeGround(r, t)
	}
	return s.finish(r, scene{ground: g, things: []thing{t}}, withArticle(name, word))
}

// maybeGround is a colored ground, or mostly white.
func (s *Set) maybeGround(r *rand.Rand, things ...thing) ground {
	if r.IntN(4) > 0 {
		return white
	}
	color := groundColors[r.IntN(len(groundColors))]
	for _, t := range things {
		pic := s.pictures[t.picture]
		edge := fromArray(pic.Edge)
		if t.color != nil {
			edge = t.color.lch
		}
		if !color.fits(pic.Name, edge) {
			return white
		}
	}
	return newGround(r, color)
}

var (
	smallWords = []string{"small", "small", "little", "tiny"}
	largeWords = []string{"large", "large", "big", "huge"}
)

// places are where a thing may stand: from -1 to 1, to the right and down.
var places = []struct {
	phrase string
	x, y   float64
}{
	{"on the left", -1, 0}, {"on the right", 1, 0}, {"at the top", 0, -1}, {"at the bottom", 0, 1},
	{"at the top left", -1, -1}, {"at the top right", 1, -1}, {"at the bottom left", -1, 1},
	{"at the bottom right", 1, 1},
	{"in the middle", 0, 0},
}

func (s *Set) placed(r *rand.Rand, p int) (scene, bool) {
	name := s.name(r, s.pictures[p])
	small := countable(name) && r.IntN(2) == 0 // a small bread is none
	t := thing{picture: p, size: float64(13 + r.IntN(4)), x: 16, y: 16}
	var subject string
	switch x := r.Float64(); {
	case x < 0.5 && !countable(name):
		return scene{}, false
	case x < 0.25:
		t.size = 31
		subject = withArticle(name, pick(r, largeWords...))
	case x < 0.5:
		t.x, t.y = 16+jitter(r, 2), 16+jitter(r, 2)
		subject = withArticle(name, pick(r, smallWords...))
	default:
		at := places[r.IntN(len(places))]
		free := (31 - t.size) / 2
		t.x, t.y = 16+at.x*free+jitter(r, 1), 16+at.y*free+jitter(r, 1)
		if subject = withArticle(name); small {
			subject = withArticle(name, pick(r, smallWords...))
		}
		subject += " " + at.phrase
	}
	return s.finish(r, scene{ground: s.maybeGround(r, t), things: []thing{t}}, subject)
}

// layouts are where two, three or four things stand, and their size.
var layouts = map[int][][3]float64{
	2: {{8.5, 16, 14.5}, {23.5, 16, 14.5}},
	3: {{16, 8.5, 14}, {8.5, 23.5, 14}, {23.5, 23.5, 14}},
	4: {{8.5, 8.5, 13.5}, {23.5, 8.5, 13.5}, {8.5, 23.5, 13.5}, {23.5, 23.5, 13.5}},
}

func (s *Set) counted(r *rand.Rand, p int) (scene, bool) {
	name := s.name(r, s.pictures[p])
	if !countable(name) {
		return scene{}, false
	}
	n := pick(r, 2, 2, 2, 3, 3, 4)
	var c scene
	for _, at := range layouts[n] {
		c.things = append(c.things, thing{picture: p, size: at[2], x: at[0] + jitter(r, 0.5), y: at[1] + jitter(r,
			0.5)})
	}
	c.ground = s.maybeGround(r, c.things[0])
	return s.finish(r, c, count(n, name))
}

func (s *Set) pair(r *rand.Rand, p int) (scene, bool) {
	q := s.inStyle(s.kindAt(r.Float64()), s.pictures[p].Style)
	if q < 0 || s.pictures[q].Name == s.pictures[p].Name || pairHeldOut(s.pictures[p].Name, s.pictures[q].Name) {
		return scene{}, false
	}
	return s.pairScene(r, p, q)
}

// pairScene has the first thing on the left, or above the other.
func (s *Set) pairScene(r *rand.Rand, p, q int) (scene, bool) {
	first, second := withArticle(s.name(r, s.pictures[p])), withArticle(s.name(r, s.pictures[q]))
	a := thing{picture: p, size: 15, x: 8.25 + jitter(r, 0.5), y: 16 + jitter(r, 2)}
	b := thing{picture: q, size: 15, x: 23.75 + jitter(r, 0.5), y: 16 + jitter(r, 2)}
	above := false
	var subject string
	switch x := r.Float64(); {
	case x < 0.55:
		subject = first + " and " + second
	case x < 0.65:
		subject = first + " " + pick(r, "next to", "beside", "with") + " " + second
	case x < 0.75:
		subject = first + " " + pick(r, "to the left of", "left of") + " " + second
	case x < 0.85:
		subject = second + " " + pick(r, "to the right of", "right of") + " " + first
	case x < 0.93:
		above = true
		subject = first + " " + pick(r, "above", "over") + " " + second
	default:
		above = true
		subject = second + " " + pick(r, "below", "under") + " " + first
	}
	if above {
		a.x, a.y, b.x, b.y = a.y, a.x, b.y, b.x
	}
	return s.finish(r, scene{ground: s.maybeGround(r, a, b), things: []thing{a, b}}, subject)
}

// name draws one of a picture's names: mostly the usual one.
func (s *Set) name(r *rand.Rand, p Picture) string {
	if r.IntN(3) > 0 {
		return p.Names[0]
	}
	return pick(r, p.Names...)
}

// colorless draws a name without a color in it.
func (s *Set) colorless(r *rand.Rand, p Picture) (string, bool) {
	var names []string
	for _, name := range p.Names {
		if !hasColor(name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "", false
	}
	return names[r.IntN((len(names)+1)/2)], true
}

func hasColor(name string) bool {
	for word := range strings.FieldsSeq(bare(name)) {
		switch word {
		case "red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white", "grey",
			"gold", "golden", "silver", "bronze", "blond":
			return true
		}
	}
	return false
}

// finish writes the caption: the subject, the ground and the style in one of several orders. A style other than
// the usual one is always told.
func (s *Set) finish(r *rand.Rand, c scene, subject string) (scene, bool) {
	if r.IntN(10) == 0 && hasPrefix(subject, "a ", "an ", "two ", "three ", "four ") {
		subject = pick(r, "a picture of ", "an emoji of ", "an icon of ", "a drawing of ") + subject
	}
	style := s.pictures[c.things[0].picture].Style
	if style == UsualStyle && r.IntN(3) > 0 {
		style = ""
	}
	c.caption = caption(r, subject, c.ground, style)
	return c, true
}

func caption(r *rand.Rand, subject string, g ground, style string) string {
	text := subject
	if g.phrase != "" {
		if g.landscape == nil && r.IntN(6) == 0 {
			_, color, _ := strings.Cut(strings.TrimPrefix(g.phrase, "on "), " ") // without its article
			text += ", " + color
		} else {
			text += " " + g.phrase
		}
	}
	if style == "" {
		return text
	}
	switch r.IntN(8) {
	case 0:
		return style + " style, " + text
	case 1:
		return text + " in " + style + " style"
	}
	return text + ", " + style + " style"
}
