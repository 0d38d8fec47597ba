package captions

import (
	"cmp"
	"fmt"
	"image"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/dataset/emoji"
	"github.com/unnoise/unnoise/diffusion"
)

// Gallery are labelled pictures, alone on white, to be found by how they look.
type Gallery struct {
	Pictures []emoji.Picture
	features [][]float32 // of each picture, then of each one's mirror image
}

// NewGallery looks at all pictures of a set, those too that training does not see.
func NewGallery(set *emoji.Set) (*Gallery, error) {
	g := &Gallery{Pictures: set.Pictures()}
	for _, mirrored := range []bool{false, true} {
		for i := range g.Pictures {
			m, err := set.Picture(i, side)
			if err != nil {
				return nil, err
			}
			x := pixels(captioned.Example{Image: m}, mirrored)
			g.features = append(g.features, features(x, content(x)))
		}
	}
	return g, nil
}

// pixels is a picture, or its mirror image, in [0,1].
func pixels(e captioned.Example, mirrored bool) []float32 {
	x := make([]float32, 3*side*side)
	captioned.Pixels(e.Image, mirrored, x)
	for i, v := range x {
		x[i] = (v + 1) / 2
	}
	return x
}

// nearest returns the n pictures that look most like an image.
func (g *Gallery) nearest(x []float32, n int) (found []int) {
	for _, i := range nearest(g.features, features(x, content(x)), 2*n) {
		if i %= len(g.Pictures); !slices.Contains(found, i) {
			found = append(found, i)
		}
	}
	return found[:min(n, len(found))]
}

// Read returns for each image in [0,1] the one of the names whose pictures look most like it.
func (g *Gallery) Read(images diffusion.Images, names []string) ([]string, error) {
	if images.C != 3 || images.H != side || images.W != side {
		return nil, fmt.Errorf("expected images of 3×%d×%[1]d, found %s", side, images.Shape())
	}
	var known [][]float32
	var of []string
	for _, name := range names {
		for i := range g.features {
			if carries(g.Pictures[i%len(g.Pictures)], name) {
				known, of = append(known, g.features[i]), append(of, name)
			}
		}
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("no picture is called %s", strings.Join(names, " or "))
	}
	read := make([]string, images.N)
	for i := range read {
		x := images.Slice(i, i+1).Data
		read[i] = of[nearest(known, features(x, content(x)), 1)[0]]
	}
	return read, nil
}

// nearest returns the n descriptions that are nearest to f, the nearest first.
func nearest(all [][]float32, f []float32, n int) []int {
	distances := make([]float32, len(all))
	order := make([]int, len(all))
	for i, other := range all {
		order[i] = i
		for k, v := range other {
			distances[i] += (v - f[k]) * (v - f[k])
		}
	}
	slices.SortFunc(order, func(a, b int) int { return cmp.Compare(distances[a], distances[b]) })
	return order[:min(n, len(order))]
}

// carries reports whether a picture carries a name.
func carries(p emoji.Picture, name string) bool {
	return p.Name == name || slices.Contains(p.Names, name)
}

// image8 is an image in [0,1] as a picture.
func image8(x []float32) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, side, side))
	for i := range side * side {
		for c := range 3 {
			m.Pix[4*i+c] = uint8(255*min(max(x[c*side*side+i], 0), 1) + 0.5)
		}
		m.Pix[4*i+3] = 255
	}
	return m
}
