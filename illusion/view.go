package illusion

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/unnoise/unnoise/diffusion"
)

// View is one way to look at pictures. It is linear and orthogonal: it keeps norms and inner products, so that noise
// stays standard normal noise, and an estimate of any kind (ε, x_0, v, a velocity) may be mapped back by Invert.
// Both methods return new images.
//
// A view acts on values around the middle of their range. That matters where it changes values: pictures in [0,1] are
// shifted by -1/2 before and back afterwards.
//
// Views of this package are a [fmt.Stringer]: [ParseView] makes the view again of its string. They may be used by
// several goroutines. They panic where [Fits] reports an error.
type View interface {
	Apply(diffusion.Images) diffusion.Images  // what is seen
	Invert(diffusion.Images) diffusion.Images // the images that are seen so
}

// Valued is a View that changes values and not only their places. A learned variance has no sign, so that only the
// change of places is done to it.
type Valued interface {
	View
	Places() View
}

// places returns what the view does to a learned variance.
func places(v View) View {
	if v, ok := v.(Valued); ok {
		return v.Places()
	}
	return v
}

// changesValues reports whether the view does more than to change places.
func changesValues(v View) bool {
	if s, ok := v.(sequence); ok {
		return slices.ContainsFunc(s, changesValues)
	}
	_, yes := v.(Valued)
	return yes
}

// Sized is a View or a Band that needs images of certain sizes. Fits returns an error for others.
type Sized interface {
	Fits(c, h, w int) error
}

// Fits returns an error where a view or a band can't act on images of c channels, h rows and w columns.
func Fits(viewOrBand any, c, h, w int) error {
	if s, ok := viewOrBand.(Sized); ok {
		return s.Fits(c, h, w)
	}
	return nil
}

// pieces cuts a picture into pieces that move as they are.
type pieces struct {
	of    []int // the piece of each pixel
	moves []move

	// On their way: squares joined at their corners; pieces that lie on the picture.
	hinged, above bool
}

// move is a rigid motion of a piece: upside down where flip says so, then quarter turns clockwise, about its center,
// which goes from one place to another. Places are in half pixels, (1, 1) the center of the first one.
type move struct {
	from, to point
	flip     bool
	turns    int
	roll     bool // what leaves the picture at the bottom enters it at the top, and the reverse
}

type point struct{ x, y int }

// stay is a move that leaves a piece where it is.
func stay(h, w int) move { return move{from: point{w, h}, to: point{w, h}} }

// at returns where the move takes p in a picture of h rows.
func (m move) at(p point, h int) point {
	x, y := p.x-m.from.x, p.y-m.from.y
	if m.flip {
		y = -y
	}
	for range m.turns & 3 {
		x, y = -y, x
	}
	x, y = x+m.to.x, y+m.to.y
	if m.roll {
		y = mod(y, 2*h)
	}
	return point{x, y}
}

func mod(a, n int) int { return (a%n + n) % n }

// permutation is a View that moves pieces.
type permutation struct {
	name string
	fits func(h, w int) error // nil: all sizes
	cut  func(h, w int) pieces

	tables sync.Map // of size: []int32, the place that each pixel goes to
}

func (p *permutation) String() string { return p.name }

func (p *permutation) Fits(_, h, w int) error {
	if h < 1 || w < 1 {
		return fmt.Errorf("the view %s needs images, found %d×%d pixels", p.name, w, h)
	}
	if p.fits == nil {
		return nil
	}
	if err := p.fits(h, w); err != nil {
		return fmt.Errorf("the view %s %w", p.name, err)
	}
	return nil
}

type size struct{ h, w int }

// table returns the place that each pixel goes to.
func (p *permutation) table(m diffusion.Images) []int32 {
	key := size{m.H, m.W}
	if t, ok := p.tables.Load(key); ok {
		return t.([]int32)
	}
	if err := p.Fits(m.C, m.H, m.W); err != nil {
		panic("illusion: " + err.Error())
	}
	cut := p.cut(m.H, m.W)
	table := make([]int32, m.H*m.W)
	for i := range table {
		to := cut.moves[cut.of[i]].at(point{2*(i%m.W) + 1, 2*(i/m.W) + 1}, m.H)
		table[i] = int32(to.y/2*m.W + to.x/2)
	}
	p.tables.Store(key, table)
	return table
}

func (p *permutation) Apply(m diffusion.Images) diffusion.Images {
	out, table := m.Like(), p.table(m)
	for plane := 0; plane < len(m.Data); plane += len(table) {
		src, dst := m.Data[plane:][:len(table)], out.Data[plane:][:len(table)]
		for i, to := range table {
			dst[to] = src[i]
		}
	}
	return out
}

func (p *permutation) Invert(m diffusion.Images) diffusion.Images {
	out, table := m.Like(), p.table(m)
	for plane := 0; plane < len(m.Data); plane += len(table) {
		src, dst := m.Data[plane:][:len(table)], out.Data[plane:][:len(table)]
		for i, to := range table {
			dst[i] = src[to]
		}
	}
	return out
}

// negation is x → -x.
type negation struct{}

func (negation) String() string                               { return "negate" }
func (negation) Places() View                                 { return sequence(nil) }
func (n negation) Invert(m diffusion.Images) diffusion.Images { return n.Apply(m) }

func (negation) Apply(m diffusion.Images) diffusion.Images {
	out := m.Like()
	for i, v := range m.Data {
		out.Data[i] = -v
	}
	return out
}

// sequence is one view after the other.
type sequence []View

func (s sequence) String() string {
	names := make([]string, len(s))
	for i, v := range s {
		names[i] = fmt.Sprint(v)
	}
	return strings.Join(names, "+")
}

func (s sequence) Apply(m diffusion.Images) diffusion.Images {
	out := m.Clone()
	for _, v := range s {
		out = v.Apply(out)
	}
	return out
}

func (s sequence) Invert(m diffusion.Images) diffusion.Images {
	out := m.Clone()
	for i := range s {
		out = s[len(s)-1-i].Invert(out)
	}
	return out
}

func (s sequence) Places() View {
	moved := make(sequence, len(s))
	for i, v := range s {
		moved[i] = places(v)
	}
	return moved
}

func (s sequence) Fits(c, h, w int) error {
	for _, v := range s {
		if err := Fits(v, c, h, w); err != nil {
			return err
		}
	}
	return nil
}

// add returns x + a, and x itself for 0.
func add(x diffusion.Images, a float32) diffusion.Images {
	if a == 0 {
		return x
	}
	x = x.Clone()
	for i := range x.Data {
		x.Data[i] += a
	}
	return x
}
