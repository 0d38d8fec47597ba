package captions

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"testing"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/dataset/emoji"
	"github.com/unnoise/unnoise/diffusion"
)

// shapes is a set of things that differ in shape or color: bars of two directions, in two styles of other colors, and a
// disc.
func shapes(t *testing.T) *emoji.Set {
	dir := t.TempDir()
	write := func(name string, m image.Image) {
		f, err := os.Create(filepath.Join(dir, name))
		if err == nil {
			err = png.Encode(f, m)
		}
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	var rows []byte
	colors := map[string]color.RGBA{"noto": {200, 30, 30, 255}, "flat": {30, 30, 200, 255}}
	for name, in := range map[string]func(x, y int) bool{
		"pillar": func(x, _ int) bool { return x/4%2 == 0 },
		"ladder": func(_, y int) bool { return y/4%2 == 0 },
		"ball":   func(x, y int) bool { return (x-16)*(x-16)+(y-16)*(y-16) < 16*16 },
		"corner": func(x, y int) bool { return x < 10 || y > 22 },
	} {
		for style, c := range colors {
			m := image.NewRGBA(image.Rect(0, 0, 32, 32))
			for i := range 32 * 32 {
				if in(i%32, i/32) {
					m.SetRGBA(i%32, i/32, c)
				}
			}
			file := name + "-" + style + ".png"
			write(file, m)
			row, err := json.Marshal(emoji.Picture{File: file, Text: fmt.Sprintf("a %s, %s style", name, style),
				Name: name, Names: []string{name}, Label: name, Style: style, Concept: name, Weight: 8, Split: "train"})
			if err != nil {
				t.Fatal(err)
			}
			rows = append(append(rows, row...), '\n')
		}
	}
	for name, text := range map[string][]byte{"metadata.jsonl": rows, "emoji.json": []byte(`{"version": 1}`)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	set, err := emoji.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// Pictures that show what is asked for score, also where they are smaller, moved and mirrored. Others don't.
func TestJudge(t *testing.T) {
	set := shapes(t)
	j, err := NewJudge(set, 10)
	if err != nil {
		t.Fatal(err)
	}
	own, random, err := j.Baselines()
	if err != nil {
		t.Fatal(err)
	}
	if own.Names.Images != 8 || own.Names.Of != 8 || own.Names.Top1 != 1 || own.Names.Style != 1 {
		t.Errorf("the set's own pictures get %+v, want all 8 of 8 right", own.Names)
	}
	if random.Names.Top1 > 0.7 {
		t.Errorf("any pictures get %+v, want less than 0.7", random.Names)
	}
	byText := map[string]int{}
	for i, p := range set.Pictures() {
		byText[p.Text] = i
	}
	draw := func(change func(k int) int) Draw {
		return func(_ context.Context, captions []string) (diffusion.Images, error) {
			x := diffusion.NewImages(len(captions), 3, side, side)
			for i, c := range captions {
				m, err := set.Picture(change(byText[c]), side)
				if err != nil {
					return x, err
				}
				copy(x.Slice(i, i+1).Data, pixels(captioned.Example{Image: m}, false))
			}
			return x, nil
		}
	}
	right, samples, err := j.Measure(t.Context(), draw(func(k int) int { return k }), true, func(int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	if right.Names.Top1 != 1 || right.Names.Top5 != 1 {
		t.Errorf("right pictures get %+v, want 1", right.Names)
	}
	sheet, err := j.sheet(samples)
	if err != nil || len(sheet) != 16 {
		t.Errorf("the sheet has %d pictures, %v, want each of 8 images and its nearest", len(sheet), err)
	}
	ball := byText["a ball, flat style"]
	wrong, _, err := j.Measure(t.Context(), draw(func(int) int { return ball }), false, func(int, int) {})
	if err != nil {
		t.Fatal(err)
	}
	if wrong.Names.Top1 != 0.25 { // two of eight are balls
		t.Errorf("balls alone get %+v, want a quarter right", wrong.Names)
	}
}

// A picture is read as the one of the names that it looks like, though another name would be nearer.
func TestRead(t *testing.T) {
	set := shapes(t)
	g, err := NewGallery(set)
	if err != nil {
		t.Fatal(err)
	}
	x := diffusion.NewImages(len(g.Pictures), 3, side, side)
	for i := range g.Pictures {
		m, err := set.Picture(i, side)
		if err != nil {
			t.Fatal(err)
		}
		copy(x.Slice(i, i+1).Data, pixels(captioned.Example{Image: m}, true))
	}
	read, err := g.Read(x, []string{"pillar", "ball"})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range g.Pictures {
		switch p.Name {
		case "pillar", "ball":
			if read[i] != p.Name {
				t.Errorf("%s is read as a %s", p.Text, read[i])
			}
		default:
			if read[i] != "pillar" && read[i] != "ball" {
				t.Errorf("%s is read as %q, want one of the names", p.Text, read[i])
			}
		}
	}
	if _, err := g.Read(x, []string{"unicorn"}); err == nil {
		t.Error("a name that no picture has: expected an error")
	}
	if _, err := g.Read(diffusion.NewImages(1, 1, 28, 28), []string{"ball"}); err == nil {
		t.Error("an image of another size: expected an error")
	}
}
