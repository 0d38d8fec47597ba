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
}

// Walking away makes the picture small, on a ground that suits it.
func TestGround(t *testing.T) {
	for _, c := range []struct {
		edge, inside float32
		ground, mark uint8 // gray levels
	}{{0, 1, 32, 255}, {1, 0, 255, 0}, {0.6, 0.6, 255, 153}} {
		m := diffusion.NewImages(1, 1, 28, 28)
		for i := range m.Data {
			m.Data[i] = c.inside
			if x, y := i%28, i/28; x == 0 || y == 0 || x == 27 || y == 27 {
				m.Data[i] = c.edge
			}
		}
		away, err := Perform(band(t, "low_pass"), m, 3)
		if err != nil {
			t.Fatal(err)
		}
		far, gray := away[2].(*image.Gray)
		if !gray {
			t.Fatalf("a gray picture's frames are %T", away[2])
		}
		if got := far.GrayAt(0, 0).Y; got != c.ground {
			t.Errorf("with edge %g the ground is %d, expected %d", c.edge, got, c.ground)
		}
		n := 0
		for _, v := range far.Pix {
			if v == c.mark {
				n++
			}
		}
		if n < 18*18 || n > 30*30 {
			t.Errorf("with edge %g, %d pixels of 28·28 are left from afar, expected about 25·25", c.edge, n)
		}
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
