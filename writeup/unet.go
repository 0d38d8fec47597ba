package writeup

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/mnistunet"
)

const unetStyle = figure.Theme +
	`.unet text{fill:currentColor;text-anchor:middle}.unet .shape{opacity:.75}.unet rect{fill:none;stroke:currentColor;stroke-opacity:.45}` +
	`.unet path{fill:none;stroke:` + figure.LineColor +
	`;stroke-width:1.5;stroke-linecap:round;stroke-linejoin:round}.unet .beside{stroke-dasharray:3 4}`

// unetBlock is a block of the network, or an end of it, and the shape of what it gives.
type unetBlock struct {
	name           string
	size, channels int
}

func (b unetBlock) shape() string  { return fmt.Sprintf("%d × %d × %d", b.size, b.size, b.channels) }
func (b unetBlock) String() string { return b.name + " " + b.shape() }

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
	d, size := c.Dim, mnistunet.Size
	down := []unetBlock{{"noisy image", size, 1}, {"in_block", size, d}, {"down1", size / 2, d},
		{"down2", size / 4, 2 * d}, {"flatten", 1, 2 * d}}
	up := []unetBlock{{answer, size, 1}, {"out_block", size, d}, {"up2", size, d}, {"up1", size / 2, d},
		{"unflatten", size / 4, 2 * d}}
	last := len(down) - 1
	words := "The UNet's blocks, with height × width × channels of what they give. Down:"
	for _, b := range down {
		words += fmt.Sprintf(" %s,", b)
	}
	words += " and up:"
	for _, b := range slices.Backward(up) {
		words += fmt.Sprintf(" %s,", b)
	}
	words = strings.TrimSuffix(words, ",") +
		". Dashed arrows lead from in_block to out_block, from down1 to up2, from down2 to up1."
	told := map[int]string{}
	if c.Condition != mnistunet.None {
		told = map[int]string{last - 1: "+ t₁", last - 2: "+ t₂"}
	}
	if c.Condition == mnistunet.Class {
		told = map[int]string{last - 1: "× c₁ + t₁", last - 2: "× c₂ + t₂"}
	}
	for i := last; i >= 0; i-- {
		if told[i] != "" {
			words += fmt.Sprintf(" Between %s and %s: %s.", up[i+1].name, up[i].name, told[i])
		}
	}

	var b bytes.Buffer
	fmt.Fprintf(&b,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="%s" font-family="system-ui, sans-serif" font-size="13" class="unet">`+"\n<style>%s</style>\n",
		width, last*step+boxHeight+16, words, unetStyle)
	arrow := func(class string, x0, y0, x1, y1 int) {
		dx, dy := cmp.Compare(x1, x0), cmp.Compare(y1, y0)
		fmt.Fprintf(&b, `<path class="%s" d="M%d %dL%d %d"/><path d="M%d %dL%d %dL%d %d"/>`+"\n", class, x0, y0, x1, y1,
			x1-6*dx-4*dy, y1-6*dy-4*dx, x1, y1, x1-6*dx+4*dy, y1-6*dy+4*dx)
	}
	for i := range down {
		top := 8 + i*step
		for _, at := range []struct {
			middle int
			unetBlock
		}{{left, down[i]}, {right, up[i]}} {
			fmt.Fprintf(&b,
				`<rect x="%d" y="%d" width="%d" height="%d" rx="8"/><text x="%d" y="%d">%s</text><text class="shape" x="%d" y="%d">%s</text>`+"\n",
				at.middle-boxWidth/2, top, boxWidth, boxHeight, at.middle, top+18, at.name, at.middle, top+36,
				at.shape())
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
		if told[i] != "" {
			fmt.Fprintf(&b, `<text x="%d" y="%d">%s</text>`+"\n", right-40, top+boxHeight+(step-boxHeight)/2+5, told[i])
		}
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
