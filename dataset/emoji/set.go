package emoji

import (
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync"

	"github.com/unnoise/unnoise/dataset/captioned"
)

// cacheBytes bounds how much memory scaled pictures may take.
const cacheBytes = 1 << 30

// Set draws examples from a folder that Build made. It is a captioned.Source.
type Set struct {
	dir      string
	pictures []Picture
	things   []kind // those that training draws
	total    float64

	mu     sync.Mutex
	loaded map[int]*image.RGBA
	cached map[variant]*image.RGBA
	bytes  int
}

// kind is a concept with its pictures for training.
type kind struct {
	pictures []int
	upTo     float64 // sum of the weights up to it
}

// variant is a picture with its longer side at a number of pixels.
type variant struct{ picture, pixels int }

var _ captioned.Source = (*Set)(nil)

// Open reads which pictures a folder has. They are read when they are drawn for the first time.
func Open(dir string) (*Set, error) {
	pictures, err := readPictures(dir)
	if err != nil {
		return nil, err
	}
	s := &Set{dir: dir, pictures: pictures, loaded: map[int]*image.RGBA{}, cached: map[variant]*image.RGBA{}}
	at := map[string]int{}
	for i, p := range pictures {
		if p.Split != "train" {
			continue
		}
		k, ok := at[p.Concept]
		if !ok {
			k = len(s.things)
			at[p.Concept] = k
			s.total += p.Weight
			s.things = append(s.things, kind{upTo: s.total})
		}
		s.things[k].pictures = append(s.things[k].pictures, i)
	}
	if len(s.things) == 0 {
		return nil, fmt.Errorf("%s: expected pictures for training, found none", dir)
	}
	return s, nil
}

// Len returns the number of pictures for training.
func (s *Set) Len() (n int) {
	for _, k := range s.things {
		n += len(k.pictures)
	}
	return n
}

// Pictures returns all pictures, those held out too. They are shared: don't write to them.
func (s *Set) Pictures() []Picture { return s.pictures }

// Picture returns picture k of Pictures alone on white, as plain examples show it.
func (s *Set) Picture(k, size int) (*image.RGBA, error) {
	return s.draw(scene{ground: white, things: []thing{single(k)}}, size)
}

// Single draws picture k of Pictures alone on white, a little moved and of a size from 26 to 29 of 32.
func (s *Set) Single(r *rand.Rand, k, size int) (captioned.Example, error) {
	t := single(k)
	t.size = float64(26 + r.IntN(4))
	t.x, t.y = t.x+jitter(r, 1), t.y+jitter(r, 1)
	return s.example(scene{ground: white, things: []thing{t}, caption: s.pictures[k].Text}, size)
}

// Caption returns the caption of example i.
func (s *Set) Caption(seed uint64, i int) (string, error) { return s.scene(seed, i).caption, nil }

// At draws example i.
func (s *Set) At(seed uint64, i, size int) (captioned.Example, error) {
	return s.example(s.scene(seed, i), size)
}

func (s *Set) example(c scene, size int) (captioned.Example, error) {
	m, err := s.draw(c, size)
	return captioned.Example{Image: m, Caption: c.caption}, err
}

// thing is a picture in a scene, in units of 1/32 of its width.
type thing struct {
	picture int
	size    float64 // the longer side
	x, y    float64 // the middle
	color   *hue    // nil: as it is
}

// scene is an example before it is drawn.
type scene struct {
	ground  ground
	things  []thing
	caption string
}

func (s *Set) draw(c scene, size int) (*image.RGBA, error) {
	m := image.NewRGBA(image.Rect(0, 0, size, size))
	c.ground.draw(m)
	unit := float64(size) / 32
	for _, t := range c.things {
		p, err := s.scaled(t.picture, max(1, int(math.Round(t.size*unit))))
		if err != nil {
			return nil, err
		}
		if t.color != nil {
			from := fromArray(s.pictures[t.picture].Tint)
			p = recolor(p, from, t.color.lch)
		}
		at := image.Pt(int(math.Round(t.x*unit-float64(p.Rect.Dx())/2)),
			int(math.Round(t.y*unit-float64(p.Rect.Dy())/2)))
		draw.Draw(m, p.Rect.Add(at), p, image.Point{}, draw.Over)
	}
	return m, nil
}

// scaled returns a picture with its longer side at a number of pixels. It is shared.
func (s *Set) scaled(k, pixels int) (*image.RGBA, error) {
	s.mu.Lock()
	m, full := s.cached[variant{k, pixels}], s.loaded[k]
	s.mu.Unlock()
	if m != nil {
		return m, nil
	}
	if full == nil {
		var err error
		if full, err = s.load(k); err != nil {
			return nil, err
		}
	}
	m = scaled(full, pixels)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bytes < cacheBytes {
		if s.loaded[k] == nil {
			s.loaded[k] = full
			s.bytes += len(full.Pix)
		}
		if s.cached[variant{k, pixels}] == nil {
			s.cached[variant{k, pixels}] = m
			s.bytes += len(m.Pix)
		}
	}
	return m, nil
}

func (s *Set) load(k int) (*image.RGBA, error) {
	path := filepath.Join(s.dir, filepath.FromSlash(s.pictures[k].File))
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening a picture: %w", err)
	}
	defer f.Close()
	m, err := png.Decode(f)
	if err != nil {
		return nil, fmt.Errorf("%s: reading the picture: %w", path, err)
	}
	if m.Bounds().Empty() {
		return nil, fmt.Errorf("%s: expected a picture, found no pixels", path)
	}
	dst := image.NewRGBA(image.Rectangle{Max: m.Bounds().Size()})
	draw.Draw(dst, dst.Rect, m, m.Bounds().Min, draw.Src)
	return dst, nil
}

// kindAt returns the concept at a part of the sum of weights, from 0 to 1.
func (s *Set) kindAt(x float64) kind {
	i := sort.Search(len(s.things), func(i int) bool { return s.things[i].upTo > x*s.total })
	return s.things[min(i, len(s.things)-1)]
}

// inStyle returns the picture of the concept in a style, or -1.
func (s *Set) inStyle(k kind, style string) int {
	i := slices.IndexFunc(k.pictures, func(i int) bool { return s.pictures[i].Style == style })
	if i < 0 {
		return -1
	}
	return k.pictures[i]
}
