package figure

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/gif"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/unnoise/unnoise/internal/atomicfile"
)

// Animation is a loop of pictures of one size.
type Animation struct {
	Frames []image.Image
	Delay  time.Duration // of each frame but the last; 0: 50 ms
	Hold   time.Duration // of the last frame; 0: 2 s
	Back   bool          // the frames run back to the first one, which is held too
}

// WriteAnimation writes the animation in the format that the path's extension names: .png or .apng is an animated PNG
// (lossless, with the parameters; a reader that knows no animation shows the last frame), .gif is a GIF (256 levels of
// gray, or 256 colors dithered; it cannot hold parameters).
func WriteAnimation(path string, a Animation, parameters Parameters) error {
	switch extension := strings.ToLower(filepath.Ext(path)); extension {
	case ".png", ".apng":
		return atomicfile.Write(path, func(w io.Writer) error { return EncodeAPNG(w, a, parameters) })
	case ".gif":
		return atomicfile.Write(path, func(w io.Writer) error { return EncodeGIF(w, a) })
	default:
		return fmt.Errorf("%s: an animation's file name ends in .png, .apng or .gif, found %q", path, extension)
	}
}

// EncodeAPNG writes an animated PNG (PNG specification, third edition, 11.3.4). The still picture is the last frame.
func EncodeAPNG(w io.Writer, a Animation, parameters Parameters) error {
	a, err := a.sequence()
	if err != nil {
		return err
	}
	frames := a.Frames
	texts, err := parameters.chunks()
	if err != nil {
		return err
	}
	last := len(frames) - 1
	size := frames[0].Bounds().Size()
	sequence := uint32(0)
	next := func() []byte {
		sequence++
		return binary.BigEndian.AppendUint32(nil, sequence-1)
	}

	var out []byte
	// The still picture stands first in the file and is no frame of the animation: it has no fcTL before it.
	header, still, err := encodedFrame(frames[last])
	if err != nil {
		return err
	}
	out = append(out, header...)
	out = append(out, texts...)
	// 0: loops for ever
	out = appendChunk(out, "acTL", binary.BigEndian.AppendUint32(nil, uint32(len(frames))), make([]byte, 4))
	out = appendChunk(out, "IDAT", still)
	if _, err := w.Write(out); err != nil {
		return err
	}
	for i, frame := range frames {
		pixels := still
		if i < last {
			if _, pixels, err = encodedFrame(frame); err != nil {
				return err
			}
		}
		control := next()
		control = binary.BigEndian.AppendUint32(control, uint32(size.X))
		control = binary.BigEndian.AppendUint32(control, uint32(size.Y))
		control = append(control, make([]byte, 8)...) // at the corner
		control = binary.BigEndian.AppendUint16(control, uint16(a.delay(i).Milliseconds()))
		control = binary.BigEndian.AppendUint16(control, 1000)
		control = append(control, 0, 0) // left as it is, drawn over what was there
		out = appendChunk(out[:0], "fcTL", control)
		out = appendChunk(out, "fdAT", next(), pixels)
		if _, err := w.Write(out); err != nil {
			return err
		}
	}
	_, err = w.Write(appendChunk(nil, "IEND"))
	return err
}

// encodedFrame returns a frame's signature and IHDR, and its compressed pixels.
func encodedFrame(frame image.Image) (header, pixels []byte, err error) {
	var file bytes.Buffer
	if err := encoder.Encode(&file, frame); err != nil {
		return nil, nil, fmt.Errorf("cannot write a frame as PNG: %w", err)
	}
	b := file.Bytes()
	for at := headerEnd; at+8 <= len(b); {
		length := int(binary.BigEndian.Uint32(b[at:]))
		if string(b[at+4:at+8]) == "IDAT" {
			pixels = append(pixels, b[at+8:at+8+length]...)
		}
		at += 12 + length
	}
	return b[:headerEnd:headerEnd], pixels, nil
}

// EncodeGIF writes a GIF that loops for ever.
func EncodeGIF(w io.Writer, a Animation) error {
	a, err := a.sequence()
	if err != nil {
		return err
	}
	colors := grays
	if _, gray := a.Frames[0].(*image.Gray); !gray {
		colors = commonPalette(a.Frames, 256)
	}
	out := gif.GIF{}
	for i, frame := range a.Frames {
		indexed := image.NewPaletted(image.Rectangle{Max: frame.Bounds().Size()}, colors)
		if gray, ok := frame.(*image.Gray); ok {
			for y := range indexed.Rect.Max.Y {
				copy(indexed.Pix[y*indexed.Stride:][:indexed.Stride], gray.Pix[y*gray.Stride:])
			}
		} else {
			draw.FloydSteinberg.Draw(indexed, indexed.Rect, frame, frame.Bounds().Min)
		}
		out.Image = append(out.Image, indexed)
		out.Delay = append(out.Delay, int((a.delay(i)+5*time.Millisecond)/(10*time.Millisecond)))
	}
	if err := gif.EncodeAll(w, &out); err != nil {
		return fmt.Errorf("cannot write the animation as GIF: %w", err)
	}
	return nil
}

var grays = func() color.Palette {
	p := make(color.Palette, 256)
	for i := range p {
		p[i] = color.Gray{Y: byte(i)}
	}
	return p
}()

// delay is how long frame i is shown: from 20 ms, below which browsers slow down, to a minute.
func (a Animation) delay(i int) time.Duration {
	d, usual := a.Delay, 50*time.Millisecond
	if last := len(a.Frames) - 1; i == last || a.Back && i == last/2 {
		d, usual = a.Hold, 2*time.Second
	}
	if d == 0 {
		d = usual
	}
	return min(max(d, 20*time.Millisecond), time.Minute)
}

// sequence returns the animation with frames in the order in which they are shown. With Back the first one comes last,
// as the still picture.
func (a Animation) sequence() (Animation, error) {
	frames, err := a.sameKind()
	if err != nil {
		return Animation{}, err
	}
	if a.Back = a.Back && len(frames) > 1; a.Back {
		back := slices.Clone(frames[:len(frames)-1])
		slices.Reverse(back)
		frames = slices.Concat(frames[1:], back)
	}
	a.Frames = frames
	return a, nil
}

// sameKind returns the frames as all *image.Gray or all opaque *image.RGBA, as one file needs them.
func (a Animation) sameKind() ([]image.Image, error) {
	if len(a.Frames) == 0 {
		return nil, fmt.Errorf("an animation needs at least one frame")
	}
	size := a.Frames[0].Bounds().Size()
	if size.X < 1 || size.Y < 1 || size.X > maxSide || size.Y > maxSide {
		return nil, fmt.Errorf("an animation's frames are 1 to %d pixels a side, found %v", maxSide, size)
	}
	gray := true
	for i, frame := range a.Frames {
		if s := frame.Bounds().Size(); s != size {
			return nil, fmt.Errorf("an animation's frames are of one size: the first is %v, frame %d is %v", size, i, s)
		}
		if _, ok := frame.(*image.Gray); !ok {
			gray = false
		}
	}
	if gray {
		return a.Frames, nil
	}
	frames := make([]image.Image, len(a.Frames))
	for i, frame := range a.Frames {
		flat := image.NewRGBA(image.Rectangle{Max: size})
		draw.Draw(flat, flat.Rect, image.White, image.Point{}, draw.Src)
		draw.Draw(flat, flat.Rect, frame, frame.Bounds().Min, draw.Over)
		frames[i] = flat
	}
	return frames, nil
}
