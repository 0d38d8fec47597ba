package writeup

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/mnistunet"
)

const unetStyle = figure.Theme +
	`.unet text{fill:currentColor;text-anchor:middle}.unet .shape{opacity:.75}.unet rect{fill:none;stroke:currentColor;stroke-opacity:.45}` +
	`.unet path{fill:none;stroke:` + figure.LineColor + `;stroke-width:1.5;stroke-linecap:round;stroke-linejoin:round}.unet .beside{stroke-dasharray:3 4}`

// unet draws the network as SVG: the way down on the left, the way up on the right, and what the latter is told.
func unet(c mnistunet.Config) []byte {
	const (
		width, boxWidth, boxHeight = 380, 132, 44
		left, right                = 8 + boxWidth/2, width - 8 - boxWidth/2 // middles
		step                       = 78
	)
	answer := map[bool]string{true: "velocity", false: "noise"}[c.Objective == mnistunet.Flow]
	if c.Condition == mnistunet.None {
		answer = "clean image"
	}
	type box struct {
		name           string
		size, channels int
	}
	d, size := c.Dim, mnistunet.Size
	down := []box{{"noisy image", size, 1}, {"in_block", size, d}, {"down1", size / 2, d}, {"down2", size / 4, 2 * d}, {"flatten", 1, 2 * d}}
	up := []box{{answer, size, 1}, {"out_block", size, d}, {"up2", size, d}, {"up1", size / 2, d}, {"unflatten", size / 4, 2 * d}}
	last := len(down) - 1
	name := fmt.Sprintf("The UNet's blocks. Down from the noisy image: in_block, down1, down2, flatten. Up to the %s: unflatten, up1, up2, out_block.", answer)

	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s" font-family="system-ui, sans-serif" font-size="13" class="unet">`+"\n<title>%s</title>\n<style>%s</style>\n",
		width, last*step+boxHeight+16, name, name, unetStyle)
	arrow := func(class string, x0, y0, x1, y1 int) {
		dx, dy := cmp.Compare(x1, x0), cmp.Compare(y1, y0)
		fmt.Fprintf(&b, `<path class="%s" d="M%d %dL%d %d"/><path d="M%d %dL%d %dL%d %d"/>`+"\n", class, x0, y0, x1, y1,
			x1-6*dx-4*dy, y1-6*dy-4*dx, x1, y1, x1-6*dx+4*dy, y1-6*dy+4*dx)
	}
	for i := range down {
		top := 8 + i*step
		for _, at := range []struct {
			middle int
			box
		}{{left, down[i]}, {right, up[i]}} {
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" rx="8"/><text x="%d" y="%d">%s</text><text class="shape" x="%d" y="%d">%d × %d × %d</text>`+"\n",
				at.middle-boxWidth/2, top, boxWidth, boxHeight, at.middle, top+18, at.name, at.middle, top+36, at.size, at.size, at.channels)
		}
		switch i {
		case 0:
		case last:
			arrow("", left+boxWidth/2+4, top+boxHeight/2, right-boxWidth/2-4, top+boxHeight/2)
		default:
			arrow("beside", left+boxWidth/2+4, top+boxHeight/2, right-boxWidth/2-4, top+boxHeight/2)
		}
		if i < last {
			arrow("", left, top+boxHeight+4, left, top+step-4)
			arrow("", right, top+step-4, right, top+boxHeight+4)
		}
		if told := map[int]string{last - 1: "₁", last - 2: "₂"}[i]; told != "" && c.Condition != mnistunet.None {
			words := "+ t" + told
			if c.Condition == mnistunet.Class {
				words = "× c" + told + " " + words
			}
			fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`+"\n", right-40, top+boxHeight+(step-boxHeight)/2+5, words)
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
