package captions

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/dataset/emoji"
	"github.com/unnoise/unnoise/diffusion"
)

// Share tells of images how often the nearest picture is what was asked for, and how often one of the five nearest.
type Share struct {
	Images int     `json:"images"`
	Of     int     `json:"of"` // pictures that they are compared with
	Top1   float64 `json:"top1"`
	Top5   float64 `json:"top5"`
	Style  float64 `json:"style,omitempty"` // how often the nearest picture has the style that was asked for
}

// Scores are what images are worth that were drawn of captions.
type Scores struct {
	// of names in styles, among all pictures of the set
	Names Share `json:"names"`
	// of what training never saw, by kind: a name in a style among all pictures of the set; the others among all that is
	// held out of the kind
	Held map[string]Share `json:"held_out,omitempty"`
}

// Sample is an image that was drawn of a caption, and the nearest picture.
type Sample struct {
	Caption string
	Image   []float32 // [3,32,32] in [0,1]
	Nearest int       // of the gallery's pictures
	Right   bool      // it carries the name
}

// Draw draws an image [3,32,32] in [0,1] of each caption.
type Draw func(ctx context.Context, captions []string) (diffusion.Images, error)

// Judge measures what is drawn of captions.
type Judge struct {
	Gallery *Gallery
	set     *emoji.Set
	asked   []int // pictures: a name in a style each
	held    *emoji.Heldout
	of      map[string][][]float32 // descriptions of what is held out, by kind
	places  []int                  // of each held-out item in its kind
}

// Kinds of what is held out, in the order of reports.
var Kinds = []string{emoji.HeldStyle, emoji.HeldColor, emoji.HeldGround, emoji.HeldPair}

// NewJudge reads the set, and chooses names that everyone knows, each in all styles that training sees.
func NewJudge(set *emoji.Set, names int) (*Judge, error) {
	g, err := NewGallery(set)
	if err != nil {
		return nil, err
	}
	j := &Judge{Gallery: g, set: set, held: set.Heldout(), of: map[string][][]float32{}}
	var all []string
	of := map[string][]int{}
	for i, p := range g.Pictures {
		if p.Split != "train" || !p.Everyday() ||
			slices.ContainsFunc(of[p.Name], func(k int) bool { return g.Pictures[k].Style == p.Style }) {
			continue
		}
		if of[p.Name] == nil {
			all = append(all, p.Name)
		}
		of[p.Name] = append(of[p.Name], i)
	}
	rand.New(rand.NewPCG(2, 0)).Shuffle(len(all), func(a, b int) { all[a], all[b] = all[b], all[a] })
	for _, name := range all[:min(names, len(all))] {
		j.asked = append(j.asked, of[name]...)
	}
	for i, item := range j.held.List {
		e, err := j.held.At(0, i, side)
		if err != nil {
			return nil, err
		}
		j.places = append(j.places, len(j.of[item.Kind]))
		j.of[item.Kind] = append(j.of[item.Kind], features(pixels(e, false), whole))
	}
	return j, nil
}

// batch is how many images are drawn at a time.
const batch = 32

// Measure draws and judges. held also draws what training never saw. done is told how many images are.
func (j *Judge) Measure(ctx context.Context, draw Draw, held bool, done func(n, all int)) (Scores, []Sample, error) {
	captions := make([]string, len(j.asked))
	for i, k := range j.asked {
		captions[i] = j.Gallery.Pictures[k].Text
	}
	if held {
		for _, item := range j.held.List {
			captions = append(captions, item.Caption)
		}
	}
	var images [][]float32
	for from := 0; from < len(captions); from += batch {
		done(from, len(captions))
		part := captions[from:min(from+batch, len(captions))]
		x, err := draw(ctx, part)
		if err != nil {
			return Scores{}, nil, err
		}
		if x.N != len(part) || x.C != 3 || x.H != side || x.W != side {
			return Scores{}, nil, fmt.Errorf("expected %d images of 3×%d×%[2]d, found %s", len(part), side, x.Shape())
		}
		for i := range x.N {
			images = append(images, x.Slice(i, i+1).Data)
		}
	}
	return j.judge(images, captions, held)
}

// Baselines are what the set's own pictures get: drawn again as in training, those of the name and the style that is
// asked for; and any pictures instead.
func (j *Judge) Baselines() (own, random Scores, err error) {
	r := rand.New(rand.NewPCG(3, 0))
	var same, other [][]float32
	for _, k := range j.asked {
		for _, to := range []*[][]float32{&same, &other} {
			if to == &other {
				k = j.asked[r.IntN(len(j.asked))]
			}
			e, err := j.set.Single(r, k, side)
			if err != nil {
				return own, random, err
			}
			*to = append(*to, pixels(e, r.IntN(2) == 0))
		}
	}
	if own, _, err = j.judge(same, nil, false); err != nil {
		return own, random, err
	}
	random, _, err = j.judge(other, nil, false)
	return own, random, err
}

// judge compares images, first those of names, then those of what is held out.
func (j *Judge) judge(images [][]float32, captions []string, held bool) (s Scores, samples []Sample, err error) {
	const most = 5
	g := j.Gallery
	count := func(to *Share, x []float32, k int) []int {
		p, found := g.Pictures[k], g.nearest(x, most)
		to.Images++
		to.Of = len(g.Pictures)
		right := slices.IndexFunc(found, func(i int) bool { return carries(g.Pictures[i], p.Name) })
		if right == 0 {
			to.Top1++
		}
		if right >= 0 {
			to.Top5++
		}
		if g.Pictures[found[0]].Style == p.Style {
			to.Style++
		}
		return found
	}
	for i, k := range j.asked {
		found := count(&s.Names, images[i], k)
		if captions != nil {
			samples = append(samples, Sample{captions[i], images[i], found[0],
				carries(g.Pictures[found[0]], g.Pictures[k].Name)})
		}
	}
	s.Names = s.Names.mean()
	if !held {
		return s, samples, nil
	}
	s.Held = map[string]Share{}
	for i, item := range j.held.List {
		x, share := images[len(j.asked)+i], s.Held[item.Kind]
		if item.Kind == emoji.HeldStyle {
			count(&share, x, item.Picture)
		} else {
			share.Images++
			share.Of = len(j.of[item.Kind])
			switch slices.Index(nearest(j.of[item.Kind], features(x, whole), most), j.places[i]) {
			case -1:
			case 0:
				share.Top1++
				share.Top5++
			default:
				share.Top5++
			}
		}
		s.Held[item.Kind] = share
	}
	for kind, share := range s.Held {
		s.Held[kind] = share.mean()
	}
	return s, samples, nil
}

// mean makes shares of counts.
func (s Share) mean() Share {
	n := float64(max(s.Images, 1))
	s.Top1, s.Top5, s.Style = s.Top1/n, s.Top5/n, s.Style/n
	return s
}

// sheet has samples with the nearest picture behind each.
func (j *Judge) sheet(samples []Sample) ([]captioned.Example, error) {
	var all []captioned.Example
	for _, s := range samples {
		m, err := j.set.Picture(s.Nearest, side)
		if err != nil {
			return nil, err
		}
		mark := "nearest: "
		if s.Right {
			mark = "nearest, right: "
		}
		all = append(all, captioned.Example{Image: image8(s.Image), Caption: s.Caption},
			captioned.Example{Image: m, Caption: mark + j.Gallery.Pictures[s.Nearest].Text})
	}
	return all, nil
}
