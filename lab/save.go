package lab

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/weights"
)

// IsRaw reports whether a file of that name gets the raw numbers, and not a picture.
func IsRaw(path string) bool { return strings.EqualFold(filepath.Ext(path), ".safetensors") }

// Save writes the images to a file: as a picture with its recipe, or where the name ends with .safetensors as raw
// numbers. Those are images [N,C,H,W], where they were enlarged also small, the images before, and of models with
// classes labels [N], -1 for none. scale is as in [Request.Grid].
func (r Result) Save(path string, scale int) error {
	p, err := r.Request.Parameters()
	if err != nil {
		return err
	}
	if !IsRaw(path) {
		return r.Request.Grid(r.Images, r.Range, scale).WritePNG(path, p)
	}
	metadata := map[string]string{}
	for _, x := range p {
		metadata[x.Key] = x.Value
	}
	return weights.Write(path, r.tensors(), metadata)
}

func (r Result) tensors() map[string]weights.Tensor {
	tensor := func(x diffusion.Images) weights.Tensor {
		return weights.FromFloat32([]int{x.N, x.C, x.H, x.W}, x.Data)
	}
	all := map[string]weights.Tensor{"images": tensor(r.Images)}
	if r.Small.N > 0 {
		all["small"] = tensor(r.Small)
	}
	if !r.Spec.Texts {
		labels := make([]int32, r.Images.N)
		for i := range labels {
			labels[i] = -1
			if class, err := strconv.Atoi(r.Request.PromptOf(i)); err == nil {
				labels[i] = int32(class)
			}
		}
		all["labels"] = weights.FromInt32([]int{len(labels)}, labels)
	}
	return all
}

// SaveFilm writes how the images came out of noise as an animation.
func (r Result) SaveFilm(path string, f Film, scale int) error {
	p, err := r.Request.Parameters()
	if err != nil {
		return err
	}
	var a figure.Animation
	for _, frame := range f.Frames {
		picture, err := r.Request.Moment(frame.X, f.Show, scale).Draw()
		if err != nil {
			return err
		}
		a.Frames = append(a.Frames, picture)
	}
	return figure.WriteAnimation(path, a, p)
}

// SavePreview writes what is to be shown of a step of a completed request's drawing. The file lies beside the picture
// that is to be.
func (r Request) SavePreview(picture string, e Event, show []Quantity, scale int) error {
	s := e.Step
	prefix := ""
	if e.Stage == Upscaling {
		prefix = "upscale-"
	}
	ending := filepath.Ext(picture)
	path := fmt.Sprintf("%s-%sstep%0*d%s", strings.TrimSuffix(picture, ending), prefix, len(strconv.Itoa(s.Total)),
		s.Index+1, ending)
	p, err := r.Parameters()
	if err != nil {
		return err
	}
	p.Add("preview", fmt.Sprintf("%sstep %d of %d, time %g", prefix, s.Index+1, s.Total, s.From))
	x, err := s.Shown(false, show...)
	if err != nil {
		return err
	}
	return r.Moment(x, show, scale).WritePNG(path, p)
}

// Result is what was drawn before: the small images, with a recipe for them.
func (e *SmallError) Result() Result {
	r := e.Request
	r.Upscale = nil
	return Result{Request: r, Images: e.Small, Range: e.Range}
}
