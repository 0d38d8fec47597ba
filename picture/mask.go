package picture

import (
	"errors"
	"fmt"
	"image"
	"image/color"
	"math"
	"strconv"
	"strings"

	"github.com/unnoise/unnoise/diffusion"
)

// Mask selects pixels of a picture: those that are to be generated anew.
type Mask struct {
	selected *image.Gray // of the picture's size: white where selected
	beyond   bool        // what padding adds is selected too
}

func newMask(picture image.Image) Mask {
	return Mask{selected: image.NewGray(image.Rectangle{Max: picture.Bounds().Size()})}
}

// MaskOf reads a mask from an image of the picture's size: light pixels are selected, dark and transparent ones not.
func MaskOf(mask, picture image.Image) (Mask, error) {
	size, want := mask.Bounds().Size(), picture.Bounds().Size()
	if size != want {
		return Mask{}, fmt.Errorf("the mask is %d×%d pixels, expected the picture's %d×%d",
			size.X, size.Y, want.X, want.Y)
	}
	out := newMask(picture)
	b := mask.Bounds()
	for i := range out.selected.Pix {
		c := rgba64(mask, b.Min.X+i%size.X, b.Min.Y+i/size.X)
		if color.GrayModel.Convert(c).(color.Gray).Y >= 128 {
			out.selected.Pix[i] = 255
		}
	}
	return out, out.check()
}

// MaskAlpha selects what is transparent in a picture, and what padding adds to it.
func MaskAlpha(picture image.Image) (Mask, error) {
	out := newMask(picture)
	out.beyond = true
	b := picture.Bounds()
	for i := range out.selected.Pix {
		if rgba64(picture, b.Min.X+i%b.Dx(), b.Min.Y+i/b.Dx()).A < 0x8000 {
			out.selected.Pix[i] = 255
		}
	}
	return out, nil
}

// MaskBox selects a rectangle of a picture, given as "x,y,width,height" in its pixels, or in percent of its sides as
// in "25%,0,50%,100%". x and y are those of its upper left corner.
func MaskBox(box string, picture image.Image) (Mask, error) {
	size := picture.Bounds().Size()
	wrong := func(why string) error {
		return fmt.Errorf("the box %q %s, expected x,y,width,height within the picture's %d×%d pixels",
			box, why, size.X, size.Y)
	}
	parts := strings.Split(box, ",")
	if len(parts) != 4 {
		return Mask{}, wrong(fmt.Sprintf("has %d numbers", len(parts)))
	}
	var at [4]int
	for i, part := range parts {
		number, percent := strings.CutSuffix(strings.TrimSpace(part), "%")
		v, err := strconv.ParseFloat(number, 64)
		if err != nil || !(math.Abs(v) < 1e9) {
			return Mask{}, wrong(fmt.Sprintf("has %q for a number", part))
		}
		if percent {
			v *= float64([]int{size.X, size.Y}[i%2]) / 100
		}
		at[i] = int(math.Round(v))
	}
	r := image.Rect(at[0], at[1], at[0]+at[2], at[1]+at[3])
	if at[2] < 1 || at[3] < 1 {
		return Mask{}, wrong("is empty")
	}
	out := newMask(picture)
	if !r.In(out.selected.Rect) {
		return Mask{}, wrong("reaches beyond the picture")
	}
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			out.selected.Pix[y*out.selected.Stride+x] = 255
		}
	}
	return out, out.check()
}

// check returns an error where a mask selects nothing or all of the picture.
func (m Mask) check() error {
	selected := 0
	for _, v := range m.selected.Pix {
		if v > 0 {
			selected++
		}
	}
	switch selected {
	case 0:
		return errors.New("the mask selects nothing: what is to be generated anew is white in it")
	case len(m.selected.Pix):
		return errors.New("the mask selects the whole picture: nothing of it would be kept; what to keep is black in it")
	}
	return nil
}

// Mask returns the mask for the images that the picture became, [1,1,H,W]: 1 is generated anew, 0 is kept. A pixel
// is selected if half of it is. With feather, values rise from the mask's edge inwards within so many pixels of the
// images, so that what is kept is kept in full.
func (f Fitted) Mask(m Mask, feather float64) (diffusion.Images, error) {
	if m.selected == nil || m.selected.Rect.Size() != f.size {
		return diffusion.Images{}, fmt.Errorf("the mask is of another picture than the images, which show one of %d×%d",
			f.size.X, f.size.Y)
	}
	if !(feather >= 0 && feather <= 1024) {
		return diffusion.Images{}, fmt.Errorf("the mask's feather is %g pixels, expected 0 to 1024", feather)
	}
	h, w := f.Images.H, f.Images.W
	out := diffusion.NewImages(1, 1, h, w)
	selected := 0
	for i, p := range resample(m.selected, f.part, h, w) {
		if p[0] >= 0.5 || m.beyond && p[3] < 0.5 {
			out.Data[i] = 1
			selected++
		}
	}
	switch selected {
	case 0:
		return diffusion.Images{}, fmt.Errorf("the mask selects nothing of the %d×%d pixels that the model sees: "+
			"it is too small, or in a part that is cut off", w, h)
	case h * w:
		return diffusion.Images{}, fmt.Errorf("the mask selects all of the %d×%d pixels that the model sees: "+
			"nothing of the picture would be kept", w, h)
	}
	if feather > 0 {
		for i, d := range depth(out.Data, h, w) {
			out.Data[i] = float32(min(d/(feather+1), 1))
		}
	}
	return out, nil
}

// depth returns each selected pixel's distance to the nearest one that is not, in pixels.
func depth(mask []float32, h, w int) []float64 {
	const far = math.MaxInt32
	along := make([]int, len(mask)) // within the row
	for y := range h {
		row, out := mask[y*w:][:w], along[y*w:][:w]
		for x := range row {
			out[x] = far
		}
		for d, x := far, 0; x < w; x++ {
			d = min(d+1, far)
			if row[x] == 0 {
				d = 0
			}
			out[x] = d
		}
		for d, x := far, w-1; x >= 0; x-- {
			d = min(d+1, far)
			if row[x] == 0 {
				d = 0
			}
			out[x] = min(out[x], d)
		}
	}
	all := make([]float64, len(mask))
	for i := range mask {
		y, x := i/w, i%w
		nearest := math.Inf(1)
		for other := range h {
			dy, dx := float64(other-y), float64(along[other*w+x])
			nearest = min(nearest, dy*dy+dx*dx)
		}
		all[i] = math.Sqrt(nearest)
	}
	return all
}
