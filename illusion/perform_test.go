package illusion

import (
	"image"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

// gray levels of the picture in the middle of a frame, one for each of its pixels.
func middle(frame image.Image, h, w, scale int) []int {
	b := frame.Bounds()
	levels := make([]int, h*w)
	for i := range levels {
		x := (b.Dx()-w*scale)/2 + i%w*scale + scale/2
		y := (b.Dy()-h*scale)/2 + i/w*scale + scale/2
		r, _, _, _ := frame.At(x, y).RGBA()
		levels[i] = int(r >> 8)
	}
	return levels
}

// The first frame is the picture, the last one what is seen of it, and those between are others.
func TestPerform(t *testing.T) {
	for _, size := range [][2]int{{28, 28}, {32, 48}} {
		m := diffusion.NewImages(1, 3, size[0], size[1])
		diffusion.NewGenerator(1).Uniform(m.Data)
		check := func(name string, v any, seen diffusion.Images) {
			frames, err := Perform(v, m, 3)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			scale := (256 + size[0]/2) / size[0]
			for i, want := range map[int]diffusion.Images{0: m, 2: seen} {
				got := middle(frames[i], m.H, m.W, scale)
				for j, g := range got {
					if w := min(max(want.Data[j], 0), 1) * 255; max(float32(g)-w, w-float32(g)) > 0.6 {
						t.Errorf("%s at %d, frame %d: pixel %d is %d, want %.1f", name, size, i, j, g, w)
						break
					}
				}
			}
			for _, f := range frames {
				if f.Bounds() != frames[0].Bounds() {
					t.Errorf("%s: frames are %v and %v", name, frames[0].Bounds(), f.Bounds())
				}
			}
		}
		for _, name := range names() {
			if v := view(t, name); Fits(v, 3, size[0], size[1]) == nil {
				check(name, v, shown(v, m))
			}
		}
		for _, name := range []string{"color", "grayscale"} {
			check(name, band(t, name), grayscale(m))
		}
		check("motion_blur", band(t, "motion_blur"), band(t, "motion_blur").Filter(m))
	}
	away, err := Perform(band(t, "low_pass"), diffusion.NewImages(1, 1, 28, 28), 3) // a black square
	if err != nil {
		t.Fatal(err)
	}
	if _, gray := away[0].(*image.Gray); !gray {
		t.Errorf("a gray picture's frames are %T", away[0])
	}
	dark := func(m image.Image) (n int) {
		for _, v := range m.(*image.Gray).Pix {
			if v < 128 {
				n++
			}
		}
		return n
	}
	if near, far := dark(away[0]), dark(away[2]); near != 252*252 || far < 20*20 || far > 30*30 {
		t.Errorf("walking away, %d dark pixels become %d", near, far)
	}
}

func TestPerformRefuses(t *testing.T) {
	m := diffusion.NewImages(1, 1, 28, 28)
	for want, f := range map[string]func() error{
		"[2,1,28,28]": func() error {
			_, err := Perform(view(t, "flip"), diffusion.NewImages(2, 1, 28, 28), 4)
			return err
		},
		"at least 2": func() error { _, err := Perform(view(t, "flip"), m, 1); return err },
		"28×28":      func() error { _, err := Perform(view(t, "patch_flip:3"), m, 4); return err },
		"3 channels": func() error { _, err := Perform(band(t, "color"), m, 4); return err },
		"string":     func() error { _, err := Perform("flip", m, 4); return err },
	} {
		if err := f(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want it to tell of %s", err, want)
		}
	}
}
