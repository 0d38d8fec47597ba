package figure

import (
	"image"
	"image/color"
	"slices"
)

// commonPalette returns at most n colors for opaque pictures, by median cut (Heckbert, "Color image quantization for
// frame buffer display", 1982): one palette for all frames, so that what rests does not flicker.
func commonPalette(frames []image.Image, n int) color.Palette {
	type bin struct{ count, r, g, b int } // of colors alike in their upper 5 bits: how many, and their sums
	bins := make([]bin, 1<<15)
	for _, frame := range frames {
		m := frame.(*image.RGBA)
		for y := range m.Rect.Dy() {
			row := m.Pix[y*m.Stride:][:4*m.Rect.Dx()]
			for i := 0; i < len(row); i += 4 {
				r, g, b := int(row[i]), int(row[i+1]), int(row[i+2])
				at := &bins[r>>3<<10|g>>3<<5|b>>3]
				at.count, at.r, at.g, at.b = at.count+1, at.r+r, at.g+g, at.b+b
			}
		}
	}
	bins = slices.DeleteFunc(bins, func(b bin) bool { return b.count == 0 })
	axes := []func(b bin) int{
		func(b bin) int { return b.r / b.count },
		func(b bin) int { return b.g / b.count },
		func(b bin) int { return b.b / b.count },
	}
	// spread returns the axis along which a box's colors vary most, and how much they do in all.
	spread := func(box []bin) (axis int, most float64) {
		for i, value := range axes {
			var count, sum, squares float64
			for _, b := range box {
				c, v := float64(b.count), float64(value(b))
				count, sum, squares = count+c, sum+c*v, squares+c*v*v
			}
			if s := squares - sum*sum/count; s > most {
				axis, most = i, s
			}
		}
		return axis, most
	}
	boxes := [][]bin{bins}
	for len(boxes) < n {
		widest, axis, most := -1, 0, 0.0
		for i, box := range boxes {
			if a, s := spread(box); s > most {
				widest, axis, most = i, a, s
			}
		}
		if widest < 0 {
			break
		}
		box := boxes[widest]
		slices.SortStableFunc(box, func(a, b bin) int { return axes[axis](a) - axes[axis](b) })
		total, below, cut := 0, 0, 0
		for _, b := range box {
			total += b.count
		}
		for cut < len(box)-1 && (cut == 0 || below+box[cut].count/2 < total/2) {
			below += box[cut].count
			cut++
		}
		boxes[widest] = box[:cut]
		boxes = append(boxes, box[cut:])
	}
	var colors color.Palette
	for _, box := range boxes {
		var all bin
		for _, b := range box {
			all.count, all.r, all.g, all.b = all.count+b.count, all.r+b.r, all.g+b.g, all.b+b.b
		}
		mean := func(sum int) uint8 { return uint8((sum + all.count/2) / all.count) }
		colors = append(colors, color.RGBA{mean(all.r), mean(all.g), mean(all.b), 255})
	}
	return colors
}
