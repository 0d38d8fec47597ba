package lab

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/picture"
)

// Picture is a picture that a drawing starts from. A completed one holds what became of it, a PNG in the images' size,
// so that a recipe needs no other file.
type Picture struct {
	Name string `json:"name,omitempty"` // what people call it
	Data []byte `json:"data"`           // an image file
	// how it becomes images: crop, pad, stretch, whole (not square), digit; or exact: it is done
	Fit    string `json:"fit,omitempty"`
	Ink    string `json:"ink,omitempty"` // dark: dark and light are exchanged; auto: where that is plain; light: never
	Ground string `json:"ground,omitempty"`
}

// Read reads a picture's file, or one of the photographs that come with the program.
func (p *Picture) Read(name string) (err error) {
	p.Name = filepath.Base(name)
	p.Data, err = picture.ReadFile(name)
	return err
}

// Edit is image-to-image (SDEdit, arXiv:2108.01073): the picture is noised to a time in the middle of the path, and
// drawn from there.
type Edit struct {
	Picture Picture `json:"picture"`
	// the share of the path that is gone: 1 starts from noise alone; default 0.6
	Strength float64 `json:"strength,omitempty"`
	Start    *int    `json:"start,omitempty"` // the step to start with, from 0, instead of the strength
}

// Starts sets the only start, or returns what varies it.
func (e *Edit) Starts(starts []int) []Vary {
	return orVary(starts, "start", func(i int) { e.Start = &i })
}

// Strengths sets the only strength, or returns what varies it.
func (e *Edit) Strengths(strengths []float64) []Vary {
	return orVary(strengths, "strength", func(v float64) { e.Strength = v })
}

func orVary[T any](values []T, field string, set func(T)) []Vary {
	if len(values) == 1 {
		set(values[0])
	}
	if len(values) < 2 {
		return nil
	}
	v := Vary{Field: field}
	for _, value := range values {
		v.Values = append(v.Values, fmt.Sprint(value))
	}
	return []Vary{v}
}

// Inpaint draws a part of a picture anew and keeps the rest.
type Inpaint struct {
	Picture Picture `json:"picture"`
	Mask    Mask    `json:"mask"`
	Method  Fill    `json:"method,omitempty"`
	Length  int     `json:"length,omitempty"`  // repaint: how many steps a jump goes back; default 5
	Repeats int     `json:"repeats,omitempty"` // repaint: how often each step is made; default 3
}

// Fill says how the known part of a picture is brought into each step.
type Fill string

// The methods of inpainting.
const (
	Course Fill = "course" // after each step it is overwritten by the original, noised to that time
	// the same, and steps are repeated, so that the new part comes to fit (arXiv:2201.09865)
	RePaint Fill = "repaint"
	// it is overwritten by the original without noise, as diffusers' IFInpaintingPipeline does
	Diffusers Fill = "diffusers"
)

// Mask selects what is drawn anew: the light pixels of an image file, a rectangle, or what is transparent in the
// picture.
type Mask struct {
	Data  []byte `json:"data,omitempty"`
	Box   string `json:"box,omitempty"` // "x,y,width,height" in the picture's pixels or percent
	Alpha bool   `json:"alpha,omitempty"`
	// within so many pixels of the images from its edge inwards old and new are mixed
	Feather float64 `json:"feather,omitempty"`
	Exact   bool    `json:"exact,omitempty"` // it is done: Data has the images' size
}

// target is what pictures are brought to: images of one model, or of the one that enlarges them.
type target struct {
	channels, height, width, step int
	digits                        bool
}

// complete fits the picture and, if there is one, the mask.
func (p *Picture) complete(t target, m *Mask) error {
	source, err := picture.Decode(p.Data)
	if err != nil {
		return model.Errorf("picture", "%s: %w", p.Name, err)
	}
	if p.Fit == "exact" {
		return p.checkExact(t, source, m)
	}
	fit := picture.Fit{C: t.channels, H: t.height, W: t.width, High: 1, Mode: picture.Mode(p.Fit),
		Ink: picture.Ink(p.Ink)}
	if t.digits && p.Ink == "" {
		fit.Ink = picture.Auto
	}
	if p.Fit == "whole" {
		if t.step == 0 {
			return model.Errorf("fit", "the model draws images of %d×%d only; expected crop, pad or stretch", t.width,
				t.height)
		}
		fit.Mode = picture.Stretch
		fit.H, fit.W = picture.Sides(source, min(t.height, t.width), t.step)
	}
	if fit.Ground, err = parseColor(p.Ground); err != nil {
		return &model.FieldError{Field: "ground", Err: err}
	}
	fitted, err := fit.Picture(source)
	if err != nil {
		return model.Errorf("fit", "%w", err)
	}
	if m != nil {
		if err := m.complete(source, fitted); err != nil {
			return err
		}
	}
	if p.Data, err = encodePNG(fitted.Images); err != nil {
		return err
	}
	p.Fit, p.Ink, p.Ground = "exact", "", ""
	return nil
}

func (p *Picture) checkExact(t target, source image.Image, m *Mask) error {
	size := source.Bounds().Size()
	free := t.step > 0 && size.X%t.step == 0 && size.Y%t.step == 0
	if !free && (size.X != t.width || size.Y != t.height) {
		return model.Errorf("picture", "%s is %d×%d, and the model draws %d×%d; expected another fit than exact",
			p.Name, size.X, size.Y, t.width, t.height)
	}
	if m != nil && !m.Exact {
		return model.Errorf("mask", "expected a mask in the images' size, as the picture is")
	}
	return nil
}

func (m *Mask) complete(source image.Image, fitted picture.Fitted) (err error) {
	var of picture.Mask
	field := "mask"
	switch given := countTrue(len(m.Data) > 0, m.Box != "", m.Alpha); {
	case given != 1:
		return model.Errorf("mask", "expected one of a mask's file, a box or the picture's transparency, found %d",
			given)
	case m.Box != "":
		field = "box"
		of, err = picture.MaskBox(m.Box, source)
	case m.Alpha:
		field = "alpha"
		of, err = picture.MaskAlpha(source)
	default:
		var file image.Image
		if file, err = picture.Decode(m.Data); err == nil {
			of, err = picture.MaskOf(file, source)
		}
	}
	if err != nil {
		return &model.FieldError{Field: field, Err: err}
	}
	images, err := fitted.Mask(of, m.Feather)
	if err != nil {
		return &model.FieldError{Field: field, Err: err}
	}
	data, err := encodePNG(images)
	*m = Mask{Data: data, Feather: m.Feather, Exact: true}
	return err
}

func countTrue(all ...bool) (n int) {
	for _, v := range all {
		if v {
			n++
		}
	}
	return n
}

// encodePNG writes one image in [0,1].
func encodePNG(x diffusion.Images) ([]byte, error) {
	m, err := figure.Grid{Images: x}.Draw()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	err = png.Encode(&b, m)
	return b.Bytes(), err
}

// decodePNG reads what encodePNG wrote, scaled to another size where that is asked for.
func decodePNG(data []byte, channels, height, width int, of model.Range) (diffusion.Images, error) {
	m, err := picture.Decode(data)
	if err != nil {
		return diffusion.Images{}, err
	}
	f, err := picture.Fit{C: channels, H: height, W: width, Low: of.Low, High: of.High,
		Mode: picture.Stretch}.Picture(m)
	return f.Images, err
}

// images returns a completed picture as one image of c channels.
func (p Picture) images(c int, of model.Range) (diffusion.Images, error) {
	m, err := picture.Decode(p.Data)
	if err != nil {
		return diffusion.Images{}, err
	}
	size := m.Bounds().Size()
	return decodePNG(p.Data, c, size.Y, size.X, of)
}

// repeated returns n times the same image.
func repeated(x diffusion.Images, n int) diffusion.Images {
	all := diffusion.NewImages(n, x.C, x.H, x.W)
	for i := range n {
		copy(all.Slice(i, i+1).Data, x.Data)
	}
	return all
}

// parseColor reads #rrggbb or one of a few names; nothing is nil.
func parseColor(text string) (color.Color, error) {
	switch strings.ToLower(text) {
	case "":
		return nil, nil
	case "white":
		return color.White, nil
	case "black":
		return color.Black, nil
	case "gray", "grey":
		return color.Gray{128}, nil
	}
	v, err := strconv.ParseUint(strings.TrimPrefix(text, "#"), 16, 32)
	if err != nil || len(text) != 7 || text[0] != '#' {
		return nil, fmt.Errorf("expected a color such as white, black, gray or #ffcc00, found %q", text)
	}
	return color.RGBA{uint8(v >> 16), uint8(v >> 8), uint8(v), 255}, nil
}

// complete fits the picture and settles the first step of a path of n.
func (e *Edit) complete(t target, n int) error {
	if err := e.Picture.complete(t, nil); err != nil {
		return err
	}
	if e.Strength == 0 {
		e.Strength = 0.6
	}
	if !(e.Strength > 0 && e.Strength <= 1) {
		return model.Errorf("strength", "expected a number above 0 and at most 1, found %g", e.Strength)
	}
	if e.Start == nil {
		gone := int(e.Strength*float64(n) + 1e-9)
		if gone == 0 {
			return model.Errorf("strength", "%g of %d steps is none; expected at least %.2g", e.Strength, n,
				1/float64(n))
		}
		start := n - gone
		e.Start = &start
	}
	if *e.Start < 0 || *e.Start >= n {
		return model.Errorf("start", "expected 0 to %d, the steps of the path, found %d", n-1, *e.Start)
	}
	return nil
}

func (f *Inpaint) complete(t target) error {
	if err := f.Picture.complete(t, &f.Mask); err != nil {
		return err
	}
	switch f.Method {
	case "":
		f.Method = Course
	case Course, Diffusers:
	case RePaint:
		if f.Length == 0 {
			f.Length = 5
		}
		if f.Repeats == 0 {
			f.Repeats = 3
		}
	default:
		return model.Errorf("method", "expected %s, %s or %s, found %q", Course, RePaint, Diffusers, f.Method)
	}
	if f.Method != RePaint && (f.Length != 0 || f.Repeats != 0) {
		return model.Errorf("repeats", "they have no meaning with method %s, only with %s", f.Method, RePaint)
	}
	if f.Length < 0 || f.Repeats < 0 || f.Repeats > 1000 {
		return model.Errorf("repeats", "expected 1 to 1000, found %d in groups of %d steps", f.Repeats, f.Length)
	}
	return nil
}
