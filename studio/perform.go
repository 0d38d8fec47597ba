package studio

import (
	"bytes"
	"context"
	"image"
	"image/draw"
	"image/png"

	"github.com/danielgtaylor/huma/v2"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/illusion"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/picture"
)

// mostPerformed is the side of pictures that are performed: larger ones are made smaller.
const mostPerformed = 256

// Performance is a movement from a picture to what a view or band shows of it.
type Performance struct {
	Frames  int    `json:"frames"`
	Width   int    `json:"width" doc:"of a frame"`
	Height  int    `json:"height" doc:"of a frame"`
	Picture int    `json:"picture" doc:"width of the picture in the middle of a frame"`
	Data    []byte `json:"data" doc:"a PNG: the frames, one below the other, transparent around the picture"`
}

type (
	performed struct {
		As      string `query:"as" required:"true" maxLength:"80" doc:"a view or band, such as jigsaw or low_pass:2"`
		Frames  int    `query:"frames" default:"24" minimum:"2" maximum:"48"`
		Side    int    `query:"side" default:"256" minimum:"1" maximum:"512" doc:"that the picture is enlarged to, about"`
		RawBody []byte `contentType:"image/png"`
	}
	withPerformance struct {
		Body Performance
	}
)

func (s *Studio) performs(_ context.Context, in *performed) (*withPerformance, error) {
	p, err := perform(in.RawBody, in.As, in.Frames, in.Side)
	if err != nil {
		return nil, huma.Error422UnprocessableEntity(err.Error())
	}
	return &withPerformance{p}, nil
}

// perform draws the movement of a PNG, enlarged to about the given side.
func perform(data []byte, as string, frames, side int) (p Performance, err error) {
	if err := checkPicture("picture", data); err != nil {
		return p, err
	}
	m, err := picture.Decode(data)
	if err != nil {
		return p, err
	}
	viewOrBand, err := lab.ParseViewOrBand(as)
	if err != nil {
		return p, err
	}
	x, err := performable(m)
	if err != nil {
		return p, err
	}
	scale := max(1, side/x.H)
	strip, err := stripOf(scale, viewOrBand, x, frames)
	if err != nil {
		return p, err
	}
	p = Performance{Frames: frames, Width: strip.Rect.Dx(), Height: strip.Rect.Dy() / frames, Picture: x.W * scale}
	var b bytes.Buffer
	err = (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, strip)
	p.Data = b.Bytes()
	return p, err
}

// stripOf draws the frames of a movement, one below the other, without the ground that they stand on: where that shows
// through, frames on black and on white differ.
func stripOf(scale int, viewOrBand any, x diffusion.Images, frames int) (*image.NRGBA, error) {
	onBlack, err := illusion.PerformOn(0, scale, viewOrBand, x, frames)
	if err != nil {
		return nil, err
	}
	onWhite, err := illusion.PerformOn(1, scale, viewOrBand, x, frames)
	if err != nil {
		return nil, err
	}
	size := onBlack[0].Bounds().Size()
	strip := image.NewNRGBA(image.Rect(0, 0, size.X, size.Y*frames))
	a, b := image.NewRGBA(image.Rectangle{Max: size}), image.NewRGBA(image.Rectangle{Max: size})
	for i := range frames {
		draw.Draw(a, a.Rect, onBlack[i], onBlack[i].Bounds().Min, draw.Src)
		draw.Draw(b, b.Rect, onWhite[i], onWhite[i].Bounds().Min, draw.Src)
		to := strip.Pix[i*len(a.Pix):]
		for k := 0; k < len(a.Pix); k += 4 {
			opacity := 255 - max(0, int(b.Pix[k])-int(a.Pix[k]))
			if to[k+3] = uint8(opacity); opacity == 0 {
				continue
			}
			for c := range 3 {
				to[k+c] = uint8(min(int(a.Pix[k+c])*255/opacity, 255))
			}
		}
	}
	return strip, nil
}

// performable makes images of a picture, of 1 channel where all of it is gray.
func performable(m image.Image) (diffusion.Images, error) {
	size := m.Bounds().Size()
	height, width := size.Y, size.X
	if longer := max(height, width); longer > mostPerformed {
		height, width = max(1, height*mostPerformed/longer), max(1, width*mostPerformed/longer)
	}
	f, err := picture.Fit{C: 3, H: height, W: width, High: model.ZeroToOne.High, Mode: picture.Stretch}.Picture(m)
	if err != nil {
		return f.Images, err
	}
	x, plane := f.Images, height*width
	for i := range plane {
		if x.Data[i] != x.Data[plane+i] || x.Data[i] != x.Data[2*plane+i] {
			return x, nil
		}
	}
	return diffusion.Images{N: 1, C: 1, H: height, W: width, Data: x.Data[:plane]}, nil
}
