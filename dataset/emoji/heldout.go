package emoji

import (
	"math/rand/v2"
	"slices"

	"github.com/unnoise/unnoise/dataset/captioned"
)

// What training never sees, chosen by hashes of the words: of one name in sixteen its pictures in one style, of the
// pairs of names and colors, names and grounds, names and names one in sixteen.
const heldOutShare = 1.0 / 16

// styleHeldOut returns the style in which a name is held out, or "".
func styleHeldOut(name string) string {
	if x := share("style", name) / heldOutShare; x < 1 {
		return Styles[int(x*float64(len(Styles)))]
	}
	return ""
}

func colorHeldOut(name, color string) bool { return share("color", name, color) < heldOutShare }

func groundHeldOut(name, color string) bool { return share("ground", name, color) < heldOutShare }

func pairHeldOut(a, b string) bool {
	return share("pair", min(a, b), max(a, b)) < heldOutShare
}

// Kinds of what is held out.
const (
	HeldStyle  = "style"  // a name in a style
	HeldColor  = "color"  // a name in a color
	HeldGround = "ground" // a name on a ground of a color
	HeldPair   = "pair"   // two names
)

// Held is something that training never shows.
type Held struct {
	Kind    string
	Caption string
	Style   string
	Picture int    // of Pictures
	Other   int    // the second picture of a pair
	Color   string // of the thing or the ground, or the landscape's word
	scene   scene
}

// Heldout lists what training never shows, of the names that everyone knows. It is a captioned.Source, the examples of
// which are the same for every seed.
type Heldout struct {
	set  *Set
	List []Held
}

// heldMost is how many of each kind are listed.
const heldMost = 128

// Heldout lists what is held out.
func (s *Set) Heldout() *Heldout {
	h := &Heldout{set: s}
	var styles, colors, grounds, pairs []Held
	seen := map[string]bool{} // names in a style, of which one picture is enough
	everyday := []int{}
	for i, p := range s.pictures {
		if !p.Everyday() || seen[p.Name+"/"+p.Style] {
			continue
		}
		seen[p.Name+"/"+p.Style] = true
		if p.Split == "test" {
			styles = append(styles, Held{Kind: HeldStyle, Picture: i})
			continue
		}
		everyday = append(everyday, i)
		for _, c := range hues {
			if p.Tint[0] > 0 && p.Color != c.word && colorHeldOut(p.Name, c.word) {
				colors = append(colors, Held{Kind: HeldColor, Picture: i, Color: c.word})
			}
		}
		for _, c := range groundColors[1:] {
			if groundHeldOut(p.Name, c.word) && distance(c.lch, fromArray(p.Edge)) >= contrast {
				grounds = append(grounds, Held{Kind: HeldGround, Picture: i, Color: c.word})
			}
		}
		for _, l := range landscapes {
			if l.fits(fromArray(p.Edge)) && groundHeldOut(p.Name, l.word) {
				grounds = append(grounds, Held{Kind: HeldGround, Picture: i, Color: l.word})
			}
		}
	}
	r := rand.New(rand.NewPCG(1, 1))
	for tries := 0; len(pairs) < heldMost && tries < 100*heldMost && len(everyday) > 0; tries++ {
		a, b := pick(r, everyday...), pick(r, everyday...)
		p, q := s.pictures[a], s.pictures[b]
		if p.Style == q.Style && p.Name != q.Name && pairHeldOut(p.Name, q.Name) {
			pairs = append(pairs, Held{Kind: HeldPair, Picture: a, Other: b})
		}
	}
	for _, list := range [][]Held{styles, colors, grounds, pairs} {
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		for _, item := range list[:min(len(list), heldMost)] {
			h.List = append(h.List, s.hold(item))
		}
	}
	return h
}

// hold fills in style, scene and caption.
func (s *Set) hold(item Held) Held {
	p := s.pictures[item.Picture]
	item.Style = p.Style
	c := scene{ground: white, things: []thing{single(item.Picture)}}
	subject := withArticle(p.Names[0])
	switch item.Kind {
	case HeldColor:
		i := slices.IndexFunc(hues, func(h hue) bool { return h.word == item.Color })
		c.things[0].color = &hues[i]
		if item.Color == "white" {
			c.ground = ground{top: lch{l: 0.68}, bottom: lch{l: 0.68}}
		}
		name := p.Names[0]
		if j := slices.IndexFunc(p.Names, func(n string) bool { return !hasColor(n) }); j >= 0 {
			name = p.Names[j]
		}
		subject = withArticle(name, item.Color)
	case HeldGround:
		if i := slices.IndexFunc(landscapes, func(l landscape) bool { return l.word == item.Color }); i >= 0 {
			l := &landscapes[i]
			c.ground = ground{l.phrases[0], l.top, l.bottom, l, 1}
			c.things[0].size = 20
			if l.horizon < 1 {
				c.things[0].y = 19
			}
			subject += " " + l.phrases[0]
			break
		}
		i := slices.IndexFunc(groundColors, func(h hue) bool { return h.word == item.Color })
		c.ground = ground{top: groundColors[i].lch, bottom: groundColors[i].lch}
		subject += " on " + withArticle(item.Color+" background")
	case HeldPair:
		c.things = []thing{
			{picture: item.Picture, size: 15, x: 8.25, y: 16}, {picture: item.Other, size: 15, x: 23.75, y: 16},
		}
		subject += " and " + withArticle(s.pictures[item.Other].Names[0])
	}
	c.caption = subject + ", " + p.Style + " style"
	item.scene, item.Caption = c, c.caption
	return item
}

// Len returns the number of what is listed.
func (h *Heldout) Len() int { return len(h.List) }

// Caption returns the caption of item i.
func (h *Heldout) Caption(_ uint64, i int) (string, error) { return h.List[i%len(h.List)].Caption, nil }

// At draws item i.
func (h *Heldout) At(_ uint64, i, size int) (captioned.Example, error) {
	return h.set.example(h.List[i%len(h.List)].scene, size)
}
