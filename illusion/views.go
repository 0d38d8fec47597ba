package illusion

import (
	"fmt"
	"strings"

	"github.com/unnoise/unnoise/diffusion"
)

// Their order is that of lists for people.
var views = []kind[View]{
	{named("identity", "the picture as it is"), whole(false, 0)},
	{named("flip", "upside down, as a mirror below shows it"), whole(true, 0)},
	{named("mirror", "left and right exchanged"), whole(true, 2)},
	{named("rotate_cw", "turned clockwise by 90°"), whole(false, 1)},
	{named("rotate_ccw", "turned counterclockwise by 90°"), whole(false, 3)},
	{named("rotate_180", "turned by 180°"), whole(false, 2)},
	{named("negate", "dark and light exchanged, as in a photographic negative"), negate},
	{named("skew", "each column shifted down by 1.5 times its distance from the middle, around the edges"), skew},
	{named("patch_permute", "patches in random order", patches, seed), patchPermute},
	{named("pixel_permute", "pixels in random order", seed, finest), pixelPermute},
	{named("jigsaw", "a puzzle of 16 pieces put together in another way", seed), jigsaw},
	{named("inner_circle", "the disc in the middle turned, 3/4 of the side wide", degrees), innerCircle},
	{named("square_hinge", "3×3 squares, hinged at their corners, each turned by 90°"), squareHinge},
	{named("patch_flip", "each of the patches upside down in its place", patches), patchwise(true, 0)},
	{named("patch_mirror", "left and right exchanged in each of the patches", patches), patchwise(true, 2)},
	{named("patch_rotate", "each of the patches turned by 180° in its place", patches), patchwise(false, 2)},
}

var (
	seed    = Parameter{Name: "seed", Max: 1<<32 - 1, Whole: true, Text: "of the random order"}
	patches = Parameter{Name: "patches", Default: 4, Min: 1, Max: 1024, Whole: true, Text: "along a side"}
	finest  = Parameter{Name: "pieces", Max: 1024, Whole: true, Text: "along a side; 0: the most that fit, up to 64"}
	degrees = Parameter{Name: "degrees", Default: 180, Min: 90, Max: 270, Step: 90, Text: "clockwise: 90, 180 or 270"}
)

// whole moves the picture in one piece.
func whole(flip bool, turns int) func(string, []float64) View {
	return func(name string, _ []float64) View {
		v := &permutation{name: name, cut: func(h, w int) pieces {
			m := stay(h, w)
			m.flip, m.turns = flip, turns
			return pieces{of: make([]int, h*w), moves: []move{m}}
		}}
		if turns%2 == 1 {
			v.fits = square
		}
		return v
	}
}

func square(h, w int) error {
	if h != w {
		return fmt.Errorf("needs square images, found %d×%d pixels", w, h)
	}
	return nil
}

func negate(string, []float64) View { return negation{} }

func skew(name string, _ []float64) View {
	return &permutation{name: name, cut: func(h, w int) pieces {
		cut := pieces{of: make([]int, h*w)}
		for x := range w {
			down := int(1.5 * float64(x-h/2))
			cut.moves = append(cut.moves, move{from: point{1, 1}, to: point{1, 1 + 2*down}, roll: true})
			for y := range h {
				cut.of[y*w+x] = x
			}
		}
		return cut
	}}
}

// grid cuts a picture into n×n patches, in reading order, that stay where they are.
func grid(h, w, n int) pieces {
	cut := pieces{of: make([]int, h*w), moves: make([]move, n*n)}
	ph, pw := h/n, w/n
	for i := range cut.of {
		cut.of[i] = i/w/ph*n + i%w/pw
	}
	for i := range cut.moves {
		center := point{(2*(i%n) + 1) * pw, (2*(i/n) + 1) * ph}
		cut.moves[i] = move{from: center, to: center}
	}
	return cut
}

// divisible returns the check whether n patches fit along both sides.
func divisible(n int) func(h, w int) error {
	return func(h, w int) error {
		if h%n == 0 && w%n == 0 {
			return nil
		}
		var fitting []string
		for k := 2; k <= min(h, w, 64); k++ {
			if h%k == 0 && w%k == 0 {
				fitting = append(fitting, fmt.Sprint(k))
			}
		}
		use := "no number of patches does"
		if len(fitting) > 0 {
			use = "these numbers of patches do: " + strings.Join(fitting, ", ")
		}
		return fmt.Errorf("needs sides that %d divides, found %d×%d pixels; %s", n, w, h, use)
	}
}

// shuffle sends the patches to random places: the k-th place gets patch torch.randperm(n²)[k].
func shuffle(cut pieces, seed float64) pieces {
	moves := make([]move, len(cut.moves))
	for place, patch := range diffusion.NewGenerator(uint64(seed)).Perm(len(moves)) {
		moves[patch] = move{from: cut.moves[patch].from, to: cut.moves[place].from}
	}
	cut.moves = moves
	return cut
}

func patchPermute(name string, p []float64) View {
	n := int(p[0])
	return &permutation{name: name, fits: divisible(n), cut: func(h, w int) pieces {
		return shuffle(grid(h, w, n), p[1])
	}}
}

func pixelPermute(name string, p []float64) View {
	v := &permutation{name: name, cut: func(h, w int) pieces {
		n := int(p[1])
		if n == 0 {
			for n = min(h, w, 64); h%n != 0 || w%n != 0; n-- {
			}
		}
		return shuffle(grid(h, w, n), p[0])
	}}
	if p[1] > 0 {
		v.fits = divisible(int(p[1]))
	}
	return v
}

func innerCircle(name string, p []float64) View {
	return &permutation{name: name, fits: square, cut: func(h, w int) pieces {
		cut := pieces{of: make([]int, h*w), moves: []move{stay(h, w), stay(h, w)}, above: true}
		cut.moves[1].turns = int(p[0]) / 90
		for i := range cut.of {
			x, y := 2*(i%w)+1-w, 2*(i/w)+1-h // from the middle, in half pixels: the radius is 3/4 of the side
			if 16*(x*x+y*y) < 9*w*w {
				cut.of[i] = 1
			}
		}
		return cut
	}}
}

// squareHinge turns squares in a checkerboard's order; where 3 does not divide the side, the rest at its end stays.
func squareHinge(name string, _ []float64) View {
	fits := func(h, w int) error {
		if h != w || h < 6 {
			return fmt.Errorf("needs square images of at least 6 pixels a side, found %d×%d pixels", w, h)
		}
		return nil
	}
	return &permutation{name: name, fits: fits, cut: func(h, w int) pieces {
		n := h / 3
		cut := grid(3*n, 3*n, 3)
		for i := range cut.moves {
			cut.moves[i].turns = 1 + 2*(i%2)
		}
		of := make([]int, h*w)
		for i := range of {
			of[i] = len(cut.moves)
			if y, x := i/w, i%w; y < 3*n && x < 3*n {
				of[i] = cut.of[y*3*n+x]
			}
		}
		return pieces{of: of, moves: append(cut.moves, stay(h, w)), hinged: true}
	}}
}

func patchwise(flip bool, turns int) func(string, []float64) View {
	return func(name string, p []float64) View {
		n := int(p[0])
		return &permutation{name: name, fits: divisible(n), cut: func(h, w int) pieces {
			cut := grid(h, w, n)
			for i := range cut.moves {
				cut.moves[i].flip, cut.moves[i].turns = flip, turns
			}
			return cut
		}}
	}
}
