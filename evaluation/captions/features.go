// Package captions measures whether pictures show what their captions say: by the nearest of the labelled pictures of
// the emoji set.
package captions

import "math"

const (
	side  = 32 // of the images
	cells = 8  // along a side
	turns = 6  // directions of edges
)

// size of a feature vector: mean color of each cell, and how much edge there is in it in each direction.
const size = cells*cells*3 + cells*cells*turns

// frame is the square of an image that is described.
type frame struct{ left, top, cell float64 } // cell: the side of one

// whole is all of an image.
var whole = frame{0, 0, side / cells}

// content is the square around what differs from the corners of an image.
func content(x []float32) frame {
	const pixels, differs = side * side, 0.15
	corners := [4]int{0, side - 1, pixels - side, pixels - 1}
	var ground [3]float32
	for c := range 3 {
		for _, i := range corners {
			ground[c] += x[c*pixels+i] / float32(len(corners))
		}
	}
	var rows, columns [side]int
	for i := range pixels {
		for c := range 3 {
			if math.Abs(float64(x[c*pixels+i]-ground[c])) > differs {
				rows[i/side]++
				columns[i%side]++
				break
			}
		}
	}
	span := func(counts [side]int) (low, high float64) {
		const least = 2 // one pixel is noise
		low, high = side, 0
		for i, n := range counts {
			if n >= least {
				low, high = min(low, float64(i)), float64(i+1)
			}
		}
		return low, high
	}
	top, bottom := span(rows)
	left, right := span(columns)
	if right-left < cells || bottom-top < cells { // next to nothing
		return whole
	}
	length := max(right-left, bottom-top)
	return frame{(left + right - length) / 2, (top + bottom - length) / 2, length / cells}
}

// features describes a square of an image [3,32,32] in [0,1] by where its colors and edges are. Each pixel counts for
// the cells around it by its distance to their middles, so that a small shift changes little. That edges count as much
// as colors was chosen on the set alone: then pictures of a thing in one style find the same thing in others best.
func features(x []float32, f frame) []float32 {
	v := make([]float32, size)
	colors, edges := v[:cells*cells*3], v[cells*cells*3:]
	at := func(c, row, column int) float64 {
		return float64(x[(c*side+min(max(row, 0), side-1))*side+min(max(column, 0), side-1)])
	}
	for row := range side {
		down := (float64(row)+0.5-f.top)/f.cell - 0.5
		for column := range side {
			// the strongest of the three gradients
			var dx, dy, strongest float64
			for c := range 3 {
				gx, gy := at(c, row, column+1)-at(c, row, column-1), at(c, row+1, column)-at(c, row-1, column)
				if m := gx*gx + gy*gy; m > strongest {
					dx, dy, strongest = gx, gy, m
				}
			}
			strongest = math.Sqrt(strongest)
			turn := math.Mod(math.Atan2(dy, dx)/math.Pi+2, 1) * turns
			low := int(turn) % turns
			share := turn - math.Floor(turn)
			right := (float64(column)+0.5-f.left)/f.cell - 0.5
			for i := int(math.Floor(down)); i <= int(math.Floor(down))+1; i++ {
				for j := int(math.Floor(right)); j <= int(math.Floor(right))+1; j++ {
					if i < 0 || j < 0 || i >= cells || j >= cells {
						continue
					}
					w := (1 - math.Abs(down-float64(i))) * (1 - math.Abs(right-float64(j))) / (f.cell * f.cell)
					for c := range 3 {
						colors[(i*cells+j)*3+c] += float32(w * at(c, row, column))
					}
					e := edges[(i*cells+j)*turns:]
					e[low] += float32(w * strongest * (1 - share) * f.cell)
					e[(low+1)%turns] += float32(w * strongest * share * f.cell)
				}
			}
		}
	}
	return v
}
