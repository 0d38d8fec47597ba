package lab

import (
	"slices"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
)

// Each frame says which x it shows, beside what the network made of it; the first is pure noise, the last the result.
func TestFilm(t *testing.T) {
	image := func(v float32) diffusion.Images {
		x := diffusion.NewImages(1, 1, 1, 1)
		x.Data[0] = v
		return x
	}
	schedule, flow := diffusion.Visit(4, 3, 2, 1, 0), diffusion.Flow{}
	line, err := flow.Path(5, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		most     int
		path     []diffusion.Move
		captions []string
		x, x0    []float32
	}{
		{9, schedule, []string{"t = 4", "t = 3", "t = 2", "t = 1", "t = 0", "result"}, []float32{-1, 0, 1, 2, 3, 4},
			[]float32{10, 11, 12, 13, 14, 4}},
		{4, schedule, []string{"t = 4", "t = 3", "t = 1", "result"}, []float32{-1, 0, 2, 4}, []float32{10, 11, 13, 4}},
		{1, schedule, []string{"result"}, []float32{4}, []float32{4}},
		{3, line, []string{"t = 0.00", "t = 0.40", "t = 1.00"}, []float32{-1, 1, 4}, []float32{10, 12, 4}},
	} {
		f := Film{Stage: Drawing, Most: c.most}
		for i, move := range c.path {
			s := diffusion.Step{Index: i, Total: 5, Move: move, Input: image(float32(i - 1)), X: image(float32(i)),
				X0: image(float32(10 + i))}
			f.Add(Event{Stage: Drawing, Step: &Step{s, model.ZeroToOne}})
			f.Add(Event{Stage: Upscaling, Step: &Step{s, model.ZeroToOne}})
		}
		var captions []string
		var xs, x0s []float32
		for _, frame := range f.Frames {
			captions, xs, x0s = append(captions, frame.Caption), append(xs, frame.X.Data[0]),
				append(x0s, frame.X0.Data[0])
		}
		if !slices.Equal(captions, c.captions) || !slices.Equal(xs, c.x) || !slices.Equal(x0s, c.x0) {
			t.Errorf("%d frames: %q of %v beside %v, want %q of %v beside %v", c.most, captions, xs, x0s, c.captions,
				c.x, c.x0)
		}
	}
}
