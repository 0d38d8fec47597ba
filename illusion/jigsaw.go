package illusion

import (
	"fmt"

	"github.com/unnoise/unnoise/diffusion"
)

// A puzzle of 4×4 pieces: 4 corners, 8 edges, 4 inner ones. All pieces of a kind have the same outline but for
// quarter turns, so that each fits into every place of its kind, in one way. The reason: each piece of the outer ring
// has a tab into the next one clockwise, so has each of the inner ring, and each edge has one into the inner piece
// beside it.
//
//	c e e c
//	e i i e
//	e i i e
//	c e e c
func jigsaw(name string, p []float64) View {
	fits := func(h, w int) error {
		if h != w || h%4 != 0 {
			return fmt.Errorf("needs square images whose side 4 divides, found %d×%d pixels", w, h)
		}
		return nil
	}
	return &permutation{name: name, fits: fits, cut: func(h, w int) pieces {
		cut := grid(h, w, 4)
		cut.addTabs(h / 4)
		g := diffusion.NewGenerator(uint64(p[0]))
		moves := make([]move, len(cut.moves))
		for _, places := range [][]int{corners, edges, inner} {
			each := len(places) / 4 // on a side
			for i, k := range g.Perm(len(places)) {
				from, to := places[k], places[i]
				moves[from] = move{from: cut.moves[from].from, to: cut.moves[to].from, turns: i/each - k/each}
			}
		}
		cut.moves = moves
		return cut
	}}
}

// Places of pieces in reading order, listed clockwise.
var (
	corners = []int{0, 3, 15, 12}
	edges   = []int{1, 2, 7, 11, 14, 13, 8, 4}
	inner   = []int{5, 6, 10, 9}
	ring    = []int{0, 1, 2, 3, 7, 11, 15, 14, 13, 12, 8, 4}
)

// addTabs gives the pieces of a 4×4 grid, s pixels a side, their outlines.
func (p pieces) addTabs(s int) {
	for i, piece := range ring {
		p.addTab(s, piece, ring[(i+1)%len(ring)])
	}
	for i, piece := range inner {
		p.addTab(s, piece, inner[(i+1)%len(inner)])
	}
	for _, t := range [][2]int{{1, 5}, {2, 6}, {7, 6}, {11, 10}, {14, 10}, {13, 9}, {8, 9}, {4, 5}} {
		p.addTab(s, t[0], t[1])
	}
}

// addTab lets a piece reach into its neighbor.
func (p pieces) addTab(s, piece, neighbor int) {
	w := 4 * s
	top, left := neighbor/4*s, neighbor%4*s
	for y := range s {
		for x := range s {
			along, deep := x, y // deep: from the side of the neighbor that the piece is at
			switch neighbor - piece {
			case -4: // the neighbor is above
				deep = s - 1 - y
			case 1: // to the right
				along, deep = y, x
			case -1: // to the left
				along, deep = y, s-1-x
			}
			if tab(along, deep, s) {
				p.of[(top+y)*w+left+x] = piece
			}
		}
	}
}

// tab reports whether a tab in the middle of a side of s pixels covers a pixel: a disc of radius 0.17 s on a neck that
// is 0.2 s wide.
func tab(along, deep, s int) bool {
	u := 2*along + 1 - s // in half pixels, so that all tabs are alike to the pixel
	d := 2*deep + 1
	du := float64(u) / float64(2*s)
	dd := float64(d)/float64(2*s) - 0.18
	return du*du+dd*dd < 0.17*0.17 || dd < 0 && du*du < 0.1*0.1
}
